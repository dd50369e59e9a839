"""Encrypted evaluation of circuits, a level at a time.

Gates of a level do not read one another, so each level is one batched bootstrap; gates
of different kinds share it, because weights are data. Batches are powers of two, so
that XLA compiles a handful of programs, and no more for the next circuit.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fhe import container, lwe, polynomial, torus
from fhe.circuit import Circuit
from fhe.engine import (
    Chunk,
    Devices,
    device_key,
    make_engine,
    places,
    split_levels,
    usual_batches,
)
from fhe.keys import ServerKey, check_ciphertexts
from fhe.torus import Array

Progress = Callable[[int, int], None]  # gates done, gates in all


class _Checkpoint:
    """A file of the wires computed so far, bound to circuit, key and inputs."""

    def __init__(
        self,
        path: str | Path,
        seconds: float,
        circuit: Circuit,
        server: ServerKey,
        inputs: np.ndarray,
    ) -> None:
        self._path, self._seconds, self._written = Path(path), seconds, time.monotonic()
        digest = hashlib.sha256()
        lists = circuit.operands, circuit.weights, circuit.offset, circuit.level_starts
        for array in (*lists, inputs):
            digest.update(np.ascontiguousarray(array).tobytes())
        self._facts = {"key": server.name, "digest": digest.hexdigest()}

    def load(self) -> tuple[int, np.ndarray] | None:
        """Gates done and wires, if there is a file."""
        if not self._path.exists():
            return None
        facts, arrays = container.load(self._path, "checkpoint")
        done = facts.pop("done")
        if facts != self._facts:
            raise ValueError(
                f"{self._path} is the checkpoint of another circuit, key or input; "
                "remove it"
            )
        return done, arrays["wires"]

    def save(self, done: int, wires: jax.Array) -> None:
        """Writes wires of `done` gates, unless the last write is too recent."""
        recent = time.monotonic() - self._written < self._seconds
        if recent or jax.process_index():
            return
        arrays = {"wires": np.asarray(wires)}
        container.save(self._path, "checkpoint", self._facts | {"done": done}, arrays)
        self._written = time.monotonic()

    def remove(self) -> None:
        """At the end."""
        if not jax.process_index():
            self._path.unlink(missing_ok=True)


def evaluate(
    circuit: Circuit,
    server: ServerKey,
    ciphertexts: Array,
    *,
    method: str | None = None,
    max_batch: int = 4096,
    min_batch: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 300.0,
) -> jax.Array:
    """Evaluates a circuit on encrypted bits.

    Every wire stays on the device, 4.1 KB each with the default parameters.

    Args:
        circuit: gates in levels.
        server: the server key that belongs to the ciphertexts.
        ciphertexts: uint32 `[num_inputs, params.ciphertext_dimension + 1]`.
        method: one of `polynomial.METHODS`; by default the fastest of the device for
            each batch's size.
        max_batch: most gates that a device bootstraps together, a power of two.
        min_batch: batches below this size are filled up, a power of two; by default 8
            on a CPU and 128 elsewhere, 16 for an unrolled set.
        devices: split levels over these; by default the first device does all. Exact
            methods give the same bits whatever the devices and batches. With devices of
            several processes (`jax.distributed`) each of these makes the same call.
        progress: called after every batch with gates done and gates in all.
        checkpoint: file from which an interrupted evaluation resumes; removed at the
            end. Several hosts must share the folder.
        checkpoint_seconds: least time between two writes of it.

    Returns:
        uint32 `[O, params.ciphertext_dimension + 1]`.

    Raises:
        ValueError: the ciphertexts do not fit the circuit or the key, a batch size is
            not a power of two, no device is this process's, or the checkpoint is of
            something else.
    """
    params = server.params
    check_ciphertexts(params, ciphertexts)
    if ciphertexts.shape[:-1] != (circuit.num_inputs,):
        raise ValueError(
            f"the circuit reads {circuit.num_inputs} bits, got ciphertexts "
            f"{list(ciphertexts.shape)}"
        )
    group = tuple(devices) if devices is not None else None
    if group is not None and not places(group):
        raise ValueError(f"none of the devices {list(group)} belongs to this process")
    platform = (group or jax.local_devices())[0].platform
    smallest, full = usual_batches(platform, params)
    if min_batch is None:
        min_batch = min(max_batch, smallest)
    for size in (min_batch, max_batch):
        if size < 1 or size & (size - 1):
            raise ValueError(f"batch sizes must be powers of two, got {size}")
    width = len(group) if group else 1
    chunks = split_levels(circuit.level_starts, max_batch, min_batch, width, full=full)
    inputs, total, done = np.asarray(ciphertexts), len(circuit.offset), 0
    saver = None
    if checkpoint is not None:
        saver = _Checkpoint(checkpoint, checkpoint_seconds, circuit, server, inputs)
        done, inputs = saver.load() or (0, inputs)
    # A batch's filling is written past its gates, and overwritten by the next batch.
    ends = [total, *(chunk.start + chunk.size for chunk in chunks)]
    names = [
        method
        or polynomial.default_method(platform, chunk.size // width, params.unrolled)
        for chunk in chunks
    ]
    engine = make_engine(params, (names or ["exact"])[0], group)
    with polynomial.precision(method or ""):
        wires = engine.begin(inputs, circuit.num_inputs + max(ends))
        for chunk, name in zip(chunks, names, strict=True):
            if chunk.stop <= done:
                continue
            gates = _gates(circuit, chunk, group)
            phases = engine.read(wires, *gates)
            bootstrap = make_engine(params, name, group).bootstrap
            fresh = bootstrap(phases, device_key(server, name, group))
            row = np.int32(circuit.num_inputs + chunk.start)
            wires = engine.write(wires, fresh, row)
            # Without a listener the host runs ahead and the device never waits. Devices
            # of one CPU share threads, and many exchanges at once can block them all.
            if progress is not None or (group is not None and platform == "cpu"):
                jax.block_until_ready(fresh)
            if progress is not None:
                progress(chunk.stop, total)
            if saver is not None:
                one = _first(wires) if group else wires
                saver.save(chunk.stop, one[: circuit.num_inputs + chunk.stop])
        outputs = _outputs(circuit, _first(wires) if group else wires)
    if saver is not None:
        jax.block_until_ready(outputs)
        saver.remove()
    return outputs


def _gates(
    circuit: Circuit, chunk: Chunk, devices: Devices | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Operands, weights and offsets of a chunk, filled up; with devices, a row each."""
    rows = slice(chunk.start, chunk.stop)
    # Zero weights and offset: a filling gate reads wire 0 and means nothing.
    fill = chunk.start + chunk.size - chunk.stop
    operands = np.pad(np.asarray(circuit.operands[rows], np.int32), ((0, fill), (0, 0)))
    weights = np.pad(np.asarray(circuit.weights[rows], np.int8), ((0, fill), (0, 0)))
    offset = np.pad(np.asarray(circuit.offset[rows], np.int8), (0, fill))
    if devices is None:
        return operands, weights, offset
    width, mine = len(devices), places(devices)
    return (
        operands.reshape(width, -1, 3)[mine],
        weights.reshape(width, -1, 3)[mine],
        offset.reshape(width, -1)[mine],
    )


def _first(wires: jax.Array) -> jax.Array:
    """The wires as one device holds them, `[W, ...]`."""
    return wires.addressable_data(0)[0]


def _outputs(circuit: Circuit, wires: jax.Array) -> jax.Array:
    """Output wires, negated or replaced by trivial ciphertexts where asked."""
    negate = jnp.asarray(np.asarray(circuit.output_negate, bool))[:, None]
    constant = np.asarray(circuit.output_constant)
    chosen = wires[np.asarray(circuit.outputs, np.int32)]
    public = lwe.trivial(torus.encode(constant == 1), wires.shape[-1] - 1)
    is_public = jnp.asarray(constant >= 0)[:, None]
    return jnp.where(is_public, public, jnp.where(negate, -chosen, chosen))
