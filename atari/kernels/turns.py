"""Turns of the CPU and of the beam, of which the kernel's frame is made."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax, numpy as jnp

from atari import beam, bus, cartridge, cpu as cpus, plain, tia as tias, waiting
from atari.bits import Bool, Int, typed
from atari.bus import INSTRUCTIONS, Core, Inputs
from atari.cartridge import Cartridge
from atari.kernels import strips
from atari.kernels.memory import Bytes, Notes

NOTES, NOTES_ALONE = 256, 512
"""The most writes noted of a console, a power of two; few where many share a cache."""

STEPS = 512
"""The most steps of the CPU between two turns of the beam, so that cycles fit."""

GRACE = 32
"""Steps that the CPUs of other lanes take after one has to wait for the beam.

Lanes that play alike come to the same place together, and then wait together.
"""

CROWD = 12
"""Lanes too few for the beam to go on: what they have noted can wait."""

# A note is the last bits of the write's cycle, its register and its value.
_CYCLE, _REGISTER = 15, 8
_REACH = 1 << 14  # cycles after which no loop is skipped, so that a write's cycle fits
_OLD = 1 << 16  # cycles after which a note cannot wait, so that its own are told
_SLACK = 16  # cycles by which the CPU has not come to what it wants to read
_FIELD, _FIELDS = 6, 5  # bits in which 32 lanes are counted, and such fields in a word
_EVERY = (1 << _FIELD) - 1
# What lanes vote on: rare work of a step of the CPU, and of a window.
_WANTS = (("far",), ("jump",), ("odd",), ("waiting",))
_SHOWS = (("restarted",), ("star", "stretched"), ("missiles",), ("copies",), ("ball",))
_SIGNS = 24  # first bit of an instruction's portents in its word
_LAST = tias.WAIT + 1  # stands for no register: the beam comes to the last access
_DROPPED = (tias.VSYNC, tias.WSYNC, 0x03, *range(0x15, 0x1B), *range(0x2D, 0x40))


class Machine(NamedTuple):
    """A program's consoles, but for what changes."""

    cart: Cartridge
    table: Any  # a `Table`, to which the CPU is an array
    code: Any  # a `Table` of `instructions`, or None
    memory: Bytes
    notes: Notes
    inputs: Inputs
    guard: "Branches"
    alone: bool  # one console only, which takes branches of its own


class Ahead(NamedTuple):
    """What the CPU's turn carries."""

    core: Any  # a Core without its TIA, of which the CPU changes `seen`
    seen: tuple[Int, ...]
    number: Int  # of the next note
    done: Int  # those before this one the beam has come to
    last: Int  # cycle of the last access to the TIA, -1 before the first
    waits: Int  # for the beam
    current: Int  # the beam is where the CPU is
    code: Any  # what `_ask` found at PC; None if nothing is listed, or alone
    votes: tuple[Int, ...]  # on whether it goes on, and on `_WANTS` unless alone


class Backlog(NamedTuple):
    """What stays between turns of writes that the beam has not come to."""

    number: Int  # of the next note
    done: Int  # those before this one the beam has come to
    vblank: Int  # where the beam is


class Behind(NamedTuple):
    """What the beam's turn carries."""

    tia: tias.Tia
    next: Int  # number of the note that waits for the beam
    note: Int  # that note
    strips: Any  # `Strips` still to be drawn, if consoles are alone
    held: Int  # what `Screen.put` holds back, otherwise
    crowd: Int  # lanes for which the beam goes on
    votes: tuple[Int, ...]  # on whether it is late, and on `_SHOWS` unless alone


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


def any_of(lanes: Bool) -> Bool:
    """Whether a flag holds in any lane, as one bool."""
    return jnp.where(lanes, 1, 0).max() > 0


def vote(flags: Sequence[Bool]) -> tuple[Int, ...]:
    """How many lanes have each flag, for `voted`: five flags a word, by one sum."""

    def word(some: Sequence[Bool]) -> Int:
        fields = [jnp.where(f, 1 << (_FIELD * k), 0) for k, f in enumerate(some)]
        return sum(fields[1:], fields[0]).sum()

    return tuple(word(flags[i : i + _FIELDS]) for i in range(0, len(flags), _FIELDS))


