"""Cheap stand-ins for memorization: what a few ordinary runs say of each example.

A handful of runs on the whole training set replaces an ensemble of thousands. Each
proxy is large for examples that are hard to learn:

* forgetting: how often an example that was right became wrong (Toneva et al. 2019,
  arXiv:1812.05159), judged after every epoch;
* el2n: `||p - y||_2` early in training (Paul et al. 2021, arXiv:2107.07075, def. 2.5);
* grand: norm of the loss gradient over all parameters, early (the same, def. 2.1);
* loss_area: mean cross-entropy over the epochs, the area under its curve;
* leave_one_out: rise of its own loss if the last layer were fitted without it.

Shapes: `N` examples, `E` epochs, `S` seeds, `C` classes, `D` features.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fidelity import losses
from fidelity.association import spearman
from fidelity.data import Dataset, normalize, statistics
from fidelity.ensemble import in_batches
from fidelity.models.layers import Output
from fidelity.models.shift import shifted_convolutions
from fidelity.train import Config, Variables, make_trainer


class Curves(NamedTuple):
    """What one run says of every example after each epoch."""

    right: jax.Array  # [E, N] bool
    loss: jax.Array  # [E, N] float32, cross-entropy
    el2n: jax.Array  # [E, N] float32


def forgetting_events(right: jax.Array) -> jax.Array:
    """Times an example went from right to wrong: `[E, N] -> [N]` int32.

    An example that never was right counts as `E`, more than any other.

    Example:
        >>> right = jnp.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
        >>> forgetting_events(right).tolist()
        [1, 0, 3]
    """
    events = jnp.sum(right[:-1] & ~right[1:], 0, dtype=jnp.int32)
    return jnp.where(right.any(0), events, len(right))


def error_norm(logits: jax.Array, label: jax.Array) -> jax.Array:
    """EL2N, `||softmax(logits) - onehot(label)||_2`: `[C]`, scalar -> scalar.

    Example:
        >>> round(float(error_norm(jnp.zeros(2), 1)), 4)
        0.7071
    """
    error = jax.nn.softmax(logits) - jax.nn.one_hot(label, logits.shape[-1])
    return jnp.linalg.norm(error)


def curves(
    key: jax.Array,
    module: nn.Module,
    config: Config,
    dataset: Dataset,
    *,
    early: int = 1,
    batch_size: int = 500,
) -> tuple[Curves, Variables, Variables]:
    """Trains on the whole set and judges every example after each epoch.

    One jitted program; convolutions run as matrix products.

    Args:
        key: PRNG key.
        module: the network.
        config: hyper-parameters.
        dataset: training set.
        early: epochs after which to keep a copy of the variables.
        batch_size: of the evaluation.

    Returns:
        `(curves, variables after early epochs, variables at the end)`.

    Raises:
        ValueError: `early` outside `[1, E]`.
    """
    if not 1 <= early <= config.epochs:
        raise ValueError(f"early must lie in [1, {config.epochs}], got {early}")
    mean, std = statistics(dataset)
    trainer = make_trainer(
        module,
        config,
        num_examples=len(dataset.labels),
        image_shape=dataset.images.shape[1:],
        mean=mean,
        std=std,
    )

    def judge(variables: Variables, images: jax.Array, labels: jax.Array) -> Curves:
        logits = trainer.predict(variables, images)
        return Curves(
            jnp.argmax(logits, -1) == labels,
            jax.vmap(losses.cross_entropy)(logits, labels),
            jax.vmap(error_norm)(logits, labels),
        )

    @jax.jit
    def run(images: jax.Array, labels: jax.Array) -> Any:
        def epoch(state: Any, _: None) -> tuple[Any, Curves]:
            state, order = trainer.shuffle(state, len(labels))
            state = trainer.steps(state, images, labels, order)[0]
            variables = trainer.compressed(state)
            return state, in_batches(
                lambda x, y: judge(variables, x, y), (images, labels), batch_size
            )

        state, first = jax.lax.scan(epoch, trainer.init(key), None, early)
        middle = trainer.compressed(state)
        rest = config.epochs - early
        state, second = jax.lax.scan(epoch, state, None, rest)
        joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)
        return joined, middle, trainer.compressed(state)

    with shifted_convolutions():
        return run(jnp.asarray(dataset.images), jnp.asarray(dataset.labels))


def gradient_norms(
    module: nn.Module,
    variables: Variables,
    dataset: Dataset,
    *,
    batch_size: int = 32,
) -> jax.Array:
    """GraNd: norm of each example's loss gradient, `[N]` float32.

    Args:
        module: the network; it is applied in evaluation mode.
        variables: e.g. after one epoch.
        dataset: examples.
        batch_size: gradients at a time; memory is that times the parameters.
    """
    mean, std = statistics(dataset)

    def loss(params: Any, image: jax.Array, label: jax.Array) -> jax.Array:
        out: Any = module.apply({**variables, "params": params}, image[None])
        return losses.cross_entropy(out.logits[0], label)

    def norm(image: jax.Array, label: jax.Array) -> jax.Array:
        grads = jax.grad(loss)(variables["params"], image, label)
        squares = [jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grads)]
        return jnp.sqrt(sum(squares, jnp.zeros(())))

    @jax.jit
    def run(images: jax.Array, labels: jax.Array) -> jax.Array:
        def batch(x: jax.Array, y: jax.Array) -> jax.Array:
            return jax.vmap(norm)(normalize(x, mean, std), y)

        return in_batches(batch, (images, labels), batch_size)

    with shifted_convolutions():
        return run(jnp.asarray(dataset.images), jnp.asarray(dataset.labels))


def last_features(
    module: nn.Module, variables: Variables, dataset: Dataset, *, batch_size: int = 500
) -> tuple[jax.Array, jax.Array]:
    """What the last layer sees, and what it says: `([N, D], [N, C])` float32."""
    mean, std = statistics(dataset)

    def batch(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        out: Any = module.apply(variables, normalize(images, mean, std))
        return pooled(out), out.logits

    run = jax.jit(lambda images: in_batches(batch, (images,), batch_size))
    return run(jnp.asarray(dataset.images))


def pooled(out: Output) -> jax.Array:
    """The input of the classifier, `[B, D]` float32."""
    last = out.features[-1].astype(jnp.float32)
    return last.mean((1, 2)) if last.ndim == 4 else last


@jax.jit
def leave_one_out(
    features: jax.Array,
    logits: jax.Array,
    labels: jax.Array,
    damping: jax.Array | float = 1e-3,
) -> jax.Array:
    """How much each example's loss would rise if the last layer were fitted without it.

    One Newton step of the softmax regression on `features` (with a bias) without the
    example, exactly solved by Woodbury's identity: the approximate leave-one-out of
    Rad & Maleki (2020, arXiv:1801.10243, eq. 6).

    Args:
        features: `[N, D]`.
        logits: `[N, C]` of the fitted layer.
        labels: `[N]`.
        damping: ridge penalty of the mean loss, `damping / 2 ||w||^2`.

    Returns:
        `[N]`, in nats. The Hessian has `(D + 1) C` rows: a few thousand at most.
    """
    # A Hessian in half precision need not be positive definite.
    with jax.default_matmul_precision("highest"):
        return _leave_one_out(features, logits, labels, damping)


def _leave_one_out(
    features: jax.Array,
    logits: jax.Array,
    labels: jax.Array,
    damping: jax.Array | float,
) -> jax.Array:
    count, classes = logits.shape
    x = jnp.concatenate([features, jnp.ones((count, 1), features.dtype)], 1)
    p = jax.nn.softmax(logits)
    width = x.shape[1]
    identity = jnp.eye(classes)

    def block(c: jax.Array) -> jax.Array:
        # Rows of class c: sum_i p_ic (delta_cd - p_id) x_i x_i^T for all d.
        slope = p[:, c][:, None] * (identity[c][None, :] - p)
        return jax.lax.map(lambda s: (x * s[:, None]).T @ x, slope.T) / count

    hessian = jax.lax.map(block, jnp.arange(classes))  # [C, C, D + 1, D + 1]
    size = classes * width
    hessian = hessian.transpose(0, 2, 1, 3).reshape(size, size)
    factor = jax.scipy.linalg.cho_factor(hessian + damping * jnp.eye(size))
    inverse = jax.scipy.linalg.cho_solve(factor, jnp.eye(size))
    inverse = inverse.reshape(classes, width, classes, width)

    def one(example: tuple[jax.Array, ...]) -> jax.Array:
        x, z, p, label = example
        # What a pull on the logits through this example does to its own logits.
        leverage = jnp.einsum("cadb,a,b->cd", inverse, x, x) / count
        curvature = jnp.diag(p) - p[:, None] * p[None, :]
        pull = jnp.linalg.solve(identity - curvature @ leverage, p - identity[label])
        moved = z + leverage @ pull
        return losses.cross_entropy(moved, label) - losses.cross_entropy(z, label)

    return jax.lax.map(one, (x, logits, p, labels), batch_size=64)


def proxies(
    key: jax.Array,
    module: nn.Module,
    config: Config,
    dataset: Dataset,
    *,
    seeds: int = 3,
    early: int = 1,
    damping: float = 1e-3,
    max_hessian: int = 4000,
) -> dict[str, np.ndarray]:
    """Every proxy of this module, means over a few seeds.

    Args:
        key: PRNG key.
        module: the network.
        config: hyper-parameters of the runs.
        dataset: training set.
        seeds: runs to average over.
        early: epochs of training before "el2n" and "grand" are taken.
        damping: of "leave_one_out".
        max_hessian: "leave_one_out" is left out if `(D + 1) C` is larger.

    Returns:
        name -> `[N]` float, in the order of `dataset`.
    """
    sums: dict[str, np.ndarray] = {}
    for run_key in jax.random.split(key, seeds):
        seen, first, last = curves(run_key, module, config, dataset, early=early)
        found = {
            "forgetting": forgetting_events(seen.right),
            "el2n": seen.el2n[early - 1],
            "grand": gradient_norms(module, first, dataset),
            "loss_area": seen.loss.mean(0),
        }
        features, logits = last_features(module, last, dataset)
        if (features.shape[1] + 1) * logits.shape[1] <= max_hessian:
            found["leave_one_out"] = leave_one_out(
                features, logits, jnp.asarray(dataset.labels), damping
            )
        for name, values in found.items():
            share = np.asarray(values, np.float64) / seeds
            sums[name] = sums.get(name, 0) + share
    return sums


def rank_correlations(
    found: Mapping[str, np.ndarray], memorization: np.ndarray
) -> dict[str, float]:
    """Spearman's correlation of each proxy with memorization, NaN scores left out.

    Args:
        found: name -> `[N]`.
        memorization: `[N]`, same order.
    """
    known = ~np.isnan(memorization)
    return {
        name: spearman(values[known].astype(np.float64), memorization[known])
        for name, values in found.items()
    }
