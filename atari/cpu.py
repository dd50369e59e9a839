"""The 6502 of one console: decode an instruction, then carry it out; branch-free.

`fetch` takes an instruction apart with a table (`atari.opcodes`) and finds its address;
the console then reads the operand; `execute` does the arithmetic and says what to
write. Timing is by instruction: all its cycles pass before its operand is read.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

from atari import opcodes
from atari.bits import Bool, Guard, Int, Settle, always, pick, unsettled

CARRY, ZERO, INTERRUPT, DECIMAL, OVERFLOW, NEGATIVE = 1, 2, 4, 8, 0x40, 0x80
ALWAYS = 0x30  # bits of P that read as ones: unused, and B on the 6507
STACK = 0x100

# Reads a byte of ROM or RAM, which the mapper sees: (mapper, address, whether it does).
Reader = Callable[[Any, Int, Bool], tuple[Int, Any]]

_UNDOCUMENTED = 8  # bit of a source
_TABLE = opcodes.tables()
_LAYOUT = opcodes.layout()
_FLOW, _FLAG, _ALU = opcodes.FLOW, opcodes.FLAG, opcodes.ALU


def _bits(*names: str) -> list[int]:
    """Bits of the two control words that hold some fields."""
    places = [_LAYOUT[name] for name in names]
    return [
        sum(mask << shift for row, shift, mask in places if row == word)
        for word in (0, 1)
    ]


# Set if there is something to compute.
_WORK = _bits("modify", "high", "alu", "arr", "carry", "flag", "to_p")
# Clear in plain instructions; of the sources, a bit of the undocumented.
_HARD = _bits(
    *("pointer", "pointer_x", "push", "pull", "flow"),
    *("hard", "odd", "arr", "high", "to_p"),
)
_HARD[1] |= _UNDOCUMENTED << _LAYOUT["source"][1]


class Cpu(NamedTuple):
    """Registers; every field is int32[]."""

    a: Int
    x: Int
    y: Int
    s: Int
    p: Int
    pc: Int  # 16 bits, of which FE cartridges see A13
    cycles: Int  # since the frame began
    queued: Int  # bytes still to be pushed by JSR or BRK: count, then two bytes


class Code(NamedTuple):
    """An instruction's bytes; operands it has not are 0."""

    words: tuple[Int, Int]  # of the decode table
    opcode: Int
    first: Int
    second: Int

    @property
    def word(self) -> Int:
        """The operand of two bytes."""
        return self.first | (self.second << 8)

    @property
    def is_plain(self) -> Bool:
        """Whether it uses no jump, pointer, stack, nor odd arithmetic."""
        return _field(self.words, "hard") == 0


class Instruction(NamedTuple):
    """An instruction with its operand's address."""

    words: tuple[Int, Int]  # of the decode table
    address: Int
    immediate: Int
    noise: Int  # last byte on the bus
    target: Int  # where a jump or pull of PC leads
    next: Int  # address of the instruction after
    cycles: Int
    reads: Bool
    writes: Bool

    def field(self, name: str) -> Int:
        """A control field of `opcodes.FIELDS`."""
        return _field(self.words, name)

    @property
    def computes(self) -> Bool:
        """Whether it does more than to move a value and tell its sign."""
        return ((self.words[0] & _WORK[0]) | (self.words[1] & _WORK[1])) != 0


class Outcome(NamedTuple):
    """What an instruction writes."""

    address: Int
    value: Int
    where: Bool


def _field(words: tuple[Int, Int], name: str) -> Int:
    row, shift, mask = _LAYOUT[name]
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
      table: `decode_table()`, int32[512].
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
    opcode, words = settle((opcode, (table[opcode], table[opcode + 256])))
    one, two = (_field(words, "operands") >= count for count in (1, 2))
    first, mapper = read(mapper, (cpu.pc + 1) & 0xFFFF, one)
    held = mapper
    second, mapper = guard(
        two, lambda: read(held, (cpu.pc + 2) & 0xFFFF, two), (0, held)
    )
    first, second = settle((first, second))
    return Code(words, opcode, first, jnp.where(two, second, 0)), mapper


