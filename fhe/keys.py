"""Client and server keys, encryption and decryption.

The client key decrypts and stays at home. The server key evaluates; it holds
encryptions of the secrets and a public seed, nothing else. Both carry the same name, a
digest of that seed, so that files of different pairs are not mixed.
"""

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np

from fhe import entropy, ggsw, lwe, torus, unroll
from fhe.circuit import Circuit, Inputs
from fhe.gadget import Gadget
from fhe.params import R64, Params
from fhe.security import estimate
from fhe.torus import Array


@dataclasses.dataclass(frozen=True, eq=False)
class ClientKey:
    """The secrets. Never send it to a server."""

    params: Params
    name: str  # 32 hexadecimal digits shared with the server key
    small: np.ndarray  # int8 [n], 0 or 1
    large: np.ndarray  # int8 [k, N]

    def __repr__(self) -> str:
        return f"ClientKey({self.params.name}, {self.name})"

    @property
    def secret(self) -> np.ndarray:
        """The secret of ciphertexts, uint32 `[params.ciphertext_dimension]`."""
        large = self.params.order == "ks-pbs"
        secret = self.large.reshape(-1) if large else self.small
        return secret.astype(np.int32).view(np.uint32)

    def encrypt(self, circuit: Circuit, inputs: Inputs) -> np.ndarray:
        """Encrypts a program's secret parameters, bit by bit.

        Args:
            circuit: the program; its signature says how many bits a value has.
            inputs: values by name or in order, see `Circuit.pack`.

        Returns:
            uint32 `[num_inputs, params.ciphertext_dimension + 1]`, for `fhe.evaluate`.

        Raises:
            ValueError: missing, unknown, misshapen or too large values, or a batch.
        """
        bits = circuit.pack(inputs)
        if bits.ndim != 1:
            raise ValueError(
                f"got a batch of {len(bits)} inputs; encrypt and evaluate one by one"
            )
        return encrypt_bits(self, bits)

    def decrypt(self, circuit: Circuit, outputs: Array) -> dict[str, Any]:
        """Decrypts a program's results.

        Args:
            circuit: the program.
            outputs: uint32 `[O, params.ciphertext_dimension + 1]`.

        Returns:
            Results by name; the returned value is `return`. An integer is a Python int,
            anything else an array.

        Raises:
            ValueError: another number of bits than the program's results have, or
                ciphertexts of another parameter set.
        """
        bits = decrypt_bits(self, outputs)
        if bits.shape != circuit.outputs.shape:
            raise ValueError(
                f"the program's results have {len(circuit.outputs)} bits, got "
                f"{list(bits.shape)} ciphertexts"
            )
        return circuit.unpack(bits)


@dataclasses.dataclass(frozen=True, eq=False)
class ServerKey:
    """What a server needs to evaluate gates."""

    params: Params
    name: str
    seed: bytes  # of the masks; public
    bootstrapping: np.ndarray  # uint32 [*params.entries, R, k + 1, N]
    switching: np.ndarray  # uint32 [k * N, levels, n + 1]

    def __repr__(self) -> str:
        return f"ServerKey({self.params.name}, {self.name})"


_BOOTSTRAPPING, _SWITCHING, _BITS = 1, 2, 3  # labels of a seed's streams


def _seeds(insecure_test_seed: int | None) -> tuple[bytes, bytes]:
    """A private seed, for secrets and noise, and a public one, for masks."""
    if insecure_test_seed is None:
        return entropy.fresh_seed(), entropy.fresh_seed()
    private = insecure_test_seed.to_bytes(entropy.SEED_BYTES, "big")
    return private, bytes(b ^ 0xFF for b in private)


