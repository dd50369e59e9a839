"""The console: CPU, TIA, RIOT and cartridge on one bus, run frame by frame.

`step` is written once, on one console's integers, against a `Memory` that reads and
writes bytes. `run_frame` is for one console too; under `jax.vmap` all consoles step in
lock-step until the last has finished its frame. Timing, undriven reads and the rules
of a frame are those of ALE 0.12, instruction by instruction.

Example:
  >>> cart = cartridge.load(image)
  >>> state = jax.jit(run_frame)(cart, power_on(cart), neutral())
  >>> screen(state).shape
  (210, 160)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import jax
import numpy as np
from jax import lax, numpy as jnp

from atari import (
    batching,
    beam,
    cartridge,
    cpu as cpus,
    random,
    riot as riots,
    tia as tias,
    waiting,
)
from atari.bits import Bool, Guard, Int, Settle, Tree, always, typed, unsettled
from atari.cartridge import Cartridge, Mapper
from atari.cpu import Cpu
from atari.riot import Riot
from atari.tia import NEVER, WIDTH, Tia

INSTRUCTIONS = 25_000
"""Instructions after which a frame is cut short."""

_IDLE = -1  # no write on its way to the TIA
FAR = -(1 << 29)
"""A clock that the beam has long passed."""


class Memory(Protocol):
    """Bytes by physical index: RAM below `cartridge.RAM_SIZE`, then the image."""

    def read(self, index: Int) -> Int:
        """The byte, int32."""

    def write(self, index: Int, value: Int, where: Bool) -> Self:
        """The memory with one byte of RAM replaced, if `where`."""


class Inputs(NamedTuple):
    """Controllers and switches for one frame; every field is int32[]."""

    swcha: Int  # joystick directions, active low; left port in the high nibble
    swchb: Int  # switches: 1 reset, 2 select (both active low), 8 colour, 0x40, 0x80
    fire0: Int  # 1 pressed
    fire1: Int
    ohms0: Int  # paddles; 0 and tia.NEVER read as constants
    ohms1: Int
    ohms2: Int
    ohms3: Int


class Core(NamedTuple):
    """What a step changes besides memory and the screen."""

    cpu: Cpu
    tia: Tia
    riot: Riot
    mapper: Mapper
    port: Int  # TIA register to be written when the beam has come, or -1
    port_value: Int
    port_clock: Int  # when the beam is due
    port_after_read: Int
    over: Int  # the frame has ended
    executed: Int  # instructions in this frame


class State(NamedTuple):
    """One console. A copy of the pytree is a clone of the machine."""

    core: Core
    ram: jax.Array  # uint8[256]: the console's 128, then a Superchip's
    screens: jax.Array  # int32[2, H, 40], palette indices; the low byte is leftmost
    front: Int  # which of the two is drawn
    partial: Int  # the last frame was cut short


class _Bytes(NamedTuple):
    """Memory in two arrays."""

    ram: jax.Array
    rom: jax.Array

    def read(self, index: Int) -> Int:
        image = jnp.maximum(index - cartridge.RAM_SIZE, 0)
        in_ram = index < cartridge.RAM_SIZE
        ram = self.ram[jnp.where(in_ram, index, 0)]
        return jnp.where(in_ram, ram, self.rom[image]).astype(jnp.int32)

    def write(self, index: Int, value: Int, where: Bool) -> "_Bytes":
        here = (jnp.arange(self.ram.shape[-1]) == index) & where
        return self._replace(ram=jnp.where(here, value.astype(jnp.uint8), self.ram))


def neutral() -> Inputs:
    """Nothing pressed, colour, both difficulty switches at B, no paddles."""
    values = (0xFF, 0x3F, 0, 0, NEVER, NEVER, NEVER, NEVER)
    return Inputs(*[jnp.int32(value) for value in values])


def _choose(where: Bool, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(where, a, b).astype(b.dtype), new, old)


def running(core: Core) -> Bool:
    """Whether the frame still goes on."""
    more = (core.over == 0) & (core.executed < INSTRUCTIONS)
    return more | (core.port >= 0) | (core.cpu.queued != 0)


class Turn(NamedTuple):
    """What an instruction did, and what it writes to the TIA."""

    memory: Any
    cpu: Cpu
    riot: Riot
    mapper: Mapper
    at: Int  # cycle at which its operand is read
    goes: Bool  # an instruction was carried out
    executed: Int  # instructions, of this frame, with the turns of a waiting loop
    waits: Bool  # it wants to read what the beam has not come to, and is tried again
    pushing: Bool  # a queued byte was pushed instead
    from_tia: Bool
    to_tia: Bool
    address: Int
    value: Int


def reader(cart: Cartridge, memory: Any) -> cpus.Reader:
    """Reads a byte by address, which the mapper sees."""

    def read(mapper: Mapper, address: Int, where: Bool) -> tuple[Int, Mapper]:
        mapper = cartridge.touch(cart, mapper, address, where)
        return memory.read(cartridge.locate(cart, mapper, address)), mapper

    return read


def instruct(
    cart: Cartridge,
    memory: Any,
    core: Core,
    fetched: tuple[cpus.Code, Mapper],
    inputs: Inputs,
    free: Bool,
    behind: Callable[[Int, Int], Bool],
    settle: Settle = unsettled,
    guard: Guard = always,
    limit: Int | None = None,
) -> Turn:
    """Carries out one instruction, or pushes one queued byte.

    If that leads back into a loop that waits for the timer, so do its idle turns.

    Args:
      cart: the cartridge; `cart.rom` is not used.
      memory: a `Memory`.
      core: the machine's registers.
      fetched: the instruction, and the mapper after it was read.
      inputs: controllers and switches.
      free: whether the CPU is not stalled.
      behind: whether a read of the TIA at an address and a cycle must wait.
      settle: see `bits.Settle`.
      guard: see `bits.Guard`.
      limit: cycle beyond which no idle turn begins.
    """
    old_cpu = core.cpu
    pushing = free & (old_cpu.queued != 0)
    starts = free & (old_cpu.queued == 0)
    starts &= (core.over == 0) & (core.executed < INSTRUCTIONS)
    read = reader(cart, memory)
    code, mapper = fetched
    now, mapper = cpus.aim(old_cpu, code, mapper, read, settle, guard)
    now, mapper = settle((now, mapper))
    at, address = old_cpu.cycles + now.cycles, now.address
    from_tia = now.reads & ((address & 0x1080) == 0)
    from_riot = now.reads & ((address & 0x1280) == 0x0280)

    def operand() -> tuple[Int, riots.Riot, Mapper, Bool]:
        data, after = read(mapper, address, now.reads)
        dpc = after.dpc
        if dpc is not None:
            value, dpc, hit = cartridge.read_dpc(cart, dpc, address, at, now.reads)
            data, after = jnp.where(hit, value, data), after._replace(dpc=dpc)
        ports = (inputs.swcha, inputs.swchb)
        fire = (inputs.fire0, inputs.fire1)
        ohms = (inputs.ohms0, inputs.ohms1, inputs.ohms2, inputs.ohms3)

        def port() -> tuple[Int, riots.Riot, Bool]:
            value, riot = riots.read(core.riot, address, at, *ports, from_riot)
            seen = tias.read(core.tia, address, now.noise, at, fire, ohms)
            value = jnp.where(from_tia, seen, value)
            return value, riot, from_tia & behind(address, at)

        ported = from_riot | from_tia
        value, riot, late = guard(ported, port, (0, core.riot, False), rare=True)
        return jnp.where(ported, value, data), riot, after, late

    nothing = (0, core.riot, mapper, False)
    data, riot, mapper, late = guard(now.reads, operand, nothing)
    waits = starts & late
    goes = starts & ~waits
    data, goes, waits, mapper, riot = settle((data, goes, waits, mapper, riot))

    after, out = cpus.execute(old_cpu, now, data, guard)
    executed = core.executed + jnp.where(goes, 1, 0)
    # The dice of a DPC roll while code is read.
    if mapper.dpc is None:
        idles = goes & waiting.may_wait(now, after)
        most = jnp.where(idles, (INSTRUCTIONS - executed) >> 1, 0)
        here, waited = mapper, riot

        def peek(address: Int) -> Int:
            return memory.read(cartridge.locate(cart, here, address))

        at_branch = after
        after, turns = guard(
            idles,
            lambda: waiting.wait(now, at_branch, waited, peek, most, limit),
            (after, 0),
            rare=True,
        )
        executed += 2 * turns
    cpu = after
    pushed_cpu, pushed = guard(pushing, lambda: cpus.push(old_cpu), (old_cpu, out))
    cpu = _choose(goes, cpu, _choose(pushing, pushed_cpu, old_cpu))
    mapper = _choose(goes, mapper, core.mapper)
    riot = _choose(goes, riot, core.riot)
    out = _choose(pushing, pushed, out)
    where = (goes & out.where) | pushing
    cpu, out, where, mapper, riot = settle((cpu, out, where, mapper, riot))

    mapper = cartridge.touch(cart, mapper, out.address, where)
    if mapper.dpc is not None:
        dpc = cartridge.write_dpc(mapper.dpc, out.address, out.value, where)
        mapper = mapper._replace(dpc=dpc)
    index, is_ram = cartridge.written(cart, out.address)
    memory = memory.write(index, out.value, where & is_ram)
    to_riot = where & ((out.address & 0x1280) == 0x0280)
    kept, cycles = riot, cpu.cycles
    riot = guard(
        to_riot,
        lambda: riots.write(kept, out.address, out.value, cycles, to_riot),
        kept,
    )
    to_tia = where & ((out.address & 0x1080) == 0)
    return Turn(
        memory=memory,
        cpu=cpu,
        riot=riot,
        mapper=mapper,
        at=at,
        goes=goes,
        executed=executed,
        waits=waits,
        pushing=pushing,
        from_tia=goes & from_tia,
        to_tia=to_tia,
        address=out.address & 0x3F,
        value=out.value,
    )


def step(
    cart: Cartridge,
    table: jax.Array,
    memory: Any,
    core: Core,
    inputs: Inputs,
    settle: Settle = unsettled,
) -> tuple[Any, Core, beam.Pixels]:
    """One instruction, or one more window of pixels for a write that waits for them.

    The CPU stalls while a write to the TIA waits for the beam, which moves one window
    of 32 pixels a step. Nothing happens when the frame is over. Arguments as in
    `instruct`.
    """
    old_tia = core.tia

    def behind(address: Int, at: Int) -> Bool:
        # A read of the TIA is tried again when the beam has caught up.
        return beam.behind(old_tia, cart.first_line, cart.lines, 3 * at)

    read = reader(cart, memory)
    fetched = cpus.fetch(core.cpu, table, core.mapper, read, settle)
    free = core.port < 0
    turn = instruct(cart, memory, core, fetched, inputs, free, behind, settle)
    cpu, waits, to_tia = turn.cpu, turn.waits, turn.to_tia
    register, clock = turn.address, 3 * cpu.cycles
    port = jnp.where(to_tia, register, jnp.where(waits, tias.WAIT, core.port))
    due = jnp.where(waits, 3 * turn.at, core.port_clock)
    due = jnp.where(to_tia, tias.due(old_tia, register, clock), due)
    port_value = jnp.where(to_tia, turn.value, core.port_value)
    after_read = jnp.where(to_tia, jnp.where(turn.pushing, 0, 1), core.port_after_read)

    port, due, port_value, after_read = settle((port, due, port_value, after_read))
    target = jnp.where(port >= 0, due, FAR)
    tia, pixels, there = beam.advance(old_tia, cart.first_line, cart.lines, target)
    there &= port >= 0
    tia, pixels, there = settle((tia, pixels, there))
    tia, halt, over = tias.write(
        tia, port, port_value, cpu.cycles, after_read, cart.combs, cart.pal, there
    )
    new = Core(
        cpu=cpu._replace(cycles=cpu.cycles + halt),
        tia=tia,
        riot=turn.riot,
        mapper=turn.mapper,
        port=jnp.where(there, _IDLE, port),
        port_value=port_value,
        port_clock=due,
        port_after_read=after_read,
        over=jnp.where(over, 1, core.over),
        executed=turn.executed,
    )
    return turn.memory, typed(new, core), pixels


def _begin(cart: Cartridge, state: State) -> State:
    """Starts a frame, unless the last was cut short and goes on."""
    core = state.core
    cycles = core.cpu.cycles
    mapper = core.mapper
    if mapper.dpc is not None:
        dpc = mapper.dpc._replace(cycles=mapper.dpc.cycles - cycles)
        mapper = mapper._replace(dpc=dpc)
    fresh = core._replace(
        cpu=core.cpu._replace(cycles=cycles * 0),
        tia=tias.start_frame(core.tia, cycles, cart.first_line, cart.pal),
        riot=riots.rebase(core.riot, cycles),
        mapper=mapper,
    )
    goes_on = state.partial != 0
    core = _choose(goes_on, core, fresh)
    return state._replace(
        core=core._replace(over=core.over * 0, executed=core.executed * 0),
        front=jnp.where(goes_on, state.front, 1 - state.front),
    )


def _end(state: State) -> State:
    """Counts the lines of a whole frame.

    The reference darkens the lines that a frame cut short has not reached. There are
    none: 25,000 instructions last 657 lines or more.
    """
    core = state.core
    lines = (3 * core.cpu.cycles - core.tia.frame_start) // tias.LINE
    whole = core.over != 0
    tia = core.tia._replace(lines=jnp.where(whole, lines, core.tia.lines))
    zero = core.port * 0  # what has been written leaves no trace
    core = core._replace(
        tia=tia, port_value=zero, port_clock=zero, port_after_read=zero
    )
    return state._replace(core=core, partial=jnp.where(whole, 0, 1))


def _put(state: State, pixels: beam.Pixels) -> jax.Array:
    """The screens with a window of pixels in the one being drawn."""
    height = state.screens.shape[1]
    inside = pixels.row < height
    row = jnp.where(inside, pixels.row, 0)
    valid = jnp.where(inside, pixels.valid, jnp.uint32(0))
    pixels = pixels._replace(valid=valid)
    start = (state.front, row, pixels.column // 4)
    size = beam.WINDOW // 4
    old = lax.dynamic_slice(state.screens, start, (1, 1, size)).reshape(size)
    new = jnp.stack([beam.paint(pixels, i, old[i]) for i in range(size)])
    return lax.dynamic_update_slice(state.screens, new.reshape(1, 1, size), start)


def _advance(
    render: bool, alive: Bool, cart: Cartridge, state: State, inputs: Inputs
) -> State:
    """One step of a frame; `alive` is a True that the compiler cannot foresee."""

    def settle(tree: Tree) -> Tree:
        # XLA's CPU compiler would fuse all that leads to a value into the loop that
        # makes it, and so repeat most of the step for each of a hundred values. It does
        # not look through a conditional. On a GPU a conditional asks the host.
        kept = lambda t: lax.cond(alive, lambda u: u, _zeros, t)  # noqa: E731
        return lax.platform_dependent(tree, cpu=kept, default=lambda t: t)

    memory = _Bytes(state.ram, cart.rom)
    table = cpus.decode_table()
    memory, core, pixels = step(cart, table, memory, state.core, inputs, settle)
    screens = _put(state, pixels) if render else state.screens
    return state._replace(core=core, ram=memory.ram, screens=screens)


def _zeros(tree: Tree) -> Tree:
    return jax.tree.map(jnp.zeros_like, tree)


def _axis(cart: Cartridge) -> int | None:
    """The batch axis of a cartridge: none if all consoles share it."""
    return None if cart.rom.ndim == 1 else 0


def _loop(render: bool, cart: Cartridge, state: State, inputs: Inputs) -> State:
    """The steps of a frame for a batch of consoles, until the last is at its end."""
    go = jax.vmap(functools.partial(_advance, render), (None, _axis(cart), 0, 0))
    return lax.while_loop(
        lambda s: running(s.core).any(),
        lambda s: go(s.core.executed.max() >= 0, cart, s, inputs),
        state,
    )


_backend = "auto"


def set_backend(name: str) -> None:
    """Chooses what emulates the frames of functions that are compiled from now on.

    Args:
      name: "lax", "pallas" (the kernel), "interpret" (the kernel, by the interpreter),
        or "auto": the kernel on a GPU with Pallas' Triton lowering, else lax.

    Raises:
      ValueError: unknown name, or no Pallas in this JAX.
    """
    global _backend
    if name not in ("auto", "lax", "pallas", "interpret"):
        raise ValueError(f"backend {name!r}: give auto, lax, pallas or interpret")
    if name in ("pallas", "interpret") and not _kernels().available():
        raise ValueError(f"backend {name!r}: this JAX has no Triton lowering of Pallas")
    _backend = name


def _kernels() -> Any:
    from atari.kernels import frame  # which is built on this module

    return frame


def _frames(
    render: bool,
    known: tuple[int, ...] | None,
    backend: str,
    cart: Cartridge,
    state: State,
    inputs: Inputs,
) -> State:
    """The steps of a frame for a batch, by the kernel where there is one."""
    loop = functools.partial(_loop, render)
    if backend == "lax" or (backend == "auto" and jax.default_backend() != "gpu"):
        return loop(cart, state, inputs)
    kernels = _kernels()
    interpret = backend == "interpret"
    kernel = functools.partial(
        kernels.run, render=render, known=known, interpret=interpret
    )
    if backend != "auto":
        return kernel(cart, state, inputs)
    if not kernels.available():
        return loop(cart, state, inputs)
    return lax.platform_dependent(cart, state, inputs, cuda=kernel, default=loop)


@functools.cache
def _runner(render: bool, known: tuple[int, ...] | None, backend: str) -> Any:
    """`run_frame` with a rule for vmap that keeps the loop's condition a scalar.

    A loop whose condition is batched would copy every screen at every step.
    """

    @jax.custom_batching.custom_vmap
    def single(cart: Cartridge, state: State, inputs: Inputs, active: Bool) -> State:
        one = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)  # noqa: E731
        out = batch(cart, one(state), one(inputs), active[None])
        return jax.tree.map(lambda leaf: leaf[0], out)

    def batch(cart: Cartridge, state: State, inputs: Inputs, active: Bool) -> State:
        old = state
        state = jax.vmap(_begin, (_axis(cart), 0))(cart, state)
        over = jnp.where(active, state.core.over, 1)
        state = state._replace(core=state.core._replace(over=over))
        state = _frames(render, known, backend, cart, state, inputs)
        state = jax.vmap(_end)(state)
        # Memory and pictures of those that stand still have not been touched.
        core, front, partial = _choose(
            active,
            (state.core, state.front, state.partial),
            (old.core, old.front, old.partial),
        )
        return state._replace(core=core, front=front, partial=partial)

    @functools.cache
    def batched(one_cart: bool) -> Any:
        @jax.custom_batching.custom_vmap
        def many(cart: Cartridge, state: State, inputs: Inputs, active: Bool) -> State:
            return batch(cart, state, inputs, active)

        @many.def_vmap
        def _(size: int, has: list, cart: Cartridge, *rest: Any) -> Any:
            # Two batch axes are one.
            joins = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
            one = one_cart and not any(jax.tree.leaves(has[0]))
            inner = rest[0].front.shape[1 if has[1].front else 0]
            if not one:
                cart = batching.lead(cart, has[0], size)
                if one_cart:
                    cart = jax.tree.map(
                        lambda leaf: jnp.repeat(leaf[:, None], inner, 1), cart
                    )
                cart = jax.tree.map(joins, cart)
            joined = [
                jax.tree.map(joins, batching.lead(tree, axes, size))
                for tree, axes in zip(rest, has[1:], strict=True)
            ]
            state = batched(one)(cart, *joined)
            split = lambda leaf: leaf.reshape(size, inner, *leaf.shape[1:])  # noqa: E731
            out = jax.tree.map(split, state)
            return out, jax.tree.map(lambda _: True, out)

        return many

    @single.def_vmap
    def _(size: int, has: list, cart: Cartridge, *rest: Any) -> Any:
        one = not any(jax.tree.leaves(has[0]))
        cart = cart if one else batching.lead(cart, has[0], size)
        led = [
            batching.lead(tree, axes, size)
            for tree, axes in zip(rest, has[1:], strict=True)
        ]
        out = batched(one)(cart, *led)
        return out, jax.tree.map(lambda _: True, out)

    return single


def run_frame(
    cart: Cartridge,
    state: State,
    inputs: Inputs,
    render: bool = True,
    active: Bool | bool = True,
) -> State:
    """Emulates one frame: until VSYNC ends, too many lines, or 25,000 instructions.

    Args:
      cart: the cartridge.
      state: the console.
      inputs: controllers and switches during the frame.
      render: whether to draw the picture (static). Objects collide all the same.
      active: bool[]; where it is False the console stands still.

    Returns:
      The console after the frame; see `screen` and `ram`.
    """
    known = cartridge.known(cart)
    active = jnp.asarray(active)
    return _runner(render, known, _backend)(cart, state, inputs, active)


def power_on(cart: Cartridge, height: int | None = None) -> State:
    """A console just switched on, with the reference's random RAM and timer.

    Args:
      cart: the cartridge.
      height: rows of the screen buffers; by default the cartridge's `lines`, which
        must then be concrete. Consoles of one batch need one height.
    """
    height = int(cart.lines) if height is None else height
    first = random.draws(1)
    zero = cart.start * 0
    reset_vector = zero
    core = Core(
        cpus.reset(reset_vector),
        tias.reset(zero),
        riots.reset(zero + int(first.timer[0])),
        cartridge.reset(cart),
        *[zero + _IDLE] + [zero] * 5,
    )
    state = State(
        core=core,
        ram=jnp.asarray(np.concatenate([first.ram, np.zeros(128, np.uint8)])),
        screens=jnp.zeros((2, height, beam.WORDS), jnp.int32),
        front=zero,
        partial=zero,
    )
    return system_reset(cart, state, core.riot.timer)


def system_reset(
    cart: Cartridge, state: State, timer: Int, superchip: jax.Array | None = None
) -> State:
    """Resets the chips, as by the console's power switch but with RAM kept.

    Args:
      cart: the cartridge.
      state: the console.
      timer: value in which the RIOT's timer wakes up, int32[]; `random.draws` has the
        reference's.
      superchip: uint8[128] that cartridge RAM wakes up with; None keeps what it has.
    """
    core = state.core
    zero = core.port * 0
    timer = jnp.asarray(timer, jnp.int32)
    mapper = cartridge.reset(cart, core.mapper)
    memory = _Bytes(state.ram, cart.rom)
    always = zero == 0

    def read(address: int) -> Int:
        nonlocal mapper
        mapper = cartridge.touch(cart, mapper, zero + address, always)
        return memory.read(cartridge.locate(cart, mapper, zero + address))

    low, high = read(0xFFFC), read(0xFFFD)
    ram = state.ram
    if superchip is not None:
        extra = jnp.where(cart.superchip != 0, superchip, ram[128:])
        ram = ram.at[128:].set(extra)
    tia = tias.reset(zero)
    core = Core(
        cpus.reset(low | (high << 8)),
        tia,
        riots.reset(timer),
        mapper,
        *[zero + _IDLE] + [zero] * 5,
    )
    # A frame that was cut short goes on after the reset, from the buffer's top.
    return state._replace(core=core, ram=ram, screens=jnp.zeros_like(state.screens))


def screen(state: State) -> jax.Array:
    """The picture: palette indices, uint8[H, 160]."""
    return pixels(state.screens[state.front])


def pixels(words: jax.Array) -> jax.Array:
    """Palette indices, uint8[..., 160], of words of four, int32[..., 40]."""
    lanes = lax.bitcast_convert_type(words, jnp.uint8)
    return lanes.reshape(*words.shape[:-1], WIDTH)


def ram(state: State) -> jax.Array:
    """The console's RAM, uint8[128]."""
    return state.ram[:128]
