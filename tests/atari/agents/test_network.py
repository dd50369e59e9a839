"""Networks: the same functions as published, shapes, types, refusals."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari.agents import network


@pytest.mark.parametrize(
    ("stride", "shape"), [(4, (2, 84, 84, 4)), (2, (1, 20, 20, 3)), (4, (1, 47, 30, 1))]
)
def test_strided_convolution_equals_flax(stride, shape, key) -> None:
    """The kernel of blocks, put back in place, is that of an ordinary convolution."""
    x = jax.random.normal(key, shape)
    module = network.Strided(5, stride)
    params = module.init(key, x)
    kernel = params["params"]["Conv_0"]["kernel"]
    channels = shape[-1]
    whole = kernel.reshape(2, 2, stride, stride, channels, 5).transpose(
        0, 2, 1, 3, 4, 5
    )
    whole = whole.reshape(2 * stride, 2 * stride, channels, 5)
    plain = nn.Conv(5, (2 * stride,) * 2, stride, padding="VALID")
    bias = params["params"]["Conv_0"]["bias"]
    expected = plain.apply({"params": {"kernel": whole, "bias": bias}}, x)
    actual = module.apply(params, x)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def count(params: dict) -> int:
    """How many numbers there are."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("module", "size"),
    [
        # conv 8,224 + 32,832 + 36,928, dense 1,606,144: Mnih et al., 2015.
        (network.torso("nature"), 8_224 + 32_832 + 36_928 + 1_606_144),
        # 3x3 convolutions: 4-16, 16-16 four times, 16-32, ...; dense 3,872-256.
        (
            network.torso("impala"),
            592 + 4 * 2_320 + 4_640 + 9 * 9_248 + 3_872 * 256 + 256,
        ),
    ],
)
def test_sizes_are_the_published_ones(module, size, key) -> None:
    seen = jnp.zeros((1, 4, 84, 84), jnp.uint8)
    assert count(jax.eval_shape(module.init, key, seen)) == size


@pytest.mark.parametrize("name", network.TORSOS)
@pytest.mark.parametrize("norm", [False, True])
def test_heads_give_float32(name, norm, key) -> None:
    torso = network.torso(name, norm=norm, bfloat16=True)
    seen = jnp.zeros((3, 4, 84, 84), jnp.uint8)
    actor = network.ActorCritic(torso, 6)
    (logits, value), params = jax.eval_shape(actor.init_with_output, key, seen)
    assert (logits.shape, value.shape) == ((3, 6), (3,))
    assert logits.dtype == value.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    critic = network.ActionValue(torso, 6, dueling=True)
    values, _ = jax.eval_shape(critic.init_with_output, key, seen)
    assert (values.shape, values.dtype) == ((3, 6), jnp.float32)


def test_dueling_advantages_have_mean_zero(key) -> None:
    """The mean over actions is the state's value alone."""
    critic = network.ActionValue(network.torso("mlp"), 4, dueling=True)
    seen = jax.random.randint(key, (2, 1, 3), 0, 256).astype(jnp.uint8)
    values, params = critic.init_with_output(key, seen)
    doubled = jax.tree.map(lambda x: x, params)
    doubled["params"]["Dense_0"]["kernel"] *= 2
    again = critic.apply(doubled, seen)
    np.testing.assert_allclose(values.mean(-1), again.mean(-1), rtol=1e-5)
    assert not np.allclose(values, again)


def test_pictures_become_channels_oldest_first() -> None:
    grey = jnp.arange(2 * 3 * 4 * 5, dtype=jnp.uint8).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(network.as_image(grey)[1, 2, 3], grey[1, :, 2, 3])
    rgb = jnp.arange(240, dtype=jnp.uint8).reshape(2, 2, 4, 5, 3)
    image = network.as_image(rgb)
    assert image.shape == (2, 4, 5, 6)
    np.testing.assert_array_equal(image[0, 1, 2, 3:], rgb[0, 1, 1, 2])


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="unknown network 'resnet'; known: nature"):
        network.torso("resnet")
    with pytest.raises(ValueError, match=r"shape \(4, 128\).*use 'mlp'"):
        network.as_image(jnp.zeros((1, 4, 128), jnp.uint8))
