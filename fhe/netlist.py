"""What the netlist readers share: named nets in any order, to a mapped circuit."""

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fhe.circuit import Circuit, Port, Signature
from fhe.compiler import CompileError, map_graph, schedule
from fhe.compiler.bits import FALSE, TRUE, Graph, paused_collector
from fhe.compiler.rewrite import rebuild

Rule: TypeAlias = Callable[[Graph, Sequence[int]], int]


class Netlist:
    """Nets by name, each driven once.

    Args:
        file: name for messages.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.graph = Graph()
        self.literals: dict[str, int] = {}
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self._drivers: dict[str, tuple[int, Rule, tuple[str, ...]]] = {}

    def fail(self, line: int, reason: str) -> CompileError:
        """The error of a line, to be raised."""
        return CompileError(reason, self.file, line)

    def add_input(self, name: str, line: int = 0) -> None:
        """Declares an input."""
        if name in self.literals:
            raise self.fail(line, f"net {name} is driven twice")
        self.inputs.append(name)
        self.literals[name] = self.graph.input()

    def drive(self, name: str, line: int, rule: Rule, reads: Sequence[str]) -> None:
        """Says which nets a net is computed from, and how."""
        if name in self._drivers or name in self.literals:
            raise self.fail(line, f"net {name} is driven twice")
        self._drivers[name] = line, rule, tuple(reads)

    def drives(self, name: str) -> bool:
        """Whether a net has a driver."""
        return name in self._drivers or name in self.literals

    def literal(self, name: str, line: int = 0) -> int:
        """The net's literal; makes the gates that it needs."""
        literals, drivers = self.literals, self._drivers
        stack = [name]
        open_nets: set[str] = set()
        while stack:
            net = stack[-1]
            if net in literals:
                stack.pop()
                continue
            if net not in drivers:
                raise self.fail(line, f"net {net} has no driver")
            line, rule, reads = drivers[net]
            missing = [x for x in reads if x not in literals]
            if not missing:
                literals[net] = rule(self.graph, [literals[x] for x in reads])
                stack.pop()
            elif net in open_nets:
                raise self.fail(line, f"net {net} is part of a loop")
            else:
                open_nets.add(net)
                stack += missing
        return literals[name]

    @paused_collector()
    def circuit(self, *, depth: bool, allow_ax: bool, verify: int) -> Circuit:
        """The mapped circuit; nets `a[0]`, `a[1]`, ... become one port `a`."""
        inputs, parameters = ports(self.inputs)
        outputs, results = ports(self.outputs)
        roots = [self.literal(name) for name in outputs]
        place = {name: i for i, name in enumerate(self.inputs)}
        graph, roots = rebuild(self.graph, roots, [place[name] for name in inputs])
        return map_graph(
            graph,
            roots,
            Signature(parameters, results),
            depth=depth,
            allow_ax=allow_ax,
            verify=verify,
            capacity=int(schedule.LATENCY * schedule.THROUGHPUT),
        )


def bit_name(name: str, index: int) -> str:
    """The net of one bit of a bus."""
    return f"{name}[{index}]"


def ports(nets: Sequence[str]) -> tuple[list[str], tuple[Port, ...]]:
    """Nets in port order, and the ports; a bus's bits come least significant first."""
    buses: dict[str, dict[int, str]] = {}
    for net in nets:
        found = re.fullmatch(r"(.+)\[(\d+)\]", net)
        name, index = (found.group(1), int(found.group(2))) if found else (net, -1)
        buses.setdefault(name, {})[index] = net
    order: list[str] = []
    made = []
    for name, bits in buses.items():
        order += [bits[i] for i in sorted(bits)]
        kind = "_Bool" if len(bits) == 1 else f"bits<{len(bits)}>"
        made.append(Port(name, kind, len(bits), False))
    return order, tuple(made)


def parity(graph: Graph, x: Sequence[int]) -> int:
    """XOR of any number of literals."""
    return graph.reduce_xor(x)


def negated(rule: Rule) -> Rule:
    """The rule with its result inverted."""
    return lambda graph, x: rule(graph, x) ^ 1


def constant(value: bool) -> Rule:
    """A rule without operands."""
    return lambda graph, x: TRUE if value else FALSE


GATES: dict[str, Rule] = {
    "and": lambda graph, x: graph.reduce_and(x),
    "or": lambda graph, x: graph.reduce_or(x),
    "xor": parity,
    "nand": lambda graph, x: graph.reduce_and(x) ^ 1,
    "nor": lambda graph, x: graph.reduce_or(x) ^ 1,
    "xnor": negated(parity),
    "not": lambda graph, x: x[0] ^ 1,
    "buf": lambda graph, x: x[0],
}
