"""The estimators against exact expectations over all subsets."""

import nearest
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from tiny_problem import dataset

from fidelity import ensemble, memorize, models
from fidelity.association import auc, levels
from fidelity.memorize import Influence, Scores
from fidelity.train import Config


def random_votes(seed, models=40, train=30, test=21, ratio=0.6):
    rng = np.random.default_rng(seed)
    parts = [rng.uniform(size=(models, n)) for n in (train, train, test)]
    return nearest.votes_of(parts[0] < ratio, parts[1] < 0.7, parts[2] < 0.6)


def test_all_subsets_give_the_exact_memorization():
    votes = nearest.votes_of(*nearest.all_subsets())
    found = memorize.memorization(votes)
    expected, _ = nearest.expected()
    np.testing.assert_allclose(found.memorization, expected, atol=1e-12)
    # The lonely point, and the one behind the outlier, are right only if remembered.
    assert found.memorization[3] == found.memorization[7] == 1.0
    np.testing.assert_allclose(found.right_in, 1.0)
    np.testing.assert_allclose(1 - found.right_out, found.memorization)


def test_all_subsets_give_the_exact_influence():
    votes = nearest.votes_of(*nearest.all_subsets())
    found = memorize.influence(votes, top_k=8, block=3)
    _, expected = nearest.expected()
    for j in range(4):
        order = found.row[j]
        assert sorted(order) == list(range(8))
        np.testing.assert_allclose(found.value[j], expected[order, j], atol=1e-6)
        assert np.all(np.diff(found.value[j]) <= 0)
    assert found.row[0, 0] == 2  # the test point beside the outlier leans on it
    assert found.row[1, 0] == 7


def test_random_subsets_estimate_it_within_the_standard_error(key):
    votes = ensemble.train_ensemble(
        key, nearest.learner(), np.arange(8), np.arange(4), 3000, chunk=1000
    )
    found = memorize.memorization(votes)
    mem, infl = nearest.expected()
    errors = (found.memorization - mem) / found.standard_error
    assert np.all(np.abs(errors) < 4)
    pairs = memorize.influence(votes, top_k=8)
    truth = np.take_along_axis(infl.T, pairs.row, 1)
    assert np.all(np.abs(pairs.value - truth) < 4 * pairs.standard_error)


def test_standard_error_is_the_spread_of_repeated_estimates():
    """Independent coins: the reported error against the spread over 300 ensembles."""
    rng = np.random.default_rng(0)
    p_in, p_out, found = 0.9, 0.4, []
    for _ in range(300):
        member = rng.uniform(size=(100, 1)) < 0.7
        right = rng.uniform(size=(100, 1)) < np.where(member, p_in, p_out)
        scores = memorize.memorization(nearest.votes_of(member, right, right))
        found.append((scores.memorization[0], scores.standard_error[0]))
    values, errors = np.array(found).T
    np.testing.assert_allclose(values.mean(), 0.5, atol=0.02)
    np.testing.assert_allclose(errors.mean(), values.std(), rtol=0.15)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_invariants(seed):
    votes = random_votes(seed)
    found = memorize.memorization(votes)
    known = ~np.isnan(found.memorization)
    assert np.all(np.abs(found.memorization[known]) <= 1)
    # Neither the order of the models nor that of the examples matters.
    rng = np.random.default_rng(seed)
    order = rng.permutation(votes.num_models)
    shuffled = votes._replace(
        member=votes.member[order], train=votes.train[order], test=votes.test[order]
    )
    assert_scores_equal(memorize.memorization(shuffled), found)
    # Counts of two halves add up.
    halves = memorize.count(votes, order[:11]), memorize.count(votes, order[11:])
    for a, b, whole in zip(*halves, memorize.count(votes), strict=True):
        np.testing.assert_array_equal(a + b, whole)


