"""The machine's own random numbers: what a console finds in RAM and in its timer.

The reference emulator draws them from one MT19937 stream (Matsumoto & Nishimura, 1998)
with a fixed seed, so that a console is reproducible: first 128 bytes of RAM, then at
every reset a timer value and, with a Superchip, 128 bytes of its RAM.
"""

from typing import NamedTuple

import numpy as np

SEED = 4753849
"""Seed of the reference emulator's system stream."""

_BLOCK = 128


class Draws(NamedTuple):
    """Random bytes of a console's life; rows of the last two belong to resets."""

    ram: np.ndarray  # uint8[128]
    timer: np.ndarray  # uint8[R]
    superchip: np.ndarray  # uint8[R, 128]; zeros without one


def draws(resets: int, superchip: bool = False, seed: int = SEED) -> Draws:
    """Bytes for power on and the `resets` resets after it.

    Rows 0, 1, 2 are used while ALE makes a console (its construction, the start of its
    search for the television standard, the end of it), row 3 when it loads the game,
    row 4 by the first reset that the user asks for.

    Example:
      >>> draws(4).timer
      array([58, 51, 32, 74], dtype=uint8)
    """
    blocks = _BLOCK * (1 + resets * superchip)
    source = np.random.RandomState(seed)
    words = source.randint(0, 1 << 32, blocks + resets, dtype=np.uint32)
    ram = (words[:_BLOCK] & 0xFF).astype(np.uint8)
    words = words[_BLOCK:]
    extra = np.zeros((resets, _BLOCK), np.uint8)
    if superchip:
        # Making the RIOT draws a timer before there is a cartridge to fill.
        words = np.insert(words, 1, np.zeros(_BLOCK, np.uint32))
        rows = words[: resets * (1 + _BLOCK)].reshape(resets, 1 + _BLOCK)
        extra, words = (rows[:, 1:] & 0xFF).astype(np.uint8), rows[:, 0]
    return Draws(ram, (25 + words % 75).astype(np.uint8), extra)
