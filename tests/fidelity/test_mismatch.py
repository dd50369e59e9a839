"""Metrics against hand-computed values, SciPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import spearmanr
from sklearn.metrics import recall_score, top_k_accuracy_score

from fidelity import mismatch


def random_logits(seed, n=200, classes=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, classes)).astype(np.float32)


LABELS = np.random.default_rng(9).integers(0, 7, 200)


@pytest.mark.parametrize("jit", [False, True])
def test_compare_against_libraries(jit):
    r, z = random_logits(0), random_logits(1)
    with jax.disable_jit(not jit):
        out = mismatch.compare(r, z, LABELS)
    flips = r.argmax(1) != z.argmax(1)
    right = r.argmax(1) == LABELS
    assert int(out.cie) == flips.sum()
    assert int(out.cie_u) == (flips & right).sum()
    np.testing.assert_allclose(out.cie_rate, flips.mean(), rtol=1e-6)
    by_class = [flips[c == LABELS].sum() for c in range(7)]
    np.testing.assert_array_equal(out.cie_by_class, by_class)
    recall = recall_score(LABELS, z.argmax(1), average=None)
    np.testing.assert_allclose(out.recall, recall, rtol=1e-5)
    accuracy = top_k_accuracy_score(LABELS, softmax(r, 1), k=1)
    np.testing.assert_allclose(out.accuracy_reference, accuracy, rtol=1e-6)
    spearman = np.mean([spearmanr(a, b).statistic for a, b in zip(r, z, strict=True)])
    np.testing.assert_allclose(out.rank_agreement, spearman, rtol=1e-4, atol=1e-6)
    js = jensenshannon(softmax(r, 1), softmax(z, 1), base=2, axis=1)
    np.testing.assert_allclose(out.loyalty, 1 - js.mean(), rtol=1e-4)
    top5 = [
        len(set(a.argsort()[-5:]) & set(b.argsort()[-5:])) / 5
        for a, b in zip(r, z, strict=True)
    ]
    np.testing.assert_allclose(out.top5_agreement, np.mean(top5), rtol=1e-6)


def test_calibration_error_by_hand():
    # Confidences 0.9, 0.9 (one right) and 0.6 (right): |1/2 - 0.9| 2/3 + |1 - 0.6| / 3.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    ece = mismatch.calibration_error(jnp.log(p), jnp.array([0, 1, 1]))
    np.testing.assert_allclose(ece, 0.4 * 2 / 3 + 0.4 / 3, rtol=1e-5)


def test_a_calibrated_network_has_almost_no_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 50_000)
    labels = (rng.uniform(size=confidence.size) > confidence).astype(np.int32)
    logits = np.log(np.stack([confidence, 1 - confidence], 1)).astype(np.float32)
    assert mismatch.calibration_error(logits, labels) < 0.01


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_invariants(a, b):
    r, z = random_logits(a, 40), random_logits(b, 40)
    labels = LABELS[:40]
    out = mismatch.compare(r, z, labels)
    swapped = mismatch.compare(z, r, labels)
    assert out.cie == swapped.cie == mismatch.churn(r, z)
    assert 0 <= out.cie_u <= out.cie
    # Right answers lost and right answers gained explain the change of accuracy.
    change = float(out.accuracy - out.accuracy_reference) * 40
    np.testing.assert_allclose(change, swapped.cie_u - out.cie_u, atol=1e-3)
    assert out.cie_by_class.sum() == out.cie
    for value in (out.loyalty, out.top5_agreement, out.ece):
        assert -1e-5 <= value <= 1 + 1e-5
    # Relabelling the classes of both networks changes nothing.
    order = np.random.default_rng(a).permutation(7)
    moved = mismatch.compare(r[:, order], z[:, order], np.argsort(order)[labels])
    assert moved.cie == out.cie
    assert moved.cie_u == out.cie_u


def test_identical_networks_agree():
    r = random_logits(3)
    out = mismatch.compare(r, r, LABELS)
    assert int(out.cie) == int(out.cie_u) == 0
    np.testing.assert_allclose(out.rank_agreement, 1.0)
    np.testing.assert_allclose(out.loyalty, 1.0, atol=1e-4)
    assert out.top5_agreement == 1.0


def test_per_group():
    values = jnp.array([True, False, True])
    sums, counts = mismatch.per_group(values, jnp.array([2, 2, 0]), 4)
    np.testing.assert_array_equal(sums, [1, 0, 1, 0])
    np.testing.assert_array_equal(counts, [1, 0, 2, 0])


def test_reduction_interval_covers_the_truth(key):
    """About 95 of 100 intervals should hold the true factor of 2."""
    uniform = np.random.default_rng(0).uniform(size=(60, 2, 1500))
    flips = uniform < np.array([0.2, 0.1])[:, None]

    def interval(pair):
        return mismatch.reduction_interval(key, pair[0], pair[1], resamples=300)

    ratio, low, high = jax.lax.map(interval, jnp.asarray(flips))
    np.testing.assert_allclose(ratio, flips[:, 0].sum(1) / flips[:, 1].sum(1), 1e-6)
    assert np.all((low <= ratio) & (ratio <= high))
    assert 0.88 <= np.mean((low <= 2) & (high >= 2)) <= 1.0


def test_reduction_interval_sums_over_seeds(key):
    flips = np.random.default_rng(0).uniform(size=(3, 500)) < 0.2
    same = mismatch.reduction_interval(key, flips, flips, resamples=50)
    np.testing.assert_allclose(same, [1, 1, 1])


def test_another_number_of_classes_is_an_error():
    with pytest.raises(ValueError, match="same classes on the same examples"):
        mismatch.compare(random_logits(0), random_logits(0, classes=5), LABELS)
