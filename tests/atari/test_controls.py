"""What actions do to the console's inputs; the numbers are the hardware's."""

import jax
import numpy as np
import pytest
from ale import of_game
from jax import numpy as jnp

from atari import controls, rom
from atari.actions import RESET, Action
from atari.tia import NEVER

# Active low: right 0x80, left 0x40, down 0x20, up 0x10 (Stella Programmer's Guide).
PINS = {
    "UP": 0xEF,
    "DOWN": 0xDF,
    "LEFT": 0xBF,
    "RIGHT": 0x7F,
    "UPRIGHT": 0x6F,
    "DOWNLEFTFIRE": 0x9F,
    "FIRE": 0xFF,
    "NOOP": 0xFF,
}


def test_actions_are_numbered_as_in_ale() -> None:
    for action in of_game("alien").getLegalActionSet():
        assert Action[action.name].value == action.value


@pytest.mark.parametrize("name", PINS)
def test_joystick_pins(name: str) -> None:
    found = controls.inputs(rom.properties("alien"), Action[name].value)
    assert found.swcha == PINS[name]
    assert found.fire0 == ("FIRE" in name)
    assert found.fire1 == 0
    assert found.swchb == 0x3F
    assert {int(ohms) for ohms in found[4:]} == {NEVER}


def test_swapped_ports_move_to_the_right_nibble() -> None:
    found = controls.inputs(rom.properties("surround"), Action.UPRIGHTFIRE.value)
    assert found.swcha == 0xF6
    assert (found.fire0, found.fire1) == (0, 1)


def test_all_directions_and_buttons() -> None:
    """Each action presses what its name says, and only that."""
    found = jax.vmap(lambda a: controls.inputs(rom.properties("alien"), a))(
        jnp.arange(18)
    )
    for action in Action:
        pressed = 0xFF ^ int(found.swcha[action])
        words = {"UP": 0x10, "DOWN": 0x20, "LEFT": 0x40, "RIGHT": 0x80}
        for word, bit in words.items():
            assert bool(pressed & bit) == (word in action.name)
        assert found.fire0[action] == ("FIRE" in action.name)


@pytest.mark.parametrize(
    ("action", "select", "difficulty", "switches"),
    [(0, False, 3, 0xFF), (RESET, False, 0, 0x3E), (0, True, 1, 0x7D)],
)
def test_switches(action: int, select: bool, difficulty: int, switches: int) -> None:
    found = controls.inputs(
        rom.properties("alien"), action, select=select, difficulty=difficulty
    )
    assert found.swchb == switches
    assert found.swcha == 0xFF


@pytest.mark.parametrize(
    ("game", "swcha", "ohms"),
    [
        ("breakout", 0x7F, (11, 22, NEVER, NEVER)),
        ("pong", 0xBF, (22, 11, 0, 0)),
    ],
)
def test_paddles(game: str, swcha: int, ohms: tuple[int, ...]) -> None:
    """Video Olympics has the two paddles of a port exchanged."""
    found = controls.inputs(
        rom.properties(game), Action.LEFTFIRE.value, paddle=11, other_paddle=22
    )
    assert found.swcha == swcha
    assert tuple(int(r) for r in found[4:]) == ohms
    assert (found.fire0, found.fire1) == (0, 0)


def test_a_paddle_turns_until_it_stops() -> None:
    limit = 790_196
    paddle = controls.centre(limit)
    assert paddle == 408_823
    assert controls.turn(paddle, Action.UPLEFT.value, limit) == 431_823
    assert controls.turn(paddle, Action.RIGHTFIRE.value, limit) == 385_823
    for still in (Action.NOOP.value, Action.UP.value, Action.FIRE.value, RESET):
        assert controls.turn(paddle, still, limit) == 408_823
    for action, end in ((Action.LEFT, limit), (Action.RIGHT, 27_450)):
        where = paddle
        for _ in range(40):
            where = controls.turn(where, action.value, limit)
        np.testing.assert_array_equal(where, end)
