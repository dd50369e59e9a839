"""What a trajectory teaches: advantages and targets of value functions.

All functions are for one trajectory of `T` steps; `jax.vmap` them over a batch. Step t
leads from observation t to t + 1 and gives `rewards[t]`. Two arrays say what ends then:

* `discounts[t]`: the discount, 0 if the step is terminal: nothing is bootstrapped.
* `ends[t]`: the episode ends, terminal or truncated: the next step belongs to another,
  so that nothing but `values[t + 1]`, of the final observation, may come from beyond.
"""

from typing import NamedTuple

import jax
from jax import lax, numpy as jnp


def _backwards(start: jax.Array, gains: jax.Array, factors: jax.Array) -> jax.Array:
    """`x[t] = gains[t] + factors[t] * x[t + 1]`, with `x[T] = start`."""

    def step(x: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple:
        gain, factor = row
        x = gain + factor * x
        return x, x

    return lax.scan(step, start, (gains, factors), reverse=True)[1]


def advantages(
    rewards: jax.Array,
    values: jax.Array,
    discounts: jax.Array,
    ends: jax.Array,
    trace: float,
) -> jax.Array:
    """Generalised advantage estimates (Schulman et al., 2016, equation 16).

    Args:
      rewards: float32[T].
      values: float32[T + 1], V of observations 0 to T.
      discounts: float32[T].
      ends: bool[T].
      trace: Lambda.

    Returns:
      float32[T]; add `values[:-1]` for the targets of V.

    Example:
      >>> one, no = jnp.ones(2), jnp.zeros(2, bool)
      >>> [float(a) for a in advantages(one, jnp.zeros(3), 0.5 * one, no, 1.0)]
      [1.5, 1.0]
    """
    errors = rewards + discounts * values[1:] - values[:-1]
    return _backwards(jnp.zeros_like(errors[0]), errors, discounts * trace * ~ends)


def lambda_returns(
    rewards: jax.Array,
    values: jax.Array,
    discounts: jax.Array,
    ends: jax.Array,
    trace: float,
) -> jax.Array:
    """Mixtures of n-step returns (Sutton and Barto, 2018, equation 12.18).

    With `values` the greatest action values they are the Q(lambda) targets of PQN
    (Gallici et al., 2024, section 4), which go on over exploratory actions.

    Args:
      rewards: float32[T].
      values: float32[T + 1].
      discounts: float32[T].
      ends: bool[T].
      trace: Lambda.

    Returns:
      float32[T].
    """
    kept = trace * ~ends
    gains = rewards + discounts * (1 - kept) * values[1:]
    return _backwards(values[-1], gains, discounts * kept)


class Corrected(NamedTuple):
    """What V-trace gives."""

    targets: jax.Array  # float32[T], of V
    advantages: jax.Array  # float32[T], of the policy gradient, weighted by rho


def vtrace(
    log_ratios: jax.Array,
    rewards: jax.Array,
    values: jax.Array,
    discounts: jax.Array,
    ends: jax.Array,
    *,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
) -> Corrected:
    """Off-policy corrected targets (Espeholt et al., 2018, equation 1, section 4.2).

    Args:
      log_ratios: float32[T], log of pi(a) / mu(a), the learner's over the actor's.
      rewards: float32[T].
      values: float32[T + 1], V by the learner.
      discounts: float32[T].
      ends: bool[T].
      clip_rho: Bound of the ratios that weigh errors.
      clip_c: Bound of the ratios that make up traces.

    Returns:
      Targets and advantages.
    """
    ratios = jnp.exp(log_ratios)
    rho = jnp.minimum(clip_rho, ratios)
    c = jnp.minimum(clip_c, ratios) * ~ends
    errors = rho * (rewards + discounts * values[1:] - values[:-1])
    gaps = _backwards(jnp.zeros_like(errors[0]), errors, discounts * c)
    targets = values[:-1] + gaps
    following = jnp.append(targets[1:], values[-1])
    following = jnp.where(ends, values[1:], following)
    return Corrected(targets, rho * (rewards + discounts * following - values[:-1]))


class Ahead(NamedTuple):
    """A return of up to n steps."""

    reward: jax.Array  # float32[], discounted sum
    discount: jax.Array  # float32[], of the value of the observation after the last
    steps: jax.Array  # int32[], how many: fewer than n if the episode ends


def n_step(
    rewards: jax.Array, terminals: jax.Array, ends: jax.Array, discount: float
) -> Ahead:
    """The n-step return (Sutton and Barto, 2018, equation 7.1) of an action value.

    Args:
      rewards: float32[n].
      terminals: bool[n].
      ends: bool[n].
      discount: Gamma.

    Example:
      >>> no = jnp.zeros(3, bool)
      >>> ahead = n_step(jnp.ones(3), no.at[1].set(True), no.at[1].set(True), 0.5)
      >>> float(ahead.reward), float(ahead.discount), int(ahead.steps)
      (1.5, 0.0, 2)
    """
    # Step k is taken unless the episode ended at one before.
    taken = jnp.cumsum(ends) - ends == 0
    gammas = discount ** jnp.arange(rewards.shape[0] + 1, dtype=jnp.float32)
    steps = taken.sum(dtype=jnp.int32)
    survives = ~(terminals & taken).any()
    return Ahead((gammas[:-1] * rewards * taken).sum(), gammas[steps] * survives, steps)
