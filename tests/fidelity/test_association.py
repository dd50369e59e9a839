"""Association statistics against scikit-learn and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from fidelity import association
from fidelity.association import auc, levels, spearman


def draw(seed, n=300, ties=True):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n)
    scores = np.round(scores, 1) if ties else scores
    events = rng.uniform(size=n) < 1 / (1 + np.exp(-scores))
    return scores, events


@pytest.mark.parametrize("ties", [False, True])
def test_auc_against_scikit_learn(ties):
    scores, events = draw(0, ties=ties)
    expected = roc_auc_score(events, scores)
    found = auc(levels(scores), events, ~events)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_weighted_auc_against_scikit_learn():
    scores, events = draw(1)
    weights = np.random.default_rng(2).integers(0, 4, len(scores))
    expected = roc_auc_score(events, scores, sample_weight=weights)
    found = auc(levels(scores), weights * events, weights * ~events)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_against_scipy(ties):
    a, _ = draw(3, ties=ties)
    b = a + draw(4, ties=ties)[0]
    expected = stats.spearmanr(a, b).statistic
    np.testing.assert_allclose(spearman(a, b), expected, rtol=1e-12)
    np.testing.assert_allclose(spearman(levels(a), levels(b)), expected, rtol=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_weights_mean_repetition(seed):
    scores, _ = draw(seed, 40)
    other, events = draw(seed + 1, 40)
    weights = np.random.default_rng(seed).integers(0, 3, 40)
    rows = np.repeat(np.arange(40), weights)
    expected = stats.spearmanr(scores[rows], other[rows]).statistic
    np.testing.assert_allclose(spearman(scores, other, weights), expected, rtol=1e-9)
    repeated = auc(levels(scores[rows]), events[rows], ~events[rows])
    weighted = auc(levels(scores), weights * events, weights * ~events)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)


def test_undefined_statistics_are_nan():
    constant, events = np.ones(5), np.array([1, 0, 1, 0, 0], bool)
    assert auc(levels(constant), events, ~events) == 0.5
    assert np.isnan(auc(levels(constant), np.zeros(5), np.ones(5)))
    assert np.isnan(spearman(constant, np.arange(5.0)))
    nothing = association.auc_interval(np.arange(5.0), np.zeros((2, 5), bool))
    assert np.isnan(nothing).all()


def test_bootstrap_interval_of_a_mean_against_theory():
    values = np.random.default_rng(0).normal(size=2000)
    found = association.bootstrap(
        lambda w: float(np.average(values, weights=w)), 2000, resamples=2000
    )
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.value == pytest.approx(values.mean())
    np.testing.assert_allclose(
        [found.low, found.high], values.mean() + np.array([-half, half]), atol=0.005
    )


def test_auc_interval_covers_the_truth():
    """Normal scores one apart: AUC = Phi(1 / sqrt 2) = 0.760."""
    truth, inside = stats.norm.cdf(1 / np.sqrt(2)), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        events = rng.uniform(size=(1, 400)) < 0.2
        scores = rng.normal(size=400) + events[0]
        low, high = association.auc_interval(scores, events, resamples=200)[1:]
        inside += low <= truth <= high
    assert inside >= 52


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 20), (50, 50), (199, 1000)])
def test_wilson_against_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    z = stats.norm.ppf(0.975)
    low, high = association.wilson(np.array(k / n), np.array(n), z)
    np.testing.assert_allclose([low, high], expected, atol=1e-9)


def test_binned_rate_by_hand():
    scores = np.array([-0.3, 0.1, 0.5, 0.7, 1.0])
    events = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 0]], bool)
    bins = association.binned_rate(scores, events, np.array([0, 0.5, 0.8, 0.9, 1.0]))
    np.testing.assert_array_equal(bins.examples, [2, 2, 0, 1])
    np.testing.assert_allclose(bins.rate, [0.25, 1.0, np.nan, 0.0])
    seen = bins.examples > 0
    assert np.all(bins.low[seen] <= bins.rate[seen])
    assert np.all(bins.rate[seen] <= bins.high[seen])
    assert np.isnan(bins.high[2])


def test_seeds_that_repeat_each_other_narrow_nothing():
    rng = np.random.default_rng(0)
    scores, once = np.zeros(500), rng.uniform(size=(1, 500)) < 0.3
    edges = np.array([0.0, 1.0])
    single = association.binned_rate(scores, once, edges)
    copied = association.binned_rate(scores, np.repeat(once, 5, 0), edges)
    np.testing.assert_allclose(copied.low, single.low)
    independent = rng.uniform(size=(5, 500)) < 0.3
    fresh = association.binned_rate(scores, independent, edges)
    assert fresh.high - fresh.low < 0.6 * (single.high - single.low)


@pytest.mark.parametrize("edges", [[0.0], [0.0, 0.0], [1.0, 0.0]])
def test_edges_must_rise(edges):
    with pytest.raises(ValueError, match="edges must rise"):
        association.binned_rate(np.zeros(3), np.zeros((1, 3), bool), np.array(edges))
