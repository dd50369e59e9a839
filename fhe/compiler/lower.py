"""A syntax tree to words: chooses the function, binds parameters, names the results."""

import dataclasses
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from pycparser import c_ast

from fhe.circuit import Port, Signature
from fhe.compiler import types as ct
from fhe.compiler.blast import operands
from fhe.compiler.calls import Machine, parameters_of
from fhe.compiler.declare import Value, is_constant
from fhe.compiler.memory import Cell, Object, Pointer
from fhe.compiler.types import CompileError, IntType
from fhe.compiler.words import Operand, Word, Words


@dataclasses.dataclass(frozen=True)
class Program:
    """What a function computes.

    Attributes:
        signature: secret parameters and results.
        inputs: the input word of each element of each parameter, with its width.
        outputs: the word of each element of each result, with its width.
    """

    signature: Signature
    inputs: list[tuple[Word, int]]
    outputs: list[tuple[Operand, int]]


@dataclasses.dataclass(frozen=True)
class _Parameter:
    """A bound parameter: its object's ports, cells and initial content."""

    object: Object
    ports: list[Port]
    slots: list[list[int]]
    content: list[Cell]
    writable: bool
    secret: bool


def lower(
    tree: c_ast.FileAST,
    function: str | None = None,
    *,
    public: Mapping[str, Any] | None = None,
    loop_bound: int | None = None,
) -> Program:
    """Runs a function symbolically.

    Args:
        tree: a parsed file.
        function: its name; by default the last one that is not static.
        public: values of public parameters.
        loop_bound: iterations of loops with a secret condition and no pragma.

    Raises:
        CompileError: where the program leaves the accepted subset.
    """
    words = Words()
    machine = Machine(words, loop_bound)
    pragmas: list[c_ast.Pragma] = []
    annotated: dict[str, list[str]] = {}
    for item in tree.ext:
        if isinstance(item, c_ast.FuncDef):
            machine.functions[item.decl.name] = item
            annotated[item.decl.name] = [n for p in pragmas for n in _public(p)]
            pragmas = []
        elif isinstance(item, c_ast.Decl):
            machine.declare(item, is_global=True)
        elif isinstance(item, c_ast.Pragma):
            pragmas.append(item)
        else:
            machine.run(item)
    definition = _choose(machine, function)
    name = definition.decl.name
    values = dict(public or {})
    known = [p.name for p in parameters_of(definition)]
    for given in values:
        if given not in known:
            raise CompileError(f"public={given!r}, but {name} has parameters {known}")
    for wanted in annotated[name]:
        if wanted not in known:
            machine.fail(definition.decl, f"public({wanted}) is not a parameter")
        if wanted not in values:
            machine.fail(
                definition.decl, f"{wanted} is public: give public={{{wanted!r}: ...}}"
            )
    machine.scopes.append({})
    machine.tags.append({})
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 50_000))
    try:
        parameters = [
            _bind(machine, p, values.get(p.name)) for p in parameters_of(definition)
        ]
        bound = dict(machine.scopes[-1])
        machine.scopes[-1] = {}  # so that out-parameters outlive the call
        machine.scopes.insert(-1, bound)
        result = machine.body(definition)
    finally:
        sys.setrecursionlimit(limit)
    return _program(machine, parameters, result)


def _public(pragma: c_ast.Pragma) -> list[str]:
    found = re.fullmatch(r"\s*fhe\s+public\s*\((.*)\)\s*", pragma.string)
    if found is None:
        if re.match(r"\s*fhe\b", pragma.string):
            coord = pragma.coord
            raise CompileError(
                f"unknown pragma {pragma.string}; write `fhe public(name, ...)`",
                coord.file,
                coord.line,
            )
        return []
    return [name.strip() for name in found.group(1).split(",")]


def _choose(machine: Machine, function: str | None) -> c_ast.FuncDef:
    if function is not None:
        if function not in machine.functions:
            names = sorted(machine.functions)
            raise CompileError(f"no function {function!r}; the file defines {names}")
        return machine.functions[function]
    visible = [f for f in machine.functions.values() if "static" not in f.decl.storage]
    if not visible:
        raise CompileError("the program defines no function that is not static")
    return visible[-1]


