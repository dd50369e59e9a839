"""Technology mapping: covers the DAG with gates that one bootstrap evaluates.

Cuts of up to three leaves are enumerated for every node; a cut whose function is among
the 80 (56 without a^(b&c)) three-input functions that are the sign of a sum of wires
can be one gate. The cover is chosen by area flow and improved by exact local area
(Mishchenko, Chatterjee and Brayton, "Improvements to technology mapping for LUT-based
FPGAs", 2007). With a depth limit, only cuts that keep it compete.
"""

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Sequence

from fhe.compiler.bits import AND, INPUT, MAJ, XOR3, Graph

Cut = tuple[tuple[int, ...], int]

_PROJECTIONS = (0b10101010, 0b11001100, 0b11110000)
_MOST_CUTS = 6


@dataclasses.dataclass(frozen=True)
class Cell:
    """sign(offset/8 + sum of weights * wires): a gate, before it is placed."""

    offset: int
    weights: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Netlist:
    """A cover.

    Attributes:
        nodes: node computed by each gate, in topological order.
        cells: its gate.
        leaves: nodes that it reads, one for each weight.
    """

    nodes: list[int]
    cells: list[Cell]
    leaves: list[tuple[int, ...]]


def _evaluate(offset: int, weights: Sequence[int]) -> int | None:
    """Truth table, 2**len(weights) bits; None if a sum lands on a boundary."""
    table = 0
    for row in range(1 << len(weights)):
        total = offset + sum(w if row >> i & 1 else -w for i, w in enumerate(weights))
        if total % 4 == 0:
            return None
        table |= (total % 8 < 4) << row
    return table


@functools.cache
def cells(size: int, allow_ax: bool) -> dict[int, Cell]:
    """Gates of exactly `size` inputs by truth table (bit r: input i is bit i of r)."""
    shapes: dict[int, list[tuple[int, tuple[int, ...]]]] = {
        2: [(1, (1, 1)), (2, (2, 2))],
        3: [(0, (1, 1, 1)), (0, (2, 2, 2)), (2, (1, 1, 1))],
    }
    if allow_ax:
        shapes[3] += [(1, (2, 1, 1)), (1, (1, 2, 1)), (1, (1, 1, 2))]
    found: dict[int, Cell] = {}
    for offset, weights in shapes[size]:
        for signs in itertools.product((1, -1), repeat=size + 1):
            cell = Cell(
                offset * signs[0],
                tuple(w * s for w, s in zip(weights, signs[1:], strict=True)),
            )
            table = _evaluate(cell.offset, cell.weights)
            if table is not None:
                found.setdefault(table, cell)
    return found


@functools.cache
def _spread(places: tuple[int, ...]) -> list[int]:
    """Tables over three variables of tables over variables at these places."""
    size = len(places)
    result = []
    for table in range(1 << (1 << size)):
        wide = 0
        for row in range(8):
            narrow = sum((row >> p & 1) << i for i, p in enumerate(places))
            wide |= (table >> narrow & 1) << row
        result.append(wide)
    return result


