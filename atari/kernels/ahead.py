"""The CPU's turn, in which it runs ahead of the beam and notes what it writes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax import lax, numpy as jnp

from atari import beam, bus, cartridge, cpu as cpus, plain, tia as tias
from atari.bits import Bool, Int, typed
from atari.bus import INSTRUCTIONS, Core
from atari.kernels import listing, machine as machines
from atari.kernels.machine import Backlog, Machine
from atari.kernels.votes import any_of, count, vote, voted

STEPS = 512
"""The most steps of the CPU between two turns of the beam, so that cycles fit."""

GRACE = 32
"""Steps that the CPUs of other lanes take after one has to wait for the beam.

Lanes that play alike come to the same place together, and then wait together.
"""

_REACH = 1 << 14  # cycles after which no loop is skipped, so that a write's cycle fits
_WANTS = ("far", "jump", "odd", "waiting")  # rare work on which lanes vote
_DROPPED = (tias.VSYNC, tias.WSYNC, 0x03, *range(0x15, 0x1B), *range(0x2D, 0x40))


class Ahead(NamedTuple):
    """What the CPU's turn carries."""

    core: Any  # a Core without its TIA, of which the CPU changes `seen`
    seen: tuple[Int, ...]
    number: Int  # of the next note
    done: Int  # those before this one the beam has come to
    last: Int  # cycle of the last access to the TIA, -1 before the first
    waits: Int  # for the beam
    current: Int  # the beam is where the CPU is
    code: Any  # what `listing.ask` found at PC; None if nothing is listed, or alone
    votes: tuple[Int, ...]  # on whether it goes on, and on `_WANTS` unless alone


def can_go(core: Core, waits: Int) -> Bool:
    """Whether the CPU has something to do."""
    return (waits == 0) & bus.running(core)


def _is_free(machine: Machine, ahead: Ahead) -> Bool:
    """Whether nothing keeps the CPU from its next step."""
    free = ahead.waits == 0
    if machine.alone:  # whose notes are as many as steps
        return free
    return free & (ahead.number - ahead.done < machine.notes.most)


