"""One frame of a batch of consoles as one Pallas kernel, a console a lane.

The chips are those of the other modules, to the last expression; only the order differs
in which a console's work is done. `bus.step` moves CPU and beam together, which on
a GPU lets every lane pay for both at every step. Here the CPU of each lane runs ahead
and notes its writes to the TIA; then the beam of each lane catches up over what was
noted. A lane whose CPU reads a collision waits for its beam. Since the beam's way does
not depend on where it stops in between, all states and pictures are the same.

The kernel needs Pallas' Triton lowering; `available` says whether there is one.
"""

import functools
from typing import Any, NamedTuple

import jax
from jax import lax, numpy as jnp

from atari import cartridge, cpu as cpus
from atari.bits import Int
from atari.bus import Inputs
from atari.cartridge import Cartridge
from atari.console import State
from atari.kernels import ahead as aheads, behind, listing, machine as machines
from atari.kernels.machine import Backlog, Machine
from atari.kernels.memory import Bytes, ByteScreen, Notes, Rows, Screen, Table
from atari.kernels.votes import Branches, any_of
from atari.tia import Tia

try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    pl = triton = None  # type: ignore[assignment]

LANES = 32
"""Consoles of one program: a warp, whose lanes share the branches they take."""

FEW = 2112
"""Consoles up to which each has a warp, and so branches, of its own.

Registers let an H100 hold some 1,450 at a time.
"""


def available() -> bool:
    """Whether this JAX can compile the kernel for a GPU."""
    return pl is not None


class _Plan(NamedTuple):
    """What the kernel is compiled for."""

    known: tuple[int, ...] | None  # the cartridge's numbers, if all consoles share them
    images: int  # 1, or one a console
    height: int  # of the pictures; 0 draws none
    dpc: bool
    listed: bool  # whether there are `listing.instructions`
    lanes: int  # consoles of a program
    interpret: bool

    @property
    def notes(self) -> int:
        """Of a console."""
        return machines.NOTES_ALONE if self.lanes == 1 else machines.NOTES


def _kernel(plan: _Plan, tree: Any, *refs: Any) -> None:
    """Runs a frame of a program's consoles."""
    table_ref, display_ref, code_ref = refs[:3]
    memory_ref, pictures_ref, rows_ref, notes_ref = refs[-4:]
    program = pl.program_id(0)
    within = jnp.arange(plan.lanes, dtype=jnp.int32)
    lane = program * plan.lanes + within
    image = lane if plan.images > 1 else lane * 0

    # Visibly far from overflow, so that rows' offsets go into instructions.
    rows = Rows(rows_ref, lane & 0xFFFFFF)
    of_cpu, of_tia, of_backlog, _, others = tree.unflatten(range(tree.num_leaves))
    inputs, front, numbers = rows.load(others)
    if plan.known is not None:
        numbers = [jnp.full(lane.shape, value, jnp.int32) for value in plan.known]
    rom: Any = None  # which is in memory
    display: Any = Table(display_ref, image * 2048) if plan.dpc else None
    cart = Cartridge(rom, display, *numbers)
    memory = Bytes(
        memory_ref,
        plan.lanes,
        image * cartridge.ROM_SIZE - cartridge.RAM_SIZE,
        plan.images * cartridge.ROM_SIZE
        + program * (cartridge.RAM_SIZE * plan.lanes)
        + within,
    )
    first_note = program * (plan.notes * plan.lanes) + within
    notes = Notes(notes_ref, first_note, plan.lanes, plan.notes)
    screen: Any = None
    alone = plan.lanes == 1
    if plan.height:
        drawn = (pictures_ref, 2 * lane + front, plan.height)
        screen = ByteScreen(*drawn, plan.interpret) if alone else Screen(*drawn)
    guard = Branches(every=plan.lanes < LANES)
    table, code = Table(table_ref), None
    if plan.listed:
        code = Table(code_ref)
    machine = Machine(cart, table, code, memory, notes, inputs, guard, alone)

    # What the other chip's turn does not need stays in memory meanwhile: registers are
    # what bounds how many consoles a multiprocessor holds.
    seen_rows, unseen_rows = of_tia[: len(machines.SEEN)], of_tia[len(machines.SEEN) :]
    known_rows = of_tia[: len(machines.KNOWN)]
    unknown = (lane * 0,) * (len(of_tia) - len(machines.KNOWN))

    def turn(carry: tuple[Int, Int]) -> tuple[Int, Int]:
        state, last = carry
        core, known = rows.load((of_cpu, known_rows))
        backlog = rows.load(of_backlog)
        tia = Tia(*known, *unknown)
        seen = machines.seen_of(tia)
        ahead = aheads.start(machine, core, seen, backlog, last, state & 1)
        ahead = aheads.turn(machine, tia, ahead)
        goes = jnp.where(aheads.can_go(ahead.core, ahead.waits), 2, 0)
        tia = rows.load(of_tia)._replace(vblank=backlog.vblank)
        rows.store((of_cpu, seen_rows), (ahead.core, ahead.seen))
        tia, backlog = behind.turn(machine, screen, tia, ahead)
        rows.store(unseen_rows, tia[len(machines.SEEN) :])
        rows.store(of_backlog, backlog)
        return goes | ahead.waits, ahead.last

    state, last = lax.while_loop(
        lambda carry: any_of(carry[0] != 0), turn, (lane * 0 + 2, lane * 0 - 1)
    )
    # Triton's compiler stumbles over a loop of which nothing is used.
    notes.put(lane * 0, state + last, lane >= 0)


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
        # The dice of a DPC roll while code is read.
        listed=cart.display is None and cartridge.listed(known),
        lanes=lanes,
        interpret=interpret,
    )
    others = inputs, state.front, [] if known else numbers
    changes, mapper = machines.without(state.core, "tia"), None
    if cartridge.fixed(known):
        changes, mapper = machines.without(changes, "mapper"), state.core.mapper
    tia = state.core.tia
    backlog = Backlog(tia.row * 0, tia.row * 0, tia.vblank)
    leaves, tree = jax.tree.flatten((changes, tia, backlog, mapper, others))
    ram = state.ram.reshape(programs, lanes, cartridge.RAM_SIZE).swapaxes(1, 2)
    memory = jnp.concatenate([cart.rom.reshape(-1), ram.reshape(-1)])
    display = jnp.zeros(1, jnp.uint8) if cart.display is None else cart.display
    pictures = jnp.zeros((1, 1), jnp.int32)
    if render:
        pictures = state.screens
        if lanes == 1:
            pictures = lax.bitcast_convert_type(pictures, jnp.uint8)
        pictures = pictures.reshape(-1 if lanes == 1 else (2 * size, -1))
    code = jnp.zeros(1, jnp.int32)
    if plan.listed:
        code = listing.instructions(cart.rom, lanes == 1)
    fixed = [cpus.decode_table(), display.reshape(-1), code]
    changed = [memory, pictures, jnp.stack(leaves)]
    like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in changed]
    notes = jax.ShapeDtypeStruct((size * plan.notes,), jnp.int32)
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
    core, tia, _, mapper, _ = jax.tree.unflatten(tree, list(rows))
    core = core._replace(tia=tia, mapper=core.mapper if mapper is None else mapper)
    screens = state.screens
    if render:
        if lanes == 1:
            words = pictures.reshape(*screens.shape, 4)
            pictures = lax.bitcast_convert_type(words, jnp.int32)
        screens = pictures.reshape(screens.shape)
    return state._replace(core=core, ram=ram, screens=screens)
