"""The DAG's simplifications against truth tables."""

import random
from collections.abc import Callable

import pytest

from fhe.compiler.bits import FALSE, TRUE, Graph

ONES = (1 << 32) - 1
VARIABLES = [
    sum((row >> i & 1) << row for row in range(32)) for i in range(5)
]  # truth tables of five inputs


@pytest.mark.parametrize("seed", range(40))
def test_random_gates(seed: int) -> None:
    r = random.Random(seed)
    graph = Graph()
    known = [(graph.input(), table) for table in VARIABLES]
    known += [(FALSE, 0), (TRUE, ONES)]
    rules: list[tuple[Callable[..., int], Callable[..., int], int]] = [
        (graph.and_, lambda a, b: a & b, 2),
        (graph.or_, lambda a, b: a | b, 2),
        (graph.xor, lambda a, b: a ^ b, 2),
        (graph.xor3, lambda a, b, c: a ^ b ^ c, 3),
        (graph.maj, lambda a, b, c: a & b | a & c | b & c, 3),
        (graph.mux, lambda s, a, b: s & a | (ONES ^ s) & b, 3),
        (lambda *x: graph.reduce_and(x), lambda a, b, c: a & b & c, 3),
        (lambda *x: graph.reduce_or(x), lambda a, b, c: a | b | c, 3),
        (lambda *x: graph.reduce_xor(x), lambda a, b, c: a ^ b ^ c, 3),
    ]
    for _ in range(300):
        make, rule, size = r.choice(rules)
        chosen = [r.choice(known[-12:]) for _ in range(size)]
        chosen = [(x ^ 1, ONES ^ t) if r.random() < 0.5 else (x, t) for x, t in chosen]
        literal = make(*[x for x, _ in chosen])
        known.append((literal, rule(*[t for _, t in chosen])))
    values = graph.simulate(VARIABLES, ONES)
    for literal, table in known:
        assert values[literal >> 1] ^ (ONES if literal & 1 else 0) == table


def test_sharing_and_folding() -> None:
    graph = Graph()
    a, b, c = (graph.input() for _ in range(3))
    size = len(graph)
    assert graph.and_(a, a ^ 1) == FALSE
    assert graph.or_(a, a ^ 1) == TRUE
    assert graph.xor(a, a) == FALSE
    assert graph.maj(a, b, b) == b
    assert graph.maj(a, b, b ^ 1) == a
    assert graph.xor3(a, b, b ^ 1) == a ^ 1
    assert len(graph) == size
    assert graph.xor(a, b) == graph.xor(b ^ 1, a) ^ 1
    assert graph.maj(a, b, c) == graph.maj(c ^ 1, a ^ 1, b ^ 1) ^ 1
    assert graph.and_(graph.xor(a, b), a) == graph.and_(a, b ^ 1)


def test_empty_reductions() -> None:
    graph = Graph()
    assert graph.reduce_and([]) == TRUE
    assert graph.reduce_or([]) == FALSE
    assert graph.reduce_xor([]) == FALSE
