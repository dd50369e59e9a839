"""Levels: which gates run together, and what a schedule costs.

A level takes max(latency, width / throughput) seconds, so up to latency * throughput
gates in one level are free. Gates with slack therefore fill narrow levels.
"""

import heapq
from collections.abc import Sequence

import numpy as np

from fhe.circuit import Circuit, Signature
from fhe.compiler.bits import AND, Graph
from fhe.compiler.map import Netlist

# One accelerator: seconds of a level however narrow, gates a second of a wide one.
LATENCY = 4e-3
THROUGHPUT = 60e3


def cost(
    widths: Sequence[int] | np.ndarray,
    latency: float = LATENCY,
    throughput: float = THROUGHPUT,
) -> float:
    """Seconds of a schedule: the sum over levels of max(latency, width/throughput)."""
    return float(np.maximum(latency, np.asarray(widths) / throughput).sum())


def ideal_cost(
    gates: int, depth: int, latency: float = LATENCY, throughput: float = THROUGHPUT
) -> float:
    """Seconds if the gates could be spread evenly over the levels."""
    return max(depth * latency, gates / throughput)


def levelize(netlist: Netlist, capacity: int) -> list[list[int]]:
    """Gates (by position in the netlist) of each level; as few levels as possible.

    Args:
        netlist: a cover.
        capacity: width up to which a level is filled with gates that could wait.
    """
    place = {node: i for i, node in enumerate(netlist.nodes)}
    reads = [[place[x] for x in leaf if x in place] for leaf in netlist.leaves]
    soonest = [0] * len(reads)
    for gate, sources in enumerate(reads):
        soonest[gate] = 1 + max((soonest[s] for s in sources), default=-1)
    depth = 1 + max(soonest, default=-1)
    latest = [depth - 1] * len(reads)
    users: list[list[int]] = [[] for _ in reads]
    waiting = [0] * len(reads)
    for gate in range(len(reads) - 1, -1, -1):
        for source in reads[gate]:
            latest[source] = min(latest[source], latest[gate] - 1)
            users[source].append(gate)
            waiting[gate] += 1
    room = max(capacity, -(-len(reads) // max(depth, 1)))
    ready = [(latest[g], g) for g in range(len(reads)) if not waiting[g]]
    heapq.heapify(ready)
    levels = []
    for level in range(depth):
        chosen: list[int] = []
        while ready and (ready[0][0] <= level or len(chosen) < room):
            chosen.append(heapq.heappop(ready)[1])
        for gate in chosen:
            for user in users[gate]:
                waiting[user] -= 1
                if not waiting[user]:
                    heapq.heappush(ready, (latest[user], user))
        levels.append(sorted(chosen))
    return levels


def assemble(
    graph: Graph,
    roots: Sequence[int],
    netlist: Netlist,
    signature: Signature,
    capacity: int = int(LATENCY * THROUGHPUT),
) -> Circuit:
    """The circuit of a cover; roots are the output bits' literals."""
    levels = levelize(netlist, capacity)
    order = [gate for level in levels for gate in level]
    wire = {node: i for i, node in enumerate(graph.inputs)}
    for position, gate in enumerate(order):
        wire[netlist.nodes[gate]] = len(graph.inputs) + position
    rows = [[wire[x] for x in netlist.leaves[gate]] for gate in order]
    cells = [netlist.cells[gate] for gate in order]
    padding = (0, 0)
    operands = [(*row, *padding[: 3 - len(row)]) for row in rows]
    weights = [(*c.weights, *padding[: 3 - len(c.weights)]) for c in cells]
    offset = [c.offset for c in cells]
    constant = np.array([x if x <= 1 else -1 for x in roots], np.int8)
    circuit = Circuit(
        num_inputs=len(graph.inputs),
        operands=np.array(operands, np.int32).reshape(-1, 3),
        weights=np.array(weights, np.int8).reshape(-1, 3),
        offset=np.array(offset, np.int8),
        level_starts=np.cumsum([0, *map(len, levels)]).astype(np.int32),
        outputs=np.array([wire.get(x >> 1, 0) for x in roots], np.int32),
        output_negate=np.array([x > 1 and x & 1 for x in roots], bool),
        output_constant=constant,
        signature=signature,
    )
    circuit.check()
    return circuit


def estimate(graph: Graph, roots: Sequence[int]) -> tuple[int, int]:
    """Gates and levels of the DAG before mapping, a gate a node."""
    live = graph.reachable(roots)
    gates = sum(
        1 for kind, alive in zip(graph.kind, live, strict=True) if alive and kind >= AND
    )
    return gates, max((graph.level[x >> 1] for x in roots), default=0)
