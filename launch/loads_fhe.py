"""What is measured of `fhe` over several devices: programs, and an estimate."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.table import Table

import fhe
from fhe import cost, keys, params
from fhe.circuit import random_inputs
from fhe.engine import split_levels, usual_batches
from launch.scaling import Devices, Load, Row, Work, places, seconds_of


@functools.cache
def made_keys(name: str) -> tuple[fhe.ClientKey, fhe.ServerKey]:
    """Keys for measuring: the same in every process, so they keep no secret."""
    chosen = params.named(name)
    return keys.keygen(chosen, allow_insecure=True, insecure_test_seed=0)


def load(path: str) -> fhe.Circuit:
    """A program: C, or a netlist."""
    is_c = path.endswith(".c")
    return fhe.compile(Path(path)) if is_c else fhe.formats.read(path)


def program(
    path: str,
    kind: str,
    params_name: str,
    method: str | None,
    batches: tuple[int, int],
) -> Load:
    """Bootstraps a second of one program, levels split over devices.

    Strong scaling shares one evaluation; weak scaling evaluates the program on as many
    inputs as there are devices, side by side.

    Args:
        path: of the program.
        kind: "wide" or "narrow", for the name.
        params_name: of `fhe.params`.
        method: polynomial product; by default the fastest for each batch.
        batches: smallest and largest of one device.
    """
    client, server = made_keys(params_name)
    once = load(path)

    def make(devices: Devices, copies: int) -> Work:
        circuit = once if copies == 1 else fhe.side_by_side(once, copies)
        inputs = random_inputs(circuit, np.random.default_rng(0))
        ciphertexts = keys.encrypt_bits(
            client, circuit.pack(inputs), insecure_test_seed=1
        )
        outputs: Any = None

        def call() -> jax.Array:
            nonlocal outputs
            outputs = fhe.evaluate(
                circuit,
                server,
                ciphertexts,
                method=method,
                min_batch=batches[0],
                max_batch=batches[1],
                devices=devices if len(devices) > 1 else None,
            )
            return jax.block_until_ready(outputs)

        def check() -> None:
            found, want = client.decrypt(circuit, outputs), circuit.simulate(inputs)
            wrong = [
                name for name in want if not np.array_equal(found[name], want[name])
            ]
            if wrong:
                raise ValueError(f"{path} decrypted to wrong values of {wrong}")

        exchange = None
        if len(devices) > 1:
            exchange = gathers(circuit, server.params, devices, batches)
        return Work(call, circuit.num_bootstraps, exchange, check)

    return Load(f"{Path(path).name} ({kind})", "gates", 1, make)


def gathers(
    circuit: fhe.Circuit, chosen: fhe.Params, devices: Devices, batches: tuple[int, int]
) -> Callable[[], Any]:
    """What devices exchange in an evaluation, and nothing else."""
    _, full = usual_batches(devices[0].platform, chosen)
    smallest, largest = batches
    width = len(devices)
    cut = split_levels(circuit.level_starts, largest, smallest, width, full=full)
    chunks = [chunk.size // width for chunk in cut]
    gather = jax.pmap(
        lambda x: jax.lax.all_gather(x, "devices", tiled=True),
        "devices",
        devices=devices,
    )
    fill = jax.pmap(
        lambda _, size: jax.numpy.zeros(
            (size, chosen.ciphertext_dimension + 1), np.uint32
        ),
        static_broadcasted_argnums=1,
        devices=devices,
    )
    zeros = {size: fill(places(devices), size) for size in set(chunks)}

    def call() -> None:
        for size in chunks:
            jax.block_until_ready(gather(zeros[size]))

    return call


def measure_link(chosen: fhe.Params, devices: Devices, repeats: int) -> fhe.cost.Link:
    """Latency and bandwidth of all-gathers of ciphertexts between devices."""
    gather = jax.pmap(
        lambda x: jax.lax.all_gather(x, "devices", tiled=True),
        "devices",
        devices=devices,
    )
    found = []
    sizes = 1, 4096
    for size in sizes:
        shape = len(places(devices)), size, chosen.ciphertext_dimension + 1
        one = gather(np.zeros(shape, np.uint32))[:, :size]
        call = functools.partial(lambda x: jax.block_until_ready(gather(x)), one)
        found.append(min(seconds_of(call, repeats)[1]))
    received = 4 * (sizes[1] - sizes[0]) * shape[-1] * (len(devices) - 1)
    return cost.Link(found[0], received / max(found[1] - found[0], 1e-9))


def model(
    paths: dict[str, str],
    params_name: str,
    method: str | None,
    counts: tuple[int, ...],
    link: cost.Link,
    batches: tuple[int, int],
) -> tuple[list[Row], Table]:
    """What programs should cost on so many devices of this kind.

    Args:
        paths: programs by kind.
        params_name: of `fhe.params`.
        method: polynomial product.
        counts: numbers of devices.
        link: between them.
        batches: smallest and largest of one device.

    Returns:
        A row a program and number, and a table.
    """
    _, server = made_keys(params_name)
    rates = fhe.measure_rates(server, method=method)
    _, full = usual_batches(jax.devices()[0].platform, server.params)
    title = (
        f"estimate: a level takes {1e3 * rates.latency:.3g} ms or its gates at "
        f"{rates.throughput:,.0f}/s a device; an exchange {1e6 * link.latency:.3g} us, "
        f"{link.bandwidth / 1e9:.3g} GB/s"
    )
    table = Table(title=title)
    table.add_column("program")
    for name in ("inputs", "devices", "seconds", "speed-up", "communication"):
        table.add_column(name, justify="right")
    rows = []
    for path, copies in itertools.product(paths.values(), (1, max(counts))):
        circuit = load(path)
        wide = circuit if copies == 1 else fhe.side_by_side(circuit, copies)
        seconds_on = functools.partial(
            cost.shared_seconds,
            *(wide, server.params, rates),
            link=link,
            batches=batches,
            full=full,
        )
        one, _ = seconds_on(1)
        for count in counts:
            seconds, sent = seconds_on(count)
            sent /= seconds
            row = {
                "program": Path(path).name,
                "inputs": copies,
                "devices": count,
                "estimated_seconds": seconds,
                "estimated_speedup": one / seconds,
                "estimated_communication": sent,
            }
            rows.append(row | rates._asdict() | {"link": link._asdict()})
            table.add_row(
                Path(path).name,
                f"{copies}",
                f"{count}",
                f"{seconds:.3g}",
                f"{one / seconds:.2f}",
                f"{sent:.2%}",
            )
    return rows, table
