"""Uniform affine quantization: simulated in training, integers in storage.

`real = (integer - zero_point) * scale`, with `2^bits` integers around zero. The grid
always holds an exact zero, so pruned weights stay pruned. Simulated ("fake")
quantization rounds in the forward pass and lets the gradient straight through in the
backward pass (Bengio et al. 2013, arXiv:1308.3432; Jacob et al. 2018,
arXiv:1712.05877; Nagel et al. 2021, arXiv:2106.08295).

Weights are quantized by `weights`, a `fidelity.scheme.Scheme`: without further
training this is post-training quantization (PTQ), inside a train step it is
quantization-aware training (QAT). Layer inputs are quantized by `quantized_inputs`
with ranges from `calibrate`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.artifact import QTensor, dequantize
from fidelity.models.layers import Conv, Dense
from fidelity.scheme import Params, Scheme, flat, kernels, nested

Ranges = dict[str, tuple[jax.Array, jax.Array]]  # path of a layer -> (low, high)


@dataclasses.dataclass(frozen=True)
class Grid:
    """How a tensor is quantized.

    Attributes:
        bits: 2 to 8.
        symmetric: zero point 0 and integers in `[-(2^(b-1) - 1), 2^(b-1) - 1]`;
            otherwise affine, all `2^b` integers.
        per_channel: one scale for each output channel (last axis), else one in all.
        clip: "absmax" covers every value, "mse" shrinks the range to the one with the
            smallest squared error (it matters from 4 bits down).
    """

    bits: int = 8
    symmetric: bool = True
    per_channel: bool = True
    clip: str = "absmax"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be 2 to 8, got {self.bits}")
        if self.clip not in ("absmax", "mse"):
            raise ValueError(f"unknown clip {self.clip!r}; choose absmax or mse")

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        half = 2 ** (self.bits - 1)
        return (1 - half if self.symmetric else -half), half - 1


def scale_and_zero(
    low: jax.Array, high: jax.Array, grid: Grid
) -> tuple[jax.Array, jax.Array]:
    """Scale (float32) and zero point (int32) that cover `[low, high]` and zero.

    Args:
        low: any shape.
        high: same shape.
        grid: symmetric or affine, and bits.

    Example:
        >>> s, z = scale_and_zero(jnp.array(-1.0), jnp.array(3.0), Grid(8, False))
        >>> round(float(s), 5), int(z)
        (0.01569, -64)
    """
    smallest, largest = grid.bounds
    low, high = jnp.minimum(low, 0.0), jnp.maximum(high, 0.0)
    if grid.symmetric:
        scale = jnp.maximum(-low, high) / largest
        return jnp.where(scale > 0, scale, 1.0), jnp.zeros(scale.shape, jnp.int32)
    scale = (high - low) / (largest - smallest)
    scale = jnp.where(scale > 0, scale, 1.0)
    zero = jnp.round(smallest - low / scale)
    return scale, jnp.clip(zero, smallest, largest).astype(jnp.int32)


def _integers(x: jax.Array, scale: jax.Array, zero: jax.Array, grid: Grid) -> jax.Array:
    return jnp.clip(jnp.round(x / scale) + zero, *grid.bounds)


def fake_quantize(
    x: jax.Array, scale: jax.Array, zero: jax.Array, grid: Grid
) -> jax.Array:
    """Rounds to the grid; the gradient is one where nothing is clipped, else zero.

    Args:
        x: float, any shape.
        scale: float32, broadcastable against `x` without new axes.
        zero: int32, same shape as `scale`.
        grid: bits.

    Returns:
        Same shape and type as `x`.
    """
    smallest, largest = grid.bounds
    nearest = jnp.round(x / scale) + zero
    rounded = (jnp.clip(nearest, smallest, largest) - zero) * scale
    inside = (nearest >= smallest) & (nearest <= largest)
    # The difference is exactly zero, so the value lies on the grid to the last bit.
    through = jnp.where(inside, x - jax.lax.stop_gradient(x), 0)
    return (jax.lax.stop_gradient(rounded) + through).astype(x.dtype)


def weight_range(w: jax.Array, grid: Grid) -> tuple[jax.Array, jax.Array]:
    """Range of a kernel: `[1, .., 1, K_out]` per channel, else `[1, .., 1]`."""
    axes = tuple(range(w.ndim - 1)) if grid.per_channel else tuple(range(w.ndim))
    low, high = w.min(axes, keepdims=True), w.max(axes, keepdims=True)
    if grid.clip == "absmax":
        return low, high

    def error(fraction: jax.Array) -> jax.Array:
        scale, zero = scale_and_zero(low * fraction, high * fraction, grid)
        rounded = (_integers(w, scale, zero, grid) - zero) * scale
        return jnp.sum(jnp.square(rounded - w), axes, keepdims=True)

    fractions = jnp.linspace(0.3, 1.0, 36)
    errors = jax.lax.map(error, fractions)
    best = fractions[jnp.argmin(errors, 0)]
    return low * best, high * best


def weights(grid: Grid = Grid()) -> Scheme:
    """Fake-quantized kernels; the ranges follow the weights while they train.

    Example:
        >>> scheme = weights(Grid(bits=2))
        >>> params = {"a": {"kernel": jnp.array([[0.2], [-1.0]])}}
        >>> scheme.apply(params, scheme.init(params, params))["a"]["kernel"].tolist()
        [[0.0], [-1.0]]
    """

    def apply(params: Params, state: Any) -> Params:
        leaves = flat(params)
        for path, w in kernels(params).items():
            scale, zero = scale_and_zero(
                *jax.lax.stop_gradient(weight_range(w, grid)), grid
            )
            leaves[path] = fake_quantize(w, scale, zero, grid)
        return nested(leaves)

    return Scheme(
        init=lambda params, grads: (),
        update=lambda params, grads, step, state: state,
        apply=apply,
    )


def quantize_tensor(w: jax.Array, grid: Grid = Grid()) -> QTensor:
    """A kernel as integers, scales and zero points; exact against `weights`."""
    scale, zero = scale_and_zero(*weight_range(w, grid), grid)
    return QTensor(
        values=_integers(w, scale, zero, grid).astype(jnp.int8),
        scale=scale,
        zero_point=zero,
        bits=grid.bits,
        axis=w.ndim - 1 if grid.per_channel else None,
    )


def to_integers(params: Params, grid: Grid = Grid()) -> Params:
    """Parameters with every kernel as a `QTensor`, for `fidelity.artifact.save`."""
    leaves: dict[str, Any] = dict(flat(params))
    for path, w in kernels(params).items():
        leaves[path] = quantize_tensor(w, grid)
    return nested(leaves)


def from_integers(variables: Any) -> Any:
    """Replaces every `QTensor` of a tree by its real numbers, float32."""
    return jax.tree.map(
        lambda leaf: dequantize(leaf) if isinstance(leaf, QTensor) else leaf,
        variables,
        is_leaf=lambda leaf: isinstance(leaf, QTensor),
    )


@contextlib.contextmanager
def _on_inputs(function: Callable[[str, jax.Array], jax.Array]) -> Iterator[None]:
    """Replaces the input of every `Conv` and `Dense` by `function(path, input)`."""

    def interceptor(
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if isinstance(context.module, (Conv, Dense)):
            path = "/".join(context.module.path)
            args = (function(path, args[0]), *args[1:])
        return call(*args, **kwargs)

    with nn.intercept_methods(interceptor):
        yield


def calibrate(
    apply: Callable[[jax.Array], Any],
    batches: Iterable[jax.Array],
    *,
    percentile: float = 100.0,
) -> Ranges:
    """Ranges of every layer's input over calibration images.

    Args:
        apply: `images [B, H, W, K] -> anything`, the network in evaluation mode.
        batches: normalised images; a few hundred from the training set suffice.
        percentile: 100 takes the extremes; 99.9 drops outliers on both sides. The
            batches' ranges are averaged then, otherwise united.

    Returns:
        `{path: (low, high)}`, scalars float32.

    Raises:
        ValueError: no batch, or a percentile outside `(50, 100]`.
    """
    if not 50 < percentile <= 100:
        raise ValueError(f"percentile must lie in (50, 100], got {percentile}")

    @jax.jit
    def observe(images: jax.Array) -> Ranges:
        seen: Ranges = {}

        def record(path: str, x: jax.Array) -> jax.Array:
            values = x.astype(jnp.float32).reshape(-1)
            tails = jnp.array([100.0 - percentile, percentile])
            low, high = jnp.percentile(values, tails)
            seen[path] = (low, high)
            return x

        with _on_inputs(record):
            apply(images)
        return seen

    rows = [observe(images) for images in batches]
    if not rows:
        raise ValueError("calibration needs at least one batch of images")
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *rows)
    if percentile < 100:
        return jax.tree.map(jnp.mean, stacked)
    return {path: (low.min(), high.max()) for path, (low, high) in stacked.items()}


@contextlib.contextmanager
def quantized_inputs(
    ranges: Ranges,
    grid: Grid = Grid(symmetric=False),
) -> Iterator[None]:
    """While it is active, modules that are applied quantize their layers' inputs.

    Args:
        ranges: from `calibrate`; the ranges stay fixed in training too.
        grid: `per_channel` and `clip` do not matter here.

    Example:
        >>> with quantized_inputs(ranges):          # doctest: +SKIP
        ...     logits = module.apply(variables, images).logits
    """

    def quantize(path: str, x: jax.Array) -> jax.Array:
        scale, zero = scale_and_zero(*ranges[path], grid)
        shape = (1,) * x.ndim
        return fake_quantize(x, scale.reshape(shape), zero.reshape(shape), grid)

    with _on_inputs(quantize):
        yield
