"""Games of all nine cartridge kinds against ale-py, by the machinery of the script."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from atari import rom
from launch import referee
from launch.player import Player, Request

SAMPLE = {
    "pong": "2K",
    "seaquest": "4K",
    "asterix": "F8",
    "solaris": "F6",
    "montezuma_revenge": "E0",
    "robotank": "FE",
    "elevator_action": "F8SC",
    "klax": "F6SC",
}
FRAMES = 12
CHOICES = [("breakout", 4, 1), ("tennis", 2, 3)]


def short(player: Player) -> Iterator[Request]:
    """From the reset that loads the game, without the search that comes before."""
    yield from player.reset(3)
    for _ in range(FRAMES):
        yield from player.random_act()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Player]:
    """The games of the sample, side by side."""
    folder = tmp_path_factory.mktemp("roms")
    players = [Player(name, 0.25, folder) for name in SAMPLE]
    turns = [short(player) for player in players]
    for name, *choice in CHOICES:
        players.append(Player(name, 0.25, folder, 0, *choice))
        turns.append(players[-1].play(FRAMES, FRAMES))
    referee.run(players, turns, FRAMES)
    return {player.name: player for player in players}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_game_of_each_kind_is_exact(played: dict[str, Player], name: str) -> None:
    """RAM, screen, reward, lives and end, after the reset and in sticky play."""
    player = played[name]
    assert player.game.rom.kind == SAMPLE[name]
    assert player.difference is None
    assert player.frame == FRAMES
    assert len(player.outcomes) == FRAMES


@pytest.mark.parametrize(("name", "mode", "difficulty"), CHOICES)
def test_a_chosen_mode_and_difficulty_are_exact(
    played: dict[str, Player], name: str, mode: int, difficulty: int
) -> None:
    """From the power switch on: the reset that selects them, and play."""
    player = played[name]
    assert (player.game.mode, player.game.difficulty) == (mode, difficulty)
    assert player.difference is None
    assert player.frame == FRAMES
    assert player.resets == 1


@pytest.mark.long
@pytest.mark.parametrize("initial", sorted({name[0] for name in rom.names()}))
def test_every_mode_and_difficulty_is_exact(initial: str, tmp_path: Path) -> None:
    """All games of a letter; `python -m launch.conformance --modes` has them all."""
    names = [name for name in rom.names() if name[0] == initial]
    players = [
        Player(name, 0.25, tmp_path, 0, *choice)
        for name in names
        if name != "pitfall2"  # another program
        for choice in referee.choices(name)
    ]
    referee.run(players, [player.play(5, 5) for player in players], 5)
    assert [p.name for p in players if p.difference is not None] == []


def test_dpc_is_exact(tmp_path: Path) -> None:
    """Pitfall II, whose cartridge has a chip."""
    player = Player("pitfall2", 0.25, tmp_path)
    referee.run([player], [short(player)], FRAMES)
    assert player.difference is None
    assert player.frame == FRAMES


def test_differences_are_found(tmp_path: Path) -> None:
    """A wrong byte, a wrong pixel and a wrong score each are noticed."""
    player = Player("seaquest", 0.0, tmp_path)
    ram = np.zeros(256, np.uint8)
    ram[:128] = player.ale.getRAM()
    screen = np.zeros((referee.HEIGHT, 160), np.uint8)
    screen[:210] = player.ale.getScreen()
    request = Request(player.pins(0), compare=True)
    player.seen(request, ram, screen)
    assert player.difference is None
    ram[5] ^= 1
    player.seen(request, ram, screen)
    assert player.difference is not None
    assert player.difference.detail == "1 bytes, 85 first"
    ram[5] ^= 1
    player.difference = None
    screen[7, 9] ^= 1
    player.seen(request, ram, screen)
    assert player.difference is not None
    assert player.difference.detail == "1 pixels, row 7 column 9 first"
    player.difference = None
    player.outcomes = {0: (1, 0, 0)}
    player.check_signals()
    assert player.difference is not None
    assert player.difference.what == "signals"


@pytest.mark.long
@pytest.mark.parametrize("names", [rom.names()[i::8] for i in range(8)])
def test_all_games_are_exact(names: list[str], tmp_path: Path) -> None:
    """Every single-player game for 300 frames, from the console's construction on."""
    chips = [
        [n for n in names if n != "pitfall2"],
        [n for n in names if n == "pitfall2"],
    ]
    for same in filter(None, chips):
        players = [Player(name, 0.25, tmp_path, seed=1) for name in same]
        turns = [player.play(300, 120) for player in players]
        referee.run(players, turns, 300)
        assert {p.name: p.difference for p in players if p.difference} == {}
