"""Physically smaller networks out of removed channels, and what they cost.

The modules of `fidelity.models` take their widths from the parameters they are given,
so the slimmed network is the same module applied to smaller arrays:

    groups = channel_groups(module.apply, variables, images)
    small = shrink(variables, groups, kept_channels(groups, variables["params"]))
    logits = module.apply(small, images).logits
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fidelity.groups import Group
from fidelity.scheme import flat, nested


def shrink(variables: Any, groups: Sequence[Group], keep: Sequence[Any]) -> Any:
    """Cuts channels out of every array that holds them.

    Args:
        variables: nested dictionary of parameters and statistics.
        groups: from `fidelity.groups.channel_groups`.
        keep: for each group, `[size]` bool with at least one True.

    Returns:
        The same tree with smaller arrays. Applied to the same images it gives the
        logits of the masked network, exactly up to rounding.

    Raises:
        ValueError: a mask of the wrong length, or one that keeps nothing.
    """
    leaves = flat(variables)
    kept: dict[tuple[str, int], np.ndarray] = {}
    for group, mask in zip(groups, keep, strict=True):
        mask = np.asarray(mask)
        if mask.shape != (group.size,) or not mask.any():
            raise ValueError(
                f"a group of {group.size} channels needs a mask of that length with at "
                f"least one True, got shape {mask.shape} with {int(mask.sum())} True"
            )
        for path, axis, positions in group.members:
            size = leaves[path].shape[axis]
            along = kept.setdefault((path, axis), np.ones(size, bool))
            along[positions] = mask[:, None]
    small = {path: np.asarray(leaf) for path, leaf in leaves.items()}
    for (path, axis), along in kept.items():
        small[path] = np.compress(along, small[path], axis=axis)
    return nested({path: jnp.asarray(leaf) for path, leaf in small.items()})


def count_parameters(variables: Any) -> int:
    """Number of trainable parameters, statistics not counted.

    Example:
        >>> count_parameters({"params": {"kernel": jnp.ones((3, 4))}})
        12
    """
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def count_macs(apply: Callable[..., Any], variables: Any, images: Any) -> int:
    """Multiply-accumulates of the convolutions and matrix products of one call.

    Args:
        apply: `(variables, images) -> anything`.
        variables: or their `jax.ShapeDtypeStruct`s.
        images: `[B, H, W, K]`, or its `jax.ShapeDtypeStruct`.

    Example:
        >>> count_macs(lambda w, x: x @ w, jnp.ones((3, 4)), jnp.ones((2, 3)))
        24
    """
    total = 0

    def visit(jaxpr: Any) -> None:
        nonlocal total
        for equation in jaxpr.eqns:
            shapes = [v.aval.shape for v in equation.invars]
            out = equation.outvars[0].aval.size if equation.outvars else 0
            if equation.primitive.name == "dot_general":
                axes = equation.params["dimension_numbers"][0][0]
                total += out * int(np.prod([shapes[0][i] for i in axes]))
            elif equation.primitive.name == "conv_general_dilated":
                channels = equation.params["dimension_numbers"].rhs_spec[0]
                total += out * int(np.prod(shapes[1]) // shapes[1][channels])
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    visit(inner)

    visit(jax.make_jaxpr(apply)(variables, images).jaxpr)
    return total


def measure_latency(
    apply: Callable[[Any, jax.Array], Any],
    variables: Any,
    images: jax.Array,
    *,
    repeats: int = 10,
) -> float:
    """Median seconds of a compiled call on the default device.

    Args:
        apply: `(variables, images) -> anything`; compiled here.
        variables: of the network.
        images: one batch.
        repeats: timed calls, after two that are not.
    """
    call = jax.jit(apply)
    seconds = []
    for i in range(repeats + 2):
        start = time.perf_counter()
        jax.block_until_ready(call(variables, images))
        if i >= 2:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
