"""Bootstraps and levels of known circuits, pinned: a rise is a regression.

In parentheses: two-input gates and levels of Yosys and ABC's default script, measured
once; a full adder here is two bootstraps where it is five there.
"""

from typing import Any

import pytest

from fhe import compiler

ADD = "#include <stdint.h>\nuint{0}_t f(uint{0}_t a, uint{0}_t b) {{ return a + b; }}"
MULTIPLY = """#include <stdint.h>
uint{1}_t f(uint{0}_t a, uint{0}_t b) {{ return (uint{1}_t)a * b; }}"""
MAC = """#include <stdint.h>
uint32_t f(uint16_t a, uint16_t b, uint32_t c) { return (uint32_t)a * b + c; }"""


@pytest.mark.parametrize(
    ("source", "objective", "bootstraps", "depth"),
    [
        (ADD.format(16), "size", 31, 16),  # (77, 30)
        (ADD.format(16), "depth", 71, 6),  # (107, 20)
        (ADD.format(32), "size", 63, 32),  # (163, 62)
        (ADD.format(32), "depth", 181, 7),  # (220, 18)
        (MULTIPLY.format(16, 32), "size", 736, 31),  # (1508, 63)
        (MULTIPLY.format(16, 32), "depth", 848, 14),  # (1559, 32)
        (MULTIPLY.format(16, 16), "size", 361, 16),
        (MULTIPLY.format(16, 16), "depth", 397, 12),
        (MULTIPLY.format(32, 32), "size", 1489, 32),
        (MULTIPLY.format(32, 32), "depth", 1601, 15),
        (MAC, "size", 799, 33),  # (1592, 63)
        (MAC, "depth", 917, 14),  # (1643, 32)
    ],
)
def test_arithmetic(source: str, objective: Any, bootstraps: int, depth: int) -> None:
    circuit = compiler.compile(source, objective=objective)
    assert (circuit.num_bootstraps, circuit.depth) == (bootstraps, depth)


@pytest.mark.parametrize(
    ("body", "bootstraps"),
    [
        ("a ^ 255", 0),  # inversion is free
        ("a << 3 | a >> 5", 0),
        ("c ? a : b", 16),  # MAJ(a, b, c ^ b)
        ("c ? a : 0", 8),
        ("a & 15 | b & 240", 0),
        ("a * 2 + (b & 1)", 0),
        ("(a < b) + (b <= a)", 8),  # the constant 1, but only gates know
        ("a == 77", 7),
        ("a - a", 0),
        ("a * 0 + 5", 0),
        ("c ? a + 1 : a", 15),  # a + c: a ripple of half adders
    ],
)
def test_small(body: str, bootstraps: int) -> None:
    head = "unsigned char f(unsigned char a, unsigned char b, _Bool c)"
    source = f"{head} {{ return {body}; }}"
    assert compiler.compile(source, objective="size").num_bootstraps <= bootstraps


def test_a_swap_is_three_gates_a_bit() -> None:
    source = """
    void f(_Bool c, unsigned char a[2]) {
      unsigned char t = a[0];
      if (c) { a[0] = a[1]; a[1] = t; }
    }"""
    assert compiler.compile(source).num_bootstraps == 3 * 8


def test_promotion_to_int_costs_nothing() -> None:
    narrow = """
    typedef unsigned char byte;
    byte f(byte a, byte b, byte c) { return (a + b + c) / 3; }"""
    circuit = compiler.compile(narrow, objective="size")
    assert circuit.num_bootstraps < 100


def test_sums_stay_in_carry_save_form() -> None:
    source = """
    int f(const short a[16]) {
      int s = 0;
      for (int i = 0; i < 16; i++) s += a[i];
      return s;
    }"""
    circuit = compiler.compile(source, objective="depth")
    assert circuit.depth <= 13
    size = compiler.compile(source, objective="size")
    assert size.num_bootstraps <= 2 * 15 * 17


def test_ax_gates_are_used_only_when_allowed() -> None:
    source = "_Bool f(_Bool a, _Bool b, _Bool c) { return a ^ (b & !c); }"
    assert compiler.compile(source).counts == {"and2": 1, "xor2": 1}
    assert compiler.compile(source, allow_ax=True).counts == {"ax3": 1}


def test_auto_weighs_levels_against_gates() -> None:
    source = ADD.format(32)
    slow_levels = compiler.compile(source, latency=1.0, throughput=1e9)
    slow_gates = compiler.compile(source, latency=1e-9, throughput=1.0)
    assert (slow_levels.depth, slow_gates.num_bootstraps) == (7, 63)
