"""How a game's mode is selected: a small script of switch presses and moves.

The default mode is selected too, at every reset. A script is a tuple of steps; the
environment runs it frame by frame.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from atari.actions import Action
from atari.games.rules import Int, Memory, Test, value


class Press(NamedTuple):
    """Holds SELECT for some frames, then releases it for one.

    Attributes:
      frames: How long it is held; the game is not scored meanwhile.
      jitter: How many lengths there are, `frames` the shortest; 0 for one only.
    """

    frames: int = 1
    jitter: int = 0


class Move(NamedTuple):
    """One action of the player."""

    action: int = Action.NOOP.value


class SoftReset(NamedTuple):
    """Holds RESET for four frames."""


class Until(NamedTuple):
    """Repeats some steps as long as a test fails."""

    test: Test
    steps: tuple["Press | Move", ...]


class UntilChanged(NamedTuple):
    """Repeats some steps until a byte differs from what it was."""

    address: int
    steps: tuple["Press | Move", ...]


Step = Press | Move | SoftReset | Until | UntilChanged


class Selection(NamedTuple):
    """The modes of a game.

    Attributes:
      modes: Their numbers; the first is the default.
      script: The steps that select a mode.
    """

    modes: tuple[int, ...]
    script: Callable[[int], tuple[Step, ...]]


def _shown(
    modes: Sequence[int],
    at: str | Callable[[Memory], Int],
    frames: int = 1,
    *,
    code: Callable[[int], int] = lambda mode: mode,
    before: tuple[Step, ...] = (),
) -> Selection:
    """SELECT is pressed until a byte shows the mode's code."""
    read = value(at)
    return _reached(
        modes, lambda mode: lambda r: read(r) == code(mode), frames, before=before
    )


def _reached(
    modes: Sequence[int],
    test: Callable[[int], Test],
    frames: int,
    *,
    before: tuple[Step, ...] = (),
) -> Selection:
    """SELECT is pressed until a test of the mode holds."""

    def script(mode: int) -> tuple[Step, ...]:
        return (*before, Until(test(mode), (Press(frames),)), SoftReset())

    return Selection(tuple(modes), script)


def _adventure() -> Selection:
    """Random long presses, since the next level depends on how long."""

    def script(mode: int) -> tuple[Step, ...]:
        level = value("DD>>1&3")
        steps = (Press(2, jitter=256), Move())
        return Until(lambda r: level(r) == mode, steps), SoftReset()

    return Selection((0, 1, 2), script)


def _double_dunk() -> Selection:
    """Four options in a menu, one bit of the mode each."""
    down = UntilChanged(0xB0, (Move(Action.DOWN.value), Move()))

    def option(on: int, mask: int) -> Until:
        move = Action.RIGHT if on else Action.LEFT
        wanted = mask if on else 0
        return Until(lambda r: r(0x80) & mask == wanted, (Move(move.value), Move()))

    def script(mode: int) -> tuple[Step, ...]:
        steps: list[Step] = [Press(), down]
        for bit, mask in enumerate((0x08, 0x10, 0x04, 0x20)):
            steps += [down, option(mode >> bit & 1, mask)]
        return (*steps, SoftReset(), Move(Action.UPFIRE.value), Move())

    return Selection(tuple(range(16)), script)


