r"""Measures emulated frames a second, with observations, beside ale-py on this host.

Random actions, the preprocessing of ALE's vector environment (84x84 grey, two frames
pooled, four stacked) and resets from a bank. Frames are emulated frames: four a step.
Up to 1,024 consoles play --warmup steps first; a larger batch holds copies of those,
far from each other. Examples:

    python -m launch.bench_atari --games=pong,breakout --num_envs=1024,16384
    python -m launch.bench_atari --games=twenty --num_envs=16384 --ale_envs=0

The second is twenty common games, with their median as a row. All is compiled first, as
much side by side as there are cores. Expected: half a minute a game on few of them,
more without a GPU, where --num_envs=64 is enough; then ten seconds a game. Prints one
JSON line a row, with device and versions, and a table (ms are those of a step of all).
"""

import concurrent.futures
import functools
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
from atari import console as consoles
from launch import common

TWENTY = (
    *("alien", "amidar", "assault", "asterix", "beam_rider", "boxing", "breakout"),
    *("enduro", "freeway", "frostbite", "hero", "kangaroo", "krull", "ms_pacman"),
    *("montezuma_revenge", "pong", "qbert", "riverraid", "seaquest", "space_invaders"),
)
"""Games of which the median is told."""

_GAMES = flags.DEFINE_list("games", ["pong", "breakout", "ms_pacman"], "names")
_NUM_ENVS = flags.DEFINE_list("num_envs", ["64", "1024"], "sizes of the batch")
_STEPS = flags.DEFINE_integer("steps", 8, "steps in one timed call", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls", lower_bound=1)
_BANK = flags.DEFINE_integer("bank", 64, "reset games to start from", lower_bound=1)
_WARMUP = flags.DEFINE_integer(
    "warmup", 250, "steps of random play that come before, so that consoles differ"
)
_ALE_ENVS = flags.DEFINE_integer("ale_envs", 64, "environments of ale-py; 0 for none")
_BACKEND = flags.DEFINE_enum(
    "backend",
    "auto",
    ["auto", "lax", "pallas"],
    "XLA's loop or the GPU kernel; the bank is made by auto in any case",
)
_OUTPUT = flags.DEFINE_string("output", None, "also append JSON lines to this file")


DIFFERENT = 1024
"""Consoles that play differently from the first frame on."""


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
    }


def prepare(game: str, sizes: list[int]) -> dict[int, Callable[[], dict[str, float]]]:
    """Compiles a scan over the steps for batches of some sizes.

    Returns:
      For each size what measures our rate; the first one called plays the warm-up.
    """
    env = atari.make(game)
    key = jax.random.key(0)
    bank = atari.bank(env, key, min(_BANK.value, max(sizes)))
    resetting = atari.autoreset(env, "next_step", bank)
    consoles.set_backend(_BACKEND.value)

    def rollout(
        key: jax.Array, state: atari.State, steps: int
    ) -> tuple[atari.State, jax.Array]:
        size = state.over.shape[0]

        def step(state: atari.State, key: jax.Array) -> tuple[atari.State, jax.Array]:
            act_key, step_key = jax.random.split(key)
            actions = jax.random.randint(act_key, (size,), 0, env.num_actions)
            keys = jax.random.split(step_key, size)
            state, timestep = jax.vmap(resetting.step)(keys, state, actions)
            return state, timestep.observation.sum()

        return jax.lax.scan(step, state, jax.random.split(key, steps))

    def compiled(size: int, steps: int) -> Callable:
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype),
            bank[0],
        )
        jitted = jax.jit(rollout, static_argnums=2, donate_argnums=1)
        return jitted.lower(key, like, steps).compile()

    def spread(state: atari.State, size: int) -> atari.State:
        picks = np.arange(size) % state.over.shape[0]
        return jax.tree.map(lambda leaf: leaf[picks], state)

    def build(size: int, steps: int) -> tuple[Callable, float]:
        start = time.perf_counter()
        return compiled(size, steps), time.perf_counter() - start

    different = min(max(sizes), DIFFERENT)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        warmer = _WARMUP.value and pool.submit(build, different, _WARMUP.value)
        players = [pool.submit(build, size, _STEPS.value) for size in sizes]
        built = {s: p.result() for s, p in zip(sizes, players, strict=True)}

    @functools.cache
    def warm() -> atari.State:
        start = spread(bank[0], different)
        return warmer.result()[0](key, start)[0] if warmer else start

    def job(size: int) -> Callable[[], dict[str, float]]:
        play, seconds = built[size]

        def measure() -> dict[str, float]:
            state, keys = spread(warm(), size), iter(jax.random.split(key, 1000))

            def call() -> None:
                nonlocal state
                state, sums = play(next(keys), state)
                jax.block_until_ready((state, sums))

            frames = size * _STEPS.value * env.config.frame_skip
            return timed(call, frames) | {"compile_seconds": seconds}

        return measure

    jobs = {size: job(size) for size in sizes}
    consoles.set_backend("auto")
    return jobs


