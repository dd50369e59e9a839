"""Word arithmetic on literals: carry-save sums, adders, comparison, shifts, division.

Words are lists of literals, least significant first, in two's complement. Everything
additive ends in one `Columns`: partial products, addends and constants are dropped
into columns by weight and compressed by full adders of two bootstraps (XOR3 and MAJ3).
"""

import heapq
import itertools
from collections.abc import Sequence

from fhe.compiler.bits import FALSE, TRUE, Graph

Bits = Sequence[int]


def trim(bits: Bits) -> list[int]:
    """Drops copies of the sign; always keeps a sign bit. An unsigned word ends in 0."""
    top = len(bits)
    while top > 1 and bits[top - 1] == bits[top - 2]:
        top -= 1
    return list(bits[:top])


def extend(bits: Bits, width: int, signed: bool = True) -> list[int]:
    """Sign- or zero-extends, or cuts, to a width."""
    fill = bits[-1] if signed else FALSE
    return [*bits[:width], *([fill] * (width - len(bits)))]


def constant(value: int, width: int) -> list[int]:
    """Literals of an integer modulo 2**width."""
    return [TRUE if value >> i & 1 else FALSE for i in range(width)]


def signed_digits(value: int) -> list[tuple[int, bool]]:
    """Canonical signed digits: (shift, negative) of an integer's non-zero digits.

    No two are neighbours, so a multiplication by a constant has the fewest addends.
    """
    negative, value = value < 0, abs(value)
    digits = []
    shift = 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            digits.append((shift, (digit < 0) != negative))
            value -= digit
        value >>= 1
        shift += 1
    return digits


