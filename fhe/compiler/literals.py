"""Integer, character and string literals of C."""

import re

from fhe.compiler import types as ct
from fhe.compiler.types import IntType

_ESCAPES = {
    "n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, "'": 39,
    '"': 34, "?": 63,
}  # fmt: skip


def string_bytes(text: str) -> bytes:
    """Bytes of a character or string literal, without the terminator."""
    body = text[text.index(text[-1]) + 1 : -1]

    def replace(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] == "x":
            return chr(int(code[1:], 16) & 255)
        if code[0] in "01234567":
            return chr(int(code, 8) & 255)
        return chr(_ESCAPES[code])

    # Bytes beyond ASCII are UTF-8 in the source; escapes are single bytes.
    encoded = body.encode().decode("latin-1")
    pattern = r"\\(x[0-9a-fA-F]+|[0-7]{1,3}|.)"
    return re.sub(pattern, replace, encoded).encode("latin-1")


def number(text: str) -> tuple[IntType, int]:
    """Type and value of an integer or character constant.

    Raises:
        ValueError: if the text is neither.
    """
    if "'" in text:
        code = string_bytes(text)
        if len(code) != 1:
            raise ValueError(f"{text} is not one character")
        return ct.INT, ct.CHAR.wrap(code[0])
    digits = text.rstrip("uUlL")
    suffix = text[len(digits) :].lower()
    octal = re.fullmatch(r"0[0-7]+", digits)
    try:
        value = int(digits[1:], 8) if octal else int(digits, 0)
    except ValueError:
        raise ValueError(
            f"{text} is not an integer; use fixed-point integers"
        ) from None
    for kind in (ct.INT, ct.UINT, ct.LONG, ct.ULONG):
        if kind.width < 64 and "l" in suffix:
            continue
        if kind.signed and "u" in suffix:
            continue
        # Decimal constants never become unsigned by themselves.
        if not kind.signed and digits[0] != "0" and "u" not in suffix:
            continue
        if value <= kind.high:
            return kind, value
    raise ValueError(f"{text} does not fit into 64 bits")