def prepare_all(
    names: Sequence[str],
) -> list[dict[int, Callable[[], dict[str, float]]]]:
    """`prepare` for several games side by side, before anything is timed."""
    sizes = list(map(int, _NUM_ENVS.value))
    # The back end is the process's: to change it is not for threads.
    several = _BACKEND.value == "auto"
    at_once = max(1, (os.cpu_count() or 1) // (len(sizes) + 1)) if several else 1
    with (
        concurrent.futures.ThreadPoolExecutor(at_once) as pool,
        common.progress("compile", len(names)) as advance,
    ):
        found = []
        made = pool.map(functools.partial(prepare, sizes=sizes), names)
        for name, jobs in zip(names, made, strict=True):
            found.append(jobs)
            advance(name)
        return found


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
    names = TWENTY if _GAMES.value == ["twenty"] else _GAMES.value
    for game, prepared in zip(names, prepare_all(names), strict=True):
        jobs: list[tuple[str, int, Callable]] = [
            ("atari", size, measure) for size, measure in prepared.items()
        ]
        if _ALE_ENVS.value:
            others = (("ale-py", measure_ale), ("envpool", measure_envpool))
            for system, other in others:
                job = functools.partial(other, game, _ALE_ENVS.value)
                jobs.append((system, _ALE_ENVS.value, job))
        for system, size, run in jobs:
            try:
                rates = run()
            except (ModuleNotFoundError, FileNotFoundError) as error:
                common.console.print(f"{system} is left out: {error}")
                continue
            row = {"game": game, "system": system, "num_envs": size, **rates}
            if system == "atari":
                row["backend"] = _BACKEND.value
            else:
                row["device"] = f"{os.cpu_count()} CPU cores"
            found.append(row)
            tell(row)
    middle = medians(found) if len(names) > 1 else []
    for row in middle:
        tell(row)
    return found + middle


def medians(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The median game, for each size of our batch."""
    rows = []
    for size in sorted({row["num_envs"] for row in found if row["system"] == "atari"}):
        same = [r for r in found if (r["system"], r["num_envs"]) == ("atari", size)]
        values = ("frames_per_second", "slowest", "fastest", "compile_seconds")
        middle = {key: statistics.median(row[key] for row in same) for key in values}
        name = f"median of {len(same)}"
        rows.append({"game": name, "system": "atari", "num_envs": size, **middle})
    return rows


def tell(row: dict[str, Any]) -> None:
    """Prints a row as soon as it is measured, as JSON."""
    line = common.machine() | row
    print(json.dumps(line), flush=True)
    if _OUTPUT.value:
        common.append_json(_OUTPUT.value, line)


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    machine = common.machine()
    table = Table(title=f"emulated frames a second on {machine['device']}")
    for name in ("game", "system", "envs", "frames/s", "spread", "ms", "compile s"):
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
            f"{4000 * row['num_envs'] / row['frames_per_second']:.1f}",
            f"{row.get('compile_seconds', 0):.1f}",
        )
    common.console.print(table)


if __name__ == "__main__":
    app.run(main)
