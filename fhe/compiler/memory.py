"""Objects and pointers of the symbolic machine, and the state that branches copy.

An object is a list of cells, one a scalar. A secret condition forks the state; where
the branches join, only cells that differ become a choice.
"""

import dataclasses
from typing import TypeAlias

from fhe.compiler.types import Type
from fhe.compiler.words import Operand, Word, Words


class Unset:
    """What a cell without a value holds; a join takes the other branch's value."""


UNSET = Unset()


@dataclasses.dataclass(frozen=True, eq=False)
class Object:
    """A variable.

    Attributes:
        name: for messages.
        type: its C type.
        cells: fixed content of a constant table; None if the state holds the content.
    """

    name: str
    type: Type
    cells: "list[Cell] | None" = None


@dataclasses.dataclass(frozen=True)
class Pointer:
    """Address of element `index` of an array that lies in an object.

    Attributes:
        object: what it points into; None for a null pointer.
        origin: cell of element 0, for outer indices of 0.
        outer: secret outer indices: (index, cells a step, number of steps).
        count: elements of the array; one past the end may be pointed at.
        index: element.
        target: type of an element.
    """

    object: Object | None
    origin: int
    outer: tuple[tuple[Word, int, int], ...]
    count: int
    index: Operand
    target: Type

    def same_array(self, other: "Pointer") -> bool:
        """Whether the two can be compared and subtracted."""
        return (
            self.object is other.object
            and self.origin == other.origin
            and self.outer == other.outer
            and self.target == other.target
        )


Cell: TypeAlias = Operand | Pointer | Unset


@dataclasses.dataclass(frozen=True)
class Place:
    """An lvalue: where an object of a type lies.

    Attributes:
        object: what it lies in.
        base: first cell, for secret indices of 0.
        indices: secret indices: (index, cells a step, number of steps).
        type: its C type.
        home: the address, if it is an array's element.
    """

    object: Object
    base: int
    indices: tuple[tuple[Word, int, int], ...]
    type: Type
    home: Pointer | None = None

    def address(self) -> Pointer:
        """&place."""
        if self.home is not None:
            return self.home
        return Pointer(self.object, self.base, self.indices, 1, 0, self.type)


def merge_cells(words: Words, condition: Operand, x: Cell, y: Cell) -> Cell:
    """condition ? x : y."""
    if x is y or isinstance(y, Unset):
        return x
    if isinstance(x, Unset):
        return y
    if isinstance(x, Pointer) or isinstance(y, Pointer):
        if x == y:
            return x
        if isinstance(condition, int):
            return x if condition else y
        if isinstance(x, Pointer) and isinstance(y, Pointer) and x.same_array(y):
            index = words.mux(condition, x.index, y.index)
            return dataclasses.replace(x, index=index)
        return UNSET
    return words.mux(condition, x, y)


class State:
    """Content of all variables on one path; forks share lists until they write."""

    __slots__ = ("_owned", "cells")

    def __init__(self) -> None:
        self.cells: dict[Object, list[Cell]] = {}
        self._owned: set[Object] = set()

    def fork(self) -> "State":
        """An independent copy."""
        other = State()
        other.cells = dict(self.cells)
        self._owned = set()
        return other

    def add(self, item: Object, cells: list[Cell]) -> None:
        """A new variable."""
        self.cells[item] = cells
        self._owned.add(item)

    def writable(self, item: Object) -> list[Cell]:
        """The variable's cells, safe to change."""
        if item not in self._owned:
            self.cells[item] = list(self.cells[item])
            self._owned.add(item)
        return self.cells[item]


def merge(words: Words, condition: Operand, x: State, y: State) -> State:
    """The state after a join: `condition ? x : y` for every variable of both."""
    if isinstance(condition, int):
        return x if condition else y
    result = State()
    for item, left in x.cells.items():
        right = y.cells.get(item)
        if right is None:
            continue
        if left is right:
            result.cells[item] = left
        else:
            result.add(
                item,
                [
                    merge_cells(words, condition, a, b)
                    for a, b in zip(left, right, strict=True)
                ],
            )
    x._owned = set()
    y._owned = set()
    return result


def load(words: Words, state: State, place: Place) -> list[Cell]:
    """The cells of a place, chosen by its secret indices."""
    cells = place.object.cells
    if cells is None:
        cells = state.cells[place.object]
    slots = place.type.slots
    if not place.indices:
        return cells[place.base : place.base + slots]

    def pick(base: int, depth: int) -> Cell:
        if depth == len(place.indices):
            return cells[base]
        index, stride, count = place.indices[depth]
        count = max(min(count, index.high + 1), 1)
        choices = [pick(base + k * stride, depth + 1) for k in range(count)]
        numbers = [x if isinstance(x, (int, Word)) else 0 for x in choices]
        return words.read(index, numbers)

    return [pick(place.base + i, 0) for i in range(slots)]


def store(words: Words, state: State, place: Place, values: list[Cell]) -> None:
    """Writes the cells of a place; a secret index writes every candidate it may be."""
    cells = state.writable(place.object)

    def put(base: int, depth: int, condition: Operand) -> None:
        if depth == len(place.indices):
            for i, value in enumerate(values):
                old = cells[base + i]
                cells[base + i] = merge_cells(words, condition, value, old)
            return
        index, stride, count = place.indices[depth]
        for k in range(min(count, index.high + 1)):
            chosen = words.and_(condition, words.line(index, k, count))
            put(base + k * stride, depth + 1, chosen)

    put(place.base, 0, 1)
