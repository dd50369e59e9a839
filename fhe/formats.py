"""Circuits from and to files: Bristol Fashion, BLIF, structural Verilog, own JSON.

Readers take the text or a path and return a mapped, levelised Circuit.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fhe import verilog
from fhe.circuit import Circuit, Port, Signature
from fhe.compiler import CompileError
from fhe.compiler.bits import FALSE, Graph
from fhe.compiler.datapath import lookup
from fhe.netlist import GATES, Netlist, Rule, bit_name, constant

FORMAT = "triptych-circuit"
VERSION = 1
_ARRAYS = {
    "operands": np.int32,
    "weights": np.int8,
    "offset": np.int8,
    "level_starts": np.int32,
    "outputs": np.int32,
    "output_negate": bool,
    "output_constant": np.int8,
}
_BRISTOL: dict[str, tuple[int, Rule]] = {
    "AND": (2, GATES["and"]),
    "XOR": (2, GATES["xor"]),
    "OR": (2, GATES["or"]),
    "NAND": (2, GATES["nand"]),
    "NOR": (2, GATES["nor"]),
    "XNOR": (2, GATES["xnor"]),
    "INV": (1, GATES["not"]),
    "NOT": (1, GATES["not"]),
    "EQW": (1, GATES["buf"]),
}


def read(
    path: str | Path, *, depth: bool = False, allow_ax: bool = False, verify: int = 64
) -> Circuit:
    """Reads a file by its ending: `.txt` (Bristol), `.blif`, `.v` or `.json`.

    Args:
        path: the file.
        depth: keep the least number of levels rather than the fewest gates.
        allow_ax: use a^(b&c) gates.
        verify: random vectors of the check of the mapping.

    Raises:
        CompileError: with file and line, if the file is damaged or uses what a
            combinational circuit has no room for.
    """
    path = Path(path)
    text = path.read_text()
    if path.suffix == ".json":
        return read_json(text)
    readers = {".txt": read_bristol, ".blif": read_blif, ".v": read_verilog}
    if path.suffix not in readers:
        raise CompileError(f"unknown ending {path.suffix!r}; known: {[*readers]}")
    return readers[path.suffix](
        text, file=str(path), depth=depth, allow_ax=allow_ax, verify=verify
    )


def read_bristol(
    text: str,
    *,
    file: str = "<bristol>",
    depth: bool = False,
    allow_ax: bool = False,
    verify: int = 64,
) -> Circuit:
    """Reads Bristol Fashion, the format with input and output counts in its header.

    Bit i of value k is port `in<k>` or `out<k>`, wire i of it being the least
    significant (https://nigelsmart.github.io/MPC-Circuits). See `read` for the rest.
    """
    lines = [
        (number, line.split())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    ]
    netlist = Netlist(file)
    if len(lines) < 3:
        raise netlist.fail(0, "a header of three lines is missing")
    header = [_integers(netlist, number, words) for number, words in lines[:3]]
    if len(header[0]) != 2:
        raise netlist.fail(lines[0][0], "the first line is `gates wires`")
    gates, wires = header[0]
    for (number, _), counts in zip(lines[1:3], header[1:], strict=True):
        if not counts or len(counts) != counts[0] + 1:
            raise netlist.fail(number, "a count and as many widths are expected")
    if len(lines) - 3 != gates:
        raise netlist.fail(0, f"{len(lines) - 3} gates, the header says {gates}")
    wire = 0
    names: dict[int, str] = {}
    for k, width in enumerate(header[1][1:]):
        for i in range(width):
            names[wire] = bit_name(f"in{k}", i)
            netlist.add_input(names[wire])
            wire += 1
    last = wires - sum(header[2][1:])
    for k, width in enumerate(header[2][1:]):
        for i in range(width):
            netlist.outputs.append(bit_name(f"out{k}", i))
            read_wire = names.get(last, str(last))
            netlist.drive(netlist.outputs[-1], 0, GATES["buf"], [read_wire])
            last += 1
    for number, words in lines[3:]:
        _bristol_gate(netlist, number, words, names, wires)
    return netlist.circuit(depth=depth, allow_ax=allow_ax, verify=verify)


def _integers(netlist: Netlist, number: int, words: list[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise netlist.fail(number, f"integers expected: {' '.join(words)}") from None


def _bristol_gate(
    netlist: Netlist, number: int, words: list[str], names: dict[int, str], wires: int
) -> None:
    *fields, kind = words
    values = _integers(netlist, number, fields)
    if len(values) < 2 or len(values) != 2 + values[0] + values[1]:
        raise netlist.fail(number, "a gate is `inputs outputs wires... KIND`")
    reads, made = values[2 : 2 + values[0]], values[2 + values[0] :]
    if kind == "EQ":
        netlist.drive(str(made[0]), number, constant(bool(reads[0])), [])
        return
    for wire in (*reads, *made):
        if not 0 <= wire < wires:
            raise netlist.fail(number, f"wire {wire} is not below {wires}")
    nets = [names.get(wire, str(wire)) for wire in reads]
    if kind == "MAND" and len(reads) == 2 * len(made):
        for i, wire in enumerate(made):
            pair = [nets[i], nets[i + len(made)]]
            netlist.drive(str(wire), number, GATES["and"], pair)
        return
    if kind not in _BRISTOL:
        known = ", ".join([*_BRISTOL, "EQ", "MAND"])
        raise netlist.fail(number, f"unknown gate {kind}; known: {known}")
    count, rule = _BRISTOL[kind]
    if len(reads) != count or len(made) != 1:
        raise netlist.fail(number, f"{kind} has {count} inputs and one output")
    netlist.drive(names.get(made[0], str(made[0])), number, rule, nets)


def _blif_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line, words), without comments, continued lines joined."""
    words: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].rstrip()
        start = start or number
        more = line.endswith("\\")
        words += line.rstrip("\\").split()
        if not more:
            if words:
                yield start, words
            words, start = [], 0


