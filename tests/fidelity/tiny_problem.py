"""A small problem that every training test shares."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fidelity.data import Dataset, statistics
from fidelity.models.layers import Conv, Dense, Output, batch_norm, global_average
from fidelity.train import Config, make_trainer

CONFIG = Config(epochs=2, batch_size=32, learning_rate=0.05, pad=1, flip=False)


class Tiny(nn.Module):
    """One convolution and one classifier: it compiles in a second."""

    num_classes: int = 4

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(batch_norm(train)(Conv(8)(x)))
        return Output(Dense(self.num_classes)(global_average(x)), (x,))


def dataset(count=256, seed=0):
    """Four classes: which quarter of an 8x8 image is bright, under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 4
    images = rng.integers(0, 100, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4, :] += 60
        image[:] += 25 * int(label)  # a cue that survives the global average
    order = rng.permutation(count)
    return Dataset(
        images[order].astype(np.uint8), labels[order], np.arange(count, dtype=np.int64)
    )


def trainer(data, *, config=CONFIG, module=None, **settings):
    """A trainer of `Tiny` for `data`."""
    mean, std = statistics(data)
    return make_trainer(
        module or Tiny(),
        config,
        num_examples=len(data.labels),
        image_shape=data.images.shape[1:],
        mean=mean,
        std=std,
        **settings,
    )


def reference(data, seed=7):
    """Variables of an untrained `Tiny`."""
    shape = (1, *data.images.shape[1:])
    return jax.jit(Tiny().init)(jax.random.key(seed), jnp.zeros(shape))


def assert_trees_equal(a, b):
    """Same structure and the same bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
