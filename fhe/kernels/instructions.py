"""What Pallas' lowering for GPUs and its interpreter do in different ways."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

try:
    from jax.experimental.pallas import triton
except ImportError:  # a JAX without this lowering
    triton = None  # type: ignore[assignment]

Fma = Callable[..., jax.Array]
"""Of a, b, c and "ab + c" (if not given), "ab - c" or "c - ab"."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Instructions for a kernel.

    Attributes:
        barrier: all lanes of a program have come here before one goes on.
        round: float32 to the nearest int32.
        fma: see `Fma`.
    """

    barrier: Callable[[], None]
    round: Callable[[jax.Array], jax.Array]
    fma: Fma


def _instruction(
    code: str, operands: Sequence[jax.Array], registers: str, dtype: Any
) -> jax.Array:
    [found] = triton.elementwise_inline_asm(
        code,
        args=operands,
        constraints=registers,
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(operands[0].shape, dtype)],
    )
    return found


def _round(x: jax.Array) -> jax.Array:
    # JAX's conversion would first look for numbers out of range.
    return _instruction("cvt.rni.s32.f32 $0, $1;", [x], "=r,f", jnp.int32)


_FUSED = {
    "ab + c": "fma.rn.f32 $0, $1, $2, $3;",
    "ab - c": "{ .reg .f32 n; neg.f32 n, $3; fma.rn.f32 $0, $1, $2, n; }",
    "c - ab": "{ .reg .f32 n; neg.f32 n, $1; fma.rn.f32 $0, n, $2, $3; }",
}


def _fused(a: Any, b: jax.Array, c: jax.Array, what: str = "ab + c") -> jax.Array:
    # XLA's compiler leaves a product and a sum two instructions.
    shape = jnp.broadcast_shapes(jnp.shape(a), b.shape, c.shape)
    operands = [jnp.broadcast_to(jnp.float32(x), shape) for x in (a, b, c)]
    return _instruction(_FUSED[what], operands, "=f,f,f,f", jnp.float32)


def _unfused(a: Any, b: jax.Array, c: jax.Array, what: str = "ab + c") -> jax.Array:
    product = a * b
    if what == "ab + c":
        return product + c
    return product - c if what == "ab - c" else c - product


GPU = Machine(lambda: triton.debug_barrier(), _round, _fused)
INTERPRETER = Machine(lambda: None, lambda x: jnp.rint(x).astype(jnp.int32), _unfused)
