"""SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.blocks import max_pool_ceil
from fidelity.models.layers import Conv, Dtype, Output, global_average

# Squeeze and expand widths of the fire modules of each stage.
_STAGES = (
    ((16, 64), (16, 64)),
    ((32, 128), (32, 128)),
    ((48, 192), (48, 192), (64, 256), (64, 256)),
)
# Fan-in keeps the activations' scale: no normalisation repairs it here.
_INIT = nn.initializers.he_uniform()


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 expansions side by side."""

    squeeze: int
    expand: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def conv(features: int, size: int, name: str, x: jax.Array) -> jax.Array:
            layer = Conv(
                features,
                (size, size),
                use_bias=True,
                dtype=self.dtype,
                kernel_init=_INIT,
                name=name,
            )
            return nn.relu(layer(x))

        x = conv(self.squeeze, 1, "squeeze", x)
        parts = [conv(self.expand, s, f"expand{s}x{s}", x) for s in (1, 3)]
        return jnp.concatenate(parts, axis=-1)


class SqueezeNet(nn.Module):
    """Fire modules in three stages; it holds no normalisation, so no `batch_stats`.

    The classifier is a 1x1 convolution with ReLU and a global average, without
    dropout. The last feature is the map of class scores.

    Attributes:
        num_classes: `C`.
        stem: "imagenet" (stride 2 and max-pool) or "cifar" (neither).
        dtype: type of the computation.
    """

    num_classes: int
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        imagenet = self.stem == "imagenet"
        x = Conv(
            64,
            strides=2 if imagenet else 1,
            padding=0 if imagenet else None,
            use_bias=True,
            dtype=self.dtype,
            kernel_init=_INIT,
            name="stem",
        )(x)
        x = nn.relu(x)
        if imagenet:
            x = max_pool_ceil(x, 3)
        features: list[jax.Array] = []
        for stage in _STAGES:
            if features:
                x = max_pool_ceil(x, 3)
            for squeeze, expand in stage:
                x = Fire(squeeze, expand, self.dtype)(x)
            features.append(x)
        x = Conv(
            self.num_classes,
            (1, 1),
            use_bias=True,
            kernel_init=nn.initializers.normal(0.01),
            name="classifier",
        )(x)
        x = nn.relu(x)
        features[-1] = x
        return Output(global_average(x), tuple(features))
