"""Netlists in, gate lists out and in again; external circuits nobody here wrote."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fhe import formats
from fhe.compiler import CompileError, compile as compile_c

BRISTOL, LOGIC, MODULE = formats.read_bristol, formats.read_blif, formats.read_verilog

ADDER = """4 8
2 2 2
1 2

2 1 0 2 6 XOR
2 1 0 2 4 AND
2 1 1 3 5 XOR
2 1 4 5 7 XOR
"""

BLIF = """# a full adder and a constant
.model adder
.inputs a[0] a[1] \\
        b[0] b[1] cin
.outputs s[0] s[1] cout one
.names a[0] b[0] cin s[0]
100 1
010 1
001 1
111 1
.names cin a[0] b[0] c
11- 1
1-1 1
-11 1
.names a[1] b[1] t
00 0
11 0
.names t c s[1]
10 1
01 1
.names a[1] b[1] c cout
00- 0
0-0 0
-00 0
.names one
1
.end
"""

VERILOG = """
// the same adder
module adder(a, b, cin, s, cout, one);
  input [1:0] a; input [1:0] b;
  input cin;
  output [1:0] s;
  output cout, one;
  wire c, t, /* comment */ u;
  xor g0(s[0], a[0], b[0], cin);
  assign c = a[0] & b[0] | cin & (a[0] ^ b[0]);
  \\$_XOR_ g1 ( .A(a[1]), .B(b[1]), .Y(t) );
  \\$_XNOR_ g2 (.A(t), .B(c), .Y(u));
  not (s[1], u);
  assign cout = t ? c : a[1], one = 1'b1;
