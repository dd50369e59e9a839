"""Instructions against hand-worked results and a plain model of the arithmetic."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari import cpu, execution, opcodes
from atari.cpu import Cpu

START = 0xF000


class Machine:
    """64 KB of memory around one CPU."""

    def __init__(self, program: str, **registers: int):
        self.memory = np.zeros(0x10000, np.uint8)
        code = bytes.fromhex(program)
        self.memory[START : START + len(code)] = np.frombuffer(code, np.uint8)
        self.cpu = cpu.reset(jnp.int32(START))._replace(
            **{name: jnp.int32(value) for name, value in registers.items()}
        )

    def read(self, mapper: None, address: jax.Array, where: jax.Array) -> tuple:
        """A byte; there are no side effects."""
        del where
        return jnp.int32(int(self.memory[int(address)])), mapper

    def step(self, count: int = 1) -> Cpu:
        """Executes some instructions, with all their pushes."""
        for _ in range(count):
            self.turn()
            while int(self.cpu.queued):
                self.turn()
        return self.cpu

    def turn(self) -> None:
        """One instruction, or the push of a queued byte."""
        table, pushing = cpu.decode_table(), self.cpu.queued != 0
        code, _ = cpu.fetch(self.cpu, table, None, self.read)
        code = cpu.turn(code, ~pushing, pushing)
        now, _ = cpu.aim(self.cpu, code, None, self.read)
        data, _ = self.read(None, now.address, now.reads)
        self.cpu, out = execution.execute(self.cpu, now, data, pushing, table)
        self.write(out)

    def write(self, out: execution.Outcome) -> None:
        """Carries a write out."""
        if bool(out.where):
            self.memory[int(out.address)] = int(out.value)


def run(program: str, steps: int = 1, **registers: int) -> dict[str, int]:
    """Registers after some instructions."""
    state = Machine(program, **registers).step(steps)
    return {name: int(value) for name, value in state._asdict().items()}


# Program, instructions, registers before, registers after: worked out by hand from the
# MCS6500 Programming Manual.
CASES = {
    "lda_negative": ("A9 80", 1, {}, {"a": 0x80, "p": 0xB0, "cycles": 2}),
    "lda_zero": ("A9 00", 1, {"a": 1}, {"a": 0, "p": 0x32}),
    "inx_wraps": ("E8", 1, {"x": 255}, {"x": 0, "p": 0x32}),
    "dey": ("88", 1, {"y": 0}, {"y": 255, "p": 0xB0}),
    "cmp_equal": ("C9 10", 1, {"a": 0x10}, {"p": 0x33}),
    "cmp_less": ("C9 20", 1, {"a": 0x10}, {"p": 0xB0}),
    "asl_carry": ("0A", 1, {"a": 0x81}, {"a": 2, "p": 0x31}),
    "ror_in": ("6A", 1, {"a": 2, "p": 0x31}, {"a": 0x81, "p": 0xB0}),
    "bne_taken": ("D0 10", 1, {}, {"pc": 0xF012, "cycles": 3}),
    "bne_back_over_page": ("D0 80", 1, {}, {"pc": 0xEF82, "cycles": 4}),
    "beq_not_taken": ("F0 10", 1, {}, {"pc": 0xF002, "cycles": 2}),
    "adc_overflow": ("69 50", 1, {"a": 0x50}, {"a": 0xA0, "p": 0xF0}),
    "adc_decimal": ("69 46", 1, {"a": 0x58, "p": 0x39}, {"a": 0x05}),
    "sbc_decimal": ("E9 21", 1, {"a": 0x12, "p": 0x39}, {"a": 0x91}),
    "jmp": ("4C 34 F2", 1, {}, {"pc": 0xF234, "cycles": 3}),
    "txs": ("9A", 1, {"x": 0x80}, {"s": 0x80, "p": 0x30}),
    "sed_cld": ("F8 D8", 2, {}, {"p": 0x30, "cycles": 4}),
    "sec_sei": ("38 78", 2, {}, {"p": 0x35}),
    "lax": ("AF 00 F0", 1, {}, {"a": 0xAF, "x": 0xAF, "p": 0xB0}),
    "sbx": ("CB 02", 1, {"a": 0x0F, "x": 0x07}, {"x": 5, "p": 0x31}),
    "jsr_rts": ("20 04 F0 EA 60", 2, {}, {"pc": 0xF003, "s": 0xFF, "cycles": 12}),
    "pha_pla": ("48 A9 00 68", 3, {"a": 0x99}, {"a": 0x99, "s": 0xFF, "cycles": 9}),
    "lda_abx_crosses": ("BD FF F0", 1, {"x": 1}, {"cycles": 5}),
    "lda_abx_stays": ("BD F0 F0", 1, {"x": 1}, {"cycles": 4}),
    "sta_abx_crosses": ("9D FF 00", 1, {"x": 1}, {"cycles": 5}),
    "inc_zpx": ("F6 80 F6 80", 2, {"x": 3}, {"cycles": 12, "p": 0x30}),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case: str) -> None:
    """Registers, flags, program counter and cycles."""
    program, steps, before, after = CASES[case]
    result = run(program, steps, **before)
    assert {name: result[name] for name in after} == after


def test_indirect_jump_stays_in_its_page() -> None:
    """JMP (xxFF) takes its high byte from xx00."""
    machine = Machine("6C FF 02")
    machine.memory[[0x2FF, 0x300, 0x200]] = 0x34, 0x56, 0x12
    assert int(machine.step().pc) == 0x1234


def test_indirect_addressing() -> None:
    """(zp,X) indexes the pointer, (zp),Y what it points to."""
    machine = Machine("A1 80 B1 80", x=4, y=1)
    machine.memory[[0x80, 0x81, 0x84, 0x85]] = 0xFF, 0x20, 0x10, 0x30
    machine.memory[[0x3010, 0x2100]] = 0x11, 0x22
    assert int(machine.step().a) == 0x11
    assert int(machine.step().a) == 0x22
    assert int(machine.cpu.cycles) == 6 + 6


def test_break_and_return() -> None:
    """BRK pushes the address behind its second byte, and P; RTI takes both back."""
    machine = Machine("00 00 EA", p=0x31)
    machine.memory[[0xFFFE, 0xFFFF, 0xF800]] = 0x00, 0xF8, 0x40
    state = machine.step()
    assert (int(state.pc), int(state.s), int(state.p)) == (0xF800, 0xFC, 0x35)
    assert machine.memory[0x1FD:0x200].tolist() == [0x31, 0x02, 0xF0]
    state = machine.step()
    assert (int(state.pc), int(state.s), int(state.p)) == (0xF002, 0xFF, 0x31)
    assert int(state.cycles) == 13


def test_jam_stays() -> None:
    """An opcode that halts the chip never gets on."""
    assert run("02", 3)["pc"] == START


@pytest.mark.parametrize("opcode", [0x69, 0xE9])
def test_binary_arithmetic_exhaustively(opcode: int) -> None:
    """ADC and SBC of all pairs, against signed and unsigned integers."""
    a, operand, carry = (
        x.ravel() for x in np.meshgrid(np.arange(256), np.arange(256), [0, 1])
    )
    got = _arithmetic(opcode, a, operand, carry)
    other = operand if opcode == 0x69 else 255 - operand
    total = a + other + carry
    signed = a.astype(np.int8).astype(int) + other.astype(np.int8).astype(int) + carry
    np.testing.assert_array_equal(got.a, total & 255)
    flags = (total > 255) * 1 + ((total & 255) == 0) * 2 + (total & 128)
    flags += ((signed > 127) | (signed < -128)) * 64 + 0x30
    np.testing.assert_array_equal(got.p, flags)


@pytest.mark.parametrize("opcode", [0x69, 0xE9])
def test_decimal_arithmetic_exhaustively(opcode: int) -> None:
    """All pairs of two-digit numbers."""
    x, y, carry = (
        v.ravel() for v in np.meshgrid(np.arange(100), np.arange(100), [0, 1])
    )
    digits = lambda n: n // 10 * 16 + n % 10  # noqa: E731
    got = _arithmetic(opcode, digits(x), digits(y), carry, decimal=True)
    result = x + y + carry if opcode == 0x69 else x - y - 1 + carry
    np.testing.assert_array_equal(got.a, digits(result % 100))
    carried = result > 99 if opcode == 0x69 else result >= 0
    np.testing.assert_array_equal(got.p & 1, carried)


def _arithmetic(
    opcode: int,
    a: np.ndarray,
    operand: np.ndarray,
    carry: np.ndarray,
    decimal: bool = False,
) -> Cpu:
    """One immediate instruction for many consoles in lock-step."""
    shape = a.shape
    state = cpu.reset(jnp.full(shape, START, jnp.int32))
    p = jnp.asarray(0x30 + 8 * decimal + carry, jnp.int32)
    state = state._replace(a=jnp.asarray(a, jnp.int32), p=p)

    def read(mapper: None, address: jax.Array, where: jax.Array) -> tuple:
        del where
        code = jnp.asarray(operand, jnp.int32)
        return jnp.where(address == START, opcode, code), mapper

    table = cpu.decode_table()
    code, _ = cpu.fetch(state, table, None, read)
    now, _ = cpu.aim(state, code, None, read)
    return execution.execute(state, now, jnp.zeros(shape, jnp.int32), table=table)[0]


def test_nothing_happens_without_a_turn() -> None:
    """An instruction that may not start, or has to wait, leaves all as it was."""
    for opcode in range(256):
        machine = Machine(f"{opcode:02X} C3 81", x=0xFF, y=0x80, p=0xFD)
        before, table, no = machine.cpu, cpu.decode_table(), jnp.bool_(False)
        code, _ = cpu.fetch(before, table, None, machine.read)
        idle, _ = cpu.aim(before, cpu.turn(code, no, no), None, machine.read)
        now, _ = cpu.aim(before, code, None, machine.read)
        for nothing in (idle, cpu.cancel(now, ~no)):
            after, out = execution.execute(before, nothing, jnp.int32(0x5A), no, table)
            assert after == before, hex(opcode)
            assert not bool(out.where)
        assert not bool(idle.reads)


@pytest.mark.parametrize("registers", [{}, {"x": 0xFF, "y": 0x80, "p": 0xFD}])
def test_the_short_way_is_that_of_plain_instructions(registers: dict[str, int]) -> None:
    """Address, timing and effect are the same for all 256 opcodes but the hard ones."""
    plain: set[tuple[str, str]] = set()
    aside: set[tuple[str, str]] = set()
    hard, no = [], jnp.bool_(False)
    for opcode in range(256):
        machine = Machine(f"{opcode:02X} C3 81", **registers)
        machine.memory[:0x100] = np.arange(0x100)[::-1] * 7 % 256
        # As in the console, where RAM answers a pointer into the TIA.
        machine.memory[:0x80] = machine.memory[0x80:0x100]
        table, before = cpu.decode_table(), machine.cpu
        code, _ = cpu.fetch(before, table, None, machine.read)
        long, _ = cpu.aim(before, code, None, machine.read)
        unlike = ("words",)
        if not bool(code.is_plain):
            hard.append(opcodes.instruction(opcode))
        if bool(code.is_plain):
            plain.add(opcodes.instruction(opcode))
            short = cpu.plain(before, code)
        elif bool(code.is_aside):
            aside.add(opcodes.instruction(opcode))
            ram = jnp.asarray(machine.memory[:0x80], jnp.int32)
            short = cpu.aside(before, code, ram.__getitem__)
            unlike = ("words", "noise", "target", "address")
        else:
            continue
        same = [now._replace(**dict.fromkeys(unlike)) for now in (long, short)]
        assert same[0] == same[1], hex(opcode)
        data = jnp.int32(0x5A)
        after, out = execution.execute(before, long, data, no, table)
        assert out.address == short.address, hex(opcode)
        assert (after, out) == execution.execute(before, short, data, table=table), hex(
            opcode
        )
        if not bool(execution.is_odd(before, long)):
            assert (after, out) == execution.execute(before, short, data), hex(opcode)
    stack = {"PHA", "PHP", "PLA", "PLP", "JSR", "RTS", "RTI", "BRK", "JMP", "JAM"}
    assert stack <= {name for name, _ in hard}
    modes = {"izx", "izy"}
    assert {mode for _, mode in hard if mode in (*modes, "ind")} == {*modes, "ind"}
    assert len(hard) < 100
    assert {name for name, mode in aside if mode not in modes} == {
        *("PHA", "PHP", "PLA", "JMP")
    }
    assert {mode for _, mode in aside} == {"", "abs", *modes}
    assert ("JMP", "ind") not in aside
    assert not {"ind", *modes} & {mode for _, mode in plain}
    assert not {"JSR", "RTS", "RTI", "BRK", "PLP", "JAM"} & {
        n for n, _ in plain | aside
    }
    assert len(plain | aside) > 150


def test_a_jump_into_the_tia_finds_the_high_byte_of_its_target():
    """The reset vector of Star Gunner is 0: its first instruction is a BRK."""
    machine = Machine("")
    machine.memory[0] = 0xEA  # not what the bus holds
    machine.memory[0xFFFE:] = 0xD8, 0xF0
    machine.cpu = cpu.reset(jnp.int32(0))
    state = machine.step()
    assert int(state.pc) == 0xF0D8
    assert int(state.cycles) == 7
    assert machine.memory[0x1FE:0x200].tolist() == [2, 0]
