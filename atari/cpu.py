"""The 6502 of one console: decode an instruction, then carry it out; branch-free.

`fetch` takes an instruction apart with a table (`atari.opcodes`) and `aim` finds its
address; the console then reads the operand; `execute` does the arithmetic and says what
to write. Timing is by instruction: all its cycles pass before its operand is read.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

from atari import arithmetic, opcodes
from atari.bits import Bool, Guard, Int, Settle, always, pick, unsettled

CARRY, ZERO, INTERRUPT, DECIMAL, OVERFLOW, NEGATIVE = 1, 2, 4, 8, 0x40, 0x80
ALWAYS = 0x30  # bits of P that read as ones: unused, and B on the 6507
STACK = 0x100

# Reads a byte of ROM or RAM, which the mapper sees: (mapper, address, whether it does).
Reader = Callable[[Any, Int, Bool], tuple[Int, Any]]

_UNDOCUMENTED = 8  # bit of a source
_TABLE = opcodes.tables()
_LAYOUT = opcodes.layout()
_FLOW, _ALU = opcodes.FLOW, opcodes.ALU


def _bits(*names: str) -> list[int]:
    """Bits of the first two control words that hold some fields."""
    return opcodes.pack(dict.fromkeys(names, -1))[:2]


# Clear in plain instructions.
_HARD = _bits(
    *("pointer", "pointer_x", "push", "pull", "flow", "stack", "hard"),
    *("odd", "to_p"),
)
# Clear in instructions aside, whose flow may be a jump.
_HARD_ASIDE = opcodes.pack(
    dict.fromkeys(("push", "pull", "branch", "polls", "hard", "odd", "to_p"), -1)
    | {"flow": ~_FLOW["JMP"]}
)[:2]
_PUSHING = opcodes.pack(opcodes.PUSHING)[:2]
# Flags that an instruction takes or clears, and sets, where P has them.
_TAKEN = _bits("take_c", "take_z", "take_v", "take_n")[1]
_DROPPED = _TAKEN | _bits("drop_i", "drop_d")[1]
_SET = _bits("set_c", "set_i", "set_d")[1] >> 8


class Cpu(NamedTuple):
    """Registers; every field is int32[]."""

    a: Int
    x: Int
    y: Int
    s: Int
    p: Int
    pc: Int  # 16 bits, of which FE cartridges see A13
    cycles: Int  # since the frame began
    queued: Int  # bytes still to be pushed by JSR or BRK, lowest first, below a 1; or 0


class Code(NamedTuple):
    """An instruction's bytes; operands it has not are 0."""

    words: tuple[Int, ...]  # of the decode table, the first two
    bytes: Int  # the opcode lowest; above the third is room for `portents`

    @property
    def opcode(self) -> Int:
        """The first byte."""
        return self.bytes & 0xFF

    @property
    def first(self) -> Int:
        """The byte after it."""
        return (self.bytes >> 8) & 0xFF

    @property
    def second(self) -> Int:
        """The third byte."""
        return (self.bytes >> 16) & 0xFF

    @property
    def word(self) -> Int:
        """The operand of two bytes."""
        return (self.bytes >> 8) & 0xFFFF

    @property
    def is_plain(self) -> Bool:
        """Whether it uses no jump, pointer, stack, nor odd arithmetic."""
        return self.field("hard") == 0

    @property
    def is_aside(self) -> Bool:
        """Whether a pointer, one byte on the stack, or a jump alone is in the way."""
        return self.field("aside") != 0

    def field(self, name: str) -> Int:
        """A control field of `opcodes.FIELDS`."""
        return _field(self.words, name)


class Instruction(NamedTuple):
    """An instruction with its operand's address."""

    words: tuple[Int, ...]  # of the decode table
    opcode: Int
    address: Int
    immediate: Int
    noise: Int  # last byte on the bus
    target: Int  # where a jump or pull of PC leads
    start: Int  # its own address
    next: Int  # address of the instruction after
    cycles: Int
    reads: Bool
    writes: Bool

    def field(self, name: str) -> Int:
        """A control field of `opcodes.FIELDS`."""
        return _field(self.words, name)


class Outcome(NamedTuple):
    """What an instruction writes."""

    address: Int
    value: Int
    where: Bool


def _field(words: tuple[Int, ...], name: str) -> Int:
    row, shift, mask = _LAYOUT[name]
    if name in opcodes.SIGNED:
        return words[row] >> shift
    return (words[row] >> shift) & mask