def _bind(machine: Machine, node: c_ast.Decl, value: Any) -> _Parameter:
    """Makes a parameter's object, of input words or public values."""
    declared = node.type
    pointed = isinstance(declared, (c_ast.ArrayDecl, c_ast.PtrDecl))
    if isinstance(declared, c_ast.PtrDecl):
        kind = machine.resolve(declared.type)
    else:
        kind = machine.resolve(declared)
    writable = pointed and not is_constant(
        declared.type if isinstance(declared, c_ast.PtrDecl) else declared
    )
    try:
        leaves = ct.leaves(kind, node.name)
    except CompileError as error:
        machine.fail(node, error.reason)
    ports = [
        Port(name, leaf.name, leaf.width, leaf.signed, shape)
        for name, leaf, shape in leaves
    ]
    slots = [ct.leaf_slots(kind, name.partition(".")[2]) for name, _, _ in leaves]
    content: list[Cell] = [0] * kind.slots
    if value is None:
        for (_, leaf, _), places in zip(leaves, slots, strict=True):
            for place in places:
                content[place] = machine.words.input(leaf.low, leaf.high)
    else:
        _fill_public(machine, node, leaves, slots, content, value)
    item = Object(node.name, kind)
    machine.state.add(item, list(content))
    if not pointed:
        machine.scopes[-1][node.name] = item
    else:
        array = kind if isinstance(declared, c_ast.ArrayDecl) else None
        element = array.element if isinstance(array, ct.ArrayType) else kind
        count = array.count if isinstance(array, ct.ArrayType) else 1
        pointer = Pointer(item, 0, (), count, 0, element)
        machine.bind(
            node.name, ct.PointerType(element), Value(ct.PointerType(element), pointer)
        )
    return _Parameter(item, ports, slots, content, writable, value is None)


def _fill_public(
    machine: Machine,
    node: c_ast.Decl,
    leaves: list[tuple[str, IntType, tuple[int, ...]]],
    slots: list[list[int]],
    content: list[Cell],
    value: Any,
) -> None:
    if len(leaves) != 1 or "." in leaves[0][0]:
        machine.fail(node, f"{node.name}: a public structure is not supported")
    _, leaf, shape = leaves[0]
    array = np.asarray(value)
    if array.shape != shape or array.dtype.kind not in "biuO":
        machine.fail(
            node, f"public {node.name} needs integers of shape {shape}, got {value!r}"
        )
    for place, number in zip(slots[0], array.ravel().tolist(), strict=True):
        if not leaf.low <= int(number) <= leaf.high:
            machine.fail(node, f"{number} does not fit into {leaf.name} {node.name}")
        content[place] = int(number)


def _program(machine: Machine, parameters: list[_Parameter], result: Value) -> Program:
    """Collects ports: all results; parameters except those that are results alone."""
    results: list[Port] = []
    outputs: list[tuple[Operand, int]] = []

    def emit(port: Port, cells: list[Cell]) -> None:
        results.append(port)
        for cell in cells:
            if not isinstance(cell, (int, Word)):
                cell = 0  # never written: undefined in C
            outputs.append((cell, port.width))

    if not isinstance(result.type, ct.VoidType):
        kind = result.type
        if isinstance(kind, ct.PointerType):
            raise CompileError("the function returns a pointer")
        data = result.data if isinstance(result.data, list) else [result.data]
        for name, leaf, shape in ct.leaves(kind, "return"):
            cells = [data[i] for i in ct.leaf_slots(kind, name.partition(".")[2])]
            emit(Port(name, leaf.name, leaf.width, leaf.signed, shape), cells)
    written: list[tuple[_Parameter, list[bool]]] = []
    for parameter in parameters:
        final = machine.state.cells[parameter.object]
        changed = [
            parameter.writable
            and any(final[i] is not parameter.content[i] for i in places)
            for places in parameter.slots
        ]
        written.append((parameter, changed))
        for port, places, change in zip(
            parameter.ports, parameter.slots, changed, strict=True
        ):
            if change:
                emit(port, [final[i] for i in places])
    if not results:
        raise CompileError("the function returns nothing and writes no parameter")
    read = _reachable(outputs)
    inputs: list[tuple[Word, int]] = []
    taken: list[Port] = []
    for parameter, changed in written:
        if not parameter.secret:
            continue
        for port, places, change in zip(
            parameter.ports, parameter.slots, changed, strict=True
        ):
            cells = [parameter.content[i] for i in places]
            if change and not any(cell in read for cell in cells):
                continue
            taken.append(port)
            inputs += [(cell, port.width) for cell in cells if isinstance(cell, Word)]
    return Program(Signature(tuple(taken), tuple(results)), inputs, outputs)


def _reachable(outputs: list[tuple[Operand, int]]) -> set[Any]:
    live: set[Any] = set()
    stack: list[Operand] = [x for x, _ in outputs]
    while stack:
        word = stack.pop()
        if isinstance(word, Word) and word not in live:
            live.add(word)
            stack += operands(word)
    return live
