"""Compress a reference network and re-train it to keep its answers.

The loop of "Reliable Model Compression via Label-Preservation-Aware Loss Functions"
(Joseph et al. 2020, arXiv:2012.01604): choose a *recipe* (how to compress) and a
*preservation loss* (what to keep), re-train, then compare with `fidelity.mismatch`.
The recipe never sees the loss, nor the loss the recipe.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fidelity import learning_compression, prune, quantize, search, weighting
from fidelity.data import Dataset, normalize, statistics, subset
from fidelity.fit import fit, predict_all
from fidelity.groups import channel_groups
from fidelity.mismatch import changed
from fidelity.recipe import Preservation, Recipe
from fidelity.scheme import Scheme, chain, identity
from fidelity.train import (
    Config,
    State,
    Trainer,
    Variables,
    make_predict,
    make_trainer,
    mean_gradient,
)


class Compressed(NamedTuple):
    """Result of `compress`."""

    variables: Variables  # compressed, float32; kernels lie on the grid if quantized
    trainer: Trainer  # whose `predict` quantizes layer inputs if the recipe does
    history: list[dict[str, Any]]  # one record an epoch
    weights: list[float]  # of the loss terms at the end


def build_scheme(
    recipe: Recipe,
    module: nn.Module,
    variables: Variables,
    image_shape: Sequence[int],
    *,
    key: jax.Array,
    num_steps: int,
) -> Scheme:
    """The `Scheme` that a recipe describes.

    Args:
        recipe: how to compress.
        module: the network.
        variables: of the reference; only shapes matter.
        image_shape: `(H, W, K)`.
        key: for the "random" criterion.
        num_steps: of the re-training, for the "gradual" schedule.
    """
    criterion: prune.Criterion = {
        "magnitude": prune.magnitude,
        "gradient": prune.gradient,
        "saliency": prune.saliency,
        "random": prune.random(key),
    }[recipe.criterion]
    sparsity: float | prune.Schedule = recipe.sparsity
    structure: prune.Structure = prune.Unstructured()
    if recipe.sparsity:
        structure = _structure(recipe, module, variables, image_shape)
        if recipe.schedule == "gradual":
            end = max(1, num_steps // 2)
            sparsity = prune.cubic(recipe.sparsity, begin=0, end=end)
    masked = prune.prune(
        sparsity,
        criterion=criterion,
        structure=structure,
        scope=recipe.scope,
        every=max(1, num_steps // 100),
    )
    # Masks are there even at sparsity 0, so that all recipes of a grid share one step.
    return chain(masked, quantize.weights(recipe.grid)) if recipe.grid else masked


def _structure(
    recipe: Recipe,
    module: nn.Module,
    variables: Variables,
    image_shape: Sequence[int],
) -> prune.Structure:
    match recipe.structure:
        case "nm":
            return prune.NM()
        case "block":
            return prune.Block()
        case "filter":
            example = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
            return prune.Filter(channel_groups(module.apply, variables, example))
    return prune.Unstructured()


def compress(
    key: jax.Array,
    module: nn.Module,
    reference: Variables,
    train: Dataset,
    recipe: Recipe,
    loss: Preservation,
    config: Config,
    *,
    held_out: Dataset | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    directory: str | None = None,
    resume: bool = False,
) -> Compressed:
    """Compresses `reference` by `recipe` and re-trains it with `loss`.

    Args:
        key: PRNG key of the re-training.
        module: the network.
        reference: its trained variables.
        train: training set.
        recipe: how to compress.
        loss: what to preserve.
        config: hyper-parameters of the re-training.
        held_out: needed by the rule "search", never trained on.
        on_epoch: called with each epoch's record.
        directory: for checkpoints of the re-training.
        resume: go on from there.

    Returns:
        A `Compressed`.

    Raises:
        ValueError: the rule "search" without `held_out`.

    Example:
        >>> small = compress(key, module, reference, source.train,  # doctest: +SKIP
        ...                  Recipe(sparsity=0.8), PRESERVATIONS["kd"], Config())
    """
    if loss.rule == "search" and held_out is None:
        raise ValueError('the rule "search" needs a held-out split')
    mean, std = statistics(train)
    shape = train.images.shape[1:]
    sample = subset(train, min(512, len(train.labels)), seed=0)
    images, labels = jnp.asarray(sample.images), jnp.asarray(sample.labels)
    steps = config.epochs * (len(train.labels) // config.batch_size)
    scheme = build_scheme(recipe, module, reference, shape, key=key, num_steps=steps)
    grads = None
    if recipe.criterion in ("gradient", "saliency"):
        grads = mean_gradient(module, reference, images, labels, mean, std)
    lagrangian = recipe.algorithm == "lagrangian"
    settings: dict[str, Any] = {
        "num_examples": len(train.labels),
        "image_shape": shape,
        "mean": tuple(mean.tolist()),
        "std": tuple(std.tolist()),
        "terms": loss.terms,
        "temperature": loss.temperature,
    }
    if recipe.input_bits:
        trainer = _calibrated_trainer(
            module, config, settings, loss, scheme, recipe, reference, images
        )
    else:
        shared = loss.rule if loss.tuned else None
        gradual = recipe.schedule == "gradual" and recipe.sparsity > 0
        trainer = _shared_trainer(
            module,
            config,
            rule=shared,
            masked=not lagrangian,
            grid=None if lagrangian else recipe.grid,
            scheme=scheme if gradual and not lagrangian else None,
            **settings,
        )
    state = trainer.init(key, reference, grads)
    state = state._replace(weighting_state=loss.weighting().init(len(loss.terms)))
    if not lagrangian:
        zeros = jax.tree.map(jnp.zeros_like, reference["params"])
        own = scheme.init(reference["params"], zeros if grads is None else grads)
        state = state._replace(scheme_state=own)
    teacher = None if loss.terms == ("ce",) else reference

    def train_to(state: State, epochs: int) -> tuple[State, list[dict[str, Any]]]:
        return fit(
            trainer,
            state,
            train,
            epochs,
            reference=teacher,
            directory=directory,
            resume=resume,
            on_epoch=on_epoch,
        )

    if recipe.algorithm == "none":
        return Compressed(trainer.compressed(state), trainer, [], [])
    if lagrangian:
        variables, history = learning_compression.learning_compression(
            trainer,
            scheme,
            state,
            train,
            learning_compression.LagrangianConfig(rounds=config.epochs),
            reference=teacher,
            on_epoch=on_epoch,
            directory=directory,
        )
        variables = learning_compression.recalibrate(
            module, variables, normalize(images, mean, std)
        )
        return Compressed(variables, trainer, history, history[-1]["weights"])
    if loss.rule == "search":
        assert held_out is not None
        kept = predict_all(make_predict(module, mean, std), reference, held_out)
        found = _search(
            search.candidates(key, len(loss.terms), 8),
            trainer,
            state,
            train,
            held_out,
            kept,
            reference,
            config,
            directory,
        )
        weights = found.weights.tolist()
        return Compressed(
            trainer.compressed(found.state), trainer, found.trace, weights
        )
    state, history = train_to(state, config.epochs)
    return Compressed(
        trainer.compressed(state), trainer, history, history[-1]["weights"]
    )


@functools.lru_cache(maxsize=8)
def _shared_trainer(
    module: nn.Module,
    config: Config,
    *,
    rule: str | None,
    masked: bool,
    grid: quantize.Grid | None,
    scheme: Scheme | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    **settings: Any,
) -> Trainer:
    """One compiled train step for all sparsities, masks and fixed weights.

    What differs between such jobs lives in the state: masks in `scheme_state`, fixed
    weights in `weighting_state`. A gradual schedule is code, so it brings its `scheme`.
    """
    if scheme is None:
        scheme = prune.prune(0.0) if masked else identity()
        scheme = chain(scheme, quantize.weights(grid)) if grid else scheme
    num_terms = len(settings["terms"])
    return make_trainer(
        module,
        config,
        mean=np.array(mean),
        std=np.array(std),
        weighting=weighting.create(rule) if rule else weighting.fixed((1,) * num_terms),
        scheme=scheme,
        **settings,
    )


def _calibrated_trainer(
    module: nn.Module,
    config: Config,
    settings: dict[str, Any],
    loss: Preservation,
    scheme: Scheme,
    recipe: Recipe,
    reference: Variables,
    images: jax.Array,
) -> Trainer:
    """A trainer whose layer inputs are quantized in the reference's ranges."""
    mean, std = np.array(settings.pop("mean")), np.array(settings.pop("std"))
    ranges = quantize.calibrate(
        lambda x: module.apply(reference, x), [normalize(images, mean, std)]
    )
    return make_trainer(
        module,
        config,
        mean=mean,
        std=std,
        weighting=loss.weighting(),
        scheme=identity() if recipe.algorithm == "lagrangian" else scheme,
        input_ranges=ranges,
        input_grid=quantize.Grid(recipe.input_bits, symmetric=False),
        **settings,
    )


