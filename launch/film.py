"""Random play in many environments, filmed on one sheet."""

import time
from typing import Any

import jax
import numpy as np

import atari
from atari import video
from launch import common


def play(
    env: atari.Environment, num_envs: int, steps: int, seed: int, output: str
) -> dict[str, Any]:
    """Plays, writes the film and returns the figures.

    Args:
        env: the game.
        num_envs: environments side by side.
        steps: of `frame_skip` frames.
        seed: of everything.
        output: file, see `atari.video.save`.
    """
    key, reset_key = jax.random.split(jax.random.key(seed))
    reset = jax.jit(jax.vmap(env.reset))

    @jax.jit
    def step(
        bank: atari.Bank, key: jax.Array, state: atari.State
    ) -> tuple[atari.State, jax.Array, jax.Array]:
        act_key, step_key = jax.random.split(key)
        actions = jax.random.randint(act_key, (num_envs,), 0, env.num_actions)
        resetting = atari.autoreset(env, "next_step", bank)
        state, timestep = jax.vmap(resetting.step)(
            jax.random.split(step_key, num_envs), state, actions
        )
        seen = jax.vmap(lambda s: video.screens(env, s))(state)
        return state, timestep.info.score, seen

    with common.progress(env.game.name, steps + 1) as advance:
        bank = jax.block_until_ready(reset(jax.random.split(reset_key, num_envs)))
        advance("reset")
        state = bank[0]
        frames, score = [], np.zeros(num_envs)
        start = time.perf_counter()
        for i in range(steps):
            state, points, seen = step(bank, jax.random.fold_in(key, i), state)
            score += np.asarray(points)
            frames.append(video.tile(np.asarray(seen)))
            if i == 0:
                start = time.perf_counter()  # compiled
            advance(f"{score.sum():.0f} points")
    seconds = time.perf_counter() - start
    rate = env.config.frame_skip * num_envs * (steps - 1) / max(seconds, 1e-9)
    path = video.save(output, frames)
    return {
        "game": env.game.name,
        "num_envs": num_envs,
        "frames_per_second": rate,
        "mean_score": float(score.mean()),
        "output": str(path),
    }
