"""VGG with batch normalisation (Simonyan and Zisserman 2014, arXiv:1409.1556)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fidelity.models.layers import (
    Conv,
    Dense,
    Dtype,
    Output,
    batch_norm,
    global_average,
)

_WIDTHS = (64, 128, 256, 512, 512)


def adaptive_average(x: jax.Array, size: int) -> jax.Array:
    """Means over `size x size` windows that cover the map: `[B, size, size, K]`.

    Window `i` of an axis of length `n` is `[floor(i n / size), ceil((i+1) n / size))`.
    """

    def weights(n: int) -> jax.Array:
        at, i = np.arange(n)[None, :], np.arange(size)[:, None]
        inside = (at >= i * n // size) & (at < -(-(i + 1) * n // size))
        return jnp.asarray(inside / inside.sum(1, keepdims=True), x.dtype)

    rows, columns = weights(x.shape[1]), weights(x.shape[2])
    return jnp.einsum("ih,bhwk,jw->bijk", rows, x, columns)


class VGG(nn.Module):
    """3x3 convolutions in five stages with a max-pool behind each.

    The ImageNet classifier has two hidden layers of 4096, without dropout. The CIFAR
    one is a single layer behind a global average, which stands in for the last
    max-pool; images of 16x16 and more therefore suffice.

    Attributes:
        num_classes: `C`.
        blocks: convolutions in each stage.
        stem: "cifar" or "imagenet"; chooses the classifier.
        dtype: type of the computation.
    """

    num_classes: int
    blocks: Sequence[int]
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        features: list[jax.Array] = []
        for width, count in zip(_WIDTHS, self.blocks, strict=True):
            if features:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for _ in range(count):
                x = Conv(width, use_bias=True, dtype=self.dtype)(x)
                x = nn.relu(batch_norm(train, dtype=self.dtype)(x))
            features.append(x)
        if self.stem == "imagenet":
            x = nn.max_pool(x, (2, 2), (2, 2))
            if x.shape[1:3] != (7, 7):
                x = adaptive_average(x, 7)
            x = x.reshape(x.shape[0], -1)
            for i in range(2):
                x = Dense(4096, dtype=self.dtype, name=f"hidden_{i}")(x)
                x = nn.relu(x)
            x = x.astype(jnp.float32)
        else:
            x = global_average(x)
        logits = Dense(self.num_classes, name="classifier")(x)
        return Output(logits, tuple(features))