def plain(cpu: Cpu, code: Code) -> Instruction:
    """`aim` for an instruction that `is_plain`, which a compiler then knows of it."""
    words = (code.words[0] & ~_HARD[0], code.words[1] & ~_HARD[1])
    address = _indexed(cpu, words, code.word)
    return _instruction(cpu, code._replace(words=words), code.word, address)


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
    pointer = part("pointer") != 0
    pulls = (flow == _FLOW["RTS"]) | (flow == _FLOW["RTI"])
    breaks = flow == _FLOW["BRK"]
    follows = pointer | pulls | breaks
    # PLA and PLP look at the top of the stack before they move it. Games that pull
    # from the TIA (Alien) see that byte on the bus.
    pulled = part("pull") != 0
    peeks = pulled & ~pulls
    before = mapper

    def follow() -> tuple[Int, Int, Any]:
        at = jnp.where(part("pointer_x") != 0, (first + cpu.x) & 0xFF, word)
        # JMP (xxFF) takes its high byte from the same page.
        same_page = (at & 0xFF00) | ((at + 1) & 0xFF)
        high_at = jnp.where(flow == _FLOW["JMP"], same_page, at + 1)
        pull = cpu.s + jnp.where(flow == _FLOW["RTI"], 2, 1)
        at = jnp.where(pulls, STACK | (pull & 0xFF), at)
        high_at = jnp.where(pulls, STACK | ((pull + 1) & 0xFF), high_at)
        at = jnp.where(breaks, 0xFFFE, at)
        high_at = jnp.where(breaks, 0xFFFF, high_at)
        at = jnp.where(peeks, STACK | cpu.s, at)
        low, mapper = read(before, at, follows | peeks)
        high, mapper = read(mapper, high_at, follows)
        return low, high, mapper

    low, high, mapper = guard(follows | peeks, follow, (0, 0, before))
    low, high = settle((low, high))
    pointed = low | (high << 8)

    base = jnp.where(pointer, pointed, word)
    address = _indexed(cpu, code.words, base)
    now = _instruction(cpu, code, base, address)
    address = jnp.where(pulled, STACK | ((cpu.s + 1) & 0xFF), address)
    # RTS reads the byte before the one it returns to.
    returns = flow == _FLOW["RTS"]
    address = jnp.where(returns, pointed, address)
    noise = jnp.where(peeks, low, now.noise)
    now = now._replace(
        address=address,
        noise=jnp.where(pointer, high, noise),
        target=jnp.where(follows & ~pointer, pointed, address),
        reads=now.reads | returns,
        writes=now.writes | (flow == _FLOW["JSR"]) | breaks,
    )
    return now, mapper


def _indexed(cpu: Cpu, words: tuple[Int, Int], base: Int) -> Int:
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
    noise = jnp.where(part("operands") >= 1, code.first, code.opcode)
    return Instruction(
        code.words,
        address,
        code.first,
        jnp.where(part("operands") >= 2, code.second, noise),
        address,
        (cpu.pc + 1 + part("operands")) & 0xFFFF,
        part("cycles") + extra,
        part("read") != 0,
        part("write") != 0,
    )


def decode_table() -> jax.Array:
    """The decode words of `opcodes.tables`, int32[512]."""
    return jnp.asarray(_TABLE.reshape(-1))


def _modify(kind: Int, value: Int, carry: Int) -> tuple[Int, Int]:
    """Shift, rotate or count; and the carry after."""
    results = [value, value << 1, value >> 1, (value << 1) | carry]
    results += [(value >> 1) | (carry << 7), value + 1, value - 1]
    left = (kind == 1) | (kind == 3)
    right = (kind == 2) | (kind == 4)
    carry = jnp.where(left, value >> 7, jnp.where(right, value & 1, carry))
    return pick(kind, results) & 0xFF, carry


def _decimal(value: Int) -> Int:
    return (value >> 4) * 10 + (value & 15)


