"""What a compression scheme is: a differentiable projection of the parameters.

A scheme never touches the training loop. It maps the raw parameters that the optimizer
holds to the compressed parameters that the network computes with:

    state = scheme.init(params, grads)
    state = scheme.update(params, grads, step, state)   # follow a schedule
    logits = module.apply({"params": scheme.apply(params, state)}, images)

Gradients flow through `apply`: pruned weights get none, quantized ones pass straight
through. Schemes compose with `chain`. Masks and ranges are kept in flat dictionaries
by the path of the leaf they belong to, e.g. `"Block_0/Conv_0/kernel"`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

Params = Any
FlatParams = dict[str, jax.Array]


class Scheme(NamedTuple):
    """A compression scheme; every function is pure and jittable.

    Attributes:
        init: `(params, grads) -> state`; `grads` only matter to saliency criteria.
        update: `(params, grads, step, state) -> state`, before each step.
        apply: `(params, state) -> params`, the compressed parameters.
    """

    init: Callable[[Params, Params], Any]
    update: Callable[[Params, Params, jax.Array, Any], Any]
    apply: Callable[[Params, Any], Params]


def identity() -> Scheme:
    """The scheme that changes nothing."""
    return Scheme(
        init=lambda params, grads: (),
        update=lambda params, grads, step, state: state,
        apply=lambda params, state: params,
    )


def chain(*schemes: Scheme) -> Scheme:
    """Applies schemes from left to right, e.g. `chain(prune(...), quantize(...))`.

    Every scheme after the first sees the parameters that the earlier ones give.
    """

    def init(params: Params, grads: Params) -> tuple[Any, ...]:
        states = []
        for scheme in schemes:
            states.append(scheme.init(params, grads))
            params = scheme.apply(params, states[-1])
        return tuple(states)

    def update(
        params: Params, grads: Params, step: jax.Array, state: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        states = []
        for scheme, old in zip(schemes, state, strict=True):
            states.append(scheme.update(params, grads, step, old))
            params = scheme.apply(params, states[-1])
        return tuple(states)

    def apply(params: Params, state: tuple[Any, ...]) -> Params:
        for scheme, own in zip(schemes, state, strict=True):
            params = scheme.apply(params, own)
        return params

    return Scheme(init, update, apply)


def flat(params: Params) -> FlatParams:
    """`{"a": {"kernel": x}} -> {"a/kernel": x}`."""
    return flatten_dict(params, sep="/")


def nested(params: FlatParams) -> Params:
    """The inverse of `flat`."""
    return unflatten_dict(params, sep="/")


def kernels(params: Params) -> FlatParams:
    """The leaves that compression acts on: the kernels of `Conv` and `Dense` layers."""
    return {
        path: leaf
        for path, leaf in flat(params).items()
        if path.rsplit("/", 1)[-1] == "kernel"
    }


def sparsity(params: Params) -> jax.Array:
    """Fraction of kernel entries that are exactly zero, scalar float32."""
    leaves = kernels(params).values()
    zeros = sum(jnp.sum(leaf == 0) for leaf in leaves)
    return jnp.asarray(zeros) / sum(leaf.size for leaf in leaves)
