"""The 6502 of one console: what an instruction does, branch-free."""

import functools
from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

from atari import arithmetic, cpu as cpus, opcodes
from atari.bits import Bool, Guard, Int, always, pick
from atari.cpu import (
    ALWAYS,
    CARRY,
    DECIMAL,
    INTERRUPT,
    NEGATIVE,
    OVERFLOW,
    STACK,
    ZERO,
    Cpu,
    Instruction,
)

_UNDOCUMENTED = 8  # bit of a source
_FLOW, _ALU = opcodes.FLOW, opcodes.ALU
# Flags that an instruction takes or clears, and sets, where P has them.
_TAKEN = cpus.bits_of("take_c", "take_z", "take_v", "take_n")[1]
_DROPPED = _TAKEN | cpus.bits_of("drop_i", "drop_d")[1]
_SET = cpus.bits_of("set_c", "set_i", "set_d")[1] >> 8


class Outcome(NamedTuple):
    """What an instruction writes."""

    address: Int
    value: Int
    where: Bool


def _compute(cpu: Cpu, now: Instruction, operand: Int, queues: bool) -> tuple[Int, Int]:
    """What an instruction makes of its operand, and P; see `opcodes.FIELDS`."""
    part, word = now.field, now.words[1]
    carry, kept = cpu.p & CARRY, cpu.p | ALWAYS
    sources: tuple[Int, ...] = (operand, cpu.a, cpu.x, cpu.y, cpu.s, kept)
    if queues:
        sources += (cpu.queued & 0xFF,)
    value = pick(part("source"), sources)
    moved = (value + (carry & part("rotate")) * 0x100) << part("shift")
    flip = -part("invert")
    value = (moved >> 1) ^ flip
    left = pick(part("left"), (0, cpu.a, cpu.x, cpu.y))
    total = jnp.where(part("merge") != 0, left ^ value, 0)
    total += (left & value) * part("both")
    total += (carry & part("carry_in")) + part("constant")
    result = total & 0xFF

    over = ((left ^ total) & (value ^ total)) >> 1
    signs = (total & NEGATIVE) | (over & OVERFLOW)
    signs = jnp.where(part("bit") != 0, value, signs) & (NEGATIVE | OVERFLOW)
    # The bit that left to the right, or the sum's ninth.
    out = (((total >> 8) ^ flip) | moved) & CARRY
    flags = signs | out | jnp.where(result == 0, ZERO, 0)
    p = (cpu.p & ~(word & _DROPPED)) | (flags & word & _TAKEN) | ((word >> 8) & _SET)
    return result, jnp.where(part("to_p") != 0, operand, p) | ALWAYS


def _compute_odd(
    cpu: Cpu, now: Instruction, data: Int, operand: Int, word: Int
) -> tuple[Int, Int, Int]:
    """Decimal and undocumented arithmetic.

    Args:
      cpu: registers before.
      now: the instruction.
      data: from memory.
      operand: the same, or the immediate.
      word: the third of the decode table.

    Returns:
      The value to be written, the result, and P.
    """
    part = functools.partial(cpus.field, (word, word, word))
    a, x, y, s, c = cpu.a, cpu.x, cpu.y, cpu.s, cpu.p & CARRY
    ten = (cpu.p & DECIMAL) != 0
    mixed = (a | 0xEE) & operand
    others = (a & x, a & operand, s & operand, mixed, mixed & x)
    source = part("odd_source")
    value = pick(source, (operand, a, x, y, s))
    value = jnp.where(
        source >= _UNDOCUMENTED, pick(source - _UNDOCUMENTED, others), value
    )
    value, shifted = arithmetic.modify(part("odd_modify"), value, c)
    above = ((now.address >> 8) + 1) & 0xFF
    value = jnp.where(part("high") != 0, value & above, value)

    alu = part("odd_alu")
    left = pick(part("odd_left"), (a, x, y, a & x))
    minus = alu == _ALU["SBC"]
    adds = minus | (alu == _ALU["ADC"])
    total, added, overflow = arithmetic.add(left, value, shifted, minus, ten)
    less = left - value
    logic = (value, left | value, left & value, left ^ value, total, total)
    result = pick(alu, (*logic, less & 0xFF))
    compared = jnp.where(adds, added, (less >= 0).astype(jnp.int32))
    carry = pick(part("odd_carry"), (c, shifted, compared, result >> 7))
    over = jnp.where(adds, overflow << 6, cpu.p & OVERFLOW)
    # ARR: a rotate whose flags come from the adder.
    arr = part("arr") != 0
    before, shown = a & operand, jnp.where(arr, value, result)
    fix_low = ((before & 15) + (before & 1)) > 5
    fix_high = ((before & 0xF0) + (before & 0x10)) > 0x50
    fixed = jnp.where(fix_low, (value & 0xF0) | ((value + 6) & 15), value)
    fixed = jnp.where(fix_high, (fixed + 0x60) & 0xFF, fixed)
    arr_carry = jnp.where(ten, fix_high.astype(jnp.int32), (value >> 6) & 1)
    arr_over = jnp.where(ten, before ^ value, value ^ (value << 1)) & 0x40
    result = jnp.where(arr, jnp.where(ten, fixed, result), result)
    carry = jnp.where(arr, arr_carry, carry)
    over = jnp.where(arr, arr_over, over)
    nz = jnp.where(shown == 0, ZERO, 0) | (shown & NEGATIVE)
    nz = jnp.where(part("odd_nz") != 0, nz, cpu.p & (ZERO | NEGATIVE))
    p = (cpu.p & (INTERRUPT | DECIMAL)) | ALWAYS | carry | over | nz
    return value, result, p


