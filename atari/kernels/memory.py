"""What the kernel reads and writes: tables, images and RAM, notes, pictures."""

import dataclasses
import functools
from typing import Any

import jax
from jax import lax, numpy as jnp

from atari import beam, cartridge
from atari.bits import Bool, Int, Word
from atari.tia import WIDTH

try:
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    triton = None  # type: ignore[assignment]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table in global memory that lanes index on their own."""

    ref: Any
    start: Any = 0

    def __getitem__(self, index: Int) -> Int:
        return triton.load(self.ref.at[self.start + index]).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Bytes:
    """All memory in one array: images, then RAM by address with lanes innermost."""

    ref: Any
    lanes: int
    image: Any  # where a lane's image begins, less RAM_SIZE
    ram: Any  # where a lane's RAM begins

    def read(self, index: Int) -> Int:
        """See `bus.Memory`."""
        in_ram = index < cartridge.RAM_SIZE
        at = jnp.where(in_ram, self.ram + index * self.lanes, self.image + index)
        return triton.load(self.ref.at[at]).astype(jnp.int32)

    def write(self, index: Int, value: Int, where: Bool) -> "Bytes":
        """See `bus.Memory`."""
        at = self.ram + index * self.lanes
        triton.store(self.ref.at[at], value.astype(jnp.uint8), mask=where)
        return self