def _is_drawn(register: Int) -> Bool:
    """Whether the beam has to know of a write: a look in a bit mask of two words."""
    low, high = (
        sum(1 << (r % 32) for r in _DROPPED if r // 32 == half) for half in (0, 1)
    )
    words = np.array([low, high], np.uint32).view(np.int32)
    dropped = jnp.where(register < 32, int(words[0]), int(words[1]))
    return ((dropped >> (register & 31)) & 1) == 0


def start(
    machine: Machine,
    core: Any,
    seen: tuple[Int, ...],
    backlog: Backlog,
    last: Int,
    current: Int,
) -> Ahead:
    """What the CPU's turn begins with."""
    zero = core.cpu.cycles * 0
    mapper = core.mapper
    if mapper is None:
        mapper = cartridge.reset(machine.cart)
    code = None if machine.alone else listing.ask(machine, core.cpu.pc, mapper)()
    number, done = backlog.number, backlog.done
    ahead = Ahead(core, seen, number, done, last, zero, current, code, ())
    return _voting(machine, ahead)


def turn(machine: Machine, tia: tias.Tia, ahead: Ahead) -> Ahead:
    """Steps of the CPU, until the beam is to move; arguments as in `step`."""
    base = ahead.core.cpu.cycles

    def once(turn: tuple[Int, Int, Ahead]) -> tuple[Int, Int, Ahead]:
        number, patience, before = turn
        after = step(machine, tia, base, before)
        if not machine.alone:
            fewer = count(after.votes, 0) < count(before.votes, 0)
            patience = jnp.where(fewer, GRACE, patience - 1)
        return number + 1, patience, after

    def on(turn: tuple[Int, Int, Ahead]) -> Bool:
        number, patience, ahead = turn
        return (number < STEPS) & (patience > 0) & voted(ahead.votes, 0)

    return lax.while_loop(on, once, (jnp.int32(0), jnp.int32(STEPS), ahead))[-1]


def _voting(machine: Machine, ahead: Ahead) -> Ahead:
    """With the votes on the step to come: one wait for all of them."""
    flags = [bus.running(ahead.core) & _is_free(machine, ahead)]
    if ahead.code is not None:
        cpu = ahead.core.cpu
        signs = listing.portents(ahead.code[0], cpu.p)
        signs["far"] = ~listing.is_near(cpu.pc)
        flags += [signs[name] for name in _WANTS]
    return ahead._replace(votes=vote(flags))


def step(machine: Machine, tia: tias.Tia, base: Int, ahead: Ahead) -> Ahead:
    """One step of the CPU.

    Args:
      machine: the console.
      tia: as it was when the turn began.
      base: cycle at which the turn began.
      ahead: what the turn carries.
    """
    cart = machine.cart
    core = ahead.core._replace(tia=machines.with_seen(tia, ahead.seen))
    fixed = core.mapper is None
    if fixed:
        core = core._replace(mapper=cartridge.reset(cart))
    listed = ahead.code
    if machine.alone:
        listed = listing.ask(machine, core.cpu.pc, core.mapper)()
    elif listed is not None:
        guard = machine.guard.knowing(_WANTS, ahead.votes)
        machine = machine._replace(guard=guard)
    fetched = listing.fetch(machine, core, listed)
    if not machine.alone:
        after = _any_step(machine, core, fetched, base, ahead)
        return typed(_voting(machine, after), ahead)
    code, mapper = fetched
    # The last instruction of a frame cut short is not for the short way.
    starts = (core.cpu.queued == 0) & (core.executed < INSTRUCTIONS - 1)

    def shortly(kind: Bool, now: cpus.Instruction, otherwise: Callable) -> Ahead:
        short = plain.applies(core.cpu, kind, now, fixed) & starts
        return lax.cond(
            any_of(short),
            lambda: typed(_plain_step(machine, core, now, mapper, base, ahead), ahead),
            otherwise,
        )

    def aside() -> Ahead:
        now = cpus.aside(core.cpu, code, machine.memory.read)
        return shortly(
            code.is_aside,
            now,
            lambda: typed(_any_step(machine, core, fetched, base, ahead), ahead),
        )

    after = shortly(code.is_plain, cpus.plain(core.cpu, code), aside)
    return _voting(machine, after)


def _plain_step(
    machine: Machine,
    core: Any,
    now: cpus.Instruction,
    mapper: Any,
    base: Int,
    ahead: Ahead,
) -> Ahead:
    """The short way."""
    most, limit = INSTRUCTIONS - 1 - core.executed, base + _REACH
    cpu, out, done = plain.instruct(
        machine.cart,
        machine.memory,
        core.cpu,
        now,
        mapper,
        core.riot,
        machine.guard,
        most,
        limit,
    )
    register, after_read = out.address & 0x3F, jnp.int32(1)

    def write() -> tuple[tuple[Int, ...], Int, Bool, Bool]:
        found = _write(
            machine, core.tia, register, out.value, cpu.cycles, after_read, out.where
        )
        seen, halt, over, drawn = found
        note = machines.note(cpu.cycles, register, out.value)
        machine.notes.put(ahead.number, note, drawn | over)
        return seen, halt, over, drawn | over

    seen, halt, over, noted = machine.guard(
        out.where, write, (ahead.seen, 0, False, False)
    )
    after = ahead.core._replace(
        cpu=cpu._replace(cycles=cpu.cycles + halt),
        mapper=None if ahead.core.mapper is None else mapper,
        over=jnp.where(over, 1, core.over),
        executed=core.executed + done,
    )
    return ahead._replace(
        core=after,
        seen=seen,
        number=ahead.number + jnp.where(noted, 1, 0),
        last=jnp.where(out.where, cpu.cycles, ahead.last),
        current=ahead.current * 0,
    )


def _write(
    machine: Machine,
    tia: tias.Tia,
    register: Int,
    value: Int,
    cycles: Int,
    after_read: Int,
    where: Bool,
) -> tuple[tuple[Int, ...], Int, Bool, Bool]:
    """What the CPU sees at once of a write, and whether the beam has to know of it."""
    cart = machine.cart
    written, halt, over = tias.write(
        tia,
        register,
        value,
        cycles,
        after_read,
        cart.combs,
        cart.pal,
        where,
        machine.guard,
    )
    return machines.seen_of(written), halt, over, _is_drawn(register)


def _any_step(
    machine: Machine,
    core: Any,
    fetched: tuple[cpus.Code, Any],
    base: Int,
    ahead: Ahead,
) -> Ahead:
    """The way of all instructions."""
    cart, tia = machine.cart, core.tia

    def behind(address: Int, at: Int) -> Bool:
        # Collisions are the beam's; the other ports the CPU knows.
        late = beam.behind(tia, cart.first_line, cart.lines, 3 * at)
        late = (ahead.current == 0) & ((ahead.number > ahead.done) | late)
        return ((address & 15) < 8) & late

    turn = bus.instruct(
        cart,
        machine.table,
        machine.memory,
        core,
        fetched,
        machine.inputs,
        _is_free(machine, ahead),
        behind,
        guard=machine.guard,
        limit=base + _REACH,
    )
    # Asked for before the write, needed after it. A warp for each console has others
    # beside it to fill such waits.
    upcoming = lambda: None  # noqa: E731
    if not machine.alone:
        upcoming = listing.ask(machine, turn.cpu.pc, turn.mapper)
    cycles, register = turn.cpu.cycles, turn.address
    after_read = jnp.where(turn.pushing, 0, 1)

    def write() -> tuple[tuple[Int, ...], Int, Bool, Bool]:
        where = turn.to_tia
        return _write(machine, tia, register, turn.value, cycles, after_read, where)

    nothing = (ahead.seen, 0, False, False)
    seen, halt, over, drawn = machine.guard(turn.to_tia, write, nothing)
    last = jnp.where(turn.from_tia, turn.at, ahead.last)
    last = jnp.where(turn.to_tia, cycles, last)
    executed = turn.executed
    written_down = turn.to_tia & (drawn | over)
    # The picture of a frame cut short shows what the last access brought about.
    cut = (executed >= INSTRUCTIONS) & (turn.cpu.queued == 0) & ~over & (last >= 0)
    cut &= (turn.goes | turn.pushing) & (core.over == 0) & ~written_down
    noted = written_down | turn.waits | cut
    at = jnp.where(turn.waits, turn.at, cycles)
    port = jnp.where(turn.waits, tias.WAIT, jnp.where(cut, machines.LAST, register))
    machine.notes.put(ahead.number, machines.note(at, port, turn.value), noted)
    core = ahead.core._replace(
        cpu=turn.cpu._replace(cycles=cycles + halt),
        riot=turn.riot,
        mapper=None if ahead.core.mapper is None else turn.mapper,
        over=jnp.where(over, 1, core.over),
        executed=executed,
    )
    return Ahead(
        core,
        seen,
        ahead.number + jnp.where(noted, 1, 0),
        ahead.done,
        last,
        jnp.where(turn.waits, 1, ahead.waits),
        jnp.where(turn.goes | turn.pushing, 0, ahead.current),
        upcoming(),
        ahead.votes,
    )
