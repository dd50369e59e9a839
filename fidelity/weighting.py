"""Rules that tune the weights of a multi-part loss while training runs.

A rule is `(init, update)`: `init(K) -> state` and `update(values [K], state) ->
(weights [K], state)`, pure and jittable, called with the batch means of the `K` terms
before each step. Weights that a rule *tunes* always sum to one, so that tuning them
never changes the step size: left free, uncertainty weights grow as the terms shrink
and multiply the learning rate.

`fidelity.search` finds fixed weights on a held-out split instead.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Weighting(NamedTuple):
    """A rule for the weights of `K` loss terms."""

    init: Callable[[int], Any]
    update: Callable[[jax.Array, Any], tuple[jax.Array, Any]]


def fixed(weights: Sequence[float]) -> Weighting:
    """Weights given by hand, used as they are.

    The weights are the rule's state, so one compiled train step serves them all.

    Args:
        weights: `[K]`, not negative, not all zero.

    Raises:
        ValueError: a negative weight, all zero, or another `K` at `init`.

    Example:
        >>> rule = fixed((0.1, 0.9))
        >>> weights, _ = rule.update(jnp.array([3.0, 4.0]), rule.init(2))
        >>> [round(float(w), 3) for w in weights]
        [0.1, 0.9]
    """
    if min(weights) < 0 or sum(weights) == 0:
        raise ValueError(f"weights must be >= 0 and not all 0, got {list(weights)}")

    def init(num_terms: int) -> jax.Array:
        if num_terms != len(weights):
            raise ValueError(f"{len(weights)} weights for {num_terms} loss terms")
        return jnp.array(weights, jnp.float32)

    return Weighting(init, lambda values, state: (state, state))


def uniform() -> Weighting:
    """The same weight, `1 / K`, for every term."""
    return Weighting(
        lambda num_terms: jnp.full((num_terms,), 1 / num_terms),
        lambda values, state: (state, state),
    )


def uncertainty(learning_rate: float = 0.02, floor: float = 1e-3) -> Weighting:
    """Homoscedastic-uncertainty weights, normalised.

    Each term has a log-variance `s_k` that follows the gradient of
    `sum_k exp(-s_k) L_k + s_k` (Kendall et al. 2018, arXiv:1705.07115, section 3); the
    weights are `softmax(-s)`. In the steady state `w_k` is proportional to `1 / L_k`.

    Args:
        learning_rate: of the log-variances, for each step.
        floor: terms below it count as `floor`, which bounds `s_k` from below.

    Raises:
        ValueError: a learning rate or floor that is not positive.
    """
    if learning_rate <= 0 or floor <= 0:
        raise ValueError(
            f"learning_rate and floor must be > 0, got {learning_rate}, {floor}"
        )

    def update(values: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        values = jax.lax.stop_gradient(jnp.maximum(values, floor))
        # exp(-s) L may be large at the start: clipping bounds the first steps.
        slope = jnp.clip(1.0 - jnp.exp(-state) * values, -10.0, 1.0)
        state = state - learning_rate * slope
        return jax.nn.softmax(-state), state

    return Weighting(lambda num_terms: jnp.zeros((num_terms,)), update)


def _difference_coefficients(points: int) -> np.ndarray:
    """Weights of the first derivative at the first of equidistant points, `[n]`."""
    powers = np.vander(np.arange(points, dtype=np.float64), increasing=True).T
    return np.linalg.solve(powers, np.eye(points)[1])


def softadapt_weights(
    history: jax.Array, *, beta: float = 0.1, variant: str = "loss_weighted"
) -> jax.Array:
    """SoftAdapt weights of `K` terms from their recent values.

    A term that falls more slowly than the others gets more weight: `w = softmax(beta
    s)` with `s_k` the finite-difference slope of term `k` over the window, taken with
    all its points at the oldest one, as in the published implementation (Heydari et
    al. 2019, arXiv:1912.12355).

    Args:
        history: `[n, K]`, oldest first, `n >= 2`.
        beta: sharpness.
        variant: "original"; "normalized" divides the slopes by their sum;
            "loss_weighted" multiplies the weights with the window's mean losses.

    Returns:
        `[K]`, sums to one.

    Raises:
        ValueError: unknown variant or a window of one point.

    Example:
        >>> rising_and_falling = jnp.array([[1.0, 2.0], [2.0, 1.0]])
        >>> w = softadapt_weights(rising_and_falling, beta=1.0, variant="original")
        >>> [round(float(x), 3) for x in w]
        [0.881, 0.119]
    """
    if variant not in ("original", "normalized", "loss_weighted"):
        raise ValueError(
            f"unknown SoftAdapt variant {variant!r}; choose original, normalized or "
            "loss_weighted"
        )
    if history.ndim != 2 or history.shape[0] < 2:
        raise ValueError(f"history must be [n >= 2, K], got {history.shape}")
    coefficients = jnp.asarray(_difference_coefficients(history.shape[0]), jnp.float32)
    slopes = coefficients @ history
    if variant == "normalized":
        slopes = slopes / (jnp.sum(slopes) + 1e-8)
    scores = jnp.exp(beta * (slopes - jnp.max(slopes)))
    if variant == "loss_weighted":
        # The small number keeps terms that are all zero at equal weights.
        scores = scores * (jnp.mean(history, 0) + 1e-8)
    return scores / jnp.sum(scores)


class SoftAdaptState(NamedTuple):
    """A window of recent term values and the weights they led to."""

    history: jax.Array  # [n, K] means over `every` steps, oldest first
    total: jax.Array  # [K] sum since the last entry
    step: jax.Array  # []
    weights: jax.Array  # [K]


def softadapt(
    *,
    points: int = 5,
    every: int = 10,
    beta: float = 0.1,
    variant: str = "loss_weighted",
) -> Weighting:
    """SoftAdapt while training: a new window entry, and weights, after `every` steps.

    The weights are uniform until `points` entries are there.

    Args:
        points: entries of the window.
        every: steps that one entry averages over.
        beta: see `softadapt_weights`.
        variant: see `softadapt_weights`.

    Raises:
        ValueError: as `softadapt_weights`, or `every < 1`.
    """
    if every < 1:
        raise ValueError(f"every must be >= 1, got {every}")
    softadapt_weights(jnp.ones((points, 1)), beta=beta, variant=variant)

    def init(num_terms: int) -> SoftAdaptState:
        return SoftAdaptState(
            history=jnp.zeros((points, num_terms)),
            total=jnp.zeros((num_terms,)),
            step=jnp.zeros((), jnp.int32),
            weights=jnp.full((num_terms,), 1 / num_terms),
        )

    def update(
        values: jax.Array, state: SoftAdaptState
    ) -> tuple[jax.Array, SoftAdaptState]:
        total = state.total + jax.lax.stop_gradient(values)
        step = state.step + 1
        full = step % every == 0
        entry = jnp.concatenate([state.history[1:], total[None, :] / every])
        history = jnp.where(full, entry, state.history)
        ready = full & (step >= every * points)
        tuned = softadapt_weights(history, beta=beta, variant=variant)
        weights = jnp.where(ready, tuned, state.weights)
        total = jnp.where(full, 0.0, total)
        return weights, SoftAdaptState(history, total, step, weights)

    return Weighting(init, update)


def names() -> tuple[str, ...]:
    """The rules that `create` knows.

    Example:
        >>> names()
        ('uniform', 'uncertainty', 'softadapt')
    """
    return ("uniform", "uncertainty", "softadapt")


def create(name: str) -> Weighting:
    """The rule called `name`, with its defaults.

    Raises:
        ValueError: unknown name.
    """
    rules = {"uniform": uniform, "uncertainty": uncertainty, "softadapt": softadapt}
    if name not in rules:
        raise ValueError(f"unknown weighting {name!r}; choose from {', '.join(rules)}")
    return rules[name]()
