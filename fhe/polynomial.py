"""Products of digit polynomials by key polynomials modulo `X**N + 1`.

A *method* computes `sum_r digits[r] * key[r, c]` for every column `c`, in two halves:
`prepare` turns a key into the form that `product` reads, once. All methods take small
signed digits and a torus key; the exact ones agree bit for bit, the Fourier ones add an
error far below the ciphertext's own noise.

* `exact`: uint32 products and sums, the definition; slow.
* `fft64`: complex128 transforms.
* `fft32`: complex64 transforms with the key in two limbs. The upper limb's product is
  an integer below `2**22` that rounding restores exactly, and the lower limb's error
  starts `2**8` lower, which the mask's amplification needs.
* `fused`: the same with the whole blind rotation in one GPU kernel, see
  `fhe.kernels.rotation`; elsewhere, or for sizes that the kernel does not know, as
  `fft32`.
* `int8`: one matrix product of int8 digits by the key's Toeplitz matrices in four int8
  limbs, built from the key at every step; exact.
* `int8_stored`: the same with the Toeplitz matrices in memory (for the default
  parameters, 12 GB).
* `float16`: the same with three 11-bit limbs in float16, sums in float32; exact as
  long as sums stay below `2**24`, which is 6.9 standard deviations.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fhe import torus
from fhe.kernels import layout, rotation

Prepared = Any  # an array or a pytree of arrays; leading axes follow the key's


class Method(NamedTuple):
    """One way to multiply.

    `prepare` takes a uint32 key `[..., R, C, N]`; its result keeps the leading axes.
    `product` takes int32 digits `[R, N]` and one prepared key, and gives uint32
    `[C, N]`. `bundle`, where keys are prepared linearly, does `fhe.unroll.bundle` to
    prepared ones.
    """

    name: str
    prepare: Callable[[jax.Array], Prepared]
    product: Callable[[jax.Array, Prepared], jax.Array]
    exact: bool
    bundle: Callable[[Prepared, jax.Array], Prepared] | None = None


def exact_small_product(polynomials: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Host product of torus polynomials by one with coefficients in -1, 0, 1.

    A float64 matrix product of integers below `2**31 * N`, hence without rounding.

    Args:
        polynomials: uint32 `[..., N]`.
        small: int8 `[N]`.

    Returns:
        uint32 `[..., N]`.
    """
    N = small.shape[-1]
    signed = np.concatenate([small, -small]).astype(np.float64)
    offset = np.arange(N)[None, :] - np.arange(N)[:, None]
    # float64 on the host reaches BLAS; NumPy's integer products do not.
    values = polynomials.view(np.int32).astype(np.float64) @ signed[offset % (2 * N)]
    return values.astype(np.int64).astype(np.uint32)


def _toeplitz(key: jax.Array) -> jax.Array:
    """`[..., N]` to `[..., N, N]` with entry `[i, j]` the factor of digit j in i."""
    N = key.shape[-1]
    offset = np.arange(N)[:, None] - np.arange(N)[None, :]
    values = jnp.take(key, offset % N, axis=-1)
    return jnp.where(jnp.broadcast_to(offset < 0, values.shape), -values, values)


def _exact_product(digits: jax.Array, key: jax.Array) -> jax.Array:
    matrix = _toeplitz(key)
    return jnp.einsum("rj,rcij->ci", torus.unsigned(digits), matrix)


