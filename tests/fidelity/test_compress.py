"""Compression and re-training of a small network, by every recipe."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_problem

from fidelity.compress import compress
from fidelity.data import split
from fidelity.fit import fit, predict_all
from fidelity.groups import channel_groups
from fidelity.mismatch import churn
from fidelity.prune import kept_channels
from fidelity.recipe import PRESERVATIONS, Recipe
from fidelity.scheme import kernels, sparsity
from fidelity.train import Config

RECOVERY = Config(epochs=4, batch_size=32, learning_rate=0.05, pad=0, flip=False)


@functools.cache
def problem():
    """Training set, held-out set and a trained reference."""
    train, held_out = split(tiny_problem.dataset(320), 0.2, seed=0)
    config = Config(epochs=15, batch_size=32, pad=0, flip=False)
    trainer = tiny_problem.trainer(train, config=config)
    state, _ = fit(trainer, trainer.init(jax.random.key(5)), train, 15)
    return train, held_out, trainer.compressed(state), trainer.predict


def run(recipe, loss="kd", key=0, **settings):
    train, held_out, reference, _ = problem()
    return compress(
        jax.random.key(key),
        tiny_problem.Tiny(),
        reference,
        train,
        recipe,
        PRESERVATIONS[loss],
        RECOVERY,
        held_out=held_out,
        **settings,
    )


@pytest.mark.parametrize(
    ("recipe", "sparse"),
    [
        (Recipe(0.5), 0.5),
        (Recipe(0.5, scope="layer", criterion="random"), 0.5),
        (Recipe(0.5, criterion="saliency"), 0.5),
        (Recipe(0.5, criterion="gradient", schedule="gradual"), 0.5),
        (Recipe(0.5, schedule="gradual"), 0.5),
        (Recipe(0.5, "block"), None),
        (Recipe(0.5, "filter"), None),
        (Recipe(bits=8), 0.0),
        (Recipe(bits=4, per_channel=False, symmetric=False), None),
        (Recipe(0.5, bits=8, input_bits=8), 0.5),
        (Recipe(0.5, bits=8, algorithm="none"), 0.5),
        (Recipe(0.5, algorithm="lagrangian"), 0.5),
    ],
    ids=str,
)
def test_every_recipe_keeps_most_answers(recipe, sparse):
    _, held_out, reference, predict = problem()
    small = run(recipe)
    found = float(sparsity(small.variables["params"]))
    if sparse is not None:
        np.testing.assert_allclose(found, sparse, atol=0.06)
    kept = predict_all(predict, reference, held_out)
    logits = predict_all(small.trainer.predict, small.variables, held_out)
    assert churn(kept, logits) < 0.5 * len(held_out.labels)
    if recipe.bits and recipe.per_channel:
        for leaf in kernels(small.variables["params"]).values():
            columns = np.asarray(leaf).reshape(-1, leaf.shape[-1]).T
            assert max(len(np.unique(c)) for c in columns) <= 2**recipe.bits
    if recipe.algorithm != "none":
        assert len(small.history) == RECOVERY.epochs


def test_pruned_filters_can_be_removed():
    train, _, reference, _ = problem()
    small = run(Recipe(0.5, "filter"))
    example = jax.ShapeDtypeStruct((1, *train.images.shape[1:]), jnp.float32)
    groups = channel_groups(tiny_problem.Tiny().apply, reference, example)
    (keep,) = kept_channels(groups, small.variables["params"])
    assert keep.sum() == 4


@pytest.mark.parametrize("loss", ["uncertainty", "softadapt", "attention", "search"])
def test_every_rule_gives_weights(loss):
    small = run(Recipe(0.5), loss)
    assert len(small.weights) == len(PRESERVATIONS[loss].terms)
    assert all(np.isfinite(small.weights))
    assert min(small.weights) >= 0
    if loss != "attention":
        np.testing.assert_allclose(sum(small.weights), 1.0, rtol=1e-3)


def test_fixed_weights_do_not_retrace():
    """Losses over the same terms share one compiled step; only the state differs."""
    terms = ("ce", "mse", "kd")
    train, _, reference, _ = problem()
    found = [
        compress(
            jax.random.key(0),
            tiny_problem.Tiny(),
            reference,
            train,
            Recipe(fraction),
            PRESERVATIONS[name].widen(terms),
            RECOVERY,
        ).trainer
        for name, fraction in (("ce", 0.5), ("kd", 0.8))
    ]
    assert found[0] is found[1]
    assert found[0].step._cache_size() == 1


@pytest.mark.parametrize(
    ("loss", "algorithm"),
    [("kd", "retrain"), ("kd", "lagrangian"), ("search", "retrain")],
)
def test_a_killed_job_ends_with_the_same_numbers(tmp_path, loss, algorithm):
    recipe = Recipe(0.5, algorithm=algorithm)
    whole = run(recipe, loss)
    seen = 0

    def kill(record):
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt

    if loss == "kd":
        with pytest.raises(KeyboardInterrupt):
            run(recipe, loss, directory=str(tmp_path), on_epoch=kill)
    first = run(recipe, loss, directory=str(tmp_path), resume=True)
    again = run(recipe, loss, directory=str(tmp_path), resume=True)
    tiny_problem.assert_trees_equal(whole.variables, first.variables)
    tiny_problem.assert_trees_equal(whole.variables, again.variables)
    assert whole.weights == first.weights == again.weights


def test_search_needs_a_held_out_split():
    train, _, reference, _ = problem()
    with pytest.raises(ValueError, match="held-out"):
        compress(
            jax.random.key(0),
            tiny_problem.Tiny(),
            reference,
            train,
            Recipe(0.5),
            PRESERVATIONS["search"],
            RECOVERY,
        )
