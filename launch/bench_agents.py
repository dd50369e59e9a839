r"""Measures the wall-clock in which an agent learns a game to a mark.

The marks are those of CuLE's paper (Dalton and Frosio, 2020, table 3): Pong 18, Asterix
1,000, Ms. Pac-Man 1,500, Assault 800. While an agent trains, its parameters are put
aside every few seconds. Afterwards some of these snapshots play whole games from no-op
starts in ALE itself (ale-py, on the host), then those about the first that reaches the
mark. So the time to a mark is one of training, without evaluation. A second time to the
mark goes by the games of training itself, which end late: in Pong after more than a
thousand steps. Example:

    python -m launch.bench_agents --games=pong,asterix,ms_pacman,assault --seeds=3

Expected: on an H100 a minute or two a game and seed, and a minute to compile. Prints a
table and one JSON line a run: time to the mark with compiling apart and included,
emulated frames/s while training, and the shares of emulation, inference and learning.
"""

import contextlib
import json
import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags
from jax import numpy as jnp
from rich.table import Table

import atari
from atari.agents import evaluate, score
from atari.agents.agent import Agent, State
from launch import common, learning

MARKS = {"pong": 18.0, "asterix": 1000.0, "ms_pacman": 1500.0, "assault": 800.0}
CULE_MINUTES = {"pong": 3.1, "asterix": 3.4, "ms_pacman": 6.9, "assault": 9.4}

_GAMES = flags.DEFINE_list("games", list(MARKS), "names")
_AGENT = flags.DEFINE_enum("agent", "ppo", list(learning.AGENTS), "algorithm")
_SEEDS = flags.DEFINE_integer("seeds", 3, "runs of a game", lower_bound=1)
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "of a game's first run")
_FRAMES = flags.DEFINE_integer("frames", 50_000_000, "of a run's schedules")
_SECONDS = flags.DEFINE_float("seconds", 90, "of a run's training, at most")
_SET = flags.DEFINE_list("set", [], "settings of the agent, name=value")
_SNAPSHOT = flags.DEFINE_float("snapshot_seconds", 2, "between snapshots")
_PLAYED = flags.DEFINE_integer("evaluation_games", 30, "of a snapshot; 0: no marks")
_AT_ONCE = flags.DEFINE_integer(
    "snapshots", 8, "evaluated at once, twice: overall, then near the mark"
)
_GREEDY = flags.DEFINE_bool("greedy", False, "evaluate the best actions, not samples")
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "noop", list(evaluate.PROTOCOLS), "of evaluation"
)
_CUT = flags.DEFINE_integer("max_frames", 108_000, "of a game that is evaluated")
_PRINT = flags.DEFINE_float("print_seconds", 0, "print progress so often; 0: never")
_OUTPUT = flags.DEFINE_string("output", None, "also append JSON lines to this file")