def count(votes: tuple[Int, ...], number: int) -> Int:
    """How many lanes have the flag of this number, if there are several flags."""
    return (votes[number // _FIELDS] >> (_FIELD * (number % _FIELDS))) & _EVERY


def voted(votes: tuple[Int, ...], number: int) -> Bool:
    """Whether any lane has the flag of this number, as one bool."""
    return (votes[number // _FIELDS] & (_EVERY << (_FIELD * (number % _FIELDS)))) != 0


@dataclasses.dataclass(frozen=True)
class Branches:
    """A `Guard`: branches around work that no lane wants."""

    every: bool  # such work, not only what is rare
    known: Mapping[str, Bool] = dataclasses.field(default_factory=dict)
    """Whether any lane wants rare work of a name, where that is known already."""

    def __call__(
        self,
        where: Bool,
        make: Callable[[], Any],
        otherwise: Any,
        /,
        rare: str = "",
    ) -> Any:
        """See `Guard`."""
        if not (self.every or rare):
            return make()

        def full(leaf: Any) -> jax.Array:
            if isinstance(leaf, bool):
                return jnp.full(where.shape, leaf, jnp.bool_)
            dtype = jnp.int32 if isinstance(leaf, int) else leaf.dtype
            return jnp.broadcast_to(jnp.asarray(leaf, dtype), where.shape)

        otherwise = jax.tree.map(full, otherwise)

        def made() -> Any:
            return jax.tree.map(
                lambda new, old: jnp.broadcast_to(new, old.shape).astype(old.dtype),
                make(),
                otherwise,
            )

        some = self.known[rare] if rare in self.known else any_of(where)
        return lax.cond(some, made, lambda: otherwise)

    def knowing(
        self, names: Sequence[tuple[str, ...]], votes: tuple[Int, ...]
    ) -> "Branches":
        """With votes on some names, which begin with the second."""
        known = {
            name: voted(votes, 1 + number)
            for number, some in enumerate(names)
            for name in some
        }
        return dataclasses.replace(self, known=known)


def can_go(core: Core, waits: Int) -> Bool:
    """Whether the CPU has something to do."""
    return (waits == 0) & bus.running(core)


def _is_drawn(register: Int) -> Bool:
    """Whether the beam has to know of a write: a look in a bit mask of two words."""
    low, high = (
        sum(1 << (r % 32) for r in _DROPPED if r // 32 == half) for half in (0, 1)
    )
    words = np.array([low, high], np.uint32).view(np.int32)
    dropped = jnp.where(register < 32, int(words[0]), int(words[1]))
    return ((dropped >> (register & 31)) & 1) == 0


def run_ahead(machine: Machine, tia: tias.Tia, base: Int, ahead: Ahead) -> Ahead:
    """One step of the CPU.

    Args:
      machine: the console.
      tia: as it was when the turn began.
      base: cycle at which the turn began.
      ahead: what the turn carries.
    """
    cart = machine.cart
    core = ahead.core._replace(tia=with_seen(tia, ahead.seen))
    fixed = core.mapper is None
    if fixed:
        core = core._replace(mapper=cartridge.reset(cart))
    listed = ahead.code
    if machine.alone:
        listed = _ask(machine, core.cpu.pc, core.mapper)()
    elif listed is not None:
        guard = machine.guard.knowing(_WANTS, ahead.votes)
        machine = machine._replace(guard=guard)
    fetched = _fetch(machine, core, listed)
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
    code = None if machine.alone else _ask(machine, core.cpu.pc, mapper)()
    number, done = backlog.number, backlog.done
    ahead = Ahead(core, seen, number, done, last, zero, current, code, ())
    return _voting(machine, ahead)


def cpu_turn(machine: Machine, tia: tias.Tia, ahead: Ahead) -> Ahead:
    """Steps of the CPU, until the beam is to move; arguments as in `run_ahead`."""
    base = ahead.core.cpu.cycles

    def step(turn: tuple[Int, Int, Ahead]) -> tuple[Int, Int, Ahead]:
        number, patience, before = turn
        after = run_ahead(machine, tia, base, before)
        if not machine.alone:
            fewer = count(after.votes, 0) < count(before.votes, 0)
            patience = jnp.where(fewer, GRACE, patience - 1)
        return number + 1, patience, after

    def on(turn: tuple[Int, Int, Ahead]) -> Bool:
        number, patience, ahead = turn
        return (number < STEPS) & (patience > 0) & voted(ahead.votes, 0)

    return lax.while_loop(on, step, (jnp.int32(0), jnp.int32(STEPS), ahead))[-1]


def _voting(machine: Machine, ahead: Ahead) -> Ahead:
    """With the votes on the step to come: one wait for all of them."""
    goes = can_go(ahead.core, ahead.waits)
    if not machine.alone:
        goes &= ahead.number - ahead.done < machine.notes.most
    flags = [goes]
    if ahead.code is not None:
        cpu, word = ahead.core.cpu, ahead.code[0]
        signs = [((word >> (_SIGNS + k)) & 1) != 0 for k in range(4)]
        jumps, odd, tens, waits = signs
        odd |= tens & ((cpu.p & cpus.DECIMAL) != 0)
        flags += [~_is_near(cpu.pc), jumps, odd, waits]
    return ahead._replace(votes=vote(flags))


def instructions(rom: jax.Array, alone: bool) -> jax.Array:
    """What begins at each byte of an image, for `_fetch`.

    A word of its bytes and portents, int32[ROM_SIZE]; if consoles are alone followed by
    the words of its opcode, so that all look-ups are made at once. The caches of many
    consoles would rather hold other things.
    """
    byte = rom.astype(jnp.int32)
    words = cpus.look_up(cpus.decode_table(), byte)
    word = cpus.joined(words, byte, jnp.roll(byte, -1), jnp.roll(byte, -2))
    code = cpus.Code(words, word)
    signs = cpus.portents(code)
    some = (signs["jump"], signs["odd"], signs["tens"], waiting.polls(code))
    for k, sign in enumerate(some):
        word |= jnp.where(sign, 1 << (_SIGNS + k), 0)
    return jnp.concatenate([word, *words]) if alone else word


def _is_near(pc: Int) -> Bool:
    """Whether what is listed for a PC holds."""
    return ((pc & 0x1000) != 0) & ((pc & 0xFFF) < cartridge.SWITCHES)


def _ask(machine: Machine, pc: Int, mapper: Any) -> Callable[[], Any]:
    """Asks for what is listed for a PC, which comes from far.

    As if it were in ROM: what is found for code elsewhere is not used.

    Returns:
      A function that gives the words, those of `instructions`; or None if nothing is
      listed.
    """
    if machine.code is None:
        return lambda: None
    at = cartridge.locate(machine.cart, mapper, pc | 0x1000) - cartridge.RAM_SIZE
    word, size = machine.code[at], cartridge.ROM_SIZE
    if machine.alone:
        words = word, machine.code[at + size], machine.code[at + 2 * size]
        return lambda: words
    return lambda: (word, *cpus.look_up(machine.table, word & 0xFF))


def _fetch(machine: Machine, core: Any, listed: Any) -> tuple[cpus.Code, Any]:
    """`cpu.fetch`, from what is listed where no access switches banks."""
    cart, cpu, mapper = machine.cart, core.cpu, core.mapper

    def fetch() -> tuple[cpus.Code, Any]:
        read = bus.reader(cart, machine.memory)
        return cpus.fetch(cpu, machine.table, mapper, read, guard=machine.guard)

    if listed is None:
        return fetch()
    near = _is_near(cpu.pc)
    quick = cpus.Code(listed[1:], listed[0]), mapper
    return machine.guard(
        ~near, lambda: bus.choose(near, quick, fetch()), quick, rare="far"
    )


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
        note = _note(cpu.cycles, register, out.value)
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
    return seen_of(written), halt, over, _is_drawn(register)


def _note(cycle: Int, register: Int, value: Int) -> Int:
    return (cycle << _CYCLE) | (register << _REGISTER) | (value & 0xFF)


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
        ahead.waits == 0,
        behind,
        guard=machine.guard,
        limit=base + _REACH,
    )
    # Asked for before the write, needed after it. A warp for each console has others
    # beside it to fill such waits.
    upcoming = lambda: None  # noqa: E731
    if not machine.alone:
        upcoming = _ask(machine, turn.cpu.pc, turn.mapper)
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
    port = jnp.where(turn.waits, tias.WAIT, jnp.where(cut, _LAST, register))
    machine.notes.put(ahead.number, _note(at, port, turn.value), noted)
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
    register, value = (note >> _REGISTER) & 0x7F, note & 0xFF
    cycles = jnp.where(register == _LAST, ahead.last, _cycle(ahead, note))
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


def _cycle(ahead: Ahead, note: Int) -> Int:
    """That of a write noted."""
    now = ahead.core.cpu.cycles + _SLACK
    return now - ((now - (note >> _CYCLE)) & ((1 << (32 - _CYCLE)) - 1))


def _showing(machine: Machine, ahead: Ahead, most: Int, state: Behind) -> Behind:
    """With the votes on the window to come: one wait for all of them."""
    flags = [state.next < ahead.number]
    if not machine.alone:
        register = (state.note >> _REGISTER) & 0x7F
        signs = beam.portents(state.tia)
        signs["restarted"] = (register == tias.RESP0) | (register == tias.RESP1)
        signs["stretched"] |= signs["star"]
        flags += [signs[names[-1]] for names in _SHOWS]
        flags += [ahead.number - state.next > most]
    return state._replace(votes=vote(flags))


def beam_turn(
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
    old = ahead.core.cpu.cycles - _cycle(ahead, note) > _OLD
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
