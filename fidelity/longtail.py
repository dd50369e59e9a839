"""Are the examples on which a compressed network disagrees the memorized ones?

The question of "Understanding the Effect of the Long Tail on Neural Network
Compression" (Dam et al. 2023, arXiv:2306.06238). Label changes of a population of
networks (seeds) are set against a score of each example: its memorization on the
training set; on the test set, the memorization of the training examples that influence
it most. Because examples that are hard for every network change label too, each
relation stands beside that of plain hardness.

Shapes: `S` seeds, `N` examples, `C` classes, `G` groups.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fidelity.association import (
    Bins,
    Interval,
    auc,
    auc_interval,
    binned_rate,
    bootstrap,
    levels,
    spearman_interval,
)
from fidelity.memorize import Influence, Scores

Row = dict[str, Any]

EDGES = np.linspace(0.0, 1.0, 11)
"""Memorization bins, a tenth each; negative estimates fall in the first."""

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))

MEMORIZED = 0.25
"""An example counts as memorized from here on (arXiv:2008.03703, section 3)."""


class Relation(NamedTuple):
    """Label changes against a score."""

    examples: int  # with a score
    mismatch_rate: float  # of (seed, example) pairs
    mean_changed: float  # mean score of the pairs that changed label
    mean_kept: float  # and of those that did not
    auc: Interval  # a changed example has the higher score
    auc_std: float  # over seeds
    spearman: Interval  # score with the share of seeds that changed label
    bins: Bins  # mismatch rate by bin


def modal_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The commonest label over seeds: `[S, N] -> [N]` int32, ties to the lower class.

    Example:
        >>> modal_labels(np.array([[0, 2], [1, 2], [1, 0]]), 3).tolist()
        [1, 2]
    """
    return histogram(labels, num_classes).argmax(1).astype(np.int32)


