"""Loops that wait for the RIOT's timer, of which all turns but the last are alike.

Games spend a fifth of a frame in `loop: LDA INTIM; BNE loop` and its kin. While the
timer runs, a turn changes nothing but time, the register loaded and two flags, so any
number of turns can be made at once, exactly.
"""

from collections.abc import Callable

from jax import numpy as jnp

from atari.bits import Bool, Int, quotient
from atari.cartridge import SWITCHES
from atari.cpu import NEGATIVE, ZERO, Code, Cpu, Instruction
from atari.riot import Riot

_BACK = 0xFB  # from behind the branch to before the load
_LDA, _LDX, _LDY = 0xAD, 0xAE, 0xAC  # absolute


def leads_back(code: Code | Instruction, operand: Int) -> Bool:
    """Whether an instruction is a BNE or BPL that leads back to a load before it."""
    return (code.field("polls") != 0) & (operand == _BACK)


def may_wait(now: Instruction, cpu: Cpu) -> Bool:
    """Whether an instruction was a BNE or BPL that led back to a load before it.

    Args:
      now: the instruction.
      cpu: registers after it.
    """
    return leads_back(now, now.immediate) & (cpu.pc != now.next)


def wait(
    now: Instruction,
    cpu: Cpu,
    riot: Riot,
    read: Callable[[Int], Int],
    most: Int,
    limit: Int | None,
) -> tuple[Cpu, Int]:
    """Makes the turns of a loop in which the timer does not run out.

    Args:
      now: the branch, of which `may_wait` holds.
      cpu: registers after it.
      riot: the timer.
      read: a byte of memory by address, without any effect.
      most: turns at most.
      limit: cycle beyond which no turn begins.

    Returns:
      Registers after them, and how many turns were made.
    """
    opcode = read(cpu.pc)
    address = read(cpu.pc + 1) | (read(cpu.pc + 2) << 8)
    loads = (opcode == _LDA) | (opcode == _LDX) | (opcode == _LDY)
    polls = loads & ((address & 0x1285) == 0x0284)
    polls &= ((cpu.pc & 0x1000) != 0) & ((cpu.pc & 0xFFF) < SWITCHES)

    # A turn reads the timer after the load's four cycles. It goes on above zero, or
    # while bit 7 is clear.
    above = now.field("branch_flag") == 1
    crosses = ((cpu.pc ^ now.next) & 0xFF00) != 0
    turn = jnp.where(crosses, 8, 7)
    passed = cpu.cycles + 3 - riot.set_at
    left = riot.timer - (passed >> riot.shift) - 1
    polls &= above | (left < 0x80)
    end = (riot.timer - jnp.where(above, 1, 0)) << riot.shift
    time = jnp.maximum(end - passed, 0)
    count = jnp.where(crosses, (time + 7) >> 3, quotient(time + 6, 7))
    count = jnp.minimum(count, most)
    if limit is not None:
        count = jnp.minimum(count, jnp.maximum(limit - cpu.cycles, 0) >> 3)
    count = jnp.where(polls, jnp.maximum(count, 0), 0)

    loaded = riot.timer - ((passed + (count - 1) * turn) >> riot.shift) - 1
    some = count > 0
    flags = jnp.where(loaded == 0, ZERO, 0) | (loaded & NEGATIVE)
    p = (cpu.p & ~(ZERO | NEGATIVE)) | flags
    cpu = cpu._replace(
        a=jnp.where(some & (opcode == _LDA), loaded, cpu.a),
        x=jnp.where(some & (opcode == _LDX), loaded, cpu.x),
        y=jnp.where(some & (opcode == _LDY), loaded, cpu.y),
        p=jnp.where(some, p, cpu.p),
        cycles=cpu.cycles + count * turn,
    )
    return cpu, count
