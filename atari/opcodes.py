"""The 6502's instruction set as a decode table of packed control words.

A few words an opcode, so that a console decodes with table look-ups and a few shifts
instead of a 256-way branch, which lanes of a batch could not take together. Names,
modes and cycle counts are those of the NMOS 6502 (MCS6500 Family Programming Manual,
appendix B) and, for the undocumented opcodes, of "NMOS 6510 Unintended Opcodes"
(groepaz, 2021).
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

# Rows are the high nibble, columns the low nibble; mode letters as in _MODES.
_GRID = """
BRK    ORAizx JAM    SLOizx NOPzp  ORAzp  ASLzp  SLOzp  PHP ORAimm ASLacc ANCimm NOPabs ORAabs ASLabs SLOabs
BPLrel ORAizy JAM    SLOizy NOPzpx ORAzpx ASLzpx SLOzpx CLC ORAaby NOP    SLOaby NOPabx ORAabx ASLabx SLOabx
JSRabs ANDizx JAM    RLAizx BITzp  ANDzp  ROLzp  RLAzp  PLP ANDimm ROLacc ANCimm BITabs ANDabs ROLabs RLAabs
BMIrel ANDizy JAM    RLAizy NOPzpx ANDzpx ROLzpx RLAzpx SEC ANDaby NOP    RLAaby NOPabx ANDabx ROLabx RLAabx
RTI    EORizx JAM    SREizx NOPzp  EORzp  LSRzp  SREzp  PHA EORimm LSRacc ASRimm JMPabs EORabs LSRabs SREabs
BVCrel EORizy JAM    SREizy NOPzpx EORzpx LSRzpx SREzpx CLI EORaby NOP    SREaby NOPabx EORabx LSRabx SREabx
RTS    ADCizx JAM    RRAizx NOPzp  ADCzp  RORzp  RRAzp  PLA ADCimm RORacc ARRimm JMPind ADCabs RORabs RRAabs
BVSrel ADCizy JAM    RRAizy NOPzpx ADCzpx RORzpx RRAzpx SEI ADCaby NOP    RRAaby NOPabx ADCabx RORabx RRAabx
NOPimm STAizx NOPimm SAXizx STYzp  STAzp  STXzp  SAXzp  DEY NOPimm TXA    ANEimm STYabs STAabs STXabs SAXabs
BCCrel STAizy JAM    SHAizy STYzpx STAzpx STXzpy SAXzpy TYA STAaby TXS    SHSaby SHYabx STAabx SHXaby SHAaby
LDYimm LDAizx LDXimm LAXizx LDYzp  LDAzp  LDXzp  LAXzp  TAY LDAimm TAX    LXAimm LDYabs LDAabs LDXabs LAXabs
BCSrel LDAizy JAM    LAXizy LDYzpx LDAzpx LDXzpy LAXzpy CLV LDAaby TSX    LASaby LDYabx LDAabx LDXaby LAXaby
CPYimm CMPizx NOPimm DCPizx CPYzp  CMPzp  DECzp  DCPzp  INY CMPimm DEX    SBXimm CPYabs CMPabs DECabs DCPabs
BNErel CMPizy JAM    DCPizy NOPzpx CMPzpx DECzpx DCPzpx CLD CMPaby NOP    DCPaby NOPabx CMPabx DECabx DCPabx
CPXimm SBCizx NOPimm ISBizx CPXzp  SBCzp  INCzp  ISBzp  INX SBCimm NOP    SBCimm CPXabs SBCabs INCabs ISBabs
BEQrel SBCizy JAM    ISBizy NOPzpx SBCzpx INCzpx ISBzpx SED SBCaby NOP    ISBaby NOPabx SBCabx INCabx ISBabx
"""  # noqa: E501

# Where an operand comes from: bytes after the opcode, then cycles of a read, of a
# write, and of a read-modify-write.
_MODES: dict[str, tuple[int, int, int, int]] = {
    "": (0, 2, 2, 2),
    "acc": (0, 2, 2, 2),
    "imm": (1, 2, 2, 2),
    "rel": (1, 2, 2, 2),
    "zp": (1, 3, 3, 5),
    "zpx": (1, 4, 4, 6),
    "zpy": (1, 4, 4, 6),
    "abs": (2, 4, 4, 6),
    "abx": (2, 4, 5, 7),
    "aby": (2, 4, 5, 7),
    "izx": (1, 6, 6, 8),
    "izy": (1, 5, 6, 8),
    "ind": (2, 5, 5, 5),
}
_OTHER_CYCLES = {
    "BRK": 7,
    "JSR": 6,
    "RTS": 6,
    "RTI": 6,
    "JMPabs": 3,
    "JMPind": 5,
    "PHA": 3,
    "PHP": 3,
    "PLA": 4,
    "PLP": 4,
    "LAXzp": 4,  # 3 on the chip; what the reference emulator takes
}

# How undocumented and decimal arithmetic is done: first what is done to the operand,
# then what the register does with it.
MODIFY = {"": 0, "ASL": 1, "LSR": 2, "ROL": 3, "ROR": 4, "INC": 5, "DEC": 6}
ALU = {"": 0, "ORA": 1, "AND": 2, "EOR": 3, "ADC": 4, "SBC": 5, "CMP": 6, "BIT": 7}
SOURCE = {"M": 0, "A": 1, "X": 2, "Y": 3, "S": 4, "P": 5, "Q": 6}  # Q: queued byte
SOURCE |= {"AX": 8, "AM": 9, "SM": 10, "AEM": 11, "AEXM": 12}  # undocumented
LEFT = {"A": 0, "X": 1, "Y": 2, "AX": 3}
CARRY = {"": 0, "modify": 1, "alu": 2, "sign": 3}
FLOW = {"": 0, "JMP": 1, "JSR": 2, "RTS": 3, "RTI": 4, "BRK": 5}

# All other arithmetic is one sum: of the register's and the operand's unlike bits, if
# `merge`, their common bits `both` times, the carry if `carry_in`, and `constant`.
_SUM = {"": (1, 0), "ORA": (1, 1), "AND": (0, 1), "EOR": (1, 0), "BIT": (0, 1)}
_SUM |= {"ADC": (1, 2), "SBC": (1, 2), "CMP": (1, 2)}


class _Do(NamedTuple):
    """What a mnemonic does: see the field names of `FIELDS`."""

    source: str = "M"
    modify: str = ""
    alu: str = ""
    left: str = "A"
    to: str = ""  # registers that take the result
    nz: int = 1
    carry: str = ""
    read: int = 0
    write: int = 0


def _semantics() -> dict[str, _Do]:
    shift = {"ASL", "LSR", "ROL", "ROR"}
    do = {
        "LDA": _Do(to="A", read=1),
        "LDX": _Do(to="X", read=1),
        "LDY": _Do(to="Y", read=1),
        "LAX": _Do(to="AX", read=1),
        "STA": _Do("A", nz=0, write=1),
        "STX": _Do("X", nz=0, write=1),
        "STY": _Do("Y", nz=0, write=1),
        "SAX": _Do("AX", nz=0, write=1),
        "SHA": _Do("AX", nz=0, write=1),
        "SHX": _Do("X", nz=0, write=1),
        "SHY": _Do("Y", nz=0, write=1),
        "SHS": _Do("AX", to="S", nz=0, write=1),
        "TAX": _Do("A", to="X"),
        "TAY": _Do("A", to="Y"),
        "TXA": _Do("X", to="A"),
        "TYA": _Do("Y", to="A"),
        "TSX": _Do("S", to="X"),
        "TXS": _Do("X", to="S", nz=0),
        "INX": _Do("X", "INC", to="X"),
        "INY": _Do("Y", "INC", to="Y"),
        "DEX": _Do("X", "DEC", to="X"),
        "DEY": _Do("Y", "DEC", to="Y"),
        "CMP": _Do(alu="CMP", carry="alu", read=1),
        "CPX": _Do(alu="CMP", left="X", carry="alu", read=1),
        "CPY": _Do(alu="CMP", left="Y", carry="alu", read=1),
        "BIT": _Do(alu="BIT", nz=0, read=1),
        "NOP": _Do(nz=0, read=1),
        "PHA": _Do("A", nz=0),
        "PHP": _Do("P", nz=0),
        "PLA": _Do(to="A", read=1),
        "PLP": _Do(nz=0, read=1),
        "ANC": _Do(alu="AND", to="A", carry="sign", read=1),
        "ASR": _Do("AM", "LSR", to="A", carry="modify", read=1),
        "ARR": _Do("AM", "ROR", to="A", read=1),
        "SBX": _Do(alu="CMP", left="AX", to="X", carry="alu", read=1),
        "LAS": _Do("SM", to="AXS", read=1),
        "LXA": _Do("AEM", to="AX", read=1),
        "ANE": _Do("AEXM", to="A", read=1),
    }
    for name in ("ORA", "AND", "EOR"):
        do[name] = _Do(alu=name, to="A", read=1)
    for name in ("ADC", "SBC"):
        do[name] = _Do(alu=name, to="A", carry="alu", read=1)
    for name in ("INC", "DEC"):
        do[name] = _Do(modify=name, read=1, write=1)
    for name in shift:
        do[name] = _Do(modify=name, carry="modify", read=1, write=1)
    pairs = {"SLO": "ASL ORA", "RLA": "ROL AND", "SRE": "LSR EOR", "RRA": "ROR ADC"}
    for name, pair in (pairs | {"DCP": "DEC CMP", "ISB": "INC SBC"}).items():
        modify, alu = pair.split()
        carry = "alu" if alu in ("ADC", "SBC", "CMP") else "modify"
        to = "" if alu == "CMP" else "A"
        do[name] = _Do("M", modify, alu, to=to, carry=carry, read=1, write=1)
    return do


# Name and width of every field, lowest first: a row of the table each. Fields named in
# `SIGNED` are their word's highest.
FIELDS: tuple[dict[str, int], ...] = (
    {
        "cycles": 4,
        "length": 2,  # bytes; 0 goes nowhere
        "index_x": 1,
        "index_y": 1,
        "zero_page": 1,
        "pointer": 1,  # operand is the address of the address
        "pointer_x": 1,
        "immediate": 1,
        "crossing": 1,  # one cycle more when indexing leaves the page
        "read": 1,
        "write": 1,
        "push": 1,  # what is written goes on the stack
        "pull": 1,
        "branch": 2,  # 1 if the flag is clear, 2 if it is set
        "branch_flag": 3,  # bit number in P
        "flow": 3,
        "polls": 1,  # BNE and BPL, with which games wait for the timer
        "hard": 1,  # anything but to compute and to move a value to or from an address
        "aside": 1,  # hard by a pointer, a byte on the stack or a jump alone
        "spare": 1,
        "stack": 3,  # what is added to S
    },
    # Flags are where P has them, so that this word is a mask for P.
    {
        "take_c": 1,
        "take_z": 1,
        "drop_i": 1,
        "drop_d": 1,
        "merge": 1,
        "bit": 1,  # N and V are the operand's
        "take_v": 1,
        "take_n": 1,
        "set_c": 1,
        "rotate": 1,  # the carry comes in above the operand
        "set_i": 1,
        "set_d": 1,
        "source": 3,
        "left": 2,  # 0 none, or a register
        "shift": 2,  # to the left, but for one to the right
        "invert": 1,
        "both": 2,
        "carry_in": 1,
        "to_a": 1,
        "to_x": 1,
        "to_y": 1,
        "to_s": 1,
        "to_p": 1,
        "adds": 1,  # ADC, SBC and what contains them
        "odd": 1,  # arithmetic of the undocumented, that no game does in a loop
        "constant": 2,
    },
    # Looked at if arithmetic is undocumented or decimal.
    {
        "odd_source": 4,
        "odd_modify": 3,
        "odd_alu": 3,
        "odd_left": 2,
        "odd_carry": 2,
        "odd_nz": 1,
        "arr": 1,
        "high": 1,  # value stored is masked by the address's high byte plus one
    },
)
SIGNED = ("stack", "constant")
_BRANCH_FLAG = {"PL": (7, 0), "MI": (7, 1), "VC": (6, 0), "VS": (6, 1)}
_BRANCH_FLAG |= {"CC": (0, 0), "CS": (0, 1), "NE": (1, 0), "EQ": (1, 1)}


def instruction(opcode: int) -> tuple[str, str]:
    """Mnemonic and addressing mode of an opcode, for example `("LDA", "zpx")`."""
    entry = _GRID.split()[opcode]
    return entry[:3], entry[3:]


def fields(opcode: int) -> dict[str, int]:
    """Every control field of one opcode, by name."""
    name, mode = instruction(opcode)
    do = _semantics().get(name, _Do(nz=0))
    length, *cycles = _MODES[mode]
    kind = do.write + (do.write & do.read)  # 0 read, 1 write, 2 both
    in_memory = mode not in ("", "acc", "rel")
    source = "A" if mode == "acc" else do.source
    flow = FLOW.get(name, 0)
    branch = name[1:] if mode == "rel" else ""
    flag, value = _BRANCH_FLAG.get(branch, (0, 0))
    pushes = name in ("PHA", "PHP", "JSR", "BRK")
    pulls = name in ("PLA", "PLP", "RTI")
    pointer = mode in ("izx", "izy", "ind")
    high = name in ("SHA", "SHX", "SHY", "SHS")
    odd = SOURCE[source] >= 8 or do.left == "AX" or do.carry == "sign" or name == "ARR"
    odd = odd or high or bool(do.modify and do.alu)
    nz = do.nz if name in _semantics() else 0
    beyond = odd or name in ("JAM", "PLP") or (flow and name + mode != "JMPabs")
    hard = bool(beyond or flow or pushes or pulls or pointer)
    moved = dict.fromkeys(("JSR", "BRK", "PHA", "PHP"), -1) | {"PLA": 1, "PLP": 1}
    moved |= {"RTS": 2, "RTI": 3}
    # BRK skips a byte; JAM stays where it is.
    length = 0 if name == "JAM" else length + 1 + int(name == "BRK")
    return {
        "cycles": _OTHER_CYCLES.get(name, _OTHER_CYCLES.get(name + mode, cycles[kind])),
        "length": length,
        "index_x": int(mode in ("zpx", "abx")),
        "index_y": int(mode in ("zpy", "aby", "izy")),
        "zero_page": int(mode in ("zp", "zpx", "zpy")),
        "pointer": int(pointer),
        "pointer_x": int(mode == "izx"),
        "immediate": int(mode == "imm"),
        "crossing": int(kind == 0 and mode in ("abx", "aby", "izy")),
        "read": do.read
        if (in_memory and mode != "imm") or name in ("PLA", "PLP")
        else int(name in ("RTI", "RTS")),
        "write": int((do.write and in_memory) or pushes),
        "push": int(pushes),
        "pull": int(pulls),
        "branch": 1 + value if mode == "rel" else 0,
        "branch_flag": flag,
        "flow": flow,
        "polls": int(branch in ("NE", "PL")),
        "hard": int(hard),
        "aside": int(hard and not beyond),
        "spare": 0,
        "stack": moved.get(name, 0),
        "take_c": int(bool(do.carry) or name == "CLC"),
        "take_z": int(nz or do.alu == "BIT"),
        "drop_i": int(name == "CLI"),
        "drop_d": int(name == "CLD"),
        # CLC and CLV take the flags of nothing.
        "merge": 0 if name in ("CLC", "CLV") else _SUM[do.alu][0],
        "bit": int(do.alu == "BIT"),
        "take_v": int(do.alu in ("ADC", "SBC", "BIT") or name == "CLV"),
        "take_n": int(nz or do.alu == "BIT"),
        "set_c": int(name == "SEC"),
        "rotate": int(do.modify == "ROR"),
        "set_i": int(name in ("SEI", "BRK")),
        "set_d": int(name == "SED"),
        "source": SOURCE[source] & 7,
        "left": 1 + "AXY".find(do.left) if do.alu else 0,
        "shift": {"LSR": 0, "ROR": 0, "ASL": 2, "ROL": 2}.get(do.modify, 1),
        "invert": int(do.alu in ("SBC", "CMP")),
        "both": _SUM[do.alu][1],
        "carry_in": int(do.alu in ("ADC", "SBC") or do.modify == "ROL"),
        "to_a": int("A" in do.to or mode == "acc"),
        "to_x": int("X" in do.to),
        "to_y": int("Y" in do.to),
        "to_s": int("S" in do.to),
        "to_p": int(name in ("PLP", "RTI")),
        "adds": int(do.alu in ("ADC", "SBC")),
        "odd": int(odd),
        "constant": {"INC": 1, "DEC": -1}.get(do.modify, int(do.alu == "CMP")),
        "odd_source": SOURCE[source],
        "odd_modify": MODIFY[do.modify],
        "odd_alu": ALU[do.alu],
        "odd_left": LEFT[do.left],
        "odd_carry": CARRY[do.carry],
        "odd_nz": nz,
        "arr": int(name == "ARR"),
        "high": int(high),
    }


PUSHING = {"write": 1, "push": 1, "hard": 1, "stack": -1, "shift": 1, "merge": 1}
PUSHING |= {"source": SOURCE["Q"]}
"""Fields of what pushes the next queued byte, as if that were an instruction."""


def pack(values: Mapping[str, int]) -> list[int]:
    """The words of some fields, each an int32; fields that are absent are 0."""
    words = [0] * len(FIELDS)
    for name, (row, shift, mask) in layout().items():
        words[row] |= (values.get(name, 0) & mask) << shift
    return np.array(words, np.uint32).view(np.int32).tolist()


def tables() -> np.ndarray:
    """The packed decode words, int32[3, 256]: one row for each part of `FIELDS`."""
    return np.array([pack(fields(opcode)) for opcode in range(256)], np.int32).T


@functools.cache
def layout() -> dict[str, tuple[int, int, int]]:
    """Row, shift and mask of every field, to take the words of `tables` apart."""
    places = {}
    for row, part in enumerate(FIELDS):
        shift = 0
        for name, width in part.items():
            places[name] = (row, shift, (1 << width) - 1)
            shift += width
    return places
