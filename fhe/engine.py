"""The compiled pieces of an evaluation, and how levels are cut into batches.

Reading wires, bootstrapping and writing are programs of their own: the bootstrap, slow
to compile, depends on the batch size alone and serves every circuit. Over several
devices each piece is a `pmap`; a batch's gates are split, and gathered once. Where the
devices belong to several processes, each makes the same calls with its own share.
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fhe import lwe, polynomial
from fhe.bootstrap import EvaluationKey, bootstrap_sign, prepare_key
from fhe.keys import ServerKey
from fhe.params import Params
from fhe.torus import Array

FEW = 32
"""Ciphertexts that a GPU bootstraps sooner than fewer, if they share the key.

They fetch it for one another, and matrix units switch their keys.
"""

Devices = tuple[jax.Device, ...]
T = TypeVar("T")


class Chunk(NamedTuple):
    """Gates `[start, stop)`, bootstrapped as a batch of at least as many."""

    start: int
    stop: int
    size: int


def split_level(
    start: int,
    stop: int,
    largest: int,
    smallest: int,
    devices: int = 1,
    *,
    full: int = 1,
) -> list[Chunk]:
    """Cuts a level into batches of a power of two gates a device.

    A batch is more than three quarters full unless it is small: then it takes a device
    less time than two of half its size.

    Args:
        start: first gate.
        stop: one past the last gate.
        largest: limit of a device's batch, a power of two.
        smallest: size under which a device saves no time, a power of two.
        devices: how many share a batch.
        full: size up to which a device is not filled by half of it.

    Example:
        >>> [chunk.size for chunk in split_level(0, 150, 4096, 128)]
        [128, 128]
        >>> [chunk.size for chunk in split_level(0, 150, 4096, 128, full=512)]
        [256]
    """
    chunks = []
    while start < stop:
        left = -(-(stop - start) // devices)
        # The next power of two, or the one below where that wastes a quarter or more.
        size = min(largest, 1 << (max(left, smallest) - 1).bit_length())
        if size > max(smallest, full) and 4 * left <= 3 * size:
            size //= 2
        size *= devices
        chunks.append(Chunk(start, min(start + size, stop), size))
        start = chunks[-1].stop
    return chunks


def split_levels(
    starts: Array,
    largest: int,
    smallest: int,
    devices: int = 1,
    *,
    full: int = 1,
) -> list[Chunk]:
    """`split_level` of each of a circuit's levels, given `Circuit.level_starts`."""
    return [
        chunk
        for start, stop in itertools.pairwise(np.asarray(starts).tolist())
        for chunk in split_level(start, stop, largest, smallest, devices, full=full)
    ]


def usual_batches(platform: str, params: Params) -> tuple[int, int]:
    """What `split_levels` takes as smallest and full (measured on an H100).

    Args:
        platform: `jax.Device.platform`.
        params: see `fhe.params`.
    """
    if platform == "cpu":
        return 8, 8
    return (16, 16) if params.unrolled > 1 else (128, 512)


class Engine(NamedTuple):
    """Compiled pieces for one method and one set of devices."""

    begin: Callable[..., jax.Array]  # inputs, rows -> wires
    read: Callable[..., jax.Array]  # wires, operands, weights, offset -> phases
    bootstrap: Callable[..., jax.Array]  # phases, key -> fresh
    write: Callable[..., jax.Array]  # wires, fresh, row -> wires


def places(devices: Devices) -> list[int]:
    """Which of the devices are this process's: all of them, on one host."""
    here = jax.process_index()
    return [i for i, d in enumerate(devices) if d.process_index == here]


def _replicate(tree: T, devices: Devices) -> T:
    """A copy on every device, along a new leading axis."""
    copy = jax.pmap(lambda _, value: value, in_axes=(0, None), devices=devices)
    return copy(jnp.arange(len(places(devices))), tree)


def _begin(inputs: jax.Array, rows: int) -> jax.Array:
    return jnp.pad(inputs, ((0, rows - inputs.shape[0]), (0, 0)))


def _read(
    wires: jax.Array, operands: jax.Array, weights: jax.Array, offset: jax.Array
) -> jax.Array:
    return jax.vmap(lwe.combine)(wires[operands], weights, offset)


def _write(wires: jax.Array, fresh: jax.Array, row: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice(wires, fresh, (row, jnp.int32(0)))


@functools.lru_cache(maxsize=8)
def make_engine(params: Params, method: str, devices: Devices | None) -> Engine:
    """Compiles, as they are called, the pieces for one device or several."""
    gpu = (devices or jax.devices())[0].platform == "gpu"
    least = FEW if gpu and method == "fused" and params.unrolled == 1 else 1

    def bootstrap(phases: jax.Array, key: EvaluationKey) -> jax.Array:
        one = functools.partial(
            bootstrap_sign, params=params, method=polynomial.method(method)
        )
        size = phases.shape[0]
        phases = jnp.pad(phases, ((0, max(0, least - size)), (0, 0)))
        fresh = jax.vmap(one, in_axes=(0, None))(phases, key)[:size]
        if devices is not None:
            # The one exchange of a level; every device then writes the same wires.
            fresh = jax.lax.all_gather(fresh, "devices", tiled=True)
        return fresh

    if devices is None:
        return Engine(
            jax.jit(_begin, static_argnums=1),
            jax.jit(_read),
            jax.jit(bootstrap),
            jax.jit(_write, donate_argnums=0),  # in place: wires may fill the memory
        )
    over = functools.partial(jax.pmap, axis_name="devices", devices=devices)
    return Engine(
        lambda inputs, rows: _replicate(_begin(inputs, rows), devices),
        over(_read),
        over(bootstrap),
        over(_write, in_axes=(0, 0, None), donate_argnums=0),
    )


@functools.lru_cache(maxsize=2)
def device_key(
    server: ServerKey, method: str, devices: Devices | None
) -> EvaluationKey:
    """A server key in a method's form, on every device; the last two are kept."""
    with polynomial.precision(method):
        key = prepare_key(
            server.bootstrapping,
            server.switching,
            server.params,
            polynomial.method(method),
        )
        return key if devices is None else _replicate(key, devices)
