"""Key generation, encryption and what a server key may hold."""

import dataclasses

import numpy as np
import pytest

from fhe import glwe, keys, lwe, params, torus
from fhe.keys import decrypt_bits, encrypt_bits, keygen


def test_weak_sets_need_consent():
    for weak in (params.TOY, params.TFHE_LIB, params.NUFHE):
        with pytest.raises(ValueError, match="allow_insecure"):
            keygen(weak)


def test_every_call_makes_other_keys():
    pairs = [keygen(params.TOY, allow_insecure=True) for _ in range(2)]
    (one, server), (other, other_server) = pairs
    assert one.name == server.name != other.name
    assert not np.array_equal(one.large, other.large)
    assert not np.array_equal(server.bootstrapping, other_server.bootstrapping)


@pytest.mark.parametrize("order", ["ks-pbs", "pbs-ks"])
def test_round_trip_and_shapes(order):
    sizes = dataclasses.replace(params.TOY, order=order)
    client, _ = keygen(sizes, allow_insecure=True)
    bits = np.arange(24).reshape(2, 3, 4) % 3 == 0
    ciphertexts = encrypt_bits(client, bits)
    assert ciphertexts.shape == (2, 3, 4, sizes.ciphertext_dimension + 1)
    np.testing.assert_array_equal(decrypt_bits(client, ciphertexts), bits)
    assert decrypt_bits(client, encrypt_bits(client, True))
    assert not decrypt_bits(client, encrypt_bits(client, 0))


def test_encryption_is_fresh_each_time(toy):
    client, _ = toy
    one, other = (encrypt_bits(client, np.ones(4)) for _ in range(2))
    assert not np.isin(one, other).any()


def test_seeded_bits_expand_to_ciphertexts(toy):
    client, _ = toy
    bits = np.array([[0, 1], [1, 1]])
    seeded = keys.encrypt_bits_seeded(client, bits, insecure_test_seed=3)
    whole = keys.expand_bits(client.params, seeded)
    np.testing.assert_array_equal(
        whole, encrypt_bits(client, bits, insecure_test_seed=3)
    )
    np.testing.assert_array_equal(decrypt_bits(client, whole), bits)


def test_server_key_encrypts_what_it_should(toy):
    """Row by row, every phase is the scaled secret with small noise."""
    client, server = toy
    sizes = client.params
    gadget = sizes.switch_gadget
    phases = lwe.phase(server.switching, client.small.astype(np.uint32))
    scales = [gadget.scale(j + 1) for j in range(gadget.levels)]
    old = client.large.reshape(-1, 1).astype(np.int64)
    error = torus.to_real(phases - (old * scales).astype(np.uint32))
    assert np.abs(error).max() < 8 * sizes.lwe_sigma

    # Row (p, j) is an encryption of zero once the scaled bit leaves component p.
    rows = server.bootstrapping.copy()
    bits, row = client.small.astype(np.uint32), 0
    for p in range(sizes.glwe_dimension + 1):
        inner = p < sizes.glwe_dimension
        gadget = sizes.mask_gadget if inner else sizes.body_gadget
        for level in range(gadget.levels):
            rows[:, row, p, 0] -= bits * np.uint32(gadget.scale(level + 1))
            row += 1
    assert row == sizes.rows
    error = torus.to_real(glwe.phase(rows, client.large))
    assert np.abs(error).max() < 8 * sizes.glwe_sigma
    assert np.std(error) == pytest.approx(sizes.glwe_sigma, rel=0.1)


def test_masks_are_those_of_the_public_seed(toy):
    """Any difference between masks and seed would be a function of the secrets."""
    _, server = toy
    masks = keys.key_masks(server.params, server.seed)
    np.testing.assert_array_equal(server.bootstrapping[..., :-1, :], masks[0])
    np.testing.assert_array_equal(server.switching[..., :-1], masks[1])


def test_server_key_has_no_secret(toy):
    _, server = toy
    fields = {field.name for field in dataclasses.fields(server)}
    assert fields == {"params", "name", "seed", "bootstrapping", "switching"}
    private, public = keys._seeds(1)
    assert server.seed == public != private


def test_repr_shows_no_secret(toy):
    assert repr(toy[0]) == f"ClientKey(toy, {toy[0].name})"


def test_bits_must_be_bits(toy):
    with pytest.raises(ValueError, match="0 or 1"):
        encrypt_bits(toy[0], [0, 2])


def test_ciphertexts_of_another_set_are_refused(toy, r64):
    ciphertexts = encrypt_bits(toy[0], [1])
    with pytest.raises(ValueError, match="another parameter set"):
        decrypt_bits(r64[0], ciphertexts)
    with pytest.raises(ValueError, match="uint32"):
        decrypt_bits(toy[0], ciphertexts.astype(np.int64))
