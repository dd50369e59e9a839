"""Convolutions as matrix products against XLA's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fidelity import models
from fidelity.models.blocks import max_pool_halves
from fidelity.models.layers import Conv
from fidelity.models.shift import (
    banded_convolution,
    shifted_convolution,
    shifted_convolutions,
)


@pytest.mark.parametrize("convolve", [banded_convolution, shifted_convolution])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "padding"), [((1, 1), (0, 0)), ((3, 3), (1, 1)), ((5, 3), (2, 0))]
)
def test_equals_lax_conv(key, convolve, size, padding, stride):
    x = jax.random.normal(key, (2, 11, 9, 3))
    kernel = jax.random.normal(jax.random.fold_in(key, 1), (*size, 3, 4))
    expected = jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(p, p) for p in padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    found = convolve(x, kernel, stride, padding)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_network_computes_the_same_function(key):
    module = models.create("cnn", 4)
    x = jax.random.normal(key, (2, 16, 16, 3))
    variables = jax.jit(module.init)(key, x)
    plain = jax.jit(lambda v: module.apply(v, x).logits)(variables)
    with shifted_convolutions():
        shifted = jax.jit(lambda v: module.apply(v, x).logits)(variables)
    np.testing.assert_allclose(shifted, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{"strides": 2}, {"padding": 0}, {"groups": 2}, {"depthwise": True}],
    ids=str,
)
def test_every_kind_of_layer(key, settings):
    layer = Conv(6, **settings)
    x = jax.random.normal(key, (2, 7, 7, 4))
    variables = layer.init(key, x)
    plain = layer.apply(variables, x)
    with shifted_convolutions():
        shifted = layer.apply(variables, x)
    np.testing.assert_allclose(shifted, plain, rtol=1e-4, atol=1e-5)


def test_bias_and_type_follow_the_layer(key):
    layer = Conv(4, use_bias=True, dtype=jnp.bfloat16)
    x = jax.random.normal(key, (1, 5, 5, 2))
    variables = layer.init(key, x)
    variables["params"]["bias"] += 3.0
    plain = layer.apply(variables, x)
    with shifted_convolutions():
        shifted = layer.apply(variables, x)
    assert shifted.dtype == plain.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        shifted.astype(np.float32), plain.astype(np.float32), rtol=0.05, atol=0.05
    )


def test_an_ensemble_has_no_grouped_convolution(key):
    module = models.create("cnn", 4)
    x = jnp.zeros((2, 8, 8, 1))
    stacked = jax.vmap(lambda k: module.init(k, x))(jax.random.split(key, 3))
    many = jax.vmap(lambda v: module.apply(v, x).logits)
    assert "conv_general_dilated" in str(jax.make_jaxpr(many)(stacked))
    with shifted_convolutions():
        text = str(jax.make_jaxpr(lambda v: many(v))(stacked))
    assert "conv_general_dilated" not in text
    assert "dot_general" in text


@pytest.mark.parametrize("side", [6, 7])
def test_pooling_by_halves_is_max_pooling(key, side):
    x = jax.random.normal(key, (2, side, side, 3))
    pooled = nn.max_pool(x, (2, 2), (2, 2))
    np.testing.assert_array_equal(max_pool_halves(x), pooled)
    ours, theirs = (
        jax.grad(lambda x, f=f: jnp.sum(jnp.square(f(x))))(x)
        for f in (max_pool_halves, lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    )
    np.testing.assert_allclose(ours, theirs)