def read_blif(
    text: str,
    *,
    file: str = "<blif>",
    depth: bool = False,
    allow_ax: bool = False,
    verify: int = 64,
) -> Circuit:
    """Reads one combinational BLIF model of `.names` tables.

    Nets `a[0]`, `a[1]`, ... become one port. See `read` for the rest.
    """
    netlist = Netlist(file)
    table: tuple[int, list[str]] | None = None
    rows: list[list[str]] = []

    def finish() -> None:
        nonlocal table
        if table is not None:
            number, nets = table
            netlist.drive(
                nets[-1], number, _cover(netlist, number, nets, rows), nets[:-1]
            )
        table = None
        rows.clear()

    models = 0
    for number, words in _blif_lines(text):
        if not words[0].startswith("."):
            if table is None:
                raise netlist.fail(number, f"{words[0]} belongs to no table")
            rows.append(words)
            continue
        finish()
        if words[0] == ".model":
            models += 1
            if models > 1:
                raise netlist.fail(number, "one model a file is supported: flatten it")
        elif words[0] == ".inputs":
            for name in words[1:]:
                netlist.add_input(name, number)
        elif words[0] == ".outputs":
            netlist.outputs += words[1:]
        elif words[0] == ".names":
            if len(words) < 2:
                raise netlist.fail(number, ".names needs a net")
            table = number, words[1:]
        elif words[0] == ".latch":
            raise netlist.fail(number, "a latch: only combinational circuits")
        elif words[0] in (".gate", ".subckt", ".mlatch"):
            raise netlist.fail(
                number, f"{words[0]} is not supported: flatten to .names"
            )
        elif words[0] == ".end":
            break
    finish()
    if not netlist.outputs:
        raise netlist.fail(0, "no .outputs")
    return netlist.circuit(depth=depth, allow_ax=allow_ax, verify=verify)


def _cover(
    netlist: Netlist, number: int, nets: list[str], rows: list[list[str]]
) -> Rule:
    """The function of a `.names` table: an OR of cubes, or its inverse."""
    size = len(nets) - 1
    cubes, values = [], set()
    for row in rows:
        cube, value = ("", row[0]) if size == 0 else (row[0], row[-1])
        if len(row) != 1 + (size > 0) or len(cube) != size or set(cube) - set("01-"):
            raise netlist.fail(
                number, f"row {' '.join(row)} of a table of {size} inputs"
            )
        cubes.append(cube)
        values.add(value)
    if len(values) > 1 or values - {"0", "1"}:
        raise netlist.fail(number, "a table's rows must end all in 1 or all in 0")
    inverted = values == {"0"}
    if size <= 6:
        table = sum(
            any(_covers(cube, entry) for cube in cubes) << entry
            for entry in range(1 << size)
        )
        if inverted:
            table ^= (1 << (1 << size)) - 1
        return lambda graph, x: lookup(graph, x, [table])[0]

    def rule(graph: Graph, x: Any) -> int:
        terms = [
            graph.reduce_and(
                [v ^ (c == "0") for v, c in zip(x, cube, strict=True) if c != "-"]
            )
            for cube in cubes
        ]
        return (graph.reduce_or(terms) if terms else FALSE) ^ inverted

    return rule


def _covers(cube: str, entry: int) -> bool:
    return all(c == "-" or int(c) == entry >> i & 1 for i, c in enumerate(cube))


def read_verilog(
    text: str,
    *,
    file: str = "<verilog>",
    depth: bool = False,
    allow_ax: bool = False,
    verify: int = 64,
) -> Circuit:
    """Reads one structural Verilog module: gate primitives, simple cells, assigns.

    See `fhe.verilog` for the subset, `read` for the rest.
    """
    netlist = verilog.parse(text, file)
    return netlist.circuit(depth=depth, allow_ax=allow_ax, verify=verify)


def write_json(circuit: Circuit) -> str:
    """The gate list as versioned JSON text, which `read_json` takes back."""
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    content["num_inputs"] = circuit.num_inputs
    for key, ports in vars(circuit.signature).items():
        content[key] = [dataclasses.asdict(port) for port in ports]
    for name in _ARRAYS:
        content[name] = getattr(circuit, name).astype(int).tolist()
    return json.dumps(content)


def read_json(text: str) -> Circuit:
    """Reads what `write_json` wrote.

    Raises:
        CompileError: if it is not such a file, of another version, or contradictory.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise CompileError(error.msg, "<json>", error.lineno, error.colno) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CompileError(f"not a {FORMAT} file", "<json>")
    if content.get("version") != VERSION:
        raise CompileError(
            f"version {content.get('version')} of {FORMAT}; this reads {VERSION}",
            "<json>",
        )
    try:
        sides = [
            tuple(
                Port(**{**port, "shape": tuple(port["shape"])}) for port in content[key]
            )
            for key in ("parameters", "results")
        ]
        arrays: dict[str, Any] = {
            name: np.array(content[name], kind) for name, kind in _ARRAYS.items()
        }
        for name in ("operands", "weights"):
            arrays[name] = arrays[name].reshape(-1, 3)
        circuit = Circuit(
            num_inputs=int(content["num_inputs"]), signature=Signature(*sides), **arrays
        )
        circuit.check()
    except (KeyError, TypeError, ValueError) as error:
        raise CompileError(f"damaged: {error}", "<json>") from error
    return circuit
