"""Loss terms against hand-computed values and SciPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax

from fidelity import losses
from fidelity.models.layers import Output

LOGITS = np.array([1.0, -2.0, 0.5], np.float32)
REFERENCE = np.array([0.2, 1.3, -0.7], np.float32)
vectors = arrays(np.float32, 4, elements=st.floats(-8, 8, width=32))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        # -log softmax(z)_y for z = (ln 1, ln 2, ln 5): the label's share is 2/8.
        (losses.cross_entropy, (np.log([1.0, 2.0, 5.0]), 1), np.log(4.0)),
        (losses.predicted_cross_entropy, (np.log([1, 2.0, 5]), [0, 9.0, 1]), np.log(4)),
        (losses.logit_pairing, ([1.0, 2.0, 3.0], [1.0, 0.0, 0.0]), 13 / 3),
        (losses.soft_target, ([0.0, 0.0], [0.0, 0.0]), 0.0),
    ],
)
def test_hand_computed(function, args, expected, jit):
    args = [jnp.asarray(a, jnp.float32) if np.ndim(a) else a for a in args]
    function = jax.jit(function) if jit else function
    np.testing.assert_allclose(function(*args), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_soft_target_is_the_scaled_divergence(temperature):
    q = softmax(REFERENCE / temperature)
    kl = np.sum(
        q * (log_softmax(REFERENCE / temperature) - log_softmax(LOGITS / temperature))
    )
    ours = losses.soft_target(LOGITS, REFERENCE, temperature)
    np.testing.assert_allclose(ours, temperature**2 * kl, rtol=2e-5)


def test_soft_target_tends_to_logit_pairing():
    """At high temperature it becomes half the MSE of centred logits (Hinton 2.1)."""
    centred = LOGITS - LOGITS.mean(), REFERENCE - REFERENCE.mean()
    expected = 0.5 * losses.logit_pairing(*centred)
    ours = losses.soft_target(*(jnp.asarray(z) for z in centred), 100.0)
    np.testing.assert_allclose(ours, expected, rtol=2e-2)


@settings(deadline=None, max_examples=30)
@given(vectors, vectors)
def test_preservation_terms_are_zero_only_at_the_reference(z, r):
    for function in (losses.soft_target, losses.logit_pairing):
        assert abs(function(jnp.asarray(r), jnp.asarray(r))) < 1e-4
        assert function(jnp.asarray(z), jnp.asarray(r)) > -1e-4


def maps(seed, channels=3):
    return jax.random.normal(jax.random.key(seed), (4, 5, channels))


def test_attention_is_scale_free_and_ignores_channels():
    a = maps(0)
    np.testing.assert_allclose(
        losses.attention_transfer([a], [3.0 * a]), 0.0, atol=1e-6
    )
    shuffled = a[..., jnp.array([2, 0, 1])]
    np.testing.assert_allclose(losses.attention_transfer([a], [shuffled]), 0, atol=1e-6)
    assert losses.attention_transfer([a], [maps(1, 7)]) > 1e-3


def test_attention_by_hand():
    a = jnp.zeros((1, 2, 1)).at[0, 0, 0].set(2.0)
    b = jnp.zeros((1, 2, 1)).at[0, 1, 0].set(5.0)
    # Orthogonal unit vectors are sqrt(2) apart.
    np.testing.assert_allclose(losses.attention_transfer([a], [b]), 2.0, rtol=1e-5)


def test_attention_skips_flat_features():
    flat = jnp.ones((7,))
    assert losses.attention_transfer([flat], [flat]) == 0


def test_feature_transfer_by_hand():
    a, b = jnp.array([1.0, 0.0]), jnp.array([0.0, 4.0])
    np.testing.assert_allclose(losses.feature_transfer([a, a], [b, a]), 1.0, rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        losses.feature_transfer([a], [jnp.ones(3)])


def test_multi_part_stacks_in_order_and_differentiates():
    student = Output(jnp.asarray(LOGITS), (maps(0),))
    teacher = Output(jnp.asarray(REFERENCE), (maps(1),))
    loss = losses.multi_part(losses.names())
    values = jax.jit(loss)(student, teacher, jnp.array(2))
    assert values.shape == (len(losses.names()),)
    for value, name in zip(values, losses.names(), strict=True):
        single = losses.term(name)(student, teacher, jnp.array(2))
        np.testing.assert_allclose(value, single, rtol=1e-5)
    grads = jax.grad(lambda s: loss(s, teacher, jnp.array(2)).sum())(student)
    chex.assert_tree_all_finite(grads)


def test_gradients_stay_finite_where_features_are_dead():
    dead = Output(jnp.asarray(LOGITS), (jnp.zeros((2, 2, 3)),))
    loss = losses.multi_part(("attention", "feature"))
    grads = jax.grad(lambda s: loss(s, dead, jnp.array(0)).sum())(dead)
    chex.assert_tree_all_finite(grads)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.term("hinge"), "unknown loss 'hinge'; choose from ce, pred"),
        (lambda: losses.term("kd", temperature=0), "temperature must be positive"),
        (lambda: losses.multi_part(()), "once"),
        (lambda: losses.multi_part(("ce", "ce")), "once"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
