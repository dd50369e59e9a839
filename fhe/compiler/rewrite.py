"""Rewrites a finished DAG: dead gates go, muxes written as AND-OR become cheap ones.

Programs are simplified while their DAG is built (`bits`); netlists from elsewhere come
with structures that only show once all of it is there.
"""

from collections.abc import Sequence

from fhe.compiler.bits import AND, INPUT, MAJ, XOR, Graph


def rebuild(
    graph: Graph, roots: Sequence[int], inputs: Sequence[int] | None = None
) -> tuple[Graph, list[int]]:
    """A new DAG of what the roots need.

    Args:
        graph: the old one.
        roots: literals of its outputs.
        inputs: the new order of its inputs, by position; as it is if None.

    Returns:
        The DAG and the literals of the outputs in it.
    """
    live = graph.reachable(roots)
    users = [0] * len(graph)
    for node, fan in enumerate(graph.fan):
        if live[node]:
            for x in fan:
                users[x >> 1] += 1
    for x in roots:
        users[x >> 1] += 1
    new = Graph()
    image = [0] * len(graph)
    order = range(len(graph.inputs)) if inputs is None else inputs
    for position in order:
        image[graph.inputs[position]] = new.input()
    for node, kind in enumerate(graph.kind):
        if kind <= INPUT or not live[node]:
            continue
        fan = graph.fan[node]
        found = _multiplexer(graph, fan, users) if kind == AND else None
        if found is not None:
            s, a, b = (image[x >> 1] ^ (x & 1) for x in found)
            image[node] = new.mux(s, a, b) ^ 1
            continue
        literals = [image[x >> 1] ^ (x & 1) for x in fan]
        if kind == AND:
            image[node] = new.and_(literals[0], literals[1])
        elif kind == XOR:
            image[node] = new.xor(literals[0], literals[1])
        elif kind == MAJ:
            image[node] = new.maj(literals[0], literals[1], literals[2])
        else:
            image[node] = new.xor3(literals[0], literals[1], literals[2])
    return new, [image[x >> 1] ^ (x & 1) for x in roots]


def _multiplexer(
    graph: Graph, fan: tuple[int, ...], users: Sequence[int]
) -> tuple[int, int, int] | None:
    """(s, a, b) if ~(s & a) & ~(~s & b), read nowhere else, is what an AND computes."""
    x, y = fan
    if not (x & y & 1 and graph.kind[x >> 1] == AND == graph.kind[y >> 1]):
        return None
    if users[x >> 1] > 1 or users[y >> 1] > 1:
        return None
    p, q = graph.fan[x >> 1], graph.fan[y >> 1]
    for i in range(2):
        for j in range(2):
            if p[i] == q[j] ^ 1 and p[1 - i] >> 1 != q[1 - j] >> 1:
                return p[i], p[1 - i], q[1 - j]
    return None
