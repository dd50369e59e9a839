"""Convolutions as shifted slices and one matrix product, for ensembles.

`jax.vmap` over networks turns a convolution into one with a group for each network,
which accelerators run far below their matrix units. The same sum, written as `h w`
shifted slices side by side and one product, becomes a *batched* matrix product:

    with shifted_convolutions():
        logits = jax.vmap(module.apply, in_axes=(0, None))(stacked, images).logits

The parameters and the function are those of the module as it is.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fidelity.models.layers import Conv

_THIN = 4  # input channels up to which the band's zeros cost less than the patches


def shifted_convolution(
    x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]
) -> jax.Array:
    """2-D convolution (cross-correlation, as in `lax.conv`) by one matrix product.

    Args:
        x: `[B, H, W, K_in]`.
        kernel: `[h, w, K_in, K_out]`, same type.
        stride: along both axes.
        padding: zeros on both sides of each axis.

    Returns:
        `[B, H', W', K_out]`, `H' = (H + 2 padding - h) // stride + 1`.
    """
    h, w, inputs, outputs = kernel.shape
    if (h, w) == (1, 1) and stride == 1 and padding == (0, 0):
        return x @ kernel[0, 0]
    x = jnp.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    rows = (x.shape[1] - h) // stride + 1
    columns = (x.shape[2] - w) // stride + 1
    slices = [
        x[:, i : i + stride * (rows - 1) + 1 : stride][
            :, :, j : j + stride * (columns - 1) + 1 : stride
        ]
        for i in range(h)
        for j in range(w)
    ]
    patches = jnp.concatenate(slices, -1)
    return patches @ kernel.reshape(h * w * inputs, outputs)


def banded_convolution(
    x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]
) -> jax.Array:
    """The same as `shifted_convolution`, a whole row of pixels at a time.

    A row of outputs is the product of `h` rows of inputs with a band matrix that holds
    the kernel once for each output column. Most of it is zero, but for a few input
    channels it has the long sides that matrix units want, and copies `h` slices, not
    `h w`. Arguments and result are the same too.
    """
    h, w, inputs, outputs = kernel.shape
    batch, height, width, _ = x.shape
    rows = (height + 2 * padding[0] - h) // stride + 1
    columns = (width + 2 * padding[1] - w) // stride + 1
    tap = jnp.arange(width)[:, None] - stride * jnp.arange(columns)[None, :]
    place = tap[None] + padding[1] == jnp.arange(w)[:, None, None]  # [w, W, W']
    band = jnp.einsum("hjko,jab->hakbo", kernel, place.astype(kernel.dtype))
    x = x.reshape(batch, height, width * inputs)
    x = jnp.pad(x, ((0, 0), (padding[0],) * 2, (0, 0)))
    slices = [x[:, i : i + stride * (rows - 1) + 1 : stride] for i in range(h)]
    y = jnp.concatenate(slices, -1) @ band.reshape(h * width * inputs, -1)
    return y.reshape(batch, rows, columns, outputs)


@contextlib.contextmanager
def shifted_convolutions() -> Iterator[None]:
    """While it is active, `Conv` layers that are applied are matrix products.

    Grouped and depthwise layers, and layers that are being initialised, stay as they
    are. It acts when a function is traced: jit inside the context.
    """

    def interceptor(
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        layer = context.module
        plain = isinstance(layer, Conv) and layer.groups == 1 and not layer.depthwise
        if not plain or not layer.has_variable("params", "kernel"):
            return call(*args, **kwargs)
        assert isinstance(layer, Conv)
        params: dict[str, jax.Array] = dict(layer.variables["params"])
        kernel = params["kernel"].astype(layer.dtype)
        given = layer.padding
        padding = [k // 2 if given is None else given for k in layer.kernel_size]
        thin = kernel.shape[2] <= _THIN and max(layer.kernel_size) > 1
        convolve = banded_convolution if thin else shifted_convolution
        y = convolve(
            args[0].astype(layer.dtype), kernel, layer.strides, (padding[0], padding[1])
        )
        if layer.use_bias:
            y = y + params["bias"].astype(layer.dtype)[None, None, None, :]
        return y

    with nn.intercept_methods(interceptor):
        yield
