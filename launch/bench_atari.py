r"""Measures emulated frames a second, with observations, beside ale-py on this host.

Random actions, the preprocessing of ALE's vector environment (84x84 grey, two frames
pooled, four stacked) and resets from a bank. Frames are emulated frames: four a step.
Example:

    python -m launch.bench_atari --games=pong,breakout --num_envs=1024,16384

Expected: a minute a row for compiling, more on a CPU, where --num_envs=64 is enough.
Prints a table and one JSON line a row, with device and versions.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags
from rich.table import Table

import atari
from launch import common

_GAMES = flags.DEFINE_list("games", ["pong", "breakout", "ms_pacman"], "names")
_NUM_ENVS = flags.DEFINE_list("num_envs", ["64", "1024"], "sizes of the batch")
_STEPS = flags.DEFINE_integer("steps", 8, "steps in one timed call", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls", lower_bound=1)
_BANK = flags.DEFINE_integer("bank", 64, "reset games to start from", lower_bound=1)
_ALE_ENVS = flags.DEFINE_integer("ale_envs", 64, "environments of ale-py; 0 for none")
_OUTPUT = flags.DEFINE_string("output", None, "also append JSON lines to this file")


def timed(call: Callable[[], None], frames: int) -> dict[str, float]:
    """Median, slowest and fastest rate of repeated calls; the first is not counted."""
    seconds = []
    for _ in range(_REPEATS.value + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    rates = [frames / s for s in seconds[1:]]
    return {
        "frames_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "first_call_seconds": seconds[0],
    }


def measure(game: str, num_envs: int) -> dict[str, float]:
    """Our rate: one compiled scan over the steps."""
    env = atari.make(game)
    key = jax.random.key(0)
    bank = atari.bank(env, key, min(_BANK.value, num_envs))
    resetting = atari.autoreset(env, "next_step", bank)

    @jax.jit
    def rollout(key: jax.Array, state: atari.State) -> tuple[atari.State, jax.Array]:
        def step(state: atari.State, key: jax.Array) -> tuple[atari.State, jax.Array]:
            act_key, step_key = jax.random.split(key)
            actions = jax.random.randint(act_key, (num_envs,), 0, env.num_actions)
            keys = jax.random.split(step_key, num_envs)
            state, timestep = jax.vmap(resetting.step)(keys, state, actions)
            return state, timestep.observation.sum()

        return jax.lax.scan(step, state, jax.random.split(key, _STEPS.value))

    picks = np.arange(num_envs) % bank[1].reward.shape[0]
    state = jax.tree.map(lambda leaf: leaf[picks], bank[0])

    def call() -> None:
        nonlocal state, key
        key, now = jax.random.split(key)
        state, sums = rollout(now, state)
        jax.block_until_ready((state, sums))

    return timed(call, num_envs * _STEPS.value * env.config.frame_skip)


def measure_ale(game: str, num_envs: int) -> dict[str, float]:
    """The rate of ale-py's vector environment with the same settings."""
    from ale_py.vector_env import AtariVectorEnv

    envs = AtariVectorEnv(game, num_envs)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    number = len(envs.ale.get_action_set())

    def call() -> None:
        for _ in range(_STEPS.value):
            envs.step(rng.integers(0, number, num_envs))

    return timed(call, num_envs * _STEPS.value * 4)


def measure_envpool(game: str, num_envs: int) -> dict[str, float]:
    """The rate of EnvPool with the same settings."""
    import envpool  # type: ignore[import-not-found]

    task = "".join(word.capitalize() for word in game.split("_")) + "-v5"
    envs = envpool.make(task, env_type="gymnasium", num_envs=num_envs)
    envs.reset()
    rng = np.random.default_rng(0)
    number = envs.action_space.n

    def call() -> None:
        for _ in range(_STEPS.value):
            envs.step(rng.integers(0, number, num_envs).astype(np.int32))

    return timed(call, num_envs * _STEPS.value * 4)


def rows() -> list[dict[str, Any]]:
    """One row for each game, system and size of batch; what is absent is left out."""
    found: list[dict[str, Any]] = []
    for game in _GAMES.value:
        jobs: list[tuple[str, int, Callable]] = [
            ("atari", int(size), measure) for size in _NUM_ENVS.value
        ]
        if _ALE_ENVS.value:
            jobs.append(("ale-py", _ALE_ENVS.value, measure_ale))
            jobs.append(("envpool", _ALE_ENVS.value, measure_envpool))
        for system, size, run in jobs:
            try:
                rates = run(game, size)
            except ModuleNotFoundError as error:
                common.console.print(f"{system} is left out: {error}")
                continue
            row = {"game": game, "system": system, "num_envs": size, **rates}
            if system != "atari":
                row["device"] = f"{os.cpu_count()} CPU cores"
            found.append(row)
    return found


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    machine = common.machine()
    table = Table(title=f"emulated frames a second on {machine['device']}")
    for name in ("game", "system", "envs", "frames/s", "spread", "first call s"):
        table.add_column(name, justify="right")
    try:
        found = rows()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    for row in found:
        table.add_row(
            row["game"],
            row["system"],
            f"{row['num_envs']:,}",
            f"{row['frames_per_second']:,.0f}",
            f"{row['slowest']:,.0f} to {row['fastest']:,.0f}",
            f"{row['first_call_seconds']:.1f}",
        )
    common.console.print(table)
    for row in found:
        line = machine | row
        print(json.dumps(line))
        if _OUTPUT.value:
            common.append_json(_OUTPUT.value, line)


if __name__ == "__main__":
    app.run(main)
