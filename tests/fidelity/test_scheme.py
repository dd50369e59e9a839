"""Schemes: composition, and what they promise about gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fidelity import prune, quantize, scheme


@pytest.fixture
def params(key):
    a, b = jax.random.split(key)
    return {
        "Conv_0": {"kernel": jax.random.normal(a, (3, 3, 4, 8))},
        "Dense_0": {"kernel": jax.random.normal(b, (8, 10)), "bias": jnp.ones(10)},
    }


def test_flat_and_nested_are_inverse(params):
    assert jax.tree.structure(scheme.nested(scheme.flat(params))) == jax.tree.structure(
        params
    )
    assert set(scheme.kernels(params)) == {"Conv_0/kernel", "Dense_0/kernel"}


def test_identity_changes_nothing(params):
    same = scheme.identity()
    state = same.update(params, params, jnp.int32(3), same.init(params, params))
    assert same.apply(params, state) is params


def test_chain_applies_from_left_to_right(params):
    both = scheme.chain(prune.prune(0.5), quantize.weights(quantize.Grid(4)))
    out = both.apply(params, both.init(params, params))
    first = prune.prune(0.5)
    pruned = first.apply(params, first.init(params, params))
    second = quantize.weights(quantize.Grid(4))
    expected = second.apply(pruned, ())
    for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert scheme.sparsity(out) >= 0.5
    for path, leaf in scheme.kernels(out).items():
        per_channel = leaf.reshape(-1, leaf.shape[-1]).T
        assert max(len(np.unique(c)) for c in np.asarray(per_channel)) <= 15, path


def test_chain_updates_every_part(params):
    schedule = prune.cubic(0.8, begin=0, end=10)
    both = scheme.chain(prune.prune(schedule, every=1), quantize.weights())
    state = both.init(params, params)
    assert scheme.sparsity(both.apply(params, state)) < 0.05
    state = jax.jit(both.update)(params, params, jnp.int32(10), state)
    np.testing.assert_allclose(
        scheme.sparsity(both.apply(params, state)), 0.8, atol=0.02
    )


def test_gradients_stop_at_masks_and_pass_through_rounding(params):
    both = scheme.chain(prune.prune(0.5), quantize.weights())
    state = both.init(params, params)

    def total(p):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(both.apply(p, state)))

    slopes = scheme.kernels(jax.grad(total)(params))
    for path, mask in state[0].masks.items():
        np.testing.assert_array_equal(slopes[path], mask.astype(jnp.float32))


def test_sparsity_counts_kernels_only():
    params = {"a": {"kernel": jnp.array([[0.0, 1.0, 2.0, 0.0]]), "bias": jnp.zeros(4)}}
    assert scheme.sparsity(params) == 0.5
