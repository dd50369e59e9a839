"""A short way for an instruction that needs registers, RAM and fixed ROM alone.

It may store to the TIA as well. Nine of ten instructions are of this kind, and of the
others half are but for a pointer, a byte on the stack or a jump.
`bus.instruct` does the same and all else; where consoles can take branches of
their own, this is the quicker way.
"""

from typing import Any

from jax import numpy as jnp

from atari import cartridge, execution, waiting
from atari.bits import Bool, Guard, Int
from atari.cartridge import Cartridge, Mapper
from atari.cpu import Cpu, Instruction
from atari.execution import Outcome
from atari.riot import Riot


def applies(cpu: Cpu, kind: Bool, now: Instruction, fixed: bool) -> Bool:
    """Whether an instruction is of this kind.

    Args:
      cpu: registers.
      kind: whether its bytes are: `Code.is_plain` or `Code.is_aside`.
      now: what `cpu.plain` or `cpu.aside` makes of them.
      fixed: whether no access to ROM changes the mapper.
    """
    reaches = (now.address & 0x1280) == 0x80
    reaches |= ((now.address & 0x1080) == 0) & ~now.reads
    if fixed:
        reaches |= ((now.address & 0x1000) != 0) & ~now.writes
    even = kind & ~execution.is_odd(cpu, now)
    return even & (reaches | ~(now.reads | now.writes))


def instruct(
    cart: Cartridge,
    memory: Any,
    cpu: Cpu,
    now: Instruction,
    mapper: Mapper,
    riot: Riot,
    guard: Guard,
    most: Int,
    limit: Int,
) -> tuple[Cpu, Outcome, Int]:
    """Carries out one instruction, and the idle turns of a loop that it leads back to.

    Args:
      cart: the cartridge.
      memory: a `bus.Memory`.
      cpu: registers.
      now: the instruction, of which `applies` holds.
      mapper: after its bytes were read.
      riot: the timer, for the loop.
      guard: see `bits.Guard`.
      most: instructions at most, one or more.
      limit: cycle beyond which no idle turn begins.

    Returns:
      Registers, what is stored in the TIA, and how many instructions were carried out.
    """

    def peek(address: Int) -> Int:
        return memory.read(cartridge.locate(cart, mapper, address))

    data = guard(now.reads, lambda: peek(now.address), 0)
    after, out = execution.execute(cpu, now, data)
    in_ram = (out.address & 0x80) != 0
    memory.write(out.address & 0x7F, out.value, out.where & in_ram)
    out = out._replace(where=out.where & ~in_ram)
    if mapper.dpc is not None:  # whose dice roll while code is read
        return after, out, jnp.ones_like(most)
    after, turns = guard(
        waiting.may_wait(now, after),
        lambda: waiting.wait(now, after, riot, peek, (most - 1) >> 1, limit),
        (after, 0),
        rare="waiting",
    )
    return after, out, 1 + 2 * turns