def histogram(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How many seeds gave each label: `[S, N] -> [N, C]` int64.

    Raises:
        ValueError: labels outside `[0, C)`.
    """
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels must lie in [0, {num_classes})")
    counts = np.zeros((labels.shape[1], num_classes), np.int64)
    for row in labels:
        counts[np.arange(len(row)), row] += 1
    return counts


def modal_changed(
    reference: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Examples whose modal label changed (Hooker et al. 2019, arXiv:1911.05248, PIE).

    Args:
        reference: `[S, N]` labels of the reference population.
        labels: `[S', N]` of the compressed population.
        num_classes: `C`.

    Returns:
        `[N]` bool.
    """
    ours = modal_labels(labels, num_classes)
    return modal_labels(reference, num_classes) != ours


def taxicab(reference: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Distance of two populations' label distributions, `[N]` float64 in `[0, 1]`.

    Half the L1 distance of the shares (Hooker et al. 2020, arXiv:2010.03058).

    Args:
        reference: `[S, N]` labels.
        labels: `[S', N]`.
        num_classes: `C`.
    """
    a = histogram(reference, num_classes) / len(reference)
    b = histogram(labels, num_classes) / len(labels)
    return np.abs(a - b).sum(1) / 2


def relate(
    scores: np.ndarray,
    changed: np.ndarray,
    *,
    edges: np.ndarray = EDGES,
    resamples: int = 300,
    seed: int = 0,
) -> Relation:
    """Sets label changes against a score; examples whose score is NaN are left out.

    Args:
        scores: `[N]`, e.g. memorization.
        changed: `[S, N]` bool, who changed label in each seed.
        edges: of the bins.
        resamples: of the bootstrap over examples.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes that differ, or no example with a score.
    """
    changed = np.atleast_2d(changed)
    if changed.shape[1:] != scores.shape:
        raise ValueError(f"scores {scores.shape} but label changes {changed.shape}")
    known = ~np.isnan(scores)
    if not known.any():
        raise ValueError("no example has a score: do the ids belong to this data set?")
    scores, changed = scores[known], changed[:, known]
    share = changed.mean(0)
    level = levels(scores)
    seeds = [auc(level, c.astype(float), 1.0 - c) for c in changed]
    seeds = [value for value in seeds if not np.isnan(value)]
    with np.errstate(invalid="ignore"):
        mean_changed = np.sum(scores * share) / np.sum(share)
        mean_kept = np.sum(scores * (1 - share)) / np.sum(1 - share)
    options = {"resamples": resamples, "seed": seed}
    return Relation(
        len(scores),
        float(share.mean()),
        float(mean_changed),
        float(mean_kept),
        auc_interval(scores, changed, **options),
        float(np.std(seeds, ddof=1)) if len(seeds) > 1 else float("nan"),
        spearman_interval(scores, share, **options),
        binned_rate(scores, changed, edges),
    )


def auc_difference(
    scores: np.ndarray,
    changed: np.ndarray,
    baseline: np.ndarray,
    *,
    resamples: int = 300,
    seed: int = 0,
) -> Interval:
    """How much a loss weakens (below zero) or strengthens the relation.

    Args:
        scores: `[N]`.
        changed: `[S, N]` bool, of the loss.
        baseline: `[S', N]` bool, of the baseline loss, same examples.
        resamples: of the examples, the same for both, so the interval is a paired one.
        seed: of the bootstrap.

    Returns:
        `AUC(changed) - AUC(baseline)` with its interval.
    """
    known = ~np.isnan(scores)
    level = levels(scores[known])
    pairs = []
    for events in (np.atleast_2d(changed)[:, known], np.atleast_2d(baseline)[:, known]):
        positive = events.sum(0)
        pairs.append((positive, len(events) - positive))

    def difference(w: np.ndarray) -> float:
        ours, theirs = (auc(level, w * up, w * down) for up, down in pairs)
        return ours - theirs

    return bootstrap(difference, int(known.sum()), resamples=resamples, seed=seed)


def memorized_support(
    scores: Scores, influence: Influence, *, min_errors: float = 3.0
) -> np.ndarray:
    """Memorization of the training examples that a test example leans on most.

    The mean of memorization over the `k` most influential training examples, weighted
    by their influence.

    Args:
        scores: of the `N` training examples.
        influence: of the `T` test examples, rows as in `scores`.
        min_errors: standard errors that an influence must reach to count: the largest
            of many estimates are noise otherwise. 0 for influence without errors.

    Returns:
        `[T]`; zero for a test example that leans on no training example.
    """
    counts = influence.value > 0
    if min_errors:
        counts &= influence.value >= min_errors * influence.standard_error
    weights = np.where(counts, influence.value, 0.0)
    values = np.nan_to_num(scores.memorization)[influence.row]
    total = weights.sum(1)
    return np.sum(weights * values, 1) / np.where(total > 0, total, 1.0)


def by_group(
    scores: np.ndarray,
    changed: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
) -> list[Row]:
    """The relation within each class, or each bin of the tail.

    Args:
        scores: `[N]`, NaN left out.
        changed: `[S, N]` bool.
        groups: `[N]` integer in `[0, G)`.
        names: of the `G` groups.

    Returns:
        A row a group: "group", "examples", "mean_score", "memorized" (share from
        `MEMORIZED` on), "mismatch_rate", "auc" (None where nothing changed).
    """
    rows = []
    for g, name in enumerate(names):
        own = (groups == g) & ~np.isnan(scores)
        if not own.any():
            continue
        value, events = scores[own], np.atleast_2d(changed)[:, own]
        up = events.sum(0)
        rows.append(
            {
                "group": name,
                "examples": int(own.sum()),
                "mean_score": float(value.mean()),
                "memorized": float(np.mean(value >= MEMORIZED)),
                "mismatch_rate": float(events.mean()),
                "auc": plain(auc(levels(value), up, len(events) - up)),
            }
        )
    return rows


def population(labels: Mapping[str, np.ndarray], prefix: str) -> np.ndarray:
    """Labels of all seeds of one job, `[S, N]`.

    Args:
        labels: job -> `[N]`, e.g. `fidelity.experiment.Result.predictions`.
        prefix: e.g. "reference" or "80%/kd"; the rest of the job's name is the seed.

    Raises:
        ValueError: there is no such job.
    """
    found = [name for name in labels if name.rpartition("/")[0] == prefix]
    if not found:
        raise ValueError(f"no job {prefix!r} among {sorted(labels)[:6]}")
    found.sort(key=lambda name: int(name.rpartition("/")[2]))
    return np.stack([labels[name] for name in found])


def row(relation: Relation, hardness: Relation | None, **settings: Any) -> Row:
    """A relation as plain numbers, for a JSON line; None where it is undefined.

    Args:
        relation: with memorization.
        hardness: with the error rate of models that were not trained on the example,
            None if unknown.
        **settings: what the row is about.
    """
    out: Row = {
        "examples": relation.examples,
        "mismatch_rate": relation.mismatch_rate,
        "mean_changed": relation.mean_changed,
        "mean_kept": relation.mean_kept,
        "auc_std": relation.auc_std,
    }
    for name, interval in (
        ("auc", relation.auc),
        ("spearman", relation.spearman),
        ("auc_hardness", hardness.auc if hardness else UNKNOWN),
    ):
        out |= {name: interval.value}
        out |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    for name, values in relation.bins._asdict().items():
        out[f"bin_{name}"] = [plain(x) for x in values.tolist()]
    finite = {k: v if isinstance(v, list) else plain(v) for k, v in out.items()}
    return {**settings, **finite}


def plain(x: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return None if np.isnan(x) else x
