"""What a trained agent shows: its learning curve, and films of it at play."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np

import atari
from atari import video
from atari.agents import evaluate, score
from launch import common
from launch.learning import Row


def curve(path: str | Path, game: str, rows: Sequence[Row]) -> Path:
    """Draws scores against emulated frames and against seconds.

    Args:
        path: of the PNG.
        game: name.
        rows: from `learning.fit`.
    """
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    known = [row for row in rows if row["score"] is not None]
    scores = [row["score"] for row in known]
    for axis, column, unit, label in (
        (axes[0], "frames", 1e6, "million emulated frames"),
        (axes[1], "seconds", 1, "seconds of training"),
    ):
        axis.plot([row[column] / unit for row in known], scores, linewidth=1.2)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
        if game in score.PUBLISHED:
            axis.axhline(score.PUBLISHED[game][1], color="grey", linestyle=":")
    axes[0].set_ylabel("score")
    figure.suptitle(f"{game}: mean of the last 100 games (dotted: a human)", size=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return Path(path)


def film(
    env: atari.Environment,
    act: evaluate.Act,
    params: Any,
    *,
    games: int,
    steps: int,
    seed: int,
    output: str | Path,
) -> Path:
    """Films some games of an agent on one sheet, from their start.

    Args:
        env: from `evaluate.game`.
        act: the agent's.
        params: of its network.
        games: side by side.
        steps: of `frame_skip` frames.
        seed: of everything.
        output: file, see `atari.video.save`.
    """
    played = evaluate.make(env, act, games)
    screens = jax.jit(jax.vmap(lambda state: video.screens(env, state)))
    advance = jax.jit(played.advance)
    frames = []
    with common.progress(f"film of {env.game.name}", steps + 1) as moved:
        now = jax.jit(played.init)(jax.random.key(seed))
        moved("reset")
        for _ in range(steps):
            frames.append(video.tile(np.asarray(screens(now.env))))
            now = advance(params, now, 1)
            moved(f"{float(now.score.mean()):.1f} points each")
            if bool(now.env.over.all()):
                break
    return video.save(output, frames)
