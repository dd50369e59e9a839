"""Random C programs: what the circuit computes is what gcc's code computes."""

import random
from collections.abc import Callable

import pytest

from fhe import compiler

TYPES = [
    "int8_t", "uint8_t", "int16_t", "uint16_t", "int", "unsigned", "int64_t",
    "uint64_t", "_Bool", "char",
]  # fmt: skip
HELPERS = """
#include <stdint.h>
typedef struct { int16_t x; uint8_t y[2]; } Pair;
enum Color { RED, GREEN = 5, BLUE };
static const int16_t table[8] = {3, -1, 4, 1, -5, 9, 2, 6};
static void swap(int *p, int *q) { int t = *p; *p = *q; *q = t; }
static int clamp(int x, int low, int high) {
  if (x < low) return low;
  if (x > high) return high;
  return x;
}
static Pair turn(Pair p) { Pair q = {p.y[0], {(uint8_t)p.x, p.y[1]}}; return q; }
static int power(int x, int n) { return n == 0 ? 1 : x * power(x, n - 1); }
"""


class Generator:
    """Writes one function; all that it does is defined (with wrapping overflow)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loops = 0

    def literal(self) -> str:
        r = self.random
        value = r.choice([r.randint(-9, 9), r.randint(-300, 300), r.getrandbits(31)])
        return r.choice([str(value), hex(abs(value)), f"{abs(value)}u", f"{value}l"])

    def expression(self, depth: int) -> str:
        r = self.random
        if depth <= 0 or r.random() < 0.15:
            leaf = [*self.names, "p.x", "p.y[1]", "GREEN", "b[2]", self.literal()]
            return r.choice(leaf)
        e = [self.expression(depth - 1) for _ in range(3)]
        kind = r.randrange(20)
        if kind < 6:
            return f"({e[0]} {r.choice('+-*&|^')} {e[1]})"
        if kind < 8:
            return f"({e[0]} {r.choice(['<', '>', '<=', '>=', '==', '!='])} {e[1]})"
        if kind == 8:
            return f"({e[0]} {r.choice(['<<', '>>'])} ({e[1]} & 7))"
        if kind == 9:
            return f"({e[0]} {r.choice(['<<', '>>'])} {r.randrange(8)})"
        if kind == 10:
            divisor = r.choice([f"(({e[1]} & 15) + 1)", "7", "-3", "10u", "16", "1000"])
            return f"((int16_t)({e[0]}) {r.choice('/%')} {divisor})"
        if kind == 11:
            return f"({e[0]} ? {e[1]} : {e[2]})"
        if kind == 12:
            return f"({e[0]} {r.choice(['&&', '||'])} {e[1]})"
        if kind == 13:
            return f"{r.choice(['-', '~', '!', '+'])}({e[0]})"
        if kind == 14:
            return f"({r.choice(TYPES)})({e[0]})"
        if kind == 15:
            return f"a[{e[0]} & 3]"
        if kind == 16:
            return f"table[{e[0]} & 7]"
        if kind == 17:
            return f"clamp({e[0]}, -20, {e[1]} & 63)"
        if kind == 18:
            return f"turn(p).{r.choice(['x', 'y[0]'])}"
        return f"power((int8_t)({e[0]}), {r.randrange(3)})"

    def target(self) -> str:
        places = [*self.names, "p.x", "p.y[0]", "a[1]", f"a[{self.expression(1)} & 3]"]
        return self.random.choice(
            [*places, "b[v0 & 3]", f"m[v1 & 1][{self.names[0]} & 1]"]
        )

    def statement(self, depth: int, loop: bool) -> str:
        r = self.random
        kind = r.randrange(17)
        if depth <= 0 or kind < 6:
            op = r.choice(["=", "=", "+=", "-=", "^=", "|=", "&=", "*="])
            return f"{self.target()} {op} {self.expression(2)};"
        inner = "\n".join(
            self.statement(depth - 1, loop) for _ in range(r.randint(1, 2))
        )
        other = self.statement(depth - 1, loop)
        if kind < 9:
            tail = f" else {{ {other} }}" if r.random() < 0.5 else ""
            return f"if ({self.expression(2)}) {{ {inner} }}{tail}"
        if kind < 11:
            self.loops += 1
            i = f"i{self.loops}"
            body = "\n".join(self.statement(depth - 1, True) for _ in range(2))
            return f"for (int {i} = 0; {i} < {r.randint(1, 3)}; {i}++) {{ {body} }}"
        if kind == 11:
            self.loops += 1
            i = f"i{self.loops}"
            body = self.statement(depth - 1, True)
            head = f"for (int {i} = 0; {i} < ({self.expression(1)} & 3); {i}++)"
            return f"\n#pragma fhe bound(3)\n{head} {{ {body} }}"
        if kind == 12 and loop:
            return f"if ({self.expression(1)}) {r.choice(['break', 'continue'])};"
        if kind == 13:
            return f"if ({self.expression(1)}) return {self.expression(1)};"
        if kind == 14:
            third = self.statement(0, loop)
            stop = r.choice(["break;", ""])
            return (
                f"switch ({self.expression(1)} & 3) {{ case 0: {other} {stop} "
                f"case 2: {third} break; {r.choice(['default:', 'case 1:'])} v0++; }}"
            )
        if kind == 15:
            e = [self.expression(1) for _ in range(3)]
            return f"z = ({e[0]}) && (v1 ^= 3, {e[1]}) ? {e[2]} : v0++;"
        return "swap(&v0, &v1);"

    def function(self, name: str) -> str:
        r = self.random
        kinds = [r.choice(TYPES) for _ in range(3)]
        self.names = ["x", "y", "z", "v0", "v1"]
        body = "\n".join(self.statement(3, False) for _ in range(4))
        return (
            f"{r.choice(TYPES)} {name}({kinds[0]} x, {kinds[1]} y, {kinds[2]} z, "
            f"{r.choice(TYPES)} a[4], Pair p, uint8_t b[4]) {{\n"
            f"int v0 = x, v1 = 1;\nv1 = {self.expression(1)};\n"
            f"{r.choice(TYPES)} m[2][2] = {{{{x, 1}}, {{y}}}};\n"
            f"{body}\nreturn {self.expression(2)} + m[0][1] + m[1][0];\n}}\n"
        )


def make(seeds: range) -> tuple[str, list[str]]:
    """One file of several functions."""
    functions = [Generator(seed).function(f"f{seed}") for seed in seeds]
    return HELPERS + "".join(functions), [f"f{seed}" for seed in seeds]


@pytest.mark.parametrize("first", range(0, 80, 10))
def test_random_programs_agree_with_gcc(agree: Callable[..., None], first: int) -> None:
    source, names = make(range(first, first + 10))
    objective = ["size", "depth"][first // 10 % 2]
    circuits = {
        name: compiler.compile(source, name, objective=objective) for name in names
    }
    agree(source, circuits, count=200, seed=first)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 2000, 20))
def test_many_random_programs(agree: Callable[..., None], first: int) -> None:
    source, names = make(range(first, first + 20))
    circuits = {
        name: compiler.compile(source, name, allow_ax=first % 40 == 0) for name in names
    }
    agree(source, circuits, count=500, seed=first)
