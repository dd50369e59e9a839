r"""Measures encrypted gates a second, per polynomial product and batch size.

Every batch is a mixture of all gates on random encrypted bits, bootstrapped as one
level, decrypted and compared. Example, on a GPU:

    python -m launch.bench_fhe --methods=fused,fft32,int8 --batch_sizes=1,512,4096

Expected: a row a method and batch size, 1 to 10 s each beside compiling; on two CPU
cores use --methods=fft32,fft64 --batch_sizes=1,32,128 (2 minutes). Prints a table and
one JSON line a row, with device, versions, key sizes and key generation time; exits
with status 1 on a wrong bit, or if no row reaches --floor.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from rich.table import Table

from fhe import gates, keys, noise, params, polynomial, security, store, torus
from fhe.batch import level
from launch import common

_PARAMS = flags.DEFINE_enum("params", "R64", sorted(params.NAMED), "parameter set")
_METHODS = flags.DEFINE_list(
    "methods", None, "of fhe.polynomial.METHODS", required=True
)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "32", "128"], "gates at a time")
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls", lower_bound=1)
_FLOOR = flags.DEFINE_float("floor", 0.0, "gates/s that some row must reach")
_OUTPUT = flags.DEFINE_string("output", None, "file that JSON lines are appended to")

_WARM = 0.3
"""Seconds of calls that are not timed."""


def key_facts() -> tuple[keys.ClientKey, keys.ServerKey, dict[str, Any]]:
    """Keys, the time to make them and their sizes in files."""
    chosen = params.named(_PARAMS.value)
    start = time.perf_counter()
    client, server = keys.keygen(chosen, allow_insecure=True)
    seconds = time.perf_counter() - start
    facts: dict[str, Any] = {"params": chosen.name, "keygen_seconds": seconds}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        for name, seeded in (("full", False), ("seeded", True)):
            store.save_server_key(path, server, seeded=seeded)
            facts[f"server_key_{name}_bytes"] = path.stat().st_size
        store.save_client_key(path, client)
        facts["client_key_bytes"] = path.stat().st_size
    facts["security_bits"] = security.estimate(chosen).bits
    worst = noise.failure_probability(chosen, gates.MAJ3)
    facts["log2_failure_maj3"] = float(np.log2(max(worst, 1e-300)))
    return client, server, facts


def measure(
    client: keys.ClientKey, server: keys.ServerKey, method: str, batch: int
) -> dict[str, Any]:
    """Times one level of `batch` gates; the first call compiles."""
    rng = np.random.default_rng(batch)
    kinds = [g for g in gates.GATES.values() if g is not gates.XOR_AND]
    chosen = [kinds[i] for i in rng.integers(len(kinds), size=batch)]
    bits = rng.integers(0, 2, (batch, 3))
    expected = [
        gates.truth_table(g)[int("".join(map(str, row[: len(g.weights)])), 2)]
        for g, row in zip(chosen, bits, strict=True)
    ]
    run = level(server, chosen, keys.encrypt_bits(client, bits), method=method)
    start = time.perf_counter()
    fresh = jax.block_until_ready(run())
    first = time.perf_counter() - start
    start = time.perf_counter()
    while time.perf_counter() - start < _WARM:  # a GPU's clock takes its time
        fresh = jax.block_until_ready(run())
    seconds = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        fresh = jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    phases = keys.phases(client, fresh)
    errors = torus.to_real(phases - torus.encode(np.array(expected)))
    rates = [batch / s for s in seconds]
    return {
        "method": method,
        "batch": batch,
        "gates_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "milliseconds": 1e3 * statistics.median(seconds),
        "first_call_seconds": first,
        "wrong": int((torus.decode(phases) != np.array(expected)).sum()),
        "noise": float(np.sqrt(np.mean(errors**2))),
        "noise_formula": float(np.sqrt(noise.output_variance(server.params))),
    }


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    for name in _METHODS.value:
        polynomial.method(name)  # a wrong name now, not after minutes
    machine = common.machine()
    client, server, facts = key_facts()
    table = Table(title=f"{_PARAMS.value} on {machine['device']}")
    columns = ("method", "batch", "gates/s", "slowest", "fastest", "ms", "first s")
    for name in (*columns, "wrong", "noise", "formula"):
        table.add_column(name, justify="right")
    rows = []
    for name in _METHODS.value:
        for batch in map(int, _BATCH_SIZES.value):
            row = measure(client, server, name, batch)
            rows.append(row)
            line = machine | facts | row
            print(json.dumps(line), flush=True)
            if _OUTPUT.value:
                common.append_json(_OUTPUT.value, line)
            table.add_row(
                name,
                f"{batch}",
                f"{row['gates_per_second']:,.1f}",
                f"{row['slowest']:,.1f}",
                f"{row['fastest']:,.1f}",
                f"{row['milliseconds']:,.1f}",
                f"{row['first_call_seconds']:.1f}",
                f"{row['wrong']}",
                f"{row['noise']:.2e}",
                f"{row['noise_formula']:.2e}",
            )
    common.console.print(table)
    common.console.print(
        f"keys in {facts['keygen_seconds']:.2f} s; server key "
        f"{facts['server_key_full_bytes'] / 1e6:.1f} MB, seeded "
        f"{facts['server_key_seeded_bytes'] / 1e6:.1f} MB; client key "
        f"{facts['client_key_bytes']} bytes"
    )
    if any(row["wrong"] for row in rows):
        raise SystemExit("a gate decrypted to the wrong bit")
    best = max(row["gates_per_second"] for row in rows)
    if best < _FLOOR.value:
        raise SystemExit(f"the best row reached {best:,.0f} gates/s, not the floor")


if __name__ == "__main__":
    app.run(main)
