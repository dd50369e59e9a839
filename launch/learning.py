"""Training an agent from a host: progress, rows, checkpoints, several devices."""

import ast
import collections
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from atari import Environment
from atari.agents import a2c_vtrace, dqn, ppo, pqn
from atari.agents.agent import Agent, Metrics, State

AGENTS: dict[str, Any] = {"a2c": a2c_vtrace, "dqn": dqn, "ppo": ppo, "pqn": pqn}

Row = dict[str, Any]

_RECENT = 100  # games of which the mean score is given


def configure(
    agent: str, settings: Sequence[str], frames: int, frame_skip: int, devices: int = 1
) -> Any:
    """An agent's configuration from the command line.

    Args:
        agent: name.
        settings: `name=value` each, of the agent's `Config`.
        frames: emulated frames of the whole run.
        frame_skip: of the environment.
        devices: that share the work.

    Raises:
        ValueError: unknown agent or setting, or a value out of range.
    """
    if agent not in AGENTS:
        raise ValueError(f"unknown agent {agent!r}; known: {', '.join(AGENTS)}")
    made = AGENTS[agent].Config
    known: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(made)}
    changes: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise ValueError(
                f"{agent} has no setting {name!r}; it has {', '.join(known)}"
            )
        changes[name] = _value(name, text, known[name])
    values = known | changes
    a_run = frame_skip * values["num_envs"] * values["steps"] * devices
    changes.setdefault("updates", max(1, math.ceil(frames / a_run)))
    return made(**changes)


def _value(name: str, text: str, default: Any) -> Any:
    """The text as a value of the default's type."""
    if isinstance(default, str):
        return text
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(default)(ast.literal_eval(text))
    except (KeyError, ValueError, SyntaxError, TypeError):
        kind = type(default).__name__
        raise ValueError(f"{name}={text!r} is not {kind}, as {default!r} is") from None


class Run(NamedTuple):
    """A finished training.

    Attributes:
        state: the last one; with several devices, with a leading axis.
        rows: one an update, see `fit`.
        compile_seconds: of `init` and `update`.
        start_seconds: of the first resets.
    """

    state: State
    rows: list[Row]
    compile_seconds: float
    start_seconds: float


def fit(
    agent: Agent,
    env: Environment,
    seed: int,
    updates: int,
    *,
    devices: int = 1,
    directory: str | Path | None = None,
    resume: bool = False,
    metadata: dict[str, Any] | None = None,
    checkpoint_seconds: float = 120.0,
    max_seconds: float = math.inf,
    on_compiled: Callable[[], None] | None = None,
    on_update: Callable[[Row, State], None] | None = None,
) -> Run:
    """Trains until `updates` are done or `max_seconds` have gone by.

    A run that was killed and is resumed ends with the same parameters as one that was
    not.

    Args:
        agent: made with `axis_name="devices"` if there are several.
        env: the environment it plays.
        seed: of everything.
        updates: to do in all, those of a restored checkpoint included.
        devices: that share the work.
        directory: folder for checkpoints, none if None.
        resume: go on from the newest checkpoint in `directory`, if any.
        metadata: what a checkpoint must agree with, e.g. game and configuration.
        checkpoint_seconds: a checkpoint follows the first update that ends so long
            after the last one, and the last update.
        max_seconds: of training, compiling apart.
        on_compiled: called before the first update.
        on_update: called with each row and state.

    Returns:
        A `Run`. A row has `update`, `frames` (emulated), `seconds` (of training, with
        neither compiling nor the first resets), `frames_per_second`, `score` (mean of
        the last 100 or more games to end; None before one has), `games`, `rate`
        (points in 1,000 steps of this update), `lost_rate` (the part of it below zero)
        and the losses.

    Raises:
        ValueError: a checkpoint that is damaged or belongs to another run, or more
            devices than there are.
    """
    if devices > jax.device_count():
        raise ValueError(f"{devices} devices asked for, {jax.device_count()} present")
    keys = key = jax.random.key(seed)
    if devices > 1:
        keys = jax.random.split(key, devices)
        start = jax.pmap(agent.init, axis_name="devices")
        update: Any = jax.pmap(agent.update, axis_name="devices", donate_argnums=0)
    else:
        start = jax.jit(agent.init)
        update = jax.jit(agent.update, donate_argnums=0)
    clock = time.perf_counter()
    start = start.lower(keys).compile()
    shapes = (
        jax.eval_shape(jax.vmap(agent.init, axis_name="devices"), keys)
        if (devices > 1)
        else jax.eval_shape(agent.init, keys)
    )
    update = update.lower(shapes).compile()
    compile_seconds = time.perf_counter() - clock

    clock = time.perf_counter()
    rows: list[Row] = []
    found = None
    if directory is not None and resume:
        found = _restore(directory, shapes, metadata or {})
    if found is None:
        state = jax.block_until_ready(start(keys))
    else:
        state, rows = found
    start_seconds = time.perf_counter() - clock
    if on_compiled:
        on_compiled()
    recent: collections.deque[tuple[float, float]] = collections.deque()
    for row in rows:
        _remember(recent, row["games"], row["points_of_games"])
    before = rows[-1]["seconds"] if rows else 0.0
    began = saved = time.perf_counter()
    skip = env.config.frame_skip
    while len(rows) < updates:
        clock = time.perf_counter()
        state, metrics = update(state)
        metrics = jax.device_get(metrics)
        now = time.perf_counter()
        if devices > 1:
            metrics = jax.tree.map(lambda x: x[0], metrics)
        row = _row(metrics, recent)
        row |= {
            "update": len(rows) + 1,
            "frames": (len(rows) + 1) * agent.steps * skip * devices,
            "seconds": before + now - began,
            "frames_per_second": agent.steps * skip * devices / (now - clock),
        }
        rows.append(row)
        if on_update:
            on_update(row, state)
        done = len(rows) == updates or row["seconds"] >= max_seconds
        if directory is not None and (done or now - saved > checkpoint_seconds):
            _save(directory, state, rows, metadata or {})
            saved = time.perf_counter()
        if done:
            break
    return Run(state, rows, compile_seconds, start_seconds)


