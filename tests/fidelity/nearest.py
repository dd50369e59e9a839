"""A problem whose memorization is known exactly: nearest neighbours on a line."""

import itertools

import jax.numpy as jnp
import numpy as np

from fidelity.ensemble import Learner
from fidelity.votes import Votes

# The third point is an outlier inside the other class, the last one lies alone.
POINTS = np.array([0.0, 1.0, 2.1, 3.3, 4.0, 5.2, 6.1, 9.0])
LABELS = np.array([0, 0, 1, 0, 1, 1, 1, 0])
TESTS = np.array([2.2, 8.0, 0.4, 4.4])
TEST_LABELS = np.array([1, 0, 0, 1])
SIZE = 5  # of 8, ratio 0.7


def learn(data, key, rows):
    """One nearest neighbour among the rows; training is remembering."""
    points, labels, tests, test_labels = data

    def right(x, y):
        near = jnp.argmin(jnp.abs(x[:, None] - points[rows][None, :]), 1)
        return labels[rows][near] == y

    return right(points, labels), right(tests, test_labels)


def learner(name="nearest neighbour"):
    data = tuple(map(jnp.asarray, (POINTS, LABELS, TESTS, TEST_LABELS)))
    return Learner(learn, data, name)


def right_by_hand(rows, points, labels):
    found = [LABELS[rows[np.argmin(np.abs(POINTS[rows] - p))]] for p in points]
    return np.array(found) == labels


def all_subsets():
    """Every subset of 5: `(member [56, 8], train [56, 8], test [56, 4])`."""
    subsets = [np.array(s) for s in itertools.combinations(range(8), SIZE)]
    member = np.array([np.isin(np.arange(8), s) for s in subsets])
    train = np.array([right_by_hand(s, POINTS, LABELS) for s in subsets])
    test = np.array([right_by_hand(s, TESTS, TEST_LABELS) for s in subsets])
    return member, train, test


def expected():
    """Memorization `[8]` and influence `[8, 4]`, means over all subsets."""
    member, train, test = all_subsets()
    mem = [train[m, i].mean() - train[~m, i].mean() for i, m in enumerate(member.T)]
    infl = [test[m].mean(0) - test[~m].mean(0) for m in member.T]
    return np.array(mem), np.array(infl)


def votes_of(member, train, test):
    bits = [np.packbits(x, axis=1) for x in (member, train, test)]
    ids = np.arange(member.shape[1]), np.arange(test.shape[1])
    return Votes(*bits, *ids)
