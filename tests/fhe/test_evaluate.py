"""Circuits on encrypted bits, against the same circuits in the clear."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from fhe import bootstrap, engine, gates, keys, params, polynomial
from fhe.circuit import Circuit, Signature
from fhe.evaluate import evaluate


def random_circuit(widths, num_inputs=6, seed=0):
    """Levels of random gates that read any earlier wire; outputs of every kind."""
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    kinds = list(gates.GATES.values())
    operands = np.zeros((starts[-1], 3), np.int32)
    weights = np.zeros((starts[-1], 3), np.int8)
    offset = np.zeros(starts[-1], np.int8)
    for start, stop in itertools.pairwise(starts.tolist()):
        for g in range(start, stop):
            gate = kinds[rng.integers(len(kinds))]
            size = len(gate.weights)
            operands[g, :size] = rng.choice(num_inputs + start, size, replace=False)
            weights[g, :size], offset[g] = gate.weights, gate.offset
    wires = np.arange(num_inputs + starts[-1], dtype=np.int32)
    constant = np.full(wires.size + 2, -1, np.int8)
    constant[-2:] = 0, 1
    return Circuit(
        num_inputs=num_inputs,
        operands=operands,
        weights=weights,
        offset=offset,
        level_starts=starts,
        outputs=np.concatenate([wires, [0, 0]]).astype(np.int32),
        output_negate=rng.integers(0, 2, wires.size + 2).astype(bool),
        output_constant=constant,
        signature=Signature((), ()),
    )


def in_the_clear(circuit, bits):
    wires = [1 if bit else -1 for bit in bits]
    for read, weights, offset in zip(
        circuit.operands, circuit.weights.tolist(), circuit.offset.tolist(), strict=True
    ):
        total = offset + sum(w * wires[i] for w, i in zip(weights, read, strict=True))
        wires.append(1 if total % 8 in (1, 2, 3) else -1)
    found = []
    for wire, negate, constant in zip(
        circuit.outputs, circuit.output_negate, circuit.output_constant, strict=True
    ):
        value = bool((wires[wire] > 0) != negate)
        found.append(value if constant < 0 else bool(constant))
    return np.array(found)


BITS = np.array([0, 1, 1, 0, 1, 0])


@pytest.mark.parametrize("order", ["ks-pbs", "pbs-ks"])
@pytest.mark.parametrize("widths", [[1], [5, 1, 9], [40, 3, 20, 1]])
def test_random_circuits(widths, order):
    sizes = dataclasses.replace(params.TOY, order=order)
    client, server = keys.keygen(sizes, allow_insecure=True, insecure_test_seed=7)
    circuit = random_circuit(widths)
    inputs = keys.encrypt_bits(client, BITS)
    found = evaluate(circuit, server, inputs, max_batch=16, min_batch=4)
    want = in_the_clear(circuit, BITS)
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), want)


def adder(bits):
    """A ripple of full adders: two gates a bit, XOR3 and MAJ3."""
    operands, weights, offset, sums = [], [], [], []
    carry = None
    for i in range(bits):
        wire = 2 * bits + len(operands)
        if carry is None:
            rows = [([i, bits + i, 0], [2, 2, 0], 2), ([i, bits + i, 0], [1, 1, 0], -1)]
        else:
            read = [i, bits + i, carry]
            rows = [(read, [-2, -2, -2], 0), (read, [1, 1, 1], 0)]
        for read, weight, off in rows:
            operands.append(read)
            weights.append(weight)
            offset.append(off)
        sums.append(wire)
        carry = wire + 1
    count = bits + 1
    return Circuit(
        num_inputs=2 * bits,
        operands=np.array(operands, np.int32),
        weights=np.array(weights, np.int8),
        offset=np.array(offset, np.int8),
        level_starts=np.arange(0, 2 * bits + 1, 2, dtype=np.int32),
        outputs=np.array([*sums, carry], np.int32),
        output_negate=np.zeros(count, bool),
        output_constant=np.full(count, -1, np.int8),
        signature=Signature((), ()),
    )


def to_bits(value, count):
    return [value >> i & 1 for i in range(count)]


def test_adder_with_the_default_set(r64):
    client, server = r64
    inputs = keys.encrypt_bits(client, to_bits(0b1011, 4) + to_bits(0b0111, 4))
    found = evaluate(adder(4), server, inputs)
    bits = keys.decrypt_bits(client, found)
    assert sum(int(b) << i for i, b in enumerate(bits)) == 0b1011 + 0b0111


@pytest.mark.parametrize("method", ["fft32", "fft64", "int8"])
def test_two_devices_equal_one(method, toy):
    """Bit for bit with an exact method; float32 sums may be compiled differently."""
    client, server = toy
    circuit = random_circuit([9, 30, 2], seed=3)
    inputs = keys.encrypt_bits(client, BITS)
    assert len(jax.devices()) == 2
    options = {"max_batch": 8, "min_batch": 2, "method": method}
    one = evaluate(circuit, server, inputs, **options)
    two = evaluate(circuit, server, inputs, devices=jax.devices(), **options)
    if polynomial.method(method).exact:
        np.testing.assert_array_equal(one, two)
    want = in_the_clear(circuit, BITS)
    np.testing.assert_array_equal(keys.decrypt_bits(client, two), want)


def test_exact_methods_give_one_result(toy):
    client, server = toy
    circuit = random_circuit([4, 4])
    inputs = keys.encrypt_bits(client, BITS)
    found = [evaluate(circuit, server, inputs, method=m) for m in ("exact", "int8")]
    np.testing.assert_array_equal(*found)


def test_new_circuits_trace_no_new_bootstrap(toy, monkeypatch):
    client, server = toy
    inputs = keys.encrypt_bits(client, BITS)
    server = dataclasses.replace(
        server, params=dataclasses.replace(server.params, name="traced")
    )
    traces = []

    def counted(*args, **kwargs):
        traces.append(args)
        return bootstrap.bootstrap_sign(*args, **kwargs)

    monkeypatch.setattr(engine, "bootstrap_sign", counted)
    for widths in ([8, 16, 32], [31, 2, 70, 5, 11], [9] * 20):
        circuit = random_circuit(widths, seed=sum(widths))
        evaluate(circuit, server, inputs, max_batch=32, min_batch=8)
        assert len(traces) == 3


def test_progress_counts_gates(toy):
    client, server = toy
    calls = []
    evaluate(
        random_circuit([20, 4]),
        server,
        keys.encrypt_bits(client, BITS),
        max_batch=16,
        min_batch=4,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(16, 24), (20, 24), (24, 24)]


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize("devices", [None, 2])
def test_checkpoint_resumes(devices, toy, tmp_path):
    client, server = toy
    circuit = random_circuit([20, 4, 4])
    inputs = keys.encrypt_bits(client, BITS)
    path = tmp_path / "checkpoint"
    options = {"max_batch": 16, "min_batch": 4, "method": "int8", "checkpoint": path}
    options["devices"] = devices and jax.devices()
    resumed_at = []

    def interrupt(done, total):
        if done >= 24:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        evaluate(
            circuit, server, inputs, progress=interrupt, checkpoint_seconds=0, **options
        )
    assert path.exists()
    other = keys.encrypt_bits(client, BITS)
    with pytest.raises(ValueError, match="checkpoint of another"):
        evaluate(circuit, server, other, **options)
    found = evaluate(
        circuit, server, inputs, progress=lambda d, t: resumed_at.append(d), **options
    )
    assert resumed_at == [24, 28]
    assert not path.exists()
    np.testing.assert_array_equal(
        found, evaluate(circuit, server, inputs, max_batch=16, method="int8")
    )


def test_circuits_without_gates(toy):
    client, server = toy
    circuit = random_circuit([])
    found = evaluate(circuit, server, keys.encrypt_bits(client, BITS))
    want = in_the_clear(circuit, BITS)
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), want)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_batch": 100}, "powers of two, got 100"),
        ({"min_batch": 0}, "powers of two, got 0"),
        ({"method": "ntt"}, "'ntt' is not one of"),
    ],
)
def test_wrong_options_are_refused(change, message, toy):
    client, server = toy
    inputs = keys.encrypt_bits(client, BITS)
    with pytest.raises(ValueError, match=message):
        evaluate(random_circuit([3]), server, inputs, **change)


def test_wrong_inputs_are_refused(toy, r64):
    circuit = random_circuit([3])
    with pytest.raises(ValueError, match="reads 6 bits"):
        evaluate(circuit, toy[1], keys.encrypt_bits(toy[0], [0, 1]))
    with pytest.raises(ValueError, match="another parameter set"):
        evaluate(circuit, toy[1], keys.encrypt_bits(r64[0], BITS))


@pytest.mark.parametrize("name", sorted(polynomial.METHODS))
def test_every_method_evaluates(name, toy):
    client, server = toy
    circuit = random_circuit([4, 4], seed=11)
    inputs = keys.encrypt_bits(client, BITS)
    found = evaluate(circuit, server, inputs, method=name)
    want = in_the_clear(circuit, BITS)
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), want)
