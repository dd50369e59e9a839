r"""Measures how fast an ensemble on random subsets trains, in models a second.

Trains chunks of networks on random images of the size of Fashion-MNIST, each on its own
70 % of them, evaluates each on all images, and sets the time against two floors of this
machine: the multiplications of the models at the rate of one large matrix product, and
the traffic of weights and momentum (read and written once a step) at the rate of a
large copy. Example:

    python -m launch.bench_memorize --network=mlp --chunks=64,128,256 \
        --batch_sizes=128,512 --models=2000

Chunks are split over all devices, of several hosts too (--coordinator, see
launch.common). Expected: 3 minutes on a GPU, mostly compiling. Prints a table and one
JSON line a row, with the device and versions.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from rich.table import Table

from fidelity import ensemble, models, slim
from fidelity.data import Dataset, make_dataset
from fidelity.train import Config
from launch import common

_NETWORK = flags.DEFINE_string("network", "mlp", "one of fidelity.models.names()")
_EXAMPLES = flags.DEFINE_integer("examples", 60_000, "training images", lower_bound=2)
_TESTS = flags.DEFINE_integer("tests", 10_000, "test images", lower_bound=1)
_IMAGE = flags.DEFINE_integer("image_size", 28, "pixels a side")
_CHANNELS = flags.DEFINE_integer("channels", 1, "of the images")
_EPOCHS = flags.DEFINE_integer("epochs", 10, "of each model", lower_bound=1)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["512"], "examples a step and model")
_CHUNKS = flags.DEFINE_list("chunks", ["128"], "models trained at once")
_REPEATS = flags.DEFINE_integer("repeats", 3, "timed chunks", lower_bound=1)
_MODELS = flags.DEFINE_integer("models", 2000, "ensemble to extrapolate to")
_BFLOAT16 = flags.DEFINE_bool("bfloat16", True, "compute in bfloat16")


def seconds_of(function: Callable[..., Any], *args: Any) -> float:
    """The fastest of five calls, after one that compiles."""
    jax.block_until_ready(function(*args))
    found = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        found.append(time.perf_counter() - start)
    return min(found)


def machine_rates(dtype: Any) -> tuple[float, float]:
    """Operations a second of a large matrix product, bytes a second of a large copy."""
    side = 1024 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    flops = 2 * side**3 / seconds_of(product, x)
    y = jnp.ones((side, side), jnp.float32)
    return flops, 2 * y.nbytes / seconds_of(jax.jit(lambda a: a + 1), y)


def random_set(count: int, seed: int) -> Dataset:
    """Random images of ten classes."""
    rng = np.random.default_rng(seed)
    shape = (count, _IMAGE.value, _IMAGE.value, _CHANNELS.value)
    images = rng.integers(0, 256, shape, np.uint8)
    return make_dataset(images, rng.integers(0, 10, count))


def measure(batch_size: int, chunk: int, rates: tuple[float, float]) -> dict[str, Any]:
    """Trains `repeats + 1` chunks; the first one compiles."""
    dtype = jnp.bfloat16 if _BFLOAT16.value else jnp.float32
    module = models.create(_NETWORK.value, 10, dtype=dtype)
    train, test = random_set(_EXAMPLES.value, 0), random_set(_TESTS.value, 1)
    config = Config(_EPOCHS.value, batch_size, pad=0, flip=False)
    learner = ensemble.network_learner(module, config, train, test)
    seconds: list[float] = []
    ensemble.train_ensemble(
        jax.random.key(0),
        learner,
        train.index,
        test.index,
        chunk * (_REPEATS.value + 1),
        chunk=chunk,
        on_chunk=lambda record: seconds.append(record["seconds"]),
    )
    example = jnp.zeros((1, *train.images.shape[1:]))
    variables = jax.jit(module.init)(jax.random.key(0), example)
    size = ensemble.subset_size(_EXAMPLES.value, 0.7)
    steps = _EPOCHS.value * (size // batch_size)
    passes = 3 * steps * batch_size + _EXAMPLES.value + _TESTS.value
    flops = 2 * slim.count_macs(module.apply, variables, example) * passes
    # Weights and momentum, float32, each read and written once a step.
    traffic = 16 * slim.count_parameters(variables) * steps
    rate = chunk / statistics.median(seconds[1:])
    devices = jax.device_count()
    floors = flops / rates[0] / devices, traffic / rates[1] / devices
    return {
        "network": _NETWORK.value,
        "batch_size": batch_size,
        "chunk": chunk,
        "devices": devices,
        "dtype": jnp.dtype(dtype).name,
        "epochs": _EPOCHS.value,
        "examples": _EXAMPLES.value,
        "models_per_second": rate,
        "slowest": chunk / max(seconds[1:]),
        "fastest": chunk / min(seconds[1:]),
        "first_chunk_seconds": seconds[0],
        "models": _MODELS.value,
        "seconds": _MODELS.value / rate,
        "teraflops": flops * rate / 1e12,
        "floor_flops_seconds": _MODELS.value * floors[0],
        "floor_traffic_seconds": _MODELS.value * floors[1],
        "matmul_teraflops": rates[0] / 1e12,
        "copy_gigabytes_per_second": rates[1] / 1e9,
    }


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup(hosts=True)
    machine = common.machine()
    rates = machine_rates(jnp.bfloat16 if _BFLOAT16.value else jnp.float32)
    title = f"{_NETWORK.value}, {_EXAMPLES.value:,} examples, {_EPOCHS.value} epochs"
    table = Table(title=f"{title}, on {machine['device']}")
    for name in (
        "batch",
        "chunk",
        "models/s",
        f"s for {_MODELS.value:,}",
        "floor: products s",
        "floor: traffic s",
        "TFLOP/s",
        "first chunk s",
    ):
        table.add_column(name, justify="right")
    rows = []
    for batch_size in map(int, _BATCH_SIZES.value):
        for chunk in map(int, _CHUNKS.value):
            row = measure(batch_size, chunk, rates)
            rows.append(row)
            table.add_row(
                f"{batch_size}",
                f"{chunk}",
                f"{row['models_per_second']:.2f}",
                f"{row['seconds']:.1f}",
                f"{row['floor_flops_seconds']:.1f}",
                f"{row['floor_traffic_seconds']:.1f}",
                f"{row['teraflops']:.2f}",
                f"{row['first_chunk_seconds']:.1f}",
            )
    common.console.print(table)
    for row in rows if common.is_first() else ():
        print(json.dumps(machine | row))


if __name__ == "__main__":
    app.run(main)