def assert_scores_equal(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_influence_of_an_example_on_itself_is_its_memorization():
    votes = random_votes(3)
    same = votes._replace(test=votes.train, test_index=votes.train_index)
    found = memorize.influence(same, top_k=30)
    scores = memorize.memorization(votes)
    for i in range(30):
        own = found.value[i, found.row[i] == i][0]
        np.testing.assert_allclose(own, scores.memorization[i], atol=1e-6)


def test_influence_within_classes():
    votes = random_votes(4)
    labels, test_labels = np.arange(30) % 3, np.arange(21) % 4
    found = memorize.influence(votes, top_k=10, labels=(labels, test_labels))
    whole = memorize.influence(votes, top_k=30)
    for j, c in enumerate(test_labels):
        kept = np.isfinite(found.value[j])
        assert kept.sum() == (10 if c < 3 else 0)
        assert np.all(labels[found.row[j, kept]] == c)
        own = whole.value[j][labels[whole.row[j]] == c]
        np.testing.assert_array_equal(found.value[j, kept], own[: kept.sum()])


def test_an_example_without_contrast_has_no_score():
    member = np.ones((4, 2), bool)
    member[:2, 1] = False
    found = memorize.memorization(nearest.votes_of(member, member, member))
    assert np.isnan(found.memorization[0])
    assert np.isnan(found.standard_error[0])
    assert found.memorization[1] == 1.0


def test_split_half_of_signal_and_of_noise():
    rng = np.random.default_rng(0)
    chance = rng.uniform(size=200)  # right without having seen it
    member = rng.uniform(size=(400, 200)) < 0.7
    right = member | (rng.uniform(size=(400, 200)) < chance[None, :])
    signal = memorize.split_half(nearest.votes_of(member, right, right))
    assert signal.pearson > 0.95
    assert signal.spearman > 0.95
    assert signal.pearson < signal.reliability < 1
    scores = memorize.memorization(nearest.votes_of(member, right, right))
    truth = np.corrcoef(scores.memorization, 1 - chance)[0, 1]
    # Reliability is the squared correlation with the true scores.
    np.testing.assert_allclose(signal.reliability, truth**2, atol=0.01)
    noise = rng.uniform(size=(400, 200)) < 0.5
    found = memorize.split_half(nearest.votes_of(member, noise, noise))
    assert abs(found.pearson) < 0.2
    with pytest.raises(ValueError, match="at least 4"):
        memorize.split_half(nearest.votes_of(member[:3], right[:3], right[:3]))


def test_wrong_labels_must_be_memorized(key):
    """Wrong labels cannot be learnt from others, so their memorization is near 1."""
    data, test = dataset(160, seed=0), dataset(40, seed=1)
    wrong = np.zeros(160, bool)
    wrong[::16] = True
    labels = np.where(wrong, (data.labels + 1) % 4, data.labels).astype(np.int32)
    noisy = data._replace(labels=labels)
    config = Config(40, 28, 0.05, weight_decay=0.0, pad=0, flip=False)
    learner = ensemble.network_learner(models.create("mlp", 4), config, noisy, test)
    votes = ensemble.train_ensemble(
        key, learner, noisy.index, test.index, 16, chunk=16, devices=1
    )
    found = memorize.memorization(votes).memorization
    known = ~np.isnan(found)
    assert auc(levels(found[known]), wrong[known], ~wrong[known]) > 0.97
    assert found[wrong & known].mean() > 0.6
    assert found[~wrong & known].mean() < 0.2


def test_high_influence_pairs_by_hand():
    unknown = np.zeros(3)
    scores = Scores(np.arange(3), np.array([0.9, 0.1, 0.3]), *[unknown] * 3)
    found = Influence(
        np.array([[0.5, 0.2], [0.3, 0.1]], np.float32),
        np.array([[1, 0], [2, 0]], np.int32),
        np.array([[0.1, 0.1], [0.05, 0.1]], np.float32),
    )
    train, test, value = memorize.high_influence_pairs(scores, found)
    assert train.tolist() == [2, 0]
    assert test.tolist() == [1, 0]
    np.testing.assert_allclose(value, [0.3, 0.2])
    sure = memorize.high_influence_pairs(scores, found, min_errors=3)
    assert sure[0].tolist() == [2]


def test_scores_follow_their_ids(tmp_path):
    scores = memorize.memorization(random_votes(0))
    scores = scores._replace(index=np.random.default_rng(0).permutation(30) * 7)
    memorize.save_scores(tmp_path / "scores.npz", scores)
    loaded = memorize.load_scores(tmp_path / "scores.npz")
    assert_scores_equal(loaded, scores)
    wanted = np.array([scores.index[4], 1, scores.index[0], 10**6])
    found = memorize.align(loaded, wanted)
    np.testing.assert_array_equal(found.index, wanted)
    expected = [scores.memorization[4], np.nan, scores.memorization[0], np.nan]
    np.testing.assert_array_equal(found.memorization, expected)


def test_published_scores_and_influence(tmp_path):
    rng = np.random.default_rng(0)
    mem, matrix = rng.uniform(size=6), rng.normal(size=(2, 3, 2))
    train = np.array([[0, 2, 4], [1, 3, 5]])
    test = np.array([[3, 0], [1, 2]])
    path = tmp_path / "matrix.npz"
    arrays = {"tr_mem": mem}
    for c in range(2):
        arrays |= {f"tr_classidx_{c}": train[c], f"tt_classidx_{c}": test[c]}
        arrays |= {f"infl_matrix_class{c}": matrix[c]}
    np.savez(path, **arrays)
    np.testing.assert_array_equal(memorize.load_scores(path).memorization, mem)
    found = memorize.load_influence(path, 4, top_k=4)
    for c in range(2):
        for column, j in enumerate(test[c]):
            order = np.argsort(-matrix[c, :, column])
            np.testing.assert_array_equal(found.row[j, :3], train[c][order])
            np.testing.assert_allclose(found.value[j, :3], matrix[c, order, column])
    assert np.all(np.isneginf(found.value[:, 3]))

    pairs = tmp_path / "pairs.npz"
    np.savez(pairs, tr_idx=[4, 5, 1], tt_idx=[2, 0, 2], infl=[0.2, 0.3, 0.6])
    found = memorize.load_influence(pairs, 3, top_k=2)
    assert found.row[2].tolist() == [1, 4]
    np.testing.assert_allclose(found.value[2], [0.6, 0.2])
    assert np.isneginf(found.value[0, 1])
    for load in (memorize.load_scores, lambda p: memorize.load_influence(p, 3)):
        np.savez(tmp_path / "other.npz", images=mem)
        with pytest.raises(ValueError, match=r"holds \['images'\]"):
            load(tmp_path / "other.npz")


@pytest.mark.parametrize("top_k", [0, 31])
def test_top_k_out_of_range(top_k):
    with pytest.raises(ValueError, match=r"\[1, 30\]"):
        memorize.influence(random_votes(0), top_k=top_k)


def test_split_half_matches_scipy():
    votes = random_votes(5, models=60)
    order = np.random.default_rng(0).permutation(60)
    halves = [
        memorize.score(memorize.count(votes, part), votes.train_index).memorization
        for part in (order[:30], order[30:])
    ]
    expected = stats.spearmanr(*halves).statistic
    found = memorize.split_half(votes, repeats=1, seed=0)
    np.testing.assert_allclose(found.spearman, expected)
