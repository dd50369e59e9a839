"""A search rule for loss weights: successive halving on a held-out split."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Found(NamedTuple):
    """Result of `successive_halving`."""

    weights: np.ndarray  # [K], sums to one
    state: Any  # of the winner, trained to the end
    trace: list[dict[str, Any]]  # every score that was measured


def candidates(key: jax.Array, num_terms: int, count: int) -> jax.Array:
    """Points of the simplex: uniform, the corners, then random ones.

    Args:
        key: PRNG key.
        num_terms: `K`.
        count: how many.

    Returns:
        `[count, K]`, rows sum to one.
    """
    drawn = jax.random.dirichlet(key, jnp.ones(num_terms), (count,))
    centre = jnp.full((1, num_terms), 1 / num_terms)
    return jnp.concatenate([centre, jnp.eye(num_terms), drawn])[:count]


def successive_halving(
    points: jax.Array,
    start: Callable[[jax.Array], Any],
    advance: Callable[[Any, int], Any],
    score: Callable[[Any], float],
    rungs: tuple[int, ...],
) -> Found:
    """Trains all candidates a little, drops the worse half, and so on.

    Every candidate keeps its state, so no epoch is done twice and the winner ends fully
    trained (Jamieson & Talwalkar 2016, arXiv:1502.07943).

    Args:
        points: `[M, K]` weights.
        start: weights `[K]` -> state.
        advance: `(state, epochs) -> state` trains up to `epochs` in all.
        score: state -> lower is better; must look at held-out data only.
        rungs: increasing numbers of epochs; after each but the last, half are dropped.

    Returns:
        The winner.

    Raises:
        ValueError: no candidates or rungs that do not increase.
    """
    if len(points) == 0 or not rungs or list(rungs) != sorted(set(rungs)):
        raise ValueError(f"need candidates and increasing rungs, got {rungs}")
    alive = [(np.asarray(w), start(w)) for w in points]
    trace = []
    for rung, epochs in enumerate(rungs):
        alive = [(w, advance(state, epochs)) for w, state in alive]
        scores = [float(score(state)) for _, state in alive]
        for (w, _), value in zip(alive, scores, strict=True):
            trace.append({"weights": w.tolist(), "epochs": epochs, "score": value})
        order = np.argsort(scores, kind="stable")
        last = rung + 1 == len(rungs)
        kept = 1 if last else max(1, len(alive) // 2)
        alive = [alive[i] for i in order[:kept]]
    return Found(*alive[0], trace)
