"""Data sets resampled by class: subsets, splits and long tails.

Resampling keeps each example's `index`, so that memorization scores and label changes
can be traced to an image. One seed gives each example one rank, and the lowest ranks
of a class are drawn: with one seed, fewer examples of a class are part of more of them.

Shapes: `N` examples, `C` classes.
"""

from collections.abc import Sequence

import numpy as np

from fidelity.dataset import Dataset

TAIL_BINS = ("many", "medium", "few")


def take(dataset: Dataset, rows: np.ndarray | Sequence[int]) -> Dataset:
    """Some examples of a data set.

    Args:
        dataset: `N` examples.
        rows: positions in `[0, N)`, repeats allowed, or a `[N]` bool mask.

    Raises:
        ValueError: rows of another type or shape, or outside the data set.
    """
    rows, size = np.asarray(rows), len(dataset.labels)
    if rows.ndim != 1 or (rows.dtype == bool and len(rows) != size):
        raise ValueError(f"rows must be [n] or a [{size}] mask, got shape {rows.shape}")
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    rows = rows.astype(np.int64) if rows.size == 0 else rows
    if not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"rows must be integers or bool, got {rows.dtype}")
    if rows.size and not 0 <= np.min(rows) <= np.max(rows) < size:
        raise ValueError(
            f"rows from {np.min(rows)} to {np.max(rows)} are outside {size} examples"
        )
    return Dataset(*(array[rows] for array in dataset))


def class_counts(dataset: Dataset, num_classes: int) -> np.ndarray:
    """Examples of each class, `[C]` int64.

    Raises:
        ValueError: a label is not in `[0, num_classes)`.
    """
    counts = np.bincount(dataset.labels, minlength=num_classes)
    if len(counts) > num_classes:
        raise ValueError(
            f"label {len(counts) - 1} is outside {num_classes} classes, 0 to "
            f"{num_classes - 1}"
        )
    return counts


def split(dataset: Dataset, fraction: float, *, seed: int) -> tuple[Dataset, Dataset]:
    """Splits a data set at random, each class in the same proportion.

    Args:
        dataset: `N` examples.
        fraction: of the examples to hold out, in `(0, 1)`.
        seed: of the draw.

    Returns:
        `(rest, held_out)`, both in the order of `dataset`; `held_out` has
        `round(fraction * N)` examples, spread as in `subset`.

    Raises:
        ValueError: a fraction outside `(0, 1)`, or a part would be empty.

    Example:
        >>> from fidelity.data import load
        >>> rest, held_out = split(load("mnist5k").train, 0.1, seed=0)
        >>> class_counts(held_out, 10).tolist()
        [40, 40, 40, 40, 40, 40, 40, 40, 40, 40]
    """
    size = len(dataset.labels)
    held_out = round(fraction * size) if 0 < fraction < 1 else 0
    if not 0 < held_out < size:
        raise ValueError(
            f"cannot hold out the fraction {fraction} of {size} examples: both parts "
            "need at least one"
        )
    mask = _draw(dataset, _shares(dataset, held_out), seed)
    return take(dataset, ~mask), take(dataset, mask)


def subset(dataset: Dataset, size: int, *, seed: int) -> Dataset:
    """Draws examples at random, each class in the same proportion.

    Args:
        dataset: `N` examples.
        size: `1 .. N`.
        seed: of the draw.

    Returns:
        `size` examples in the order of `dataset`. Each class has its exact share,
        rounded down or up (the largest remainders up, ties to the lower class).

    Raises:
        ValueError: size outside `[1, N]`.
    """
    if not 1 <= size <= len(dataset.labels):
        raise ValueError(f"cannot draw {size} of {len(dataset.labels)} examples")
    return take(dataset, _draw(dataset, _shares(dataset, size), seed))


def _shares(dataset: Dataset, size: int) -> np.ndarray:
    """`size` apportioned to the classes by largest remainder, in exact integers."""
    counts = np.bincount(dataset.labels)
    shares, remainders = np.divmod(counts * size, counts.sum())
    first = np.argsort(-remainders, kind="stable")
    shares[first[: size - shares.sum()]] += 1
    return shares


def _draw(dataset: Dataset, counts: np.ndarray, seed: int) -> np.ndarray:
    """Mask with the `counts[c]` lowest ranks of each class."""
    ranks = np.random.default_rng(seed).random(len(dataset.labels))
    mask = np.zeros(len(dataset.labels), bool)
    for c, count in enumerate(counts):
        rows = np.flatnonzero(dataset.labels == c)
        mask[rows[np.argsort(ranks[rows], kind="stable")[:count]]] = True
    return mask


