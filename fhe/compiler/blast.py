"""Turns words into gates: only the bits that are asked for, sums in carry-save form.

Two passes. Backwards, how many low bits of each word are needed. Forwards, the bits,
where a sum or product that only another sum uses is dropped into that sum's columns.
"""

from collections.abc import Callable, Sequence

from fhe.compiler import arithmetic as ar, datapath, words as w
from fhe.compiler.bits import FALSE, Graph
from fhe.compiler.words import Operand, Word


class Blaster:
    """Makes the bits of words in one graph, in one style of adders.

    Args:
        graph: where the gates go.
        inputs: literals of each INPUT word, least significant first.
        prefix: few levels (Sklansky adders) instead of few gates (ripple adders).
    """

    def __init__(
        self, graph: Graph, inputs: dict[Word, list[int]], prefix: bool
    ) -> None:
        self.graph = graph
        self.inputs = inputs
        self.prefix = prefix
        self.room: dict[Word, int] = {}
        self.absorbed: set[Word] = set()
        self.bits: dict[Word, list[int]] = {}
        self._lines: dict[tuple[Word, int], list[int]] = {}
        self._divisions: dict[tuple[Operand, Operand], tuple[list[int], list[int]]] = {}

    def run(self, roots: Sequence[tuple[Operand, int]]) -> list[list[int]]:
        """Literals of each (word, width), two's complement cut to the width."""
        for word in self._demand(roots):
            room = self.room.get(word, 0)
            if room and word not in self.absorbed:
                self.bits[word] = _BUILDERS[word.op](self, word, room)
        return [self._take(x, width) for x, width in roots]

    def _demand(self, roots: Sequence[tuple[Operand, int]]) -> list[Word]:
        """Fills `room`, the low bits needed of each word; the words in order."""
        uses: dict[Word, list[Word | None]] = {}
        stack = [x for x, _ in roots if isinstance(x, Word)]
        for word in stack:
            uses[word] = [None]  # a result is never absorbed
        while stack:
            word = stack.pop()
            for x in operands(word):
                if isinstance(x, Word):
                    if x not in uses:
                        stack.append(x)
                    uses.setdefault(x, []).append(word)
        need: dict[Word, int] = {}
        for x, width in roots:
            if isinstance(x, Word):
                need[x] = max(need.get(x, 0), min(width, x.width))
        order = sorted(uses, key=lambda word: word.index)
        for word in reversed(order):
            room = self._absorb(word, uses)
            if room is None:
                room = need.get(word, 0)
            else:
                self.absorbed.add(word)
            if room <= 0:
                continue
            self.room[word] = room
            for x, width in _demands(word, room):
                if isinstance(x, Word):
                    need[x] = max(need.get(x, 0), min(width, x.width))
        return order

    def _absorb(self, word: Word, uses: dict[Word, list[Word | None]]) -> int | None:
        """Bits a lone user, a sum, wants of this word's addends; None: no such user."""
        users = uses[word]
        parent = users[0]
        if len(users) > 1 or parent is None or word.op not in (w.SUM, w.MUL, w.WRAP):
            return None
        if parent.op == w.LESS and word.op != w.WRAP:
            return 1 << 30
        if parent.op == w.WRAP and parent in self.absorbed:
            return self.room.get(parent, 0)
        if parent.op != w.SUM:
            return None
        factor = next(f for f, x in parent.args[1] if x is word)
        room = self.room.get(parent, 0) - _shift(factor)
        if word.op == w.WRAP:
            inner = word.args[0]
            if inner.op not in (w.SUM, w.MUL) or len(uses[inner]) > 1:
                return None
            if room > word.args[1]:
                return None
        return room

    def _take(self, x: Operand, width: int) -> list[int]:
        """The low bits; sign-extended where the word is narrower."""
        if isinstance(x, int):
            return ar.constant(x, width)
        return ar.extend(self.bits[x], width) if width > 0 else []

    def _whole(self, x: Operand) -> list[int]:
        return self._take(x, w.width_of(w.low_of(x), w.high_of(x)))

    def _bit(self, x: Operand) -> int:
        return self._take(x, 1)[0]

    def _pair(self, x: Operand, y: Operand) -> tuple[list[int], list[int]]:
        width = w.width_of(
            min(w.low_of(x), w.low_of(y)), max(w.high_of(x), w.high_of(y))
        )
        return self._take(x, width), self._take(y, width)

    def collect(self, columns: ar.Columns, factor: int, x: Operand) -> None:
        """Adds factor * x to the columns; takes apart what nothing else uses."""
        stack = [(factor, x)]
        while stack:
            factor, x = stack.pop()
            if isinstance(x, int):
                columns.add_constant(factor * x)
            elif x not in self.bits and x.op == w.WRAP:
                stack.append((factor, x.args[0]))
            elif x not in self.bits and x.op == w.SUM:
                columns.add_constant(factor * x.args[0])
                stack += [(factor * inner, y) for inner, y in x.args[1]]
            else:
                self._add(columns, factor, x)

    def _add(self, columns: ar.Columns, factor: int, x: Word) -> None:
        for shift, negative in ar.signed_digits(factor):
            room = columns.width - shift
            if room <= 0:
                continue
            if x in self.bits:
                columns.add_row(self._take(x, min(room, x.width)), shift, negative)
            else:
                a, b = (self._take(y, min(room, y.width)) for y in x.args)
                columns.add_product(a, b, shift, negative)

    def sum(self, word: Word, need: int) -> list[int]:
        constant, terms = word.args
        if len(terms) == 1:
            ((factor, x),) = terms
            shift = _shift(factor)
            if x in self.bits and abs(factor) == 1 << shift:
                row = [FALSE] * min(shift, need) + self._take(x, max(need - shift, 0))
                if factor > 0 and constant == 0:
                    return row
                if factor == -1 and constant == -1:
                    return [x ^ 1 for x in row]
        columns = ar.Columns(self.graph, need)
        self.collect(columns, 1, word)
        return columns.resolve(self.prefix)

    def product(self, word: Word, need: int) -> list[int]:
        columns = ar.Columns(self.graph, need)
        self.collect(columns, 1, word)
        return columns.resolve(self.prefix)

    def wrap(self, word: Word, need: int) -> list[int]:
        x, width, signed = word.args
        bits = self._take(x, min(need, width))
        return bits if need <= width else ar.extend(bits, need, signed)

    def bitwise(self, word: Word, need: int) -> list[int]:
        graph = self.graph
        operator = {w.AND: graph.and_, w.OR: graph.or_, w.XOR: graph.xor}[word.op]
        x, y = (self._take(v, need) for v in word.args)
        return [operator(p, q) for p, q in zip(x, y, strict=True)]

    def less(self, word: Word, need: int) -> list[int]:
        x, y = word.args
        if any(isinstance(v, Word) and v not in self.bits for v in (x, y)):
            low, high = w.low_of(x) - w.high_of(y), w.high_of(x) - w.low_of(y)
            columns = ar.Columns(self.graph, w.width_of(low, high))
            self.collect(columns, 1, x)
            self.collect(columns, -1, y)
            sign = columns.resolve(self.prefix)[-1]
        else:
            sign = ar.less(self.graph, *self._pair(x, y), True, self.prefix)
        return [sign, FALSE][:need]

    def equal(self, word: Word, need: int) -> list[int]:
        return [ar.equal(self.graph, *self._pair(*word.args)), FALSE][:need]

    def mux(self, word: Word, need: int) -> list[int]:
        condition, x, y = word.args
        return datapath.select(
            self.graph, self._bit(condition), self._take(x, need), self._take(y, need)
        )

    def negate_if(self, word: Word, need: int) -> list[int]:
        condition, x = word.args
        return datapath.negate(
            self.graph, self._take(x, need), self.prefix, self._bit(condition)
        )

    def shift_left(self, word: Word, need: int) -> list[int]:
        x, amount, limit = word.args
        steps = ar.extend(self._whole(amount), (limit - 1).bit_length())
        return datapath.shift(self.graph, self._take(x, need), steps, "left")

    def shift_right(self, word: Word, need: int) -> list[int]:
        x, amount, limit = word.args
        steps = ar.extend(self._whole(amount), (limit - 1).bit_length())
        bits = datapath.shift(self.graph, self._whole(x), steps, "arithmetic")
        return ar.extend(bits, need)

    def shift_right_fixed(self, word: Word, need: int) -> list[int]:
        x, amount = word.args
        return self._take(x, need + amount)[amount:]

    def division(self, word: Word, need: int) -> list[int]:
        x, y = word.args
        if (x, y) not in self._divisions:
            self._divisions[x, y] = datapath.divide_signed(
                self.graph, self._whole(x), self._whole(y), self.prefix
            )
        return ar.extend(self._divisions[x, y][word.op == w.REMAINDER], need)

    def lines(self, index: Word, count: int) -> list[int]:
        """One literal a value of the index, made once."""
        if (index, count) not in self._lines:
            bits = self._take(index, (count - 1).bit_length())
            self._lines[index, count] = datapath.decode(self.graph, bits, count)
        return self._lines[index, count]

    def line(self, word: Word, need: int) -> list[int]:
        index, value, count = word.args
        return [self.lines(index, count)[value], FALSE][:need]

    def read(self, word: Word, need: int) -> list[int]:
        index, elements = word.args
        rows = [self._take(x, need) for x in elements]
        count = len(rows)
        # A tree of muxes against a decoder and XOR3s of one AND an element.
        if 2 * (count - 1) * need <= (count + count // 2) * need + count:
            for bit in self._take(index, (count - 1).bit_length()):
                pairs = zip(rows[1::2], rows[::2], strict=False)
                merged = [datapath.select(self.graph, bit, a, b) for a, b in pairs]
                rows = merged + rows[len(rows) - len(rows) % 2 :]
            return rows[0]
        lines = self.lines(index, count)
        return [
            self.graph.reduce_xor(
                [
                    self.graph.and_(line, row[i])
                    for line, row in zip(lines, rows, strict=True)
                ]
            )
            for i in range(need)
        ]

    def lookup(self, word: Word, need: int) -> list[int]:
        index, elements = word.args
        depth = (len(elements) - 1).bit_length()
        padded = [*elements, *([elements[-1]] * ((1 << depth) - len(elements)))]
        tables = [
            sum((value >> i & 1) << j for j, value in enumerate(padded))
            for i in range(need)
        ]
        return datapath.lookup(self.graph, self._take(index, depth), tables)

    def input(self, word: Word, need: int) -> list[int]:
        return ar.extend(self.inputs[word], need, signed=word.low < 0)


_BUILDERS: dict[int, Callable[[Blaster, Word, int], list[int]]] = {
    w.SUM: Blaster.sum,
    w.MUL: Blaster.product,
    w.WRAP: Blaster.wrap,
    w.AND: Blaster.bitwise,
    w.OR: Blaster.bitwise,
    w.XOR: Blaster.bitwise,
    w.LESS: Blaster.less,
    w.EQUAL: Blaster.equal,
    w.MUX: Blaster.mux,
    w.NEGATE_IF: Blaster.negate_if,
    w.LEFT: Blaster.shift_left,
    w.RIGHT: Blaster.shift_right,
    w.RIGHT_FIXED: Blaster.shift_right_fixed,
    w.DIVIDE: Blaster.division,
    w.REMAINDER: Blaster.division,
    w.READ: Blaster.read,
    w.LOOKUP: Blaster.lookup,
    w.LINE: Blaster.line,
    w.INPUT: Blaster.input,
}


def operands(word: Word) -> list[Operand]:
    """Every word and integer that a word is made of."""
    if word.op == w.SUM:
        return [x for _, x in word.args[1]]
    if word.op in (w.READ, w.LOOKUP):
        return [word.args[0], *word.args[1]]
    if word.op in (w.WRAP, w.RIGHT_FIXED, w.LINE):
        return [word.args[0]]
    if word.op in (w.LEFT, w.RIGHT):
        return list(word.args[:2])
    return list(word.args)


def _shift(factor: int) -> int:
    return (factor & -factor).bit_length() - 1


def _demands(word: Word, need: int) -> list[tuple[Operand, int]]:
    """How many low bits of each operand are looked at, for `need` bits of a word."""
    op, args = word.op, word.args
    if op == w.SUM:
        return [(x, need - _shift(f)) for f, x in args[1]]
    if op == w.WRAP:
        return [(args[0], min(need, args[1]))]
    if op == w.RIGHT_FIXED:
        return [(args[0], need + args[1])]
    if op in (w.MUL, w.AND, w.OR, w.XOR):
        return [(x, need) for x in args]
    if op in (w.MUX, w.NEGATE_IF):
        return [(args[0], 1), *((x, need) for x in args[1:])]
    if op == w.LEFT:
        return [(args[0], need), (args[1], 64)]
    if op == w.READ:
        return [(args[0], 64), *((x, need) for x in args[1])]
    return [(x, 1 << 30) for x in operands(word)]
