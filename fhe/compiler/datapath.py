"""Choice, shifts, decoders, tables and division on words of literals."""

from collections.abc import Sequence

from fhe.compiler.arithmetic import Bits, Columns, extend
from fhe.compiler.bits import FALSE, TRUE, Graph


def select(graph: Graph, condition: int, a: Bits, b: Bits) -> list[int]:
    """`condition ? a : b`, bit by bit."""
    return [graph.mux(condition, x, y) for x, y in zip(a, b, strict=True)]


def shift(graph: Graph, bits: Bits, amount: Bits, kind: str) -> list[int]:
    """Barrel shifter: kind is `left`, `logical` or `arithmetic`.

    All bits of the amount count; a step of the width or more leaves only the fill.
    """
    width = len(bits)
    result = list(bits)
    fill = bits[-1] if kind == "arithmetic" else FALSE
    for i, condition in enumerate(amount):
        step = min(1 << i, width)
        if kind == "left":
            moved = [*([FALSE] * step), *result[: width - step]]
        else:
            moved = [*result[step:], *([fill] * step)]
        result = select(graph, condition, moved, result)
    return result


def decode(graph: Graph, index: Bits, count: int) -> list[int]:
    """One literal a value of `index` in [0, count), true for the one it has.

    Values outside of the range are undefined behaviour, so that the number of bits
    looked at is just enough for `count`.
    """
    need = (count - 1).bit_length()
    bits = [*index[:need], *([FALSE] * (need - len(index)))]
    lines = [TRUE]
    for position in range(need - 1, -1, -1):
        left = -(-count >> position)  # values that differ above this bit
        grown: list[int] = []
        for line in lines:
            if len(grown) + 1 == left:
                grown.append(line)  # its sibling is out of range, so it stands alone
            else:
                grown += [
                    graph.and_(line, bits[position] ^ 1),
                    graph.and_(line, bits[position]),
                ]
        lines = grown
    return lines


def lookup(graph: Graph, index: Bits, tables: Sequence[int]) -> list[int]:
    """Reads constant tables: bit i of `tables[j]` is bit j of entry i.

    Shannon expansion with sub-tables shared, also complemented ones.
    """
    memo: dict[tuple[int, int], int] = {}

    def build(depth: int, table: int) -> int:
        size = 1 << depth
        full = (1 << size) - 1
        if table in (0, full):
            return TRUE if table else FALSE
        if table & 1:
            return build(depth, table ^ full) ^ 1
        found = memo.get((depth, table))
        if found is None:
            half = size >> 1
            low, high = table & ((1 << half) - 1), table >> half
            bit = index[depth - 1]
            if low ^ high == (1 << half) - 1:
                found = graph.xor(bit, build(depth - 1, low))
            elif low == high:
                found = build(depth - 1, low)
            else:
                zero, one = build(depth - 1, low), build(depth - 1, high)
                found = graph.mux(bit, one, zero)
            memo[depth, table] = found
        return found

    return [build(len(index), table) for table in tables]


def divide(graph: Graph, a: Bits, b: Bits, prefix: bool) -> tuple[list[int], list[int]]:
    """Unsigned restoring division: quotient (as wide as a), remainder (as wide as b).

    The remainder of the first steps has few bits, and a divisor's upper zeros need no
    work. Division by zero gives all ones and some remainder.
    """
    width = len(b)
    while width > 1 and b[width - 1] == FALSE:
        width -= 1
    divisor = list(b[:width])
    quotient = [FALSE] * len(a)
    rest: list[int] = []
    for step in range(len(a) - 1, -1, -1):
        rest = [a[step], *rest]
        n = min(len(rest), width)
        too_big = graph.reduce_or(divisor[n:])
        low, high = rest[:n], rest[n:]
        if prefix:
            columns = Columns(graph, n + 1)
            columns.add_row([*low, FALSE])
            columns.add_row([*divisor[:n], FALSE], negative=True)
            *difference, borrow = columns.resolve(prefix=True)
            fits = borrow ^ 1
            changes = [graph.xor(x, y) for x, y in zip(low, difference, strict=True)]
        else:
            carry = TRUE
            changes = []
            for x, y in zip(low, divisor[:n], strict=True):
                changes.append(graph.xor(y ^ 1, carry))
                carry = graph.maj(x, y ^ 1, carry)
            fits = carry
        if high:
            fits = graph.reduce_or([fits, *high])
        fits = graph.and_(fits, too_big ^ 1)
        quotient[step] = fits
        # r - d differs from r where d differs from the borrow.
        rest = [
            graph.xor(x, graph.and_(fits, y)) for x, y in zip(low, changes, strict=True)
        ]
        # After a subtraction the remainder is below the divisor: width bits suffice.
        rest = rest[:width]
    return quotient, extend(rest, len(b), signed=False)


def negate(graph: Graph, bits: Bits, prefix: bool, when: int = TRUE) -> list[int]:
    """-bits if `when`, else bits: invert under `when`, add `when`."""
    columns = Columns(graph, len(bits))
    for i, x in enumerate(bits):
        columns.add_bit(graph.xor(x, when), i)
    columns.add_bit(when, 0)
    return columns.resolve(prefix)


def divide_signed(
    graph: Graph, a: Bits, b: Bits, prefix: bool
) -> tuple[list[int], list[int]]:
    """Quotient towards zero and remainder with the sign of `a`, as C99 wants."""
    sign_a, sign_b = a[-1], b[-1]
    quotient, rest = divide(
        graph,
        negate(graph, a, prefix, sign_a) if sign_a else list(a),
        negate(graph, b, prefix, sign_b) if sign_b else list(b),
        prefix,
    )
    quotient, rest = [*quotient, FALSE], [*rest, FALSE]
    sign = graph.xor(sign_a, sign_b)
    return (
        negate(graph, quotient, prefix, sign) if sign else quotient,
        negate(graph, rest, prefix, sign_a) if sign_a else rest,
    )
