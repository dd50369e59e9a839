"""What a program will cost: bootstraps, levels, seconds, security, failure."""

import functools
import statistics
import time
from typing import NamedTuple

import jax
import numpy as np

from fhe import batch, gates, lwe, noise, security, torus
from fhe.circuit import Circuit
from fhe.engine import split_levels
from fhe.keys import ServerKey
from fhe.params import Params


class Rates(NamedTuple):
    """Speed of one device."""

    latency: float  # seconds of a level, however few its gates
    throughput: float  # gates a second of a wide level


class Link(NamedTuple):
    """Speed of what devices exchange; the default is NVLink 4 as all-gathers see it."""

    latency: float = 30e-6  # seconds of an exchange, however little
    bandwidth: float = 200e9  # bytes a second that a device receives


class Report(NamedTuple):
    """What `report` finds."""

    bootstraps: int
    kinds: dict[str, int]  # bootstraps by kind of gate
    levels: int
    widths: np.ndarray  # gates of each level, int [L]
    seconds: float | None  # estimate; None without rates
    latency_bound: float | None  # share of it spent in levels too narrow to fill it
    security_bits: float
    failure: float  # probability that any output bit is wrong


def seconds(circuit: Circuit, rates: Rates) -> float:
    """Estimated seconds: the sum over levels of max(latency, width / throughput)."""
    return float(np.maximum(rates.latency, circuit.widths / rates.throughput).sum())


def shared_seconds(
    circuit: Circuit,
    params: Params,
    rates: Rates,
    devices: int,
    link: Link,
    *,
    batches: tuple[int, int] = (256, 4096),
    full: int = 1,
) -> tuple[float, float]:
    """Estimated seconds on devices that share every level, batch by batch.

    A batch takes `max(latency, size / throughput)` of its device, filling included, and
    its gates are then exchanged.

    Args:
        circuit: the program.
        params: see `fhe.params`.
        rates: of one device, from `measure_rates`.
        devices: how many.
        link: between them.
        batches: smallest and largest of a device, as `evaluate` cuts levels.
        full: see `engine.split_level`.

    Returns:
        Seconds in all, and those of the exchange among them.

    Example:
        >>> from fhe import R64, compile
        >>> circuit = compile("int add(int a, int b) { return a + b; }")
        >>> rates, link = Rates(latency=1e-3, throughput=1e3), Link()
        >>> one, _ = shared_seconds(circuit, R64, rates, 1, link, batches=(1, 64))
        >>> two, _ = shared_seconds(circuit, R64, rates, 2, link, batches=(1, 64))
        >>> 1.5 < one / two < 2
        True
    """
    smallest, largest = batches
    chunks = split_levels(circuit.level_starts, largest, smallest, devices, full=full)
    sizes = np.array([chunk.size // devices for chunk in chunks])
    alone = float(np.maximum(rates.latency, sizes / rates.throughput).sum())
    if devices == 1:
        return alone, 0.0
    received = 4 * (params.ciphertext_dimension + 1) * (devices - 1) * sizes.sum()
    sent = float(len(sizes) * link.latency + received / link.bandwidth)
    return alone + sent, sent


def latency_bound(circuit: Circuit, rates: Rates) -> float:
    """Share of the estimated time spent in levels that the latency decides."""
    narrow = circuit.widths < rates.latency * rates.throughput
    total = seconds(circuit, rates)
    return float(narrow.sum() * rates.latency / total) if total else 0.0


def report(circuit: Circuit, params: Params, rates: Rates | None = None) -> Report:
    """The compile report of a program under a parameter set.

    Args:
        circuit: the program.
        params: see `fhe.params`.
        rates: of the device, from `measure_rates`.

    Example:
        >>> from fhe import R64, compile
        >>> circuit = compile("int add(int a, int b) { return a + b; }")
        >>> found = report(circuit, R64, Rates(latency=4e-3, throughput=60e3))
        >>> found.security_bits, found.failure < 2**-57, round(found.seconds, 3)
        (128.5, True, 0.028)
    """
    return Report(
        bootstraps=circuit.num_bootstraps,
        kinds=circuit.counts,
        levels=circuit.depth,
        widths=circuit.widths,
        seconds=seconds(circuit, rates) if rates else None,
        latency_bound=latency_bound(circuit, rates) if rates else None,
        security_bits=security.estimate(params).bits,
        failure=noise.program_failure(params, circuit.weights, circuit.offset),
    )


def check_gates(circuit: Circuit, params: Params, limit: float = 2.0**-40) -> None:
    """Refuses a program that would often fail under a parameter set.

    Raises:
        ValueError: the program's failure probability is above `limit`.
    """
    failure = noise.program_failure(params, circuit.weights, circuit.offset)
    if failure > limit:
        ax = "ax3" in circuit.counts
        remedy = "a^(b&c) gates need R64x" if ax else "choose a set with less noise"
        raise ValueError(
            f"under {params.name} this program fails with probability {failure:.1e}, "
            f"above {limit:.1e}: {remedy}"
        )


def measure_rates(
    server: ServerKey,
    *,
    method: str | None = None,
    narrow: int | None = None,
    wide: int | None = None,
    repeats: int = 3,
) -> Rates:
    """Times a narrow and a wide level on the default device; seconds to run.

    Args:
        server: the server key.
        method: one of `fhe.polynomial.METHODS`; by default the device's.
        narrow: gates of the narrow level; by default 8 on a CPU and 256 elsewhere.
        wide: gates of the wide level; by default 64 on a CPU and 4096 elsewhere.
        repeats: calls of which the median counts.
    """
    on_cpu = jax.devices()[0].platform == "cpu"
    time_of = functools.partial(_time, server, method=method, repeats=repeats)
    wide = wide or (64 if on_cpu else 4096)
    return Rates(time_of(narrow or (8 if on_cpu else 256)), wide / time_of(wide))


def _time(server: ServerKey, size: int, method: str | None, repeats: int) -> float:
    # A trivial ciphertext takes as long as a real one.
    bits = np.zeros((size, 3), bool)
    wires = lwe.trivial(torus.encode(bits), server.params.ciphertext_dimension)
    run = batch.level(server, [gates.NAND] * size, wires, method=method)
    jax.block_until_ready(run())
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - start)
    return statistics.median(found)
