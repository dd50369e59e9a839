"""The 6502 of one console: registers, and how an instruction is decoded; branch-free.

`fetch` takes an instruction apart with a table (`atari.opcodes`) and `aim` finds its
address; the console then reads the operand; `atari.execution` does the arithmetic and
says what to write. Timing is by instruction: all its cycles pass before its operand is
read.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

from atari import opcodes
from atari.bits import Bool, Guard, Int, Settle, always, unsettled

CARRY, ZERO, INTERRUPT, DECIMAL, OVERFLOW, NEGATIVE = 1, 2, 4, 8, 0x40, 0x80
ALWAYS = 0x30  # bits of P that read as ones: unused, and B on the 6507
STACK = 0x100

# Reads a byte of ROM or RAM, which the mapper sees: (mapper, address, whether it does).
Reader = Callable[[Any, Int, Bool], tuple[Int, Any]]

_TABLE = opcodes.tables()
_LAYOUT = opcodes.layout()
_FLOW = opcodes.FLOW


def bits_of(*names: str) -> list[int]:
    """Bits of the first two control words that hold some fields."""
    return opcodes.pack(dict.fromkeys(names, -1))[:2]


# Clear in plain instructions.
_HARD = bits_of(
    *("pointer", "pointer_x", "push", "pull", "flow", "stack", "hard"),
    *("odd", "to_p"),
)
# Clear in instructions aside, whose flow may be a jump.
_HARD_ASIDE = opcodes.pack(
    dict.fromkeys(("push", "pull", "branch", "polls", "hard", "odd", "to_p"), -1)
    | {"flow": ~_FLOW["JMP"]}
)[:2]
_PUSHING = opcodes.pack(opcodes.PUSHING)[:2]


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
        return field(self.words, name)


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
        return field(self.words, name)


def field(words: tuple[Int, ...], name: str) -> Int:
    """A control field of `opcodes.FIELDS` in an instruction's words."""
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
    one, two = (field(words, "length") > count for count in (1, 2))
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
    second = jnp.where(field(words, "length") > 2, second, 0)
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
    part = functools.partial(field, code.words)
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
    part = functools.partial(field, code.words)
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
    part = functools.partial(field, words)
    index = jnp.where(part("index_x") != 0, cpu.x, 0)
    index = jnp.where(part("index_y") != 0, cpu.y, index)
    address = (base + index) & 0xFFFF
    return jnp.where(part("zero_page") != 0, address & 0xFF, address)


def _instruction(cpu: Cpu, code: Code, base: Int, address: Int) -> Instruction:
    """An instruction whose operand is at an address."""
    part = functools.partial(field, code.words)
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
