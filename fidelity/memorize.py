"""Memorization and influence, with their standard errors, from an ensemble's votes.

With `A` a model's training subset and the means taken over models:

    mem_i     = P(right on i | i in A) - P(right on i | i not in A)
    infl_{ij} = P(right on j | i in A) - P(right on j | i not in A)

A model memorizes example `i` if it is right on it only when trained on it; `i`
influences test example `j` if models are right on `j` only with `i`.

References:
    Feldman 2020, "Does Learning Require Memorization?", arXiv:1906.05271.
    Feldman & Zhang 2020, "What Neural Networks Memorize and Why", arXiv:2008.03703,
    section 2.

Shapes: `M` models, `N` training examples, `T` test examples, `k` kept pairs a test
example.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fidelity.association import spearman
from fidelity.votes import Votes, unpack


class Scores(NamedTuple):
    """Memorization of each training example; NaN where it cannot be estimated."""

    index: np.ndarray  # type: ignore[assignment] # [N] int64, hides tuple.index
    memorization: np.ndarray  # [N] float64, in [-1, 1]
    standard_error: np.ndarray  # [N]
    right_in: np.ndarray  # [N] accuracy of the models trained on it
    right_out: np.ndarray  # [N] accuracy of the others


class Influence(NamedTuple):
    """The training examples that help each test example most, in falling order."""

    value: np.ndarray  # [T, k] float32
    row: np.ndarray  # [T, k] int32, positions in the training set
    standard_error: np.ndarray  # [T, k] float32


class Counts(NamedTuple):
    """Sufficient statistics of the scores."""

    inside: np.ndarray  # [N] models trained on the example
    outside: np.ndarray  # [N] the others
    right_inside: np.ndarray  # [N] those of them that are right
    right_outside: np.ndarray  # [N]


class SplitHalf(NamedTuple):
    """Agreement of the scores of two disjoint halves of the models, means."""

    pearson: float
    spearman: float
    reliability: float  # of the scores of all models, 2 r / (1 + r)


def count(votes: Votes, models: np.ndarray | None = None) -> Counts:
    """Counts over models.

    Args:
        votes: of the ensemble.
        models: positions of the models to use, all if None.
    """
    chosen = np.arange(votes.num_models) if models is None else models
    total = np.zeros((4, len(votes.train_index)), np.int64)
    # Blocks keep the unpacked bits small beside thousands of models.
    for start in range(0, len(chosen), 64):
        rows = chosen[start : start + 64]
        member, right = votes.member[rows], votes.train[rows]
        for sums, bits in zip(
            total, (member, ~member, member & right, ~member & right), strict=True
        ):
            sums += unpack(bits, total.shape[1]).sum(0)
    return Counts(*total)


def _error(right: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Squared standard error of a rate, smoothed: unanimity is no certainty."""
    p = (right + 1) / (of + 2)
    return p * (1 - p) / np.maximum(of, 1)


