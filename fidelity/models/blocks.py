"""Pieces that several families share."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.layers import Conv, Dtype, batch_norm


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and, unless it is None, an activation.

    Attributes:
        features: output channels at creation; ignored if `depthwise`.
        size: side of the square kernel.
        strides: the same stride along both axes.
        depthwise: one filter for each input channel.
        activation: applied last.
        dtype: type of the computation.
    """

    features: int = 0
    size: int = 3
    strides: int = 1
    depthwise: bool = False
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[B, H, W, K_in]` to `[B, H / strides, W / strides, K_out]`."""
        x = Conv(
            self.features,
            (self.size, self.size),
            self.strides,
            depthwise=self.depthwise,
            dtype=self.dtype,
            name="conv",
        )(x)
        x = batch_norm(train, dtype=self.dtype, name="norm")(x)
        return x if self.activation is None else self.activation(x)


def max_pool_halves(x: jax.Array) -> jax.Array:
    """2x2 max-pool of stride 2, `[B, H, W, K] -> [B, H // 2, W // 2, K]`.

    The same as `nn.max_pool(x, (2, 2), (2, 2))`, as a maximum over axes: its gradient
    is elementwise, where that of a window scatters, slowly under `jax.vmap`.
    """
    batch, height, width, channels = x.shape
    height, width = height // 2, width // 2
    x = x[:, : 2 * height, : 2 * width]
    return x.reshape(batch, height, 2, width, 2, channels).max(4).max(2)


def max_pool_ceil(x: jax.Array, size: int) -> jax.Array:
    """Max-pool of stride 2 whose last window may hang over the edge.

    `[B, H, W, K] -> [B, h, w, K]`, `h = ceil((H - size) / 2) + 1`, as in Caffe, from
    which SqueezeNet and GoogLeNet come.
    """
    # One more row and column is never read when the windows fit already.
    return nn.max_pool(x, (size, size), (2, 2), ((0, 1), (0, 1)))
