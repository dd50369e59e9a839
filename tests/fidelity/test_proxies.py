"""Proxies against plain loops, exact refits and planted wrong labels."""

import itertools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats
from tiny_problem import dataset

from fidelity import losses, models, proxies
from fidelity.association import auc, levels
from fidelity.data import normalize, statistics
from fidelity.train import Config

CONFIG = Config(12, 16, 0.05, weight_decay=0.0, pad=0, flip=False)


@pytest.fixture(scope="module")
def noisy():
    """Every tenth label is wrong."""
    data = dataset(120, seed=0)
    wrong = np.arange(120) % 10 == 3
    labels = np.where(wrong, (data.labels + 1) % 4, data.labels).astype(np.int32)
    return data._replace(labels=labels), wrong


@pytest.fixture(scope="module")
def run(noisy):
    module = models.create("mlp", 4)
    return module, *proxies.curves(
        jax.random.key(0), module, CONFIG, noisy[0], early=3, batch_size=50
    )


def test_forgetting_events_against_a_loop():
    right = np.random.default_rng(0).uniform(size=(9, 40)) < 0.4
    right[:, 5] = False
    expected = []
    for column in right.T:
        falls = sum(a and not b for a, b in itertools.pairwise(column))
        expected.append(falls if column.any() else 9)
    np.testing.assert_array_equal(proxies.forgetting_events(right), expected)


def test_error_norm_against_numpy():
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    labels = np.arange(6) % 5
    expected = np.linalg.norm(special.softmax(logits, 1) - np.eye(5)[labels], axis=1)
    found = jax.vmap(proxies.error_norm)(logits, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_curves_end_where_the_variables_are(noisy, run):
    data, _ = noisy
    module, seen, early, last = run
    assert seen.right.shape == seen.loss.shape == (12, 120)
    x = normalize(jnp.asarray(data.images), *statistics(data))
    for epoch, variables in ((2, early), (-1, last)):
        logits = module.apply(variables, x).logits
        loss = jax.vmap(losses.cross_entropy)(logits, data.labels)
        np.testing.assert_allclose(seen.loss[epoch], loss, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(
            seen.right[epoch], logits.argmax(1) == data.labels
        )
    assert seen.loss[-1].mean() < seen.loss[0].mean()


def test_gradient_norms_against_one_at_a_time(noisy, run):
    data, _ = noisy
    module, _, early, _ = run
    few = data._replace(images=data.images[:7], labels=data.labels[:7])
    mean, std = statistics(few)

    @jax.jit
    def norm(image, label):
        def loss(params):
            x = normalize(image[None], mean, std)
            return losses.cross_entropy(
                module.apply({"params": params}, x).logits[0], label
            )

        grads = jax.grad(loss)(early["params"])
        return jnp.linalg.norm(jax.flatten_util.ravel_pytree(grads)[0])

    expected = [norm(x, y) for x, y in zip(few.images, few.labels, strict=True)]
    found = proxies.gradient_norms(module, early, few, batch_size=3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_leave_one_out_against_refits_without_each_example():
    """Softmax regression, fitted again 40 times by SciPy."""
    rng = np.random.default_rng(0)
    count, classes, damping = 40, 3, 0.1
    labels = rng.integers(0, classes, count)
    features = rng.normal(size=(count, 4)) + labels[:, None] * 0.7
    x = np.c_[features, np.ones(count)]
    onehot = np.eye(classes)[labels]

    def fit(kept):
        def objective(w):
            z = x @ w.reshape(5, classes)
            log_p = special.log_softmax(z, 1)
            slope = x.T @ (kept[:, None] * (np.exp(log_p) - onehot)) / count
            value = -np.sum(kept * log_p[np.arange(count), labels]) / count
            return value + damping / 2 * w @ w, slope.ravel() + damping * w

        found = optimize.minimize(
            objective, np.zeros(5 * classes), jac=True, options={"gtol": 1e-10}
        )
        return x @ found.x.reshape(5, classes)

    full = fit(np.ones(count))
    base = -special.log_softmax(full, 1)[np.arange(count), labels]
    exact = []
    for i in range(count):
        kept = np.ones(count)
        kept[i] = 0
        exact.append(-special.log_softmax(fit(kept), 1)[i, labels[i]] - base[i])
    found = proxies.leave_one_out(
        jnp.asarray(features, jnp.float32),
        jnp.asarray(full, jnp.float32),
        jnp.asarray(labels),
        damping,
    )
    assert stats.spearmanr(found, exact).statistic > 0.995
    np.testing.assert_allclose(found, exact, rtol=0.1, atol=1e-3)


def test_wrong_labels_rank_high(key, noisy):
    data, wrong = noisy
    found = proxies.proxies(key, models.create("mlp", 4), CONFIG, data, seeds=1)
    assert set(found) == {
        "forgetting",
        "el2n",
        "grand",
        "loss_area",
        "leave_one_out",
    }
    for name in ("el2n", "grand", "loss_area", "leave_one_out"):
        assert auc(levels(found[name]), wrong, ~wrong) > 0.8, name
    ranks = proxies.rank_correlations(
        found, np.where(wrong, 1.0, np.random.default_rng(0).uniform(0, 0.3, 120))
    )
    assert ranks["loss_area"] > 0.2
    assert ranks.keys() == found.keys()


def test_leave_one_out_is_left_out_where_it_is_too_large(key, noisy):
    small = proxies.proxies(
        key, models.create("mlp", 4), CONFIG, noisy[0], seeds=1, max_hessian=100
    )
    assert "leave_one_out" not in small


def test_nan_scores_are_left_out():
    mem = np.array([0.1, np.nan, 0.3, 0.2])
    found = proxies.rank_correlations({"x": np.array([1, 9, 3, 2])}, mem)
    assert found["x"] == pytest.approx(1.0)


@pytest.mark.parametrize("early", [0, 13])
def test_early_outside_the_run(key, noisy, early):
    with pytest.raises(ValueError, match=r"early must lie in \[1, 12\]"):
        proxies.curves(key, models.create("mlp", 4), CONFIG, noisy[0], early=early)
