"""Successive halving finds the best candidate and never trains an epoch twice."""

import jax.numpy as jnp
import numpy as np
import pytest

from fidelity import search


def test_candidates_lie_on_the_simplex(key):
    points = search.candidates(key, 3, 8)
    assert points.shape == (8, 3)
    np.testing.assert_allclose(points.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(points[0], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(points[1:4], np.eye(3))


def test_halving_keeps_the_best_and_its_state(key):
    points = search.candidates(key, 2, 8)
    target = np.asarray(points[5])
    spent = []

    def advance(run, epochs):
        spent.append(epochs - run[1])
        return run[0], epochs

    found = search.successive_halving(
        points,
        start=lambda w: (np.asarray(w), 0),
        advance=advance,
        score=lambda run: float(np.abs(run[0] - target).sum()),
        rungs=(1, 2, 4),
    )
    np.testing.assert_array_equal(found.weights, target)
    assert found.state[1] == 4
    # 8 candidates 1 epoch, 4 one more, 2 two more.
    assert sum(spent) == 8 + 4 + 2 * 2
    assert len(found.trace) == 8 + 4 + 2


@pytest.mark.parametrize("rungs", [(), (2, 1), (1, 1)])
def test_bad_rungs(rungs):
    with pytest.raises(ValueError, match="rungs"):
        search.successive_halving(
            jnp.ones((2, 1)), lambda w: w, lambda s, e: s, float, rungs
        )
