"""Every construct of the accepted subset of C, compared with gcc."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fhe import compiler

TYPES = [
    "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned",
    "long", "unsigned long", "long long", "unsigned long long", "_Bool", "char",
]  # fmt: skip
PAIRS = [
    ("signed char", "unsigned"), ("unsigned char", "unsigned char"),
    ("short", "unsigned short"), ("int", "unsigned"), ("long", "unsigned"),
    ("int", "long"), ("_Bool", "char"), ("unsigned long", "int"),
    ("long long", "unsigned long"), ("unsigned", "short"), ("int", "int"),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), PAIRS)
@pytest.mark.parametrize("objective", ["size", "depth"])
def test_operators_and_conversions(
    agree: Callable[..., None], left: str, right: str, objective: Any
) -> None:
    operators = ["+", "-", "*", "&", "|", "^", "<", ">", "<=", ">=", "==", "!="]
    source = "".join(
        f"long f{i}({left} a, {right} b) {{ return a {op} b; }}\n"
        for i, op in enumerate(operators)
    )
    # The divisor is never 0 nor -1, for which INT_MIN / -1 would trap.
    source += "".join(
        f"long g{i}({left} a, {right} b) {{ return a {op} ((b & 63) + 1); }}\n"
        f"long h{i}({left} a, {right} b) {{ return a {op} (b < 5 && b > -3 && b != 0 "
        f"&& b != -1 ? b : 3); }}\n"
        for i, op in enumerate("/%")
    )
    source += "".join(
        f"long s{i}({left} a, {right} b) {{ return a {op} (b & 15); }}\n"
        for i, op in enumerate(["<<", ">>"])
    )
    names = [f"f{i}" for i in range(len(operators))]
    names += ["g0", "g1", "h0", "h1", "s0", "s1"]
    circuits = {
        name: compiler.compile(source, name, objective=objective) for name in names
    }
    agree(source, circuits, count=300)


@pytest.mark.parametrize("kind", TYPES)
def test_casts_and_unary(agree: Callable[..., None], kind: str) -> None:
    source = "".join(
        f"long c{i}({kind} a) {{ return ({other})a; }}\n"
        for i, other in enumerate(TYPES)
    )
    source += "".join(
        f"long u{i}({kind} a) {{ return {op}a; }}\n" for i, op in enumerate("-~!+")
    )
    source += f"long size({kind} a) {{ return sizeof(a) + sizeof({kind}); }}\n"
    source += f"{kind} step({kind} a) {{ {kind} b = a++; --a; ++b; return a + b--; }}\n"
    names = [f"c{i}" for i in range(len(TYPES))] + [f"u{i}" for i in range(4)]
    circuits = {
        name: compiler.compile(source, name) for name in [*names, "size", "step"]
    }
    agree(source, circuits, count=50)


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 8, 10, 100, 255, 1000, -1, -4, -7])
@pytest.mark.parametrize("objective", ["size", "depth"])
def test_division_by_constants(
    agree: Callable[..., None], divisor: int, objective: Any
) -> None:
    source = f"""
    int q(short a) {{ return a / {divisor}; }}
    int r(short a) {{ return a % {divisor}; }}
    unsigned uq(unsigned a) {{ return a / {abs(divisor)}u; }}
    unsigned ur(unsigned a) {{ return a % {abs(divisor)}u; }}
    """
    names = ["q", "r", "uq", "ur"]
    circuits = {n: compiler.compile(source, n, objective=objective) for n in names}
    agree(source, circuits, count=300)


PROGRAMS: dict[str, str] = {
    "nested structures": """
        typedef struct { short x, y; } Point;
        typedef struct { Point corner[2]; unsigned char color; } Box;
        Box f(Box b, int i) {
          Box c = b;
          Point *p = &c.corner[i & 1];
          p->x += b.corner[1].y;
          (*p).y = -p->y;
          c.color ^= sizeof(Box);
          return c;
        }""",
    "initialisers": """
        struct s { int a; unsigned char b[3]; struct { short c, d; } e; };
        static const int t[][3] = {1, 2, 3, {4}, {[2] = 5}};
        int f(int i) {
          struct s x = {.b = {[1] = 7, 8}, .e.d = 9}, y = {1, {2, 3}, {i}}, z = {0};
          char word[] = "ab\\n\\x41", part[2] = {'x'};
          struct s w = x;
          int sum = w.b[2] + x.b[1] + x.e.d + y.e.c + z.a + t[1][0] + t[2][2];
          char lines[][3] = {"a", "bc", 'd', 0, 'e', "f"};
          sum += sizeof t + 100 * sizeof lines + lines[2][2];
          return sum + word[i & 3] * part[0] + (int)sizeof word + t[2][1];
        }""",
    "switch with fallthrough": """
        int f(unsigned char op, int a) {
          switch (op & 7) {
            case 0: a += 1;
            case 1: a *= 3; break;
            case 2: { a -= 7; break; }
            case 4: case 5: return a;
            default: a ^= 0x55; if (a > 9) break; a = -a;
            case 6: a += 100;
          }
          return a * 2;
        }""",
    "switch on a concrete value": """
        int f(int a) {
          int s = 0;
          for (int i = 0; i < 6; i++) {
            switch (i) {
              case 1: s += a; continue;
              case 3: s ^= a;
              case 4: s *= 3; break;
              case 5: return s;
              default: s -= 1;
            }
            s++;
          }
          return -1;
        }""",
    "break, continue, return": """
        int f(signed char a[6], int x) {
          int s = 0;
          for (int i = 0; i < 6; i++) {
            if (a[i] == 0) continue;
            if (a[i] < -5) break;
            for (int j = 0;; j++) {
              if (j > 2) break;
              s += a[i] * j;
              if (s > x) return s - i;
              if (s == 7) break;
            }
            if (s & 1) continue;
            s += 2;
          }
          return s;
        }""",
    "loops that secrets end": """
        int f(unsigned char n, unsigned char m) {
          int s = 0;
          n &= 15;
        #pragma fhe bound(15)
          while (n) { s += n; n--; if (s > 50) break; }
          m &= 7;
        #pragma fhe bound(8)
          do { s ^= m; m--; if (s == 3) continue; s++; } while (m < 8);
          return s;
        }""",
    "endless loop with a secret break": """
        unsigned f(unsigned char x) {
          unsigned steps = 0, v = (x & 7) + 1;
        #pragma fhe bound(17)
          for (;;) {
            if (v == 1) break;
            v = v & 1 ? 3 * v + 1 : v / 2;
            steps++;
          }
          return steps;
        }""",
    "shrinking range ends a loop": """
        int f(unsigned short x) {
          int n = 0;
        #pragma fhe bound(16)
          while (x) { n += x & 1; x >>= 1; }
          return n;
        }""",
    "functions and recursion": """
        static int power(int x, int n) { return n ? x * power(x, n - 1) : 1; }
        static void both(int *a, int *b, int v) {
          *a += v; *b -= v; if (v > 3) return; *a = 0;
        }
        static int first(const short *p, int n) {
          return n == 0 ? 0 : p[0] + first(p + 1, n - 1);
        }
        int f(int x, short a[4]) {
          int u = 1, v = 2;
          both(&u, &v, x);
          return power(x, 3) + u * v + first(a, 4);
        }""",
    "out-parameters": """
        int f(const int a[3], int *sum, unsigned char swapped[2], short untouched[2]) {
          *sum = a[0] + a[1] + a[2];
          unsigned char t = swapped[0];
          swapped[0] = swapped[1];
          swapped[1] = t + untouched[1];
          return *sum > 0;
        }""",
    "secret indices": """
        int f(short a[5], unsigned char m[3][4], unsigned i, unsigned j, short v) {
          i %= 5; j %= 3;
          short old = a[i];
          a[i] = v;
          m[j][i & 3] += 3;
          m[j][1]--;
          short *p = &a[j];
          p[1] ^= 5;
          unsigned char *row = m[j];
          return old + a[j] + row[i & 3] + *(a + i) + 2[a];
        }""",
    "a branch with secret index and out-of-range guard": """
        int f(int a[4], int i) {
          if (i >= 0 && i < 4) return a[i];
          return i < 0 ? -1 : -2;
        }
        """,
    "pointers": """
        int f(int a[6], int n) {
          int *p = a, *end = a + 6, s = 0;
          while (p < end) s += *p++;
          p = &a[5];
          s -= *p-- - p[-1];
          int (*q)[3] = (int (*)[3])0;
          s += (end - a) + (q == 0) + (p != a);
          int *r = n > 0 ? a : a + 2;
          return s * r[1];
        }""",
    "two dimensions": """
        void f(const signed char a[3][3], signed char b[3][3]) {
          for (int i = 0; i < 3; i++) for (int j = 0; j < 3; j++) b[j][i] = a[i][j];
          signed char (*row)[3] = b;
          row[1][2] += sizeof b + sizeof b[0] + sizeof **b;
        }""",
    "short circuit and comma": """
        int f(int a, int b) {
          int n = 0;
          int r = (a > 0 && (n++, b > 0)) || (n += 2, a == b);
          int s = a > b ? (n += 4, a) : (n += 8, b);
          return n * 100 + r * 10 + (s & 7);
        }""",
    "scopes, typedef, enum, macros": """
        #define SQUARE(x) ((x) * (x))
        #if SQUARE(3) == 9 && !defined MISSING
        typedef unsigned char byte;
        #endif
        enum kind { LOW = -2, ZERO = LOW + 2, HIGH };
        static int total;
        int f(byte x, enum kind k) {
          int y = x;
          total = 5;
          { int y = 3; x += y; byte x = 9; y += x; }
          for (int y = 0; y < 2; y++) total += SQUARE(y + x);
          enum { LOCAL = 4 } z = LOCAL;
          return total + y + z * HIGH + (k == ZERO);
        }""",
    "unsigned wrap and mixed signs": """
        int f(unsigned a, int b, unsigned char c) {
          int r = a - 1 > b;
          r += (unsigned char)(c - 1) > 200;
          r += c - 1 < 0;
          r += -1 < a;
          r += (long)b - a < 0;
          return r + (short)(a * c) + (b >> 3) + (a >> 3);
        }""",
    "compound literals and struct choice": """
        typedef struct { int v; short w[2]; } S;
        static S make(int v) { return (S){v, {1, v}}; }
        int f(int a, S s) {
          S t = a > 3 ? s : make(a);
          t = a == 9 ? (S){.w = {7}} : t;
          return t.v + t.w[1] + make(a).w[0] + (int[]){4, 5, 6}[a & 1];
        }""",
    "tables at secret indices": """
        static const unsigned char t[256] = {1, 2, 4, [100] = 9, 8, 7, [200] = 3};
        static const short m[2][3] = {{-1, 2, -3}, {4, -5, 6}};
        int f(unsigned char i, unsigned j) { return t[i] * m[j & 1][i % 3]; }
        """,
    "pointers to structures": """
        typedef struct { int a[2]; unsigned char b; } S;
        static void add(const S *from, S *to) { to->a[1] += from->a[0] * from->b; }
        int f(S *s, const S t[3], unsigned i) {
          add(&t[i % 3], s);
          S copy[2] = {*s, t[1]};
          copy[i & 1] = copy[0];
          return copy[1].a[1] - s->b;
        }""",
    "a pointer that a secret moves": """
        int f(const signed char s[8], _Bool c) {
          const signed char *p = c ? &s[1] : &s[3];
          int n = 0;
        #pragma fhe bound(8)
          while (p < s + 7 && *p > 0) { p++; n++; }
          return n * 10 + (int)(p - s);
        }""",
    "global variables": """
        static int count;
        static void bump(int by) { count += by; }
        int f(int x) {
          count = 0;
          bump(1);
          if (x > 0) bump(x);
          return count;
        }""",
    "a chain of returns": "int f(unsigned char x) {"
    + "".join(f"if (x == {i}) return {i * i}; else " for i in range(30))
    + "return -1; }",
    "standard headers": """
        #include <inttypes.h>
        #include <limits.h>
        #include <stdbool.h>
        #include <stddef.h>
        #include <stdint.h>
        #include <string.h>
        unsigned long f(bool b, size_t n, ptrdiff_t d, uint_fast16_t x,
                        int_least8_t y) {
          unsigned long s = sizeof x * 1000 + sizeof y + sizeof(intptr_t) + CHAR_BIT;
          s += UINT8_MAX + INT16_MIN + (INT32_MIN < 0) + (INT64_MIN < 0) + SHRT_MAX;
          s ^= UINT64_C(0x123456789) + UINT32_MAX + (CHAR_MIN < 0);
          s += LONG_MAX ^ SIZE_MAX;
          char *nothing = NULL;
          return s + (b == true ? n : x) + d + y + (nothing == NULL);
        }""",
    "64 bits": """
        unsigned long f(long a, unsigned long b, unsigned char n) {
          unsigned long shifted = (a >> (n & 63)) ^ (b << (n & 31));
          return shifted ^ (unsigned long)(a < (long)b) ^ a * 3;
        }""",
    "absolute values, clamps, signs": """
        #include <stdlib.h>
        int f(int a, short b) {
          if (a > 100) a = 100; else if (a < -100) a = -100;
          int sign = (b > 0) - (b < 0);
          return abs(a) * sign + abs(b) + labs(a - b);
        }""",
}


@pytest.mark.parametrize("objective", ["size", "depth"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_program(agree: Callable[..., None], name: str, objective: Any) -> None:
    source = PROGRAMS[name]
    circuit = compiler.compile(source, "f", objective=objective, allow_ax=True)
    agree(source, {"f": circuit}, count=400)


def test_public_parameters(agree: Callable[..., None]) -> None:
    source = """
    #pragma fhe public(n, weights)
    int f(int n, const short weights[4], const short x[4]) {
      int s = 0;
      for (int i = 0; i < n; i++) s += weights[i] * x[i];
      return s;
    }"""
    public = {"n": 3, "weights": [5, -7, 100, 3]}
    circuit = compiler.compile(source, public=public)
    assert [p.name for p in circuit.signature.parameters] == ["x"]
    assert circuit.simulate([[1, 2, 3, 4]]) == {"return": 5 - 14 + 300}
    for weights, bias in (([1, 2], 3), ([[1, 2]] * 2, 3)):
        with pytest.raises(compiler.CompileError, match="shape"):
            compiler.compile(source, public={"n": bias, "weights": weights})


def test_parameters_that_are_only_written_are_not_inputs() -> None:
    source = (
        "void f(const int a[2], int b[2], int c[2]) { b[0] = a[0]; b[1] = 1; c[0]++; }"
    )
    signature = compiler.compile(source).signature
    assert [p.name for p in signature.parameters] == ["a", "c"]
    assert [p.name for p in signature.results] == ["b", "c"]


def test_long_sums_and_deep_nests() -> None:
    source = """
    int f(const unsigned char a[1500]) {
      int s = 0;
      for (int i = 0; i < 1500; i++) s += a[i];
      return s;
    }
    int g(_Bool c, int x) {
      int s = x;
      for (int i = 0; i < 90; i++) if (c) s ^= i; else s += 1;
      return s;
    }"""
    values = np.arange(1500) % 256
    circuit = compiler.compile(source, "f", objective="size")
    assert circuit.simulate([values])["return"] == values.sum()
    xor = 0
    for i in range(90):
        xor ^= i
    chain = compiler.compile(source, "g", objective="size", verify=4)
    assert chain.simulate([True, 12345])["return"] == 12345 ^ xor
    assert chain.simulate([False, 12345])["return"] == 12345 + 90


def test_chains_of_returns_do_not_grow_quadratically() -> None:
    chain = "".join(f"if (x == {i}) return {i}; else " for i in range(200))
    circuit = compiler.compile(f"int f(unsigned char x) {{ {chain} return -1; }}")
    assert circuit.num_bootstraps < 200 * 12


def test_a_function_without_parameters() -> None:
    circuit = compiler.compile("int f(void) { return 6 * 7; }")
    assert circuit.num_inputs == circuit.num_bootstraps == 0
    assert circuit.simulate({}) == {"return": 42}


def test_sizes_of_parameters_may_be_public() -> None:
    source = """
    int f(int n, const int a[n]) {
      int s = 0;
      for (int i = 0; i < n; i++) s += a[i];
      return s;
    }"""
    circuit = compiler.compile(source, public={"n": 3})
    assert circuit.simulate([[1, 2, 3]]) == {"return": 6}


def test_loop_bound_option_and_function_choice() -> None:
    source = """
    int f(unsigned char n) { int s = 0; for (int i = 0; i < n; i++) s += i; return s; }
    static int g(int x) { return x; }
    """
    circuit = compiler.compile(source, loop_bound=10)
    assert circuit.simulate([9])["return"] == 36
    values = circuit.simulate({"n": np.arange(11)})["return"]
    np.testing.assert_array_equal(values, [n * (n - 1) // 2 for n in range(11)])
    assert compiler.compile(source, "g").simulate([-4]) == {"return": -4}
