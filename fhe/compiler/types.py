"""C types as the compiler sees them: widths, ranks, conversions, storage in slots.

The data model is LP64 (64-bit `long`), plain `char` is signed, as on x86-64 Linux. An
object is stored as *slots*, one a scalar, so that the index of a slot plays the part of
an address.
"""

import dataclasses
from typing import TypeAlias


class CompileError(ValueError):
    """The program is outside the accepted subset of C; says where and why.

    Attributes:
        reason: the message without the place.
        line: 1-based line, 0 if unknown.
        column: 1-based column, 0 if unknown.
    """

    def __init__(
        self, reason: str, file: str = "<source>", line: int = 0, column: int = 0
    ) -> None:
        super().__init__(f"{file}:{line}:{column}: {reason}")
        self.reason = reason
        self.file = file
        self.line = line
        self.column = column


@dataclasses.dataclass(frozen=True, slots=True)
class IntType:
    """An integer type; `_Bool` is the one of width 1 and rank 0."""

    name: str
    width: int
    signed: bool
    rank: int

    slots = 1

    @property
    def low(self) -> int:
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.width - self.signed)) - 1

    @property
    def size(self) -> int:
        return max(self.width // 8, 1)

    def wrap(self, value: int) -> int:
        """The value modulo 2**width, in the type's range (not `_Bool`'s test != 0)."""
        value &= (1 << self.width) - 1
        if self.signed and value >> (self.width - 1):
            value -= 1 << self.width
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class VoidType:
    name: str = "void"
    slots = 0
    size = 1


@dataclasses.dataclass(frozen=True, slots=True)
class PointerType:
    target: "Type"
    slots = 1
    size = 8

    @property
    def name(self) -> str:
        return f"{self.target.name} *"


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayType:
    element: "Type"
    count: int

    @property
    def slots(self) -> int:
        return self.count * self.element.slots

    @property
    def size(self) -> int:
        return self.count * self.element.size

    @property
    def name(self) -> str:
        inner: Type = self
        dims = ""
        while isinstance(inner, ArrayType):
            dims += f"[{inner.count}]"
            inner = inner.element
        return inner.name + dims


@dataclasses.dataclass(frozen=True, slots=True)
class StructType:
    name: str
    fields: tuple[tuple[str, "Type"], ...]

    @property
    def slots(self) -> int:
        return sum(kind.slots for _, kind in self.fields)

    @property
    def size(self) -> int:
        total, align = 0, 1
        for _, kind in self.fields:
            step = alignment(kind)
            total = -(-total // step) * step + kind.size
            align = max(align, step)
        return -(-total // align) * align

    def field(self, name: str) -> tuple[int, "Type"] | None:
        """Slot offset and type of a field, None if there is no such field."""
        offset = 0
        for key, kind in self.fields:
            if key == name:
                return offset, kind
            offset += kind.slots
        return None


Type: TypeAlias = IntType | VoidType | PointerType | ArrayType | StructType

BOOL = IntType("_Bool", 1, False, 0)
CHAR = IntType("char", 8, True, 1)
SCHAR = IntType("signed char", 8, True, 1)
UCHAR = IntType("unsigned char", 8, False, 1)
SHORT = IntType("short", 16, True, 2)
USHORT = IntType("unsigned short", 16, False, 2)
INT = IntType("int", 32, True, 3)
UINT = IntType("unsigned int", 32, False, 3)
LONG = IntType("long", 64, True, 4)
ULONG = IntType("unsigned long", 64, False, 4)
LLONG = IntType("long long", 64, True, 5)
ULLONG = IntType("unsigned long long", 64, False, 5)
VOID = VoidType()

_SPECIFIERS = {
    ("_Bool",): BOOL,
    ("char",): CHAR,
    ("char", "signed"): SCHAR,
    ("char", "unsigned"): UCHAR,
    ("short",): SHORT,
    ("short", "unsigned"): USHORT,
    ("int",): INT,
    ("unsigned",): UINT,
    ("long",): LONG,
    ("long", "unsigned"): ULONG,
    ("long", "long"): LLONG,
    ("long", "long", "unsigned"): ULLONG,
}


def from_specifiers(names: list[str]) -> IntType | None:
    """The integer type that a list of keywords means, None if it means none."""
    words = sorted(names)
    if len(words) > 1 and "int" in words:
        words.remove("int")
    if "char" not in words and len(words) > 1 and "signed" in words:
        words.remove("signed")
    if words == ["signed"]:
        return INT
    return _SPECIFIERS.get(tuple(words))


def alignment(kind: Type) -> int:
    """Alignment in bytes, for `sizeof` of structures."""
    if isinstance(kind, ArrayType):
        return alignment(kind.element)
    if isinstance(kind, StructType):
        return max((alignment(field) for _, field in kind.fields), default=1)
    return kind.size


def promote(kind: IntType) -> IntType:
    """C99 6.3.1.1: integer promotion."""
    return INT if kind.rank < INT.rank else kind


def common(left: IntType, right: IntType) -> IntType:
    """C99 6.3.1.8: the usual arithmetic conversions."""
    left, right = promote(left), promote(right)
    if left.signed == right.signed:
        return left if left.rank >= right.rank else right
    signed, unsigned = (left, right) if left.signed else (right, left)
    if unsigned.rank >= signed.rank:
        return unsigned
    if signed.width > unsigned.width:
        return signed
    return {LONG: ULONG, LLONG: ULLONG, INT: UINT}[signed]


def leaves(
    kind: Type, name: str, shape: tuple[int, ...] = ()
) -> list[tuple[str, IntType, tuple[int, ...]]]:
    """Names, types and array shapes of an object's scalars, fields spelt `a.b`."""
    if isinstance(kind, ArrayType):
        return leaves(kind.element, name, (*shape, kind.count))
    if isinstance(kind, StructType):
        found = []
        for key, field in kind.fields:
            found += leaves(field, f"{name}.{key}", shape)
        return found
    if isinstance(kind, IntType):
        return [(name, kind, shape)]
    raise CompileError(f"{name} has type {kind.name}, which cannot be an input/output")


def leaf_slots(kind: Type, path: str, base: int = 0) -> list[int]:
    """Slots, in row-major order, of the leaf whose dotted path (no root) is given."""
    if isinstance(kind, ArrayType):
        step = kind.element.slots
        return [
            slot
            for i in range(kind.count)
            for slot in leaf_slots(kind.element, path, base + i * step)
        ]
    if isinstance(kind, StructType):
        head, _, rest = path.partition(".")
        found = kind.field(head)
        assert found is not None
        return leaf_slots(found[1], rest, base + found[0])
    return [base]
