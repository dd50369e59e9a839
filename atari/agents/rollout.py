"""Many environments played by one policy, and a record of what happened.

Environments reset themselves at the step after their last (`atari.autoreset`), from a
bank of reset games. So the record holds every final observation, and a step that only
resets, which is marked not to be learned from.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax, numpy as jnp

from atari.environment import Environment
from atari.resetting import Bank, autoreset

Policy = Callable[[jax.Array, jax.Array], tuple[jax.Array, Any]]
"""`(key, observations [N, ...]) -> (actions int32[N], extras)`."""


class Actors(NamedTuple):
    """`N` environments in play; a pytree of arrays."""

    env: Any  # states
    observation: jax.Array  # uint8[N, ...]
    score: jax.Array  # float32[N], of the games so far
    length: jax.Array  # int32[N], steps of the games so far
    wait: jax.Array  # int32[N], steps until the first game starts
    bank: Bank


class Steps(NamedTuple):
    """A record; `[T, N]`, or `[N]` for one step."""

    observation: jax.Array  # uint8[..., *observation_shape], before the step
    action: jax.Array  # int32
    reward: jax.Array  # float32
    terminal: jax.Array  # bool, nothing is to be expected after it
    end: jax.Array  # bool, terminal or truncated
    valid: jax.Array  # bool, not a mere reset
    age: jax.Array  # int32, steps since the game's first observation
    extra: Any  # of the policy


class Tally(NamedTuple):
    """Sums over steps and environments, float32[]."""

    steps: jax.Array
    points: jax.Array  # unclipped reward
    lost: jax.Array  # the part of it below zero
    reward: jax.Array
    games: jax.Array  # that ended
    score: jax.Array  # of these games
    length: jax.Array  # of these games, in steps


def start(
    env: Environment, key: jax.Array, number: int, bank_size: int, stagger: int = 0
) -> Actors:
    """Fills a bank with reset games and starts `number` environments from it.

    Games that start together are at the same place for a long time, and a batch of them
    is not worth much more than one. So they start one after another.

    Args:
      env: Without autoreset.
      key: PRNG key.
      number: `N`.
      bank_size: Reset games.
      stagger: Steps within which games start, evenly spread; 0 for all at once.

    Raises:
      ValueError: Less than one environment or reset game.
    """
    if number < 1 or bank_size < 1:
        raise ValueError(
            f"need at least one environment and one reset game, got {number} and "
            f"{bank_size}"
        )
    bank_key, pick_key = jax.random.split(key)
    bank = jax.vmap(env.reset)(jax.random.split(bank_key, bank_size))
    picks = jax.random.randint(pick_key, (number,), 0, bank_size)
    state, timestep = jax.tree.map(lambda leaf: leaf[picks], bank)
    zeros = jnp.zeros(number)
    whole = zeros.astype(jnp.int32)
    # Whoever waits is over, and is reset again and again.
    wait = jax.random.permutation(pick_key, number) * stagger // number
    state = state._replace(over=state.over | (wait > 0))
    return Actors(state, timestep.observation, zeros, whole, wait, bank)


def step(
    env: Environment, policy: Policy, key: jax.Array, actors: Actors
) -> tuple[Actors, Steps, Tally]:
    """One step of all environments."""
    act_key, step_key = jax.random.split(key)
    with jax.named_scope("inference"):
        action, extra = policy(act_key, actors.observation)
    over = actors.env.over
    number = over.shape[0]
    with jax.named_scope("emulation"):
        resetting = autoreset(env, "next_step", actors.bank)
        keys = jax.random.split(step_key, number)
        state, timestep = jax.vmap(resetting.step)(keys, actors.env, action)
    wait = jnp.maximum(actors.wait - 1, 0)
    state = state._replace(over=state.over | (wait > 0))
    score = jnp.where(over, 0, actors.score) + timestep.info.score
    length = jnp.where(over, 0, actors.length + 1)
    finished = state.over & ~over
    made = Steps(
        observation=actors.observation,
        action=action,
        reward=timestep.reward,
        terminal=timestep.terminated,
        end=timestep.terminated | timestep.truncated,
        valid=~over,
        age=actors.length,
        extra=extra,
    )
    tally = Tally(
        steps=jnp.float32(number),
        points=timestep.info.score.sum(),
        lost=jnp.minimum(timestep.info.score, 0).sum(),
        reward=timestep.reward.sum(),
        games=finished.sum().astype(jnp.float32),
        score=jnp.where(finished, score, 0).sum(),
        length=jnp.where(finished, length, 0).sum().astype(jnp.float32),
    )
    now = actors._replace(
        env=state,
        observation=timestep.observation,
        score=score,
        length=length,
        wait=wait,
    )
    return now, made, tally


def collect(
    env: Environment, policy: Policy, key: jax.Array, actors: Actors, steps: int
) -> tuple[Actors, Steps, Tally]:
    """Several steps of all environments.

    Args:
      env: Without autoreset.
      policy: What chooses actions.
      key: PRNG key.
      actors: From `start`.
      steps: `T`.

    Returns:
      The environments after it, a record `[T, N]`, and sums. The observation after the
      last step is `actors.observation`.
    """

    def body(actors: Actors, key: jax.Array) -> tuple[Actors, tuple[Steps, Tally]]:
        actors, made, tally = step(env, policy, key, actors)
        return actors, (made, tally)

    actors, (made, tallies) = lax.scan(body, actors, jax.random.split(key, steps))
    return actors, made, jax.tree.map(lambda x: x.sum(0), tallies)
