"""Building blocks of a game's rules: reward, lives and the end, read from memory.

Most games are a binary-coded decimal score, a byte of lives and a test for the end.
These are written in a small notation, all numbers hexadecimal:

    "D3"         the byte at RAM address D3
    "CC&0F+1"    its low four bits, plus one
    "BC>>4"      its high four bits
    "A3=0 8F=3"  both tests hold; tests are =, != and >
    "98&80!=0|C9=0"   one of the groups of tests holds
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import numpy as jnp

Int = jax.Array
Bool = jax.Array


class Signals(NamedTuple):
    """What an agent gets from one emulated frame, and what the rules remember.

    Attributes:
      reward: int32, points of this frame.
      lives: int32, 0 where the game has none.
      terminal: bool, the game is over.
      memory: int32[K], hidden state of the rules; K depends on the game.
    """

    reward: Int
    lives: Int
    terminal: Bool
    memory: Int


class Memory:
    """Reads the console's memory by RAM address (80 to FF), as int32.

    Args:
      ram: uint8[128], the console's RAM.
      cartridge: uint8[128], RAM of the cartridge where it has one.
    """

    def __init__(self, ram: jax.Array, cartridge: jax.Array | None = None):
        self._ram = ram.astype(jnp.int32)
        self._cartridge = cartridge

    def __call__(self, address: int) -> Int:
        """The byte at an address."""
        return self._ram[address & 0x7F]

    def between(self, first: int, last: int) -> Int:
        """The bytes at addresses from `first` to `last`, both included."""
        return self._ram[first & 0x7F : (last & 0x7F) + 1]

    def cartridge(self, index: int) -> Int:
        """A byte of the cartridge's RAM; 0 where there is none."""
        if self._cartridge is None:
            return jnp.int32(0)
        return self._cartridge[index].astype(jnp.int32)

    def decimal(self, *addresses: int) -> Int:
        """The binary-coded decimal number at some addresses, lowest digits first."""
        return decimal(*(self(address) for address in addresses))


Value = Callable[[Memory], Int]
Test = Callable[[Memory], Bool]


class Rules(NamedTuple):
    """How one game is scored.

    Attributes:
      start: `(mode) -> Signals` after the console's reset.
      update: `(memory, last signals) -> Signals` after one more frame.
    """

    start: Callable[[int], Signals]
    update: Callable[[Memory, Signals], Signals]


def decimal(*values: Int) -> Int:
    """The binary-coded decimal number of some bytes, lowest digits first."""
    total = jnp.int32(0)
    for i, byte in enumerate(values):
        total += 100**i * (10 * (byte >> 4) + (byte & 15))
    return total


_TERM = re.compile(r"([0-9A-F]{2})(?:>>(\d))?(?:&([0-9A-F]+))?([+-]\d+)?")
_TEST = re.compile(r"(.*?)(!=|=|>)([0-9A-F]+)")


def value(text: str | Value) -> Value:
    """Compiles the notation of one byte; see the module's docstring."""
    if callable(text):
        return text
    match = _TERM.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read the value {text!r}")
    address, shift, mask, plus = match.groups()

    def read(memory: Memory) -> Int:
        byte = memory(int(address, 16)) >> int(shift or 0)
        return (byte & int(mask or "FF", 16)) + int(plus or 0)

    return read


def test(text: str | Test) -> Test:
    """Compiles the notation of a test; see the module's docstring."""
    if callable(text):
        return text
    groups = [[_comparison(part) for part in g.split()] for g in text.split("|")]

    def holds(memory: Memory) -> Bool:
        result = jnp.bool_(False)
        for group in groups:
            every = jnp.bool_(True)
            for comparison in group:
                every &= comparison(memory)
            result |= every
        return result

    return holds


def _comparison(text: str) -> Test:
    match = _TEST.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read the test {text!r}")
    read, sign, number = value(match[1]), match[2], int(match[3], 16)
    if sign == ">":
        return lambda memory: read(memory) > number
    if sign == "=":
        return lambda memory: read(memory) == number
    return lambda memory: read(memory) != number


def start(*memory: int, lives: int = 0) -> Callable[[int], Signals]:
    """The same first signals in every mode."""
    return lambda mode: Signals(
        jnp.int32(0),
        jnp.int32(lives),
        jnp.bool_(False),
        jnp.array(memory, jnp.int32),
    )


def scored(
    score: str | Value,
    lives: str | int | Value,
    over: str | Test,
    *,
    times: int = 1,
    first: int = 0,
    reward: Callable[[Int], Int] | None = None,
    hold: bool = False,
) -> Rules:
    """Rules of a game whose reward is the change of a score.

    Args:
      score: Addresses of a decimal score, lowest digits first ("DB DA D9"), or a
        function of memory.
      lives: Lives left while the game goes on; reported as 0 when it is over.
      over: Test for the end.
      times: Points for each unit of the score.
      first: Score at the start of a game.
      reward: Turns the change of the score into the reward.
      hold: In the frame in which the game ends, there is no reward and the old score
        stays.
    """
    if callable(score):
        read_score = score
    else:
        addresses = [int(address, 16) for address in score.split()]

        def read_score(memory: Memory) -> Int:
            return memory.decimal(*addresses)

    is_over = test(over)

    def update(memory: Memory, last: Signals) -> Signals:
        ended = is_over(memory)
        total = times * read_score(memory)
        change = total - last.memory[0]
        points = change if reward is None else reward(change)
        if hold:
            points = jnp.where(ended, 0, points)
            total = jnp.where(ended, last.memory[0], total)
        left = jnp.int32(lives) if isinstance(lives, int) else value(lives)(memory)
        return Signals(points, jnp.where(ended, 0, left), ended, total[None])

    return Rules(start(first), update)
