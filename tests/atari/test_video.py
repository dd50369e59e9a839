"""Sheets and films."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atari import video


def pictures(number: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (number, 21, 16, 3), np.uint8)


@pytest.mark.parametrize(("number", "columns"), [(1, 1), (4, 2), (5, 3), (16, 5)])
def test_every_picture_is_on_the_sheet(number: int, columns: int) -> None:
    made = pictures(number)
    sheet = video.tile(made, columns)
    for i, picture in enumerate(made):
        y, x = i // columns * 23, i % columns * 18
        np.testing.assert_array_equal(sheet[y : y + 21, x : x + 16], picture)
    rows = -(-number // columns)
    assert sheet.shape == (rows * 23 - 2, columns * 18 - 2, 3)


@pytest.mark.parametrize("number", [1, 7, 16, 100])
def test_sheets_are_about_as_wide_as_four_to_three(number: int) -> None:
    sheet = video.tile(pictures(number))
    assert sheet.shape[0] * sheet.shape[1] >= number * 21 * 16
    if number >= 16:
        assert 1 < sheet.shape[1] / sheet.shape[0] < 1.8


def test_a_film_has_its_frames(tmp_path: Path) -> None:
    frames = list(pictures(5))
    path = video.save(tmp_path / "new" / "film.gif", frames, fps=20)
    with Image.open(path) as film:
        assert film.n_frames == 5
        assert film.size == (16, 21)
        assert film.info["duration"] == 50


def test_a_picture_is_the_last_frame(tmp_path: Path) -> None:
    frames = list(pictures(3))
    path = video.save(tmp_path / "last.png", frames)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), frames[-1])


def test_an_mp4_has_even_sides(tmp_path: Path) -> None:
    pytest.importorskip("imageio.v3")
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    frames = [np.full((41, 33, 3), 40 * i, np.uint8) for i in range(6)]
    path = video.save(tmp_path / "film.mp4", frames)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    film = subprocess.run(
        [program, "-v", "error", "-i", path, *raw], check=True, capture_output=True
    )
    seen = np.frombuffer(film.stdout, np.uint8).reshape(6, 42, 34, 3)
    assert abs(int(seen[5, 10, 10, 0]) - 200) < 12


@pytest.mark.parametrize(
    ("name", "frames", "message"),
    [("film.avi", pictures(1), "use .gif"), ("film.gif", [], "no frames")],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, frames, message) -> None:
    with pytest.raises(ValueError, match=message):
        video.save(tmp_path / name, list(frames))


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not float64\[2, 3\]"):
        video.tile(np.zeros((2, 3)))
