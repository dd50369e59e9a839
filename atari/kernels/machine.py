"""What the turns of the CPU and of the beam share: the machine, and writes noted."""

from typing import Any, NamedTuple

from atari import tia as tias
from atari.bits import Int
from atari.bus import Inputs
from atari.cartridge import Cartridge
from atari.kernels.memory import Bytes, Notes
from atari.kernels.votes import Branches

NOTES, NOTES_ALONE = 256, 512
"""The most writes noted of a console, a power of two; few where many share a cache."""

LAST = tias.WAIT + 1
"""Stands for no register: the beam comes to the last access."""

# A note is the last bits of the write's cycle, its register and its value.
_CYCLE, _REGISTER = 15, 8
_SLACK = 16  # cycles by which the CPU has not come to what it wants to read


class Machine(NamedTuple):
    """A program's consoles, but for what changes."""

    cart: Cartridge
    table: Any  # a `Table`, to which the CPU is an array
    code: Any  # a `Table` of `listing.instructions`, or None
    memory: Bytes
    notes: Notes
    inputs: Inputs
    guard: Branches
    alone: bool  # one console only, which takes branches of its own


class Backlog(NamedTuple):
    """What stays between turns of writes that the beam has not come to."""

    number: Int  # of the next note
    done: Int  # those before this one the beam has come to
    vblank: Int  # where the beam is


SEEN = ("vblank", "vsync_end", "dump_end")
"""The first fields of a TIA, which the CPU changes."""

KNOWN = (*SEEN, "collisions", "origin", "row", "clock", "frame_start")
"""The first fields, at which the CPU's turn looks: where the beam is, too."""


def seen_of(tia: tias.Tia) -> tuple[Int, ...]:
    """What the CPU changes and sees of a TIA at once."""
    return tuple(getattr(tia, name) for name in SEEN)


def with_seen(tia: tias.Tia, seen: tuple[Int, ...]) -> tias.Tia:
    """A TIA with what `seen_of` gives."""
    return tia._replace(**dict(zip(SEEN, seen, strict=True)))


def without(core: Any, name: str) -> Any:
    """Registers but for some, which a loop then does not carry."""
    return core._replace(**{name: None})


def note(cycle: Int, register: Int, value: Int) -> Int:
    """A write noted, or `LAST`, or `tia.WAIT` for a read that waits for the beam."""
    return (cycle << _CYCLE) | (register << _REGISTER) | (value & 0xFF)


def register_of(note: Int) -> Int:
    """Its register."""
    return (note >> _REGISTER) & 0x7F


def cycle_of(note: Int, now: Int) -> Int:
    """Its cycle, which the CPU has passed less than 1 << 17 cycles ago.

    Args:
      note: the note.
      now: the CPU's count of cycles.
    """
    now = now + _SLACK
    return now - ((now - (note >> _CYCLE)) & ((1 << (32 - _CYCLE)) - 1))
