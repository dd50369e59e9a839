"""Pictures for an agent: palettes, grey, pooling of two frames, area resize.

The screen holds palette indices. Its colours are those of ale-py, read from ale-py once
by showing it a test card.
"""

import functools
import importlib
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp


class Palette(NamedTuple):
    """Colours of the 256 palette indices; the odd ones are grey."""

    rgb: np.ndarray  # uint8[256, 3]
    grey: np.ndarray  # uint8[256]


def _test_card(pal: bool) -> bytes:
    """A 4 KB cartridge that shows all 128 colours, one a scan line."""
    lines = 0xFF if pal else 0xE0
    program = bytes.fromhex(
        "78 D8"  # F000 SEI; CLD
        "A9 02 85 00 85 02 85 02 85 02 A9 00 85 00"  # F002 vertical sync, three lines
        "A0 28 85 02 88 D0 FB"  # F010 forty lines above the picture
        "A2 00 A0"  # F017 a colour a line
    )
    program += bytes([lines])
    program += bytes.fromhex(
        "86 09 85 02 E8 E8 88 D0 F7"  # F01B
        "A0 10 85 02 88 D0 FB 4C 02 F0"  # F024 sixteen lines below; again
    )
    return program.ljust(0xFFC, b"\xea") + bytes.fromhex("00 F0 00 F0")


@functools.cache
def palette(pal: bool = False) -> Palette:
    """The colours of an NTSC or a PAL television, as ale-py has them.

    Raises:
      ModuleNotFoundError: ale-py is not installed.
    """
    try:
        ale_py = importlib.import_module("ale_py")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the colours are those of ale-py, which is not installed: "
            "pip install ale-py"
        ) from None
    mode = ale_py.LoggerMode.Error
    ale_py.ALEInterface.setLoggerMode(mode)
    ale = ale_py.ALEInterface()
    with tempfile.TemporaryDirectory() as folder:
        # The emulator goes by the name of a game; one without modes to be selected.
        path = Path(folder) / "assault.bin"
        path.write_bytes(_test_card(pal))
        ale.loadROM(path)
    ale.act(ale_py.Action.NOOP)
    shown = ale.getScreen().ravel()
    colours = ale.getScreenRGB().reshape(-1, 3)
    grey = ale.getScreenGrayscale().ravel()
    rgb = np.zeros((256, 3), np.uint8)
    for index in range(0, 256, 2):
        pixel = np.flatnonzero(shown == index)[0]
        rgb[index] = colours[pixel]
        rgb[index + 1] = grey[pixel]
    # Grey is looked up one further on, which under colour loss is a colour's blue.
    greys = np.append(rgb[1:, 2], np.uint8(0))
    return Palette(rgb, greys)


def grey(screen: jax.Array, pal: bool = False) -> jax.Array:
    """Luminance of a screen of palette indices, uint8[..., H, W]."""
    return jnp.asarray(palette(pal).grey)[screen]


def rgb(screen: jax.Array, pal: bool = False) -> jax.Array:
    """Colours of a screen of palette indices, uint8[..., H, W, 3]."""
    return jnp.asarray(palette(pal).rgb)[screen]


class _Taps(NamedTuple):
    """Source indices and weights of each destination pixel along one axis."""

    column: np.ndarray  # int32[size, K]
    weight: np.ndarray  # float32[size, K], 0 where there are fewer


@functools.cache
def _taps(source: int, size: int) -> _Taps:
    """Overlaps of destination cells with source pixels, at least a thousandth."""
    scale = source / size
    rows = []
    for i in range(size):
        low, high = i * scale, i * scale + scale
        cell = min(scale, source - low)
        first = int(np.ceil(low))
        last = min(int(np.floor(high)), source - 1)
        first = min(first, last)
        row = [(first - 1, (first - low) / cell)] if first - low > 1e-3 else []
        row += [(j, 1.0 / cell) for j in range(first, last)]
        if high - last > 1e-3:
            row.append((last, min(high - last, 1.0, cell) / cell))
        rows.append(row)
    most = max(len(row) for row in rows)
    index = np.zeros((size, most), np.int32)
    weight = np.zeros((size, most), np.float32)
    for i, row in enumerate(rows):
        for k, (j, w) in enumerate(row):
            index[i, k], weight[i, k] = j, w
    return _Taps(index, weight)


def _weighted(image: jax.Array, axis: int, taps: _Taps) -> jax.Array:
    """Sum of the taps in order, in float32 with every product rounded.

    `maximum` keeps compilers from fusing a product with the sum, which would skip the
    rounding; products are never negative.
    """
    shape = [1] * image.ndim
    shape[axis] = len(taps.weight)
    total = jnp.zeros((), jnp.float32)
    for k in range(taps.weight.shape[1]):
        pixel = jnp.take(image, taps.column[:, k], axis=axis).astype(jnp.float32)
        product = pixel * jnp.asarray(taps.weight[:, k].reshape(shape))
        total += jnp.maximum(product, 0.0)
    return total


def resize(image: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Shrinks an image by area, equal to the bit to OpenCV's INTER_AREA.

    Args:
      image: uint8[H, W] or uint8[H, W, C].
      size: height and width of the result, not larger than the image.

    Returns:
      uint8[height, width] or uint8[height, width, C].

    Raises:
      ValueError: The size is not positive or larger than the image.
    """
    height, width = image.shape[:2]
    if not (0 < size[0] <= height and 0 < size[1] <= width):
        raise ValueError(
            f"cannot shrink an image of {height}x{width} to {size[0]}x{size[1]}; "
            "give a size within it"
        )
    if size == (height, width):
        return image
    if height % size[0] == 0 and width % size[1] == 0:
        return _mean(image, size)
    rows = _weighted(image, 1, _taps(width, size[1]))
    result = _weighted(rows, 0, _taps(height, size[0]))
    return jnp.round(result).astype(jnp.uint8)


def _mean(image: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Whole blocks are summed as integers."""
    down, across = image.shape[0] // size[0], image.shape[1] // size[1]
    blocks = image.reshape(size[0], down, size[1], across, *image.shape[2:])
    total = blocks.astype(jnp.int32).sum((1, 3))
    if down == across == 2:
        return ((total + 2) >> 2).astype(jnp.uint8)
    mean = total.astype(jnp.float32) * np.float32(1.0 / (down * across))
    return jnp.round(mean).astype(jnp.uint8)
