"""gcc as the judge: the same C, as a shared object, on the same inputs."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycparser import c_ast, c_generator

from fhe.circuit import Circuit, Port
from fhe.compiler import parse
from fhe.compiler.calls import Machine, parameters_of
from fhe.compiler.types import ArrayType, StructType, Type, VoidType, leaves
from fhe.compiler.words import Words


def _places(kind: Type, text: str, depth: int = 0) -> list[tuple[str, str]]:
    """Loops and the lvalue inside them for each scalar leaf, in the ports' order."""
    if isinstance(kind, ArrayType):
        loop = f"for (int i{depth} = 0; i{depth} < {kind.count}; i{depth}++) "
        inner = _places(kind.element, f"{text}[i{depth}]", depth + 1)
        return [(loop + loops, place) for loops, place in inner]
    if isinstance(kind, StructType):
        return [
            found
            for name, field in kind.fields
            for found in _places(field, f"{text}.{name}", depth)
        ]
    return [("", text)]


def _without_const(node: c_ast.Node) -> None:
    for _, child in node.children():
        _without_const(child)
    if hasattr(node, "quals"):
        node.quals = [q for q in node.quals if q != "const"]
    if hasattr(node, "dim_quals"):
        node.dim_quals = []


def _shim(source: str, circuit: Circuit, function: str, public: dict) -> str:
    """C text of `shim_<function>(n, in, out)` over arrays of 64-bit integers."""
    tree = parse(source)
    machine = Machine(Words(), None)
    for item in tree.ext:
        if isinstance(item, c_ast.FuncDef):
            machine.functions[item.decl.name] = item
        elif isinstance(item, c_ast.Decl):
            machine.declare(item, is_global=True)
        elif not isinstance(item, c_ast.Pragma):
            machine.run(item)
    definition = machine.functions[function]
    generator = c_generator.CGenerator()
    lines = [f"void shim_{function}(int n, long *in, long *out) {{"]
    lines.append("for (int v = 0; v < n; v++) {")
    passed = []
    places: dict[str, tuple[str, str]] = {}

    def locate(kind: Type, name: str, text: str) -> None:
        names = [leaf[0] for leaf in leaves(kind, name)]
        places.update(zip(names, _places(kind, text), strict=True))

    returned = machine.resolve(definition.decl.type.type)
    if not isinstance(returned, VoidType):
        locate(returned, "return", "returned")
    for param in parameters_of(definition):
        pointer = isinstance(param.type, c_ast.PtrDecl)
        if pointer:
            param.type = param.type.type
        _without_const(param)
        locate(machine.resolve(param.type), param.name, param.name)
        lines.append(f"{generator.visit(param)};")
        lines.append(f"__builtin_memset(&{param.name}, 0, sizeof {param.name});")
        if param.name in public:
            numbers = np.asarray(public[param.name]).ravel().tolist()
            size = f"sizeof {param.name} / {len(numbers)}"
            for i, number in enumerate(numbers):
                lines.append(
                    f"{{ long t = {number}; __builtin_memcpy((char *)&{param.name} + "
                    f"{i} * ({size}), &t, {size}); }}"
                )
        passed.append(("&" if pointer else "") + param.name)
    for port in circuit.signature.parameters:
        loops, place = places[port.name]
        lines.append(f"{loops}{place} = *in++;")
    call = f"{function}({', '.join(passed)});"
    lines.append(call if returned.slots == 0 else f"__auto_type returned = {call}")
    for port in circuit.signature.results:
        loops, place = places[port.name]
        lines.append(f"{loops}*out++ = (long){place};")
    return "\n".join([*lines, "}", "}"])


def random_values(port: Port, count: int, rng: np.random.Generator) -> np.ndarray:
    """Values over the whole range, with small and extreme ones frequent."""
    low = -(1 << (port.width - 1)) if port.signed else 0
    high = low + (1 << port.width) - 1
    shape = (count, *port.shape)
    kind = np.int64 if port.signed else np.uint64
    wide = rng.integers(low, high, shape, dtype=kind, endpoint=True)
    small = rng.integers(max(low, -9), min(high, 9), shape, dtype=kind, endpoint=True)
    edge = np.array([low, high, 0], kind)[rng.integers(0, 3, shape)]
    pick = rng.integers(0, 10, shape)
    return np.where(pick < 5, wide, np.where(pick < 8, small, edge)).astype(port.dtype)


@pytest.fixture
def agree(tmp_path: Path) -> Callable[..., None]:
    """Checks circuits of one source against gcc on random or given inputs.

    Call as `agree(source, {function: circuit}, inputs=..., public=..., count=...)`.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc, the judge, is not installed")

    def check(
        source: str | Path,
        circuits: dict[str, Circuit],
        *,
        inputs: dict[str, Any] | None = None,
        public: dict[str, Any] | None = None,
        count: int = 100,
        seed: int = 0,
    ) -> None:
        text = source.read_text() if isinstance(source, Path) else source
        shims = [_shim(source, c, f, public or {}) for f, c in circuits.items()]
        path = tmp_path / "program.c"
        path.write_text(text + "\n" + "\n".join(shims))
        library = tmp_path / "program.so"
        flags = ["-O1", "-w", "-fwrapv", "-shared", "-fPIC"]
        flags += ["-fvisibility=protected", "-Wl,-Bsymbolic"]  # not libc's `step`
        if isinstance(source, Path):
            flags.append(f"-I{source.parent}")
        subprocess.run([gcc, *flags, path, "-o", library], check=True)
        loaded = ctypes.CDLL(str(library))
        for function, circuit in circuits.items():
            rng = np.random.default_rng(seed)
            ports = circuit.signature.parameters
            values = {p.name: random_values(p, count, rng) for p in ports}
            values |= {k: np.asarray(v) for k, v in (inputs or {}).items()}
            sent = np.concatenate(
                [
                    values[p.name].astype(p.dtype).reshape(count, -1).astype(np.int64)
                    for p in ports
                ],
                axis=1,
            )
            sent = np.ascontiguousarray(sent)
            results = circuit.signature.results
            got = np.zeros((count, sum(p.count for p in results)), np.int64)
            pointer = ctypes.POINTER(ctypes.c_long)
            getattr(loaded, f"shim_{function}")(
                count, sent.ctypes.data_as(pointer), got.ctypes.data_as(pointer)
            )
            found = circuit.simulate(values)
            start = 0
            for port in results:
                wanted = got[:, start : start + port.count].reshape(count, *port.shape)
                start += port.count
                np.testing.assert_array_equal(
                    found[port.name],
                    wanted.astype(port.dtype),
                    err_msg=f"{function}: {port.describe()} differs from gcc",
                )

    return check
