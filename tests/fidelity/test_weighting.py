"""Weighting rules, SoftAdapt against its published vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fidelity import weighting

# Losses and weights (beta = 0.1) as published with the SoftAdapt package.
PUBLISHED = np.array(
    [
        [1, 2, 3, 4, 5],
        [150, 100, 50, 10, 0.1],
        [1500, 1000, 500, 100, 1],
        [10, 20, 30, 40, 50],
    ],
    np.float32,
).T


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("variant", "terms", "expected"),
    [
        ("original", 3, [9.9343e-01, 6.5666e-03, 3.8908e-22]),
        ("normalized", 3, [0.3221, 0.3251, 0.3528]),
        ("loss_weighted", 3, [8.7978e-01, 1.2022e-01, 7.1234e-20]),
        ("original", 4, [2.8850e-01, 1.9070e-03, 1.1299e-22, 7.0959e-01]),
    ],
)
def test_softadapt_published_vectors(variant, terms, expected, jit):
    def weights(history):
        return weighting.softadapt_weights(history, variant=variant)

    weights = jax.jit(weights) if jit else weights
    # Printed with five digits; a slope of 500 makes exp() amplify float32 rounding.
    np.testing.assert_allclose(weights(PUBLISHED[:, :terms]), expected, rtol=5e-4)


def test_difference_coefficients_are_exact_for_polynomials():
    for points in range(2, 7):
        c = weighting._difference_coefficients(points)
        x = np.arange(points)
        for degree in range(points):
            slope = 1.0 if degree == 1 else 0.0
            np.testing.assert_allclose(c @ x.astype(float) ** degree, slope, atol=1e-9)


def run(rule, values, steps):
    state = rule.init(len(values))
    update = jax.jit(rule.update)
    for _ in range(steps):
        weights, state = update(jnp.asarray(values), state)
    return np.asarray(weights)


def test_uncertainty_settles_at_the_inverse_losses():
    values = np.array([0.5, 2.0, 0.1], np.float32)
    weights = run(weighting.uncertainty(learning_rate=0.05), values, 3000)
    np.testing.assert_allclose(weights, (1 / values) / (1 / values).sum(), rtol=1e-3)


def test_uncertainty_does_not_run_away():
    """The plain form's weights grow without bound as the terms go to zero."""
    weights = run(weighting.uncertainty(), np.array([0.0, 0.0], np.float32), 5000)
    np.testing.assert_allclose(weights, [0.5, 0.5], rtol=1e-5)


def test_softadapt_waits_for_its_window_then_prefers_the_slow_term():
    rule = weighting.softadapt(points=3, every=2, beta=1.0, variant="original")
    state = rule.init(2)
    seen = []
    for step in range(8):
        values = jnp.array([10.0 - step, 10.0 - 0.1 * step])
        weights, state = rule.update(values, state)
        seen.append(np.asarray(weights))
    np.testing.assert_array_equal(seen[:5], np.full((5, 2), 0.5))
    assert seen[5][1] > 0.5
    np.testing.assert_array_equal(seen[5], seen[6])
    # The window holds the means of two steps each: slopes -2 and -0.2.
    np.testing.assert_allclose(seen[7][1], 1 / (1 + np.exp(-1.8)), rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_tuned_weights_sum_to_one(values):
    for name in weighting.names():
        weights = run(weighting.create(name), np.array(values, np.float32), 60)
        assert np.all(weights >= 0)
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-4)


def test_no_gradient_leaks_through_the_weights():
    for name in weighting.names():
        rule = weighting.create(name)

        def total(values, rule=rule):
            weights, _ = rule.update(values, rule.init(2))
            return weights.sum() + weights[0]

        grad = jax.grad(total)(jnp.array([1.0, 2.0]))
        np.testing.assert_array_equal(grad, [0.0, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weighting.fixed((1.0, -1.0)), ">= 0"),
        (lambda: weighting.fixed((0.0, 0.0)), "not all 0"),
        (lambda: weighting.fixed((1.0,)).init(2), "1 weights for 2 loss terms"),
        (lambda: weighting.create("magic"), "unknown weighting 'magic'"),
        (lambda: weighting.softadapt(variant="odd"), "unknown SoftAdapt variant 'odd'"),
        (lambda: weighting.softadapt(points=1), r"\[n >= 2, K\]"),
        (lambda: weighting.softadapt(every=0), "every must be >= 1, got 0"),
        (lambda: weighting.uncertainty(learning_rate=0), "must be > 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
