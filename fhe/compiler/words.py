"""The word-level DAG: hash-consed mathematical integers with known ranges.

Symbolic execution builds it and `blast` turns it into gates. A word is an integer, not
a bit string: sums and products are exact, and C's fixed widths are explicit `wrap`
nodes that vanish where the range already fits. So `uint8_t` arithmetic promoted to
`int` never costs 32 bits, and nothing is decided yet about adders.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

SUM, WRAP, MUL, AND, OR, XOR, LESS, EQUAL, MUX, NEGATE_IF = range(10)
LEFT, RIGHT, RIGHT_FIXED, DIVIDE, REMAINDER, READ, LOOKUP, LINE, INPUT = range(10, 19)


class Word:
    """A secret integer in [low, high].

    Attributes:
        op: one of this module's operators.
        args: operands: words, integers, or for SUM (constant, ((factor, word), ...)).
        low: least possible value.
        high: greatest possible value.
        index: creation number, so operands come before their users.
    """

    __slots__ = ("args", "high", "index", "low", "op")

    def __init__(
        self, op: int, args: tuple[Any, ...], low: int, high: int, index: int
    ) -> None:
        self.op = op
        self.args = args
        self.low = low
        self.high = high
        self.index = index

    @property
    def width(self) -> int:
        """Bits of the two's complement that holds the whole range, sign included."""
        return width_of(self.low, self.high)


Operand: TypeAlias = int | Word


def width_of(low: int, high: int) -> int:
    """Bits of a two's complement, sign included, that holds low to high."""
    return 1 + max(
        (low if low >= 0 else ~low).bit_length(), (high ^ -(high < 0)).bit_length()
    )


def low_of(x: Operand) -> int:
    """Least possible value."""
    return x if isinstance(x, int) else x.low


def high_of(x: Operand) -> int:
    """Greatest possible value."""
    return x if isinstance(x, int) else x.high


def is_bit(x: Operand) -> bool:
    """Whether the value is 0 or 1."""
    return low_of(x) >= 0 and high_of(x) <= 1


def truncated_divide(x: int, y: int) -> int:
    """C's division, towards zero."""
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


