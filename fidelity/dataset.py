"""What a data set is: labelled images on the host, checked once.

Data sets stay in host memory as NumPy arrays; `fidelity.fit` moves them to the device.

Shapes: `N` examples, `H` x `W` pixels, `K` channels, `C` classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps


class Dataset(NamedTuple):
    """Labelled images on the host."""

    images: np.ndarray  # [N, H, W, K] uint8
    labels: np.ndarray  # [N] int32, in [0, C)
    # [N] int64, ids that examples keep when they are resampled.
    index: np.ndarray  # type: ignore[assignment] # hides tuple.index


class Source(NamedTuple):
    """A data set as its authors split it."""

    name: str
    train: Dataset
    test: Dataset
    class_names: tuple[str, ...]  # C of them


def make_dataset(
    images: np.ndarray, labels: np.ndarray, index: np.ndarray | None = None
) -> Dataset:
    """A `Dataset` out of arrays, checked.

    Args:
        images: `[N, H, W, K]` or `[N, H, W]`, uint8.
        labels: `[N]`, any integer type.
        index: `[N]` integers without duplicates; positions if None.

    Raises:
        ValueError: another shape or type, lengths that differ, no example, or an index
            that is not unique.

    Example:
        >>> dataset = make_dataset(np.zeros((2, 4, 4), np.uint8), np.array([1, 0]))
        >>> dataset.images.shape, dataset.labels.dtype, dataset.index.tolist()
        ((2, 4, 4, 1), dtype('int32'), [0, 1])
    """
    images, labels = np.asarray(images), np.asarray(labels)
    index = np.arange(len(labels)) if index is None else np.asarray(index)
    if images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 in 0..255, got {images.dtype}: multiply floats in "
            "[0, 1] by 255, round and convert"
        )
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images must be [N, H, W, K] or [N, H, W] and not empty, got shape "
            f"{images.shape}"
        )
    for name, array in (("labels", labels), ("index", index)):
        if not np.issubdtype(array.dtype, np.integer) or array.ndim != 1:
            raise ValueError(
                f"{name} must be integers [N], got {array.dtype} {array.shape}"
            )
        if len(array) != len(images):
            raise ValueError(f"{len(images)} images but {len(array)} {name}")
    if len(np.unique(index)) != len(index):
        raise ValueError("index holds an id twice: give each example its own")
    return Dataset(images, labels.astype(np.int32), index.astype(np.int64))


def make_source(
    name: str,
    train: Dataset,
    test: Dataset,
    class_names: Sequence[str] | None = None,
    *,
    image_size: int | None = None,
) -> Source:
    """A `Source` out of two data sets, checked and resized.

    Args:
        name: for reports.
        train: training split.
        test: test split.
        class_names: `C` names; "0", "1", ... up to the largest label if None.
        image_size: side to crop and resize to, see `resize`; None keeps the images.

    Raises:
        ValueError: what `make_dataset` rejects, labels outside `[0, C)`, a repeated
            class name, or splits whose images differ in shape.
    """
    train, test = make_dataset(*train), make_dataset(*test)
    if class_names is None:
        count = 1 + max(int(train.labels.max()), int(test.labels.max()))
        class_names = [str(c) for c in range(count)]
    if len(set(class_names)) != len(class_names):
        raise ValueError(f"{name}: class names repeat: {list(class_names)}")
    for part, dataset in (("train", train), ("test", test)):
        low, high = int(dataset.labels.min()), int(dataset.labels.max())
        if low < 0 or high >= len(class_names):
            raise ValueError(
                f"{name}: {part} labels lie in [{low}, {high}], but there are "
                f"{len(class_names)} class names: labels count from 0"
            )
    if image_size is not None:
        train = train._replace(images=resize(train.images, image_size))
        test = test._replace(images=resize(test.images, image_size))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{name}: training images are {train.images.shape[1:]}, test images "
            f"{test.images.shape[1:]}: pass image_size, or convert one split"
        )
    return Source(name, train, test, tuple(class_names))


def resize(images: np.ndarray | Sequence[np.ndarray], size: int) -> np.ndarray:
    """Images cropped to a centred square and scaled to `size` pixels a side.

    Args:
        images: `N` times `[H, W, K]` uint8, of any sizes, `K` the same for all.
        size: side in pixels.

    Returns:
        `[N, size, size, K]` uint8; bilinear, averaging when it shrinks.

    Raises:
        ValueError: a size below 1, or `K` other than 1, 3 or 4.
    """
    if size < 1:
        raise ValueError(f"image_size must be at least 1, got {size}")
    if images[0].shape[-1] not in (1, 3, 4):
        raise ValueError(f"can resize 1, 3 or 4 channels, not {images[0].shape[-1]}")
    if isinstance(images, np.ndarray) and images.shape[1:3] == (size, size):
        return images
    out = np.empty((len(images), size, size, images[0].shape[-1]), np.uint8)
    for row, image in zip(out, images, strict=True):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        square = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
        row[:] = np.asarray(square).reshape(row.shape)
    return out