class Columns:
    """A sum modulo 2**width under construction, one bag of literals a column.

    Example:
        >>> graph = Graph()
        >>> a = [graph.input() for _ in range(4)]
        >>> columns = Columns(graph, 4)
        >>> columns.add_row(a)
        >>> columns.add_constant(-1)
        >>> decremented = columns.resolve(prefix=False)
    """

    def __init__(self, graph: Graph, width: int) -> None:
        self.graph = graph
        self.width = width
        self.constant = 0
        self.columns: list[list[int]] = [[] for _ in range(width)]

    def add_constant(self, value: int) -> None:
        """Adds an integer."""
        self.constant += value

    def add_bit(self, literal: int, column: int, negative: bool = False) -> None:
        """Adds or subtracts literal * 2**column; -x is ~x - 1."""
        if column >= self.width or literal == FALSE:
            return
        if negative:
            self.constant -= 1 << column
            literal ^= 1
        if literal == TRUE:
            self.constant += 1 << column
        elif literal != FALSE:
            self.columns[column].append(literal)

    def add_row(self, bits: Bits, shift: int = 0, negative: bool = False) -> None:
        """Adds a two's-complement word, of which the last bit weighs negatively."""
        bits = trim(bits)
        for i, literal in enumerate(bits[:-1]):
            self.add_bit(literal, i + shift, negative)
        self.add_bit(bits[-1], len(bits) - 1 + shift, not negative)

    def add_product(
        self, a: Bits, b: Bits, shift: int = 0, negative: bool = False
    ) -> None:
        """Adds a product of two's-complement words, as partial products."""
        a, b = trim(a), trim(b)
        last_a, last_b = len(a) - 1, len(b) - 1
        and_ = self.graph.and_
        if a == b:  # a square: a_i a_j occurs twice, so once in the next column
            for i, x in enumerate(a):
                self.add_bit(x, 2 * i + shift, negative)
                for j in range(i + 1, min(len(a), self.width - shift - i - 1)):
                    sign = (j == last_a) != negative
                    self.add_bit(and_(x, a[j]), i + j + 1 + shift, sign)
            return
        for i, x in enumerate(a):
            for j in range(min(len(b), self.width - shift - i)):
                sign = ((i == last_a) != (j == last_b)) != negative
                self.add_bit(and_(x, b[j]), i + j + shift, sign)

    def resolve(self, prefix: bool) -> list[int]:
        """The sum's bits.

        Args:
            prefix: few levels (Dadda tree and Sklansky adder) instead of few gates.
        """
        if prefix:
            return self._resolve_prefix()
        graph, level = self.graph, self.graph.level
        order = itertools.count()
        result = []
        carries: list[int] = []
        for column, bits in enumerate(self.columns):
            last = column == self.width - 1
            one = self.constant >> column & 1
            heap = [(level[x >> 1], next(order), x) for x in (*bits, *carries)]
            carries = []
            heapq.heapify(heap)
            if last:
                result.append(graph.reduce_xor([x for *_, x in heap]) ^ one)
                break
            if one and len(heap) % 2 == 0 and heap:
                # XNOR and OR: the constant saves the half adder.
                a, b = heapq.heappop(heap)[2], heapq.heappop(heap)[2]
                total = graph.xor(a, b) ^ 1
                carries.append(graph.or_(a, b))
                heapq.heappush(heap, (level[total >> 1], next(order), total))
                one = 0
            while len(heap) > 1:
                a, b = heapq.heappop(heap)[2], heapq.heappop(heap)[2]
                if heap:
                    c = heapq.heappop(heap)[2]
                    total, carry = graph.xor3(a, b, c), graph.maj(a, b, c)
                else:
                    total, carry = graph.xor(a, b), graph.and_(a, b)
                self._push(carries, carry)
                if total > TRUE:
                    heapq.heappush(heap, (level[total >> 1], next(order), total))
                elif total == TRUE:
                    one += 1
            total = heap[0][2] if heap else FALSE
            if one == 2:
                self.constant += 1 << (column + 1)
                one = 0
            if one:
                # x + 1 = ~x with carry x: free.
                self._push(carries, total)
                total ^= 1
            result.append(total)
        return result

    def _push(self, carries: list[int], carry: int) -> None:
        if carry != FALSE:
            carries.append(carry)

    def _resolve_prefix(self) -> list[int]:
        graph = self.graph
        columns = [
            [*bits, *([TRUE] if self.constant >> i & 1 else [])]
            for i, bits in enumerate(self.columns)
        ]
        heights = [2]
        while heights[-1] < max(map(len, columns), default=0):
            heights.append(heights[-1] * 3 // 2)
        for target in reversed(heights[:-1]):
            if target == 2 and self._addable(columns):
                break
            columns = self._compress(columns, target)
        rows = [[*column, FALSE, FALSE, FALSE][:3] for column in columns]
        start = next((i for i, c in enumerate(columns) if len(c) > 1), self.width)
        result = [row[0] for row in rows[:start]]
        if start < self.width:
            result += add_prefix(
                graph,
                [row[0] for row in rows[start:]],
                [row[1] for row in rows[start:]],
                rows[start][2],
            )
        return result

    def _addable(self, columns: list[list[int]]) -> bool:
        # A third bit in the lowest column is the adder's carry in.
        start = next((i for i, c in enumerate(columns) if len(c) > 1), self.width)
        return all(len(c) <= 2 + (i == start) for i, c in enumerate(columns))

    def _compress(self, columns: list[list[int]], target: int) -> list[list[int]]:
        graph, level = self.graph, self.graph.level
        result: list[list[int]] = []
        carries: list[int] = []
        for column, bits in enumerate(columns):
            bits = sorted(bits, key=lambda x: level[x >> 1])
            kept = carries
            carries = []
            last = column == self.width - 1
            while len(bits) + len(kept) > target and len(bits) > 1:
                if len(bits) + len(kept) == target + 1 or len(bits) == 2:
                    a, b, *bits = bits
                    kept.append(graph.xor(a, b))
                    carry = FALSE if last else graph.and_(a, b)
                else:
                    a, b, c, *bits = bits
                    kept.append(graph.xor3(a, b, c))
                    carry = FALSE if last else graph.maj(a, b, c)
                self._push(carries, carry)
            result.append([x for x in (*bits, *kept) if x != FALSE])
        return result


def add_prefix(graph: Graph, a: Bits, b: Bits, carry: int = FALSE) -> list[int]:
    """Sklansky adder: about log2(n) + 2 levels, modulo 2**n.

    A group carries G without and T with a carry in; G implies T, so that both pass
    through MAJ3, one bootstrap and one level each: G = MAJ(G_high, T_high, G_low).
    """
    carries = _prefix(graph, a, b, carry, 0, len(a))
    into = [carry, *(entry[1] for entry in carries[:-1])]
    return [graph.xor3(x, y, c) for x, y, c in zip(a, b, into, strict=True)]


def _prefix(
    graph: Graph, a: Bits, b: Bits, carry: int, low: int, high: int
) -> list[tuple[tuple[int, int], int, int]]:
    """For i in [low, high): what stands in for (G, T) as upper operand; G; T."""
    if high - low == 1:
        x, y = a[low], b[low]
        if low == 0:
            known = graph.maj(x, y, carry)
            return [((known, known), known, known)]
        # A single bit's (x, y) serves as well as (x & y, x | y) and costs nothing.
        return [((x, y), graph.and_(x, y), graph.or_(x, y))]
    middle = low + (1 << ((high - low - 1).bit_length() - 1))
    below = _prefix(graph, a, b, carry, low, middle)
    above = _prefix(graph, a, b, carry, middle, high)
    _, g_low, t_low = below[-1]
    for pair, _, _ in above:
        g = graph.maj(*pair, g_low)
        t = g if low == 0 else graph.maj(*pair, t_low)
        below.append(((g, t), g, t))
    return below


def less(graph: Graph, a: Bits, b: Bits, signed: bool, prefix: bool) -> int:
    """a < b, as the missing carry of a + ~b + 1."""
    a, b = list(a), list(b)
    if signed:
        a[-1], b[-1] = b[-1], a[-1]
    if not prefix:
        carry = TRUE
        for x, y in zip(a, b, strict=True):
            carry = graph.maj(x, y ^ 1, carry)
        return carry ^ 1
    pairs = [(x, y ^ 1) for x, y in zip(a, b, strict=True)]
    known = graph.maj(*pairs[0], TRUE)
    pairs[0] = (known, known)
    while len(pairs) > 1:
        merged = [pairs[-1]] if len(pairs) % 2 else []
        halves = []
        for i in range(0, len(pairs) - 1, 2):
            (x, y), upper = pairs[i], pairs[i + 1]
            g, t = (x, x) if i == 0 else (graph.and_(x, y), graph.or_(x, y))
            halves.append((graph.maj(*upper, g), graph.maj(*upper, t)))
        pairs = halves + merged
    return pairs[0][0] ^ 1


def equal(graph: Graph, a: Bits, b: Bits) -> int:
    """a == b."""
    return graph.reduce_or([graph.xor(x, y) for x, y in zip(a, b, strict=True)]) ^ 1