class Words:
    """Builds words, simplifying as they are made. Operands are words or integers.

    Example:
        >>> words = Words()
        >>> x = words.input(0, 255)
        >>> words.add(x, x).high
        510
    """

    def __init__(self) -> None:
        self.count = 0
        self._seen: dict[tuple[Any, ...], Word] = {}

    def input(self, low: int, high: int) -> Word:
        """A new secret input."""
        self.count += 1
        return Word(INPUT, (), low, high, self.count)

    def _make(self, op: int, args: tuple[Any, ...], low: int, high: int) -> Operand:
        if low == high:
            return low
        key = (op, *args)
        found = self._seen.get(key)
        if found is None:
            self.count += 1
            found = Word(op, args, low, high, self.count)
            self._seen[key] = found
        return found

    def linear(self, constant: int, terms: Sequence[tuple[int, Operand]]) -> Operand:
        """constant + sum of factor * word."""
        factors: dict[Word, int] = {}
        for factor, x in terms:
            if isinstance(x, int):
                constant += factor * x
                continue
            if x.op == SUM and len(x.args[1]) == 1:  # scaling and inversion are free
                shift, ((inner, y),) = x.args
                constant += factor * shift
                factor, x = factor * inner, y
            factors[x] = factors.get(x, 0) + factor
        kept = tuple((f, x) for x, f in factors.items() if f)
        if not kept:
            return constant
        if constant == 0 and len(kept) == 1 and kept[0][0] == 1:
            return kept[0][1]
        low = constant + sum(f * (x.low if f > 0 else x.high) for f, x in kept)
        high = constant + sum(f * (x.high if f > 0 else x.low) for f, x in kept)
        return self._make(SUM, (constant, kept), low, high)

    def add(self, x: Operand, y: Operand) -> Operand:
        """x + y."""
        return self.linear(0, ((1, x), (1, y)))

    def subtract(self, x: Operand, y: Operand) -> Operand:
        """x - y."""
        return self.linear(0, ((1, x), (-1, y)))

    def negate(self, x: Operand) -> Operand:
        """-x."""
        return self.linear(0, ((-1, x),))

    def invert(self, x: Operand) -> Operand:
        """~x."""
        return self.linear(-1, ((-1, x),))

    def multiply(self, x: Operand, y: Operand) -> Operand:
        """x * y."""
        if isinstance(x, int):
            return self.linear(0, ((x, y),))
        if isinstance(y, int):
            return self.linear(0, ((y, x),))
        if is_bit(x):
            return self.mux(x, y, 0)
        if is_bit(y):
            return self.mux(y, x, 0)
        if x.index > y.index:
            x, y = y, x
        corners = [a * b for a in (x.low, x.high) for b in (y.low, y.high)]
        low = 0 if x is y else min(corners)
        return self._make(MUL, (x, y), low, max(corners))

    def wrap(self, x: Operand, width: int, signed: bool) -> Operand:
        """x modulo 2**width, in the range of that many bits."""
        low = -(1 << (width - 1)) if signed else 0
        high = low + (1 << width) - 1
        if isinstance(x, int):
            return (x - low) % (1 << width) + low
        if x.low >= low and x.high <= high:
            return x
        if x.op == WRAP and x.args[1] >= width:
            return self.wrap(x.args[0], width, signed)
        return self._make(WRAP, (x, width, signed), low, high)

    def and_(self, x: Operand, y: Operand) -> Operand:
        """x & y."""
        if isinstance(x, int):
            x, y = y, x
        if isinstance(x, int) or x is y:
            return x & y if isinstance(x, int) and isinstance(y, int) else x
        if isinstance(y, int):
            if y == 0 or y == -1:
                return x if y else 0
            if y > 0 and y & (y + 1) == 0:
                return self.wrap(x, y.bit_length(), False)
        elif is_bit(x) and self.negation(x) is y:
            return 0
        x, y = self._ordered(x, y)
        if low_of(x) >= 0 or low_of(y) >= 0:
            bounds = [high_of(v) for v in (x, y) if low_of(v) >= 0]
            return self._make(AND, (x, y), 0, min(bounds))
        size = max(width_of(low_of(v), high_of(v)) for v in (x, y)) - 1
        return self._make(AND, (x, y), -1 << size, max(high_of(x), high_of(y), -1))

    def or_(self, x: Operand, y: Operand) -> Operand:
        """x | y."""
        if isinstance(x, int):
            x, y = y, x
        if isinstance(x, int) or x is y:
            return x | y if isinstance(x, int) and isinstance(y, int) else x
        if isinstance(y, int) and y in (0, -1):
            return y or x
        if is_bit(x) and (y == 1 or self.negation(x) is y):
            return 1
        x, y = self._ordered(x, y)
        size = max(width_of(low_of(v), high_of(v)) for v in (x, y)) - 1
        if low_of(x) >= 0 and low_of(y) >= 0:
            return self._make(OR, (x, y), max(low_of(x), low_of(y)), (1 << size) - 1)
        negative = high_of(x) < 0 or high_of(y) < 0
        return self._make(OR, (x, y), -1 << size, -1 if negative else (1 << size) - 1)

    def xor(self, x: Operand, y: Operand) -> Operand:
        """x ^ y."""
        if isinstance(x, int):
            x, y = y, x
        if isinstance(x, int) or x is y:
            return x ^ y if isinstance(x, int) and isinstance(y, int) else 0
        if y == 0:
            return x
        if y == -1:
            return self.invert(x)
        if x.op == XOR and isinstance(y, int) and isinstance(x.args[1], int):
            return self.xor(x.args[0], x.args[1] ^ y)
        x, y = self._ordered(x, y)
        size = max(width_of(low_of(v), high_of(v)) for v in (x, y)) - 1
        low = 0 if low_of(x) >= 0 and low_of(y) >= 0 else -1 << size
        return self._make(XOR, (x, y), low, (1 << size) - 1)

    def _ordered(self, x: Operand, y: Operand) -> tuple[Operand, Operand]:
        if isinstance(x, Word) and isinstance(y, Word) and x.index > y.index:
            return y, x
        return x, y

    def negation(self, x: Operand) -> Operand:
        """1 - x of a bit."""
        return self.xor(x, 1)

    def less(self, x: Operand, y: Operand) -> Operand:
        """x < y as 0 or 1."""
        if high_of(x) < low_of(y):
            return 1
        if low_of(x) >= high_of(y) or x is y:
            return 0
        return self._make(LESS, (x, y), 0, 1)

    def equal(self, x: Operand, y: Operand) -> Operand:
        """x == y as 0 or 1."""
        if isinstance(x, int):
            x, y = y, x
        if isinstance(x, int) or x is y:
            return int(x == y)
        if high_of(x) < low_of(y) or high_of(y) < low_of(x):
            return 0
        if is_bit(x) and isinstance(y, int):
            return x if y else self.negation(x)
        if is_bit(x) and is_bit(y):
            return self.negation(self.xor(x, y))
        return self._make(EQUAL, self._ordered(x, y), 0, 1)

    def truth(self, x: Operand) -> Operand:
        """x != 0 as 0 or 1."""
        return x if is_bit(x) else self.negation(self.equal(x, 0))

    def mux(self, condition: Operand, x: Operand, y: Operand) -> Operand:
        """condition ? x : y, the condition being a bit."""
        if isinstance(condition, int):
            return x if condition else y
        if x is y or (isinstance(x, int) and isinstance(y, int) and x == y):
            return x
        if condition.op == XOR and condition.args[1] == 1:
            return self.mux(condition.args[0], y, x)
        if isinstance(x, Word) and x.op == MUX and x.args[0] is condition:
            return self.mux(condition, x.args[1], y)
        if isinstance(y, Word) and y.op == MUX and y.args[0] is condition:
            return self.mux(condition, x, y.args[2])
        if is_bit(x) and is_bit(y):
            return self._mux_bits(condition, x, y)
        return self._mux_sum(condition, x, y) or self._make(
            MUX, (condition, x, y), *self._mux_range(condition, x, y)
        )

    def _mux_bits(self, condition: Word, x: Operand, y: Operand) -> Operand:
        if x == 1 or x is condition:
            return self.or_(condition, y)
        if y == 0 or y is condition:
            return self.and_(condition, x)
        if x == 0:
            return self.and_(self.negation(condition), y)
        if y == 1:
            return self.or_(self.negation(condition), x)
        return self._make(MUX, (condition, x, y), 0, 1)

    def _mux_sum(self, condition: Word, x: Operand, y: Operand) -> Operand | None:
        """c ? y + z : y is y + (c ? z : 0), an AND a bit in place of a mux."""
        for flip, (arm, base) in enumerate(((x, y), (y, x))):
            if not isinstance(arm, Word) or not isinstance(base, Word):
                continue
            wrapped = arm.op == WRAP
            inner = arm.args[0] if wrapped else arm
            if inner.op != SUM:
                continue
            constant, terms = inner.args
            if base.op == SUM and len(base.args[1]) == 1:
                continue
            if not wrapped and constant == 0 and terms == ((-1, base),):
                when = self.negation(condition) if flip else condition
                low, high = self._mux_range(condition, x, y)
                return self._make(NEGATE_IF, (when, base), low, high)
            if (1, base) in terms:
                rest = self.linear(constant, [t for t in terms if t != (1, base)])
                zero, one = (rest, 0) if flip else (0, rest)
                total = self.add(base, self.mux(condition, one, zero))
                return self.wrap(total, *arm.args[1:]) if wrapped else total
        return None

    def _mux_range(self, condition: Word, x: Operand, y: Operand) -> tuple[int, int]:
        low_x, high_x, low_y, high_y = low_of(x), high_of(x), low_of(y), high_of(y)
        if condition.op == LESS:  # minima, maxima and clamps narrow
            p, q = condition.args
            if _same(x, p):
                high_x = min(high_x, high_of(q) - 1)
            if _same(x, q):
                low_x = max(low_x, low_of(p) + 1)
            if _same(y, p):
                low_y = max(low_y, low_of(q))
            if _same(y, q):
                high_y = min(high_y, high_of(p))
        return min(low_x, low_y), max(high_x, high_y)

    def left(self, x: Operand, amount: Operand, limit: int) -> Operand:
        """x << amount, an amount of `limit` or more being undefined."""
        if isinstance(amount, int):
            return self.linear(0, ((1 << amount, x),))
        most = min(amount.high, limit - 1)
        least = max(amount.low, 0)
        low, high = low_of(x), high_of(x)
        return self._make(
            LEFT,
            (x, amount, limit),
            low << (most if low < 0 else least),
            high << (least if high < 0 else most),
        )

    def right(self, x: Operand, amount: Operand, limit: int) -> Operand:
        """x >> amount, rounding down."""
        if isinstance(amount, int):
            if isinstance(x, int):
                return x >> amount
            if amount == 0:
                return x
            if x.op == RIGHT_FIXED:
                return self.right(x.args[0], x.args[1] + amount, limit)
            return self._make(
                RIGHT_FIXED, (x, amount), x.low >> amount, x.high >> amount
            )
        most = min(amount.high, limit - 1)
        least = max(amount.low, 0)
        low, high = low_of(x), high_of(x)
        return self._make(
            RIGHT,
            (x, amount, limit),
            low >> (least if low < 0 else most),
            high >> (most if high < 0 else least),
        )

    def divide(self, x: Operand, y: Operand) -> Operand:
        """x / y, towards zero; y is not the constant 0."""
        if isinstance(x, int) and isinstance(y, int):
            return truncated_divide(x, y)
        if y in (1, -1):
            return self.linear(0, ((int(y), x),)) if isinstance(y, int) else x
        if isinstance(y, int) and y & (y - 1) == 0 and y > 0:
            shift = y.bit_length() - 1
            bias = self.mux(self.less(x, 0), y - 1, 0)
            return self.right(self.add(x, bias), shift, 64)
        most = max(abs(low_of(x)), abs(high_of(x)))
        if isinstance(y, int):
            most //= abs(y)
        low = 0 if low_of(x) >= 0 and low_of(y) >= 0 else -most
        return self._make(DIVIDE, (x, y), low, most)

    def remainder(self, x: Operand, y: Operand) -> Operand:
        """x % y, with the sign of x; y is not the constant 0."""
        if isinstance(x, int) and isinstance(y, int):
            return x - y * truncated_divide(x, y)
        if isinstance(y, int):
            y = abs(y)
            if y == 1:
                return 0
            if low_of(x) > -y and high_of(x) < y:
                return x
            if y & (y - 1) == 0:
                if low_of(x) >= 0:
                    return self.wrap(x, y.bit_length() - 1, False)
                quotient = self.divide(x, y)
                return self.linear(0, ((1, x), (-y, quotient)))
        most = max(abs(low_of(y)), abs(high_of(y))) - 1
        return self._make(
            REMAINDER,
            (x, y),
            max(-most, low_of(x)) if low_of(x) < 0 else 0,
            min(most, high_of(x)) if high_of(x) > 0 else 0,
        )

    def read(self, index: Word, elements: Sequence[Operand]) -> Operand:
        """elements[index]; the index is at least 0, other values are undefined."""
        used = tuple(elements[: index.high + 1])
        low, high = min(map(low_of, used)), max(map(high_of, used))
        if all(_same(x, used[0]) for x in used):
            return used[0]
        constant = all(isinstance(x, int) for x in used)
        return self._make(LOOKUP if constant else READ, (index, used), low, high)

    def line(self, index: Word, value: int, count: int) -> Operand:
        """index == value, given that the index is in [0, count)."""
        count = min(count, index.high + 1)
        if count <= 1:
            return 1
        return self._make(LINE, (index, value, count), 0, 1)


def _same(x: Operand, y: Operand) -> bool:
    return x is y or (isinstance(x, int) and isinstance(y, int) and x == y)
