"""Training by several devices that share each batch and average its gradient.

`over` wraps a trainer, and the result is used like one: `fidelity.fit.fit` need not
know. Every device holds the whole state, along a new leading axis, and takes its part
of each batch. What is computed is what one device would compute, but for the order of
sums. Batch normalisation alone differs: a device normalises by the statistics of its
own part, as is usual, and the running statistics are averaged.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fidelity.train import Anchor, Metrics, Params, State, Trainer, Variables

AXIS = "devices"
T = TypeVar("T")


def over(trainer: Trainer, devices: Sequence[jax.Device], batch_size: int) -> Trainer:
    """A trainer whose steps are shared by devices.

    Args:
        trainer: from `make_trainer` with `axis_name=parallel.AXIS`.
        devices: that share the work. Where they belong to several processes
            (`jax.distributed`), each of these makes the same calls.
        batch_size: of the trainer's configuration: the examples of all devices.

    Returns:
        A `Trainer` whose states have a leading axis of this process's devices.

    Raises:
        ValueError: devices that do not divide a batch, or none of this process.

    Example:
        >>> trainer = make_trainer(..., axis_name=AXIS)                # doctest: +SKIP
        >>> trainer = over(trainer, jax.devices(), config.batch_size)  # doctest: +SKIP
        >>> fit(trainer, trainer.init(key), dataset, config.epochs)    # doctest: +SKIP
    """
    width, left = divmod(batch_size, len(devices))
    if left:
        raise ValueError(
            f"a batch of {batch_size} examples does not split over {len(devices)} "
            "devices: make batch_size a multiple"
        )
    own = places(devices)
    if not own:
        raise ValueError(f"none of the devices {list(devices)} is of this process")
    mapped = functools.partial(jax.pmap, axis_name=AXIS, devices=devices)
    copy = mapped(lambda _, tree: tree, in_axes=(0, None))

    def shared(function: Callable[..., Any]) -> Callable[..., Any]:
        def part(place: jax.Array, state: State, *args: Any) -> Any:
            images, labels, order, *rest = args
            order = order.reshape(*order.shape[:-1], len(devices), width)
            return function(state, images, labels, order[..., place, :], *rest)

        run = mapped(part, in_axes=(0, 0, *[None] * 5), donate_argnums=1)

        def call(
            state: State,
            images: jax.Array,
            labels: jax.Array,
            order: jax.Array,
            reference: Variables | None = None,
            anchor: Anchor | None = None,
        ) -> tuple[State, Metrics]:
            args = images, labels, order, reference, anchor
            state, metrics = run(np.array(own), state, *args)
            return state, first(metrics)

        return call

    def init(
        key: jax.Array, variables: Variables | None = None, grads: Params | None = None
    ) -> State:
        return copy(np.array(own), trainer.init(key, variables, grads))

    shuffle_each = mapped(trainer.shuffle, static_broadcasted_argnums=1)

    def shuffle(state: State, count: int) -> tuple[State, jax.Array]:
        state, order = shuffle_each(state, count)
        return state, jnp.asarray(np.asarray(first(order)))

    return trainer._replace(
        init=init,
        shuffle=shuffle,
        step=shared(trainer.step),
        steps=shared(trainer.steps),
        compressed=lambda state: trainer.compressed(first(state)),
    )


def places(devices: Sequence[jax.Device]) -> list[int]:
    """Which of the devices are this process's."""
    here = jax.process_index()
    return [i for i, d in enumerate(devices) if d.process_index == here]


def first(tree: T) -> T:
    """What the first device of this process holds."""
    return jax.tree.map(lambda x: x.addressable_data(0)[0], tree)


def place(tree: T, devices: Sequence[jax.Device]) -> T:
    """Puts a copy on each device, which saves sending data anew with every call."""
    mesh = Mesh([devices[i] for i in places(devices)], (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
