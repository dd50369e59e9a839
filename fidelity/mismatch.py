"""What changed between a reference network and a compressed one.

All functions take logits on the same `N` examples in the same order. Accuracy alone
hides changes: a network can keep its accuracy and still change one answer in thirty.

Terms (Joseph et al. 2020, arXiv:2012.01604; Hooker et al. 2019, arXiv:1911.05248):

* CIE, compression-impacted exemplars: examples whose predicted label changed.
* CIE-U: those of them on which the uncompressed reference was right.
* churn: the label changes between two references that differ only by their seed, the
  noise floor that every mismatch count should be read against.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


class Mismatch(NamedTuple):
    """Comparison of two networks on `N` labelled examples of `C` classes."""

    accuracy_reference: jax.Array  # []
    accuracy: jax.Array  # []
    cie: jax.Array  # [] int32, count
    cie_u: jax.Array  # [] int32, count
    cie_rate: jax.Array  # [] cie / N
    cie_by_class: jax.Array  # [C] int32, by true label
    recall_reference: jax.Array  # [C]
    recall: jax.Array  # [C]
    top5_agreement: jax.Array  # [] mean overlap of the five likeliest classes
    rank_agreement: jax.Array  # [] mean Spearman correlation of the class rankings
    loyalty: jax.Array  # [] 1 - mean sqrt(Jensen-Shannon divergence), base 2
    ece_reference: jax.Array  # [] expected calibration error, 15 bins
    ece: jax.Array  # []


def changed(reference_logits: Array, logits: Array) -> jax.Array:
    """Which examples changed label: `[N, C], [N, C] -> [N]` bool (the CIEs).

    Symmetric in its arguments.

    Example:
        >>> a = jnp.array([[2.0, 1.0], [0.0, 3.0]])
        >>> b = jnp.array([[2.0, 1.0], [4.0, 3.0]])
        >>> changed(a, b).tolist()
        [False, True]
    """
    return jnp.argmax(reference_logits, -1) != jnp.argmax(logits, -1)


def changed_from_right(
    reference_logits: Array, logits: Array, labels: Array
) -> jax.Array:
    """Which examples changed label where the reference was right: `[N]` (CIE-U)."""
    right = jnp.argmax(reference_logits, -1) == labels
    return right & changed(reference_logits, logits)


def churn(logits_a: Array, logits_b: Array) -> jax.Array:
    """Number of label changes between two networks, scalar int32."""
    return jnp.sum(changed(logits_a, logits_b), dtype=jnp.int32)


def per_group(
    values: Array, groups: Array, num_groups: int
) -> tuple[jax.Array, jax.Array]:
    """Sums and counts of `values` by group (classes, tail bins, memorization bins).

    Args:
        values: `[N]`, bool or number.
        groups: `[N]` integer in `[0, num_groups)`.
        num_groups: `G`.

    Returns:
        `(sums [G] float32, counts [G] int32)`.
    """
    sums = jax.ops.segment_sum(values.astype(jnp.float32), groups, num_groups)
    ones = jnp.ones(groups.shape, jnp.int32)
    return sums, jax.ops.segment_sum(ones, groups, num_groups)


def calibration_error(logits: Array, labels: Array, num_bins: int = 15) -> jax.Array:
    """Expected calibration error of the likeliest class.

    `sum_b |B_b| / N |accuracy(B_b) - confidence(B_b)|` over equal-width confidence bins
    (Guo et al. 2017, arXiv:1706.04599, eq. 3).

    Args:
        logits: `[N, C]`.
        labels: `[N]` integer.
        num_bins: bins of `[0, 1]`.

    Returns:
        Scalar in `[0, 1]`.
    """
    confidence = jnp.max(jax.nn.softmax(logits), -1)
    right = jnp.argmax(logits, -1) == labels
    bins = jnp.clip(jnp.ceil(confidence * num_bins) - 1, 0, num_bins - 1)
    gap, _ = per_group(right - confidence, bins.astype(jnp.int32), num_bins)
    return jnp.sum(jnp.abs(gap)) / labels.shape[0]


def _ranks(logits: Array) -> jax.Array:
    order = jnp.argsort(logits, -1)
    return jnp.argsort(order, -1).astype(jnp.float32)


def rank_agreement(reference_logits: Array, logits: Array) -> jax.Array:
    """Mean over examples of Spearman's correlation between the class rankings.

    Args:
        reference_logits: `[N, C]`, `C >= 2`.
        logits: `[N, C]`.

    Returns:
        Scalar in `[-1, 1]`.
    """
    classes = logits.shape[-1]
    gaps = jnp.square(_ranks(reference_logits) - _ranks(logits)).sum(-1)
    return jnp.mean(1.0 - 6.0 * gaps / (classes * (classes**2 - 1)))


def top_agreement(reference_logits: Array, logits: Array, k: int = 5) -> jax.Array:
    """Mean overlap of the `k` likeliest classes, as a fraction of `k`.

    Args:
        reference_logits: `[N, C]`.
        logits: `[N, C]`.
        k: at most `C` is used.

    Returns:
        Scalar in `[0, 1]`.
    """
    k = min(k, logits.shape[-1])
    ours = jax.lax.top_k(logits, k)[1]
    theirs = jax.lax.top_k(reference_logits, k)[1]
    shared = (ours[:, :, None] == theirs[:, None, :]).any(-1)
    return jnp.mean(shared.astype(jnp.float32))


def loyalty(reference_logits: Array, logits: Array) -> jax.Array:
    """Probability loyalty: `1 - mean sqrt(JS(p_ref, p))`, logarithms to base 2.

    Xu et al. 2021 (arXiv:2109.03228), section 3.

    Returns:
        Scalar in `[0, 1]`, one for identical predictions.
    """
    p = jax.nn.softmax(reference_logits)
    q = jax.nn.softmax(logits)
    m = jnp.log2((p + q) / 2 + 1e-30)
    js = jnp.sum(p * (jnp.log2(p + 1e-30) - m) + q * (jnp.log2(q + 1e-30) - m), -1) / 2
    return 1.0 - jnp.mean(jnp.sqrt(jnp.clip(js, 0.0, 1.0)))


@jax.jit
def compare(reference_logits: Array, logits: Array, labels: Array) -> Mismatch:
    """Every metric of this module at once.

    Args:
        reference_logits: `[N, C]`, of the reference.
        logits: `[N, C]`, of the compressed network, same examples.
        labels: `[N]` integer in `[0, C)`.

    Returns:
        A `Mismatch`.

    Raises:
        ValueError: the shapes do not agree, as with another number of classes.

    Example:
        >>> a = jnp.array([[2.0, 1.0], [0.0, 3.0]])
        >>> b = jnp.array([[2.0, 1.0], [4.0, 3.0]])
        >>> result = compare(a, b, jnp.array([0, 1]))
        >>> int(result.cie), int(result.cie_u), float(result.accuracy)
        (1, 1, 0.5)
    """
    if reference_logits.shape != logits.shape or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"reference logits {reference_logits.shape}, logits {logits.shape} and "
            f"labels {labels.shape} do not belong together: compare networks with the "
            "same classes on the same examples"
        )
    classes = logits.shape[-1]
    right_reference = jnp.argmax(reference_logits, -1) == labels
    right = jnp.argmax(logits, -1) == labels
    flips = changed(reference_logits, logits)
    by_class, counts = per_group(flips, labels, classes)
    size = jnp.maximum(counts, 1)
    return Mismatch(
        accuracy_reference=jnp.mean(right_reference),
        accuracy=jnp.mean(right),
        cie=jnp.sum(flips, dtype=jnp.int32),
        cie_u=jnp.sum(flips & right_reference, dtype=jnp.int32),
        cie_rate=jnp.mean(flips),
        cie_by_class=by_class.astype(jnp.int32),
        recall_reference=per_group(right_reference, labels, classes)[0] / size,
        recall=per_group(right, labels, classes)[0] / size,
        top5_agreement=top_agreement(reference_logits, logits),
        rank_agreement=rank_agreement(reference_logits, logits),
        loyalty=loyalty(reference_logits, logits),
        ece_reference=calibration_error(reference_logits, labels),
        ece=calibration_error(logits, labels),
    )


def reduction_interval(
    key: jax.Array,
    baseline: Array,
    improved: Array,
    *,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How many times fewer mismatches, with a paired bootstrap interval.

    Args:
        key: PRNG key.
        baseline: `[N]` bool, or `[S, N]` for `S` seeds: who changed label there.
        improved: same shape, same examples.
        resamples: of the examples, with replacement.
        level: of the percentile interval.

    Returns:
        `(ratio, low, high)`, scalars: `sum(baseline) / sum(improved)`; infinite where
        `improved` has no mismatch.
    """
    a = jnp.atleast_2d(baseline).sum(0).astype(jnp.float32)
    b = jnp.atleast_2d(improved).sum(0).astype(jnp.float32)

    def once(key: jax.Array) -> jax.Array:
        chosen = jax.random.randint(key, a.shape, 0, a.shape[0])
        return a[chosen].sum() / b[chosen].sum()

    ratios = jax.lax.map(once, jax.random.split(key, resamples))
    tail = (1.0 - level) / 2
    low, high = jnp.quantile(ratios, jnp.array([tail, 1.0 - tail]))
    return a.sum() / b.sum(), low, high
