r"""Measures whole C programs on encrypted data.

Each program runs once on random inputs to compile its batches, then again to be timed,
and its decrypted results are compared with the same program in the clear. Example:

    python -m launch.bench_programs --programs=examples/add.c,examples/aes128.c

Expected: on a GPU a minute of compiling, then seconds a program; on two CPU cores 40
gates a second. Prints a table and one JSON line a program, with device and versions;
exits with status 1 if a result is wrong.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from rich.table import Table

import fhe
from fhe.circuit import random_inputs
from launch import common

_PROGRAMS = flags.DEFINE_list(
    "programs", ["examples/add.c", "examples/sigmoid.c"], "C files or netlists"
)
_METHOD = flags.DEFINE_string("method", None, "polynomial product, see bench_fhe")
_DEVICES = flags.DEFINE_integer("devices", 1, "split levels over so many devices")
_OUTPUT = flags.DEFINE_string("output", None, "also append JSON lines to this file")


def load(path: str) -> tuple[fhe.Circuit, float]:
    """A program as a circuit, and the seconds that compiling took."""
    start = time.perf_counter()
    is_c = path.endswith(".c")
    circuit = fhe.compile(Path(path)) if is_c else fhe.formats.read(path)
    return circuit, time.perf_counter() - start


def measure(
    path: str, client: fhe.ClientKey, server: fhe.ServerKey, rates: fhe.Rates
) -> dict[str, Any]:
    """One program, evaluated twice."""
    circuit, compiled = load(path)
    inputs = random_inputs(circuit, np.random.default_rng(0))
    ciphertexts = client.encrypt(circuit, inputs)
    devices = jax.devices()[: _DEVICES.value] if _DEVICES.value > 1 else None
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        outputs = fhe.evaluate(
            circuit, server, ciphertexts, method=_METHOD.value, devices=devices
        )
        jax.block_until_ready(outputs)
        seconds.append(time.perf_counter() - start)
    results, expected = client.decrypt(circuit, outputs), circuit.simulate(inputs)
    costs = fhe.report(circuit, server.params, rates)
    return {
        "program": path,
        "bootstraps": costs.bootstraps,
        "levels": costs.levels,
        "compile_seconds": compiled,
        "first_seconds": seconds[0],
        "seconds": seconds[1],
        "gates_per_second": costs.bootstraps / seconds[1],
        "latency_bound": costs.latency_bound,
        "log2_failure": float(np.log2(max(costs.failure, 1e-300))),
        "right": all(np.array_equal(results[k], expected[k]) for k in expected),
    }


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    machine = common.machine()
    client, server = fhe.keygen()
    rates = fhe.measure_rates(server, method=_METHOD.value)
    table = Table(title=f"R64 on {machine['device']}")
    names = ("program", "gates", "levels", "compiled s", "seconds", "gates/s")
    for name in (*names, "latency-bound", "failure", "right"):
        table.add_column(name, justify="right" if name != "program" else "left")
    wrong = []
    for path in _PROGRAMS.value:
        row = measure(path, client, server, rates)
        line = machine | {"devices": _DEVICES.value} | row
        print(json.dumps(line), flush=True)
        if _OUTPUT.value:
            common.append_json(_OUTPUT.value, line)
        table.add_row(
            Path(path).name,
            f"{row['bootstraps']:,}",
            f"{row['levels']:,}",
            f"{row['compile_seconds']:.1f}",
            f"{row['seconds']:.2f}",
            f"{row['gates_per_second']:,.0f}",
            f"{row['latency_bound']:.0%}",
            f"2^{row['log2_failure']:.0f}",
            "yes" if row["right"] else "NO",
        )
        wrong += [path] * (not row["right"])
    common.console.print(table)
    if wrong:
        raise SystemExit(f"wrong results: {', '.join(wrong)}")


if __name__ == "__main__":
    app.run(main)
