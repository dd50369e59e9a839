"""The bit-level DAG: hash-consed gates over literals, simplified as they are made.

A literal is `2 * node + negated`, so inversion is free. Node 0 is the constant false.
Two-input AND and XOR and the three-input MAJ and XOR3 (the two halves of a full adder,
one bootstrap each) are the only operators; the mapper finds the others.
"""

import contextlib
import gc
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

FALSE, TRUE = 0, 1
CONSTANT, INPUT, AND, XOR, MAJ, XOR3 = range(6)


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """No cyclic garbage collection: DAGs are many small objects without cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Graph:
    """A growing DAG; nodes are numbered in topological order.

    Attributes:
        kind: operator of each node.
        fan: operand literals of each node.
        level: longest path from an input, in gates, a guide for the adders.
    """

    def __init__(self) -> None:
        self.kind = [CONSTANT]
        self.fan: list[tuple[int, ...]] = [()]
        self.level = [0]
        self.inputs: list[int] = []
        self._seen: dict[tuple[int, ...], int] = {}

    def __len__(self) -> int:
        return len(self.kind)

    def input(self) -> int:
        """A new input's literal."""
        self.kind.append(INPUT)
        self.fan.append(())
        self.level.append(0)
        self.inputs.append(len(self.kind) - 1)
        return 2 * (len(self.kind) - 1)

    def _node(self, kind: int, fan: tuple[int, ...]) -> int:
        key = (kind, *fan)
        found = self._seen.get(key)
        if found is None:
            level = self.level
            found = 2 * len(self.kind)
            self._seen[key] = found
            self.kind.append(kind)
            self.fan.append(fan)
            level.append(1 + max([level[x >> 1] for x in fan]))
        return found

    def and_(self, a: int, b: int) -> int:
        """a & b."""
        if a > b:
            a, b = b, a
        if a <= 1:
            return b if a else FALSE
        if a >> 1 == b >> 1:
            return a if a == b else FALSE
        # b is the younger node, so only b's cone can hold a.
        kind = self.kind[b >> 1]
        if kind == AND:
            p, q = self.fan[b >> 1]
            if b & 1:
                if a == p:
                    return self.and_(p, q ^ 1)
                if a == q:
                    return self.and_(q, p ^ 1)
                if a ^ 1 in (p, q):
                    return a
                if self.kind[a >> 1] == AND:
                    r, s = self.fan[a >> 1]
                    if a & 1:
                        if (r, s) in ((p ^ 1, q ^ 1), (q ^ 1, p ^ 1)):
                            return self.xor(p, q)
                        # ~(pq) & ~(p~q) = ~p
                        if r == p and s == q ^ 1:
                            return p ^ 1
                        if s == q and r == p ^ 1:
                            return q ^ 1
                    elif p in (r, s):
                        return self.and_(a, q ^ 1)
                    elif q in (r, s):
                        return self.and_(a, p ^ 1)
                    elif p ^ 1 in (r, s) or q ^ 1 in (r, s):
                        return a
            else:
                if a in (p, q):
                    return b
                if a ^ 1 in (p, q):
                    return FALSE
                if self.kind[a >> 1] == AND and not a & 1:
                    r, s = self.fan[a >> 1]
                    if p ^ 1 in (r, s) or q ^ 1 in (r, s):
                        return FALSE
        elif kind == XOR:
            p, q = self.fan[b >> 1]
            negated = b & 1
            if a >> 1 == p >> 1:
                return self.and_(a, q ^ 1 ^ negated ^ ((a ^ p) & 1))
            if a >> 1 == q >> 1:
                return self.and_(a, p ^ 1 ^ negated ^ ((a ^ q) & 1))
            if self.kind[a >> 1] == AND:
                r, s = self.fan[a >> 1]
                if (r >> 1, s >> 1) == (p >> 1, q >> 1):
                    # Where r & s holds the XOR is known.
                    value = (r ^ s ^ 1 ^ p ^ q ^ negated ^ 1) & 1
                    if not a & 1:
                        return a if value else FALSE
        return self._node(AND, (a, b))

    def or_(self, a: int, b: int) -> int:
        """a | b."""
        return self.and_(a ^ 1, b ^ 1) ^ 1

    def xor(self, a: int, b: int) -> int:
        """a ^ b."""
        negated = (a ^ b) & 1
        a &= ~1
        b &= ~1
        if a > b:
            a, b = b, a
        if a == 0:
            return b ^ negated
        if a == b:
            return negated
        kind = self.kind[b >> 1]
        if kind == XOR:
            p, q = self.fan[b >> 1]
            if a == p:
                return q ^ negated
            if a == q:
                return p ^ negated
        elif kind == AND:
            p, q = self.fan[b >> 1]
            if a == p:
                return self.and_(p, q ^ 1) ^ negated
            if a == q:
                return self.and_(q, p ^ 1) ^ negated
            if a ^ 1 == p:
                return self.or_(a, q) ^ negated
            if a ^ 1 == q:
                return self.or_(a, p) ^ negated
            if self.kind[a >> 1] == AND:
                r, s = self.fan[a >> 1]
                if r == p and s == q ^ 1:
                    return p ^ negated
                if r == p ^ 1 and s == q:
                    return q ^ negated
                if (r, s) in ((p ^ 1, q ^ 1), (q ^ 1, p ^ 1)):
                    return self.xor(p, q) ^ 1 ^ negated
        return self._node(XOR, (a, b)) ^ negated

    def xor3(self, a: int, b: int, c: int) -> int:
        """a ^ b ^ c, a full adder's sum: one bootstrap."""
        negated = (a ^ b ^ c) & 1
        a, b, c = sorted((a & ~1, b & ~1, c & ~1))
        if a == 0:
            return self.xor(b, c) ^ negated
        if a == b:
            return c ^ negated
        if b == c:
            return a ^ negated
        if self.kind[c >> 1] == XOR:
            p, q = self.fan[c >> 1]
            for x, y in ((p, q), (q, p)):
                if x == a:
                    return self.xor(b, y) ^ negated
                if x == b:
                    return self.xor(a, y) ^ negated
        return self._node(XOR3, (a, b, c)) ^ negated

    def maj(self, a: int, b: int, c: int) -> int:
        """At least two of three, a full adder's carry: one bootstrap."""
        a, b, c = sorted((a, b, c))
        if a <= 1:
            return self.or_(b, c) if a else self.and_(b, c)
        if a >> 1 == b >> 1:
            return a if a == b else c
        if b >> 1 == c >> 1:
            return b if b == c else a
        kind, fan = self.kind[c >> 1], self.fan[c >> 1]
        if kind == MAJ:
            fan = tuple(x ^ (c & 1) for x in fan)
            if a in fan and b in fan:
                return c
            # A full adder of sign copies: MAJ(a, b, MAJ(~a, b, x)) = MAJ(a, b, x)
            # holds only with both equal, so nothing more is tried here.
        elif kind == AND:
            # AND and OR are majorities with a constant.
            p, q = (x ^ (c & 1) for x in fan)
            if {a, b} == {p, q}:
                return c
        # Self-dual: keep at most one negated operand.
        if (a & 1) + (b & 1) + (c & 1) >= 2:
            return self._node(MAJ, tuple(sorted((a ^ 1, b ^ 1, c ^ 1)))) ^ 1
        return self._node(MAJ, (a, b, c))

    def mux(self, s: int, a: int, b: int) -> int:
        """`s ? a : b`, as MAJ(a, b, s ^ b): two bootstraps, and a swap is three.

        Where a and b differ, s ^ b is the wanted one; where they agree, it loses.
        """
        if a == b:
            return a
        if s <= 1:
            return a if s else b
        if a == b ^ 1:
            return self.xor(s, b)
        if a <= 1:
            return self.or_(s, b) if a else self.and_(s ^ 1, b)
        if b <= 1:
            return self.or_(s ^ 1, a) if b else self.and_(s, a)
        if s >> 1 == a >> 1:
            return self.or_(s, b) if s == a else self.and_(s ^ 1, b)
        if s >> 1 == b >> 1:
            return self.and_(s, a) if s == b else self.or_(s ^ 1, a)
        # x ^ (s ? y : 0) has an AND in place of the majority, and one XOR less.
        for x, y, when in ((a, b, s), (b, a, s ^ 1)):
            if self.kind[x >> 1] == XOR:
                p, q = self.fan[x >> 1]
                if p >> 1 == y >> 1:
                    return self.xor(y, self.and_(when, q ^ ((x ^ p ^ y) & 1)))
                if q >> 1 == y >> 1:
                    return self.xor(y, self.and_(when, p ^ ((x ^ q ^ y) & 1)))
        # s ^ b and ~(s ^ a) serve alike; the older one is shared by both of a swap.
        return self.maj(a, b, self.xor(s, b) if b < a else self.xor(s, a) ^ 1)

    def reduce_and(self, items: Iterable[int]) -> int:
        """AND of many, earliest first, which keeps the tree shallow."""
        return self._reduce(items, self.and_)

    def reduce_or(self, items: Iterable[int]) -> int:
        """OR of many."""
        return self._reduce([x ^ 1 for x in items], self.and_, TRUE) ^ 1

    def _reduce(
        self,
        items: Iterable[int],
        operator: Callable[[int, int], int],
        empty: int = TRUE,
    ) -> int:
        order = itertools.count()
        heap = [(self.level[x >> 1], next(order), x) for x in items]
        if not heap:
            return empty
        heapq.heapify(heap)
        while len(heap) > 1:
            _, _, a = heapq.heappop(heap)
            _, _, b = heapq.heappop(heap)
            made = operator(a, b)
            heapq.heappush(heap, (self.level[made >> 1], next(order), made))
        return heap[0][2]

    def reduce_xor(self, items: Iterable[int]) -> int:
        """XOR of many, by threes, earliest first."""
        order = itertools.count()
        heap = [(self.level[x >> 1], next(order), x) for x in items]
        if not heap:
            return FALSE
        heapq.heapify(heap)
        while len(heap) > 1:
            taken = [heapq.heappop(heap)[2] for _ in range(min(3, len(heap)))]
            made = self.xor3(*taken) if len(taken) == 3 else self.xor(*taken)
            heapq.heappush(heap, (self.level[made >> 1], next(order), made))
        return heap[0][2]

    def simulate(self, values: Sequence[int], mask: int) -> list[int]:
        """Values of all nodes, each a Python integer that packs one bit a vector.

        Args:
            values: one packed integer an input.
            mask: ones in every vector's place.
        """
        result = [0] * len(self.kind)
        for node, value in zip(self.inputs, values, strict=True):
            result[node] = value
        for node, kind in enumerate(self.kind):
            if kind >= AND:
                operands = [
                    result[x >> 1] ^ mask if x & 1 else result[x >> 1]
                    for x in self.fan[node]
                ]
                if kind == AND:
                    result[node] = operands[0] & operands[1]
                elif kind == XOR:
                    result[node] = operands[0] ^ operands[1]
                elif kind == XOR3:
                    result[node] = operands[0] ^ operands[1] ^ operands[2]
                else:
                    a, b, c = operands
                    result[node] = a & b | c & (a | b)
        return result

    def reachable(self, roots: Iterable[int]) -> bytearray:
        """1 for each node that the root literals need, 0 for dead ones."""
        live = bytearray(len(self.kind))
        for x in roots:
            live[x >> 1] = 1
        for node in range(len(self.kind) - 1, 0, -1):
            if live[node]:
                for x in self.fan[node]:
                    live[x >> 1] = 1
        return live