class _Mapper:
    def __init__(self, graph: Graph, roots: Sequence[int], allow_ax: bool) -> None:
        self.graph = graph
        self.live = graph.reachable(roots)
        self.nodes = [
            n for n, kind in enumerate(graph.kind) if kind >= AND and self.live[n]
        ]
        self.cells = {
            2: cells(2, allow_ax),
            3: cells(3, allow_ax),
        }
        self.fanout = [0] * len(graph)
        for n in self.nodes:
            for x in graph.fan[n]:
                self.fanout[x >> 1] += 1
        self.root_nodes = [x >> 1 for x in roots if graph.kind[x >> 1] >= AND]
        for n in self.root_nodes:
            self.fanout[n] += 1
        self.choices: dict[int, list[Cut]] = {}
        self.best: dict[int, Cut] = {}

    def enumerate(self) -> None:
        """Fills `choices`, usable cuts of each node, and `best`, by area flow."""
        graph = self.graph
        cuts: list[list[Cut]] = [[] for _ in range(len(graph))]
        flow = [0.0] * len(graph)
        arrival = [0] * len(graph)
        self.arrival = arrival
        for n in self.nodes:
            usable: list[tuple[int, float, Cut]] = []
            other: list[tuple[float, Cut]] = []
            fan = graph.fan[n]
            around = [x >> 1 for x in fan]
            for x in fan:
                for leaves, _ in cuts[x >> 1][:3]:
                    around += leaves
            if len(set(around)) == len(around):
                # Nothing reconverges near by, as in adders and multipliers.
                merged = [_direct(graph.kind[n], fan)]
                if len(fan) == 2 and len(around) > 2:
                    merged = self._merge(n, cuts)
            else:
                merged = self._merge(n, cuts)
            for cut in merged:
                leaves, table = cut
                area = 1 + math.fsum([flow[x] for x in leaves])
                if table in self.cells.get(len(leaves), ()):
                    time = 1 + max([arrival[x] for x in leaves])
                    usable.append((time, area, cut))
                else:
                    other.append((area, cut))
            usable.sort(key=lambda entry: entry[:2])
            arrival[n] = usable[0][0]
            chosen = min(usable, key=lambda entry: entry[1])
            flow[n] = chosen[1] / max(self.fanout[n], 1)
            self.best[n] = chosen[2]
            self.choices[n] = [cut for _, _, cut in usable]
            other.sort(key=lambda entry: entry[0])
            kept = [cut for _, _, cut in usable] + [cut for _, cut in other]
            cuts[n] = kept[:_MOST_CUTS]

    def _merge(self, n: int, cuts: list[list[Cut]]) -> list[Cut]:
        graph = self.graph
        fan = graph.fan[n]
        options: list[list[tuple[tuple[int, ...], int, int]]] = []
        for x in fan:
            node, negated = x >> 1, -(x & 1)
            entry: list[tuple[tuple[int, ...], int, int]] = [((node,), 2, negated)]
            limit = _MOST_CUTS if len(fan) == 2 else 3
            entry += [(leaves, t, negated) for leaves, t in cuts[node][:limit]]
            options.append(entry)
        found: dict[tuple[int, ...], int] = {}
        kind = graph.kind[n]
        if len(fan) == 2:
            for la, ta, na in options[0]:
                for lb, tb, nb in options[1]:
                    union = _union(la, lb)
                    if union is None or union in found:
                        continue
                    a, b = _expand(la, ta, union) ^ na, _expand(lb, tb, union) ^ nb
                    found[union] = (a & b if kind == AND else a ^ b) & 255
        else:
            for la, ta, na in options[0]:
                for lb, tb, nb in options[1]:
                    pair = _union(la, lb)
                    if pair is None:
                        continue
                    for lc, tc, nc in options[2]:
                        union = _union(pair, lc)
                        if union is None or union in found:
                            continue
                        a = _expand(la, ta, union) ^ na
                        b = _expand(lb, tb, union) ^ nb
                        c = _expand(lc, tc, union) ^ nc
                        found[union] = (
                            a ^ b ^ c if kind == XOR3 else a & b | c & (a | b)
                        ) & 255
        result = []
        for leaves, table in found.items():
            cut = _support(leaves, table)
            if len(cut[0]) > 1:
                result.append(cut)
        return result

    def required(self) -> dict[int, int]:
        """Latest level of each covered node that keeps the least depth."""
        depth = max((self.arrival[n] for n in self.root_nodes), default=0)
        latest: dict[int, int] = {}
        for n in self.root_nodes:
            latest[n] = depth
        arrival = self.arrival
        for n in reversed(self.nodes):
            if n not in latest:
                continue
            limit = latest[n]
            for cut in [self.best[n], *self.choices[n]]:
                if 1 + max(arrival[x] for x in cut[0]) <= limit:
                    self.best[n] = cut
                    break
            for x in self.best[n][0]:
                latest[x] = min(latest.get(x, limit), limit - 1)
        return latest

    def recover(self, bounded: bool) -> bool:
        """Exact local area: re-chooses each cut by the gates that it alone needs.

        Returns whether anything changed.
        """
        kind, best = self.graph.kind, self.best
        latest = self.required() if bounded else {}
        count: dict[int, int] = {}

        def hold(n: int) -> int:
            area = 0
            stack = [n]
            while stack:
                for x in best[stack.pop()][0]:
                    if kind[x] > INPUT:
                        count[x] = count.get(x, 0) + 1
                        if count[x] == 1:
                            stack.append(x)
                area += 1
            return area

        def drop(n: int) -> int:
            area = 0
            stack = [n]
            while stack:
                for x in best[stack.pop()][0]:
                    if kind[x] > INPUT:
                        count[x] -= 1
                        if count[x] == 0:
                            stack.append(x)
                area += 1
            return area

        for n in self.root_nodes:
            count[n] = count.get(n, 0) + 1
            if count[n] == 1:
                hold(n)
        level: dict[int, int] = {}
        changed = False
        for n in self.nodes:
            if len(self.choices[n]) > 1 and count.get(n):
                least = (drop(n), 0)
                kept = first = best[n]
                time = 1 + max(level.get(x, 0) for x in kept[0])
                least = (least[0], time)
                for cut in self.choices[n]:
                    time = 1 + max(level.get(x, self.arrival[x]) for x in cut[0])
                    if cut is kept or (bounded and time > latest.get(n, time)):
                        continue
                    best[n] = cut
                    area = hold(n)
                    drop(n)
                    if (area, time) < least:
                        least, kept = (area, time), cut
                changed |= kept is not first
                best[n] = kept
                hold(n)
            level[n] = 1 + max([level.get(x, 0) for x in best[n][0]])
        return changed


