"""One frame of a batch of consoles as one Pallas kernel, a console a lane.

The chips are those of the other modules, to the last expression; only the order differs
in which a console's work is done. `console.step` moves CPU and beam together, which on
a GPU lets every lane pay for both at every step. Here the CPU of each lane runs ahead
and notes its writes to the TIA; then the beam of each lane catches up over what was
noted. A lane whose CPU reads a collision waits for its beam. Since the beam's way does
not depend on where it stops in between, all states and pictures are the same.

The kernel needs Pallas' Triton lowering; `available` says whether there is one.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax, numpy as jnp

from atari import beam, cartridge, console, cpu as cpus, tia as tias
from atari.bits import Bool, Guard, Int, typed
from atari.cartridge import Cartridge
from atari.console import INSTRUCTIONS, Core, Inputs, State

try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    pl = triton = None  # type: ignore[assignment]

LANES = 32
"""Consoles of one program: a warp, whose lanes share the branches they take."""

FEW = 1280
"""Consoles up to which each has a warp, and so branches, of its own."""

NOTES = 128
"""Steps of the CPU between two turns of the beam, and so the most writes noted."""

# A note is the write's cycle since the turn began, its register and its value.
_CYCLE, _REGISTER = 15, 8
_REACH = 1 << 14  # cycles after which no loop is skipped, so that a write's cycle fits
_LAST = tias.WAIT + 1  # stands for no register: the beam comes to the last access
_DROPPED = (tias.VSYNC, tias.WSYNC, 0x03, *range(0x15, 0x1B), *range(0x2D, 0x40))


def available() -> bool:
    """Whether this JAX can compile the kernel for a GPU."""
    return pl is not None


@dataclasses.dataclass(frozen=True)
class _Table:
    """A table in global memory that lanes index on their own."""

    ref: Any
    start: Any = 0

    def __getitem__(self, index: Int) -> Int:
        return triton.load(self.ref.at[self.start + index]).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class _Bytes:
    """All memory in one array: images, then RAM by address with lanes innermost."""

    ref: Any
    lanes: int
    image: Any  # where a lane's image begins, less RAM_SIZE
    ram: Any  # where a lane's RAM begins

    def read(self, index: Int) -> Int:
        in_ram = index < cartridge.RAM_SIZE
        at = jnp.where(in_ram, self.ram + index * self.lanes, self.image + index)
        return triton.load(self.ref.at[at]).astype(jnp.int32)

    def write(self, index: Int, value: Int, where: Bool) -> "_Bytes":
        at = self.ram + index * self.lanes
        triton.store(self.ref.at[at], value.astype(jnp.uint8), mask=where)
        return self


class _Ahead(NamedTuple):
    """What the CPU's turn carries."""

    core: Any  # a Core without its TIA, of which the CPU changes `seen`
    seen: tuple[Int, ...]
    number: Int  # of the next note
    last: Int  # cycle of the last access to the TIA, -1 before the first
    waits: Int  # for the beam
    current: Int  # the beam is where the CPU is


class _Behind(NamedTuple):
    """What the beam's turn carries."""

    tia: tias.Tia
    next: Int  # note


_SEEN = ("vblank", "vsync_end", "dump_end")


def _seen(tia: tias.Tia) -> tuple[Int, ...]:
    return tuple(getattr(tia, name) for name in _SEEN)


def _with(tia: tias.Tia, seen: tuple[Int, ...]) -> tias.Tia:
    return tia._replace(**dict(zip(_SEEN, seen, strict=True)))


def _without(core: Any, name: str) -> Any:
    return core._replace(**{name: None})


def _any(lanes: Bool) -> Bool:
    return jnp.where(lanes, 1, 0).max() > 0


def _guard(
    every: bool,
    where: Bool,
    make: Callable[[], Any],
    otherwise: Any,
    /,
    rare: bool = False,
) -> Any:
    """Branches around work that no lane wants: `every` such work, or rare work only."""
    if not (every or rare):
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

    return lax.cond(_any(where), made, lambda: otherwise)


def _can_go(core: Core, waits: Int) -> Bool:
    return (waits == 0) & console.running(core)


