"""ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.blocks import ConvNorm
from fidelity.models.layers import Dense, Dtype, Output, global_average

_REPEATS = (4, 8, 4)


def shuffle(x: jax.Array) -> jax.Array:
    """Interleaves the two halves of the channels: `[B, H, W, K]`, `K` even."""
    halves = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    return jnp.swapaxes(halves, -1, -2).reshape(x.shape)


class Unit(nn.Module):
    """Half of the channels pass, the other half is convolved, then both mix.

    Attributes:
        features: channels at the exit.
        down: halve the resolution, with all channels in both branches.
        dtype: type of the computation.
    """

    features: int
    down: bool
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        half = self.features // 2
        if self.down:
            left = right = x
            left = self._depthwise(left, train, "left_depthwise")
            left = ConvNorm(half, 1, dtype=self.dtype, name="left_project")(left, train)
        else:
            # Channels behind the shuffle are never slimmed, so these halves are equal.
            left, right = jnp.split(x, 2, axis=-1)
        right = ConvNorm(half, 1, dtype=self.dtype, name="expand")(right, train)
        right = self._depthwise(right, train, "depthwise")
        right = ConvNorm(half, 1, dtype=self.dtype, name="project")(right, train)
        return shuffle(jnp.concatenate([left, right], axis=-1))

    def _depthwise(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        return ConvNorm(
            strides=2 if self.down else 1,
            depthwise=True,
            activation=None,
            dtype=self.dtype,
            name=name,
        )(x, train)


class ShuffleNetV2(nn.Module):
    """Three stages of shuffle units and a 1x1 convolution.

    Attributes:
        num_classes: `C`.
        widths: of the three stages.
        stem: "imagenet" (stride 2 and max-pool) or "cifar" (neither).
        dtype: type of the computation.
    """

    num_classes: int
    widths: Sequence[int]
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        strides = 2 if self.stem == "imagenet" else 1
        x = ConvNorm(24, strides=strides, dtype=self.dtype, name="stem")(x, train)
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        features: list[jax.Array] = []
        for width, repeats in zip(self.widths, _REPEATS, strict=True):
            for i in range(repeats):
                x = Unit(width, down=i == 0, dtype=self.dtype)(x, train)
            features.append(x)
        x = ConvNorm(1024, 1, dtype=self.dtype, name="head")(x, train)
        features[-1] = x
        logits = Dense(self.num_classes, name="classifier")(global_average(x))
        return Output(logits, tuple(features))