def _video_cube() -> Selection:
    """Hundreds: one of fifty cubes, the first if none; units: one of three games."""

    def script(mode: int) -> tuple[Step, ...]:
        game, cube = (0, 2, 8)[mode % 100], max(1, mode // 100)
        return (
            Until(lambda r: r(0xFB) & 0x1F == game, (Press(2),)),
            SoftReset(),
            Until(lambda r: r.decimal(0x9F) == cube, (Move(Action.RIGHT.value),)),
        )

    modes = (100 * cube + game for cube in range(51) for game in range(3))
    return Selection(tuple(modes), script)


SELECTIONS = {
    "adventure": _adventure(),
    "air_raid": _shown(range(1, 9), "AA", 10, before=(Press(20),)),
    "alien": _shown(range(4), "81"),
    "asteroids": _shown((*range(32), 128), "80", 2),
    "atlantis": _shown(range(4), "8D", 2),
    "backgammon": _shown((0,), "DC", code=lambda mode: 3),
    "bank_heist": _shown(range(0, 32, 4), "80"),
    "basic_math": _shown(range(5, 9), "C5", 2),
    "battle_zone": _shown(range(1, 4), "A1", 2),
    "berzerk": _shown((*range(1, 10), 16, 17, 18), "80", 2, before=20 * (Move(),)),
    "bowling": _shown((0, 2, 4), "82", 2),
    "breakout": _shown(range(0, 48, 4), "B2"),
    "casino": _shown((0, 2, 3), "D4", 2),
    "centipede": _shown((22, 86), "A7", 2),
    "chopper_command": _shown((0, 2), "E0", 2),
    "crazy_climber": _shown(range(4), "80", 2),
    "crossbow": _shown(range(0, 8, 2), "8D-1", 2),
    "defender": _shown((*range(1, 10), 16), "9B", 2),
    "demon_attack": _shown(range(1, 9, 2), "EA"),
    "double_dunk": _double_dunk(),
    "et": _shown(range(3), "EA-1", 25),
    "flag_capture": _shown(range(8, 11), "D6", 2),
    "freeway": _shown(range(8), "80"),
    "frogger": _shown(range(3), "DD", 2, code=lambda mode: 2 * mode + 1),
    "frostbite": _shown((0, 2), "80"),
    "galaxian": _shown(range(1, 10), "B3"),
    "gopher": _shown((0, 2), "D3", 5, before=(SoftReset(),)),
    "gravitar": _shown(range(5), "80", 10),
    "hangman": _shown(range(4), "EE", 2),
    "haunted_house": _shown(range(9), "CC", 2),
    "hero": _shown(range(5), "80"),
    "human_cannonball": _reached(
        range(8), lambda mode: lambda r: (r(0xB6) == mode + 1) & (r(0xB7) == 1), 2
    ),
    "ice_hockey": _shown((0, 2), "80", 2),
    "jamesbond": _reached(
        (0, 1), lambda mode: lambda r: (r(0x8C) == mode) | (r(0x8C) == mode + 0x48), 20
    ),
    "kangaroo": _reached(
        (0, 1), lambda mode: lambda r: (r(0xBA) == mode) | (r(0xBA) == mode + 0x80), 2
    ),
    "king_kong": _shown(range(4), "EC", 2, code=lambda mode: 2 * mode),
    "klax": _shown(range(3), lambda r: r.cartridge(0x6A), 2),
    "lost_luggage": _shown((0, 1), "94", 2, code=lambda mode: 3 * mode + 1),
    "mario_bros": _shown(range(0, 8, 2), "80", 5),
    "mr_do": _shown(range(4), "80", 5),
    "ms_pacman": _reached(
        range(4),
        lambda mode: lambda r: (r(0x99) == (mode or 1)) & (r(0xA1) == (mode == 0)),
        10,
    ),
    "name_this_game": _shown((8, 24, 40), "DE", 2),
    "othello": _shown(range(3), "DE-1", 2),
    "pacman": _reached(
        range(8), lambda mode: lambda r: (r(0xCC) == mode + 1) & (r(0xE6) == 0), 2
    ),
    "pong": _shown((0, 1), "96", 2),
    "pooyan": _shown(range(10, 90, 20), "BD", 2, before=(Press(2),)),
    "private_eye": _shown(range(5), "80", 2),
    "space_invaders": _shown(range(16), "DC", 2),
    "space_war": _shown(range(6, 18), lambda r: r.decimal(0xA7), 2),
    "star_gunner": _shown(range(4), "F4", 15),
    "surround": _shown((0, 2), "F9", 2, code=lambda mode: mode + 1),
    "tennis": _shown((0, 2), "80", 2),
    "tic_tac_toe_3d": _shown(range(9), "88", 2),
    "turmoil": _shown(range(9), "EA", 2),
    "tutankham": _shown(range(0, 16, 4), "AB", 2),
    "video_checkers": _shown(
        (*range(1, 10), *range(11, 20)),
        "F6",
        code=lambda mode: mode + 6 if mode >= 11 else mode,
    ),
    "video_chess": _shown(range(5), "EA"),
    "video_cube": _video_cube(),
    "video_pinball": _shown((0, 2), "C1", 2),
    "word_zapper": _shown(range(24), "DB", 2),
    "yars_revenge": _shown(range(0, 128, 32), "E3", before=(Press(2),)),
    "zaxxon": _shown(range(0, 32, 8), "82", 10),
}
"""Games with a selection; the others do nothing when a mode is set."""
