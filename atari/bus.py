"""One instruction of the console, with all that it reaches on the bus.

`step` is written once, on one console's integers, against a `Memory` that reads and
writes bytes; so is `instruct`, its part without the beam. Timing, undriven reads and
the rules of a frame are those of ALE 0.12, instruction by instruction.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import jax
from jax import numpy as jnp

from atari import (
    beam,
    cartridge,
    cpu as cpus,
    execution,
    riot as riots,
    tia as tias,
    waiting,
)
from atari.bits import Bool, Guard, Int, Settle, always, typed, unsettled
from atari.cartridge import Cartridge, Mapper
from atari.cpu import Cpu
from atari.riot import Riot
from atari.tia import Tia

INSTRUCTIONS = 25_000
"""Instructions after which a frame is cut short."""

IDLE = -1
"""No write is on its way to the TIA."""

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


def choose(where: Bool, new: Any, old: Any) -> Any:
    """The new tree, in the types of the old, or the old one."""
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
    table: Any,
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
      table: `cpu.decode_table()`.
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
    code = settle(cpus.turn(code, starts, pushing))
    now, mapper = cpus.aim(old_cpu, code, mapper, read, settle, guard)
    now, mapper = settle((now, mapper))
    at, address = old_cpu.cycles + now.cycles, now.address
    from_tia = now.reads & ((address & 0x1080) == 0)
    from_riot = now.reads & ((address & 0x1280) == 0x0280)

    def operand() -> tuple[Int, riots.Riot, Mapper, Bool, cpus.Instruction]:
        data, after = read(mapper, address, now.reads)
        dpc = after.dpc
        if dpc is not None:
            value, dpc, hit = cartridge.read_dpc(cart, dpc, address, at, now.reads)
            data, after = jnp.where(hit, value, data), after._replace(dpc=dpc)
        ports = (inputs.swcha, inputs.swchb)
        fire = (inputs.fire0, inputs.fire1)
        ohms = (inputs.ohms0, inputs.ohms1, inputs.ohms2, inputs.ohms3)

        def port() -> tuple[Int, riots.Riot, Bool, cpus.Instruction]:
            value, riot = riots.read(core.riot, address, at, *ports, from_riot)
            seen = tias.read(core.tia, address, now.noise, at, fire, ohms)
            value = jnp.where(from_tia, seen, value)
            late = from_tia & behind(address, at)
            # With the byte read above, which is so asked for before the branch.
            value = jnp.where(ported, value, data)
            return value, riot, late, cpus.cancel(now, late)

        ported = from_riot | from_tia
        value, riot, late, kept = guard(
            ported, port, (data, core.riot, False, now), rare="port"
        )
        return value, riot, after, late, kept

    nothing = (0, core.riot, mapper, False, now)
    data, riot, mapper, waits, now = guard(now.reads, operand, nothing)
    goes = starts & ~waits
    data, goes, waits, mapper, riot, now = settle(
        (data, goes, waits, mapper, riot, now)
    )

    cpu, out = execution.execute(old_cpu, now, data, pushing, table, guard)
    executed = core.executed + jnp.where(goes, 1, 0)
    # The dice of a DPC roll while code is read.
    if mapper.dpc is None:
        idles = goes & waiting.may_wait(now, cpu)
        most = jnp.where(idles, (INSTRUCTIONS - executed) >> 1, 0)
        here, waited = mapper, riot

        def peek(address: Int) -> Int:
            return memory.read(cartridge.locate(cart, here, address))

        at_branch = cpu
        cpu, turns = guard(
            idles,
            lambda: waiting.wait(now, at_branch, waited, peek, most, limit),
            (cpu, 0),
            rare="waiting",
        )
        executed += 2 * turns
    mapper = choose(goes, mapper, core.mapper)
    where = out.where
    cpu, out, mapper, riot = settle((cpu, out, mapper, riot))

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
    turn = instruct(cart, table, memory, core, fetched, inputs, free, behind, settle)
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
        port=jnp.where(there, IDLE, port),
        port_value=port_value,
        port_clock=due,
        port_after_read=after_read,
        over=jnp.where(over, 1, core.over),
        executed=turn.executed,
    )
    return turn.memory, typed(new, core), pixels
