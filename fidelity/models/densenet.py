"""DenseNet (Huang et al. 2016, arXiv:1608.06993), the BC variant."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.layers import (
    Conv,
    Dense,
    Dtype,
    Output,
    batch_norm,
    global_average,
)


class DenseLayer(nn.Module):
    """1x1 to four times the growth, 3x3 to the growth, joined to the input."""

    growth: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = nn.relu(batch_norm(train, dtype=self.dtype)(x))
        y = Conv(4 * self.growth, (1, 1), dtype=self.dtype)(y)
        y = nn.relu(batch_norm(train, dtype=self.dtype)(y))
        y = Conv(self.growth, dtype=self.dtype)(y)
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """1x1 convolution and a 2x2 average."""

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(batch_norm(train, dtype=self.dtype)(x))
        x = Conv(self.features, (1, 1), dtype=self.dtype)(x)
        return nn.avg_pool(x, (2, 2), (2, 2))


class DenseNet(nn.Module):
    """Dense blocks with transitions that halve the channels and the resolution.

    Attributes:
        num_classes: `C`.
        blocks: layers in each dense block.
        growth: channels that a layer adds; the stem has twice as many.
        stem: "cifar" (3x3, stride 1) or "imagenet" (7x7, stride 2, max-pool).
        dtype: type of the computation.
    """

    num_classes: int
    blocks: Sequence[int]
    growth: int
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        width = 2 * self.growth
        if self.stem == "imagenet":
            x = Conv(width, (7, 7), 2, dtype=self.dtype, name="stem")(x)
            x = nn.relu(batch_norm(train, dtype=self.dtype, name="stem_norm")(x))
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        else:
            # No normalisation: the first dense layer begins with one.
            x = Conv(width, dtype=self.dtype, name="stem")(x)
        features: list[jax.Array] = []
        for count in self.blocks:
            if features:
                width //= 2
                x = Transition(width, self.dtype)(x, train)
            for _ in range(count):
                x = DenseLayer(self.growth, self.dtype)(x, train)
            width += count * self.growth
            features.append(x)
        x = nn.relu(batch_norm(train, dtype=self.dtype, name="head_norm")(x))
        features[-1] = x
        logits = Dense(self.num_classes, name="classifier")(global_average(x))
        return Output(logits, tuple(features))