def _digits(value: Int) -> Int:
    value = (value & 0xFF) % 100
    return ((value // 10) << 4) | (value % 10)


def _add(left: Int, right: Int, carry: Int, minus: Bool, ten: Bool | None) -> tuple:
    """ADC and SBC, decimal where `ten`: result, carry, overflow."""
    other = jnp.where(minus, right ^ 0xFF, right)
    total = left + other + carry
    beyond = ((left ^ total) & (other ^ total) & 0x80) >> 7
    binary = (total & 0xFF, (total > 0xFF).astype(jnp.int32), beyond)
    if ten is None:
        return binary
    borrow = 1 - carry
    tens = _decimal(left) + _decimal(right) + carry
    less = _decimal(left) - _decimal(right) - borrow
    less = jnp.where(less < 0, less + 100, less)
    digits = _digits(jnp.where(minus, less, tens))
    # Bytes that are no decimal digits can leave less than -100; the reference then
    # reads before its table of digits, where it keeps the table of `_decimal`.
    digits = jnp.where(minus & (less < 0), _decimal(less & 0xFF), digits)
    carried = jnp.where(minus, left >= right + borrow, tens > 99).astype(jnp.int32)
    beyond = ((left ^ digits) & (digits ^ right) & 0x80) >> 7
    decimal = (digits, carried, beyond)
    return tuple(jnp.where(ten, x, y) for x, y in zip(decimal, binary, strict=True))


def _compute(
    cpu: Cpu, now: Instruction, data: Int, operand: Int, value: Int, odd: bool
) -> tuple[Int, Int, Int]:
    """What an instruction does with a value on its way, to the last flag.

    Without `odd`, decimal and undocumented arithmetic is left out.

    Returns:
      The value to be written, the result, and P.
    """
    a, x, y, c = cpu.a, cpu.x, cpu.y, cpu.p & CARRY
    flag, ten = now.field("flag"), (cpu.p & DECIMAL) != 0
    value, shifted = _modify(now.field("modify"), value, c)
    if odd:
        above = ((now.address >> 8) + 1) & 0xFF
        value = jnp.where(now.field("high") != 0, value & above, value)

    alu = now.field("alu")
    left = pick(now.field("left"), (a, x, y, a & x))
    minus = alu == _ALU["SBC"]
    adds = minus | (alu == _ALU["ADC"])
    in_tens = ten & adds if odd else None
    total, added, overflow = _add(left, value, shifted, minus, in_tens)
    less = left - value
    logic = (value, left | value, left & value, left ^ value, total, total, less & 0xFF)
    result = pick(alu, (*logic, value))
    tests = alu == _ALU["BIT"]

    carry = pick(
        now.field("carry"),
        (
            c,
            shifted,
            jnp.where(adds, added, (less >= 0).astype(jnp.int32)),
            result >> 7,
        ),
    )
    over = jnp.where(adds, overflow << 6, cpu.p & OVERFLOW)
    over = jnp.where(tests, value & OVERFLOW, over)
    shown = result
    if odd:  # ARR: a rotate whose flags come from the adder
        arr = now.field("arr") != 0
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
    zero = jnp.where(tests, left & value, shown) == 0
    nz = jnp.where(zero, ZERO, 0) | jnp.where(tests, value, shown) & NEGATIVE
    p = (cpu.p & (INTERRUPT | DECIMAL)) | ALWAYS | carry | over
    sets_nz = (now.field("nz") != 0) | tests
    p = p | jnp.where(sets_nz, nz, cpu.p & (ZERO | NEGATIVE))
    mask = pick(flag, (0, CARRY, CARRY, INTERRUPT, INTERRUPT, OVERFLOW, DECIMAL, 8))
    raised = (flag == _FLAG["SEC"]) | (flag == _FLAG["SEI"]) | (flag == _FLAG["SED"])
    p = jnp.where(raised, p | mask, p & ~mask)
    p = jnp.where(now.field("to_p") != 0, data | ALWAYS, p)
    return value, result, p


def execute(
    cpu: Cpu, now: Instruction, data: Int, guard: Guard = always
) -> tuple[Cpu, Outcome]:
    """Carries out an instruction whose operand in memory, if any, is `data`."""
    result = carry_out(cpu, now, data, guard, odd=False)
    odd = is_odd(cpu, now)
    return guard(
        odd, lambda: carry_out(cpu, now, data, guard, odd=True), result, rare=True
    )


def is_odd(cpu: Cpu, now: Instruction) -> Bool:
    """Whether an instruction does decimal or undocumented arithmetic."""
    in_tens = (now.field("adds") != 0) & ((cpu.p & DECIMAL) != 0)
    return (now.field("odd") != 0) | in_tens


def carry_out(
    cpu: Cpu, now: Instruction, data: Int, guard: Guard, odd: bool
) -> tuple[Cpu, Outcome]:
    """`execute`, of instructions that are not odd if `odd` is False."""
    flow = now.field("flow")
    operand = jnp.where(now.field("immediate") != 0, now.immediate, data)
    a, x, y, s = cpu.a, cpu.x, cpu.y, cpu.s
    source = now.field("source")

    other = operand
    if odd:
        mixed = (a | 0xEE) & operand
        which = source - _UNDOCUMENTED
        other = pick(which, (a & x, a & operand, s & operand, mixed, mixed & x))
    value = pick(source, (operand, a, x, y, s, cpu.p | ALWAYS, other))
    zero = jnp.where(value == 0, ZERO, 0)
    kept = cpu.p & ~(ZERO | NEGATIVE) | ALWAYS
    moved = jnp.where(now.field("nz") != 0, kept | zero | (value & NEGATIVE), cpu.p)
    # Loads, stores, transfers, branches and jumps are done.
    value, result, p = guard(
        now.computes,
        lambda: _compute(cpu, now, data, operand, value, odd),
        (value, value, moved | ALWAYS),
    )
    p = jnp.where(flow == _FLOW["BRK"], p | INTERRUPT, p)
    # Flags pushed by BRK are those before it sets I.
    pushed_flags = cpu.p | ALWAYS

    taken = (now.field("branch") != 0) & (
        ((cpu.p >> now.field("branch_flag")) & 1) == now.field("branch_value")
    )
    distance = now.immediate - ((now.immediate & 0x80) << 1)
    branch = (now.next + distance) & 0xFFFF
    far = ((branch ^ now.next) & 0xFF00) != 0
    cycles = now.cycles + jnp.where(taken, jnp.where(far, 2, 1), 0)
    # JSR pushes the address of its last byte, RTS returns past it.
    jumps = (flow != 0) & (flow != _FLOW["JAM"])
    goal = jnp.where(flow == _FLOW["RTS"], (now.target + 1) & 0xFFFF, now.target)
    pc = jnp.where(taken, branch, jnp.where(jumps, goal, now.next))
    pc = jnp.where(flow == _FLOW["JAM"], cpu.pc, pc)

    calls, breaks = flow == _FLOW["JSR"], flow == _FLOW["BRK"]
    back = jnp.where(calls, (now.next - 1) & 0xFFFF, now.next)
    pushes = (now.field("push") != 0) | calls | breaks
    queue = jnp.where(breaks, (2 << 16) | (pushed_flags << 8), 1 << 16) | (back & 0xFF)
    s_next = s + jnp.where(now.field("pull") != 0, 1, 0) - jnp.where(pushes, 1, 0)
    s_next = s_next + pick(flow, (0, 0, 0, 2, 2, 0))
    outcome = Outcome(
        jnp.where(pushes, STACK | s, now.address),
        jnp.where(calls | breaks, back >> 8, value),
        now.writes,
    )
    cpu = Cpu(
        a=jnp.where(now.field("to_a") != 0, result, a),
        x=jnp.where(now.field("to_x") != 0, result, x),
        y=jnp.where(now.field("to_y") != 0, result, y),
        s=jnp.where(now.field("to_s") != 0, result, s_next & 0xFF),
        p=p,
        pc=pc,
        cycles=cpu.cycles + cycles,
        queued=jnp.where(calls | breaks, queue, 0),
    )
    return cpu, outcome


def push(cpu: Cpu) -> tuple[Cpu, Outcome]:
    """Pushes the next byte that a JSR or BRK left in the queue."""
    left = (cpu.queued >> 16) - 1
    queued = jnp.where(left > 0, (left << 16) | ((cpu.queued >> 8) & 0xFF), 0)
    outcome = Outcome(STACK | cpu.s, cpu.queued & 0xFF, cpu.queued != 0)
    return cpu._replace(s=(cpu.s - 1) & 0xFF, queued=queued), outcome