@contextlib.contextmanager
def busy_shares(shares: list[float]) -> Iterator[None]:
    """Samples the share of time in which a GPU was busy, where something can tell."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "-lms", "500"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    command += ["--format=csv,noheader,nounits", f"--id={visible}"]
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except FileNotFoundError:
        yield
        return
    try:
        yield
    finally:
        process.terminate()
        for line in (process.communicate()[0] or "").splitlines():
            with contextlib.suppress(ValueError):
                shares.append(float(line) / 100)


def shares(agent: Agent, config: Any, state: State, seconds: float) -> dict[str, float]:
    """Parts of an update: inference and learning timed alone, emulation the rest.

    Args:
        agent: the agent.
        config: its configuration.
        state: any state of it.
        seconds: of a whole update.
    """
    batch = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(agent.collect, state)[2]
    )
    learn = jax.jit(lambda s, b: agent.learn(s, b)[0].params)

    @jax.jit
    def infer(state: State) -> jax.Array:
        def step(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            # Hangs on the sum so that no step is moved out of the loop.
            seen = state.actors.observation ^ (total == -1).astype(jnp.uint8)
            return total + agent.act(state.params, key, seen, False).sum(), None

        keys = jax.random.split(jax.random.key(0), config.steps)
        return jax.lax.scan(step, jnp.int32(0), keys)[0]

    def timed(call: Callable[[], Any]) -> float:
        jax.block_until_ready(call())
        clock = time.perf_counter()
        jax.block_until_ready([call() for _ in range(3)])
        return (time.perf_counter() - clock) / 3

    learning_share = timed(lambda: learn(state, batch)) / seconds
    inference_share = timed(lambda: infer(state)) / seconds
    return {
        "inference_share": inference_share,
        "learning_share": learning_share,
        "emulation_share": 1 - inference_share - learning_share,
    }


def measure(game: str, seed: int) -> dict[str, Any]:
    """Trains one agent, and finds when it reached the mark."""
    env = atari.make(game, "dqn")
    skip = env.config.frame_skip
    config = learning.configure(_AGENT.value, _SET.value, _FRAMES.value, skip)
    agent = learning.AGENTS[_AGENT.value].make(config, env)
    snapshots: list[tuple[learning.Row, Any]] = []
    printed = 0.0

    def on_update(row: learning.Row, state: State) -> None:
        nonlocal printed
        last = snapshots[-1][0]["seconds"] if snapshots else -_SNAPSHOT.value
        if row["seconds"] >= last + _SNAPSHOT.value:
            snapshots.append((row, jax.device_get(state.params)))
        if _PRINT.value and row["seconds"] >= printed + _PRINT.value:
            printed = row["seconds"]
            print(json.dumps(brief(row)), flush=True)

    busy: list[float] = []
    with contextlib.ExitStack() as stack:
        done = learning.fit(
            agent,
            env,
            seed,
            config.updates,
            max_seconds=_SECONDS.value,
            on_update=on_update,
            on_compiled=lambda: stack.enter_context(busy_shares(busy)),
        )
    last = done.rows[-1]
    snapshots.append((last, jax.device_get(done.state.params)))
    rates = [row["frames_per_second"] for row in done.rows]
    rate = statistics.median(rates)
    row = {
        "game": game,
        "agent": _AGENT.value,
        "seed": seed,
        "compile_seconds": done.compile_seconds,
        "start_seconds": done.start_seconds,
        "train_seconds": last["seconds"],
        "frames": last["frames"],
        "frames_per_second": rate,
        "slowest": min(rates),
        "training_score": last["score"],
        "training_seconds_to_mark": crossing(done.rows, MARKS.get(game, math.inf)),
        "busy_share": statistics.mean(busy) if busy else None,
    }
    if _PRINT.value:
        print(json.dumps(row), flush=True)
    if _PLAYED.value:
        row |= find_mark(game, agent, snapshots)
    return row | shares(agent, config, done.state, agent.steps * skip / rate)


def crossing(rows: Sequence[learning.Row], mark: float) -> float | None:
    """When the mean of the last 100 games played in training reached a mark."""
    for row in rows:
        if row["score"] is not None and row["score"] >= mark:
            return row["seconds"]
    return None


def brief(row: learning.Row) -> dict[str, float]:
    """A row with short numbers."""
    return {
        key: float(f"{value:.4g}")
        for key, value in row.items()
        if value is not None and key != "points_of_games"
    }


def find_mark(
    game: str, agent: Agent, snapshots: Sequence[tuple[learning.Row, Any]]
) -> dict[str, Any]:
    """When the mark was reached, and how well the last snapshot plays."""
    found: dict[int, np.ndarray] = {}

    def score_all(chosen: Sequence[int]) -> None:
        chosen = [i for i in chosen if i not in found]
        if not chosen:
            return
        clock = time.perf_counter()
        scores = play(game, agent, [snapshots[i][1] for i in chosen])
        seconds = time.perf_counter() - clock
        for i, row in zip(chosen, scores, strict=True):
            found[i] = row
            print(
                f"{game}: {snapshots[i][0]['seconds']:.1f} s of training: "
                f"{row.mean():.2f}, from {row.min():g} to {row.max():g}",
                flush=True,
            )
        print(f"{game}: evaluated in {seconds:.1f} s", flush=True)

    end = len(snapshots) - 1
    score_all([end])
    score_all(between(-1, end, _AT_ONCE.value))
    row: dict[str, Any] = {
        "protocol": _PROTOCOL.value,
        "final_score": float(found[end].mean()),
        "final_error": float(found[end].std() / np.sqrt(_PLAYED.value)),
        "human_normalised": score.human_normalised(game, float(found[end].mean())),
    }
    mark = MARKS.get(game)
    if mark is not None:
        row |= {"mark": mark, "seconds_to_mark": None}
        low, first = bracket({i: row.mean() for i, row in found.items()}, mark)
        if first is not None:
            score_all(between(low, first, _AT_ONCE.value))
            _, first = bracket({i: row.mean() for i, row in found.items()}, mark)
        if first is not None:
            row |= {
                "seconds_to_mark": snapshots[first][0]["seconds"],
                "frames_to_mark": snapshots[first][0]["frames"],
                "score_at_mark": float(found[first].mean()),
            }
    row["scores"] = {
        f"{snapshots[i][0]['seconds']:.1f}": float(found[i].mean())
        for i in sorted(found)
    }
    return row


def between(low: int, high: int, number: int) -> list[int]:
    """So many whole numbers spread over `low < i <= high`, the last one included."""
    number = min(number, high - low)
    return [low + (high - low) * (k + 1) // number for k in range(number)]


def bracket(scores: dict[int, float], mark: float) -> tuple[int, int | None]:
    """The first snapshot that reaches a mark, and the one before it that was scored."""
    low = -1
    for i in sorted(scores):
        if scores[i] >= mark:
            return low, i
        low = i
    return low, None


def play(game: str, agent: Agent, params: Sequence[Any]) -> np.ndarray:
    """Scores of whole games by several networks at once: [networks, games]."""
    number = len(params)

    @jax.jit
    def act(params: Any, key: jax.Array, seen: jax.Array) -> jax.Array:
        seen = seen.reshape(number, -1, *seen.shape[1:])
        one = jax.vmap(lambda p, k, s: agent.act(p, k, s, _GREEDY.value))
        return one(params, jax.random.split(key, number), seen).reshape(-1)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    games = number * _PLAYED.value
    with common.progress(f"{game}: {number} snapshots", games) as advance:
        shown = 0

        def on_step(steps: int, over: int) -> None:
            nonlocal shown
            if over > shown:
                advance(f"{steps} steps", over - shown)
                shown = over

        found = evaluate.in_ale(
            game,
            lambda params, key, seen, greedy: act(params, key, seen),
            stacked,
            games,
            protocol=_PROTOCOL.value,
            max_frames=_CUT.value,
            on_step=on_step,
        )
    return found.score.reshape(number, -1)


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    machine = common.machine()
    table = Table(title=f"{_AGENT.value} on {machine['device']}")
    for name in (
        "game",
        "mark",
        "s to it",
        "with compiling",
        "CuLE min",
        "final score",
        "human = 1",
        "frames/s",
        "emulate, infer, learn",
    ):
        table.add_column(name, justify="right")
    try:
        for game in _GAMES.value:
            for run in range(_SEEDS.value):
                row = measure(game, _FIRST_SEED.value + run)
                line = machine | row
                print(json.dumps(line), flush=True)
                if _OUTPUT.value:
                    common.append_json(_OUTPUT.value, line)
                _add(table, row)
    except (ValueError, ModuleNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error
    common.console.print(table)


def _add(table: Table, row: dict[str, Any]) -> None:
    reached = row.get("seconds_to_mark")
    extra = row["compile_seconds"] + row["start_seconds"]
    parts = [row[f"{p}_share"] for p in ("emulation", "inference", "learning")]
    table.add_row(
        row["game"],
        f"{row['mark']:g}" if "mark" in row else "",
        "-" if reached is None else f"{reached:.1f}",
        "-" if reached is None else f"{reached + extra:.1f}",
        f"{CULE_MINUTES[row['game']]}" if row["game"] in CULE_MINUTES else "",
        f"{row['final_score']:.1f}" if "final_score" in row else "",
        f"{row['human_normalised']:.2f}" if "human_normalised" in row else "",
        f"{row['frames_per_second']:,.0f}",
        ", ".join(f"{part:.0%}" for part in parts),
    )


if __name__ == "__main__":
    app.run(main)