def _is_drawn(register: Int) -> Bool:
    """Whether the beam has to know of a write: a look in a bit mask of two words."""
    low, high = (
        sum(1 << (r % 32) for r in _DROPPED if r // 32 == half) for half in (0, 1)
    )
    words = np.array([low, high], np.uint32).view(np.int32)
    dropped = jnp.where(register < 32, int(words[0]), int(words[1]))
    return ((dropped >> (register & 31)) & 1) == 0


def _run_ahead(
    cart: Cartridge,
    table: Any,
    memory: "_Bytes",
    notes: "_Notes",
    tia: tias.Tia,
    base: Int,
    inputs: Inputs,
    guard: Guard,
    ahead: _Ahead,
) -> _Ahead:
    """One step of the CPU."""
    core = ahead.core._replace(tia=_with(tia, ahead.seen))
    if core.mapper is None:
        core = core._replace(mapper=cartridge.reset(cart))

    def behind(address: Int, at: Int) -> Bool:
        # Collisions are the beam's; the other ports the CPU knows.
        late = beam.behind(tia, cart.first_line, cart.lines, 3 * at)
        late = (ahead.current == 0) & ((ahead.number > 0) | late)
        return ((address & 15) < 8) & late

    free = ahead.waits == 0
    turn = console.instruct(
        cart,
        table,
        memory,
        core,
        inputs,
        free,
        behind,
        guard=guard,
        limit=base + _REACH,
    )
    cycles, register = turn.cpu.cycles, turn.address

    def write() -> tuple[tuple[Int, ...], Int, Bool, Bool]:
        written, halt, over = tias.write(
            core.tia,
            register,
            turn.value,
            cycles,
            jnp.where(turn.pushing, 0, 1),
            cart.combs,
            cart.pal,
            turn.to_tia,
            guard,
        )
        return _seen(written), halt, over, _is_drawn(register)

    seen, halt, over, drawn = guard(turn.to_tia, write, (ahead.seen, 0, False, False))
    last = jnp.where(turn.from_tia, turn.at, ahead.last)
    last = jnp.where(turn.to_tia, cycles, last)
    executed = turn.executed
    written_down = turn.to_tia & (drawn | over)
    # The picture of a frame cut short shows what the last access brought about.
    cut = (executed >= INSTRUCTIONS) & (turn.cpu.queued == 0) & ~over & (last >= 0)
    cut &= (turn.goes | turn.pushing) & (core.over == 0) & ~written_down
    noted = written_down | turn.waits | cut
    at = jnp.where(turn.waits, turn.at, cycles) - base
    port = jnp.where(turn.waits, tias.WAIT, jnp.where(cut, _LAST, register))
    note = (at << _CYCLE) | (port << _REGISTER) | (turn.value & 0xFF)
    notes.put(ahead.number, note, noted)
    core = ahead.core._replace(
        cpu=turn.cpu._replace(cycles=cycles + halt),
        riot=turn.riot,
        mapper=None if ahead.core.mapper is None else turn.mapper,
        over=jnp.where(over, 1, core.over),
        executed=executed,
    )
    after = _Ahead(
        core,
        seen,
        ahead.number + jnp.where(noted, 1, 0),
        last,
        jnp.where(turn.waits, 1, ahead.waits),
        jnp.where(turn.goes | turn.pushing, 0, ahead.current),
    )
    return typed(after, ahead)


def _catch_up(
    cart: Cartridge,
    notes: "_Notes",
    screen: "_Screen | None",
    base: Int,
    ahead: _Ahead,
    guard: Guard,
    state: _Behind,
) -> _Behind:
    """One window of the beam, and the write that waited for it."""
    tia, alive = state.tia, state.next < ahead.number
    note = notes.get(state.next, alive)
    register, value = (note >> _REGISTER) & 0x7F, note & 0xFF
    cycles = jnp.where(register == _LAST, ahead.last, base + (note >> _CYCLE))
    wait = register >= tias.WAIT
    due = jnp.where(wait, 3 * cycles, tias.due(tia, register, 3 * cycles, guard))
    target = jnp.where(alive, due, console.FAR)
    moved, pixels, there = beam.advance(tia, cart.first_line, cart.lines, target, guard)
    there &= alive
    if screen is not None:
        screen.put(pixels)

    def write() -> tias.Tia:
        written, _, _ = tias.write(
            moved, register, value, cycles, wait, cart.combs, cart.pal, there, guard
        )
        return written

    written = guard(there & ~wait, write, moved)
    return _Behind(typed(written, tia), state.next + jnp.where(there, 1, 0))


@dataclasses.dataclass(frozen=True)
class _Notes:
    """The writes noted, by number with lanes innermost."""

    ref: Any
    start: Any
    lanes: int

    def put(self, number: Int, note: Int, where: Bool) -> None:
        at = self.start + number * self.lanes
        triton.store(self.ref.at[at], note, mask=where)

    def get(self, number: Int, where: Bool) -> Int:
        at = self.start + number * self.lanes
        return triton.load(self.ref.at[at], mask=where, other=0)


@dataclasses.dataclass(frozen=True)
class _Screen:
    """The pictures being drawn, in words of four pixels."""

    ref: Any  # two a console
    picture: Int
    height: int

    def put(self, pixels: beam.Pixels) -> None:
        inside = pixels.row < self.height
        row = jnp.where(inside, pixels.row, 0)
        at = row * beam.WORDS + (pixels.column >> 2)

        def put(word: Int, none: Int) -> Int:
            nibble = (pixels.valid >> (4 * word).astype(jnp.uint32)) & 15
            partly = inside & (nibble != 0)
            here = self.ref.at[self.picture, at + word]
            old = triton.load(here, mask=partly & (nibble != 15), other=0)
            triton.store(here, beam.paint(pixels, word, old), mask=partly)
            return none

        words = beam.WINDOW // 4
        if inside.size > 1:
            # Code unrolled would be faster to run but slow to compile.
            lax.fori_loop(0, words, put, jnp.int32(0))
        else:
            put(jnp.arange(words, dtype=jnp.int32), jnp.int32(0))


class _Plan(NamedTuple):
    """What the kernel is compiled for."""

    known: tuple[int, ...] | None  # the cartridge's numbers, if all consoles share them
    images: int  # 1, or one a console
    height: int  # of the pictures; 0 draws none
    dpc: bool
    lanes: int  # consoles of a program


def _kernel(plan: _Plan, tree: Any, *refs: Any) -> None:
    """Runs a frame of a program's consoles."""
    table_ref, display_ref, _, _, _, memory_ref, pictures_ref, rows_ref, notes_ref = (
        refs
    )
    program = pl.program_id(0)
    within = jnp.arange(plan.lanes, dtype=jnp.int32)
    lane = program * plan.lanes + within
    image = lane if plan.images > 1 else lane * 0

    # One load in a loop: the compiler's time grows with the places that touch memory.
    def load(row: Int, values: tuple[Int, ...]) -> tuple[Int, ...]:
        loaded = triton.load(rows_ref.at[row, lane])
        return tuple(jnp.where(row == k, loaded, old) for k, old in enumerate(values))

    size = tree.num_leaves
    values = lax.fori_loop(0, size, load, (lane * 0,) * size)
    core, inputs, front, numbers = tree.unflatten(values)
    if plan.known is not None:
        numbers = [jnp.full(lane.shape, value, jnp.int32) for value in plan.known]
    rom: Any = None  # which is in memory
    display: Any = _Table(display_ref, image * 2048) if plan.dpc else None
    cart = Cartridge(rom, display, *numbers)
    memory = _Bytes(
        memory_ref,
        plan.lanes,
        image * cartridge.ROM_SIZE - cartridge.RAM_SIZE,
        plan.images * cartridge.ROM_SIZE
        + program * (cartridge.RAM_SIZE * plan.lanes)
        + within,
    )
    notes = _Notes(notes_ref, program * (NOTES * plan.lanes) + within, plan.lanes)
    screen = None
    if plan.height:
        screen = _Screen(pictures_ref, 2 * lane + front, plan.height)
    table = _Table(table_ref)
    guard = functools.partial(_guard, plan.lanes < LANES)

    mapper = core.mapper
    if cartridge.fixed(plan.known):
        core = _without(core, "mapper")

    def more(carry: tuple[Any, Int, Int]) -> Bool:
        core, _, waits = carry
        return _any(_can_go(core, waits) | (waits != 0))

    def turn(carry: tuple[Any, Int, Int]) -> tuple[Any, Int, Int]:
        core, last, waited = carry
        base = core.cpu.cycles
        zero = base * 0
        tia, seen = core.tia, _seen(core.tia)
        ahead = _Ahead(_without(core, "tia"), seen, zero, last, zero, waited)
        step = functools.partial(
            _run_ahead, cart, table, memory, notes, tia, base, inputs, guard
        )
        _, ahead = lax.while_loop(
            lambda c: (c[0] < NOTES) & _any(_can_go(c[1].core, c[1].waits)),
            lambda c: (c[0] + 1, step(c[1])),
            (jnp.int32(0), ahead),
        )
        window = functools.partial(_catch_up, cart, notes, screen, base, ahead, guard)
        behind = lax.while_loop(
            lambda s: _any(s.next < ahead.number), window, _Behind(tia, zero)
        )
        core = ahead.core._replace(tia=_with(behind.tia, ahead.seen))
        return core, ahead.last, ahead.waits

    core, *_ = lax.while_loop(more, turn, (core, lane * 0 - 1, lane * 0))
    core = core._replace(mapper=mapper if core.mapper is None else core.mapper)
    leaves = jax.tree.leaves(core)

    def store(row: Int, none: Int) -> Int:
        value = leaves[0]
        for k, leaf in enumerate(leaves):
            value = jnp.where(row == k, leaf, value)
        triton.store(rows_ref.at[row, lane], value)
        return none

    lax.fori_loop(0, len(leaves), store, jnp.int32(0))


def _pad(tree: Any, extra: int) -> Any:
    """The last console some more times."""

    def pad(leaf: jax.Array) -> jax.Array:
        return jnp.pad(leaf, ((0, extra),) + ((0, 0),) * (leaf.ndim - 1), "edge")

    return jax.tree.map(pad, tree)


def run(
    cart: Cartridge,
    state: State,
    inputs: Inputs,
    *,
    render: bool = True,
    known: tuple[int, ...] | None = None,
    interpret: bool = False,
) -> State:
    """Emulates a frame that has begun, for a batch of consoles.

    Args:
      cart: the cartridge, or one a console with a leading axis.
      state: the consoles; every leaf with a leading axis of B.
      inputs: controllers and switches, each int32[B].
      render: whether to draw the pictures.
      known: the cartridge's numbers, by `cartridge.known`, to compile the code for.
      interpret: run the kernel by Pallas' interpreter, on any device.

    Returns:
      The consoles at the end of the frame.
    """
    size = state.front.shape[0]
    lanes = 1 if size <= FEW else LANES
    extra = -size % lanes
    if extra:
        cart = cart if cart.rom.ndim == 1 else _pad(cart, extra)
        filled = run(
            cart,
            _pad(state, extra),
            _pad(inputs, extra),
            render=render,
            known=known,
            interpret=interpret,
        )
        return jax.tree.map(lambda leaf: leaf[:size], filled)
    programs = size // lanes
    images = 1 if cart.rom.ndim == 1 else size
    numbers = [getattr(cart, name) for name in cartridge.NUMBERS]
    if images > 1:
        known = None
    elif known is None:
        numbers = [jnp.broadcast_to(number, size) for number in numbers]
    plan = _Plan(
        known=known,
        images=images,
        height=state.screens.shape[2] if render else 0,
        dpc=cart.display is not None,
        lanes=lanes,
    )
    leaves, tree = jax.tree.flatten(
        (state.core, inputs, state.front, [] if known else numbers)
    )
    ram = state.ram.reshape(programs, lanes, cartridge.RAM_SIZE).swapaxes(1, 2)
    memory = jnp.concatenate([cart.rom.reshape(-1), ram.reshape(-1)])
    display = jnp.zeros(1, jnp.uint8) if cart.display is None else cart.display
    pictures = jnp.zeros((1, 1), jnp.int32)
    if render:
        pictures = state.screens.reshape(2 * size, -1)
    fixed = [cpus.decode_table(), display.reshape(-1)]
    changed = [memory, pictures, jnp.stack(leaves)]
    like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in changed]
    notes = jax.ShapeDtypeStruct((size * NOTES,), jnp.int32)
    memory, pictures, rows, _ = pl.pallas_call(
        functools.partial(_kernel, plan, tree),
        out_shape=[*like, notes],
        grid=(programs,),
        input_output_aliases={len(fixed) + i: i for i in range(len(changed))},
        compiler_params=triton.CompilerParams(num_warps=1),
        interpret=interpret,
        name="atari_frame",
    )(*fixed, *changed)
    ram = memory[cart.rom.size :].reshape(programs, cartridge.RAM_SIZE, lanes)
    ram = ram.swapaxes(1, 2).reshape(-1, cartridge.RAM_SIZE)
    core, *_ = jax.tree.unflatten(tree, list(rows))
    screens = pictures.reshape(state.screens.shape) if render else state.screens
    return state._replace(core=core, ram=ram, screens=screens)
