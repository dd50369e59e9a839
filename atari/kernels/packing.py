"""Registers of the chips packed into words, while others are at work.

CPU and beam take turns in the kernel. What the one does not need in the other's turn
would hold a GPU register a field; packed, several fields share one, and twice as many
consoles fit on the GPU at a time.
"""

from collections.abc import Mapping
from typing import Any

from atari.bits import Int

Layout = tuple[tuple[tuple[str, int, int], ...], ...]
"""Words of (field, bits, bits to its right that are always zero)."""

TIA: Layout = (
    (("nusiz0", 8, 0), ("nusiz1", 8, 0), ("colup0", 8, 0), ("colup1", 8, 0)),
    (("colupf", 8, 0), ("colubk", 8, 0), ("ctrlpf", 8, 0), ("grp0", 8, 0)),
    (("grp1", 8, 0), ("old_grp0", 8, 0), ("old_grp1", 8, 0), ("p0", 8, 0)),
    (("p1", 8, 0), ("m0", 8, 0), ("m1", 8, 0), ("ball", 8, 0)),
    (("playfield", 20, 0), ("hmp0", 4, 0), ("hmp1", 4, 0), ("hmm0", 4, 0)),
    (("mirrored", 20, 0), ("hmm1", 4, 0), ("hmbl", 4, 0), ("star_line", 2, 0)),
    (
        *(("vblank", 8, 0), ("late0", 1, 0), ("late1", 1, 0), ("reflect", 1, 0)),
        *(("comb", 1, 0), ("star", 1, 0), ("star_shape", 2, 0), ("refp0", 1, 3)),
        *(("refp1", 1, 3), ("enam0", 1, 1), ("enam1", 1, 1), ("enabl", 1, 1)),
        *(("old_enabl", 1, 1), ("vdelp0", 1, 0), ("vdelp1", 1, 0), ("vdelbl", 1, 0)),
        *(("resmp0", 1, 1), ("resmp1", 1, 1)),
    ),
)
"""All but the clocks, the collisions and what is the same all through a frame."""

BEAM: Layout = (
    (("colup0", 8, 0), ("colup1", 8, 0), ("colupf", 8, 0), ("colubk", 8, 0)),
    (
        *(("hmp0", 4, 0), ("hmp1", 4, 0), ("hmm0", 4, 0), ("hmm1", 4, 0)),
        *(("hmbl", 4, 0), ("star_line", 2, 0), ("star", 1, 0), ("star_shape", 2, 0)),
    ),
    (
        *(("late0", 1, 0), ("late1", 1, 0), ("reflect", 1, 0), ("comb", 1, 0)),
        *(("refp0", 1, 3), ("refp1", 1, 3), ("enam0", 1, 1), ("enam1", 1, 1)),
        *(("enabl", 1, 1), ("old_enabl", 1, 1), ("vdelp0", 1, 0), ("vdelp1", 1, 0)),
        *(("vdelbl", 1, 0), ("resmp0", 1, 1), ("resmp1", 1, 1)),
    ),
    (("p0", 8, 0), ("p1", 8, 0), ("m0", 8, 0), ("m1", 8, 0)),
    (("grp0", 8, 0), ("grp1", 8, 0), ("old_grp0", 8, 0), ("old_grp1", 8, 0)),
    (("nusiz0", 8, 0), ("nusiz1", 8, 0), ("ctrlpf", 8, 0), ("vblank", 8, 0)),
)
"""Fields that stay packed from one window of the beam to the next."""

CPU: Layout = (
    (("a", 8, 0), ("x", 8, 0), ("y", 8, 0), ("s", 8, 0)),
    (("pc", 16, 0), ("executed", 15, 0), ("seen", 1, 0)),
    (("p", 8, 0), ("timer", 8, 0), ("ddra", 8, 0), ("shift", 4, 0), ("over", 1, 0)),
    (("queued", 18, 0), ("vblank", 8, 0)),
)
"""The CPU, the RIOT's timer and the like, but for the clocks."""


INPUTS: Layout = ((("swcha", 8, 0), ("swchb", 8, 0), ("fire0", 1, 0), ("fire1", 1, 0)),)
"""Switches and buttons."""


def names(layout: Layout) -> tuple[str, ...]:
    """All fields of a layout."""
    return tuple(name for word in layout for name, _, _ in word)


def pack(layout: Layout, fields: Mapping[str, Int], salt: Any) -> tuple[Int, ...]:
    """Words of the fields.

    Args:
      layout: what goes where.
      fields: values by name, int32; negative ones do not fit.
      salt: int32, mixed in. If the compiler does not know it, it cannot see that
        `unpack` gives back the same fields and keep those instead.
    """
    words = []
    for word in layout:
        total, at = salt, 0
        for name, bits, shift in word:
            total = total ^ ((fields[name] >> shift) << at)
            at += bits
        words.append(total)
    return tuple(words)


def unpack(layout: Layout, words: tuple[Int, ...], salt: Any) -> dict[str, Int]:
    """The fields of `pack`."""
    fields = {}
    for word, packed in zip(layout, words, strict=True):
        at, clear = 0, packed ^ salt
        for name, bits, shift in word:
            fields[name] = ((clear >> at) & ((1 << bits) - 1)) << shift
            at += bits
    return fields
