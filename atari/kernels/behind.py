"""The beam's turn, in which it comes to what the CPU has noted, and draws."""

import functools
from typing import Any, NamedTuple

from jax import lax, numpy as jnp

from atari import beam, bus, tia as tias
from atari.bits import Bool, Int, typed
from atari.kernels import machine as machines, strips
from atari.kernels.ahead import Ahead
from atari.kernels.machine import Backlog, Machine
from atari.kernels.votes import count, vote, voted

CROWD = 12
"""Lanes too few for the beam to go on: what they have noted can wait."""

_OLD = 1 << 16  # cycles after which a note cannot wait, so that its own are told
_SHOWS = ("restarted", "shapes", "missiles", "copies", "ball")  # on which lanes vote


class Behind(NamedTuple):
    """What the beam's turn carries."""

    tia: tias.Tia
    next: Int  # number of the note that waits for the beam
    note: Int  # that note
    strips: Any  # `Strips` still to be drawn, if consoles are alone
    held: Int  # what `Screen.put` holds back, otherwise
    crowd: Int  # lanes for which the beam goes on
    votes: tuple[Int, ...]  # on whether it is late, and on `_SHOWS` unless alone


def turn(
    machine: Machine, screen: Any, tia: tias.Tia, ahead: Ahead
) -> tuple[tias.Tia, Backlog]:
    """Brings the beam to the last notes; arguments as in `catch_up`.

    Lanes have unlike numbers of windows to draw, so that at last a few would keep all
    others waiting: those come to the rest of their notes in the turns to come, together
    with others. But for those that cannot wait, and when no CPU goes on.
    """
    alone = machine.alone
    zero = ahead.number * 0
    note = machine.notes.get(ahead.done, ahead.done < ahead.number)
    # Half of the notes may be left, as the next turn needs room for its own.
    old = ahead.core.cpu.cycles - machines.cycle_of(note, ahead.core.cpu.cycles) > _OLD
    most = jnp.where((ahead.waits != 0) | old, 0, machine.notes.most // 2)
    crowd = jnp.minimum(count(ahead.votes, 0) * CROWD + 1, CROWD)
    showing = functools.partial(_showing, machine, ahead, most)

    def late(state: Behind) -> Bool:
        if alone:
            return voted(state.votes, 0)
        pressed = voted(state.votes, 1 + len(_SHOWS))
        return pressed | (count(state.votes, 0) >= state.crowd)

    def window(state: Behind) -> Behind:
        return showing(catch_up(machine, screen, ahead, state))

    def batch(state: Behind) -> Behind:
        state = lax.while_loop(
            lambda s: late(s) & ~strips.full(s.strips), window, state
        )
        tia, kept = state.tia, state.strips
        found = strips.draw(kept, screen, machine.guard)
        tia = tia._replace(collisions=tia.collisions | found)
        zero = kept.number * 0
        return state._replace(tia=tia, strips=kept._replace(number=zero, cleared=zero))

    if alone:
        state = Behind(tia, ahead.done, note, strips.none(zero), zero, crowd, ())
        state = lax.while_loop(late, batch, showing(state))
    else:
        held = zero if screen is None else screen.take(tia.row, tia.clock)
        state = Behind(tia, ahead.done, note, None, held, crowd, ())
        state = lax.while_loop(late, window, showing(state))
        if screen is not None:
            screen.give(state.tia.row, state.tia.clock, state.held)
    return state.tia, Backlog(ahead.number, state.next, state.tia.vblank)


def catch_up(machine: Machine, screen: Any, ahead: Ahead, state: Behind) -> Behind:
    """One window of the beam, or strip of a line, and the write that waited for it.

    Args:
      machine: the console.
      screen: to draw on: a `Screen`, a `ByteScreen` if consoles are alone, or None.
      ahead: what the CPU's turn left.
      state: what the beam's turn carries.
    """
    cart, guard = machine.cart, machine.guard
    if not machine.alone:
        guard = guard.knowing(_SHOWS, state.votes)
    tia, note, alive = state.tia, state.note, state.next < ahead.number
    # Long before it is needed, as it comes from far.
    upcoming = machine.notes.get(state.next + 1, state.next + 1 < ahead.number)
    register, value = machines.register_of(note), note & 0xFF
    cycles = jnp.where(
        register == machines.LAST,
        ahead.last,
        machines.cycle_of(note, ahead.core.cpu.cycles),
    )
    wait = register >= tias.WAIT
    due = jnp.where(wait, 3 * cycles, tias.due(tia, register, 3 * cycles, guard))
    target = jnp.where(alive, due, bus.FAR)
    kept, held = state.strips, state.held
    if kept is None:
        moved, pixels, there = beam.advance(
            tia, cart.first_line, cart.lines, target, guard
        )
        if screen is not None:
            held = screen.put(pixels, held)
    else:
        line, end, moved, there = beam.move(
            tia, cart.first_line, cart.lines, target, guard, reach=tias.WIDTH
        )
        kept = strips.keep(kept, line, end)
    there &= alive

    def write() -> tias.Tia:
        written, _, _ = tias.write(
            moved, register, value, cycles, wait, cart.combs, cart.pal, there, guard
        )
        return written

    written = typed(guard(there & ~wait, write, moved, rare="write"), tia)
    if kept is not None:
        clears = there & (register == tias.CXCLR)
        kept = kept._replace(cleared=jnp.where(clears, kept.number, kept.cleared))
    return Behind(
        written,
        state.next + jnp.where(there, 1, 0),
        jnp.where(there, upcoming, note),
        kept,
        held,
        state.crowd,
        (),
    )


def _showing(machine: Machine, ahead: Ahead, most: Int, state: Behind) -> Behind:
    """With the votes on the window to come: one wait for all of them."""
    flags = [state.next < ahead.number]
    if not machine.alone:
        register = machines.register_of(state.note)
        signs = beam.portents(state.tia)
        signs["restarted"] = (register == tias.RESP0) | (register == tias.RESP1)
        flags += [signs[name] for name in _SHOWS]
        flags += [ahead.number - state.next > most]
    return state._replace(votes=vote(flags))
