"""How strongly a score goes with an event: AUC, rank correlation, rates by bin.

Every statistic takes a weight an example, so that one bootstrap over examples serves
them all, and an example that was judged several times (by seeds) stays one unit.

Shapes: `N` examples, `S` seeds, `G` bins.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Statistic = Callable[[np.ndarray], float]


class Interval(NamedTuple):
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


class Bins(NamedTuple):
    """Rates by bin of a score, with confidence intervals; NaN in empty bins."""

    edges: np.ndarray  # [G + 1]
    examples: np.ndarray  # [G] in each bin
    rate: np.ndarray  # [G]
    low: np.ndarray  # [G]
    high: np.ndarray  # [G]


def levels(values: np.ndarray) -> np.ndarray:
    """Position of each value among the distinct values, `[N]` integer."""
    return np.unique(values, return_inverse=True)[1]


def _mid_ranks(level: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ranks of weighted examples from zero; ties share the middle of their span."""
    mass = np.bincount(level, weights)
    return (np.cumsum(mass) - mass / 2)[level]


def auc(level: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive outranks a negative, ties counted half.

    The area under the ROC curve (Mann & Whitney 1947).

    Args:
        level: `[N]` scores, as `levels(scores)`.
        positive: `[N]` weight of each example as a positive, e.g. 0 or 1.
        negative: `[N]` weight as a negative; an example may have both.

    Returns:
        In `[0, 1]`; NaN without a positive or without a negative.

    Example:
        >>> flips = np.array([0, 0, 1, 1])
        >>> auc(levels(np.array([0.1, 0.4, 0.35, 0.8])), flips, 1 - flips)
        0.75
    """
    below = _mid_ranks(level, negative)
    total = float(np.sum(positive)) * float(np.sum(negative))
    return float(np.sum(positive * below)) / total if total else float("nan")


def spearman(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Spearman's rank correlation; NaN if either side is constant.

    Args:
        a: `[N]` values, or `levels` of them, which is faster.
        b: `[N]`.
        weights: `[N]` of the examples, e.g. how often each was resampled.

    Example:
        >>> round(spearman(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4])), 3)
        0.8
    """
    w = np.ones(len(a)) if weights is None else weights.astype(np.float64)
    x, y = (_mid_ranks(levels(v) if v.dtype.kind == "f" else v, w) for v in (a, b))
    x, y = x - np.average(x, weights=w), y - np.average(y, weights=w)
    spread = np.sqrt(np.sum(w * x * x) * np.sum(w * y * y))
    return float(np.sum(w * x * y) / spread) if spread else float("nan")


def bootstrap(
    statistic: Statistic,
    size: int,
    *,
    resamples: int = 300,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A statistic with its percentile bootstrap interval over examples.

    Args:
        statistic: `weights [N] -> float`; NaNs among the resamples are left out.
        size: `N`.
        resamples: number of them.
        level: of the interval.
        seed: statistics with one seed see the same resamples, so that the difference
            of two is a paired one.
    """
    rng = np.random.default_rng(seed)
    found = [
        statistic(np.bincount(rng.integers(size, size=size), minlength=size))
        for _ in range(resamples)
    ]
    kept = np.array([x for x in found if not np.isnan(x)])
    value = statistic(np.ones(size, np.int64))
    if not len(kept):
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - level) / 2
    return Interval(value, *np.quantile(kept, [tail, 1 - tail]).tolist())


def auc_interval(
    scores: np.ndarray, events: np.ndarray, *, resamples: int = 300, seed: int = 0
) -> Interval:
    """AUC of a score for an event that each of `S` seeds judged.

    Args:
        scores: `[N]` float.
        events: `[S, N]` bool; every (seed, example) counts, examples are resampled.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    level, positive = levels(scores), events.sum(0)
    negative = len(events) - positive
    return bootstrap(
        lambda w: auc(level, w * positive, w * negative),
        len(scores),
        resamples=resamples,
        seed=seed,
    )


def spearman_interval(
    a: np.ndarray, b: np.ndarray, *, resamples: int = 300, seed: int = 0
) -> Interval:
    """Spearman's correlation of two scores `[N]`, examples resampled."""
    x, y = levels(a), levels(b)
    return bootstrap(
        lambda w: spearman(x, y, w), len(x), resamples=resamples, seed=seed
    )


def wilson(
    rate: np.ndarray, trials: np.ndarray, z: float = 1.96
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's (1927) interval of a proportion.

    Args:
        rate: observed, any shape.
        trials: number of trials, need not be whole.
        z: normal quantile, 1.96 for 95 %.

    Example:
        >>> low, high = wilson(np.array(0.0), np.array(10))
        >>> float(low), round(float(high), 3)
        (0.0, 0.278)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = 1 + z * z / trials
        middle = (rate + z * z / (2 * trials)) / scale
        half = z / scale * np.sqrt(rate * (1 - rate) / trials + (z / trials / 2) ** 2)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def binned_rate(scores: np.ndarray, events: np.ndarray, edges: np.ndarray) -> Bins:
    """Rate of an event by bin of a score.

    Seeds that judge the same example are no independent trials: the interval is
    Wilson's with the number of trials that would give the observed spread between
    examples (Kish's design effect).

    Args:
        scores: `[N]`; values outside the edges fall in the first and last bin.
        events: `[S, N]` bool.
        edges: `[G + 1]`, rising; a bin holds its lower edge.

    Raises:
        ValueError: edges that do not rise.
    """
    edges = np.asarray(edges, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
        raise ValueError(f"edges must rise, got {edges.tolist()}")
    groups = len(edges) - 1
    bins = np.clip(np.digitize(scores, edges) - 1, 0, groups - 1)
    share = events.mean(0)
    count = np.bincount(bins, minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.bincount(bins, share, groups) / count
        variance = np.bincount(bins, np.square(share), groups) / count - rate**2
        # Between (examples are all the trials) and (every seed is a trial).
        trials = np.clip(
            count * rate * (1 - rate) / variance, count, count * len(events)
        )
    trials = np.where(np.isnan(trials), count, trials)
    low, high = wilson(rate, trials)
    return Bins(edges, count, rate, low, high)
