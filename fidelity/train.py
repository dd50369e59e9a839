"""One training loop for references and for compressed networks.

Training a reference is recovery without a scheme and without a teacher, so both are the
same pure function: a step draws a batch, applies the scheme to the raw parameters,
compares the network's output with the labels and the reference's output, weighs the
terms, and follows the gradient. Steps can be scanned, so that an epoch is one call and
`train` is one jittable function of a key; `jax.vmap` over keys trains an ensemble.

`fidelity.fit` adds what a long job on a host needs: progress and checkpoints.

Shapes: `N` examples, `B` batch, `S` steps, `K` loss terms, `C` classes.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fidelity import losses, quantize, scheme as scheme_lib, weighting as weighting_lib
from fidelity.data import augment, normalize
from fidelity.models.layers import Output
from fidelity.scheme import FlatParams, Params, Scheme
from fidelity.weighting import Weighting

Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyper-parameters of SGD with Nesterov momentum and a cosine schedule.

    Attributes:
        epochs: passes over the training set.
        batch_size: `B`; the incomplete last batch of an epoch is dropped.
        learning_rate: at the peak.
        warmup: fraction of all steps that the learning rate rises linearly.
        momentum: of SGD.
        weight_decay: on kernels only.
        pad: pixels of the random crop, 0 for none.
        flip: random horizontal flips.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    pad: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be >= 1, got {self}")
        if self.learning_rate <= 0 or not 0 <= self.warmup < 1:
            raise ValueError(f"learning_rate > 0 and 0 <= warmup < 1, got {self}")


class State(NamedTuple):
    """Everything that changes while training; a pytree of arrays."""

    step: jax.Array  # [] int32
    key: jax.Array  # [2] uint32, raw key data
    params: Params  # raw, float32
    batch_stats: Any
    opt_state: Any
    scheme_state: Any
    weighting_state: Any


class Metrics(NamedTuple):
    """Means over the steps of one call."""

    terms: jax.Array  # [K]
    weights: jax.Array  # [K]
    accuracy: jax.Array  # []


class Anchor(NamedTuple):
    """The pull of the augmented Lagrangian; see `fidelity.learning_compression`."""

    target: FlatParams  # theta, of the kernels
    multiplier: FlatParams  # lambda, of the kernels
    penalty: jax.Array  # [] mu


class Trainer(NamedTuple):
    """Pure functions for one network, scheme and loss.

    Attributes:
        init: `(key, variables, grads) -> State`; `variables=None` draws new ones.
        shuffle: `(state, N) -> (state, order [S, B])`, the batches of one epoch; `N` is
            static.
        step: `(state, images [N, ...] uint8, labels [N], chosen [B], reference, anchor)
            -> (state, Metrics)`, one batch.
        steps: the same for `order [S, B]`, scanned; metrics are means.
        compressed: `state -> Variables`, what the scheme makes of the parameters.
        predict: `(variables, images [B, ...] uint8) -> logits [B, C]`.
        schedule: step -> learning rate.
    """

    init: Callable[..., State]
    shuffle: Callable[[State, int], tuple[State, jax.Array]]
    step: Callable[..., tuple[State, Metrics]]
    steps: Callable[..., tuple[State, Metrics]]
    compressed: Callable[[State], Variables]
    predict: Callable[[Variables, jax.Array], jax.Array]
    schedule: Callable[[jax.Array], jax.Array]


def learning_rate_schedule(
    config: Config, num_examples: int
) -> Callable[[jax.Array], jax.Array]:
    """Linear warm-up, then half a cosine to zero at the end of the last epoch."""
    total = config.epochs * max(1, num_examples // config.batch_size)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=int(total * config.warmup),
        decay_steps=total,
    )


def _kernel_mask(params: Params) -> Params:
    kept = scheme_lib.kernels(params)
    mask: dict[str, Any] = {p: p in kept for p in scheme_lib.flat(params)}
    return scheme_lib.nested(mask)


def make_trainer(
    module: nn.Module,
    config: Config,
    *,
    num_examples: int,
    image_shape: Sequence[int],
    mean: np.ndarray,
    std: np.ndarray,
    terms: Sequence[str] = ("ce",),
    temperature: float = 4.0,
    weighting: Weighting | None = None,
    scheme: Scheme | None = None,
    input_ranges: quantize.Ranges | None = None,
    input_grid: quantize.Grid = quantize.Grid(symmetric=False),  # noqa: B008
    axis_name: str | None = None,
) -> Trainer:
    """Builds the functions that train `module`.

    Args:
        module: from `fidelity.models.create`.
        config: hyper-parameters.
        num_examples: size of the training set, which sets the length of the schedule.
        image_shape: `(H, W, K)`.
        mean: `[K]` of the training images in `[0, 1]`.
        std: `[K]`.
        terms: names of loss terms, see `fidelity.losses.term`.
        temperature: of the "kd" term.
        weighting: rule for the terms' weights, uniform if None.
        scheme: compression in the forward pass, none if None.
        input_ranges: quantize layer inputs with these ranges (activation QAT).
        input_grid: of the layer inputs.
        axis_name: of the devices that share each batch, under `jax.pmap`; see
            `fidelity.parallel`.

    Returns:
        A `Trainer`.

    Raises:
        ValueError: an unknown term, less than a batch of data, or (from `step`) a
            preservation term without a reference.

    Example:
        >>> trainer = make_trainer(module, Config(), ...)       # doctest: +SKIP
        >>> state = trainer.init(jax.random.key(0))             # doctest: +SKIP
        >>> state, order = trainer.shuffle(state, len(labels))  # doctest: +SKIP
        >>> state, _ = trainer.steps(state, images, labels, order)  # doctest: +SKIP
    """
    if num_examples < config.batch_size:
        raise ValueError(
            f"{num_examples} training examples are less than one batch of "
            f"{config.batch_size}: lower batch_size"
        )
    weighting = weighting or weighting_lib.uniform()
    scheme = scheme or scheme_lib.identity()
    loss = losses.multi_part(terms, temperature=temperature)
    schedule = learning_rate_schedule(config, num_examples)
    optimizer = optax.chain(
        optax.add_decayed_weights(config.weight_decay, _kernel_mask),
        optax.sgd(schedule, config.momentum, nesterov=True),
    )
    draw = functools.partial(augment, pad=config.pad, flip=config.flip)

    def mean_of(tree: T) -> T:
        """Over the devices that share a batch."""
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def draw_keys(key: jax.Array, count: int) -> jax.Array:
        """A key an example; a device's are those of its part of the batch."""
        if axis_name is None:
            return jax.random.split(key, count)
        keys = jax.random.split(key, count * jax.lax.axis_size(axis_name))
        return keys.reshape(-1, count)[jax.lax.axis_index(axis_name)]

    def init(
        key: jax.Array, variables: Variables | None = None, grads: Params | None = None
    ) -> State:
        init_key, key = jax.random.split(key)
        if variables is None:
            example = jnp.zeros((1, *image_shape))
            variables = jax.jit(module.init)(init_key, example)
        params = variables["params"]
        grads = jax.tree.map(jnp.zeros_like, params) if grads is None else grads
        # A copy, since the train step gives its argument's memory back.
        params, stats = jax.tree.map(
            jnp.array, (params, variables.get("batch_stats", {}))
        )
        return State(
            step=jnp.zeros((), jnp.int32),
            key=jax.random.key_data(key),
            params=params,
            batch_stats=stats,
            opt_state=optimizer.init(params),
            scheme_state=scheme.init(params, grads),
            weighting_state=weighting.init(len(terms)),
        )

    def forward(params: Params, state: State, images: jax.Array) -> tuple[Output, Any]:
        variables = {
            "params": scheme.apply(params, state.scheme_state),
            "batch_stats": state.batch_stats,
        }
        with _quantized(input_ranges, input_grid):
            out, changed = module.apply(
                variables, images, train=True, mutable=["batch_stats"]
            )
        return out, changed.get("batch_stats", {})

    def step(
        state: State,
        images: jax.Array,
        labels: jax.Array,
        chosen: jax.Array,
        reference: Variables | None = None,
        anchor: Anchor | None = None,
    ) -> tuple[State, Metrics]:
        if reference is None and set(terms) != {"ce"}:
            raise ValueError(f"the loss terms {list(terms)} need a reference network")
        key, draw_key = jax.random.split(jax.random.wrap_key_data(state.key))
        labels = labels[chosen]
        x = normalize(images[chosen], mean, std)
        x = jax.vmap(draw)(draw_keys(draw_key, len(labels)), x)

        def objective(params: Params) -> tuple[jax.Array, Any]:
            out, batch_stats = forward(params, state, x)
            teacher = out
            if reference is not None:
                kept: Any = module.apply(reference, x, train=False)
                teacher = jax.lax.stop_gradient(kept)
            values = jax.vmap(loss)(out, teacher, labels).mean(0)
            whole = mean_of(jax.lax.stop_gradient(values))
            weights, tuned = weighting.update(whole, state.weighting_state)
            total = jnp.sum(jax.lax.stop_gradient(weights) * values)
            right = mean_of(jnp.mean(jnp.argmax(out.logits, -1) == labels))
            return total, (batch_stats, tuned, Metrics(whole, weights, right))

        grads, (stats, tuned, metrics) = jax.grad(objective, has_aux=True)(state.params)
        grads, stats = mean_of((grads, stats))
        pulled = grads if anchor is None else _pull(grads, state.params, anchor)
        updates, opt_state = optimizer.update(pulled, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        count = state.step + 1
        new = State(
            step=count,
            key=jax.random.key_data(key),
            params=params,
            batch_stats=stats,
            opt_state=opt_state,
            scheme_state=scheme.update(params, grads, count, state.scheme_state),
            weighting_state=tuned,
        )
        return new, metrics

    def steps(
        state: State,
        images: jax.Array,
        labels: jax.Array,
        order: jax.Array,
        reference: Variables | None = None,
        anchor: Anchor | None = None,
    ) -> tuple[State, Metrics]:
        def body(state: State, chosen: jax.Array) -> tuple[State, Metrics]:
            return step(state, images, labels, chosen, reference, anchor)

        state, metrics = jax.lax.scan(body, state, order)
        return state, jax.tree.map(lambda m: m.mean(0), metrics)

    def shuffle(state: State, count: int) -> tuple[State, jax.Array]:
        key, order_key = jax.random.split(jax.random.wrap_key_data(state.key))
        batches = count // config.batch_size
        order = jax.random.permutation(order_key, count)
        order = order[: batches * config.batch_size].reshape(batches, -1)
        return state._replace(key=jax.random.key_data(key)), order

    def compressed(state: State) -> Variables:
        variables = {"params": scheme.apply(state.params, state.scheme_state)}
        if state.batch_stats:
            variables["batch_stats"] = state.batch_stats
        return variables

    return Trainer(
        init=init,
        shuffle=jax.jit(shuffle, static_argnums=1),
        step=jax.jit(step, donate_argnums=0),
        steps=jax.jit(steps, donate_argnums=0),
        compressed=jax.jit(compressed),
        predict=make_predict(module, mean, std, input_ranges, input_grid),
        schedule=schedule,
    )


def _quantized(
    ranges: quantize.Ranges | None, grid: quantize.Grid
) -> contextlib.AbstractContextManager[None]:
    if ranges is None:
        return contextlib.nullcontext()
    return quantize.quantized_inputs(ranges, grid)


def make_predict(
    module: nn.Module,
    mean: np.ndarray,
    std: np.ndarray,
    input_ranges: quantize.Ranges | None = None,
    input_grid: quantize.Grid = quantize.Grid(symmetric=False),  # noqa: B008
) -> Callable[[Variables, jax.Array], jax.Array]:
    """A jitted `(variables, images [B, ...] uint8) -> logits [B, C]`, evaluation mode.

    Args:
        module: the network.
        mean: `[K]` of the training images.
        std: `[K]`.
        input_ranges: quantize layer inputs with these ranges.
        input_grid: of the layer inputs.
    """

    def predict(variables: Variables, images: jax.Array) -> jax.Array:
        with _quantized(input_ranges, input_grid):
            x = normalize(images, mean, std)
            output: Any = module.apply(variables, x, train=False)
            return output.logits

    return jax.jit(predict)


def _pull(grads: Params, params: Params, anchor: Anchor) -> Params:
    """Adds the gradient of `mu/2 |w - theta|^2 - lambda (w - theta)`."""
    pulled, weights = scheme_lib.flat(grads), scheme_lib.flat(params)
    for path, theta in anchor.target.items():
        pull = anchor.penalty * (weights[path] - theta) - anchor.multiplier[path]
        pulled[path] = pulled[path] + pull
    return scheme_lib.nested(pulled)


def train(
    key: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    trainer: Trainer,
    epochs: int,
    *,
    variables: Variables | None = None,
    reference: Variables | None = None,
) -> tuple[State, Metrics]:
    """A whole run as one jittable function; `jax.vmap` it over keys for an ensemble.

    Args:
        key: PRNG key.
        images: `[N, H, W, K]` uint8, on the device.
        labels: `[N]` integer.
        trainer: from `make_trainer`.
        epochs: number of epochs.
        variables: where to start, drawn from the key if None.
        reference: network to preserve.

    Returns:
        The last state and the metrics of every epoch, leading axis `epochs`.
    """

    def body(state: State, _: None) -> tuple[State, Metrics]:
        state, order = trainer.shuffle(state, len(labels))
        return trainer.steps(state, images, labels, order, reference)

    return jax.lax.scan(body, trainer.init(key, variables), None, epochs)


def mean_gradient(
    module: nn.Module,
    variables: Variables,
    images: jax.Array,
    labels: jax.Array,
    mean: np.ndarray,
    std: np.ndarray,
) -> Params:
    """Gradient of the mean cross-entropy, network in evaluation mode, for saliency.

    Args:
        module: the network.
        variables: its variables.
        images: `[N, H, W, K]` uint8; a few hundred suffice.
        labels: `[N]`.
        mean: `[K]`.
        std: `[K]`.

    Returns:
        A pytree like `variables["params"]`.
    """

    def objective(params: Params) -> jax.Array:
        x = normalize(images, mean, std)
        out: Any = module.apply({**variables, "params": params}, x)
        return jax.vmap(losses.cross_entropy)(out.logits, labels).mean()

    return jax.jit(jax.grad(objective))(variables["params"])