def reset(vector: Int) -> Cpu:
    """Registers after reset, given the reset vector."""
    zero = vector * 0
    return Cpu(zero, zero, zero, zero + 0xFF, zero + ALWAYS, vector, zero, zero)


def fetch(
    cpu: Cpu,
    table: jax.Array,
    mapper: Any,
    read: Reader,
    settle: Settle = unsettled,
    guard: Guard = always,
) -> tuple[Code, Any]:
    """Reads the instruction at PC.

    Args:
      cpu: registers.
      table: `decode_table()`, int32[768].
      mapper: the cartridge's, before.
      read: reads memory, and lets the mapper see the address.
      settle: see `bits.Settle`.
      guard: see `bits.Guard`.

    Returns:
      The instruction's bytes, and the mapper after.
    """
    opcode, mapper = read(mapper, cpu.pc, cpu.pc == cpu.pc)
    # A jump into the TIA finds what it left on the bus: the high byte of its target.
    # The reset vector of Star Gunner is 0, and so its first instruction is a BRK.
    in_tia = (cpu.pc & 0x1080) == 0
    opcode = jnp.where(in_tia, (cpu.pc >> 8) & 0x3F, opcode)
    opcode, words = settle((opcode, look_up(table, opcode)))
    one, two = (_field(words, "length") > count for count in (1, 2))
    first, mapper = read(mapper, (cpu.pc + 1) & 0xFFFF, one)
    held = mapper
    second, mapper = guard(
        two, lambda: read(held, (cpu.pc + 2) & 0xFFFF, two), (0, held)
    )
    return Code(words, settle(joined(words, opcode, first, second))), mapper


def look_up(table: Any, opcode: Int) -> tuple[Int, Int]:
    """The words of an opcode in the decode table, the first two."""
    return table[opcode], table[opcode + 256]


def joined(words: tuple[Int, Int], opcode: Int, first: Int, second: Int) -> Int:
    """The bytes of an instruction in one word, of the second none if it has none."""
    second = jnp.where(_field(words, "length") > 2, second, 0)
    return opcode | (first << 8) | (second << 16)


def portents(code: Code) -> dict[str, Bool]:
    """Whether an instruction may want a guard's rare work, of some names.

    What is `odd` in decimal mode alone is under "tens".
    """
    flow = code.field("flow")
    breaks = flow == _FLOW["BRK"]
    pointed = (code.field("pointer") != 0) & (flow == _FLOW["JMP"])
    odd, adds = code.field("odd") != 0, code.field("adds") != 0
    return {"jump": breaks | pointed, "odd": odd, "tens": adds}


def turn(code: Code, starts: Bool, pushing: Bool) -> Code:
    """The instruction if it `starts`, a push of what is queued, or nothing."""
    first, second = (
        jnp.where(starts, word, jnp.where(pushing, push, 0))
        for word, push in zip(code.words, _PUSHING, strict=True)
    )
    return code._replace(words=(first, second))


def cancel(now: Instruction, where: Bool) -> Instruction:
    """Nothing in place of an instruction that has to wait."""
    return now._replace(
        words=tuple(jnp.where(where, 0, word) for word in now.words),
        next=jnp.where(where, now.start, now.next),
        cycles=jnp.where(where, 0, now.cycles),
        writes=now.writes & ~where,
    )


def plain(cpu: Cpu, code: Code) -> Instruction:
    """`aim` for an instruction that `is_plain`, which a compiler then knows of it."""
    return _eased(cpu, code, _HARD, code.word)


def aside(cpu: Cpu, code: Code, peek: Callable[[Int], Int]) -> Instruction:
    """`aim` for an instruction that `is_aside`, but for `noise`, which only ports show.

    Args:
      cpu: registers.
      code: the instruction's bytes.
      peek: reads a byte of the console's RAM, by seven bits of its address.
    """
    part = functools.partial(_field, code.words)
    at = code.first + jnp.where(part("pointer_x") != 0, cpu.x, 0)
    pointed = peek(at & 0x7F) | (peek((at + 1) & 0x7F) << 8)
    top = STACK | ((cpu.s + part("pull")) & 0xFF)
    base = jnp.where((part("push") | part("pull")) != 0, top, code.word)
    base = jnp.where(part("pointer") != 0, pointed, base)
    return _eased(cpu, code, _HARD_ASIDE, base)


