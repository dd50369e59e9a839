"""Declarations: names, types and initialisers of the symbolic machine."""

from typing import Any, NamedTuple, NoReturn, TypeAlias

from pycparser import c_ast

from fhe.compiler import literals, types as ct
from fhe.compiler.memory import UNSET, Cell, Object, Place, Pointer, State, store
from fhe.compiler.types import CompileError, IntType, Type
from fhe.compiler.words import Operand, Word, Words

Node: TypeAlias = c_ast.Node


class Value(NamedTuple):
    """An rvalue: an integer or pointer, a list of cells for a structure, or nothing."""

    type: Type
    data: Any


class Constant(NamedTuple):
    """An enumerator."""

    value: int


class Typedef(NamedTuple):
    """A type name."""

    type: Type


class Declarations:
    """Scopes, the state of the current path, and what declarations do to them.

    Args:
        words: where secret values are built.
        loop_bound: iterations of a loop with a secret condition and no pragma.
    """

    def __init__(self, words: Words, loop_bound: int | None) -> None:
        self.words = words
        self.loop_bound = loop_bound
        self.state = State()
        self.speculative = False  # on a path that only a secret decides
        self.scopes: list[dict[str, Any]] = [{}]
        self.tags: list[dict[str, Type | None]] = [{}]
        self.functions: dict[str, c_ast.FuncDef] = {}
        self.statics: dict[int, Object] = {}
        self._constants: dict[int, Value] = {}

    def fail(self, node: Node, reason: str) -> NoReturn:
        """Raises CompileError at a node."""
        coord = getattr(node, "coord", None)
        if coord is None:
            raise CompileError(reason)
        raise CompileError(
            reason, coord.file or "<source>", coord.line or 0, coord.column or 0
        )

    def evaluate(self, node: Node) -> Value:
        """The value of an expression; see `Expressions`."""
        raise NotImplementedError

    def find(self, name: str) -> Any:
        """What a name means here, None if nothing."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return None

    def convert(self, value: Value, kind: Type, node: Node) -> Value:
        """The value as another type, as by assignment or cast."""
        data = value.data
        if isinstance(kind, IntType) and isinstance(value.type, IntType):
            if kind.width == 1:
                return Value(kind, self.words.truth(data))
            return Value(kind, self.words.wrap(data, kind.width, kind.signed))
        if isinstance(kind, IntType) and kind.width == 1 and isinstance(data, Pointer):
            return Value(kind, int(data.object is not None))
        if isinstance(kind, ct.VoidType):
            return Value(kind, None)
        if isinstance(kind, ct.PointerType):
            if isinstance(data, int) and data == 0:
                return Value(kind, Pointer(None, 0, (), 0, 0, kind.target))
            if isinstance(data, Pointer):
                if data.object is None or isinstance(kind.target, ct.VoidType):
                    return Value(kind, data)
                if data.target == kind.target:
                    return Value(kind, data)
                self.fail(node, f"pointer to {data.target.name} used as {kind.name}")
        if isinstance(kind, ct.StructType) and kind == value.type:
            return value
        self.fail(node, f"cannot convert {value.type.name} to {kind.name}")

    def concrete(self, node: Node, what: str) -> int:
        """The value of an expression that must not depend on secrets."""
        value = self.evaluate(node)
        if not isinstance(value.data, int):
            self.fail(node, f"{what} depends on a secret")
        return value.data

    def resolve(self, node: Node) -> Type:
        """The type that a declarator means."""
        if isinstance(node, (c_ast.TypeDecl, c_ast.Typename)):
            return self.resolve(node.type)
        if isinstance(node, c_ast.IdentifierType):
            return self._named(node)
        if isinstance(node, c_ast.PtrDecl):
            if isinstance(node.type, c_ast.FuncDecl):
                self.fail(node, "pointers to functions are not supported")
            return ct.PointerType(self.resolve(node.type))
        if isinstance(node, c_ast.ArrayDecl):
            if node.dim is None:
                self.fail(node, "the array needs a size here")
            count = self.concrete(node.dim, "an array's size")
            element = self.resolve(node.type)
            if count <= 0:
                self.fail(node, f"array of {count} elements")
            return ct.ArrayType(element, count)
        if isinstance(node, c_ast.Struct):
            return self._struct(node)
        if isinstance(node, c_ast.Enum):
            return self._enum(node)
        if isinstance(node, c_ast.Union):
            self.fail(node, "unions are not supported; use a struct or shifts")
        if isinstance(node, c_ast.FuncDecl):
            self.fail(node, "a function is not an object")
        self.fail(node, f"{type(node).__name__} is not a supported type")

    def _named(self, node: c_ast.IdentifierType) -> Type:
        names = node.names
        if len(names) == 1:
            found = self.find(names[0])
            if isinstance(found, Typedef):
                return found.type
        if names == ["void"]:
            return ct.VOID
        kind = ct.from_specifiers(list(names))
        if kind is None:
            reason = f"type {' '.join(names)} is not supported"
            if {"float", "double"} & set(names):
                reason += "; use fixed-point integers"
            self.fail(node, reason)
        return kind

    def _struct(self, node: c_ast.Struct) -> Type:
        name = node.name or f"struct at {node.coord}"
        if node.decls is None:
            for scope in reversed(self.tags):
                if scope.get(f"struct {name}") is not None:
                    return scope[f"struct {name}"]  # type: ignore[return-value]
            self.fail(node, f"struct {name} is not defined")
        fields = []
        for decl in node.decls:
            if not isinstance(decl, c_ast.Decl) or decl.name is None:
                self.fail(decl, "anonymous fields are not supported")
            if decl.bitsize is not None:
                self.fail(decl, "bit-fields are not supported")
            fields.append((decl.name, self.resolve(decl.type)))
        kind = ct.StructType(f"struct {name}", tuple(fields))
        self.tags[-1][f"struct {name}"] = kind
        return kind

    def _enum(self, node: c_ast.Enum) -> Type:
        key = f"enum {node.name}"
        if node.values is None:
            for scope in reversed(self.tags):
                if scope.get(key) is not None:
                    return scope[key]  # type: ignore[return-value]
            self.fail(node, f"{key} is not defined")
        following, lowest = 0, 0
        for item in node.values.enumerators:
            if item.value is not None:
                following = self.concrete(item.value, "an enumerator")
            self.scopes[-1][item.name] = Constant(following)
            lowest = min(lowest, following)
            following += 1
        kind = ct.INT if lowest < 0 else ct.UINT  # as gcc chooses
        if node.name:
            self.tags[-1][key] = kind
        return kind

    def declare(self, node: c_ast.Decl, is_global: bool = False) -> None:
        """A declaration with its initialiser, in the innermost scope."""
        if isinstance(node.type, c_ast.FuncDecl):
            return
        if node.name is None:  # struct or enum alone
            self.resolve(node.type)
            return
        static = is_global or "static" in node.storage
        if static and id(node) in self.statics:
            self.scopes[-1][node.name] = self.statics[id(node)]
            return
        kind = self.declared_type(node)
        if isinstance(kind, ct.VoidType):
            self.fail(node, f"{node.name} has type void")
        item = Object(node.name, kind)
        self.scopes[-1][node.name] = item
        if node.init is not None or static:
            cells: list[Cell] = [_zero(leaf) for leaf in _scalars(kind)]
        else:
            cells = [UNSET] * kind.slots
        self.state.add(item, list(cells))  # the initialiser may take its address
        if node.init is not None:
            self.initialise(kind, node.init, cells, 0)
        if static:
            if is_constant(node.type) and all(isinstance(x, int) for x in cells):
                self.state.cells.pop(item)
                item = Object(node.name, kind, cells)
                self.scopes[-1][node.name] = item
            elif not is_global:
                self.fail(node, f"static {node.name} must be a table of constants")
            self.statics[id(node)] = item
        if item.cells is None:
            self.state.add(item, cells)

    def declared_type(self, node: Node) -> Type:
        """The type of a declaration, whose initialiser may say an array's size."""
        declared = node.type
        if isinstance(declared, c_ast.Typename):
            declared = declared.type
        if isinstance(declared, c_ast.ArrayDecl) and declared.dim is None:
            element = self.resolve(declared.type)
            count = self._implied_count(node.init, element, node)
            return ct.ArrayType(element, count)
        return self.resolve(declared)

    def _implied_count(self, init: Node | None, element: Type, node: Node) -> int:
        if isinstance(init, c_ast.Constant) and init.type == "string":
            return len(literals.string_bytes(init.value)) + 1
        if not isinstance(init, c_ast.InitList):
            self.fail(node, "the array needs a size or a list of values")
        position, most, inside = 0, 0, 0  # inside: values of an element without braces
        for item in init.exprs:
            if isinstance(item, c_ast.NamedInitializer):
                position = self.concrete(_designator(item.name[0]), "a designator")
                item, inside = item.expr, 0
            most = max(most, position + 1)
            whole = inside == 0 and isinstance(item, (c_ast.InitList, c_ast.Constant))
            if whole and not isinstance(item, c_ast.InitList):
                whole = item.type == "string"
            inside += 1
            if whole or inside == max(element.slots, 1):
                position, inside = position + 1, 0
        return most

    def initialise(self, kind: Type, init: Node, cells: list[Cell], base: int) -> None:
        """Fills the cells of an object from its initialiser."""
        if isinstance(init, c_ast.InitList):
            if isinstance(kind, (ct.ArrayType, ct.StructType)):
                self._fill(kind, list(init.exprs), cells, base)
            elif len(init.exprs) == 1:
                self.initialise(kind, init.exprs[0], cells, base)
            else:
                self.fail(init, f"a list of values for {kind.name}")
            return
        if isinstance(kind, ct.ArrayType):
            if isinstance(init, c_ast.Constant) and init.type == "string":
                text = literals.string_bytes(init.value)
                if len(text) > kind.count:
                    self.fail(init, f"the text is longer than {kind.name}")
                for i, byte in enumerate(text):
                    cells[base + i] = _wrap_byte(byte, kind.element)
                return
            self.fail(init, f"{kind.name} needs a list of values")
        value = self.convert(self.evaluate(init), kind, init)
        if isinstance(kind, ct.StructType):
            cells[base : base + kind.slots] = value.data
        else:
            cells[base] = value.data

    def _fill(
        self, kind: Type, items: list[Node], cells: list[Cell], base: int
    ) -> list[Node]:
        """Initialises an aggregate from the front of a list; returns what is left."""
        return self._fill_members(kind, items, cells, base, True)

    def _fill_members(
        self, kind: Type, items: list[Node], cells: list[Cell], base: int, braced: bool
    ) -> list[Node]:
        members = _members(kind)
        position = 0
        while items:
            item = items[0]
            if isinstance(item, c_ast.NamedInitializer):
                if not braced:
                    return items
                position = self._position(kind, item.name[0], item)
                if len(item.name) > 1:
                    rest = c_ast.NamedInitializer(item.name[1:], item.expr, item.coord)
                    offset, member = members[position]
                    self._fill_members(member, [rest], cells, base + offset, True)
                    items = items[1:]
                    position += 1
                    continue
                items = [item.expr, *items[1:]]
                item = item.expr
            if position >= len(members):
                if braced:
                    self.fail(item, f"too many values for {kind.name}")
                return items
            offset, member = members[position]
            items = self._fill_one(member, items, cells, base + offset)
            position += 1
        return items

    def _fill_one(
        self, member: Type, items: list[Node], cells: list[Cell], base: int
    ) -> list[Node]:
        item = items[0]
        aggregate = isinstance(member, (ct.ArrayType, ct.StructType))
        text = isinstance(item, c_ast.Constant) and item.type == "string"
        if not aggregate or isinstance(item, c_ast.InitList) or text:
            self.initialise(member, item, cells, base)
            return items[1:]
        if isinstance(member, ct.StructType):
            value = self.evaluate(item)
            if value.type == member:
                cells[base : base + member.slots] = value.data
                return items[1:]
        # Braces left out: the inner object takes as many values as it needs.
        return self._fill_members(member, items, cells, base, False)

    def _position(self, kind: Type, designator: Node, node: Node) -> int:
        if isinstance(kind, ct.StructType):
            names = [name for name, _ in kind.fields]
            if not isinstance(designator, c_ast.ID) or designator.name not in names:
                self.fail(node, f"{kind.name} has no such field")
            return names.index(designator.name)
        if not isinstance(kind, ct.ArrayType):
            self.fail(node, f"a designator for {kind.name}")
        position = self.concrete(_designator(designator), "a designator")
        if not 0 <= position < kind.count:
            self.fail(node, f"index {position} is outside of {kind.name}")
        return position

    def put(self, place: Place, value: Value, node: Node) -> None:
        """Assignment."""
        if place.object.cells is not None:
            self.fail(node, f"{place.object.name} is constant")
        cells = value.data if isinstance(place.type, ct.StructType) else [value.data]
        store(self.words, self.state, place, cells)

    def literal(self, node: c_ast.Constant) -> Value:
        """An integer or character constant."""
        found = self._constants.get(id(node))
        if found is None:
            try:
                found = Value(*literals.number(node.value))
            except ValueError as error:
                self.fail(node, str(error))
            self._constants[id(node)] = found
        return found


