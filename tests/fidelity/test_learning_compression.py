"""Learning-compression: the C step, the multipliers, and resuming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_problem

from fidelity import prune, quantize
from fidelity.data import normalize
from fidelity.learning_compression import (
    LagrangianConfig,
    learning_compression,
    project,
    recalibrate,
)
from fidelity.scheme import kernels, sparsity
from fidelity.train import Config


@pytest.fixture(scope="module")
def data():
    return tiny_problem.dataset()


def test_projection_is_the_nearest_sparse_point(key):
    params = {"a": {"kernel": jax.random.normal(key, (6, 4)), "bias": jnp.ones(4)}}
    multiplier = jax.tree.map(lambda w: 0.3 * jnp.cos(9 * w), params)
    out = project(prune.prune(0.5), params, multiplier, jnp.float32(2.0))
    shifted = np.asarray(params["a"]["kernel"] - multiplier["a"]["kernel"] / 2.0)
    expected = np.where(
        np.abs(shifted) >= np.sort(np.abs(shifted).ravel())[12], shifted, 0
    )
    np.testing.assert_allclose(out["a"]["kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(out["a"]["bias"], params["a"]["bias"])


@pytest.mark.parametrize(
    "scheme",
    [prune.prune(0.5), quantize.weights(quantize.Grid(3))],
    ids=["prune", "quantize"],
)
def test_the_compressed_network_learns(data, key, scheme):
    config = Config(epochs=16, batch_size=32, pad=0, flip=False)
    trainer = tiny_problem.trainer(data, config=config)
    reference = tiny_problem.reference(data)
    out, history = learning_compression(
        trainer,
        scheme,
        trainer.init(key, reference),
        data,
        LagrangianConfig(rounds=16, penalty=0.01, multiplier=1.6),
    )
    assert [r["epoch"] for r in history] == list(range(1, 17))
    # It lies in the compressed set: compressing it once more changes nothing.
    again = scheme.apply(out["params"], scheme.init(out["params"], out["params"]))
    for path, leaf in kernels(again).items():
        np.testing.assert_allclose(leaf, kernels(out["params"])[path], atol=1e-6)

    def accuracy(variables):
        return (
            trainer.predict(variables, data.images).argmax(-1) == data.labels
        ).mean()

    mean, std = tiny_problem.statistics(data)
    out = recalibrate(
        tiny_problem.Tiny(), out, normalize(jnp.asarray(data.images), mean, std)
    )
    assert accuracy(out) > 0.85
    assert sparsity(out["params"]) < 0.6


def test_a_killed_run_ends_with_the_same_numbers(data, key, tmp_path):
    trainer = tiny_problem.trainer(data)
    reference = tiny_problem.reference(data)
    scheme = prune.prune(0.5)

    def run(rounds, directory=None):
        return learning_compression(
            trainer,
            scheme,
            trainer.init(key, reference),
            data,
            LagrangianConfig(rounds=rounds),
            directory=directory,
        )

    whole, history = run(4)
    run(2, tmp_path)
    resumed, after = run(4, tmp_path)
    tiny_problem.assert_trees_equal(whole, resumed)
    assert [r["terms"] for r in history] == [r["terms"] for r in after]


def test_recalibration_restores_statistics(data):
    variables = tiny_problem.reference(data)
    images = jnp.asarray(data.images, jnp.float32) / 255
    module = tiny_problem.Tiny()
    out = recalibrate(module, variables, images, passes=200)
    _, seen = module.apply(variables, images, capture_intermediates=True)
    convolved = seen["intermediates"]["Conv_0"]["__call__"][0]
    stats = out["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(stats["mean"], convolved.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(stats["var"], convolved.var((0, 1, 2)), rtol=1e-3)
    assert recalibrate(module, {"params": {}}, images) == {"params": {}}


@pytest.mark.parametrize(
    "bad", [{"rounds": 0}, {"epochs_per_round": 0}, {"penalty": 0}, {"multiplier": 0.5}]
)
def test_bad_constants(bad):
    with pytest.raises(ValueError, match="got"):
        LagrangianConfig(**bad)
