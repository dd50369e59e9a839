"""Expressions of the symbolic machine, with C's conversions."""

import dataclasses
from collections.abc import Callable
from typing import Any

from pycparser import c_ast

from fhe.compiler import types as ct
from fhe.compiler.declare import Constant, Node, Value
from fhe.compiler.infer import Inference
from fhe.compiler.literals import string_bytes
from fhe.compiler.memory import (
    UNSET,
    Object,
    Place,
    Pointer,
    Unset,
    load,
    merge,
    merge_cells,
)
from fhe.compiler.types import IntType, Type
from fhe.compiler.words import Operand, Word


class Expressions(Inference):
    """Evaluates syntax trees to values and places."""

    def evaluate(self, node: Node) -> Value:
        """The value of an expression; arrays become pointers."""
        method = _EVALUATORS.get(type(node).__name__)
        if method is None:
            self.fail(node, f"{type(node).__name__} is not a supported expression")
        return method(self, node)

    def number(self, node: Node) -> tuple[IntType, Operand]:
        """The value of an expression that must be an integer."""
        kind, data = self.evaluate(node)
        if not isinstance(kind, IntType):
            self.fail(node, f"an integer is needed, not {kind.name}")
        return kind, data

    def truth(self, node: Node) -> Operand:
        """A condition as 0 or 1."""
        kind, data = self.evaluate(node)
        if isinstance(data, Pointer):
            return int(data.object is not None)
        if not isinstance(kind, IntType):
            self.fail(node, f"a condition of type {kind.name}")
        return self.words.truth(data)

    def call(self, node: c_ast.FuncCall) -> Value:
        """A call; see `Machine`."""
        raise NotImplementedError

    # Places

    def place(self, node: Node) -> Place:
        """Where an lvalue lies."""
        if isinstance(node, c_ast.ID):
            found = self.find(node.name)
            if isinstance(found, Object):
                return Place(found, 0, (), found.type)
            if found is None:
                self.fail(node, f"{node.name} is not declared")
            self.fail(node, f"{node.name} is not a variable")
        if isinstance(node, c_ast.ArrayRef):
            base, index = self.evaluate(node.name), self.evaluate(node.subscript)
            if isinstance(base.type, IntType):
                base, index = index, base
            return self.target(self._offset(base, index, 1, node), node)
        if isinstance(node, c_ast.UnaryOp) and node.op == "*":
            return self.target(self.evaluate(node.expr), node)
        if isinstance(node, c_ast.StructRef):
            if node.type == "->":
                outer = self.target(self.evaluate(node.name), node)
            else:
                outer = self._struct_place(node.name)
            if not isinstance(outer.type, ct.StructType):
                self.fail(node, f"{outer.type.name} has no fields")
            found = outer.type.field(node.field.name)
            if found is None:
                self.fail(node, f"{outer.type.name} has no field {node.field.name}")
            offset, kind = found
            return Place(outer.object, outer.base + offset, outer.indices, kind)
        if isinstance(node, c_ast.CompoundLiteral):
            kind = self.declared_type(node)
            cells: list[Any] = [0] * kind.slots
            self.initialise(kind, node.init, cells, 0)
            return self._temporary(kind, cells)
        if isinstance(node, c_ast.Constant) and node.type == "string":
            text = [ct.CHAR.wrap(b) for b in string_bytes(node.value)] + [0]
            kind = ct.ArrayType(ct.CHAR, len(text))
            return Place(Object("string", kind, list(text)), 0, (), kind)
        self.fail(node, "this is not something that can be assigned or addressed")

    def _struct_place(self, node: Node) -> Place:
        if isinstance(node, (c_ast.FuncCall, c_ast.TernaryOp, c_ast.Assignment)):
            value = self.evaluate(node)
            if not isinstance(value.type, ct.StructType):
                self.fail(node, f"{value.type.name} has no fields")
            return self._temporary(value.type, list(value.data))
        return self.place(node)

    def _temporary(self, kind: Type, cells: list[Any]) -> Place:
        item = Object("temporary", kind)
        self.state.add(item, cells)
        return Place(item, 0, (), kind)

    def target(self, value: Value, node: Node) -> Place:
        """*pointer."""
        pointer = value.data
        if isinstance(pointer, Unset):
            self.fail(node, "the pointer has no value known while compiling")
        if not isinstance(pointer, Pointer):
            self.fail(node, f"{value.type.name} is not a pointer")
        if pointer.object is None:
            self.fail(node, "null pointer")
        step, index = pointer.target.slots, pointer.index
        indices, base = pointer.outer, pointer.origin
        if isinstance(index, int):
            if not 0 <= index < pointer.count:
                if not self.speculative:
                    self.fail(
                        node,
                        f"index {index} is outside of {pointer.object.name}, "
                        f"which has {pointer.count} elements here"
                        + ("; give the parameter a size" * (pointer.count == 1)),
                    )
                # Never executed, as the program is defined: any element will do.
                scratch = Object("unreachable", pointer.target)
                self.state.add(scratch, [0] * pointer.target.slots)
                return Place(scratch, 0, (), pointer.target)
            base += index * step
        elif pointer.count > 1:
            indices = (*indices, (index, step, pointer.count))
        return Place(pointer.object, base, indices, pointer.target, pointer)

    def read(self, place: Place) -> Value:
        """The value that a place holds; an array becomes a pointer to its start."""
        kind = place.type
        if isinstance(kind, ct.ArrayType):
            start = Pointer(
                place.object, place.base, place.indices, kind.count, 0, kind.element
            )
            return Value(ct.PointerType(kind.element), start)
        cells = load(self.words, self.state, place)
        if isinstance(kind, ct.StructType):
            return Value(kind, cells)
        data = cells[0]
        if isinstance(data, Unset) and isinstance(kind, IntType):
            data = 0  # undefined in C
        return Value(kind, data)

    # Operators

    def _identifier(self, node: c_ast.ID) -> Value:
        found = self.find(node.name)
        if isinstance(found, Constant):
            return Value(ct.INT, found.value)
        return self.read(self.place(node))

    def _place_value(self, node: Node) -> Value:
        return self.read(self.place(node))

    def _struct_field(self, node: c_ast.StructRef) -> Value:
        return self.read(self.place(node))

    def _constant(self, node: c_ast.Constant) -> Value:
        if node.type == "string":
            return self.read(self.place(node))
        return self.literal(node)

    def _cast(self, node: c_ast.Cast) -> Value:
        return self.convert(self.evaluate(node.expr), self.resolve(node.to_type), node)

    def _list(self, node: c_ast.ExprList) -> Value:
        for item in node.exprs[:-1]:
            self.evaluate(item)
        return self.evaluate(node.exprs[-1])

    def _assignment(self, node: c_ast.Assignment) -> Value:
        if node.op == "=":
            value = self.evaluate(node.rvalue)
            place = self.place(node.lvalue)
        else:
            place = self.place(node.lvalue)
            right = self.evaluate(node.rvalue)
            value = self.operate(node.op[:-1], self.read(place), right, node)
        if isinstance(place.type, ct.ArrayType):
            self.fail(node, "an array cannot be assigned")
        value = self.convert(value, place.type, node)
        self.put(place, value, node)
        return value

    def _unary(self, node: c_ast.UnaryOp) -> Value:
        op = node.op
        if op == "sizeof":
            named = isinstance(node.expr, c_ast.Typename)
            kind = (self.resolve if named else self.type_of)(node.expr)
            return Value(ct.ULONG, kind.size)
        if op in ("++", "--", "p++", "p--"):
            place = self.place(node.expr)
            old = self.read(place)
            changed = self.operate(op[-1], old, Value(ct.INT, 1), node)
            new = self.convert(changed, place.type, node)
            self.put(place, new, node)
            return old if op[0] == "p" else new
        if op == "&":
            pointer = self.place(node.expr).address()
            return Value(ct.PointerType(pointer.target), pointer)
        if op == "*":
            return self.read(self.place(node))
        if op == "!":
            return Value(ct.INT, self.words.negation(self.truth(node.expr)))
        kind, data = self.number(node.expr)
        kind = ct.promote(kind)
        result = {
            "-": self.words.negate,
            "~": self.words.invert,
            "+": lambda x: x,
        }[op](data)
        return Value(kind, self.words.wrap(result, kind.width, kind.signed))

    def _binary(self, node: c_ast.BinaryOp) -> Value:
        if node.op in ("&&", "||"):
            return self._short_circuit(node)
        left = self.evaluate(node.left)
        return self.operate(node.op, left, self.evaluate(node.right), node)

    def operate(self, op: str, left: Value, right: Value, node: Node) -> Value:
        """A binary operator with the usual conversions."""
        if not isinstance(left.type, IntType) or not isinstance(right.type, IntType):
            return self._pointers(op, left, right, node)
        words, x, y = self.words, left.data, right.data
        if op in ("<<", ">>"):
            kind = ct.promote(left.type)
            if isinstance(y, int) and not 0 <= y < kind.width:
                if not self.speculative:
                    self.fail(node, f"shift of {kind.name} by {y}")
                y = 0
            shifted = (words.left if op == "<<" else words.right)(x, y, kind.width)
            return Value(kind, words.wrap(shifted, kind.width, kind.signed))
        kind = ct.common(left.type, right.type)
        x = words.wrap(x, kind.width, kind.signed)
        y = words.wrap(y, kind.width, kind.signed)
        compare = _COMPARISONS.get(op)
        if compare is not None:
            return Value(ct.INT, compare(words, x, y))
        if op in ("/", "%"):
            if isinstance(y, int) and y == 0:
                if not self.speculative:
                    self.fail(node, "division by zero")
                y = 1
            result = (words.divide if op == "/" else words.remainder)(x, y)
        else:
            operators: dict[str, Callable[[Operand, Operand], Operand]] = {
                "+": words.add,
                "-": words.subtract,
                "*": words.multiply,
                "&": words.and_,
                "|": words.or_,
                "^": words.xor,
            }
            result = operators[op](x, y)
        return Value(kind, words.wrap(result, kind.width, kind.signed))

    def _offset(self, base: Value, index: Value, sign: int, node: Node) -> Value:
        pointer = base.data
        if not isinstance(pointer, Pointer) or not isinstance(index.type, IntType):
            self.fail(node, f"cannot index {base.type.name} by {index.type.name}")
        moved = self.words.linear(0, ((1, pointer.index), (sign, index.data)))
        return Value(base.type, dataclasses.replace(pointer, index=moved))

    def _pointers(self, op: str, left: Value, right: Value, node: Node) -> Value:
        if op == "+" and isinstance(left.type, IntType):
            left, right = right, left
        if op in ("+", "-") and isinstance(right.type, IntType):
            return self._offset(left, right, 1 if op == "+" else -1, node)
        p, q = left.data, right.data
        null = [isinstance(v, int) and v == 0 for v in (p, q)]
        if op in ("==", "!=") and any(null):
            other = q if null[0] else p
            if isinstance(other, Pointer):
                return Value(ct.INT, int((other.object is None) == (op == "==")))
        if isinstance(p, Pointer) and isinstance(q, Pointer):
            if p.same_array(q):
                if op == "-":
                    return Value(ct.LONG, self.words.subtract(p.index, q.index))
                if op in _COMPARISONS:
                    return Value(ct.INT, _COMPARISONS[op](self.words, p.index, q.index))
            elif op in ("==", "!=") and p.object is not q.object:
                return Value(ct.INT, int(op == "!="))
        self.fail(node, f"{left.type.name} {op} {right.type.name} is not supported")

    def branch(
        self, condition: Word, first: Callable[[], Any], second: Callable[[], Any]
    ) -> tuple[Any, Any]:
        """Runs both on their own copies of the state and joins the states."""
        before, speculative = self.state, self.speculative
        self.speculative = True
        self.state = before.fork()
        x = first()
        then, self.state = self.state, before.fork()
        y = second()
        self.speculative = speculative
        self.state = merge(self.words, condition, then, self.state)
        return x, y

    def _short_circuit(self, node: c_ast.BinaryOp) -> Value:
        left = self.truth(node.left)
        conjunction = node.op == "&&"
        if isinstance(left, int):
            if bool(left) != conjunction:
                return Value(ct.INT, left)
            return Value(ct.INT, self.truth(node.right))
        run = left if conjunction else self.words.negation(left)
        assert isinstance(run, Word)
        right, _ = self.branch(run, lambda: self.truth(node.right), lambda: None)
        operator = self.words.and_ if conjunction else self.words.or_
        return Value(ct.INT, operator(left, right))

    def _ternary(self, node: c_ast.TernaryOp) -> Value:
        condition = self.truth(node.cond)
        if isinstance(condition, int):
            chosen = node.iftrue if condition else node.iffalse
            other = node.iffalse if condition else node.iftrue
            value = self.evaluate(chosen)
            other_type = self.type_of(other)
            if isinstance(value.type, IntType) and isinstance(other_type, IntType):
                return self.convert(value, ct.common(value.type, other_type), node)
            return value
        x, y = self.branch(
            condition,
            lambda: self.evaluate(node.iftrue),
            lambda: self.evaluate(node.iffalse),
        )
        return self.choose(condition, x, y, node)

    def choose(self, condition: Word, x: Value, y: Value, node: Node) -> Value:
        """condition ? x : y."""
        if isinstance(x.type, IntType) and isinstance(y.type, IntType):
            kind = ct.common(x.type, y.type)
            a, b = self.convert(x, kind, node), self.convert(y, kind, node)
            return Value(kind, self.words.mux(condition, a.data, b.data))
        if isinstance(x.type, ct.StructType) and x.type == y.type:
            pairs = zip(x.data, y.data, strict=True)
            cells = [merge_cells(self.words, condition, a, b) for a, b in pairs]
            return Value(x.type, cells)
        if isinstance(x.data, Pointer) and isinstance(y.data, Pointer):
            chosen = merge_cells(self.words, condition, x.data, y.data)
            if chosen is UNSET:
                self.fail(node, "a secret chooses between pointers to two objects")
            return Value(x.type, chosen)
        if isinstance(x.type, ct.VoidType) and isinstance(y.type, ct.VoidType):
            return x
        self.fail(node, f"a choice between {x.type.name} and {y.type.name}")


_COMPARISONS: dict[str, Callable[[Any, Operand, Operand], Operand]] = {
    "<": lambda w, x, y: w.less(x, y),
    ">": lambda w, x, y: w.less(y, x),
    "<=": lambda w, x, y: w.negation(w.less(y, x)),
    ">=": lambda w, x, y: w.negation(w.less(x, y)),
    "==": lambda w, x, y: w.equal(x, y),
    "!=": lambda w, x, y: w.negation(w.equal(x, y)),
}

_EVALUATORS: dict[str, Callable[[Any, Any], Value]] = {
    "ID": Expressions._identifier,
    "Constant": Expressions._constant,
    "ArrayRef": Expressions._place_value,
    "StructRef": Expressions._struct_field,
    "CompoundLiteral": Expressions._place_value,
    "Cast": Expressions._cast,
    "ExprList": Expressions._list,
    "Assignment": Expressions._assignment,
    "UnaryOp": Expressions._unary,
    "BinaryOp": Expressions._binary,
    "TernaryOp": Expressions._ternary,
    "FuncCall": lambda machine, node: machine.call(node),
}
