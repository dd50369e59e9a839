"""A small convolutional network for tests and for studies of many seeds."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.blocks import ConvNorm, max_pool_halves
from fidelity.models.layers import Dense, Dtype, Output, global_average


class CNN(nn.Module):
    """Stages of a 3x3 convolution, normalisation, ReLU and a 2x2 max-pool.

    Attributes:
        num_classes: `C`.
        widths: channels of each stage.
        stem: "cifar", or "imagenet" for a first convolution of stride 4.
        dtype: type of the computation.
    """

    num_classes: int
    widths: Sequence[int] = (32, 64, 128)
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        features = []
        for i, width in enumerate(self.widths):
            strides = 4 if i == 0 and self.stem == "imagenet" else 1
            x = ConvNorm(width, strides=strides, dtype=self.dtype)(x, train)
            x = max_pool_halves(x)
            features.append(x)
        logits = Dense(self.num_classes, name="classifier")(global_average(x))
        return Output(logits, tuple(features))