def key_masks(params: Params, seed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The uniform part of a server key, which its public seed determines.

    Returns:
        uint32 `[*params.entries, R, k, N]` and `[k * N, levels, n]`.
    """
    n, N, k = params.lwe_dimension, params.polynomial_size, params.glwe_dimension
    levels = params.switch_gadget.levels
    return (
        entropy.Stream(seed, _BOOTSTRAPPING).words(*params.entries, params.rows, k, N),
        entropy.Stream(seed, _SWITCHING).words(params.large_dimension, levels, n),
    )


def _bit_masks(params: Params, seed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return entropy.Stream(seed, _BITS).words(*shape, params.ciphertext_dimension)


def keygen(
    params: Params = R64,
    *,
    allow_insecure: bool = False,
    insecure_test_seed: int | None = None,
) -> tuple[ClientKey, ServerKey]:
    """Makes a pair of keys from the operating system's entropy.

    Args:
        params: sizes; see `fhe.params`.
        allow_insecure: accept a set below 128 bits of estimated security.
        insecure_test_seed: for tests only: the same number gives the same keys, and
            whoever knows it has them.

    Raises:
        ValueError: the set is below 128 bits and `allow_insecure` is not set.

    Example:
        >>> client, server = keygen()
    """
    security = estimate(params).bits
    if security < 128 and not allow_insecure:
        raise ValueError(
            f"{params.name} has {security:.0f} bits of estimated security, below 128; "
            "choose another set, or pass allow_insecure=True for a comparison"
        )
    private, public = _seeds(insecure_test_seed)
    # Secrets and noise share the private stream; masks have the public seed's.
    stream = entropy.Stream(private)
    n, N, k = params.lwe_dimension, params.polynomial_size, params.glwe_dimension
    small = stream.bits(n)
    draw = stream.bits if params.glwe_key == "binary" else stream.ternary
    # The seed is public, so its digest is a name that tells nothing.
    name = hashlib.sha256(public).hexdigest()[:32]
    client = ClientKey(params, name, small, draw(k, N))
    bootstrap_mask, switch_mask = key_masks(params, public)
    bits = small.astype(np.uint32)
    if params.unrolled > 1:
        bits = unroll.messages(small, params.unrolled)
    bootstrapping = ggsw.encrypt(
        bits,
        client.large,
        bootstrap_mask,
        stream.gaussian(params.glwe_sigma, *params.entries, params.rows, N),
        params.mask_gadget,
        params.body_gadget,
    )
    gadget: Gadget = params.switch_gadget
    scales = np.array(
        [gadget.scale(level) for level in range(1, gadget.levels + 1)], np.uint32
    )
    # Key switching takes a ciphertext of the extracted secret to the small one.
    old = client.large.reshape(-1, 1).astype(np.int32).view(np.uint32)
    switching = lwe.encrypt(
        old * scales,
        small.astype(np.uint32),
        switch_mask,
        stream.gaussian(params.lwe_sigma, params.large_dimension, gadget.levels),
    )
    return client, ServerKey(params, name, public, bootstrapping, switching)


class SeededBits(NamedTuple):
    """Encrypted bits whose masks are left to a public seed: 4 bytes a bit."""

    seed: bytes
    bodies: np.ndarray  # uint32 [...]


def encrypt_bits_seeded(
    client: ClientKey, bits: Array, *, insecure_test_seed: int | None = None
) -> SeededBits:
    """Encrypts bits for sending; `expand_bits` gives what `encrypt_bits` would.

    Args:
        client: the secrets.
        bits: bool or 0 and 1, `[...]`.
        insecure_test_seed: for tests only: a repeatable ciphertext.

    Raises:
        ValueError: something is neither 0 nor 1.
    """
    bits = np.asarray(bits)
    if not np.isin(bits, (0, 1)).all():
        raise ValueError("bits must be 0 or 1")
    params = client.params
    private, public = _seeds(insecure_test_seed)
    large = params.order == "ks-pbs"
    sigma = params.glwe_sigma if large else params.lwe_sigma
    bodies = lwe.encrypt(
        torus.encode(bits),
        client.secret,
        _bit_masks(params, public, bits.shape),
        entropy.Stream(private, _BITS).gaussian(sigma, *bits.shape),
    )[..., -1]
    return SeededBits(public, bodies)


def expand_bits(params: Params, seeded: SeededBits) -> np.ndarray:
    """Seeded bits with their masks, uint32 `[..., params.ciphertext_dimension + 1]`."""
    mask = _bit_masks(params, seeded.seed, seeded.bodies.shape)
    return np.concatenate([mask, seeded.bodies[..., None]], axis=-1)


def encrypt_bits(
    client: ClientKey, bits: Array, *, insecure_test_seed: int | None = None
) -> np.ndarray:
    """Encrypts bits.

    Args:
        client: the secrets.
        bits: bool or 0 and 1, `[...]`.
        insecure_test_seed: for tests only: a repeatable ciphertext.

    Returns:
        uint32 `[..., params.ciphertext_dimension + 1]`.

    Raises:
        ValueError: something is neither 0 nor 1.

    Example:
        >>> ciphertexts = encrypt_bits(client, [0, 1, 1])  # doctest: +SKIP
    """
    seeded = encrypt_bits_seeded(client, bits, insecure_test_seed=insecure_test_seed)
    return expand_bits(client.params, seeded)


def decrypt_bits(client: ClientKey, ciphertexts: Array) -> np.ndarray:
    """Decrypts bits; uint32 `[..., dimension + 1]` to bool `[...]`.

    Raises:
        ValueError: the ciphertexts have another dimension than the key.
    """
    return torus.decode(phases(client, ciphertexts))


def phases(client: ClientKey, ciphertexts: Array) -> np.ndarray:
    """Messages with their noise, uint32 `[...]`; for measuring noise."""
    ciphertexts = np.asarray(ciphertexts)
    check_ciphertexts(client.params, ciphertexts)
    return np.asarray(lwe.phase(ciphertexts, client.secret))


def check_ciphertexts(params: Params, ciphertexts: Array) -> None:
    """Raises ValueError unless the array can be ciphertexts of these parameters."""
    width = params.ciphertext_dimension + 1
    if ciphertexts.dtype != np.uint32 or ciphertexts.shape[-1:] != (width,):
        raise ValueError(
            f"ciphertexts of {params.name} are uint32 [..., {width}], got "
            f"{ciphertexts.dtype} {list(ciphertexts.shape)}: another parameter set?"
        )
