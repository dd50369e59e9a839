"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842) with batch normalisation."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.blocks import ConvNorm, max_pool_ceil
from fidelity.models.layers import Dense, Dtype, Output, global_average

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool projection.
_STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


class Inception(nn.Module):
    """Four branches side by side; the one called 5x5 has a 3x3 kernel.

    That is what torchvision's weights, ported from TensorFlow, have.
    """

    widths: tuple[int, int, int, int, int, int]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        def conv(features: int, size: int, name: str, x: jax.Array) -> jax.Array:
            return ConvNorm(features, size, dtype=self.dtype, name=name)(x, train)

        one, three_reduce, three, five_reduce, five, project = self.widths
        pooled = nn.max_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)))
        branches = [
            conv(one, 1, "conv1x1", x),
            conv(three, 3, "conv3x3", conv(three_reduce, 1, "reduce3x3", x)),
            conv(five, 3, "conv5x5", conv(five_reduce, 1, "reduce5x5", x)),
            conv(project, 1, "pool_project", pooled),
        ]
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(nn.Module):
    """Nine inception modules in three stages, without auxiliary heads and dropout.

    Attributes:
        num_classes: `C`.
        stem: "imagenet" (three convolutions, resolution / 8) or "cifar" (one 3x3
            convolution to the same 192 channels, stride 1).
        dtype: type of the computation.
    """

    num_classes: int
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        if self.stem == "imagenet":
            x = ConvNorm(64, 7, 2, dtype=self.dtype, name="stem_0")(x, train)
            x = max_pool_ceil(x, 3)
            x = ConvNorm(64, 1, dtype=self.dtype, name="stem_1")(x, train)
            x = ConvNorm(192, dtype=self.dtype, name="stem_2")(x, train)
            x = max_pool_ceil(x, 3)
        else:
            x = ConvNorm(192, dtype=self.dtype, name="stem")(x, train)
        features: list[jax.Array] = []
        for stage, modules in enumerate(_STAGES):
            if features:
                x = max_pool_ceil(x, 3 if stage == 1 else 2)
            for widths in modules:
                x = Inception(widths, self.dtype)(x, train)
            features.append(x)
        logits = Dense(self.num_classes, name="classifier")(global_average(x))
        return Output(logits, tuple(features))
