"""The train step, against optax by hand, and the train function."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_problem

from fidelity import prune, quantize
from fidelity.scheme import chain, kernels, sparsity
from fidelity.train import (
    Config,
    learning_rate_schedule,
    make_predict,
    mean_gradient,
    train,
)


@pytest.fixture(scope="module")
def data():
    return tiny_problem.dataset()


def arrays(data):
    return jnp.asarray(data.images), jnp.asarray(data.labels)


def test_a_step_is_sgd_with_nesterov_momentum_and_decay(data, key):
    config = Config(
        epochs=1, batch_size=32, learning_rate=0.1, warmup=0.0, pad=0, flip=False
    )
    trainer = tiny_problem.trainer(data, config=config)
    variables = tiny_problem.reference(data)
    state = trainer.init(key, variables)
    images, labels = arrays(data)
    chosen = jnp.arange(32)
    new, metrics = trainer.step(state, images, labels, chosen)

    module = tiny_problem.Tiny()
    x = images[:32].astype(jnp.float32) / 255
    mean, std = tiny_problem.statistics(data)
    x = (x - mean[None, None, None, :]) / std[None, None, None, :]

    def objective(params):
        out, _ = module.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        ce = optax.softmax_cross_entropy_with_integer_labels(out.logits, labels[:32])
        return ce.mean()

    value, grads = jax.value_and_grad(objective)(variables["params"])
    np.testing.assert_allclose(metrics.terms[0], value, rtol=1e-5)

    def expected(path, w, g):
        decayed = g + 5e-4 * w if path[-1].key == "kernel" else g
        # First Nesterov step: the trace is the gradient, looked ahead once.
        return w - 0.1 * (decayed + 0.9 * decayed)

    wanted = jax.tree_util.tree_map_with_path(expected, variables["params"], grads)
    for got, want in zip(
        jax.tree.leaves(new.params), jax.tree.leaves(wanted), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert int(new.step) == 1


def test_schedule_rises_then_falls_to_zero():
    config = Config(epochs=10, batch_size=10, learning_rate=0.3, warmup=0.2)
    schedule = learning_rate_schedule(config, 100)
    values = [float(schedule(t)) for t in range(101)]
    assert values[0] == 0
    np.testing.assert_allclose(values[10], 0.15, rtol=1e-6)
    np.testing.assert_allclose(max(values), 0.3, rtol=1e-6)
    assert np.argmax(values) == 20
    np.testing.assert_allclose(values[60], 0.15, rtol=1e-5)
    np.testing.assert_allclose(values[100], 0, atol=1e-7)


def test_scanned_steps_equal_single_steps(data, key):
    trainer = tiny_problem.trainer(data)
    images, labels = arrays(data)
    one, order = trainer.shuffle(trainer.init(key), len(labels))
    many, _ = trainer.shuffle(trainer.init(key), len(labels))
    assert order.shape == (8, 32)
    assert len(set(np.asarray(order).ravel().tolist())) == 256
    accuracies = []
    for chosen in order:
        one, metrics = trainer.step(one, images, labels, chosen)
        accuracies.append(metrics.accuracy)
    many, metrics = trainer.steps(many, images, labels, order)
    np.testing.assert_allclose(metrics.accuracy, np.mean(accuracies), rtol=1e-6)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(
            np.asarray(a, np.float32), np.asarray(b, np.float32), atol=1e-4
        )


def test_training_learns_and_vmaps_to_an_ensemble(data):
    trainer = tiny_problem.trainer(data, config=Config(20, 32, pad=0, flip=False))
    images, labels = arrays(data)
    keys = jax.random.split(jax.random.key(1), 2)
    states, metrics = jax.jit(
        jax.vmap(lambda k: train(k, images, labels, trainer, 20))
    )(keys)
    assert metrics.accuracy.shape == (2, 20)
    assert (metrics.accuracy[:, -1] > 0.9).all()
    kernel = jax.tree.leaves(states.params)[0]
    assert not np.array_equal(kernel[0], kernel[1])


def test_masks_hold_and_gradients_respect_them(data, key):
    scheme = chain(prune.prune(0.5), quantize.weights(quantize.Grid(4)))
    trainer = tiny_problem.trainer(data, scheme=scheme)
    images, labels = arrays(data)
    state = trainer.init(key, tiny_problem.reference(data))
    masks = jax.tree.map(np.asarray, state.scheme_state[0].masks)
    state, order = trainer.shuffle(state, len(labels))
    state, _ = trainer.steps(state, images, labels, order)
    out = trainer.compressed(state)
    assert sparsity(out["params"]) >= 0.5
    for path, leaf in kernels(out["params"]).items():
        assert not np.asarray(leaf)[~masks[path]].any()


def test_a_preservation_term_pulls_towards_the_reference(data, key):
    reference = tiny_problem.reference(data, seed=3)
    trainer = tiny_problem.trainer(
        data, terms=("mse",), config=Config(10, 32, pad=0, flip=False)
    )
    images, labels = arrays(data)
    state, metrics = jax.jit(
        lambda k: train(k, images, labels, trainer, 10, reference=reference)
    )(key)
    assert metrics.terms[-1, 0] < 0.3 * metrics.terms[0, 0]
    mean, std = tiny_problem.statistics(data)
    predict = make_predict(tiny_problem.Tiny(), mean, std)
    same = predict(trainer.compressed(state), images).argmax(-1)
    assert (same == predict(reference, images).argmax(-1)).mean() > 0.8


def test_weights_multiply_the_terms(data, key):
    from fidelity.weighting import fixed

    reference = tiny_problem.reference(data, seed=3)
    images, labels = arrays(data)
    after = []
    for terms, weights in ((("ce", "kd"), (1.0, 0.0)), (("ce",), (1.0,))):
        trainer = tiny_problem.trainer(data, terms=terms, weighting=fixed(weights))
        state, _ = trainer.step(
            trainer.init(key, reference), images, labels, jnp.arange(32), reference
        )
        after.append(state.params)
    for a, b in zip(*map(jax.tree.leaves, after), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_preservation_term_needs_a_reference(data, key):
    trainer = tiny_problem.trainer(data, terms=("ce", "kd"))
    images, labels = arrays(data)
    with pytest.raises(ValueError, match="need a reference"):
        trainer.step(trainer.init(key), images, labels, jnp.arange(32))


def test_unknown_terms_and_small_sets_are_refused(data):
    with pytest.raises(ValueError, match="nope"):
        tiny_problem.trainer(data, terms=("nope",))
    small = type(data)(*(x[:8] for x in data))
    with pytest.raises(ValueError, match="8 training examples"):
        tiny_problem.trainer(small)


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}]
)
def test_bad_configurations(bad):
    with pytest.raises(ValueError, match="got"):
        Config(**bad)


def test_mean_gradient_is_that_of_the_whole_set(data):
    variables = tiny_problem.reference(data)
    mean, std = tiny_problem.statistics(data)
    images, labels = arrays(data)
    module = tiny_problem.Tiny()
    whole = mean_gradient(module, variables, images, labels, mean, std)
    halves = [
        mean_gradient(module, variables, images[i::2], labels[i::2], mean, std)
        for i in range(2)
    ]
    for a, b, c in zip(*map(jax.tree.leaves, (whole, *halves)), strict=True):
        np.testing.assert_allclose(a, (b + c) / 2, atol=1e-6)
