r"""Plays a game at random in many environments and films them on one sheet.

Example:

    python -m launch.play --game=breakout --num_envs=16 --steps=150

Expected: a minute to compile, then minutes on 2 CPU cores, seconds on a GPU. Writes a
tiled film (.gif, .mp4) or the last picture (.png), prints frames per second and one
JSON line.
"""

import json
import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags

import atari
from atari import video
from launch import common

_GAME = flags.DEFINE_string("game", "breakout", "name of a game, or path of a ROM")
_NUM_ENVS = flags.DEFINE_integer("num_envs", 16, "environments", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 150, "steps of four frames", lower_bound=1)
_PRESET = flags.DEFINE_enum("preset", "ale_vector", list(atari.PRESETS), "protocol")
_MODE = flags.DEFINE_integer("mode", None, "game mode; the default if not given")
_DIFFICULTY = flags.DEFINE_integer("difficulty", None, "difficulty switches")
_SEED = flags.DEFINE_integer("seed", 0, "of everything")
_OUTPUT = flags.DEFINE_string("output", "results/play.gif", ".gif, .mp4 or .png")


def play() -> dict:
    """Plays, writes the film and returns the figures."""
    env = atari.make(
        _GAME.value, _PRESET.value, mode=_MODE.value, difficulty=_DIFFICULTY.value
    )
    key, reset_key = jax.random.split(jax.random.key(_SEED.value))
    reset = jax.jit(jax.vmap(env.reset))
    envs = _NUM_ENVS.value

    @jax.jit
    def step(
        bank: atari.Bank, key: jax.Array, state: atari.State
    ) -> tuple[atari.State, jax.Array, jax.Array]:
        act_key, step_key = jax.random.split(key)
        actions = jax.random.randint(act_key, (envs,), 0, env.num_actions)
        resetting = atari.autoreset(env, "next_step", bank)
        state, timestep = jax.vmap(resetting.step)(
            jax.random.split(step_key, envs), state, actions
        )
        seen = jax.vmap(lambda s: video.screens(env, s))(state)
        return state, timestep.info.score, seen

    bank = reset(jax.random.split(reset_key, envs))
    state = bank[0]
    frames, score = [], np.zeros(envs)
    start = time.perf_counter()
    with common.progress(env.game.name, _STEPS.value) as advance:
        for i in range(_STEPS.value):
            state, points, seen = step(bank, jax.random.fold_in(key, i), state)
            score += np.asarray(points)
            frames.append(video.tile(np.asarray(seen)))
            if i == 0:
                start = time.perf_counter()  # compiled
            advance(f"{score.sum():.0f} points")
    seconds = time.perf_counter() - start
    rate = env.config.frame_skip * envs * (_STEPS.value - 1) / max(seconds, 1e-9)
    path = video.save(_OUTPUT.value, frames)
    return {
        "game": env.game.name,
        "num_envs": envs,
        "frames_per_second": rate,
        "mean_score": float(score.mean()),
        "output": str(path),
    }


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    try:
        row = play()
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error
    common.console.print(
        f"{row['output']}: {row['frames_per_second']:,.0f} frames/s, "
        f"{row['mean_score']:.1f} points each"
    )
    print(json.dumps(common.machine() | row))


if __name__ == "__main__":
    app.run(main)
