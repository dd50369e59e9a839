"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.blocks import ConvNorm
from fidelity.models.layers import Dense, Dtype, Output, global_average

# Table 2: expansion, width, repeats, stride of the first repeat.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1 projection.

    Attributes:
        features: channels at the exit.
        hidden: channels in between; None leaves the expansion out.
        strides: of the depthwise convolution.
        residual: add the input to the exit.
        dtype: type of the computation.
    """

    features: int
    hidden: int | None
    strides: int
    residual: bool
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = x
        if self.hidden is not None:
            y = ConvNorm(
                self.hidden, 1, activation=nn.relu6, dtype=self.dtype, name="expand"
            )(y, train)
        y = ConvNorm(
            strides=self.strides,
            depthwise=True,
            activation=nn.relu6,
            dtype=self.dtype,
            name="depthwise",
        )(y, train)
        y = ConvNorm(
            self.features, 1, activation=None, dtype=self.dtype, name="project"
        )(y, train)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Inverted residuals in seven stages and a 1x1 convolution to 1280 channels.

    Attributes:
        num_classes: `C`.
        stem: "imagenet" divides the resolution by 32; "cifar" by 8, with stride 1 in
            the first convolution and in the 24-channel stage.
        dtype: type of the computation.
    """

    num_classes: int
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        cifar = self.stem == "cifar"
        x = ConvNorm(
            32,
            strides=1 if cifar else 2,
            activation=nn.relu6,
            dtype=self.dtype,
            name="stem",
        )(x, train)
        features: list[jax.Array] = []
        declared = 32
        for expansion, width, repeats, strides in _STAGES:
            for i in range(repeats):
                stride = 1 if i or (cifar and width == 24) else strides
                x = InvertedResidual(
                    features=width,
                    hidden=declared * expansion if expansion > 1 else None,
                    strides=stride,
                    residual=i > 0,
                    dtype=self.dtype,
                )(x, train)
                declared = width
            features.append(x)
        x = ConvNorm(1280, 1, activation=nn.relu6, dtype=self.dtype, name="head")(
            x, train
        )
        features[-1] = x
        logits = Dense(self.num_classes, name="classifier")(global_average(x))
        return Output(logits, tuple(features))