def _eased(cpu: Cpu, code: Code, hard: list[int], base: Int) -> Instruction:
    """An instruction of which some bits are clear, its operand counted from a base."""
    words = (code.words[0] & ~hard[0], code.words[1] & ~hard[1])
    address = _indexed(cpu, words, base)
    return _instruction(cpu, code._replace(words=words), base, address)


def aim(
    cpu: Cpu,
    code: Code,
    mapper: Any,
    read: Reader,
    settle: Settle = unsettled,
    guard: Guard = always,
) -> tuple[Instruction, Any]:
    """Finds the address of an instruction's operand; arguments as in `fetch`.

    Returns:
      The instruction, and the mapper after.
    """
    first, word = code.first, code.word
    part = functools.partial(_field, code.words)
    flow = part("flow")

    # A word from memory: an indirect address, a pulled PC, or BRK's vector.
    pointer, pulled = part("pointer") != 0, part("pull") != 0
    breaks = flow == _FLOW["BRK"]
    above = part("stack")
    in_ram = (pointer & (flow == 0)) | (above > 0)

    def follow() -> tuple[Int, Int]:
        index = jnp.where(part("pointer_x") != 0, cpu.x, 0)
        # PLA and PLP look at the top of the stack before they move it. Games that pull
        # from the TIA (Alien) see that byte on the bus.
        top = STACK | ((cpu.s + above - 1) & 0xFF)
        at = jnp.where(above > 0, top, (first + index) & 0xFF)
        low, _ = read(mapper, at, in_ram)
        high, _ = read(mapper, (at & STACK) | ((at + 1) & 0xFF), in_ram)
        return low, high

    low, high = guard(in_ram, follow, (0, 0))
    elsewhere = breaks | (pointer & (flow == _FLOW["JMP"]))
    before, near = mapper, (low, high)

    def jump() -> tuple[Int, Int, Any]:
        # JMP (xxFF) takes its high byte from the same page.
        same_page = (word & 0xFF00) | ((word + 1) & 0xFF)
        at = jnp.where(breaks, 0xFFFE, word)
        low, mapper = read(before, at, elsewhere)
        at = jnp.where(breaks, 0xFFFF, same_page)
        high, mapper = read(mapper, at, elsewhere)
        low, high = (
            jnp.where(elsewhere, new, old)
            for new, old in zip((low, high), near, strict=True)
        )
        return low, high, mapper

    low, high, mapper = guard(elsewhere, jump, (low, high, before), rare="jump")
    low, high = settle((low, high))
    pointed = low | (high << 8)

    base = jnp.where(pointer, pointed, word)
    address = _indexed(cpu, code.words, base)
    now = _instruction(cpu, code, base, address)
    address = jnp.where(pulled, STACK | ((cpu.s + 1) & 0xFF), address)
    # RTS reads the byte before the one it returns to.
    address = jnp.where(flow == _FLOW["RTS"], pointed, address)
    peeks = pulled & (flow == 0)
    noise = jnp.where(peeks, low, now.noise)
    aside = (flow == _FLOW["RTS"]) | (flow == _FLOW["RTI"]) | breaks
    now = now._replace(
        address=address,
        noise=jnp.where(pointer, high, noise),
        target=jnp.where(aside, pointed, address),
    )
    return now, mapper


def _indexed(cpu: Cpu, words: tuple[Int, ...], base: Int) -> Int:
    part = functools.partial(_field, words)
    index = jnp.where(part("index_x") != 0, cpu.x, 0)
    index = jnp.where(part("index_y") != 0, cpu.y, index)
    address = (base + index) & 0xFFFF
    return jnp.where(part("zero_page") != 0, address & 0xFF, address)


def _instruction(cpu: Cpu, code: Code, base: Int, address: Int) -> Instruction:
    """An instruction whose operand is at an address."""
    part = functools.partial(_field, code.words)
    crossed = ((base ^ address) & 0xFF00) != 0
    extra = jnp.where((part("crossing") != 0) & crossed, 1, 0)
    length = part("length")
    noise = jnp.where(length > 1, code.first, code.opcode)
    return Instruction(
        code.words,
        code.opcode,
        address,
        code.first,
        jnp.where(length > 2, code.second, noise),
        address,
        cpu.pc,
        (cpu.pc + length) & 0xFFFF,
        part("cycles") + extra,
        part("read") != 0,
        part("write") != 0,
    )


def decode_table() -> jax.Array:
    """The decode words of `opcodes.tables`, int32[768]."""
    return jnp.asarray(_TABLE.reshape(-1))


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
    part = functools.partial(_field, (word, word, word))
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
