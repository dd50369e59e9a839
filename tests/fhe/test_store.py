"""Files of keys and ciphertexts: round trips, sizes, damage."""

import dataclasses
import stat
import struct

import numpy as np
import pytest

from fhe import container, keys, params, store


def same(a, b):
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        else:
            assert x == y


def test_client_key_round_trip(toy, tmp_path):
    path = tmp_path / "client"
    store.save_client_key(path, toy[0])
    same(store.load_client_key(path), toy[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("seeded", [True, False])
@pytest.mark.parametrize("unrolled", [1, 2])
def test_server_key_round_trip(unrolled, seeded, toy, tmp_path):
    path, (_, server) = tmp_path / "server", toy
    if unrolled > 1:
        chosen = dataclasses.replace(params.TOY, unrolled=unrolled)
        _, server = keys.keygen(chosen, allow_insecure=True, insecure_test_seed=1)
    store.save_server_key(path, server, seeded=seeded)
    same(store.load_server_key(path), server)
    sizes = params.key_sizes(server.params)
    suffix = "_seeded" if seeded else ""
    payload = sizes["bootstrapping" + suffix] + sizes["switching" + suffix]
    assert 0 < path.stat().st_size - payload < 2048


def test_default_set_sizes():
    """22.8 MB and 15.2 MB in full; seeded 7.6 MB and 25 KB."""
    assert params.key_sizes(params.R64) == {
        "bootstrapping": 22_781_952,
        "switching": 15_212_544,
        "bootstrapping_seeded": 7_593_984,
        "switching_seeded": 24_576,
    }


@pytest.mark.parametrize("seeded", [True, False])
def test_ciphertext_round_trip(seeded, toy, tmp_path):
    client, server = toy
    bits = np.arange(12).reshape(3, 4) % 5 == 0
    found = keys.encrypt_bits_seeded(client, bits)
    whole = keys.expand_bits(client.params, found)
    store.save_ciphertexts(tmp_path / "bits", client, found if seeded else whole)
    loaded = store.load_ciphertexts(tmp_path / "bits", server)
    np.testing.assert_array_equal(loaded, whole)


def test_ciphertexts_of_another_key_are_refused(toy, r64, tmp_path):
    client, _ = toy
    store.save_ciphertexts(tmp_path / "bits", client, keys.encrypt_bits(client, [1]))
    stranger, _ = keys.keygen(params.TOY, allow_insecure=True)
    with pytest.raises(ValueError, match="belongs to key"):
        store.load_ciphertexts(tmp_path / "bits", stranger)
    with pytest.raises(ValueError, match="parameters toy, the key has R64"):
        store.load_ciphertexts(tmp_path / "bits", r64[0])


def test_a_server_key_is_no_client_key(toy, tmp_path):
    store.save_server_key(tmp_path / "key", toy[1])
    with pytest.raises(ValueError, match="holds a server key, not a client key"):
        store.load_client_key(tmp_path / "key")


@pytest.mark.parametrize("place", [0, 9, 60, -100, -1])
def test_every_flipped_byte_is_noticed(place, toy, tmp_path):
    path = tmp_path / "key"
    store.save_server_key(path, toy[1])
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged|not a file|version"):
        store.load_server_key(path)


@pytest.mark.parametrize("keep", [0, 20, 1000, -1])
def test_cut_files_are_noticed(keep, toy, tmp_path):
    path = tmp_path / "key"
    store.save_server_key(path, toy[1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(container.DamagedFileError):
        store.load_server_key(path)


def test_newer_versions_are_named(toy, tmp_path):
    path = tmp_path / "key"
    store.save_server_key(path, toy[1])
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 8, 99)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="version 99, this library reads 1"):
        store.load_server_key(path)


def test_arrays_must_fit_the_parameters(toy, tmp_path):
    _, server = toy
    wrong = dataclasses.replace(server, switching=server.switching[:-1])
    store.save_server_key(tmp_path / "key", wrong)
    with pytest.raises(container.DamagedFileError, match="parameters ask for"):
        store.load_server_key(tmp_path / "key")


def test_an_interrupted_write_leaves_the_old_file(toy, tmp_path):
    path = tmp_path / "key"
    store.save_client_key(path, toy[0])
    with pytest.raises(TypeError):
        container.save(path, "client key", {"name": object()}, {})
    same(store.load_client_key(path), toy[0])
