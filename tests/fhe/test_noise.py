"""Noise and failures, measured on ciphertexts, against the formulae."""

import dataclasses

import jax
import numpy as np
import pytest

from fhe import gates, keys, lwe, noise, params, torus
from fhe.batch import apply_gate, level
from fhe.gadget import Gadget

# Fails about one gate in 70: rounding to 2N = 64 parts is nearly all of its noise.
WEAK = params.Params(
    "weak",
    lwe_dimension=600,
    lwe_sigma=2.0**-26,
    glwe_dimension=2,
    polynomial_size=32,
    glwe_sigma=2.0**-30,
    mask_gadget=Gadget(2, 8),
    body_gadget=Gadget(2, 8),
    switch_gadget=Gadget(8, 2),
    glwe_key="ternary",
)


def bootstrapped_errors(pair, count, method=None):
    """Errors of fresh gates whose inputs are gates' outputs."""
    client, server = pair
    rng = np.random.default_rng(count)
    chosen = [gates.NAND, gates.MAJ3, gates.XOR3, gates.NAE3] * (count // 4)
    errors = []
    for start in range(0, count, 128):
        part = chosen[start : start + 128]
        bits = rng.integers(0, 2, (len(part), 3))
        found = level(server, part, keys.encrypt_bits(client, bits), method=method)()
        want = [
            gates.truth_table(g)[int("".join(map(str, row[: len(g.weights)])), 2)]
            for g, row in zip(part, bits, strict=True)
        ]
        phases = keys.phases(client, found) - torus.encode(np.array(want))
        errors.append(torus.to_real(phases))
    return np.concatenate(errors)


def test_bootstrap_noise_is_the_predicted(r64):
    """Within four standard errors of a variance from 256 gates."""
    errors = bootstrapped_errors(r64, 256)
    ratio = np.mean(errors**2) / noise.blind_rotation_variance(params.R64)
    assert abs(ratio - 1) < 4 * np.sqrt(2 / errors.size)


@pytest.mark.long
@pytest.mark.parametrize("method", ["fft32", "fft64"])
def test_bootstrap_noise_over_many_gates(method, r64):
    errors = bootstrapped_errors(r64, 2560, method)
    sigma = np.sqrt(noise.blind_rotation_variance(params.R64))
    assert abs(np.std(errors) / sigma - 1) < 0.06
    assert abs(np.mean(errors)) < 4 * sigma / np.sqrt(errors.size)
    assert np.abs(errors).max() < 5 * sigma


def test_key_switch_noise_is_the_predicted(r64):
    """About its mean for one key: digits average -1/2, which makes that mean."""
    client, server = r64
    bits = np.arange(1500) % 2
    ciphertexts = keys.encrypt_bits(client, bits)
    gadget = params.R64.switch_gadget
    key = lwe.prepare_switch_key(server.switching, gadget)
    small = jax.jit(jax.vmap(lwe.switch_key, (0, None)))(ciphertexts, key)
    phases = lwe.phase(np.asarray(small), client.small.astype(np.uint32))
    errors = torus.to_real(phases - torus.encode(bits))
    variance = noise.key_switch_variance(params.R64)
    mean = 1024 * gadget.levels * params.R64.lwe_sigma**2 / 4
    assert abs(np.mean(errors)) < 4 * np.sqrt(mean)
    assert abs(np.var(errors) / (variance - mean) - 1) < 4 * np.sqrt(2 / bits.size)


@pytest.mark.parametrize("order", ["ks-pbs", "pbs-ks"])
def test_output_noise_of_both_orders(order):
    """A large key-switch noise shows in the output of one order and not the other."""
    sizes = dataclasses.replace(params.TOY, order=order, lwe_sigma=2.0**-12)
    errors = bootstrapped_errors(
        keys.keygen(sizes, allow_insecure=True, insecure_test_seed=5), 1024
    )
    ratio = np.mean(errors**2) / noise.output_variance(sizes)
    assert 0.6 < ratio < 1.4
    switched = noise.key_switch_variance(sizes) / noise.blind_rotation_variance(sizes)
    assert switched > 10


@pytest.mark.parametrize(
    "gate", [gates.AND, gates.NAE3, gates.XOR3], ids=lambda g: g.name
)
def test_a_weak_set_fails_as_often_as_predicted(gate):
    client, server = keys.keygen(WEAK, allow_insecure=True, insecure_test_seed=4)
    count = 8192
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (count, len(gate.weights)))
    cases = bits @ (1 << np.arange(len(gate.weights))[::-1])
    inputs = keys.encrypt_bits(client, bits)
    found = apply_gate(server, gate, *np.moveaxis(inputs, 1, 0))
    want = np.array(gates.truth_table(gate))[cases]
    failures = int((keys.decrypt_bits(client, found) != want).sum())
    predicted = noise.failure_probabilities(WEAK, gate)[cases]
    expected = predicted.sum()
    # Six standard deviations, and a tenth for the tail that 600 roundings lack.
    assert abs(failures - expected) < 6 * np.sqrt(expected) + 0.1 * expected + 1
    if gate is not gates.XOR3:
        assert expected > 80


PROMISES = [
    (params.R64, gates.NAND, 64),
    (params.R64, gates.MAJ3, 64),
    (params.R64, gates.XOR3, 64),
    (params.R64_256, gates.MAJ3, 64),
    (params.R64_U3, gates.NAND, 64),
    (params.R64_U3, gates.MAJ3, 64),
    (params.R64_U3, gates.XOR3, 64),
    (params.R64_U4, gates.NAND, 64),
    (params.R64_U4, gates.MAJ3, 64),
    (params.R64_U4, gates.XOR3, 64),
    (params.R64X, gates.XOR_AND, 64),
    (params.R128, gates.NAND, 128),
    (params.R128, gates.MAJ3, 128),
    (params.R128, gates.XOR3, 128),
    (params.TFHE_RS, gates.NAND, 64),
    (params.TFHE_RS_KS, gates.NAND, 64),
]


@pytest.mark.parametrize(("sizes", "gate", "bits"), PROMISES)
def test_promised_failure_probabilities(sizes, gate, bits):
    assert noise.failure_probability(sizes, gate) < 2.0**-bits


def test_default_set_does_not_allow_xor_and():
    assert noise.failure_probability(params.R64, gates.XOR_AND) > 2.0**-64


def test_program_failure_adds_up():
    """1 - (1 - p)**count for each kind, signs and places of weights aside."""
    weights = np.array([[1, 1, 0]] * 500 + [[0, -1, 1]] * 500 + [[1, -1, 1]] * 100)
    offset = np.array([-1] * 1000 + [0] * 100)
    found = noise.program_failure(WEAK, weights.astype(np.int8), offset.astype(np.int8))
    p = noise.failure_probability(WEAK, gates.AND)
    q = noise.failure_probability(WEAK, gates.MAJ3)
    assert found == pytest.approx(1 - (1 - p) ** 1000 * (1 - q) ** 100)
    tiny = noise.program_failure(params.R64, weights, offset)
    p = noise.failure_probability(params.R64, gates.AND)
    q = noise.failure_probability(params.R64, gates.MAJ3)
    assert tiny == pytest.approx(1000 * p + 100 * q, rel=1e-9)
