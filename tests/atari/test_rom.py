"""ROM properties against ale-py, and what is said about files that do not fit."""

import hashlib
import importlib.util
from pathlib import Path

import pytest
from ale import of_game, path_of

from atari import rom


@pytest.mark.parametrize("name", rom.names(players=2))
def test_images_are_those_of_the_table(name: str) -> None:
    loaded = rom.load(name)
    assert loaded.properties.name == name
    assert hashlib.md5(loaded.image).hexdigest() == loaded.properties.md5
    assert len(loaded.image) == rom.SIZES[loaded.properties.kind]


@pytest.mark.parametrize("name", rom.names())
def test_screens_have_the_size_that_ale_gives_them(name: str) -> None:
    assert of_game(name).getScreenDims() == (rom.properties(name).height, 160)


def test_every_game_of_ale_is_known() -> None:
    shipped = {path.stem for path in path_of("pong").parent.glob("*.bin")}
    assert set(rom.names(players=2)) == shipped
    assert len(rom.names()) == 104


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "something.bin"
    path.write_bytes(path_of("seaquest").read_bytes())
    assert rom.load(path).properties == rom.properties("seaquest")
    assert rom.load(str(path)).properties.name == "seaquest"


def test_an_unknown_file_gets_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.bin"
    path.write_bytes(bytes(4096))
    found = rom.load(path).properties
    assert (found.name, found.kind, found.height) == ("mine", None, 210)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SpaceInvaders", "did you mean space_invaders?"),
        ("MsPacman", "did you mean ms_pacman?"),
        ("PongNoFrameskip-v4", "did you mean pong?"),
        ("ALE/Pong-v5", "did you mean pong?"),
        ("brakeout", "did you mean breakout?"),
        ("zzz", r"see atari.rom.names\(\)"),
    ],
)
def test_unknown_names_get_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        rom.load(name)


def test_a_wrong_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pong.bin"
    path.write_bytes(bytes(3000))
    with pytest.raises(ValueError, match=r"3000 bytes fits no .* 2048 \(2K\), 4096"):
        rom.load(path)


def test_without_ale_py_there_is_advice(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install ale-py"):
        rom.load("pong")


def test_a_missing_file_is_missed() -> None:
    with pytest.raises(FileNotFoundError):
        rom.load("/nowhere/pong.bin")
