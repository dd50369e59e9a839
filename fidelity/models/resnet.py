"""ResNet (He et al. 2015, arXiv:1512.03385), with CIFAR and ImageNet stems."""

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


class Block(nn.Module):
    """Two 3x3 convolutions (or a 1x1, 3x3, 1x1 bottleneck) around a shortcut."""

    features: int
    strides: int = 1
    project: bool = False
    bottleneck: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        out = self.features * (4 if self.bottleneck else 1)
        # The stride sits on the 3x3 convolution, as in torchvision ("v1.5").
        widths = [(self.features, 3, self.strides), (out, 3, 1)]
        if self.bottleneck:
            widths = [(self.features, 1, 1), (self.features, 3, self.strides)]
            widths.append((out, 1, 1))
        y = x
        for i, (width, size, strides) in enumerate(widths):
            y = Conv(width, (size, size), strides, dtype=self.dtype)(y)
            y = batch_norm(train, dtype=self.dtype)(y)
            if i + 1 < len(widths):
                y = nn.relu(y)
        # Told, not seen from x: a slimmed network has other widths, the same paths.
        if self.project:
            x = Conv(out, (1, 1), self.strides, dtype=self.dtype, name="shortcut")(x)
            x = batch_norm(train, dtype=self.dtype, name="shortcut_norm")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Residual network.

    Attributes:
        num_classes: `C`.
        blocks: blocks in each stage.
        width: channels of the first stage; each later stage doubles it.
        bottleneck: use the three-layer block.
        stem: "cifar" (3x3, stride 1) or "imagenet" (7x7, stride 2, max-pool).
        dtype: type of the computation.
    """

    num_classes: int
    blocks: Sequence[int]
    width: int = 64
    bottleneck: bool = False
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        size, strides = ((7, 7), 2) if self.stem == "imagenet" else ((3, 3), 1)
        x = Conv(self.width, size, strides, dtype=self.dtype)(x)
        x = nn.relu(batch_norm(train, dtype=self.dtype)(x))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        features = []
        for stage, count in enumerate(self.blocks):
            for i in range(count):
                x = Block(
                    features=self.width * 2**stage,
                    strides=2 if stage > 0 and i == 0 else 1,
                    project=i == 0 and (stage > 0 or self.bottleneck),
                    bottleneck=self.bottleneck,
                    dtype=self.dtype,
                )(x, train)
            features.append(x)
        logits = Dense(self.num_classes)(global_average(x))
        return Output(logits, tuple(features))
