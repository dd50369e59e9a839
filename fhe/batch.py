"""Gates on arrays of encrypted bits, without a circuit."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fhe import polynomial, torus
from fhe.engine import device_key, make_engine
from fhe.gates import AND, ANDNY, Gate
from fhe.keys import ServerKey, check_ciphertexts
from fhe.torus import Array


def level(
    server: ServerKey,
    gates: Sequence[Gate],
    inputs: Array,
    *,
    method: str | None = None,
) -> Callable[[], jax.Array]:
    """One batched bootstrap of independent gates, ready to be called.

    Args:
        server: the server key.
        gates: B gates, of any kinds.
        inputs: uint32 `[B, 3, dimension + 1]`; a two-input gate ignores the third.
        method: one of `polynomial.METHODS`.

    Returns:
        A function that runs it on the device, giving uint32 `[B, dimension + 1]`.
    """
    params = server.params
    check_ciphertexts(params, inputs)
    if inputs.shape[:-1] != (len(gates), 3):
        raise ValueError(f"{len(gates)} gates do not fit inputs {list(inputs.shape)}")
    name = method or polynomial.default_method(
        jax.devices()[0].platform, len(gates), params.unrolled
    )
    engine, key = make_engine(params, name, None), device_key(server, name, None)
    rows = [(*g.weights, 0)[:3] for g in gates]
    weights = jnp.asarray(np.array(rows, np.int8))
    offset = jnp.asarray(np.array([g.offset for g in gates], np.int8))
    operands = jnp.arange(inputs.size // inputs.shape[-1], dtype=jnp.int32)
    wires = jnp.asarray(inputs).reshape(-1, inputs.shape[-1])

    def run() -> jax.Array:
        with polynomial.precision(name):
            phases = engine.read(wires, operands.reshape(-1, 3), weights, offset)
            return engine.bootstrap(phases, key)

    return run


def apply_gate(
    server: ServerKey, gate: Gate, *inputs: Array, method: str | None = None
) -> jax.Array:
    """One gate on arrays of encrypted bits.

    Args:
        server: the server key.
        gate: see `fhe.gates`.
        *inputs: for each of the gate's inputs, uint32 `[B, dimension + 1]`.
        method: one of `polynomial.METHODS`.

    Returns:
        uint32 `[B, dimension + 1]`.

    Example:
        >>> both = apply_gate(server, gates.AND, a, b)  # doctest: +SKIP
    """
    if len(inputs) != len(gate.weights) or len({a.shape for a in inputs}) != 1:
        raise ValueError(
            f"{gate.name} takes {len(gate.weights)} arrays of one shape, got "
            f"{[list(a.shape) for a in inputs]}"
        )
    # Any third input will do, its weight is zero.
    filled = [*inputs, inputs[0]][:3]
    stacked = jnp.stack([jnp.asarray(a) for a in filled], axis=1)
    return level(server, [gate] * stacked.shape[0], stacked, method=method)()


def invert(ciphertexts: Array) -> Array:
    """NOT, which is free."""
    return -ciphertexts


def multiplex(
    server: ServerKey,
    condition: Array,
    when_true: Array,
    when_false: Array,
    *,
    method: str | None = None,
) -> jax.Array:
    """`condition ? when_true : when_false` in two bootstraps of depth one.

    At most one of `condition & when_true` and `~condition & when_false` is true, so
    that their sum plus 1/8 encodes the choice (the TFHE library's MUX). The result has
    twice the noise variance of a gate's.

    Args:
        server: the server key.
        condition: uint32 `[B, dimension + 1]`.
        when_true: the same.
        when_false: the same.
        method: one of `polynomial.METHODS`.
    """
    taken = apply_gate(server, AND, condition, when_true, method=method)
    other = apply_gate(server, ANDNY, condition, when_false, method=method)
    return (taken + other).at[:, -1].add(jnp.uint32(torus.EIGHTH))