AT_ONCE = 4
"""Rows that are loaded or stored together, so that one wait for memory does for all."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Values in rows, with consoles innermost.

    A loop loads or stores a few at a time: the compiler's time grows with the places
    that touch memory.
    """

    ref: Any
    lane: Int

    def load(self, places: Any) -> Any:
        """Values for a tree of row numbers that follow one another."""
        rows, tree = jax.tree.flatten(places)

        def load(turn: Int, values: tuple[Int, ...]) -> tuple[Int, ...]:
            first = rows[0] + turn * AT_ONCE
            some = [
                triton.load(self.ref.at[jnp.minimum(first + k, rows[-1]), self.lane])
                for k in range(min(AT_ONCE, len(rows)))
            ]
            return tuple(
                jnp.where(turn == number // AT_ONCE, some[number % AT_ONCE], old)
                for number, old in enumerate(values)
            )

        start = (self.lane * 0,) * len(rows)
        loaded = lax.fori_loop(0, -(-len(rows) // AT_ONCE), load, start)
        return jax.tree.unflatten(tree, loaded)

    def store(self, places: Any, values: Any) -> None:
        """Puts a tree of values into rows that follow one another."""
        rows, leaves = jax.tree.leaves(places), jax.tree.leaves(values)

        def store(turn: Int, none: Int) -> Int:
            for k in range(min(AT_ONCE, len(rows))):
                number, value = turn * AT_ONCE + k, leaves[k]
                for own in range(k + AT_ONCE, len(rows), AT_ONCE):
                    value = jnp.where(number == own, leaves[own], value)
                there = (self.lane >= 0) & (number < len(rows))
                row = self.ref.at[rows[0] + number, self.lane]
                triton.store(row, value, mask=there)
            return none

        lax.fori_loop(0, -(-len(rows) // AT_ONCE), store, jnp.int32(0))


@dataclasses.dataclass(frozen=True)
class Notes:
    """The writes noted, by number with lanes innermost."""

    ref: Any
    start: Any
    lanes: int
    most: int  # of a lane, a power of two; the next one takes the first one's place

    def put(self, number: Int, note: Int, where: Bool) -> None:
        """Notes a write."""
        at = self._at(number)
        triton.store(self.ref.at[at], note, mask=where)

    def get(self, number: Int, where: Bool) -> Int:
        """The note of a number, 0 where there is none."""
        at = self._at(number)
        return triton.load(self.ref.at[at], mask=where, other=0)

    def _at(self, number: Int) -> Int:
        return self.start + (number & (self.most - 1)) * self.lanes


@dataclasses.dataclass(frozen=True)
class Screen:
    """The pictures being drawn, in words of four pixels."""

    ref: Any  # two a console
    picture: Int
    height: int

    def _at(self, row: Int, column: Int) -> Int:
        """The number of a word in the picture."""
        return jnp.where(row < self.height, row, 0) * beam.WORDS + (column >> 2)

    def put(self, pixels: beam.Pixels, held: Int) -> Int:
        """Draws a window.

        Args:
          pixels: the window.
          held: the word that the beam is in, with its pixels so far, which are not
            in the picture yet: nothing of it has to be read again.

        Returns:
          The same after the window.
        """
        inside = pixels.row < self.height
        at, last = self._at(pixels.row, pixels.column), pixels.stop >> 2
        for word in range(beam.WINDOW // 4):
            new = beam.paint(pixels, word, held)
            here = self.ref.at[self.picture, at + word]
            whole = (pixels.valid >> (4 * word + 3)) & 1
            triton.store(here, new, mask=inside & (whole != 0))
            held = jnp.where(last == word, new, held)
        return held

    def take(self, row: Int, clock: Int) -> Int:
        """The word that the beam is in."""
        place, some, _ = self._part(row, clock)
        return triton.load(place, mask=some, other=0)

    def give(self, row: Int, clock: Int, held: Int) -> None:
        """Puts the pixels so far of the word that the beam is in."""
        place, some, passed = self._part(row, clock)
        new = (held & passed) | (triton.load(place, mask=some, other=0) & ~passed)
        triton.store(place, new, mask=some)

    def _part(self, row: Int, clock: Int) -> tuple[Any, Bool, Int]:
        """Its place, whether it has pixels so far but not all, and a mask of them."""
        x = jnp.maximum(clock - beam.BLANK, 0)
        some = (row < self.height) & ((x & 3) != 0)
        return (
            self.ref.at[self.picture, self._at(row, x)],
            some,
            (1 << (8 * (x & 3))) - 1,
        )


@dataclasses.dataclass(frozen=True)
class ByteScreen:
    """The pictures being drawn, in bytes: lanes may draw on one word together."""

    ref: Any  # two a console
    picture: Int
    height: int
    interpret: bool

    def put(self, pixels: beam.Pixels) -> None:
        """Draws a window."""
        inside = pixels.row < self.height
        line = self.picture * self.height + jnp.where(inside, pixels.row, 0)
        # Visibly far from overflow, so that pixels' offsets go into instructions.
        at = (line * WIDTH + pixels.column) & 0x3FFFFFFF
        none = jnp.uint32(0)
        valid = jnp.where(inside, pixels.valid, none)
        dark = jnp.where(pixels.comb, jnp.uint32(0xFF), none)
        masks = (pixels.players, pixels.first, dark, valid)

        def put(masks: Any, colours: Any, at: Int, bit: Word, number: Any) -> None:
            player, first, black, here = ((mask & bit) != 0 for mask in masks)
            colour = beam.colour(colours, player, first, black)
            place = self.ref.at[at + number]
            triton.store(place, colour.astype(jnp.uint8), mask=here)

        def four(number: Int, none: Int) -> Int:
            shifted = [mask >> (4 * number).astype(jnp.uint32) for mask in masks]
            for k in range(4):
                bit = jnp.uint32(1 << k)
                put(shifted, pixels.colours, at + 4 * number, bit, k)
            return none

        def lane(number: Int, none: Int) -> Int:
            of = functools.partial(jax.tree.map, lambda leaf: leaf[number])
            every = jnp.arange(beam.WINDOW, dtype=jnp.int32)
            bit = jnp.uint32(1) << every.astype(jnp.uint32)
            put(of(masks), of(pixels.colours), at[number], bit, every)
            return none

        # The interpreter lets lanes that are masked put back what was there.
        if self.interpret:
            lax.fori_loop(0, at.size, lane, jnp.int32(0))
        else:
            lax.fori_loop(0, beam.WINDOW // 4, four, jnp.int32(0))