def score(counts: Counts, index: np.ndarray) -> Scores:
    """Scores out of counts; NaN for an example that all or no models were trained on.

    The standard error is `sqrt(p1 (1 - p1) / n1 + p0 (1 - p0) / n0)` with the rates
    smoothed by one success and one failure.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        right_in = counts.right_inside / counts.inside
        right_out = counts.right_outside / counts.outside
    error = np.sqrt(
        _error(counts.right_inside, counts.inside)
        + _error(counts.right_outside, counts.outside)
    )
    memorization = right_in - right_out
    error = np.where(np.isnan(memorization), np.nan, error)
    return Scores(index, memorization, error, right_in, right_out)


def memorization(votes: Votes) -> Scores:
    """Memorization of every training example.

    Example:
        >>> pack = lambda rows: np.packbits(np.array(rows, bool), axis=1)
        >>> member = [[1, 0], [1, 1], [0, 1], [0, 0]]
        >>> right = [[1, 1], [1, 1], [0, 1], [0, 1]]
        >>> votes = Votes(pack(member), pack(right), pack(right),
        ...               np.arange(2), np.arange(2))
        >>> memorization(votes).memorization.tolist()
        [1.0, 0.0]
    """
    return score(count(votes), votes.train_index)


def split_half(votes: Votes, *, repeats: int = 5, seed: int = 0) -> SplitHalf:
    """How reproducible the scores are: two halves of the models, correlated.

    Args:
        votes: of at least 4 models.
        repeats: random splits to average over.
        seed: of the splits.

    Returns:
        Correlations over the examples that both halves can score, and the reliability
        of the scores of *all* models by Spearman and Brown's formula.

    Raises:
        ValueError: fewer than 4 models.
    """
    if votes.num_models < 4:
        raise ValueError(f"two halves need at least 4 models, got {votes.num_models}")
    rng = np.random.default_rng(seed)
    whole, found = count(votes), []
    for _ in range(repeats):
        order = rng.permutation(votes.num_models)
        half = count(votes, order[: votes.num_models // 2])
        other = Counts(*(a - b for a, b in zip(whole, half, strict=True)))
        a, b = (score(x, votes.train_index).memorization for x in (half, other))
        both = ~np.isnan(a) & ~np.isnan(b)
        r = float(np.corrcoef(a[both], b[both])[0, 1])
        found.append((r, spearman(a[both], b[both]), 2 * r / (1 + r)))
    return SplitHalf(*np.mean(found, 0).tolist())


@functools.partial(jax.jit, static_argnums=3)
def _top_influence(
    member: jax.Array, test: jax.Array, same: jax.Array | None, top_k: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of one block of test examples: member `[M, N]`, test `[M, t]`, same `[N, t]`."""
    inside = member.sum(0)[:, None]
    outside = member.shape[0] - inside
    # Zeros and ones are exact in every matrix unit, and so are their sums.
    right_in = member.T @ test
    right_out = test.sum(0)[None, :] - right_in
    value = right_in / inside - right_out / outside
    p1, p0 = (right_in + 1) / (inside + 2), (right_out + 1) / (outside + 2)
    error = jnp.sqrt(p1 * (1 - p1) / inside + p0 * (1 - p0) / outside)
    value = jnp.where(jnp.isnan(value), -jnp.inf, value)
    if same is not None:
        value = jnp.where(same, value, -jnp.inf)
    best, rows = jax.lax.top_k(value.T, top_k)
    return best, rows, jnp.take_along_axis(error.T, rows, 1)


def influence(
    votes: Votes,
    *,
    top_k: int = 8,
    block: int = 512,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
) -> Influence:
    """The `k` most influential training examples of every test example.

    The whole matrix never exists: blocks of test examples are one matrix product each.

    Args:
        votes: of the ensemble.
        top_k: `k`; the largest of `N` noisy values are biased upwards, so read them
            beside their standard errors.
        block: test examples at a time; memory is `N` times that.
        labels: `([N], [T])`, to consider pairs of the same class only.

    Returns:
        An `Influence`; `-inf` fills up where fewer pairs exist.

    Raises:
        ValueError: `top_k` outside `[1, N]`.
    """
    size, tests = len(votes.train_index), len(votes.test_index)
    if not 1 <= top_k <= size:
        raise ValueError(f"top_k must lie in [1, {size}], got {top_k}")
    member = jnp.asarray(unpack(votes.member, size), jnp.float32)
    right = unpack(votes.test, tests)
    found = []
    for start in range(0, tests, block):
        own = right[:, start : start + block]
        missing = min(block, tests) - own.shape[1]
        # The last block is filled up, so that one shape compiles.
        own = np.pad(own, ((0, 0), (0, missing))).astype(np.float32)
        same = None
        if labels is not None:
            wanted = np.pad(labels[1][start : start + block], (0, missing))
            same = jnp.asarray(labels[0][:, None] == wanted[None, :])
        part = _top_influence(member, jnp.asarray(own), same, top_k)
        kept = min(block, tests) - missing
        found.append([np.asarray(x)[:kept] for x in part])
    value, row, error = (np.concatenate(x) for x in zip(*found, strict=True))
    return Influence(value, row, error)


