"""Cartridges of random code, to compare the console with ale-py where no game goes.

A frame is straight-line code: random writes to the TIA at random cycles, reads of
collisions, timer and RAM, arithmetic in both modes, undocumented opcodes, stack writes
into the TIA. Frames are short, so that hundreds run in seconds.
"""

import numpy as np

_TIA = [*range(0x04, 0x15), *range(0x1B, 0x2D)]
_TIA_HOT = [
    0x10,
    0x11,
    0x12,
    0x13,
    0x14,
    0x2A,
    0x2A,
    0x1B,
    0x1C,
    0x0D,
    0x0E,
    0x0F,
    0x0A,
]
_IMPLIED = [0x0A, 0x2A, 0x4A, 0x6A, 0x8A, 0x98, 0xA8, 0xAA, 0xCA, 0x88, 0xE8, 0xC8]
_IMPLIED += [0x18, 0x38, 0xB8, 0xD8, 0xF8, 0xEA, 0x1A, 0xBA]
_IMMEDIATE = [0x09, 0x29, 0x49, 0x69, 0xA0, 0xA2, 0xA9, 0xC0, 0xC9, 0xE0, 0xE9, 0xEB]
_IMMEDIATE += [0x0B, 0x4B, 0x6B, 0xCB, 0x80]
_READS = [0x05, 0x25, 0x45, 0x65, 0xA4, 0xA5, 0xA6, 0xA7, 0xC4, 0xC5, 0xE4, 0xE5, 0x24]
_READS_X = [0x15, 0x35, 0x55, 0x75, 0xB4, 0xB5, 0xD5, 0xF5]
_CHANGES = [0x06, 0x26, 0x46, 0x66, 0xC6, 0xE6, 0x07, 0x27, 0x47, 0x67, 0xC7, 0xE7]
_STORES = [0x84, 0x85, 0x86, 0x87]
_FREE = 0x90  # RAM from here on is the code's to change; below, tables and counters


def _byte(rng: np.random.Generator, low: int = 0, high: int = 256) -> int:
    return int(rng.integers(low, high))


def _instruction(rng: np.random.Generator, visible: bool) -> bytes:
    """A random instruction or short idiom."""
    kind = _byte(rng, 0, 20)
    ram = _byte(rng, _FREE, 0xF0)
    pick = lambda values: int(values[_byte(rng, 0, len(values))])  # noqa: E731
    if kind < 8:
        register = pick(_TIA_HOT if kind < 3 else _TIA)
        load = bytes([0xA9, _byte(rng)]) if kind % 2 else bytes([0xA5, ram])
        return load + bytes([pick([0x85, 0x85, 0x86, 0x84, 0x87]), register])
    if kind == 8:
        return bytes([0x85, 0x02]) if rng.random() < 0.7 else bytes([0x85, 0x2B])
    if kind == 9:  # collisions and inputs
        return bytes([0xA5, _byte(rng, 0, 14), 0x85, ram])
    if kind == 10:
        return bytes([0xAD, pick([0x80, 0x82, 0x84, 0x85]), 0x02, 0x85, ram])
    if kind == 11:
        return bytes([0x8D, pick([0x94, 0x95, 0x96, 0x97]), 0x02])
    if kind == 12:
        return bytes([pick(_IMPLIED)])
    if kind == 13:
        return bytes([pick(_IMMEDIATE), _byte(rng)])
    if kind == 14:
        return bytes([pick(_READS), ram])
    if kind == 15:  # X stays in the table's range
        return bytes([0xA6, 0x80, pick(_READS_X), _byte(rng, _FREE, 0xC0)])
    if kind == 16:
        return bytes([pick(_CHANGES), ram])
    if kind == 17:
        return bytes([pick(_STORES), ram])
    if kind == 18:  # a push into the TIA, then the stack as it was
        push = pick([0x48, 0x08])
        return bytes([0xA2, pick(_TIA_HOT), 0x9A, push, 0xA2, 0xFF, 0x9A])
    # A change of a register where the TIA is only read; VBLANK now and then.
    if visible and rng.random() < 0.3:
        return bytes([0xA9, pick([0, 0, 0x02, 0x82]), 0x85, 0x01])
    return bytes([pick([0xE6, 0xC6, 0x06]), pick(_TIA_HOT)])


def cartridge(seed: int, visible: int = 260, hidden: int = 30) -> bytes:
    """A 4 KB image whose frames run some `visible` random instructions.

    Args:
      seed: of the code.
      visible: random idioms in the lines that are shown.
      hidden: random idioms before them.
    """
    rng = np.random.default_rng(seed)
    code = bytearray.fromhex(
        "78 D8 A2 FF 9A"  # SEI; CLD; LDX #FF; TXS
        "A9 02 85 00 85 02 85 02 85 02 A9 00 85 00"  # F005 vertical sync
        "E6 81 A5 81 29 1F 85 80"  # count frames
    )
    for _ in range(hidden):
        code += _instruction(rng, False)
    code += bytes.fromhex("A9 00 85 01 A2 14 85 02 CA D0 FB")  # into the picture
    for _ in range(visible):
        code += _instruction(rng, True)
    # A subroutine and an interrupt's round trip, then the next frame.
    sub = 0xFF0
    code += bytes([0x20, sub & 0xFF, 0xF0 | sub >> 8, 0xD8])
    code += bytes.fromhex("A2 FF 9A 4C 05 F0")
    image = code.ljust(0xFF0, b"\xea")
    assert len(image) == 0xFF0, "the code is too long"
    image += bytes.fromhex("E6 82 08 28 60").ljust(12, b"\xea")
    return bytes(image + bytes.fromhex("00 F0 00 F0"))
