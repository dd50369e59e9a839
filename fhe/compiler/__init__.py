"""Compiles C functions to circuits of bootstrapped gates.

C text -> syntax tree (parse) -> words (lower: symbolic execution) -> gates (blast) ->
cover by one-bootstrap gates (map) -> levels (schedule) -> Circuit. Pure Python and
NumPy; nothing here knows about encryption.

The language is C99 as gcc on x86-64 Linux compiles it, without floating point, unions,
bit-fields, goto, function pointers and memory that is not known while compiling:

- integers of 1 to 64 bits with C's conversions, enum, struct, arrays of any dimension;
- all operators, if, switch, ?:, && and || on secrets; break, continue and return
  anywhere; secret array indices, for reading and writing;
- loops that a condition without secrets ends; others need `#pragma fhe bound(n)`
  before them, a promise that n iterations are enough;
- functions, also recursive ones; pointers into known objects; preprocessor.

Only values that the C standard defines are promised, and what gcc -fwrapv gives on
signed overflow.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fhe.circuit import Circuit, Signature
from fhe.compiler import map as mapping, schedule
from fhe.compiler.bits import Graph, paused_collector
from fhe.compiler.blast import Blaster
from fhe.compiler.lower import Program, lower
from fhe.compiler.parse import parse
from fhe.compiler.types import CompileError

Objective = Literal["auto", "size", "depth"]


@paused_collector()
def compile(
    source: str | Path,
    function: str | None = None,
    *,
    public: Mapping[str, Any] | None = None,
    loop_bound: int | None = None,
    objective: Objective = "auto",
    allow_ax: bool = False,
    verify: int = 64,
    latency: float = schedule.LATENCY,
    throughput: float = schedule.THROUGHPUT,
) -> Circuit:
    """Compiles a C function to a circuit.

    Parameters are secret unless public. Arrays and pointers that the function writes
    are results; if it never looks at what they held, they are not inputs.

    Args:
        source: C text, or a path that ends in `.c`.
        function: name of the function; by default the last one that is not static.
        public: values of parameters known while compiling: those that
            `#pragma fhe public(name)` announces, or any other.
        loop_bound: iterations of loops whose condition is secret and that have no
            `#pragma fhe bound(n)` of their own.
        objective: `size` for few bootstraps, `depth` for few levels, `auto` for the
            cheaper of both under the cost model.
        allow_ax: use a^(b&c) gates, which need a parameter set made for them.
        verify: random vectors on which the gates are compared with the program's DAG.
        latency: seconds of a level, however few its gates.
        throughput: gates a second of a wide level.

    Raises:
        CompileError: with file, line and column, if the program is outside of the
            accepted subset of C.

    Example:
        >>> add = "int add(int a, int b) { return a + b; }"
        >>> circuit = compile(add, objective="size")
        >>> circuit.num_bootstraps, circuit.depth, circuit.simulate([2, 3])
        (63, 32, {'return': 5})
    """
    program = lower(parse(source), function, public=public, loop_bound=loop_bound)
    best = None
    for prefix in {"auto": (False, True), "size": (False,), "depth": (True,)}[
        objective
    ]:
        graph, roots = bits_of(program, prefix)
        gates, levels = schedule.estimate(graph, roots)
        seconds = schedule.ideal_cost(gates, levels, latency, throughput)
        if best is None or seconds < best[0]:
            best = seconds, prefix, graph, roots
    assert best is not None
    _, prefix, graph, roots = best
    return map_graph(
        graph,
        roots,
        program.signature,
        depth=prefix,
        allow_ax=allow_ax,
        verify=verify,
        capacity=int(latency * throughput),
    )


def bits_of(program: Program, prefix: bool) -> tuple[Graph, list[int]]:
    """The DAG of a program and the literals of its output bits."""
    graph = Graph()
    literals = {
        word: [graph.input() for _ in range(width)] for word, width in program.inputs
    }
    rows = Blaster(graph, literals, prefix).run(program.outputs)
    return graph, [literal for row in rows for literal in row]


def map_graph(
    graph: Graph,
    roots: Sequence[int],
    signature: Signature,
    *,
    depth: bool = False,
    allow_ax: bool = False,
    verify: int = 64,
    capacity: int = int(schedule.LATENCY * schedule.THROUGHPUT),
) -> Circuit:
    """Covers, levels and checks a DAG.

    Args:
        graph: the DAG, its inputs in the order of the signature's parameters.
        roots: literals of the output bits.
        signature: names and widths.
        depth: keep the least number of levels rather than the fewest gates.
        allow_ax: use a^(b&c) gates.
        verify: random vectors of the check against the DAG.
        capacity: gates of a level that cost no more than one.
    """
    netlist = mapping.cover(graph, roots, allow_ax=allow_ax, depth=depth)
    circuit = schedule.assemble(graph, roots, netlist, signature, capacity)
    check_equivalent(graph, roots, circuit, verify)
    return circuit


def check_equivalent(
    graph: Graph, roots: Sequence[int], circuit: Circuit, vectors: int
) -> None:
    """Compares a circuit with the DAG it came from on random vectors.

    Raises:
        RuntimeError: if they differ, which would be a fault of the mapper.
    """
    if not vectors:
        return
    generator = random.Random(0)
    packed = [generator.getrandbits(vectors) for _ in graph.inputs]
    mask = (1 << vectors) - 1
    values = graph.simulate(packed, mask)
    wanted = [values[x >> 1] ^ (mask if x & 1 else 0) for x in roots]
    places = np.arange(vectors)
    bits = np.array([[x >> int(i) & 1 for x in packed] for i in places], bool)
    found = circuit.evaluate_bits(bits.reshape(vectors, len(packed)))
    expected = np.array([[x >> int(i) & 1 for x in wanted] for i in places], bool)
    if not np.array_equal(found, expected):
        raise RuntimeError("the mapped circuit differs from the program: a fault here")


__all__ = [
    "CompileError",
    "Objective",
    "Program",
    "bits_of",
    "check_equivalent",
    "compile",
    "lower",
    "map_graph",
    "parse",
]
