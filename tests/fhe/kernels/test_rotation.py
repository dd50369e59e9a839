"""The kernel, run by Pallas' interpreter, against exact products and by decryption."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fhe import (
    bootstrap,
    engine,
    gates,
    ggsw,
    glwe,
    keys,
    noise,
    params,
    polynomial,
    torus,
    unroll,
)
from fhe.batch import apply_gate
from fhe.gadget import Gadget
from fhe.kernels import layout, rotation, transform

pytestmark = pytest.mark.skipif(
    rotation.pl is None, reason="this JAX has no Triton lowering of Pallas"
)
WRAP = pytest.mark.parametrize("wrap", [jax.jit, lambda f: f], ids=["jit", "plain"])

R64 = Gadget(2, 8), Gadget(2, 6)
R128 = Gadget(2, 8), Gadget(3, 5)  # an odd number of rows
WIDE = Gadget(3, 6), Gadget(2, 9)


def sizes(N, **changes):
    """A set for tests with the structure of the default one."""
    return dataclasses.replace(params.TOY, name="test", polynomial_size=N, **changes)


@WRAP
@pytest.mark.parametrize(
    ("N", "k", "gadgets", "group", "teams"),
    [
        (32, 2, R64, 1, 2),
        (32, 1, WIDE, 2, 1),
        (128, 2, R128, 2, 1),
        (128, 4, R64, 1, 4),
        (128, 3, R64, 4, 1),
        (512, 2, R64, 4, 1),
        (512, 2, R64, 1, 4),
        (512, 2, R128, 1, 4),
        (128, 1, WIDE, 2, 2),
    ],
)
def test_one_step_is_near_the_exact_one(N, k, gadgets, group, teams, wrap):
    """Digits are the same then, so that the transforms' error is all there is."""
    rng = np.random.default_rng(N + k)
    mask, body = gadgets
    rows, B = k * mask.levels + body.levels, group + 1  # one more than a program
    key = rng.integers(0, 2**32, (1, rows, k + 1, N), np.uint32)
    test = jnp.asarray(rng.integers(0, 2**32, (k + 1, N), np.uint32))
    switched = rng.integers(0, 2 * N, (B, 2), np.int32)
    switched[0, 0] = 2 * N - 1
    start = jax.vmap(lambda s: glwe.rotate(test, -s[-1] & (2 * N - 1)))(switched)
    plan = layout.Plan(1, k + 1, N, mask, body, group, teams)
    run = functools.partial(rotation.blind_rotate, plan=plan, interpret=True)
    found = wrap(run)(switched[:, :-1], start, layout.prepare(key))
    exact = polynomial.method("exact")
    want = [
        bootstrap.blind_rotate(s, test, jnp.asarray(key), mask, body, exact)
        for s in jnp.asarray(switched)
    ]
    error = np.asarray(found - jnp.stack(want)).view(np.int32) / 2.0**32
    # As for fft32: see test_polynomial. Larger digits have larger errors.
    limit = 2.0 ** (max(mask.log_base, body.log_base) - 25)
    assert np.sqrt(np.mean(error**2)) < limit / 8
    assert np.abs(error).max() < limit


@WRAP
@pytest.mark.parametrize(("N", "unrolled", "teams"), [(128, 2, 1), (512, 3, 4)])
def test_a_bundled_step_is_near_the_exact_one(N, unrolled, teams, wrap):
    """With ciphertexts that have bundles of their own."""
    rng = np.random.default_rng(unrolled)
    mask, body = WIDE[0], R64[1]
    C, B, M = 3, 3, 2**unrolled - 1
    key = rng.integers(0, 2**32, (1, M, 8, C, N), np.uint32)
    start = jnp.asarray(rng.integers(0, 2**32, (B, C, N), np.uint32))
    turns = rng.integers(0, 2 * N, (B, 1, M), np.int32)
    plan = layout.Plan(1, C, N, mask, body, 1, teams, bundled=True)

    def run(key, turns, start):
        bundles = layout.bundle(key[:, None], turns.swapaxes(0, 1))
        none = jnp.zeros((B, 1), jnp.int32)
        return rotation.blind_rotate(none, start, bundles, plan, interpret=True)

    found = wrap(run)(layout.prepare(key), turns, start)
    exact = polynomial.method("exact")
    want = [
        a
        + ggsw.external_product(
            unroll.bundle(key[0], e[0], exact), a, mask, body, exact
        )
        for a, e in zip(start, turns, strict=True)
    ]
    error = np.asarray(found - jnp.stack(want)).view(np.int32) / 2.0**32
    # A bundle of 2 M random entries is that much larger than one, and has an error too.
    limit = 2.0 ** (mask.log_base - 24) * np.sqrt(2 * M)
    assert np.sqrt(np.mean(error**2)) < limit / 8
    assert np.abs(error).max() < limit


