"""The gate set is the field's; covers are equivalent, small and no deeper."""

import itertools
import random

import numpy as np
import pytest

from fhe.circuit import Port, Signature
from fhe.compiler import check_equivalent, map_graph, schedule
from fhe.compiler.bits import Graph
from fhe.compiler.map import cells, cover
from fhe.compiler.rewrite import rebuild


def test_number_of_functions() -> None:
    # 80 of 256 three-input functions, degenerate ones included, are one bootstrap:
    # 2 constants, 6 literals, 3 pairs of 8 AND and 2 XOR kinds, and these.
    two, three = cells(2, True), cells(3, True)
    assert len(two) == 10
    assert len(three) == 80 - 2 - 6 - 3 * 10
    assert len(cells(3, False)) == len(three) - 24


def test_cells_by_exhaustion() -> None:
    found = set()
    for offset in range(-4, 5):
        for weights in itertools.product(range(-3, 4), repeat=3):
            table = 0
            for row in range(8):
                total = offset + sum(
                    x if row >> i & 1 else -x for i, x in enumerate(weights)
                )
                if total % 4 == 0:
                    break
                table |= (total % 8 < 4) << row
            else:
                found.add(table)
    assert len(found) == 80
    assert set(cells(3, True)) <= found


def random_graph(seed: int, gates: int = 200) -> tuple[Graph, list[int]]:
    r = random.Random(seed)
    graph = Graph()
    literals = [graph.input() for _ in range(8)]
    for _ in range(gates):
        a, b, c = (r.choice(literals[-30:]) ^ r.getrandbits(1) for _ in range(3))
        kind = r.randrange(6)
        make, size = [
            (graph.and_, 2),
            (graph.xor, 2),
            (graph.or_, 2),
            (graph.maj, 3),
            (graph.xor3, 3),
            (graph.mux, 3),
        ][kind]
        made = make(*(a, b, c)[:size])
        literals.append(made)
    return graph, [*r.sample(literals, 10), 0, 1, literals[0], literals[1] ^ 1]


def signature(inputs: int, outputs: int) -> Signature:
    return Signature(
        (Port("x", "bits", inputs, False),), (Port("y", "bits", outputs, False),)
    )


@pytest.mark.parametrize("allow_ax", [False, True])
@pytest.mark.parametrize("depth", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed: int, depth: bool, allow_ax: bool) -> None:
    graph, roots = random_graph(seed)
    circuit = map_graph(
        graph, roots, signature(8, len(roots)), depth=depth, allow_ax=allow_ax, verify=0
    )
    gates, levels = schedule.estimate(graph, roots)
    assert circuit.num_bootstraps <= gates
    if depth:
        assert circuit.depth <= levels
    # All 256 inputs, against the graph's own simulation.
    packed = [sum((v >> i & 1) << v for v in range(256)) for i in range(8)]
    values = graph.simulate(packed, (1 << 256) - 1)
    bits = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)
    got = circuit.evaluate_bits(bits)
    for k, root in enumerate(roots):
        expected = [bool((values[root >> 1] >> v & 1) ^ (root & 1)) for v in range(256)]
        np.testing.assert_array_equal(got[:, k], expected)


@pytest.mark.parametrize("seed", range(4))
def test_rebuild_is_equivalent_and_no_larger(seed: int) -> None:
    graph, roots = random_graph(seed)
    again, literals = rebuild(graph, roots)
    old, new = schedule.estimate(graph, roots)[0], schedule.estimate(again, literals)[0]
    assert new <= old
    circuit = map_graph(again, literals, signature(8, len(roots)))
    check_equivalent(graph, roots, circuit, 256)


def test_rebuild_finds_multiplexers() -> None:
    graph = Graph()
    s, a, b = (graph.input() for _ in range(3))
    chosen = graph._node(2, (s, a)), graph._node(2, tuple(sorted((s ^ 1, b))))
    root = graph._node(2, tuple(sorted(x ^ 1 for x in chosen))) ^ 1
    again, literals = rebuild(graph, [root])
    assert schedule.estimate(again, literals)[0] == 2
    check_equivalent(graph, [root], map_graph(again, literals, signature(3, 1)), 64)


def test_check_equivalent_finds_a_difference() -> None:
    graph = Graph()
    a, b = graph.input(), graph.input()
    root = graph.and_(a, b)
    circuit = map_graph(graph, [root], signature(2, 1))
    with pytest.raises(RuntimeError, match="differs"):
        check_equivalent(graph, [root ^ 1], circuit, 64)


def test_levels_are_filled() -> None:
    graph = Graph()
    x = [graph.input() for _ in range(40)]
    chain = x[0]
    for y in x[1:11]:
        chain = graph.and_(chain, y)
    side = [graph.and_(a, b) for a, b in zip(x[10:25], x[25:40], strict=True)]
    netlist = cover(graph, [chain, *side])
    early = schedule.levelize(netlist, 1000)
    even = schedule.levelize(netlist, 1)
    assert len(early) == len(even) == 10
    assert len(early[0]) == 16
    assert max(map(len, even)) == 3
    for levels in (early, even):
        assert sorted(g for level in levels for g in level) == list(range(25))


def test_cost() -> None:
    assert schedule.cost([10, 1000], latency=1.0, throughput=100.0) == 1.0 + 10.0
    assert schedule.ideal_cost(500, 2, latency=1.0, throughput=100.0) == 5.0
