r"""Measures training and re-training speed, in examples a second.

Trains one network on random images: as a reference (cross-entropy), and as a compressed
network (pruning masks, int8 weights and a preservation loss against the reference).
Every step augments its images, and one call is a scan over --steps steps, as in real
runs. Example:

    python -m launch.bench_fidelity --network=resnet18 --batch_sizes=128,512,1024

Expected: 2 minutes on a GPU, mostly compiling. Prints a table and one JSON line a row,
with the device and versions, and exits with status 1 if the fastest reference training
is below --floor.
"""

import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from rich.table import Table

from fidelity import models, prune, quantize, slim
from fidelity.scheme import Scheme, chain
from fidelity.train import Config, Trainer, Variables, make_trainer
from fidelity.weighting import fixed
from launch import common

_NETWORK = flags.DEFINE_string("network", "resnet18", "one of fidelity.models.names()")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["128", "512", "1024"], "examples")
_STEPS = flags.DEFINE_integer("steps", 40, "steps in one timed call", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls", lower_bound=1)
_IMAGE = flags.DEFINE_integer("image_size", 32, "pixels a side")
_BFLOAT16 = flags.DEFINE_bool("bfloat16", True, "compute in bfloat16")
_FLOOR = flags.DEFINE_float("floor", 0.0, "examples/s that training must reach")


def measure(
    trainer: Trainer,
    batch_size: int,
    reference: Variables | None,
    *,
    variables: Variables | None = None,
) -> dict[str, Any]:
    """Times `trainer.steps` over random images; the first call compiles."""
    rng = np.random.default_rng(0)
    count, side = batch_size * _STEPS.value, _IMAGE.value
    images = rng.integers(0, 256, (count, side, side, 3), np.uint8)
    data = jnp.asarray(images), jnp.asarray(rng.integers(0, 10, count, np.int32))
    state = trainer.init(jax.random.key(0), variables)
    seconds = []
    for _ in range(_REPEATS.value + 2):
        state, order = trainer.shuffle(state, count)
        jax.block_until_ready(state)
        start = time.perf_counter()
        state, metrics = trainer.steps(state, *data, order, reference)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - start)
    rates = [count / s for s in seconds[2:]]
    return {
        "examples_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "step_milliseconds": 1e3 * statistics.median(seconds[2:]) / _STEPS.value,
        "first_call_seconds": seconds[0],
    }


def rows() -> list[dict[str, Any]]:
    """One row for each batch size and kind of training."""
    dtype = jnp.bfloat16 if _BFLOAT16.value else jnp.float32
    module = models.create(_NETWORK.value, 10, dtype=dtype)
    shape = (_IMAGE.value, _IMAGE.value, 3)
    example = jnp.zeros((1, *shape))
    reference = jax.jit(module.init)(jax.random.key(1), example)
    macs = slim.count_macs(module.apply, reference, example)
    compressed = chain(prune.prune(0.8), quantize.weights(quantize.Grid(8)))
    kinds: dict[str, tuple[tuple[str, ...], Scheme | None]] = {
        "train": (("ce",), None),
        "re-train": (("ce", "kd"), compressed),
    }
    found = []
    for batch_size in map(int, _BATCH_SIZES.value):
        for kind, (terms, scheme) in kinds.items():
            trainer = make_trainer(
                module,
                Config(batch_size=batch_size),
                num_examples=50_000,
                image_shape=shape,
                mean=np.full(3, 0.5),
                std=np.full(3, 0.25),
                terms=terms,
                weighting=fixed((1.0,) * len(terms)),
                scheme=scheme,
            )
            teacher = reference if scheme else None
            row = measure(trainer, batch_size, teacher, variables=reference)
            # Forward and backward are three forward passes; the reference adds one.
            passes = 4 if scheme else 3
            flops = 2 * macs * passes * row["examples_per_second"]
            row = {
                "network": _NETWORK.value,
                "kind": kind,
                "batch_size": batch_size,
                "dtype": jnp.dtype(dtype).name,
                **row,
                "teraflops": flops / 1e12,
            }
            found.append(row)
    return found


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    machine = common.machine()
    table = Table(title=f"{_NETWORK.value} on {machine['device']}")
    for name in ("kind", "batch", "examples/s", "ms a step", "TFLOP/s", "first call s"):
        table.add_column(name, justify="right")
    found = rows()
    for row in found:
        table.add_row(
            row["kind"],
            f"{row['batch_size']}",
            f"{row['examples_per_second']:,.0f}",
            f"{row['step_milliseconds']:.2f}",
            f"{row['teraflops']:.1f}",
            f"{row['first_call_seconds']:.1f}",
        )
    common.console.print(table)
    for row in found:
        print(json.dumps(machine | row))
    best = max(r["examples_per_second"] for r in found if r["kind"] == "train")
    if best < _FLOOR.value:
        raise SystemExit(f"training reached {best:,.0f} examples/s, not the floor")


if __name__ == "__main__":
    app.run(main)