@functools.cache
def _direct_table(kind: int, negated: tuple[int, ...]) -> int:
    values = [p ^ -n for p, n in zip(_PROJECTIONS, negated, strict=False)]
    if kind == AND:
        table = values[0] & values[1]
    elif kind == MAJ:
        table = values[0] & values[1] | values[2] & (values[0] | values[1])
    else:
        table = functools.reduce(operator.xor, values)
    return table & ((1 << (1 << len(negated))) - 1)


def _direct(kind: int, fan: tuple[int, ...]) -> Cut:
    """The cut of a node's own operands, which are in the order of their nodes."""
    table = _direct_table(kind, tuple([x & 1 for x in fan]))
    return tuple([x >> 1 for x in fan]), table


def _union(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    if a == b:
        return a
    merged = {*a, *b}
    return tuple(sorted(merged)) if len(merged) <= 3 else None


def _expand(leaves: tuple[int, ...], table: int, union: tuple[int, ...]) -> int:
    return _spread(tuple([union.index(x) for x in leaves]))[table]


def _support(leaves: tuple[int, ...], table: int) -> Cut:
    """The cut without leaves that do not matter, its table 2**leaves bits long."""
    if len(leaves) == 3:
        for i, step in ((0, 1), (1, 2), (2, 4)):
            low = table & ~_PROJECTIONS[i]
            if low << step == table & _PROJECTIONS[i]:
                kept = leaves[:i] + leaves[i + 1 :]
                rows = [row for row in range(8) if not row >> i & 1]
                narrow = sum((table >> row & 1) << j for j, row in enumerate(rows))
                return _support(kept, narrow)
        return leaves, table
    table &= (1 << (1 << len(leaves))) - 1
    if len(leaves) == 2:
        if table & 3 == table >> 2:
            return _support(leaves[:1], table & 3)
        if (table & 1) * 3 == table & 3 and (table >> 2 & 1) * 3 == table >> 2:
            return leaves[1:], table & 1 | table >> 1 & 2
    return leaves, table


def cover(
    graph: Graph, roots: Sequence[int], *, allow_ax: bool = False, depth: bool = False
) -> Netlist:
    """Chooses gates for everything that the root literals need.

    Args:
        graph: the DAG.
        roots: literals to be computed.
        allow_ax: whether a^(b&c) may be used, which needs a parameter set for it.
        depth: keep the least number of levels; otherwise the fewest gates count.
    """
    mapper = _Mapper(graph, roots, allow_ax)
    mapper.enumerate()
    if depth:
        mapper.required()
    if mapper.recover(depth):
        mapper.recover(depth)
    used = bytearray(len(graph))
    for n in mapper.root_nodes:
        used[n] = 1
    for n in reversed(mapper.nodes):
        if used[n]:
            for x in mapper.best[n][0]:
                used[x] = 1
    nodes = [n for n in mapper.nodes if used[n]]
    leaves = [mapper.best[n][0] for n in nodes]
    made = [
        mapper.cells[len(leaf)][mapper.best[n][1]]
        for n, leaf in zip(nodes, leaves, strict=True)
    ]
    return Netlist(nodes, made, leaves)
