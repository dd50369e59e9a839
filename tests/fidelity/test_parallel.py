"""Devices that share a batch do what one device does."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest
import tiny_problem
from tiny_problem import CONFIG, assert_trees_equal

from fidelity import fit, parallel, prune, quantize
from fidelity.models.layers import Dense, Output
from fidelity.scheme import chain
from fidelity.weighting import uncertainty


class Plain(nn.Module):
    """A network without batch normalisation."""

    @nn.compact
    def __call__(self, x, train=False):
        h = nn.relu(Dense(16)(x.reshape(len(x), -1)))
        return Output(Dense(4)(h), (h,))


@pytest.fixture(scope="module")
def data():
    return tiny_problem.dataset(96)


def run(data, module, devices, **settings):
    """Two epochs; without devices, the plain trainer."""
    axis = parallel.AXIS if devices else None
    trainer = tiny_problem.trainer(data, module=module, axis_name=axis, **settings)
    if devices:
        trainer = parallel.over(trainer, devices, CONFIG.batch_size)
    reference = module.init(jax.random.key(7), np.zeros((1, 8, 8, 1)))
    state = trainer.init(jax.random.key(0))
    state, history = fit.fit(trainer, state, data, 2, reference=reference)
    return trainer, state, history


def test_two_devices_train_as_one(data):
    """With augmentation, a mask, fake quantization, two terms, a tuned weighting."""
    settings = {
        "terms": ("ce", "kd"),
        "weighting": uncertainty(),
        "scheme": chain(prune.prune(0.5), quantize.weights(quantize.Grid(8))),
    }
    one, state, history = run(data, Plain(), None, **settings)
    two, states, histories = run(data, Plain(), jax.devices(), **settings)
    for a, b in zip(jax.tree.leaves(states), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a[0], a[1])
        np.testing.assert_allclose(a[0], b, rtol=2e-4, atol=2e-6)
    for a, b in zip(histories, history, strict=True):
        for name in ("terms", "weights", "train_accuracy"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4)
    variables = two.compressed(states)
    logits = fit.predict_all(two.predict, variables, data)
    want = fit.predict_all(one.predict, one.compressed(state), data)
    np.testing.assert_allclose(logits, want, atol=1e-3)


def test_running_statistics_are_the_mean_of_the_parts(data):
    config = dataclasses.replace(CONFIG, pad=0)
    trainer = tiny_problem.trainer(data, config=config, axis_name=parallel.AXIS)
    shared = parallel.over(trainer, jax.devices(), CONFIG.batch_size)
    plain = tiny_problem.trainer(data, config=config)
    images, labels = fit.to_device(data)
    order, key = np.arange(32), jax.random.key(3)
    state, _ = shared.step(shared.init(key), images, labels, order)
    halves = [
        plain.step(plain.init(key), images, labels, half)[0].batch_stats
        for half in (order[:16], order[16:])
    ]
    for found, a, b in zip(
        *map(jax.tree.leaves, (parallel.first(state.batch_stats), *halves)), strict=True
    ):
        np.testing.assert_allclose(found, (a + b) / 2, rtol=1e-5, atol=1e-6)


def test_placed_data_stay_where_they_are(data):
    images = parallel.place(data.images, jax.devices())
    assert images.sharding.device_set == set(jax.devices())
    assert_trees_equal(images, data.images)


def test_batches_that_do_not_split_are_refused(data):
    trainer = tiny_problem.trainer(data, axis_name=parallel.AXIS)
    with pytest.raises(ValueError, match=r"batch of 33 .* 2 devices: make batch_size"):
        parallel.over(trainer, jax.devices(), 33)
