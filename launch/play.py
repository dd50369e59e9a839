r"""Plays a game at random in many environments and films them on one sheet.

Example:

    python -m launch.play --game=breakout --num_envs=16 --steps=150

Expected: a minute to compile, then minutes on 2 CPU cores, seconds on a GPU. Writes a
tiled film (.gif, .mp4) or the last picture (.png), prints frames per second and one
JSON line.
"""

import json
from collections.abc import Sequence

from absl import app, flags

import atari
from launch import common, film

_GAME = flags.DEFINE_string("game", "breakout", "name of a game, or path of a ROM")
_NUM_ENVS = flags.DEFINE_integer("num_envs", 16, "environments", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 150, "steps of four frames", lower_bound=1)
_PRESET = flags.DEFINE_enum("preset", "ale_vector", list(atari.PRESETS), "protocol")
_MODE = flags.DEFINE_integer("mode", None, "game mode; the default if not given")
_DIFFICULTY = flags.DEFINE_integer("difficulty", None, "difficulty switches")
_SEED = flags.DEFINE_integer("seed", 0, "of everything")
_OUTPUT = flags.DEFINE_string("output", "results/play.gif", ".gif, .mp4 or .png")


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    try:
        env = atari.make(
            _GAME.value, _PRESET.value, mode=_MODE.value, difficulty=_DIFFICULTY.value
        )
        row = film.play(env, _NUM_ENVS.value, _STEPS.value, _SEED.value, _OUTPUT.value)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error
    common.console.print(
        f"{row['output']}: {row['frames_per_second']:,.0f} frames/s, "
        f"{row['mean_score']:.1f} points each"
    )
    print(json.dumps(common.machine() | row))


if __name__ == "__main__":
    app.run(main)
