"""The random stream: its cipher, its distributions, its separation."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from fhe import entropy

SEED = bytes(range(32))


def test_stream_is_aes_256_of_a_counter():
    cipher = Cipher(algorithms.AES256(SEED), modes.ECB()).encryptor()
    label = (7).to_bytes(8, "big")
    blocks = [label + i.to_bytes(8, "big") for i in range(5)]
    want = np.frombuffer(cipher.update(b"".join(blocks)), "<u4")
    stream = entropy.Stream(SEED, 7)
    found = [stream.words(3), stream.words(17).reshape(-1)]
    np.testing.assert_array_equal(np.concatenate(found), want)


def test_aes_is_the_standard_one():
    """FIPS 197, appendix C.3, through the same library calls."""
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    cipher = Cipher(algorithms.AES256(SEED), modes.ECB()).encryptor()
    assert cipher.update(plain).hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_labels_and_seeds_separate_streams():
    streams = [entropy.Stream(SEED, label).words(8).tolist() for label in range(4)]
    streams.append(entropy.Stream(bytes(32)).words(8).tolist())
    assert len({tuple(s) for s in streams}) == 5
    assert entropy.fresh_seed() != entropy.fresh_seed()


def test_short_seeds_are_refused():
    with pytest.raises(ValueError, match="32 bytes, got 16"):
        entropy.Stream(bytes(16))


@pytest.mark.parametrize(("draw", "values"), [("bits", 2), ("ternary", 3)])
def test_secret_coefficients_are_uniform(draw, values):
    found = getattr(entropy.Stream(SEED), draw)(300, 100)
    assert found.dtype == np.int8
    assert found.shape == (300, 100)
    counts = np.unique(found, return_counts=True)[1]
    assert len(counts) == values
    assert stats.chisquare(counts).pvalue > 1e-6


def test_gaussian_has_the_normal_distribution():
    sigma = 2.0**-13
    words = entropy.Stream(SEED).gaussian(sigma, 100_001)
    values = words.view(np.int32) / (sigma * 2**32)
    assert stats.kstest(values, "norm").pvalue > 1e-6
    assert 4 < np.abs(values).max() < 6


def test_gaussian_rounds_to_whole_words():
    words = entropy.Stream(SEED).gaussian(2.0**-32, 50_000).view(np.int32)
    edges = np.arange(-4, 6) - 0.5
    want = np.diff(stats.norm.cdf(edges)) * words.size
    found = np.histogram(words, edges)[0]
    assert np.sum((found - want) ** 2 / want) < 40  # 9 bins