def long_tail_counts(head: int, imbalance: float, num_classes: int) -> np.ndarray:
    """Class sizes that fall exponentially, `floor(head imbalance^(-c / (C - 1)))`.

    Reference: Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of
    Samples", arXiv:1901.05555, section 5.1.

    Args:
        head: examples of class 0.
        imbalance: ratio of the first class to the last, at least 1.
        num_classes: `C`, at least 2.

    Returns:
        `[C]` int64.

    Raises:
        ValueError: an argument out of range, or the last class would be empty.

    Example:
        >>> long_tail_counts(5000, 100, 10).tolist()
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    if num_classes < 2 or not imbalance >= 1:
        raise ValueError(
            f"a long tail needs imbalance >= 1 and at least 2 classes, got {imbalance} "
            f"and {num_classes}"
        )
    if head < imbalance:
        raise ValueError(
            f"imbalance {imbalance} of {head} examples leaves the last class empty: "
            f"choose at most {head}"
        )
    fractions = imbalance ** (-np.arange(num_classes) / (num_classes - 1))
    # The offset keeps whole numbers, such as 5000 / 100, from falling below themselves.
    return np.floor(head * fractions + 1e-6).astype(np.int64)


def long_tail(
    dataset: Dataset, imbalance: float, *, seed: int, head: int | None = None
) -> Dataset:
    """Resamples a data set so that class 0 is the most frequent and the last the least.

    Args:
        dataset: `N` examples with every class from 0 to the largest label.
        imbalance: ratio of the first class to the last, at least 1.
        seed: of the draw.
        head: examples of class 0; None takes as many as all classes can follow, which
            for a balanced set is a whole class.

    Returns:
        Examples in the order of `dataset`; class sizes as in `long_tail_counts`.

    Raises:
        ValueError: a class has too few examples, or see `long_tail_counts`.

    Example:
        >>> from fidelity.data import load
        >>> tailed = long_tail(load("mnist5k").train, 20, seed=0)
        >>> class_counts(tailed, 10).tolist()
        [400, 286, 205, 147, 105, 75, 54, 38, 27, 20]
    """
    available = np.bincount(dataset.labels)
    num_classes = len(available)
    if head is None:
        # Sizes scale with the head, so the scarcest class limits it; then rounding.
        unit = long_tail_counts(2**52, imbalance, num_classes) / 2**52
        head = int(np.min((available + 1) / unit))
        while np.any(long_tail_counts(head, imbalance, num_classes) > available):
            head -= 1
    counts = long_tail_counts(head, imbalance, num_classes)
    short = np.flatnonzero(counts > available)
    if short.size:
        c = short[0]
        raise ValueError(
            f"class {c} has {available[c]} examples, the profile from {head} wants "
            f"{counts[c]}: choose a smaller head"
        )
    return take(dataset, _draw(dataset, counts, seed))


def tail_bins(
    counts: np.ndarray, *, many: int = 100, few: int = 20, fallback: bool = False
) -> np.ndarray:
    """Classes by the number of their training examples: many, medium or few shot.

    Reference: Liu et al. 2019, "Large-Scale Long-Tailed Recognition in an Open World",
    arXiv:1904.05160, section 5.

    Args:
        counts: `[C]`, from `class_counts`.
        many: classes with more examples are "many".
        few: classes with fewer are "few"; the others are "medium".
        fallback: where that leaves a bin empty, bin by the terciles of `counts`
            instead; classes of equal counts share a bin, so balanced sets are "medium".

    Returns:
        `[C]` int32, positions in `TAIL_BINS`; index it by labels to bin examples.

    Raises:
        ValueError: counts not `[C]` or empty, or `few > many`.

    Example:
        >>> bins = tail_bins(np.array([500, 101, 100, 20, 19]))
        >>> [TAIL_BINS[b] for b in bins]
        ['many', 'many', 'medium', 'medium', 'few']
    """
    counts = np.asarray(counts)
    if counts.ndim != 1 or not counts.size or few > many:
        raise ValueError(
            f"needs counts [C] and few <= many, got shape {counts.shape}, {few}, {many}"
        )
    low, high = float(few), float(many)
    bins = np.where(counts > high, 0, np.where(counts < low, 2, 1))
    if fallback and len(np.unique(bins)) < len(TAIL_BINS):
        low, high = np.quantile(counts, [1 / 3, 2 / 3])
        bins = np.where(counts > high, 0, np.where(counts < low, 2, 1))
    return bins.astype(np.int32)
