"""Every product against Python integers, and Fourier errors against the noise."""

import functools

import cggi_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fhe import params, polynomial

EXACT = [name for name, method in polynomial.METHODS.items() if method.exact]
FOURIER = [name for name, method in polynomial.METHODS.items() if not method.exact]
WRAP = pytest.mark.parametrize("wrap", [jax.jit, lambda f: f], ids=["jit", "plain"])


def problem(rows, columns, N, seed=0, bound=128):
    rng = np.random.default_rng(seed)
    digits = rng.integers(-bound, bound, (rows, N), np.int32)
    key = rng.integers(0, 2**32, (rows, columns, N), np.uint32)
    return digits, key


def product(name, digits, key, wrap=jax.jit):
    method = polynomial.method(name)
    with polynomial.precision(name):
        found = wrap(method.product)(jnp.asarray(digits), method.prepare(key))
        return np.asarray(found)


@functools.cache
def expected(*sizes):
    digits, key = problem(*sizes)
    columns = range(key.shape[1])
    total = [
        sum(
            cggi_oracle.negacyclic(d, row[c])
            for d, row in zip(digits, key, strict=True)
        )
        for c in columns
    ]
    return (np.array(total) % 2**32).astype(np.uint32)


@WRAP
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("sizes", [(1, 1, 4), (4, 2, 8), (6, 3, 64)])
def test_exact_methods_equal_integers(name, sizes, wrap):
    found = product(name, *problem(*sizes), wrap)
    np.testing.assert_array_equal(found, expected(*sizes))


@pytest.mark.parametrize("name", EXACT)
def test_extreme_digits_and_keys_do_not_overflow(name):
    digits = np.full((6, 64), -128, np.int32)
    for word in (0x80808080, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFF):
        key = np.full((6, 3, 64), word, np.uint32)
        want = np.array([6 * cggi_oracle.negacyclic(digits[0], key[0, 0]) % 2**32] * 3)
        np.testing.assert_array_equal(product(name, digits, key), want)


@WRAP
@pytest.mark.parametrize(("name", "limit"), [("fft64", 2.0**-28), ("fft32", 2.0**-17)])
def test_fourier_errors_are_small(name, limit, wrap):
    """At the default set's sizes; the key's own noise is 2**-24 of the torus.

    After the mask's amplification, sqrt(1 + kN 2/3) = 26, and n = 618 steps, an error
    of 2**-20 adds 2 % to the variance of a bootstrap.
    """
    sizes = (params.R64.rows, params.R64.glwe_dimension + 1, 512)
    digits, key = problem(*sizes)
    want = product("exact", digits, key)
    error = (product(name, digits, key, wrap) - want).view(np.int32) / 2.0**32
    assert np.sqrt(np.mean(error**2)) < limit / 8
    assert np.abs(error).max() < limit


@pytest.mark.parametrize("name", ["int8", "int8_stored", "float16"])
def test_matrix_methods_are_exact_at_full_size(name):
    sizes = (params.R64.rows, 1, params.R64.polynomial_size)
    digits, key = problem(*sizes, seed=3)
    want = product("exact", digits, key)
    np.testing.assert_array_equal(product(name, digits, key), want)


@pytest.mark.parametrize("name", sorted(polynomial.METHODS))
def test_keys_are_prepared_whole(name):
    """Leading axes of the key stay in front, as a scan over steps needs."""
    _, key = problem(4, 2, 8)
    keys = np.stack([key, key[::-1]])
    method = polynomial.method(name)
    with polynomial.precision(name):
        together = method.prepare(jnp.asarray(keys))
        one = method.prepare(jnp.asarray(keys[1]))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b), together, one)


def test_small_products_on_the_host_are_exact():
    rng = np.random.default_rng(0)
    torus = rng.integers(0, 2**32, (3, 64), np.uint32)
    small = rng.integers(-1, 2, 64).astype(np.int8)
    want = [cggi_oracle.negacyclic(small, row) % 2**32 for row in torus]
    found = polynomial.exact_small_product(torus, small)
    np.testing.assert_array_equal(found, np.array(want))


def test_fft64_without_64_bit_types_is_an_error():
    with pytest.raises(ValueError, match="precision"):
        polynomial.method("fft64").prepare(jnp.zeros((1, 1, 8), jnp.uint32))


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match="'ntt' is not one of exact, fft64"):
        polynomial.method("ntt")


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_default_methods_exist(platform):
    assert polynomial.default_method(platform, 1) in polynomial.METHODS


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_a_matrix_of_its_own_for_each_ciphertext_is_no_default(platform):
    name = polynomial.default_method(platform, 1 << 14, unrolled=3)
    assert polynomial.method(name).bundle is not None
