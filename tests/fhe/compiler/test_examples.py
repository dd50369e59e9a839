"""Every program in examples/ computes what gcc's code computes."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fhe import compiler
from fhe.circuit import Circuit

EXAMPLES = Path(__file__).parents[3] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.c"))

rng = np.random.default_rng(7)
PUBLIC: dict[str, dict[str, Any]] = {
    "logistic_regression": {"weights": rng.integers(-99, 99, 8), "bias": -321},
    "digits": {
        "first": rng.integers(-4, 5, (16, 64)),
        "second": rng.integers(-9, 9, (10, 16)),
    },
    "network": {
        "first": rng.integers(-4, 5, (8, 64)),
        "second": rng.integers(-9, 9, (4, 8)),
    },
    "pir": {"database": rng.integers(0, 1 << 16, 64)},
}
INPUTS: dict[str, dict[str, Any]] = {
    "binary_search": {
        "sorted": np.sort(rng.integers(0, 40, (100, 16)), axis=1),
        "key": rng.integers(0, 40, 100),
    },
    "calculator": {"operator": np.frombuffer(b"+-x*/?" * 20, np.int8)[:100]},
    "edit_distance": {
        "a": rng.integers(97, 100, (100, 8)),
        "b": rng.integers(97, 100, (100, 8)),
    },
    "string_search": {
        "text": rng.integers(97, 99, (100, 32)),
        "pattern": rng.integers(97, 99, (100, 4)),
    },
    "fibonacci": {"n": np.arange(100) % 30},
}


LONG = ("matmul8", "sobel")  # 190,000 gates; sobel_small stands in


@functools.cache
def compiled(name: str) -> Circuit:
    return compiler.compile(EXAMPLES / f"{name}.c", public=PUBLIC.get(name))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] * (n in LONG)) for n in PROGRAMS]
)
def test_example_agrees_with_gcc(agree: Callable[..., None], name: str) -> None:
    path = EXAMPLES / f"{name}.c"
    public = PUBLIC.get(name)
    tree = compiler.parse(path)
    circuit = compiled(name)
    function = next(
        item.decl.name for item in reversed(tree.ext) if hasattr(item, "body")
    )
    agree(path, {function: circuit}, public=public, inputs=INPUTS.get(name))


def test_aes_vector_of_fips_197() -> None:
    circuit = compiled("aes128")
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    cipher = circuit.simulate({"key": key, "plain": plain})["cipher"]
    assert cipher.tobytes().hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    assert circuit.num_bootstraps < 34_576  # the Bristol netlist's gates


def test_crc32_check_value() -> None:
    source = (EXAMPLES / "crc32.c").read_text().replace("BYTES 8", "BYTES 9")
    circuit = compiler.compile(source)
    assert circuit.simulate([b"123456789"])["return"] == 0xCBF43926


def test_tea_vector() -> None:
    # All-zero key and block, as in Wheeler and Needham's test.
    circuit = compiled("tea")
    block = circuit.simulate({"block": [0, 0], "key": [0, 0, 0, 0]})["block"]
    assert [hex(x) for x in block] == ["0x41ea3a0a", "0x94baa940"]
