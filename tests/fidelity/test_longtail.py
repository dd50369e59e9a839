"""Label changes of populations, and their relation to memorization."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fidelity import longtail
from fidelity.memorize import Influence, Scores


def planted(seed=0, n=2000, seeds=4):
    """Label changes whose chance is a fifth of the score."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.4, 2, n)
    return scores, rng.uniform(size=(seeds, n)) < scores[None, :] / 5


def test_modal_labels_against_scipy():
    labels = np.random.default_rng(0).integers(0, 5, (7, 300))
    expected = stats.mode(labels, axis=0).mode  # the smallest of ties
    np.testing.assert_array_equal(longtail.modal_labels(labels, 5), expected)


def test_modal_changes_and_taxicab_by_hand():
    reference = np.array([[0, 1, 2], [0, 1, 2], [0, 2, 2]])
    labels = np.array([[0, 2, 2], [1, 2, 0], [0, 1, 1]])
    changed = longtail.modal_changed(reference, labels, 3)
    # The third example is a tie of 0, 1, 2, which goes to the lowest class.
    np.testing.assert_array_equal(changed, [False, True, True])
    found = longtail.taxicab(reference, labels, 3)
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 2 / 3])


def test_taxicab_is_a_distance():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 4, (6, 50)), rng.integers(0, 4, (9, 50))
    found = longtail.taxicab(a, b, 4)
    np.testing.assert_allclose(found, longtail.taxicab(b, a, 4))
    assert np.all((found >= 0) & (found <= 1))
    np.testing.assert_array_equal(longtail.taxicab(a, a, 4), 0)
    with pytest.raises(ValueError, match=r"\[0, 3\)"):
        longtail.taxicab(a, b, 3)


def test_relation_against_libraries():
    scores, changed = planted()
    found = longtail.relate(scores, changed, resamples=50)
    repeated = np.broadcast_to(scores, changed.shape)
    expected = roc_auc_score(changed.ravel(), repeated.ravel())
    np.testing.assert_allclose(found.auc.value, expected, rtol=1e-12)
    each = [roc_auc_score(c, scores) for c in changed]
    np.testing.assert_allclose(found.auc_std, np.std(each, ddof=1), rtol=1e-9)
    rho = stats.spearmanr(scores, changed.mean(0)).statistic
    np.testing.assert_allclose(found.spearman.value, rho, rtol=1e-12)
    np.testing.assert_allclose(found.mean_changed, repeated[changed].mean())
    np.testing.assert_allclose(found.mean_kept, repeated[~changed].mean())
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.bins.examples.sum() == found.examples == 2000
    total = np.nansum(found.bins.rate * found.bins.examples) / 2000
    np.testing.assert_allclose(total, found.mismatch_rate)


def test_bin_intervals_cover_the_planted_rates():
    inside = []
    for seed in range(40):
        scores, changed = planted(seed)
        bins = longtail.relate(scores, changed, resamples=1).bins
        for b in np.flatnonzero(bins.examples > 20):
            own = (scores >= bins.edges[b]) & (scores < bins.edges[b + 1])
            inside.append(bins.low[b] <= scores[own].mean() / 5 <= bins.high[b])
    assert len(inside) > 200
    assert 0.9 < np.mean(inside) < 0.99


def test_examples_without_a_score_are_left_out():
    scores, changed = planted()
    holes = scores.copy()
    holes[::3] = np.nan
    rows = ~np.isnan(holes)
    found = longtail.relate(holes, changed, resamples=5)
    whole = longtail.relate(scores[rows], changed[:, rows], resamples=5)
    assert found.examples == rows.sum()
    assert found.auc == whole.auc
    with pytest.raises(ValueError, match="do the ids belong"):
        longtail.relate(np.full(2000, np.nan), changed)
    with pytest.raises(ValueError, match="label changes"):
        longtail.relate(scores[1:], changed)


def test_no_relation_is_no_relation():
    scores, changed = planted()
    shuffled = np.random.default_rng(5).permutation(scores)
    found = longtail.relate(shuffled, changed)
    assert found.auc.low < 0.5 < found.auc.high
    assert found.spearman.low < 0 < found.spearman.high


def test_auc_difference():
    scores, strong = planted(0)
    weak = np.random.default_rng(9).uniform(size=strong.shape) < 0.04
    found = longtail.auc_difference(scores, weak, strong)
    values = [longtail.relate(scores, c, resamples=1).auc.value for c in (weak, strong)]
    np.testing.assert_allclose(found.value, values[0] - values[1])
    assert found.high < 0
    same = longtail.auc_difference(scores, strong, strong, resamples=20)
    assert same == (0, 0, 0)


def test_memorized_support_by_hand():
    unknown = np.zeros(3)
    scores = Scores(np.arange(3), np.array([0.8, 0.1, np.nan]), *[unknown] * 3)
    value = np.array([[0.3, 0.1], [0.0, -np.inf], [0.2, 0.2]], np.float32)
    row = np.array([[0, 1], [0, 1], [1, 2]], np.int32)
    error = np.array([[0.05, 0.05], [0.1, 0.1], [0.1, 0.1]], np.float32)
    influence = Influence(value, row, error)
    found = longtail.memorized_support(scores, influence, min_errors=0)
    np.testing.assert_allclose(found, [(0.24 + 0.01) / 0.4, 0.0, 0.05], rtol=1e-6)
    sure = longtail.memorized_support(scores, influence, min_errors=3)
    np.testing.assert_allclose(sure, [0.8, 0.0, 0.0], rtol=1e-6)


def test_groups():
    scores, changed = planted()
    groups = np.arange(2000) % 3
    rows = longtail.by_group(scores, changed, groups, ["a", "b", "c", "empty"])
    assert [row["group"] for row in rows] == ["a", "b", "c"]
    for g, row in enumerate(rows):
        own = groups == g
        assert row["examples"] == own.sum()
        np.testing.assert_allclose(row["mismatch_rate"], changed[:, own].mean())
        np.testing.assert_allclose(row["memorized"], np.mean(scores[own] >= 0.25))
    quiet = longtail.by_group(scores, np.zeros((1, 2000), bool), groups, "abc")
    assert all(row["auc"] is None for row in quiet)


def test_populations_are_in_the_order_of_seeds():
    labels = {f"80%/kd/{s}": np.array([s]) for s in (10, 2, 0)}
    labels["80%/ce/0"] = np.array([7])
    found = longtail.population(labels, "80%/kd")
    np.testing.assert_array_equal(found, [[0], [2], [10]])
    with pytest.raises(ValueError, match="no job '50%/kd'"):
        longtail.population(labels, "50%/kd")


def test_rows_are_json_without_nan():
    scores, _ = planted()
    nothing = longtail.relate(scores, np.zeros((1, 2000), bool), resamples=3)
    row = longtail.row(nothing, None, recipe="int8")
    text = json.dumps(row, allow_nan=False)
    assert json.loads(text)["auc"] is None
    assert row["recipe"] == "int8"
    assert row["bin_rate"][0] == 0.0
