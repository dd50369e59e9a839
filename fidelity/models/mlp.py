"""Multilayer perceptron on flattened images."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.layers import Dense, Dtype, Output


class MLP(nn.Module):
    """Dense layers with ReLU; it holds no normalisation and so no `batch_stats`.

    Attributes:
        num_classes: `C`.
        widths: of the hidden layers.
        stem: has no effect, there is nothing to subsample.
        dtype: type of the computation.
    """

    num_classes: int
    widths: Sequence[int] = (512, 256)
    stem: str = "cifar"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> Output:
        """Applies the network to normalised images, `[B, H, W, K]`."""
        x = x.reshape(x.shape[0], -1)
        init = nn.initializers.he_normal()
        features = []
        for width in self.widths:
            x = nn.relu(Dense(width, dtype=self.dtype, kernel_init=init)(x))
            features.append(x)
        return Output(Dense(self.num_classes, name="classifier")(x), tuple(features))