def high_influence_pairs(
    scores: Scores,
    found: Influence,
    *,
    min_memorization: float = 0.25,
    min_influence: float = 0.15,
    min_errors: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a memorized training example and a test example that depends on it.

    The thresholds are those of arXiv:2008.03703, section 3.

    Args:
        scores: of the training examples.
        found: of the test examples.
        min_memorization: of the training example.
        min_influence: of the pair.
        min_errors: standard errors that the influence must reach; with few models the
            largest of many estimates are noise, which 3 or 4 keeps out.

    Returns:
        `(train_rows [P], test_rows [P], influence [P])` in falling order.
    """
    memorized = scores.memorization[found.row] >= min_memorization
    strong = found.value >= min_influence
    if min_errors:
        strong &= found.value >= min_errors * found.standard_error
    test, place = np.nonzero(memorized & strong)
    value = found.value[test, place]
    order = np.argsort(-value, kind="stable")
    return found.row[test, place][order], test[order], value[order]


def align(scores: Scores, index: np.ndarray) -> Scores:
    """The scores in the order of other ids; NaN for ids without a score.

    Args:
        scores: `N` examples.
        index: `[n]` ids, e.g. `Dataset.index` of a resampled set.
    """
    order = np.argsort(scores.index)
    place = np.searchsorted(scores.index, index, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)]
    known = scores.index[rows] == index
    values = (np.where(known, x[rows], np.nan) for x in scores[1:])
    return Scores(np.asarray(index), *values)


def save_scores(path: str | Path, scores: Scores) -> None:
    """Writes scores with their ids to an npz file."""
    np.savez_compressed(path, allow_pickle=False, **scores._asdict())


def load_scores(path: str | Path) -> Scores:
    """Reads scores: a file of `save_scores`, or one that Feldman & Zhang published.

    Their `cifar100_infl_matrix.npz` and `imagenet_index.npz`
    (https://pluskid.github.io/influence-memorization) hold `tr_mem` in the order of
    the data; ids are then positions, and the other fields are NaN.

    Raises:
        ValueError: neither form.
    """
    with np.load(path) as saved:
        if "tr_mem" in saved.files:
            values = saved["tr_mem"].astype(np.float64)
            unknown = np.full(len(values), np.nan)
            return Scores(np.arange(len(values)), values, unknown, unknown, unknown)
        if missing := set(Scores._fields) - set(saved.files):
            raise ValueError(
                f"{path} holds {sorted(saved.files)[:8]} and no memorization scores: "
                f"give {sorted(missing)} (see save_scores), or tr_mem"
            )
        return Scores(**{name: saved[name] for name in Scores._fields})


def load_influence(path: str | Path, num_tests: int, *, top_k: int = 8) -> Influence:
    """Reads influence that Feldman & Zhang published, class by class or as pairs.

    Args:
        path: `*_infl_matrix.npz` (`tr_classidx_K`, `tt_classidx_K`,
            `infl_matrix_classK`) or `*_high_infl_pairs_*.npz` (`tr_idx`, `tt_idx`,
            `infl`).
        num_tests: `T`.
        top_k: `k`.

    Returns:
        An `Influence` with unknown standard errors, `-inf` where no pair is known.

    Raises:
        ValueError: neither form.
    """
    value = np.full((num_tests, top_k), -np.inf, np.float32)
    row = np.zeros((num_tests, top_k), np.int32)
    with np.load(path) as saved:
        classes = [
            name.removeprefix("infl_matrix_class")
            for name in saved.files
            if name.startswith("infl_matrix_class")
        ]
        if not classes and not {"tr_idx", "tt_idx", "infl"} <= set(saved.files):
            raise ValueError(f"{path} holds {sorted(saved.files)[:8]} and no influence")
        for c in classes:
            matrix = saved[f"infl_matrix_class{c}"]
            train, test = saved[f"tr_classidx_{c}"], saved[f"tt_classidx_{c}"]
            order = np.argsort(-matrix, axis=0, kind="stable")[:top_k]
            value[test, : len(order)] = np.take_along_axis(matrix, order, 0).T
            row[test, : len(order)] = train[order].T
        if not classes:
            order = np.argsort(-saved["infl"], kind="stable")
            used = np.zeros(num_tests, int)
            for i in order:
                test = int(saved["tt_idx"][i])
                if used[test] < top_k:
                    value[test, used[test]] = saved["infl"][i]
                    row[test, used[test]] = saved["tr_idx"][i]
                    used[test] += 1
    return Influence(value, row, np.full(value.shape, np.nan, np.float32))
