"""Environments that reset themselves when a game is over.

A reset emulates 68 frames and more, and in a batch everybody waits for the one who
resets. A bank of games that have just been reset, drawn from at random, costs nothing a
step. Where nothing but the timer's wake-up value and the number of idle actions tells
two resets apart, which is so unless `game.rom.history`, its entries are a sample of
exactly the states that resetting leads to.
"""

from typing import Any, Literal, TypeVar

import jax
from jax import numpy as jnp

from atari import batching, episode
from atari.environment import Environment
from atari.episode import State, TimeStep

T = TypeVar("T")

Bank = tuple[State, TimeStep]
"""Games that have just been reset, along a leading axis."""


def bank(env: Environment, key: jax.Array, size: int) -> Bank:
    """Resets a number of games.

    Raises:
      ValueError: The environment uses the reference's random streams, each reset of
        which depends on the play before.
    """
    if env.config.rng == "ale":
        raise ValueError("a bank needs rng='jax'; with 'ale' let resets be emulated")
    return jax.jit(jax.vmap(env.reset))(jax.random.split(key, size))


def autoreset(
    env: Environment,
    mode: Literal["next_step", "same_step"] = "next_step",
    bank: Bank | None = None,
) -> Environment:
    """Lets an environment reset itself.

    Args:
      env: The environment.
      mode: "next_step": the step after the last of a game resets, drops its action and
        gives no reward. "same_step": the last step of a game resets; its observation is
        the new game's, and the old game's is in `info.final_observation`.
      bank: Reset games to draw from; None emulates each reset, as ALE does.

    Returns:
      An environment of which `step` resets. Under `vmap` the bank stays one.

    Raises:
      ValueError: Unknown mode.

    Example:
      >>> env = make("pong")
      >>> env = autoreset(env, "same_step", bank(env, jax.random.key(0), 64))
    """
    if mode not in ("next_step", "same_step"):
        raise ValueError(f"mode must be next_step or same_step, not {mode!r}")

    def renew(
        key: jax.Array, state: State, timestep: TimeStep, where: jax.Array
    ) -> tuple[State, TimeStep]:
        if bank is None:
            state, first = env.restart(key, state, where)
            return state, _where(where, first, timestep)
        i = jax.random.randint(key, (), 0, bank[1].reward.shape[0])
        # An observation is made of the state, and need not be moved twice.
        unseen: Any = None
        state, timestep = batching.draw(
            where,
            i,
            (bank[0], bank[1]._replace(observation=unseen)),
            (state, timestep._replace(observation=unseen)),
        )
        seen = episode.shown(env.config, state.stack)
        return state, timestep._replace(observation=seen)

    def next_step(
        key: jax.Array, state: State, action: jax.Array
    ) -> tuple[State, TimeStep]:
        step_key, reset_key = jax.random.split(key)
        played, timestep = env.step(step_key, state, action)
        return renew(reset_key, played, timestep, state.over)

    def same_step(
        key: jax.Array, state: State, action: jax.Array
    ) -> tuple[State, TimeStep]:
        step_key, reset_key = jax.random.split(key)
        played, last = env.step(step_key, state, action)
        renewed, first = renew(reset_key, played, last, played.over)
        info = last.info._replace(
            lives=first.info.lives,
            frames=first.info.frames,
            final_observation=last.observation,
        )
        return renewed, last._replace(observation=first.observation, info=info)

    return env._replace(step=next_step if mode == "next_step" else same_step)


def _where(condition: jax.Array, new: T, old: T) -> T:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
