"""Calls: every function's body runs in place, on parameters of its own."""

from pycparser import c_ast

from fhe.compiler import types as ct
from fhe.compiler.declare import Value
from fhe.compiler.memory import UNSET, Object, Place
from fhe.compiler.statements import Statements
from fhe.compiler.types import Type
from fhe.compiler.words import Words

_MOST_CALLS = 200


class Machine(Statements):
    """The whole symbolic machine: declarations, expressions, statements, calls."""

    def __init__(self, words: Words, loop_bound: int | None) -> None:
        super().__init__(words, loop_bound)
        self._calls = 0

    def call(self, node: c_ast.FuncCall) -> Value:
        """Runs a function's body in place."""
        name = getattr(node.name, "name", None)
        arguments = list(node.args.exprs) if node.args is not None else []
        if name not in self.functions:
            self.fail(node, f"{name or 'this function'} is not defined in the program")
        definition = self.functions[name]
        parameters = parameters_of(definition)
        if len(arguments) != len(parameters):
            self.fail(
                node, f"{name} takes {len(parameters)} arguments, got {len(arguments)}"
            )
        values = [self.evaluate(argument) for argument in arguments]
        scopes, tags = self.scopes, self.tags
        self.scopes, self.tags = [scopes[0], {}], [tags[0], {}]
        for parameter, value, argument in zip(
            parameters, values, arguments, strict=True
        ):
            kind = self.parameter_type(parameter)
            converted = self.convert(value, kind, argument)
            self.bind(parameter.name, kind, converted)
        result = self.body(definition)
        self.scopes, self.tags = scopes, tags
        return result

    def bind(self, name: str | None, kind: Type, value: Value) -> None:
        """A parameter's variable."""
        if name is None:
            return
        item = Object(name, kind)
        data = value.data
        self.state.add(item, list(data) if isinstance(data, list) else [data])
        self.scopes[-1][name] = item

    def body(self, definition: c_ast.FuncDef) -> Value:
        """Runs a function whose parameters are bound; returns its result."""
        if self._calls >= _MOST_CALLS:
            self.fail(
                definition.decl,
                f"{definition.decl.name} calls itself more than {_MOST_CALLS} deep; "
                "recursion must end by a condition without secrets",
            )
        kind = self.resolve(definition.decl.type.type)
        result = None
        if not isinstance(kind, ct.VoidType):
            result = Object(f"result of {definition.decl.name}", kind)
            self.state.add(result, [UNSET] * kind.slots)
        self._calls += 1
        self.results.append(result)
        self.join("return", self.run(definition.body))
        self.results.pop()
        self._calls -= 1
        for found in self.scopes[-1].values():
            if isinstance(found, Object):
                self.state.cells.pop(found, None)
        if result is None:
            return Value(ct.VOID, None)
        value = self.read(Place(result, 0, (), kind))
        self.state.cells.pop(result, None)
        return value

    def parameter_type(self, parameter: c_ast.Decl) -> Type:
        """A parameter's type; an array means a pointer to its elements."""
        declared = parameter.type
        if isinstance(declared, c_ast.ArrayDecl):
            return ct.PointerType(self.resolve(declared.type))
        return self.resolve(declared)


def parameters_of(definition: c_ast.FuncDef) -> list[c_ast.Decl]:
    """Declarations of a function's parameters."""
    arguments = definition.decl.type.args
    if arguments is None:
        return []
    items = list(arguments.params)
    if len(items) == 1 and isinstance(items[0], c_ast.Typename):
        return []  # (void)
    for item in items:
        if isinstance(item, c_ast.EllipsisParam):
            coord = definition.decl.coord
            reason = "variable arguments are not supported"
            raise ct.CompileError(reason, coord.file, coord.line, coord.column)
    return items
