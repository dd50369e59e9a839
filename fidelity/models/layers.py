"""Convolution and dense layers whose widths follow the parameters they are given.

A layer declares the width it is *created* with. When it is applied to parameters
that already exist, it takes its width from them. A network whose filters have been
removed (see `fidelity.slim`) is therefore the same module applied to smaller arrays:
no second description of the architecture is needed.

Shapes: `B` batch, `H` height, `W` width, `K` channels, `C` classes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Dtype = Any

# He et al. 2015, eq. 10: keeps the variance of ReLU networks, as torchvision does.
he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Output(NamedTuple):
    """What every network of the zoo returns.

    Attributes:
        logits: scores before the softmax, float32.
        features: activations after each stage, from input to output; the last one is
            the map that is pooled for the classifier.
    """

    logits: jax.Array  # [B, C]
    features: tuple[jax.Array, ...]  # each [B, H, W, K] (or [B, K] in an MLP)


def _width(module: nn.Module, declared: int) -> int:
    """The last axis of the kernel that `module` holds, or else the declared width."""
    if module.has_variable("params", "kernel"):
        return module.get_variable("params", "kernel").shape[-1]
    return declared


class Conv(nn.Module):
    """2-D convolution on `[B, H, W, K]`, kernel `[h, w, K_in / groups, K_out]`.

    Attributes:
        features: output channels at creation; ignored if `depthwise`.
        kernel_size: `(h, w)`.
        strides: the same stride along both axes.
        padding: pixels added on each side, `kernel_size // 2` if None.
        groups: number of independent groups of channels.
        depthwise: one filter for each input channel.
        use_bias: whether to add a bias, `[K_out]`.
        dtype: type of the computation; parameters stay float32.
    """

    features: int = 0
    kernel_size: tuple[int, int] = (3, 3)
    strides: int = 1
    padding: int | None = None
    groups: int = 1
    depthwise: bool = False
    use_bias: bool = False
    dtype: Dtype = jnp.float32
    kernel_init: Callable[..., jax.Array] = he_normal_fan_out

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        groups = channels if self.depthwise else self.groups
        features = channels if self.depthwise else _width(self, self.features)
        if channels % groups or features % groups:
            raise ValueError(
                f"{groups} groups do not divide {channels} input and {features} "
                "output channels"
            )
        shape = (*self.kernel_size, channels // groups, features)
        kernel = self.param("kernel", self.kernel_init, shape)
        pads = [
            (k // 2, k // 2) if self.padding is None else (self.padding, self.padding)
            for k in self.kernel_size
        ]
        y = lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            window_strides=(self.strides, self.strides),
            padding=pads,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (features,))
            y = y + bias.astype(self.dtype)[None, None, None, :]
        return y


class Dense(nn.Module):
    """Affine map on `[B, K_in]`, kernel `[K_in, K_out]`.

    Attributes:
        features: output width at creation.
        use_bias: whether to add a bias, `[K_out]`.
        dtype: type of the computation; parameters stay float32.
    """

    features: int
    use_bias: bool = True
    dtype: Dtype = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = _width(self, self.features)
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], features))
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (features,))
            y = y + bias.astype(self.dtype)[None, :]
        return y


def batch_norm(train: bool, *, dtype: Dtype = jnp.float32, **kwargs: Any) -> nn.Module:
    """Batch normalisation with the constants that the field uses (0.9, 1e-5)."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        **kwargs,
    )


def global_average(x: jax.Array) -> jax.Array:
    """Mean over height and width in float32: `[B, H, W, K] -> [B, K]`."""
    return jnp.mean(x.astype(jnp.float32), axis=(1, 2))
