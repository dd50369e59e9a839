"""Actions to what the console sees: joystick pins, paddles and switches."""

from typing import NamedTuple

import jax
from jax import numpy as jnp

from atari.actions import RESET, Action
from atari.bus import Inputs
from atari.rom import Properties
from atari.tia import NEVER

PADDLE_STEP = 23_000
"""Ohms by which a paddle turns in a frame."""
PADDLE_MIN = 27_450

_RESET_SWITCH, _SELECT_SWITCH, _COLOUR, _OTHERS = 0x01, 0x02, 0x08, 0x34
_UP, _DOWN, _LEFT, _RIGHT = 0x10, 0x20, 0x40, 0x80


class Pins(NamedTuple):
    """What an action presses; tables over actions 0 to 17."""

    directions: tuple[int, ...]  # bits of the left port in SWCHA, 1 pressed
    fire: tuple[int, ...]
    turn: tuple[int, ...]  # of a paddle: 1 more resistance, -1 less


def _pins() -> Pins:
    names = [action.name for action in Action]
    bits = {"UP": _UP, "DOWN": _DOWN, "LEFT": _LEFT, "RIGHT": _RIGHT}
    return Pins(
        tuple(sum(bit for word, bit in bits.items() if word in n) for n in names),
        tuple(int("FIRE" in name) for name in names),
        tuple(("LEFT" in name) - ("RIGHT" in name) for name in names),
    )


def centre(paddle_max: int) -> jax.Array:
    """Where a paddle stands after a reset, ohms."""
    return jnp.int32((PADDLE_MIN + paddle_max) // 2)


def turn(paddle: jax.Array, action: jax.Array, paddle_max: int) -> jax.Array:
    """A paddle's resistance after one more frame of an action.

    Args:
      paddle: int32, ohms.
      action: int32, one of `Action`, or `RESET`.
      paddle_max: largest resistance.
    """
    pressed = jnp.where(action < len(Action), action, 0)
    step = PADDLE_STEP * jnp.array(_pins().turn, jnp.int32)[pressed]
    return jnp.clip(paddle + step, PADDLE_MIN, paddle_max)


def inputs(
    rom: Properties,
    action: jax.Array,
    *,
    paddle: jax.Array | int = 0,
    other_paddle: jax.Array | int = 0,
    difficulty: jax.Array | int = 0,
    select: jax.Array | bool = False,
) -> Inputs:
    """Inputs of one frame in which one player acts; the other does nothing.

    Args:
      rom: which controllers are plugged in where.
      action: int32, one of `Action`, or `RESET` for the console's switch.
      paddle: int32, ohms of the player's paddle; not used with a joystick.
      other_paddle: int32, ohms of the one beside it, which nobody turns.
      difficulty: bit 0 is the left switch, bit 1 the right; 1 is position A.
      select: whether SELECT is held; the action should then be NOOP.
    """
    action = jnp.asarray(action, jnp.int32)
    pressed = jnp.where(action < len(Action), action, 0)
    fire = jnp.array(_pins().fire, jnp.int32)[pressed]
    never, low = NEVER, 0
    left: tuple[jax.Array | int, ...]
    fire0: jax.Array | int
    fire1: jax.Array | int
    if rom.paddles:
        swcha = 0xFF - fire * (_LEFT if rom.swap_paddles else _RIGHT)
        fire0 = fire1 = 0
        left = (paddle, other_paddle)
        if rom.swap_paddles:
            left = (other_paddle, paddle)
        # A right pair that nobody has ever touched has no resistance at all.
        right = (low, low) if rom.paddles == 2 else (never, never)
    else:
        directions = jnp.array(_pins().directions, jnp.int32)[pressed]
        swcha = 0xFF - (directions >> 4 if rom.swap_ports else directions)
        fire0, fire1 = (0, fire) if rom.swap_ports else (fire, 0)
        left = right = (never, never)
    difficulty = jnp.asarray(difficulty, jnp.int32)
    swchb = (
        _OTHERS
        | _COLOUR
        | jnp.where(action == RESET, 0, _RESET_SWITCH)
        | jnp.where(jnp.asarray(select), 0, _SELECT_SWITCH)
        | (difficulty & 3) << 6
    )
    fields = (swcha, swchb, fire0, fire1, *left, *right)
    return Inputs(*[jnp.asarray(field, jnp.int32) for field in fields])
