r"""Trains an agent on a game, with everything on the device.

Example:

    python -m launch.train_agent --agent=ppo --game=pong --frames=50_000_000
    python -m launch.train_agent --agent=ppo --game=breakout --frames=200_000_000 \
        --set=steps=8

Expected: on an H100 half a minute to compile and 580,000 frames/s, so a minute and a
half for the first command. On 2 CPU cores use
--set=num_envs=8,steps=8,minibatch=64,bank=4 and expect 40 frames/s. Under --output:
rows.jsonl (one line an update), curve.png, a film of the trained agent, checkpoints,
result.json with the score by --protocol. A killed run goes on with --resume.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags

import atari
from atari.agents import evaluate, score
from atari.agents.agent import Agent, State
from launch import common, learning, watch

_AGENT = flags.DEFINE_enum("agent", "ppo", list(learning.AGENTS), "algorithm")
_GAME = flags.DEFINE_string("game", "pong", "name of a game, or path of a ROM")
_FRAMES = flags.DEFINE_integer("frames", 30_000_000, "emulated", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", None, "stop training after so many")
_SET = flags.DEFINE_list("set", [], "settings of the agent, name=value")
_STICKY = flags.DEFINE_float("sticky", 0.0, "probability of a repeated action")
_DEVICES = flags.DEFINE_integer("devices", 1, "that share the work", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of everything")
_PLAYED = flags.DEFINE_integer("evaluation_games", 30, "at the end; 0 for none")
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "noop", list(evaluate.PROTOCOLS), "of the evaluation"
)
_PLACE = flags.DEFINE_enum(
    "evaluate_in", "ale", ["ale", "device"], "ale-py on the host, or this emulator"
)
_CUT = flags.DEFINE_integer("max_frames", 108_000, "of a game that is evaluated")
_FILM = flags.DEFINE_integer("film_steps", 450, "of the film; 0 for none")
_PRINT = flags.DEFINE_float("print_seconds", 0, "also print a line so often; 0: never")
_CHECKPOINT = flags.DEFINE_float(
    "checkpoint_seconds", 120, "between checkpoints; 0 for none"
)
_OUTPUT = flags.DEFINE_string("output", None, "folder; results/AGENT_GAME if not given")
_RESUME = flags.DEFINE_bool("resume", False, "go on with the run in --output")


def describe(row: learning.Row) -> str:
    """What a row says, in a few words."""
    score = "no game over yet" if row["score"] is None else f"score {row['score']:.1f}"
    return (
        f"{row['seconds']:.0f} s, {row['frames'] / 1e6:.1f} M frames, "
        f"{row['frames_per_second'] / 1e3:,.0f} k/s, {score}, "
        f"{row['rate']:+.2f} points/1,000 steps"
    )


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    try:
        run()
    except (ValueError, FileExistsError, FileNotFoundError, ModuleNotFoundError) as e:
        raise SystemExit(f"error: {e}") from e


def run() -> None:
    """Trains, and reports."""
    env = atari.make(_GAME.value, "dqn", repeat_action_probability=_STICKY.value)
    skip = env.config.frame_skip
    config = learning.configure(
        _AGENT.value, _SET.value, _FRAMES.value, skip, _DEVICES.value
    )
    axis = "devices" if _DEVICES.value > 1 else None
    agent = learning.AGENTS[_AGENT.value].make(config, env, axis)
    output = Path(_OUTPUT.value or f"results/{_AGENT.value}_{env.game.name}")
    if output.exists() and any(output.iterdir()) and not _RESUME.value:
        raise FileExistsError(
            f"{output} holds an earlier run; give --resume, or another --output"
        )
    output.mkdir(parents=True, exist_ok=True)
    log = output / "rows.jsonl"
    about = {
        "agent": _AGENT.value,
        "game": env.game.name,
        "seed": _SEED.value,
        "devices": _DEVICES.value,
        "sticky": _STICKY.value,
        "config": dataclasses.asdict(config),
    }
    printed, shown = -_PRINT.value, 0
    with common.progress(f"{_AGENT.value} {env.game.name}", config.updates) as advance:

        def on_update(row: learning.Row, state: State) -> None:
            nonlocal printed, shown
            common.append_json(log, row)
            advance(describe(row), row["update"] - shown)
            shown = row["update"]
            if _PRINT.value and row["seconds"] >= printed + _PRINT.value:
                print(json.dumps(row), flush=True)
                printed = row["seconds"]

        done = learning.fit(
            agent,
            env,
            _SEED.value,
            config.updates,
            devices=_DEVICES.value,
            directory=output / "checkpoints" if _CHECKPOINT.value else None,
            resume=_RESUME.value,
            metadata=about,
            checkpoint_seconds=_CHECKPOINT.value,
            max_seconds=_SECONDS.value or float("inf"),
            on_compiled=lambda: advance("compiled", 0),
            on_update=on_update,
        )
    watch.curve(output / "curve.png", env.game.name, done.rows)
    last = done.rows[-1]
    result: dict[str, Any] = common.machine() | about
    result |= {k: last[k] for k in ("frames", "seconds", "score")}
    result["frames_per_second"] = last["frames"] / last["seconds"]
    result["compile_seconds"] = done.compile_seconds
    params = learning.parameters(done.state, _DEVICES.value)
    if _PLAYED.value:
        result |= played(agent, params)
    common.write_atomically(output / "result.json", json.dumps(result, indent=2))
    common.console.print(describe(last))
    print(json.dumps(result), flush=True)
    if _FILM.value:
        watch.film(
            evaluate.game(_GAME.value, _PROTOCOL.value),
            agent.act,
            params,
            games=4,
            steps=_FILM.value,
            seed=_SEED.value,
            output=output / "film.gif",
        )


def played(agent: Agent, params: Any) -> dict[str, Any]:
    """Scores of whole games by the protocol."""
    games, protocol, cut = _PLAYED.value, _PROTOCOL.value, _CUT.value
    if _PLACE.value == "ale":
        act = jax.jit(agent.act, static_argnums=3)
        found = evaluate.in_ale(
            _GAME.value, act, params, games, protocol=protocol, max_frames=cut
        )
    else:
        env = evaluate.game(_GAME.value, protocol, max_frames=cut)
        found = evaluate.on_device(env, agent.act, params, games, seed=_SEED.value)
    mean = float(found.score.mean())
    return {
        "protocol": protocol,
        "evaluated_in": _PLACE.value,
        "evaluation_games": games,
        "evaluation_score": mean,
        "evaluation_error": float(found.score.std() / np.sqrt(games)),
        "human_normalised": score.human_normalised(_GAME.value, mean),
    }


if __name__ == "__main__":
    app.run(main)