def _twist(N: int, dtype: np.typing.DTypeLike) -> np.ndarray:
    return np.exp(-1j * np.pi * np.arange(N // 2) / N).astype(dtype)


def _transform(values: jax.Array, dtype: np.typing.DTypeLike) -> jax.Array:
    """Values at the roots of `X**N + 1` with `X**(N/2) = -i`: `[..., N]` to half."""
    N = values.shape[-1]
    half = jax.lax.complex(values[..., : N // 2], -values[..., N // 2 :])
    twist = _twist(N, dtype).reshape((1,) * (values.ndim - 1) + (-1,))
    return jnp.fft.fft(half * twist)


def _inverse(spectrum: jax.Array, dtype: np.typing.DTypeLike) -> jax.Array:
    N = 2 * spectrum.shape[-1]
    twist = _twist(N, dtype).conj().reshape((1,) * (spectrum.ndim - 1) + (-1,))
    # Not ifft: on a GPU its division by N / 2 is a pass over memory of its own.
    half = jnp.conj(jnp.fft.fft(jnp.conj(spectrum))) * (twist / (N // 2)).astype(dtype)
    return jnp.concatenate([half.real, -half.imag], axis=-1)


def _pointwise(digits: jax.Array, key: jax.Array) -> jax.Array:
    """`sum_r digits[r] * key[r]` over `[R, F]` and `[R, C, F]`, as one fused loop."""
    # Not a matrix product: 6 x 6 per frequency, and a batch in front, suits none.
    terms = [digits[r][None, :] * key[r] for r in range(key.shape[0])]
    return functools.reduce(jnp.add, terms)


def _bundle(entries: jax.Array, exponents: jax.Array) -> jax.Array:
    """Of spectra, complex `[M, R, C, F]` to `[R, C, F]`."""
    M, R, C, F = entries.shape
    factors = layout.factors(exponents, F, entries.dtype)
    return _pointwise(factors, entries.reshape(M, R * C, F)).reshape(R, C, F)


def _need_x64() -> None:
    # A context inside a traced function would not reach jnp.fft's own jit.
    if jnp.asarray(0.0).dtype != jnp.float64:
        raise ValueError(
            "fft64 needs 64-bit types: trace it inside polynomial.precision('fft64')"
        )


def _fft64_prepare(key: jax.Array) -> jax.Array:
    _need_x64()
    return _transform(torus.signed(key).astype(jnp.float64), np.complex128)


def _fft64_product(digits: jax.Array, key: jax.Array) -> jax.Array:
    _need_x64()
    spectrum = _transform(digits.astype(jnp.float64), np.complex128)
    values = _inverse(_pointwise(spectrum, key), np.complex128)
    return jnp.rint(values).astype(jnp.int64).astype(jnp.uint32)


def _fft32_prepare(key: jax.Array) -> jax.Array:
    """Columns `[2 * C]`: the upper limbs' and then the lower limbs' spectra."""
    low = (torus.signed(key) << 8) >> 8
    high = torus.signed(key - torus.unsigned(low)) >> 24
    # Transformed in float64 on the host: the key's own rounding is then the last bit.
    parts = np.concatenate([np.asarray(high), np.asarray(low)], axis=-2)
    N = parts.shape[-1]
    half = parts[..., : N // 2] - 1j * parts[..., N // 2 :]
    spectrum = np.fft.fft(half * _twist(N, np.complex128))
    return jnp.asarray(spectrum.astype(np.complex64))


def _fft32_product(digits: jax.Array, key: jax.Array) -> jax.Array:
    spectrum = _transform(digits.astype(jnp.float32), np.complex64)
    values = _inverse(_pointwise(spectrum, key), np.complex64)
    high, low = jnp.split(values, 2, axis=-2)
    # Exact once rounded; what the shift drops is a multiple of 2**32.
    upper = torus.unsigned(jnp.rint(high).astype(jnp.int32)) << 24
    low = low - 2.0**32 * jnp.rint(low * 2.0**-32)  # exact, and within int32
    return upper + torus.unsigned(jnp.rint(low).astype(jnp.int32))


def _fused_prepare(key: jax.Array) -> jax.Array:
    fits = layout.supports(key.shape[-1])
    return layout.prepare(key) if fits else _fft32_prepare(key)


def _fused_bundle(entries: jax.Array, exponents: jax.Array) -> jax.Array:
    # Complex for sizes that the kernel does not know.
    bundle = _bundle if jnp.iscomplexobj(entries) else layout.bundle
    return bundle(entries, exponents)


def _fused_product(digits: jax.Array, key: jax.Array) -> jax.Array:
    if not layout.supports(digits.shape[-1]):
        return _fft32_product(digits, key)
    spectrum = layout.spectrum(key)
    extra = spectrum.shape[0] - digits.shape[0]
    return _fft32_product(jnp.pad(digits, ((0, extra), (0, 0))), spectrum)


class Limbs(NamedTuple):
    """How a matrix method writes the key: `number` limbs of `bits` in `dtype`."""

    bits: int
    number: int
    dtype: Any
    accumulator: Any


_INT8 = Limbs(8, 4, jnp.int8, jnp.int32)
_FLOAT16 = Limbs(11, 3, jnp.float16, jnp.float32)


def _limbs_prepare(key: jax.Array, form: Limbs) -> jax.Array:
    """`[..., R, C, N]` to limbs `[..., C, number, R, 2 * N]` of `(key, -key)`.

    Limbs of -key are not the negated limbs: int8 has no +128.
    """
    both = jnp.concatenate([key, -key], axis=-1)
    parts = torus.limbs(both, form.bits, form.number).astype(form.dtype)
    return jnp.moveaxis(parts, (0, -2), (-3, -4))


def _matrix(key: jax.Array) -> jax.Array:
    """Limbs `[..., C, L, R, 2N]` to matrices `[..., C, L, N, R, N]`."""
    N = key.shape[-1] // 2
    offset = (np.arange(N)[:, None] - np.arange(N)[None, :]) % (2 * N)
    return jnp.swapaxes(jnp.take(key, offset, axis=-1, mode="clip"), -3, -2)


def _matrix_product(digits: jax.Array, matrix: jax.Array, form: Limbs) -> jax.Array:
    C, L, N = matrix.shape[:3]
    # Both operands end in the contracted axis, as int8 matrix units want them.
    sums = jax.lax.dot_general(
        digits.astype(form.dtype).reshape(-1),
        matrix.reshape(C * L * N, -1),
        (((0,), (1,)), ((), ())),
        preferred_element_type=form.accumulator,
    )
    parts = torus.unsigned(sums.astype(jnp.int32)).reshape(C, L, N)
    total = parts[:, 0]
    for i in range(1, L):
        total = total + (parts[:, i] << (form.bits * i))
    return total


def _matrix_method(name: str, form: Limbs, *, stored: bool = False) -> Method:
    prepare = functools.partial(_limbs_prepare, form=form)
    if stored:
        # Under jit, or the limbs would be expanded as int32 first.
        return Method(
            name,
            jax.jit(lambda key: _matrix(prepare(key))),
            functools.partial(_matrix_product, form=form),
            exact=True,
        )
    return Method(
        name,
        prepare,
        lambda digits, key: _matrix_product(digits, _matrix(key), form),
        exact=True,
    )


METHODS = {
    method.name: method
    for method in (
        Method("exact", jnp.asarray, _exact_product, exact=True),
        Method("fft64", _fft64_prepare, _fft64_product, False, _bundle),
        Method("fft32", _fft32_prepare, _fft32_product, False, _bundle),
        Method("fused", _fused_prepare, _fused_product, False, _fused_bundle),
        _matrix_method("int8", _INT8),
        _matrix_method("int8_stored", _INT8, stored=True),
        _matrix_method("float16", _FLOAT16),
    )
}


def method(name: str) -> Method:
    """A method by name.

    Raises:
        ValueError: the name is none of `METHODS`.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is not one of {', '.join(METHODS)}")
    return METHODS[name]


def precision(name: str) -> contextlib.AbstractContextManager[Any]:
    """The context that a method is traced and run in: 64-bit types for `fft64`."""
    return jax.enable_x64(True) if name == "fft64" else contextlib.nullcontext()


def default_method(platform: str, batch: int, unrolled: int = 1) -> str:
    """The fastest method of a device whose noise equals the exact one's.

    Without the fused kernel a matrix unit pays once a large batch shares the step's
    Toeplitz matrix (measured on an H200: equal at 4,096 gates), as it cannot where each
    ciphertext has a bundle of its own.

    Args:
        platform: `jax.Device.platform`.
        batch: ciphertexts bootstrapped together.
        unrolled: secret bits of a step, see `fhe.unroll`.
    """
    if platform == "gpu" and rotation.available(bundled=unrolled > 1):
        return "fused"
    shared = unrolled == 1 and batch >= 4096
    return "int8" if shared and platform != "cpu" else "fft32"
