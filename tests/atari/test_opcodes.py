"""The decode table against the MCS6500 Programming Manual."""

import re

import numpy as np
import pytest

from atari import opcodes

# Opcode, mnemonic, mode, cycles: MCS6500 Programming Manual, appendix B, a sample of
# all modes and of all irregular instructions.
MANUAL = """
69 ADC imm 2   65 ADC zp 3    75 ADC zpx 4   6D ADC abs 4   7D ADC abx 4   79 ADC aby 4
61 ADC izx 6   71 ADC izy 5   0A ASL acc 2   06 ASL zp 5    16 ASL zpx 6   0E ASL abs 6
1E ASL abx 7   90 BCC rel 2   24 BIT zp 3    2C BIT abs 4   00 BRK - 7     18 CLC - 2
C6 DEC zp 5    DE DEC abx 7   4C JMP abs 3   6C JMP ind 5   20 JSR abs 6   B6 LDX zpy 4
BE LDX aby 4   BC LDY abx 4   B1 LDA izy 5   48 PHA - 3     08 PHP - 3     68 PLA - 4
28 PLP - 4     40 RTI - 6     60 RTS - 6     85 STA zp 3    95 STA zpx 4   8D STA abs 4
9D STA abx 5   99 STA aby 5   81 STA izx 6   91 STA izy 6   96 STX zpy 4   94 STY zpx 4
AA TAX - 2     9A TXS - 2     EA NOP - 2     F8 SED - 2     E1 SBC izx 6   FE INC abx 7
"""
DOCUMENTED = re.findall(
    "...",
    "ADCANDASLBCCBCSBEQBITBMIBNEBPLBRKBVCBVSCLCCLDCLICLVCMPCPXCPYDECDEXDEYEORINCINX"
    "INYJMPJSRLDALDXLDYLSRNOPORAPHAPHPPLAPLPROLRORRTIRTSSBCSECSEDSEISTASTXSTYTAXTAY"
    "TSXTXATXSTYA",
)
ROWS = re.findall(r"([0-9A-F]{2}) ([A-Z]{3}) (\S+) (\d)", MANUAL)


@pytest.mark.parametrize(("code", "name", "mode", "cycles"), ROWS)
def test_manual(code: str, name: str, mode: str, cycles: str) -> None:
    """Mnemonic, addressing mode and base cycles."""
    number = int(code, 16)
    assert opcodes.instruction(number) == (name, mode.replace("-", ""))
    assert opcodes.fields(number)["cycles"] == int(cycles)


def test_all_documented_opcodes_are_there() -> None:
    """56 mnemonics; 151 opcodes, the official NOP and SBC counted once."""
    pairs = [opcodes.instruction(number) for number in range(256)]
    assert {name for name, _ in pairs} >= set(DOCUMENTED)
    official = {pair for pair in pairs if pair[0] in DOCUMENTED}
    official -= {("NOP", mode) for mode in ("imm", "zp", "zpx", "abs", "abx")}
    assert len(official) == 151


def test_crossing_costs_only_reads() -> None:
    """Leaving the page takes a cycle more in indexed reads, not in writes."""
    crossing = {n for n in range(256) if opcodes.fields(n)["crossing"]}
    assert {0xBD, 0xB9, 0xB1, 0x1C} <= crossing
    assert not {0x9D, 0x99, 0x91, 0xFE, 0xB5, 0xA1} & crossing


def test_fields_fit_their_words() -> None:
    """Every field comes back out of the packed table; words are 32 bits."""
    table, layout = opcodes.tables(), opcodes.layout()
    assert table.shape == (3, 256)
    assert table.dtype == np.int32
    assert all(sum(part.values()) <= 32 for part in opcodes.FIELDS)
    for number in range(256):
        for name, value in opcodes.fields(number).items():
            row, shift, mask = layout[name]
            got = table[row, number] >> shift
            assert (got if name in opcodes.SIGNED else got & mask) == value