def is_constant(node: Node) -> bool:
    """Whether a declarator's elements are const."""
    while isinstance(node, c_ast.ArrayDecl):
        node = node.type
    return "const" in getattr(node, "quals", [])


def _designator(node: Node) -> Node:
    """The index of `[index]`, which newer versions of pycparser wrap."""
    return (
        getattr(node, "expr", node)
        if type(node).__name__ == "ArrayDesignator"
        else node
    )


def _members(kind: Type) -> list[tuple[int, Type]]:
    if isinstance(kind, ct.ArrayType):
        step = kind.element.slots
        return [(i * step, kind.element) for i in range(kind.count)]
    if isinstance(kind, ct.StructType):
        return [(kind.field(name)[0], field) for name, field in kind.fields]  # type: ignore[index]
    return [(0, kind)]


def _scalars(kind: Type) -> list[Type]:
    if isinstance(kind, ct.ArrayType):
        return _scalars(kind.element) * kind.count
    if isinstance(kind, ct.StructType):
        return [leaf for _, field in kind.fields for leaf in _scalars(field)]
    return [kind]


def _zero(kind: Type) -> Cell:
    if isinstance(kind, ct.PointerType):
        return Pointer(None, 0, (), 0, 0, kind.target)
    return 0


def _wrap_byte(byte: int, kind: Type) -> Operand | Word:
    return kind.wrap(byte) if isinstance(kind, IntType) else byte
