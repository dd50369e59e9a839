"""A whole blind rotation as one Pallas kernel.

Each step of `bootstrap.blind_rotate`, by the two limbs of the method fft32, without
leaving the chip: a ciphertext stays with its program over all n steps, and key rows
come by way of the caches, once for all ciphertexts of a program. See
`fhe.kernels.program` for what a program does.

The kernel needs Pallas' lowering by Triton; `available` says whether there is one, and
whether what it makes of the kernel is right.
"""

import concurrent.futures
import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fhe import torus
from fhe.gadget import Gadget, decompose
from fhe.kernels import instructions, layout, program, transform
from fhe.kernels.layout import Plan

try:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    pl = triton = None  # type: ignore[assignment]

NARROW = 256
"""Ciphertexts up to which four teams work on each (measured on an H100)."""

BUNDLES = 64
"""Ciphertexts whose bundles are in memory together, 20 MB each for the set R64-u3."""


def available(*, bundled: bool = False) -> bool:
    """Whether the kernel runs here: on a GPU, with this JAX, and rightly."""
    if pl is None or jax.default_backend() != "gpu":
        return False
    return is_right(bundled=bundled)


def blind_rotate(
    switched: jax.Array,
    start: jax.Array,
    key: jax.Array,
    plan: Plan,
    *,
    interpret: bool = False,
) -> jax.Array:
    """`bootstrap.blind_rotate` of a batch, from a start that is turned already.

    Args:
        switched: int32 `[B, n]` in `[0, 2N)`.
        start: uint32 `[B, k + 1, N]`.
        key: see `layout.prepare`, with a leading axis n; or bundles, with leading axes
            n and B, if `plan.bundled`: then what is in `switched` does not matter.
        plan: sizes.
        interpret: run the kernel by Pallas' interpreter, on any device.

    Returns:
        uint32 `[B, k + 1, N]`.
    """
    B, C, N = start.shape
    extra = -B % plan.group
    if extra:
        switched = jnp.pad(switched, ((0, extra), (0, 0)))
        start = jnp.pad(start, ((0, extra), (0, 0), (0, 0)))
        found = blind_rotate(switched, start, key, plan, interpret=interpret)
        return found[:B]
    state = torus.signed(start)
    state = jnp.pad(state, ((0, 0), (0, plan.column_slots - C), (0, 0)))
    state = jnp.concatenate([-state, state], axis=-1)
    inputs = [
        jnp.zeros(1, jnp.int32),
        switched.T.reshape(-1),
        jnp.asarray(layout.digit_table(plan)),
        jnp.asarray(transform.lane_table(plan.radix)),
        key.reshape(-1),
        state.reshape(-1),
    ]
    machine = instructions.INTERPRETER if interpret else instructions.GPU
    found = pl.pallas_call(
        functools.partial(program.run, plan, machine),
        out_shape=jax.ShapeDtypeStruct((state.size,), jnp.int32),
        grid=(B // plan.group,),
        input_output_aliases={len(inputs) - 1: 0},
        compiler_params=triton.CompilerParams(
            num_warps=max(1, plan.lanes // 32), num_stages=1
        ),
        interpret=interpret,
        name="blind_rotation",
    )(*inputs)
    return torus.unsigned(found.reshape(state.shape)[:, :C, N:])


@functools.cache
def is_right(*, bundled: bool = False, interpret: bool = False) -> bool:
    """A step by each layout against float64 on the host, once in a process.

    What another compiler makes of the kernel shows here, and not in a ciphertext.
    Warns if it is wrong; compiling takes some seconds.
    """
    batches = (1,) if bundled else (1, NARROW + 1)
    shapes = sorted({shape(512, batch) for batch in batches})
    run = functools.partial(_layout_is_right, bundled=bundled, interpret=interpret)
    reason = "is wrong"
    # In threads of their own, where nothing is being traced.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            right = all(pool.map(run, shapes))
        except Exception as error:  # whatever a compiler raises
            right, reason = False, f"cannot be run ({error})"
    if not right:
        warnings.warn(
            f"the fused blind rotation {reason} with this JAX and GPU; plain products "
            "take its place",
            stacklevel=2,
        )
    return right


def _layout_is_right(chosen: tuple[int, int], bundled: bool, interpret: bool) -> bool:
    mask, body, N, C = Gadget(2, 8), Gadget(2, 6), 512, 3
    rng = np.random.default_rng(0)
    key = rng.integers(0, 2**32, (1, 6, C, N), np.uint32)
    start = rng.integers(0, 2**32, (8, C, N), np.uint32)
    amounts = rng.integers(1, 2 * N, 8).astype(np.int32)
    # The second step turns by nothing, so that digits do not depend on rounding.
    switched = np.stack([amounts, 0 * amounts], axis=1)
    keys = layout.prepare(np.concatenate([key, key]))
    if bundled:
        keys = jnp.broadcast_to(keys[:1], (8, *keys.shape[1:]))
        keys = jnp.stack([keys, 0 * keys])
    plan = Plan(2, C, N, mask, body, *chosen, bundled)
    run = jax.jit(functools.partial(blind_rotate, plan=plan, interpret=interpret))
    found = np.asarray(run(switched, start, keys))
    want = []
    for a, turn in zip(start, amounts, strict=True):
        turned = np.roll(np.concatenate([a, -a], axis=1), int(turn), axis=1)
        want.append(_step(a, a if bundled else turned[:, :N] - a, key[0], mask, body))
    error = (found - np.stack(want)).view(np.int32)
    return bool(np.abs(error.astype(np.float64)).max() < 2.0**15)


def _step(
    start: np.ndarray, factor: np.ndarray, key: np.ndarray, mask: Gadget, body: Gadget
) -> np.ndarray:
    """Uint32 `[C, N]` and a key `[R, C, N]` times another, to about `2**-20`."""
    C, N = start.shape
    gadgets = [mask] * (C - 1) + [body]
    digits = np.concatenate(
        [
            np.asarray(decompose(jnp.asarray(part), gadget))
            for part, gadget in zip(factor, gadgets, strict=True)
        ]
    )
    twist = np.exp(-1j * np.pi * np.arange(N // 2) / N)

    def values(x: np.ndarray) -> np.ndarray:
        return np.fft.fft((x[..., : N // 2] - 1j * x[..., N // 2 :]) * twist)

    entries = values(key.view(np.int32).astype(np.float64))
    half = np.fft.ifft(np.einsum("rf,rcf->cf", values(digits), entries)) / twist
    added = np.rint(np.concatenate([half.real, -half.imag], axis=-1))
    return start + added.astype(np.int64).astype(np.uint32)


def shape(size: int, batch: int) -> tuple[int, int]:
    """The fastest group and number of teams for a batch."""
    if size < 128:
        return 1, 2
    return (1, 4) if batch <= NARROW else (4, 1)


@functools.cache
def rotator(
    mask: Gadget, body: Gadget, *, interpret: bool = False
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """`blind_rotate` of one ciphertext; under vmap one kernel does all."""

    @_batched
    def many(switched: jax.Array, start: jax.Array, key: jax.Array) -> jax.Array:
        B, C, N = start.shape
        plan = Plan(switched.shape[1], C, N, mask, body, *shape(N, B))
        return blind_rotate(switched, start, key, plan, interpret=interpret)

    return many


@functools.cache
def bundled_rotator(
    mask: Gadget, body: Gadget, *, interpret: bool = False
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """`rotator` for groups of bits, see `fhe.unroll`; a program for each ciphertext.

    Its function takes the exponents, int32 `[n / g, 2**g - 1]`, where the other takes a
    switched mask, and a key with these leading axes.
    """

    @_batched
    def some(exponents: jax.Array, start: jax.Array, key: jax.Array) -> jax.Array:
        B, C, N = start.shape
        steps = exponents.shape[1]
        # By steps first, and ciphertexts within: these share what a step reads.
        bundles = layout.bundle(key[:, None], exponents.swapaxes(0, 1))
        plan = Plan(steps, C, N, mask, body, *shape(N, 1), bundled=True)
        none = jnp.zeros((B, steps), jnp.int32)
        return blind_rotate(none, start, bundles, plan, interpret=interpret)

    @_batched
    def many(exponents: jax.Array, start: jax.Array, key: jax.Array) -> jax.Array:
        def one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
            return some(*pair, key)

        return jax.lax.map(one, (exponents, start), batch_size=BUNDLES)

    return many


def _batched(many: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """A function of one ciphertext from one of a batch, which vmap calls."""

    @jax.custom_batching.custom_vmap
    def one(turns: jax.Array, start: jax.Array, key: jax.Array) -> jax.Array:
        return many(turns[None], start[None], key)[0]

    @one.def_vmap
    def _(
        size: int, has: list[bool], turns: jax.Array, start: jax.Array, key: Any
    ) -> tuple[jax.Array, bool]:
        if has[2]:
            raise NotImplementedError("a kernel rotates all ciphertexts by one key")
        if not has[0]:
            turns = jnp.broadcast_to(turns, (size, *turns.shape))
        if not has[1]:
            start = jnp.broadcast_to(start, (size, *start.shape))
        return many(turns, start, key), True

    return one