@pytest.mark.parametrize("batch", [3, 5])
def test_unrolled_gates_by_the_kernel(batch, monkeypatch):
    """As many as have their bundles in memory together, and more."""
    interpreted = functools.partial(rotation.bundled_rotator, interpret=True)
    monkeypatch.setattr(bootstrap.rotation, "available", lambda **_: True)
    monkeypatch.setattr(bootstrap.rotation, "bundled_rotator", interpreted)
    monkeypatch.setattr(bootstrap.rotation, "BUNDLES", 4)
    engine.make_engine.cache_clear()
    chosen = sizes(128, lwe_dimension=6, unrolled=3)
    client, server = keys.keygen(chosen, allow_insecure=True, insecure_test_seed=3)
    bits = np.random.default_rng(batch).integers(0, 2, (3, batch))
    inputs = [keys.encrypt_bits(client, row) for row in bits]
    found = apply_gate(server, gates.XOR3, *inputs, method="fused")
    engine.make_engine.cache_clear()
    np.testing.assert_array_equal(keys.decrypt_bits(client, found), bits.sum(0) % 2)
    errors = torus.to_real(keys.phases(client, found) - torus.encode(bits.sum(0) % 2))
    assert np.abs(errors).max() < 8 * np.sqrt(noise.output_variance(chosen))


@pytest.mark.parametrize(("N", "batch"), [(32, 3), (128, 5), (128, 300)])
def test_gates_by_the_kernel(N, batch, monkeypatch):
    """Chosen by the method and batched by vmap; a small and a large batch's layout."""
    interpreted = functools.partial(rotation.rotator, interpret=True)
    monkeypatch.setattr(bootstrap.rotation, "available", lambda **_: True)
    monkeypatch.setattr(bootstrap.rotation, "rotator", interpreted)
    engine.make_engine.cache_clear()
    small = sizes(N, lwe_dimension=5)
    client, server = keys.keygen(small, allow_insecure=True, insecure_test_seed=3)
    bits = np.random.default_rng(batch).integers(0, 2, (3, batch))
    inputs = [keys.encrypt_bits(client, row) for row in bits]
    for _ in range(2):  # the second level reads what the first one wrote
        found = apply_gate(server, gates.MAJ3, *inputs, method="fused")
        bits = np.roll(bits, 1, axis=0)
        bits[0] = bits.sum(0) > 1
        np.testing.assert_array_equal(keys.decrypt_bits(client, found), bits[0])
        inputs = [found, inputs[0], inputs[1]]
    engine.make_engine.cache_clear()
    errors = torus.to_real(keys.phases(client, found) - torus.encode(bits[0]))
    assert np.abs(errors).max() < 8 * np.sqrt(noise.output_variance(small))


def test_a_kernel_is_used_if_it_is_right(monkeypatch):
    """As another compiler might make it wrong: lanes that get each other's values."""
    rotation.is_right.cache_clear()
    assert rotation.is_right(interpret=True)
    assert rotation.is_right(bundled=True, interpret=True)
    rotation.is_right.cache_clear()
    exchange = transform.exchange
    monkeypatch.setattr(transform, "exchange", lambda x: exchange(x)[::-1])
    with pytest.warns(UserWarning, match="plain products"):
        assert not rotation.is_right(interpret=True)
    with pytest.warns(UserWarning, match="plain products"):
        assert not rotation.is_right(bundled=True, interpret=True)
    rotation.is_right.cache_clear()


def test_a_kernel_that_cannot_be_compiled_is_not_used(monkeypatch):
    """The reason is told, and nothing else fails."""

    def refuse(*args, **kwargs):
        raise NotImplementedError("no such instruction")

    rotation.is_right.cache_clear()
    monkeypatch.setattr(rotation, "blind_rotate", refuse)
    with pytest.warns(UserWarning, match="no such instruction"):
        assert not rotation.is_right(interpret=True)
    rotation.is_right.cache_clear()
