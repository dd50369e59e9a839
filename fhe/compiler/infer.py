"""Types of expressions that are not evaluated: `sizeof`, the arm not taken."""

from pycparser import c_ast

from fhe.compiler import types as ct
from fhe.compiler.declare import Constant, Declarations, Node
from fhe.compiler.literals import string_bytes
from fhe.compiler.memory import Object
from fhe.compiler.types import IntType, Type

_TRUTH = ("<", ">", "<=", ">=", "==", "!=", "&&", "||")


class Inference(Declarations):
    """Static types, without side effects."""

    def type_of(self, node: Node) -> Type:
        """The type that an expression would have."""
        if isinstance(node, c_ast.ID):
            found = self.find(node.name)
            if isinstance(found, Object):
                return found.type
            if isinstance(found, Constant):
                return ct.INT
            self.fail(node, f"{node.name} is not declared")
        if isinstance(node, c_ast.Constant):
            if node.type == "string":
                return ct.ArrayType(ct.CHAR, len(string_bytes(node.value)) + 1)
            return self.literal(node).type
        if isinstance(node, c_ast.Cast):
            return self.resolve(node.to_type)
        if isinstance(node, c_ast.CompoundLiteral):
            return self.declared_type(node)
        if isinstance(node, c_ast.Assignment):
            return self.type_of(node.lvalue)
        if isinstance(node, c_ast.ExprList):
            return self.type_of(node.exprs[-1])
        if isinstance(node, c_ast.ArrayRef):
            return self._element(self.type_of(node.name), node)
        if isinstance(node, c_ast.StructRef):
            return self._field(node)
        if isinstance(node, c_ast.FuncCall):
            found = self.functions.get(getattr(node.name, "name", ""))
            if found is None:
                self.fail(node, "a call of a function that is not defined")
            return self.resolve(found.decl.type.type)
        if isinstance(node, c_ast.TernaryOp):
            return self._usual(node.iftrue, node.iffalse)
        if isinstance(node, c_ast.UnaryOp):
            return self._unary_type(node)
        if isinstance(node, c_ast.BinaryOp):
            if node.op in _TRUTH:
                return ct.INT
            if node.op in ("<<", ">>"):
                return self._promoted(node.left)
            return self._usual(node.left, node.right, difference=node.op == "-")
        self.fail(node, f"{type(node).__name__} is not a supported expression")

    def _element(self, kind: Type, node: Node) -> Type:
        if isinstance(kind, ct.ArrayType):
            return kind.element
        if isinstance(kind, ct.PointerType):
            return kind.target
        self.fail(node, f"{kind.name} is not an array")

    def _field(self, node: c_ast.StructRef) -> Type:
        kind = self.type_of(node.name)
        if node.type == "->":
            kind = self._element(kind, node)
        found = kind.field(node.field.name) if isinstance(kind, ct.StructType) else None
        if found is None:
            self.fail(node, f"{kind.name} has no field {node.field.name}")
        return found[1]

    def _promoted(self, node: Node) -> Type:
        kind = self.type_of(node)
        return ct.promote(kind) if isinstance(kind, IntType) else kind

    def _usual(self, left: Node, right: Node, difference: bool = False) -> Type:
        x, y = self.type_of(left), self.type_of(right)
        if isinstance(x, IntType) and isinstance(y, IntType):
            return ct.common(x, y)
        if difference and not isinstance(x, IntType) and not isinstance(y, IntType):
            return ct.LONG
        pointer = y if isinstance(x, IntType) else x
        if isinstance(pointer, ct.ArrayType):
            return ct.PointerType(pointer.element)
        return pointer

    def _unary_type(self, node: c_ast.UnaryOp) -> Type:
        if node.op == "sizeof":
            return ct.ULONG
        if node.op == "!":
            return ct.INT
        if node.op == "&":
            return ct.PointerType(self.type_of(node.expr))
        if node.op == "*":
            return self._element(self.type_of(node.expr), node)
        if node.op in ("++", "--", "p++", "p--"):
            return self.type_of(node.expr)
        return self._promoted(node.expr)
