"""Structural Verilog: one flat combinational module, as synthesis tools write it.

Read: ports and wires with ranges, gate primitives (`and g(y, a, b);`), yosys's simple
cells (`\\$_AND_ g (.A(a), .B(b), .Y(y));`), and `assign` of expressions of ~ & | ^ ~^
?: with parentheses, constants, bit- and part-selects and concatenations.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from fhe.netlist import GATES, Netlist, Rule, bit_name, constant


class _Token(NamedTuple):
    text: str
    line: int


_CELLS: dict[str, tuple[str, Rule]] = {
    "$_BUF_": ("A", GATES["buf"]),
    "$_NOT_": ("A", GATES["not"]),
    "$_AND_": ("AB", GATES["and"]),
    "$_NAND_": ("AB", GATES["nand"]),
    "$_OR_": ("AB", GATES["or"]),
    "$_NOR_": ("AB", GATES["nor"]),
    "$_XOR_": ("AB", GATES["xor"]),
    "$_XNOR_": ("AB", GATES["xnor"]),
    "$_ANDNOT_": ("AB", lambda graph, x: graph.and_(x[0], x[1] ^ 1)),
    "$_ORNOT_": ("AB", lambda graph, x: graph.or_(x[0], x[1] ^ 1)),
    "$_MUX_": ("SBA", lambda graph, x: graph.mux(x[0], x[1], x[2])),
    "$_NMUX_": ("SBA", lambda graph, x: graph.mux(x[0], x[1], x[2]) ^ 1),
    "$_AOI3_": (
        "ABC",
        lambda graph, x: graph.or_(graph.and_(x[0], x[1]), x[2]) ^ 1,
    ),
    "$_OAI3_": (
        "ABC",
        lambda graph, x: graph.and_(graph.or_(x[0], x[1]), x[2]) ^ 1,
    ),
}
_TOKEN = re.compile(
    r"(?P<skip>\s+|//[^\n]*|/\*.*?\*/|\(\*.*?\*\)|`[^\n]*)"
    r"|(?P<word>\\\S+|\d*\s*'[sS]?[bdhoBDHO][0-9a-fA-F_xXzZ]+|[A-Za-z_$][\w$]*|\d+)"
    r"|(?P<mark>~\^|\^~|[\[\](){},;:.=~&|^?#])",
    re.DOTALL,
)


def parse(text: str, file: str) -> Netlist:
    """The nets of a module.

    Raises:
        CompileError: with the line of the first thing outside of the subset.
    """
    return _Parser(text, file).run()


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self.netlist = Netlist(file)
        self.widths: dict[str, list[str]] = {}
        self.directions: dict[str, str] = {}
        self.tokens: list[_Token] = []
        self.place = 0
        self.fresh = 0
        line, at = 1, 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self.netlist.fail(line, f"unexpected {text[at : at + 10]!r}")
            if found.lastgroup != "skip":
                self.tokens.append(_Token(found.group(), line))
            line += found.group().count("\n")
            at = found.end()
        self.tokens.append(_Token("", line))

    def fail(self, reason: str) -> NoReturn:
        raise self.netlist.fail(self.tokens[self.place].line, reason)

    def peek(self) -> str:
        return self.tokens[self.place].text

    def take(self, wanted: str | None = None) -> str:
        token = self.tokens[self.place].text
        if wanted is not None and token != wanted:
            self.fail(f"{wanted!r} expected, not {token!r}")
        self.place += 1
        return token

    def accept(self, wanted: str) -> bool:
        if self.peek() == wanted:
            self.place += 1
            return True
        return False

    def run(self) -> Netlist:
        self.take("module")
        self.take()
        if self.accept("("):
            self.header()
        self.take(";")
        while not self.accept("endmodule"):
            self.item()
        if self.peek() == "module":
            self.fail("one module a file is supported: flatten it")
        for name, direction in self.directions.items():
            if direction == "output":
                self.netlist.outputs += self.widths[name]
        return self.netlist

    def header(self) -> None:
        direction, bits = "", (0, -1)
        while not self.accept(")"):
            if self.peek() in ("input", "output", "inout"):
                direction = self.take()
                self.accept("wire")
                bits = self.range()
            name = self.take()
            if direction:
                self.declare(name, bits, direction)
            self.accept(",")

    def range(self) -> tuple[int, int]:
        """(most, least) significant index; (0, -1) for a single net."""
        if not self.accept("["):
            return 0, -1
        most = int(self.take())
        self.take(":")
        least = int(self.take())
        self.take("]")
        return most, least

    def declare(self, name: str, bits: tuple[int, int], direction: str) -> None:
        if direction == "inout":
            self.fail("inout ports are not supported")
        name = name.removeprefix("\\")
        if name not in self.widths:
            if bits == (0, -1):
                nets = [name]
            else:
                step = 1 if bits[0] >= bits[1] else -1
                nets = [bit_name(name, i) for i in range(bits[1], bits[0] + step, step)]
            self.widths[name] = nets
        if direction != "wire":
            self.directions[name] = direction
        if direction == "input":
            for net in self.widths[name]:
                self.netlist.add_input(net, self.tokens[self.place].line)

    def item(self) -> None:
        kind = self.take()
        if kind in ("input", "output", "inout", "wire"):
            self.accept("wire")
            bits = self.range()
            while True:
                name = self.take()
                self.declare(name, bits, kind)
                if self.accept("="):
                    self.connect(
                        self.widths[name.removeprefix("\\")], self.expression()
                    )
                if not self.accept(","):
                    break
            self.take(";")
        elif kind == "assign":
            while True:
                target = self.select()
                self.take("=")
                self.connect(target, self.expression())
                if not self.accept(","):
                    break
            self.take(";")
        elif kind in GATES:
            self.primitive(kind)
        elif kind.removeprefix("\\") in _CELLS:
            self.cell(kind.removeprefix("\\"))
        else:
            self.place -= 1
            what = "sequential logic" if kind in ("always", "reg") else repr(kind)
            self.fail(f"{what} is not supported; flatten to gates or simple cells")

    def primitive(self, kind: str) -> None:
        while True:
            if self.peek() != "(":
                self.take()
            self.take("(")
            (output,) = self.single(self.select())
            reads = []
            while self.accept(","):
                reads += self.single(self.expression())
            self.take(")")
            self.drive(output, GATES[kind], reads)
            if not self.accept(","):
                break
        self.take(";")

    def cell(self, kind: str) -> None:
        self.take()
        self.take("(")
        pins: dict[str, list[str]] = {}
        while not self.accept(")"):
            self.take(".")
            pin = self.take()
            self.take("(")
            pins[pin] = self.select() if pin == "Y" else self.expression()
            self.take(")")
            self.accept(",")
        self.take(";")
        order, rule = _CELLS[kind]
        if set(pins) != {*order, "Y"}:
            self.fail(f"{kind} has pins {', '.join(order)} and Y, not {sorted(pins)}")
        reads = [net for pin in order for net in self.single(pins[pin])]
        self.drive(self.single(pins["Y"])[0], rule, reads)

    def single(self, nets: list[str]) -> list[str]:
        if len(nets) != 1:
            self.fail(f"one bit is expected, not {len(nets)}")
        return nets

    def drive(self, net: str, rule: Rule, reads: list[str]) -> None:
        self.netlist.drive(net, self.tokens[self.place - 1].line, rule, reads)

    def connect(self, target: list[str], source: list[str]) -> None:
        if len(source) < len(target):
            source = source + [self.make(constant(False), [])] * (
                len(target) - len(source)
            )
        for net, value in zip(target, source, strict=False):
            self.drive(net, GATES["buf"], [value])

    def make(self, rule: Rule, reads: list[str]) -> str:
        """A new net."""
        self.fresh += 1
        net = f" {self.fresh}"
        self.drive(net, rule, reads)
        return net

    def select(self) -> list[str]:
        """A net, bus, bit, part or concatenation, least significant bit first."""
        if self.accept("{"):
            parts = []
            while not self.accept("}"):
                parts.append(self.expression())
                self.accept(",")
            return [net for part in reversed(parts) for net in part]
        escaped = self.peek().startswith("\\")
        name = self.take().removeprefix("\\")
        if not re.match(r"[A-Za-z_$]" if not escaped else ".", name):
            self.place -= 1
            self.fail(f"a net is expected, not {name!r}")
        nets = self.widths.setdefault(name, [name])
        if self.accept("["):
            start = int(self.take())
            end = start
            if self.accept(":"):
                end = int(self.take())
            self.take("]")
            chosen = [
                bit_name(name, i) for i in range(min(start, end), max(start, end) + 1)
            ]
            if not set(chosen) <= set(nets):
                self.fail(f"{name}[{start}:{end}] is outside of {name}")
            return chosen if start >= end else chosen[::-1]
        return nets

    def expression(self) -> list[str]:
        condition = self.binary(0)
        if not self.accept("?"):
            return condition
        (chosen,) = self.single(condition)
        first = self.expression()
        self.take(":")
        second = self.expression()
        rule: Rule = lambda graph, x: graph.mux(x[0], x[1], x[2])  # noqa: E731
        return [self.make(rule, [chosen, a, b]) for a, b in self.match(first, second)]

    def match(self, a: list[str], b: list[str]) -> list[tuple[str, str]]:
        if len(a) != len(b):
            self.fail(f"operands of {len(a)} and {len(b)} bits")
        return list(zip(a, b, strict=True))

    def binary(self, level: int) -> list[str]:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in _LEVELS[level]:
            rule = _LEVELS[level][self.take()]
            pairs = self.match(left, self.binary(level + 1))
            left = [self.make(rule, [a, b]) for a, b in pairs]
        return left

    def unary(self) -> list[str]:
        if self.accept("~"):
            return [self.make(GATES["not"], [net]) for net in self.unary()]
        reduction = _REDUCTIONS.get(self.peek())
        if reduction is not None:
            self.take()
            return [self.make(reduction, self.unary())]
        if self.accept("("):
            nets = self.expression()
            self.take(")")
            return nets
        found = re.fullmatch(r"(\d*)\s*'[sS]?([bdhoBDHO])([0-9a-fA-F_]+)", self.peek())
        if found is None:
            return self.select()
        self.take()
        base = {"b": 2, "o": 8, "d": 10, "h": 16}[found.group(2).lower()]
        value = int(found.group(3).replace("_", ""), base)
        width = int(found.group(1) or 32)
        return [self.make(constant(bool(value >> i & 1)), []) for i in range(width)]


_LEVELS: list[dict[str, Rule]] = [
    {"|": GATES["or"]},
    {"^": GATES["xor"], "~^": GATES["xnor"], "^~": GATES["xnor"]},
    {"&": GATES["and"]},
]
_REDUCTIONS: dict[str, Callable[..., int]] = {
    "&": GATES["and"],
    "|": GATES["or"],
    "^": GATES["xor"],
}
