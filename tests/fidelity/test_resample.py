"""Draws by class: exact sizes, stable ids, the long tails of the literature."""

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from sklearn.model_selection import train_test_split

from fidelity import data
from fidelity.data import (
    TAIL_BINS,
    class_counts,
    long_tail,
    long_tail_counts,
    make_dataset,
    split,
    subset,
    tail_bins,
    take,
)


def dataset_of(counts, seed=0):
    """Shuffled labels with given class sizes; each pixel is the example's id % 256."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    index = 1000 + np.arange(len(labels))
    images = np.broadcast_to((index % 256)[:, None, None], (len(labels), 2, 2))
    return make_dataset(images.astype(np.uint8), labels, index)


def assert_part_of(part, whole):
    """Images, labels and ids still belong together, in the order of the whole."""
    rows = part.index - 1000
    np.testing.assert_array_equal(part.labels, whole.labels[rows])
    np.testing.assert_array_equal(part.images, whole.images[rows])
    assert np.all(np.diff(rows) > 0)


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@settings(deadline=None)
@given(sizes, st.floats(0.01, 0.99), st.integers(0, 5))
def test_split_is_a_stratified_partition(counts, fraction, seed):
    whole = dataset_of(counts)
    total = sum(counts)
    assume(0 < round(fraction * total) < total)
    rest, held_out = split(whole, fraction, seed=seed)
    assert_part_of(rest, whole)
    assert_part_of(held_out, whole)
    together = np.sort(np.concatenate([rest.index, held_out.index]))
    np.testing.assert_array_equal(together, whole.index)
    assert len(held_out.labels) == round(fraction * total)
    share = np.array(counts) * len(held_out.labels) / total
    found = class_counts(held_out, len(counts))
    assert np.all((np.floor(share) <= found) & (found <= np.ceil(share)))


@settings(deadline=None)
@given(sizes, st.data(), st.integers(0, 5))
def test_subset_is_stratified_and_nested(counts, draw, seed):
    whole = dataset_of(counts)
    size = draw.draw(st.integers(1, sum(counts)))
    part = subset(whole, size, seed=seed)
    assert_part_of(part, whole)
    assert len(part.labels) == size
    share = np.array(counts) * size / sum(counts)
    found = class_counts(part, len(counts))
    assert np.all((np.floor(share) <= found) & (found <= np.ceil(share)))
    again = subset(whole, size, seed=seed)
    np.testing.assert_array_equal(part.index, again.index)
    # Class by class, a smaller draw lies within a larger one.
    smaller = subset(whole, max(1, size // 2), seed=seed)
    for c in np.flatnonzero(class_counts(smaller, len(counts)) <= found):
        assert set(smaller.index[smaller.labels == c]) <= set(part.index)


def test_split_has_the_sizes_of_scikit_learn():
    counts = [60, 30, 90, 20]
    whole = dataset_of(counts)
    _, held_out = split(whole, 0.1, seed=0)
    _, theirs = train_test_split(
        whole.labels, test_size=0.1, stratify=whole.labels, random_state=0
    )
    np.testing.assert_array_equal(class_counts(held_out, 4), np.bincount(theirs))


def test_seeds_differ_and_draws_are_uniform():
    whole = dataset_of([50, 50])
    drawn = np.zeros(100)
    for seed in range(400):
        drawn[subset(whole, 20, seed=seed).index - 1000] += 1
    # 400 draws of probability 0.2: mean 80, standard deviation 8.
    assert drawn.sum() == 8000
    assert 50 < drawn.min() < drawn.max() < 110


@pytest.mark.parametrize(
    ("imbalance", "num_classes", "expected"),
    [
        # CIFAR-10-LT as in Cao et al. 2019 (arXiv:1906.07413) and its code.
        (100, 10, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (10, 10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
        (1, 10, [5000] * 10),
        (50, 2, [5000, 100]),
    ],
)
def test_long_tail_counts_of_cifar10(imbalance, num_classes, expected):
    found = long_tail_counts(5000, imbalance, num_classes)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("imbalance", "total"), [(100, 10847), (50, 12608)])
def test_long_tail_sizes_of_cifar100(imbalance, total):
    """Sizes of CIFAR-100-LT as its papers print them."""
    assert long_tail_counts(500, imbalance, 100).sum() == total


def test_long_tail_draws_the_profile():
    whole = dataset_of([5000] * 10)
    part = long_tail(whole, 100, seed=1)
    expected = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    np.testing.assert_array_equal(class_counts(part, 10), expected)
    assert_part_of(part, whole)
    milder = long_tail(whole, 10, seed=1)
    assert set(part.index) <= set(milder.index)
    other = long_tail(whole, 100, seed=2)
    assert set(other.index) != set(part.index)
    headed = long_tail(whole, 20, seed=1, head=800)
    expected = [800, 573, 411, 294, 211, 151, 108, 77, 55, 40]
    np.testing.assert_array_equal(class_counts(headed, 10), expected)


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), min_size=2, max_size=6), st.floats(1, 20))
def test_default_head_is_the_largest_that_fits(counts, imbalance):
    whole = dataset_of(counts)
    try:
        found = class_counts(long_tail(whole, imbalance, seed=0), len(counts))
    except ValueError:
        best = 0
    else:
        best = int(found[0])
        np.testing.assert_array_equal(
            found, long_tail_counts(best, imbalance, len(counts))
        )
    heads = range(int(np.ceil(imbalance)), counts[0] + 1)
    fitting = [
        n
        for n in heads
        if np.all(long_tail_counts(n, imbalance, len(counts)) <= counts)
    ]
    assert best == max(fitting, default=0)


def test_take():
    whole = dataset_of([3, 4])
    np.testing.assert_array_equal(take(whole, [5, 0, 5]).index, [1005, 1000, 1005])
    mask = whole.labels == 1
    np.testing.assert_array_equal(take(whole, mask).labels, [1] * 4)
    assert take(whole, []).images.shape == (0, 2, 2, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0.5], "integers or bool, got float64"),
        ([7], "rows from 7 to 7 are outside 7 examples"),
        ([-1, 2], "rows from -1 to 2 are outside"),
        ([True], r"a \[7\] mask, got shape \(1,\)"),
        ([[0, 1]], r"got shape \(1, 2\)"),
    ],
)
def test_take_rejects(rows, message):
    with pytest.raises(ValueError, match=message):
        take(dataset_of([3, 4]), rows)


def test_class_counts():
    np.testing.assert_array_equal(
        class_counts(dataset_of([3, 0, 2]), 5), [3, 0, 2, 0, 0]
    )
    with pytest.raises(ValueError, match="label 2 is outside 2 classes, 0 to 1"):
        class_counts(dataset_of([3, 0, 2]), 2)


def test_tail_bins_of_cifar100():
    """Many, medium and few shot classes of CIFAR-100-LT, imbalance 100: 35, 35, 30."""
    bins = tail_bins(long_tail_counts(500, 100, 100))
    np.testing.assert_array_equal(np.bincount(bins), [35, 35, 30])
    assert bins.dtype == np.int32


def test_tail_bins_fall_back_to_terciles():
    counts = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1])
    assert set(tail_bins(counts)) == {2}
    found = tail_bins(counts, fallback=True)
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    balanced = tail_bins(np.full(10, 500), fallback=True)
    assert {TAIL_BINS[b] for b in balanced} == {"medium"}
    kept = tail_bins(np.array([200, 50, 3, 2]), fallback=True)
    np.testing.assert_array_equal(kept, [0, 1, 2, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: split(d, 0.0, seed=0), "cannot hold out the fraction 0.0 of 7"),
        (lambda d: split(d, 1.0, seed=0), "both parts need at least one"),
        (lambda d: split(d, 0.01, seed=0), "both parts need at least one"),
        (lambda d: subset(d, 8, seed=0), "cannot draw 8 of 7"),
        (lambda d: subset(d, 0, seed=0), "cannot draw 0 of 7"),
        (lambda d: long_tail(d, 0.5, seed=0), "imbalance >= 1"),
        (lambda d: long_tail(d, 4, seed=0), "leaves the last class empty"),
        (lambda d: long_tail(d, 1, seed=0, head=4), "class 0 has 3 examples, the prof"),
        (lambda d: long_tail_counts(5, 2, 1), "at least 2 classes"),
        (lambda d: tail_bins(np.zeros((2, 2))), r"got shape \(2, 2\)"),
        (lambda d: tail_bins(np.ones(2), many=1, few=3), "few <= many"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(dataset_of([3, 4]))


def test_resampling_is_reachable_from_data():
    assert data.long_tail is long_tail
    assert set(data.__all__) <= set(dir(data))