endmodule
"""


def check_adder(circuit: Any) -> None:
    grid = np.mgrid[0:4, 0:4, 0:2].reshape(3, -1)
    got = circuit.simulate({"a": grid[0], "b": grid[1], "cin": grid[2].astype(bool)})
    total = grid.sum(axis=0)
    np.testing.assert_array_equal(got["s"], total % 4)
    np.testing.assert_array_equal(got["cout"], total >= 4)
    assert got["one"].all()
    assert circuit.num_bootstraps == 4  # two full adders


@pytest.mark.parametrize(
    ("reader", "text"), [(formats.read_blif, BLIF), (formats.read_verilog, VERILOG)]
)
@pytest.mark.parametrize("depth", [False, True])
def test_adder(reader: Any, text: str, depth: bool) -> None:
    check_adder(reader(text, depth=depth))


def test_bristol() -> None:
    circuit = formats.read_bristol(ADDER)
    grid = np.mgrid[0:4, 0:4].reshape(2, -1)
    got = circuit.simulate({"in0": grid[0], "in1": grid[1]})["out0"]
    np.testing.assert_array_equal(got, grid.sum(axis=0) % 4)
    extra = "3 6\n1 2\n1 3\n\n1 1 1 3 EQ\n1 1 0 4 EQW\n2 1 0 1 2 OR\n"
    with pytest.raises(CompileError, match="5 has no driver"):
        formats.read_bristol(extra)


def test_bristol_and_of_many() -> None:
    text = "1 6\n1 4\n1 2\n\n4 2 0 1 2 3 4 5 MAND\n"
    circuit = formats.read_bristol(text)
    values = np.arange(16)
    np.testing.assert_array_equal(
        circuit.simulate([values])["out0"], values & values >> 2
    )


@pytest.mark.parametrize(
    ("reader", "text", "line", "reason"),
    [
        (BRISTOL, "1 2\n", 0, "header"),
        (BRISTOL, "1 3\n1 2\n1 1\n\n2 1 0 x 2 AND\n", 5, "integers expected"),
        (BRISTOL, "1 3\n1 2\n1 1\n\n2 1 0 1 2 FOO\n", 5, "unknown gate FOO"),
        (BRISTOL, "1 3\n1 2\n1 1\n\n2 1 0 9 2 AND\n", 5, "wire 9"),
        (BRISTOL, "2 3\n1 2\n1 1\n\n2 1 0 1 2 AND\n", 0, "1 gates"),
        (BRISTOL, "1 3\n1 2\n1 1\n\n2 1 2 1 2 AND\n", 5, "loop"),
        (LOGIC, ".model x\n.inputs a\n.outputs y\n.latch a y\n", 4, "latch"),
        (LOGIC, ".model x\n.inputs a\n.outputs y\n.names a y\n12 1\n", 4, "row"),
        (LOGIC, ".inputs a\n.outputs y\n.names y a\n1 1\n", 3, "twice"),
        (LOGIC, ".inputs a\n.outputs y\n", 0, "y has no driver"),
        (LOGIC, ".inputs a\n.outputs y\n.gate AND A=a\n", 3, "flatten"),
        (LOGIC, "1 1\n", 1, "belongs to no table"),
        (MODULE, "module m(a);\n input a;\n reg r;\nendmodule", 3, "sequential"),
        (MODULE, "module m(a);\n input a\n wire b;\n", 3, "';' expected"),
        (
            MODULE,
            "module m(a, y);\n input a; output y;\n and g(y, a, 2'b11);\nendmodule",
            3,
            "one bit",
        ),
        (
            MODULE,
            "module m(a, y);\n input a; output y;\n FOO g(y, a);\nendmodule",
            3,
            "FOO",
        ),
        (
            MODULE,
            "module m(y);\n output [1:0] y;\n buf (y[2], y[0]);\nendmodule",
            3,
            "outside",
        ),
        (
            MODULE,
            "module m(y);\n output y;\n not (y, z);\nendmodule",
            3,
            "z has no driver",
        ),
        (MODULE, 'module "m"', 1, "unexpected"),
    ],
)
def test_errors_name_the_line(reader: Any, text: str, line: int, reason: str) -> None:
    with pytest.raises(CompileError, match=reason) as caught:
        reader(text)
    assert caught.value.line == line


def test_json_round_trip() -> None:
    source = """
    struct s { short x[2]; };
    struct s f(struct s a, _Bool n) { a.x[n]++; return a; }"""
    circuit = compile_c(source)
    again = formats.read_json(formats.write_json(circuit))
    assert again.signature == circuit.signature
    for name in ("operands", "weights", "offset", "level_starts", "outputs"):
        np.testing.assert_array_equal(getattr(again, name), getattr(circuit, name))
        assert getattr(again, name).dtype == getattr(circuit, name).dtype
    inputs = {"a.x": [5, -7], "n": 1}
    np.testing.assert_array_equal(again.simulate(inputs)["return.x"], [5, -6])


def test_json_damage() -> None:
    good = json.loads(formats.write_json(compile_c("int f(int a) { return a + 1; }")))
    for change, reason in (
        ({"format": "other"}, "not a triptych-circuit"),
        ({"version": 99}, "version 99"),
        ({"offset": []}, "damaged"),
        ({"operands": None}, "damaged"),
        ({"results": [{"name": "x"}]}, "damaged"),
        ({"outputs": [10**6] * 32}, "does not exist"),
    ):
        with pytest.raises(CompileError, match=reason):
            formats.read_json(json.dumps(good | change))
    with pytest.raises(CompileError, match="1:2"):
        formats.read_json("{")


def test_read_by_ending(tmp_path: Path) -> None:
    for ending, text in ((".v", VERILOG), (".blif", BLIF)):
        path = tmp_path / f"adder{ending}"
        path.write_text(text)
        circuit = formats.read(path)
        check_adder(circuit)
    path = tmp_path / "adder.json"
    path.write_text(formats.write_json(circuit))
    check_adder(formats.read(path))
    path = tmp_path / "adder.xyz"
    path.write_text("")
    with pytest.raises(CompileError, match="unknown ending"):
        formats.read(path)


def netlist(name: str) -> Path:
    found = importlib.util.find_spec("circuitgraph")
    if found is None or not found.submodule_search_locations:
        pytest.skip("circuitgraph, whose wheel carries the netlists, is not installed")
    return Path(found.submodule_search_locations[0]) / "netlists" / f"{name}.v"


@pytest.mark.parametrize("depth", [False, True])
def test_iscas_multiplier(depth: bool) -> None:
    circuit = formats.read(netlist("c6288"), depth=depth)
    assert circuit.num_bootstraps <= 736  # 2,406 gates in the netlist
    assert circuit.depth <= 31
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 1 << 16, (2, 50))
    # The inputs N1 to N256 and N273 to N528, a step of 17, are the two factors.
    names = [port.name for port in circuit.signature.parameters]
    low = {f"N{1 + 17 * i}": a >> i & 1 for i in range(16)}
    high = {f"N{273 + 17 * i}": b >> i & 1 for i in range(16)}
    assert set(names) == {*low, *high}
    values = {k: v.astype(bool) for k, v in {**low, **high}.items()}
    got = circuit.simulate(values)
    order = sorted(
        (p.name for p in circuit.signature.results), key=lambda n: int(n[1:])
    )
    order[30:] = order[:29:-1]  # N6288 is bit 30, N6287 bit 31
    product = sum(got[name].astype(np.int64) << i for i, name in enumerate(order))
    np.testing.assert_array_equal(product, a * b)


def test_epfl_adder() -> None:
    circuit = formats.read(netlist("adder"))
    assert circuit.num_bootstraps == 256  # 764 two-input gates by Yosys and ABC
    assert circuit.depth == 128


@pytest.mark.parametrize(
    ("name", "most"),
    [("c17", 6), ("c499", 162), ("c880", 258), ("c7552", 1160), ("max", 2106)],
)
def test_counts_of_external_netlists(name: str, most: int) -> None:
    assert formats.read(netlist(name)).num_bootstraps <= most