def _remember(recent: collections.deque, games: float, points: float) -> None:
    """Keeps as few updates as have enough games."""
    recent.append((games, points))
    while sum(n for n, _ in recent) - recent[0][0] >= _RECENT:
        recent.popleft()


def _row(metrics: Metrics, recent: collections.deque) -> Row:
    sums = {name: float(x) for name, x in metrics.tally._asdict().items()}
    _remember(recent, sums["games"], sums["score"])
    games = sum(n for n, _ in recent)
    score = sum(points for _, points in recent) / games if games else None
    return {
        "score": score,
        "games": sums["games"],
        "points_of_games": sums["score"],
        "game_steps": sums["length"] / max(sums["games"], 1),
        "rate": 1000 * sums["points"] / sums["steps"],
        "lost_rate": 1000 * sums["lost"] / sums["steps"],
        **{name: float(loss) for name, loss in metrics.losses.items()},
    }


def parameters(state: State, devices: int = 1) -> Any:
    """The network's parameters on one device."""
    if devices == 1:
        return state.params
    return jax.tree.map(lambda x: jax.device_put(np.asarray(x[0])), state.params)


def _leaves(state: Any) -> dict[str, Any]:
    """The arrays by number; Orbax takes none that are empty."""
    leaves = jax.tree.leaves(state)
    return {f"{i:04}": leaf for i, leaf in enumerate(leaves) if leaf.size}


def _save(
    directory: str | Path, state: State, rows: list[Row], metadata: dict[str, Any]
) -> None:
    from fidelity import checkpoint  # here, since it takes seconds

    extra = {"rows": rows, "run": metadata}
    checkpoint.save(directory, len(rows), _leaves(state), extra)


def _restore(
    directory: str | Path, shapes: State, wanted: dict[str, Any]
) -> tuple[State, list[Row]] | None:
    from fidelity import checkpoint

    if checkpoint.latest(directory) is None:
        return None
    _, found, extra = checkpoint.restore(directory, _leaves(shapes))
    for name, value in wanted.items():
        if extra["run"].get(name) != value:
            raise ValueError(
                f"the checkpoint in {directory} has {name}={extra['run'].get(name)!r}, "
                f"not {value!r}; use its settings, or another folder"
            )
    leaves, structure = jax.tree.flatten(shapes)
    whole = [
        found.get(f"{i:04}", np.zeros(leaf.shape, leaf.dtype))
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, whole), extra["rows"]
