"""Words and their gates against Python's integers; ranges that must hold."""

import random
from typing import Any

import pytest

from fhe.compiler import words as w
from fhe.compiler.bits import Graph
from fhe.compiler.blast import Blaster
from fhe.compiler.words import Operand, Word, Words

OPERATORS = [
    "add", "subtract", "multiply", "and_", "or_", "xor", "less", "equal", "negate",
    "invert", "mux", "wrap", "left", "right", "divide", "remainder", "read", "scale",
    "clamp", "conditional",
]  # fmt: skip


def truncated(x: int, y: int) -> int:
    return (
        int(x / y)
        if abs(x) < 2**50
        else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    )


def step(
    words: Words, op: str, operands: list[tuple[Operand, list[int]]], r: random.Random
) -> tuple[Operand, list[int]]:
    """A random word of an operator and its values, one a vector, by Python."""
    (x, xs), (y, ys), (z, zs) = (r.choice(operands) for _ in range(3))
    pairs = list(zip(xs, ys, strict=True))
    if op in ("add", "subtract", "multiply", "and_", "or_", "xor", "less", "equal"):
        rule: Any = {
            "add": lambda a, b: a + b, "subtract": lambda a, b: a - b,
            "multiply": lambda a, b: a * b, "and_": lambda a, b: a & b,
            "or_": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
            "less": lambda a, b: int(a < b), "equal": lambda a, b: int(a == b),
        }[op]  # fmt: skip
        return getattr(words, op)(x, y), [rule(a, b) for a, b in pairs]
    if op in ("negate", "invert"):
        return getattr(words, op)(x), [-a if op == "negate" else ~a for a in xs]
    if op == "scale":
        factor, shift = r.randint(-9, 9), r.randint(-9, 9)
        return words.linear(shift, ((factor, x), (1, y))), [
            factor * a + shift + b for a, b in pairs
        ]
    if op == "wrap":
        width, signed = r.randint(1, 12), r.random() < 0.5
        low = -(1 << (width - 1)) if signed else 0
        return words.wrap(x, width, signed), [
            (a - low) % (1 << width) + low for a in xs
        ]
    if op in ("left", "right"):
        amount = words.wrap(y, 3, False)
        rule = (lambda a, b: a << b) if op == "left" else (lambda a, b: a >> b)
        return getattr(words, op)(x, amount, 8), [rule(a, b & 7) for a, b in pairs]
    if op in ("divide", "remainder"):
        divisor = (
            r.choice([3, 7, -5, 16, 10])
            if r.random() < 0.5
            else words.add(words.wrap(y, 5, False), 1)
        )
        ds = [divisor if isinstance(divisor, int) else (b & 31) + 1 for b in ys]
        quotients = [truncated(a, d) for a, d in zip(xs, ds, strict=True)]
        if op == "divide":
            return words.divide(x, divisor), quotients
        return words.remainder(x, divisor), [
            a - q * d for a, q, d in zip(xs, quotients, ds, strict=True)
        ]
    if op == "read":
        index = words.wrap(x, 3, False)
        table: list[Any] = [r.choice([y, z, r.randint(-20, 20)]) for _ in range(8)]
        if not isinstance(index, Word):
            return x, xs
        values = [
            [v] * len(xs) if isinstance(v, int) else (ys if v is y else zs)
            for v in table
        ]
        return words.read(index, table), [values[a & 7][i] for i, a in enumerate(xs)]
    if op == "clamp":
        limit = r.randint(-50, 50)
        return words.mux(words.less(limit, x), limit, x), [min(a, limit) for a in xs]
    condition = words.less(x, y)
    if op == "conditional":
        total = words.mux(condition, words.add(z, y), z)
        return total, [
            c + b if a < b else c for a, b, c in zip(xs, ys, zs, strict=True)
        ]
    return words.mux(condition, z, words.negate(z)), [
        c if a < b else -c for a, b, c in zip(xs, ys, zs, strict=True)
    ]


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_random_words(seed: int, prefix: bool) -> None:
    r = random.Random(seed)
    words = Words()
    count = 40
    ranges = [(0, 1), (0, 255), (-128, 127), (-3, 9), (0, 60)]
    inputs = [words.input(low, high) for low, high in ranges]
    samples = [[r.randint(low, high) for _ in range(count)] for low, high in ranges]
    known: list[tuple[Operand, list[int]]] = list(zip(inputs, samples, strict=True))
    known.append((13, [13] * count))
    for _ in range(25):
        word, values = step(words, r.choice(OPERATORS), known, r)
        assert w.low_of(word) <= min(values)
        assert max(values) <= w.high_of(word)
        if w.high_of(word) - w.low_of(word) < 1 << 40:
            known.append((word, values))
    roots = [(word, r.choice([3, 8, 20, 48])) for word, _ in known]
    graph = Graph()
    literals = {
        x: [graph.input() for _ in range(w.width_of(x.low, x.high) - (x.low >= 0))]
        for x in inputs
    }
    rows = Blaster(graph, literals, prefix).run(roots)
    packed = [
        sum((v >> i & 1) << k for k, v in enumerate(sample))
        for x, sample in zip(inputs, samples, strict=True)
        for i in range(len(literals[x]))
    ]
    simulated = graph.simulate(packed, (1 << count) - 1)
    for (_, values), (_, width), row in zip(known, roots, rows, strict=True):
        assert len(row) == width
        for k, value in enumerate(values):
            got = sum(
                ((simulated[x >> 1] >> k & 1) ^ (x & 1)) << i for i, x in enumerate(row)
            )
            assert got == value & ((1 << width) - 1)


def test_words_are_shared_and_folded() -> None:
    words = Words()
    x, y = words.input(0, 255), words.input(0, 255)
    assert words.add(x, y) is words.add(y, x) or words.add(x, y).low == 0  # type: ignore[union-attr]
    assert words.and_(x, y) is words.and_(y, x)
    assert words.subtract(x, x) == 0
    assert words.xor(words.xor(x, 5), 5) is x
    assert words.wrap(x, 9, True) is x
    assert words.less(x, 256) == 1
    assert words.remainder(x, 256) is x
    bit = words.less(x, y)
    assert words.and_(bit, words.negation(bit)) == 0
    assert words.or_(bit, words.negation(bit)) == 1
    assert words.mux(words.negation(bit), x, y) is words.mux(bit, y, x)


@pytest.mark.parametrize(
    ("low", "high", "width"),
    [
        (0, 0, 1),
        (0, 1, 2),
        (-1, 0, 1),
        (-2, 1, 2),
        (0, 255, 9),
        (-128, 127, 8),
        (-129, 0, 9),
        (-5, -3, 4),
    ],
)
def test_width_of(low: int, high: int, width: int) -> None:
    assert w.width_of(low, high) == width
