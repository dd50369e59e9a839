"""Hand-written cartridges that each show one rare feature of the console."""

_START = "78 D8 A2 FF 9A"  # SEI; CLD; LDX #FF; TXS
_SYNC = "A9 02 85 00 85 02 85 02 85 02 A9 00 85 00"  # three lines of VSYNC
_LINES = "A2 {:02X} 85 02 CA D0 FB"  # some lines of nothing


def _image(code: str) -> bytes:
    data = bytes.fromhex(code)
    vectors = bytes.fromhex("00 F0 00 F0")
    return data.ljust(0xFFC, b"\xea") + vectors


def partial_frames() -> bytes:
    """Thinks for 40,000 instructions in mid-picture while a direction is pressed."""
    return _image(
        _START
        + _SYNC
        + "A5 A0 18 69 13 85 A0 85 09"  # a new background every frame
        + _LINES.format(60)
        + "AD 80 02 C9 FF F0 0A"  # nobody pressed: no thinking
        + "A0 50 A2 00 CA D0 FD 88 D0 F8"  # 80 x 256 x 2 instructions
        + _LINES.format(4)
        + "4C 05 F0"
    )


def stale_rows() -> bytes:
    """Frames of 90 and 50 lines in turn; the background is the count of frames."""
    return _image(
        _START
        + _SYNC
        + "E6 A0 A5 A0 0A 85 09"
        + "A2 28 A5 A0 29 02 F0 02 A2 50"  # 40 or 80 lines
        + "85 02 CA D0 FB 4C 05 F0"
    )


def colour_loss() -> bytes:
    """PAL pictures of 312 and 313 lines, eight frames each."""
    return _image(
        _START
        + _SYNC
        + "E6 A0 A9 44 85 09 A9 F0 85 0D A9 86 85 08"
        + _LINES.format(200)
        + _LINES.format(104)
        + "A5 A0 29 08 F0 02 85 02 85 02"
        + "4C 05 F0"
    )


def too_many_lines() -> bytes:
    """While a direction is pressed, no VSYNC for 400 lines; some draw a colour."""
    return _image(
        _START
        + _SYNC
        + _LINES.format(200)
        + "AD 80 02 C9 FF F0 09"  # nobody pressed: a short frame
        + "A2 C8 86 09 85 02 CA D0 F9"
        + "E6 A0 A5 A0 85 A1"
        + "4C 05 F0"
    )


def cosmic_ark() -> bytes:
    """HMM0 rewritten 21 cycles after HMOVE: missile 0 wanders down the screen."""
    return _image(
        _START
        + _SYNC
        + "A9 0E 85 06 A9 02 85 1D A9 70 85 22"
        + _LINES.format(36)
        + "85 02 85 2A A9 60"
        + 7 * "EA"
        + "85 22"  # missing the moment by two cycles: no stars
        + _LINES.format(6)
        + "A9 70 85 22 85 02 85 2A A9 60"
        + 8 * "EA"
        + "85 22"
        + _LINES.format(40)
        + "E6 A0 A5 A0 85 04"  # next frame with other copies and sizes
        + "85 02 85 2A 4C 05 F0"
    )


def late_hmove() -> bytes:
    """HMOVE at every cycle of the line, with five other motions each frame."""
    code = _START + _SYNC
    code += "A9 FF 85 1B 85 1C A9 02 85 1D 85 1E 85 1F"
    code += "A9 1E 85 06 A9 5A 85 07 A9 98 85 08"
    code += _LINES.format(35)
    for cycle in range(3, 73):
        code += "85 02"
        delay = cycle - 3
        # LDA zp takes 3 cycles, NOP 2.
        threes = delay % 2
        code += threes * "A5 A0" + ((delay - 3 * threes) // 2) * "EA"
        if delay == 1:
            code += "EA"
        code += "85 2A"
    code += "18"
    for register, step in zip(range(0x20, 0x25), (16, 48, 80, 112, 176), strict=True):
        code += f"A5 {register + 0x80:02X} 69 {step:02X} 85 {register + 0x80:02X}"
        code += f"85 {register:02X}"
    return _image(code + "4C 05 F0")
