"""The console: CPU, TIA, RIOT and cartridge on one bus, run frame by frame.

`run_frame` is for one console; under `jax.vmap` all consoles take the steps of
`atari.bus` together until the last has finished its frame.

Example:
  >>> cart = cartridge.load(image)
  >>> state = jax.jit(run_frame)(cart, power_on(cart), neutral())
  >>> screen(state).shape
  (210, 160)
"""

import functools
from typing import Any, NamedTuple

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
)
from atari.bits import Bool, Int, Tree
from atari.bus import IDLE, Core, Inputs, choose, running, step
from atari.cartridge import Cartridge
from atari.tia import NEVER, WIDTH


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
    core = choose(goes_on, core, fresh)
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
        core, front, partial = choose(
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
        *[zero + IDLE] + [zero] * 5,
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
        *[zero + IDLE] + [zero] * 5,
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
