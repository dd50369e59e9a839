"""Random numbers for keys and ciphertexts.

Secrets, masks and noise come from AES-256 in counter mode keyed with 256 bits from the
operating system; `jax.random` makes no cryptographic promise. The masks' key is public:
from it a seeded key or ciphertext is expanded again.
"""

import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SEED_BYTES = 32


def fresh_seed() -> bytes:
    """256 bits from the operating system."""
    return os.urandom(SEED_BYTES)


class Stream:
    """A stream of bytes that a 256-bit seed determines; one user a seed and label.

    Args:
        seed: 32 bytes.
        label: a number that separates streams of one seed.
    """

    def __init__(self, seed: bytes, label: int = 0) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, got {len(seed)}")
        # The upper half of the counter block is the label; 2**64 blocks remain.
        block = label.to_bytes(8, "big") + bytes(8)
        self._cipher = Cipher(algorithms.AES256(seed), modes.CTR(block)).encryptor()

    def words(self, *shape: int) -> np.ndarray:
        """Uniform uint32, little-endian on every machine."""
        count = 4 * int(np.prod(shape, dtype=np.int64))
        data = self._cipher.update(bytes(count))
        return np.frombuffer(data, "<u4").astype(np.uint32).reshape(shape)

    def bits(self, *shape: int) -> np.ndarray:
        """Uniform 0 or 1, int8."""
        return (self.words(*shape) & 1).astype(np.int8)

    def ternary(self, *shape: int) -> np.ndarray:
        """Uniform -1, 0 or 1, int8; words that would bias the third are drawn again."""
        count = int(np.prod(shape, dtype=np.int64))
        found = np.empty(0, np.uint32)
        while found.size < count:
            words = self.words(count)
            found = np.concatenate([found, words[words < 3 * (2**32 // 3)]])
        return (found[:count] % 3).astype(np.int8).reshape(shape) - np.int8(1)

    def gaussian(self, sigma: float, *shape: int) -> np.ndarray:
        """Rounded Gaussian torus elements, uint32; `sigma` is a fraction of the torus.

        Box and Muller's method on 53-bit uniforms: tails reach 8.5 sigma.
        """
        count = int(np.prod(shape, dtype=np.int64))
        pairs = -(-count // 2)
        words = self.words(2, pairs, 2).astype(np.uint64)
        wide = (words[..., 0] << np.uint64(21)) ^ (words[..., 1] >> np.uint64(11))
        uniform = (wide.astype(np.float64) + 0.5) * 2.0**-53
        radius = np.sqrt(-2 * np.log(uniform[0]))
        angle = 2 * np.pi * uniform[1]
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        errors = np.rint(normal[:count] * (sigma * 2.0**32)).astype(np.int64)
        return errors.astype(np.uint32).reshape(shape)
