"""EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.blocks import ConvNorm
from fidelity.models.layers import Dense, Dtype, Output, global_average

# Table 1: expansion, kernel, width, repeats, stride of the first repeat.
_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in (0, 1) that sees the pooled map.

    Hu et al. 2017, arXiv:1709.01507.

    Attributes:
        features: channels of the map, at creation.
        hidden: width of the bottleneck, at creation.
        dtype: type of the computation.
    """

    features: int
    hidden: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        gate = global_average(x)
        gate = nn.silu(Dense(self.hidden, dtype=self.dtype, name="squeeze")(gate))
        gate = nn.sigmoid(Dense(self.features, dtype=self.dtype, name="excite")(gate))
        return x * gate[:, None, None, :]


class MBConv(nn.Module):
    """Inverted residual with squeeze-and-excitation.

    Attributes:
        features: channels at the exit.
        inputs: channels at the entry, at creation.
        expansion: ratio of the inner channels to `inputs`; 1 leaves the 1x1 out.
        size: kernel of the depthwise convolution.
        strides: of the depthwise convolution.
        residual: add the input to the exit.
        dtype: type of the computation.
    """

    features: int
    inputs: int
    expansion: int
    size: int
    strides: int
    residual: bool
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y, hidden = x, self.inputs * self.expansion
        if self.expansion > 1:
            y = ConvNorm(
                hidden, 1, activation=nn.silu, dtype=self.dtype, name="expand"
            )(y, train)
        y = ConvNorm(
            size=self.size,
            strides=self.strides,
            depthwise=True,
            activation=nn.silu,
            dtype=self.dtype,
            name="depthwise",
        )(y, train)
        # The bottleneck is a quarter of the block's input, not of the expanded map.
        y = SqueezeExcite(hidden, self.inputs // 4, self.dtype, name="attention")(y)
        y = ConvNorm(
            self.features, 1, activation=None, dtype=self.dtype, name="project"
        )(y, train)
        return x + y if self.residual else y


class EfficientNetB0(nn.Module):
    """Seven stages of `MBConv`, without stochastic depth and dropout.

    Attributes:
        num_classes: `C`.
        stem: "imagenet" divides the resolution by 32; "cifar" by 16, with stride 1 in
            the first convolution.
        dtype: type of the computation.
    """

    num_classes: int
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        x = ConvNorm(
            32,
            strides=2 if self.stem == "imagenet" else 1,
            activation=nn.silu,
            dtype=self.dtype,
            name="stem",
        )(x, train)
        features: list[jax.Array] = []
        declared = 32
        for expansion, size, width, repeats, strides in _STAGES:
            for i in range(repeats):
                x = MBConv(
                    features=width,
                    inputs=declared,
                    expansion=expansion,
                    size=size,
                    strides=1 if i else strides,
                    residual=i > 0,
                    dtype=self.dtype,
                )(x, train)
                declared = width
            features.append(x)
        x = ConvNorm(1280, 1, activation=nn.silu, dtype=self.dtype, name="head")(
            x, train
        )
        features[-1] = x
        logits = Dense(self.num_classes, name="classifier")(global_average(x))
        return Output(logits, tuple(features))
