"""Data sets by name, resampled by class, and what a train step does to an image.

    source = load("mnist5k")                         # or idx:, npz:, folder:, tfds:
    train, held_out = split(source.train, 0.1, seed=0)
    train = long_tail(train, 100, seed=0)
    mean, std = statistics(train)

The functions of `fidelity.resample` can be imported from here too.

Shapes: `N` examples, `H` x `W` pixels, `K` channels, `C` classes.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fidelity import sources
from fidelity.dataset import Dataset, Source, make_dataset, make_source
from fidelity.resample import (
    TAIL_BINS,
    class_counts,
    long_tail,
    long_tail_counts,
    split,
    subset,
    tail_bins,
    take,
)
from fidelity.sources import Builder, from_tfds

__all__ = [
    "TAIL_BINS",
    "Builder",
    "Dataset",
    "Source",
    "augment",
    "class_counts",
    "from_tfds",
    "load",
    "long_tail",
    "long_tail_counts",
    "make_dataset",
    "make_source",
    "normalize",
    "register",
    "split",
    "statistics",
    "subset",
    "tail_bins",
    "take",
]

_PREFIXES = {"idx": sources.idx, "npz": sources.npz, "folder": sources.folder}
_BUILDERS: dict[str, Builder] = {"mnist5k": sources.mnist5k}


def register(name: str, builder: Builder) -> None:
    """Makes `load(name)` call `builder`; a name may be registered again.

    Args:
        name: without a colon; not "mnist5k".
        builder: `(data_dir, image_size) -> Source`; `from_tfds` makes one of a TFDS
            builder class. `load` checks the result, and resizes it if that is left.

    Raises:
        ValueError: an empty or reserved name.

    Example:
        >>> def half(data_dir, image_size):
        ...     source = load("mnist5k", image_size=image_size)
        ...     return source._replace(train=subset(source.train, 2000, seed=0))
        >>> register("mnist2k", half)
        >>> load("mnist2k").train.images.shape
        (2000, 28, 28, 1)
    """
    if not name or ":" in name or name == "mnist5k":
        raise ValueError(f"cannot register {name!r}: empty, reserved or with a colon")
    _BUILDERS[name] = builder


def load(
    spec: str, *, data_dir: str | None = None, image_size: int | None = None
) -> Source:
    """Loads a data set.

    Args:
        spec: one of

            - "mnist5k": 5,000 MNIST digits that are installed with this package;
            - "idx:/folder": the four files of MNIST, Fashion-MNIST and the like;
            - "npz:/file.npz": train_images, train_labels, test_images, test_labels;
            - "folder:/path": train/CLASS/*.png and test/CLASS/*.png, or jpg;
            - "tfds:name": a prepared TensorFlow Datasets set, read without TensorFlow;
            - a name given to `register`.
        data_dir: folder of prepared TFDS sets; also passed to registered builders.
        image_size: crop to a centred square and scale to this many pixels a side.

    Returns:
        A checked `Source`.

    Raises:
        FileNotFoundError: data is missing; the message says how to get it.
        ValueError: an unknown form, or data of wrong shape, type or labels; see
            `fidelity.sources`.

    Example:
        >>> source = load("mnist5k")
        >>> source.train.images.shape, source.test.images.shape
        ((4000, 28, 28, 1), (1000, 28, 28, 1))
    """
    form, colon, place = spec.partition(":")
    if colon and place and form == "tfds":
        return sources.tfds(place, data_dir, image_size)
    if colon and place and form in _PREFIXES:
        return _PREFIXES[form](Path(place).expanduser(), image_size)
    if spec in _BUILDERS:
        source = _BUILDERS[spec](data_dir, image_size)
        if not isinstance(source, Source):
            raise ValueError(f"the builder of {spec!r} gave {type(source)}, no Source")
        return make_source(*source, image_size=image_size)
    raise ValueError(
        f"unknown data {spec!r}: give idx:/folder, npz:/file, folder:/path, tfds:name "
        f"or one of {', '.join(sorted(_BUILDERS))}"
    )


def statistics(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of `images / 255`.

    Args:
        dataset: a training set.

    Returns:
        `(mean [K], std [K])` float32. A channel that never varies gets std 1, so that
        `normalize` stays finite.

    Example:
        >>> mean, std = statistics(load("mnist5k").train)
        >>> round(float(mean[0]), 2), round(float(std[0]), 2)
        (0.13, 0.31)
    """
    # Histograms are exact and small, where float64 pixels would need eightfold memory.
    channels = dataset.images.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(dataset.images), 1024):
        chunk = dataset.images[start : start + 1024].reshape(-1, channels)
        for k in range(channels):
            histogram[k] += np.bincount(chunk[:, k], minlength=256)
    values = np.arange(256) / 255
    weights = histogram / histogram.sum(1, keepdims=True)
    mean = weights @ values
    variance = np.sum(weights * np.square(values[None] - mean[:, None]), 1)
    constant = np.count_nonzero(histogram, 1) == 1
    std = np.where(constant, 1.0, np.sqrt(variance))
    return mean.astype(np.float32), std.astype(np.float32)


def normalize(
    images: jax.Array | np.ndarray,
    mean: jax.Array | np.ndarray,
    std: jax.Array | np.ndarray,
) -> jax.Array:
    """`(images / 255 - mean) / std`.

    Args:
        images: `[..., K]` uint8.
        mean: `[K]`, from `statistics`.
        std: `[K]`.

    Returns:
        `[..., K]` float32.

    Raises:
        ValueError: images of another type, or other channels than `mean` and `std`.

    Example:
        >>> normalize(np.full((1, 1, 2), 255, np.uint8), np.array([0.5, 0.0]),
        ...           np.array([0.5, 2.0])).tolist()
        [[[1.0, 0.5]]]
    """
    if images.dtype != jnp.uint8:
        raise ValueError(f"images must be uint8 in 0..255, got {images.dtype}")
    channels = images.shape[-1:]
    if not channels == np.shape(mean) == np.shape(std):
        raise ValueError(
            f"images have {channels} channels, mean and std {np.shape(mean)} and "
            f"{np.shape(std)}"
        )
    shape = (1,) * (images.ndim - 1) + channels
    mean = jnp.asarray(mean, jnp.float32).reshape(shape)
    std = jnp.asarray(std, jnp.float32).reshape(shape)
    return (jnp.asarray(images, jnp.float32) / 255 - mean) / std


def augment(key: jax.Array, image: jax.Array, *, pad: int, flip: bool) -> jax.Array:
    """Random crop after padding with zeros, then a horizontal flip half of the time.

    Before `normalize` the border is black; after it, it is the mean colour.

    Reference: He et al. 2016, "Deep Residual Learning for Image Recognition",
    arXiv:1512.03385, section 4.2.

    Args:
        key: PRNG key.
        image: `[H, W, K]`, uint8 or float; one image, use `jax.vmap` for a batch.
        pad: pixels on each side, 0 for no crop; static.
        flip: whether to flip; static.

    Returns:
        Same shape and type as `image`.

    Raises:
        ValueError: a negative `pad`, or an image of another rank.

    Example:
        >>> images = jnp.zeros((8, 28, 28, 1), jnp.uint8)
        >>> keys = jax.random.split(jax.random.key(0), 8)
        >>> jax.vmap(lambda k, x: augment(k, x, pad=2, flip=False))(keys, images).shape
        (8, 28, 28, 1)
    """
    if pad < 0:
        raise ValueError(f"pad must be >= 0, got {pad}")
    if image.ndim != 3:
        raise ValueError(f"image must be [H, W, K], got {image.shape}: vmap a batch")
    crop_key, flip_key = jax.random.split(key)
    if pad:
        padded = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        row, column = jax.random.randint(crop_key, (2,), 0, 2 * pad + 1)
        image = jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)
    if flip:
        image = jnp.where(jax.random.bernoulli(flip_key), image[:, ::-1], image)
    return image