def _search(
    points: jax.Array,
    trainer: Trainer,
    state: State,
    train: Dataset,
    held_out: Dataset,
    kept: np.ndarray,
    reference: Variables,
    config: Config,
    directory: str | None,
) -> search.Found:
    """Fixed weights with the fewest label changes on the held-out split."""
    epochs = config.epochs
    rungs = tuple(sorted({max(1, epochs // 4), max(1, epochs // 2), epochs}))

    def start(weights: jax.Array) -> tuple[State, int, Path | None]:
        # The train step gives its argument's memory back: each needs its own copy.
        copied = jax.tree.map(jnp.array, state)
        index = int(jnp.argmin(jnp.abs(points - weights[None, :]).sum(1)))
        folder = Path(directory) / f"candidate{index}" if directory else None
        return copied._replace(weighting_state=jnp.asarray(weights)), 0, folder

    def advance(
        run: tuple[State, int, Path | None], until: int
    ) -> tuple[State, int, Path | None]:
        own, done, folder = run
        own, _ = fit(
            trainer,
            own,
            train,
            until if folder else until - done,
            reference=reference,
            directory=folder,
            resume=True,
        )
        return own, until, folder

    def score(run: tuple[State, int, Path | None]) -> float:
        variables = trainer.compressed(run[0])
        logits = predict_all(trainer.predict, variables, held_out)
        return float(np.mean(changed(kept, logits)))

    found = search.successive_halving(points, start, advance, score, rungs)
    return found._replace(state=found.state[0])
