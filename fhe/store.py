"""Keys and ciphertexts in files; see `fhe.container` for the layout.

A server key is written without its masks, which its public seed restores: a third of
the bootstrapping key and almost nothing of the key-switching key are left.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from fhe import container
from fhe.gadget import Gadget
from fhe.keys import (
    ClientKey,
    SeededBits,
    ServerKey,
    check_ciphertexts,
    expand_bits,
    key_masks,
)
from fhe.params import Params
from fhe.torus import Array


def _facts(key: ClientKey | ServerKey) -> dict[str, Any]:
    return {"name": key.name, "params": dataclasses.asdict(key.params)}


def _read_params(facts: dict[str, Any], path: str | Path) -> Params:
    fields = dict(facts["params"])
    try:
        for name in ("mask_gadget", "body_gadget", "switch_gadget"):
            fields[name] = Gadget(*fields[name])
        return Params(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has parameters this version does not know") from error


def _check_shape(array: np.ndarray, shape: tuple[int, ...], path: str | Path) -> None:
    if array.shape != shape:
        raise container.DamagedFileError(
            f"{path} holds an array {list(array.shape)} where its parameters ask for "
            f"{list(shape)}"
        )


def save_client_key(path: str | Path, client: ClientKey) -> None:
    """Writes the secrets, readable by their owner only."""
    arrays = {"small": client.small, "large": client.large}
    container.save(path, "client key", _facts(client), arrays, private=True)


def load_client_key(path: str | Path) -> ClientKey:
    """Reads what `save_client_key` wrote.

    Raises:
        DamagedFileError: the file is damaged.
        ValueError: it holds something else.
    """
    facts, arrays = container.load(path, "client key")
    params = _read_params(facts, path)
    shape = (params.glwe_dimension, params.polynomial_size)
    _check_shape(arrays["small"], (params.lwe_dimension,), path)
    _check_shape(arrays["large"], shape, path)
    return ClientKey(params, facts["name"], arrays["small"], arrays["large"])


def save_server_key(
    path: str | Path, server: ServerKey, *, seeded: bool = True
) -> None:
    """Writes a server key.

    Args:
        path: where.
        server: the key.
        seeded: leave the masks to the public seed.
    """
    bootstrapping, switching = server.bootstrapping, server.switching
    if seeded:
        bootstrapping, switching = bootstrapping[..., -1, :], switching[..., -1]
    arrays = {"bootstrapping": bootstrapping, "switching": switching}
    facts = _facts(server) | {"seed": server.seed.hex(), "seeded": seeded}
    container.save(path, "server key", facts, arrays)


def load_server_key(path: str | Path) -> ServerKey:
    """Reads what `save_server_key` wrote, in either form.

    Raises:
        DamagedFileError: the file is damaged.
        ValueError: it holds something else.
    """
    facts, arrays = container.load(path, "server key")
    params, seed = _read_params(facts, path), bytes.fromhex(facts["seed"])
    bootstrapping, switching = arrays["bootstrapping"], arrays["switching"]
    n, N, rows = params.lwe_dimension, params.polynomial_size, params.rows
    switches = (params.large_dimension, params.switch_gadget.levels)
    if facts["seeded"]:
        _check_shape(bootstrapping, (*params.entries, rows, N), path)
        _check_shape(switching, switches, path)
        masks = key_masks(params, seed)
        bootstrapping = np.concatenate([masks[0], bootstrapping[..., None, :]], axis=-2)
        switching = np.concatenate([masks[1], switching[..., None]], axis=-1)
    shape = (*params.entries, rows, params.glwe_dimension + 1, N)
    _check_shape(bootstrapping, shape, path)
    _check_shape(switching, (*switches, n + 1), path)
    return ServerKey(params, facts["name"], seed, bootstrapping, switching)


def save_ciphertexts(
    path: str | Path, key: ClientKey | ServerKey, ciphertexts: Array | SeededBits
) -> None:
    """Writes encrypted bits, seeded or whole, with the name of their key.

    Args:
        path: where.
        key: the client or the server key that the bits belong to.
        ciphertexts: uint32 `[..., dimension + 1]`, or seeded.
    """
    facts = _facts(key)
    if isinstance(ciphertexts, SeededBits):
        facts["seed"] = ciphertexts.seed.hex()
        arrays = {"bodies": ciphertexts.bodies}
    else:
        check_ciphertexts(key.params, ciphertexts)
        arrays = {"ciphertexts": np.asarray(ciphertexts)}
    container.save(path, "ciphertext", facts, arrays)


def load_ciphertexts(path: str | Path, key: ClientKey | ServerKey) -> np.ndarray:
    """Reads what `save_ciphertexts` wrote.

    Args:
        path: where.
        key: the client or the server key that the bits must belong to.

    Returns:
        uint32 `[..., dimension + 1]`.

    Raises:
        DamagedFileError: the file is damaged.
        ValueError: it holds something else, or bits of another key.
    """
    facts, arrays = container.load(path, "ciphertext")
    params = _read_params(facts, path)
    if params != key.params:
        raise ValueError(
            f"{path} has parameters {params.name}, the key has {key.params.name}"
        )
    if facts["name"] != key.name:
        raise ValueError(f"{path} belongs to key {facts['name']}, not {key.name}")
    if "seed" in facts:
        seeded = SeededBits(bytes.fromhex(facts["seed"]), arrays["bodies"])
        return expand_bits(params, seeded)
    check_ciphertexts(params, arrays["ciphertexts"])
    return arrays["ciphertexts"]