def is_odd(cpu: Cpu, now: Instruction) -> Bool:
    """Whether an instruction does decimal or undocumented arithmetic."""
    in_tens = (now.field("adds") != 0) & ((cpu.p & DECIMAL) != 0)
    return (now.field("odd") != 0) | in_tens


def execute(
    cpu: Cpu,
    now: Instruction,
    data: Int,
    pushing: Bool | None = None,
    table: Any = None,
    guard: Guard = always,
) -> tuple[Cpu, Outcome]:
    """Carries out an instruction.

    Args:
      cpu: registers before.
      now: the instruction, or a push of a queued byte, or nothing: see `turn`.
      data: its operand in memory, if any.
      pushing: whether it is such a push; None if nothing is queued.
      table: `decode_table()`; None for instructions that are not `is_odd`.
      guard: see `bits.Guard`.
    """
    flow = now.field("flow")
    operand = jnp.where(now.field("immediate") != 0, now.immediate, data)
    a, x, y, s = cpu.a, cpu.x, cpu.y, cpu.s
    result, p = _compute(cpu, now, operand, pushing is not None)
    value = result
    if table is not None:
        odd = is_odd(cpu, now)
        value, result, p = guard(
            odd,
            lambda: jax.tree.map(
                functools.partial(jnp.where, odd),
                _compute_odd(cpu, now, data, operand, table[now.opcode + 512]),
                (value, result, p),
            ),
            (value, result, p),
            rare="odd",
        )

    bit = (cpu.p >> now.field("branch_flag")) & 1
    taken = ((now.field("branch") >> bit) & 1) != 0
    distance = now.immediate - ((now.immediate & 0x80) << 1)
    branch = (now.next + distance) & 0xFFFF
    far = ((branch ^ now.next) & 0xFF00) != 0
    cycles = now.cycles + jnp.where(taken, jnp.where(far, 2, 1), 0)
    # JSR pushes the address of its last byte, RTS returns past it.
    goal = (now.target + jnp.where(flow == _FLOW["RTS"], 1, 0)) & 0xFFFF
    pc = jnp.where(taken, branch, jnp.where(flow != 0, goal, now.next))

    calls, breaks = flow == _FLOW["JSR"], flow == _FLOW["BRK"]
    back = jnp.where(calls, (now.next - 1) & 0xFFFF, now.next)
    # Flags pushed by BRK are those before it sets I.
    flags = (cpu.p | ALWAYS) << 8
    queue = jnp.where(breaks, 0x10000 | flags, 0x100) | (back & 0xFF)
    queued = cpu.queued
    if pushing is not None:
        popped = cpu.queued >> 8
        popped = jnp.where(popped == 1, 0, popped)
        queued = jnp.where(pushing, popped, queued)
    outcome = Outcome(
        jnp.where(now.field("push") != 0, STACK | s, now.address),
        jnp.where(calls | breaks, back >> 8, value),
        now.writes,
    )
    s_next = (s + now.field("stack")) & 0xFF
    cpu = Cpu(
        a=jnp.where(now.field("to_a") != 0, result, a),
        x=jnp.where(now.field("to_x") != 0, result, x),
        y=jnp.where(now.field("to_y") != 0, result, y),
        s=jnp.where(now.field("to_s") != 0, result, s_next),
        p=p,
        pc=pc,
        cycles=cpu.cycles + cycles,
        queued=jnp.where(calls | breaks, queue, queued),
    )
    return cpu, outcome
