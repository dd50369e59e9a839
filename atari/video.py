"""Pictures and films of what a batch of games shows."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from atari import console as consoles, observe
from atari.environment import Environment
from atari.episode import State

FRAME_RATE = 60


def screens(env: Environment, state: State) -> jax.Array:
    """The coloured screen of one environment, uint8[H, 160, 3]; `vmap` for a batch."""
    return observe.rgb(consoles.screen(state.play.console), env.game.rom.pal)


def tile(pictures: np.ndarray, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Puts a batch of pictures on one sheet, row by row.

    Args:
      pictures: uint8[N, H, W, 3].
      columns: Pictures a row; None for a sheet of about four by three without many
        blanks.
      gap: Black pixels between pictures.

    Returns:
      uint8[rows * (H + gap) - gap, columns * (W + gap) - gap, 3].

    Raises:
      ValueError: Not an array of that shape and type.
    """
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8:
        raise ValueError(
            f"pictures must be uint8[N, H, W, 3], not "
            f"{pictures.dtype}{list(pictures.shape)}"
        )
    number, height, width, _ = pictures.shape
    if columns is None:

        def flaw(n: int) -> float:
            rows = -(-number // n)
            ratio = n * width / (rows * height) * 3 / 4
            return abs(float(np.log(ratio))) + (rows * n - number) / number

        columns = min(range(1, number + 1), key=flaw)
    rows = -(-number // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    sheet = np.zeros(shape, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def save(
    path: str | Path, frames: Sequence[np.ndarray], fps: float = FRAME_RATE / 4
) -> Path:
    """Writes a film (.gif, .mp4) or, of the last frame, a picture (.png).

    Args:
      path: File; its ending says which.
      frames: uint8[H, W, 3] each, of one size.
      fps: Frames a second; a GIF rounds a frame's time to hundredths of a second.

    Returns:
      The path.

    Raises:
      ValueError: Unknown ending, or no frames.
      ModuleNotFoundError: MP4 without `imageio` and `imageio-ffmpeg`.
    """
    path = Path(path)
    if not len(frames):
        raise ValueError(f"no frames to write to {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(frames[-1]).save(path)
    elif path.suffix == ".gif":
        first, *rest = (Image.fromarray(frame) for frame in frames)
        first.save(path, save_all=True, append_images=rest, duration=1000 / fps, loop=0)
    elif path.suffix == ".mp4":
        _save_mp4(path, frames, fps)
    else:
        raise ValueError(f"cannot write {path.suffix!r}; use .gif, .mp4 or .png")
    return path


def _save_mp4(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    try:
        import imageio.v3 as imageio
        import imageio_ffmpeg  # type: ignore[import-untyped] # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "MP4 needs imageio and imageio-ffmpeg: pip install imageio imageio-ffmpeg, "
            "or write a .gif"
        ) from None
    # Players want even sides.
    height, width = (side + side % 2 for side in frames[0].shape[:2])
    padded = np.zeros((len(frames), height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        padded[i, : frame.shape[0], : frame.shape[1]] = frame
    imageio.imwrite(path, padded, fps=fps, codec="libx264", macro_block_size=2)
