"""The zoo against published sizes, and the contract that every network keeps."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fidelity import models, slim
from fidelity.models.blocks import max_pool_ceil
from fidelity.models.shufflenet import shuffle
from fidelity.models.vgg import adaptive_average

# Parameters and GFLOPS (multiply-accumulates of 224x224) that torchvision publishes
# with its ImageNet weights. The second tells strides and pooling that the first cannot.
TORCHVISION = [
    ("densenet121", 7_978_856, 2.834),
    ("efficientnet_b0", 5_288_548, 0.386),
    ("googlenet", 6_624_904, 1.498),
    ("mobilenet_v2", 3_504_872, 0.301),
    ("resnet18", 11_689_512, 1.814),
    ("resnet34", 21_797_672, 3.664),
    ("resnet50", 25_557_032, 4.089),
    ("shufflenet_v2_x0_5", 1_366_792, 0.040),
    ("shufflenet_v2_x1_0", 2_278_604, 0.145),
    ("squeezenet1_1", 1_235_496, 0.349),
    ("vgg11_bn", 132_868_840, 7.609),
    ("vgg16_bn", 138_365_992, 15.470),
]
# Resolution of the pooled map for 32x32 images: what the CIFAR stem leaves.
CIFAR_SIDES = {
    "cnn": 4,
    "densenet121": 4,
    "densenet_bc_100_12": 8,
    "efficientnet_b0": 2,
    "googlenet": 8,
    "mobilenet_v2": 4,
    "resnet18": 4,
    "resnet20": 8,
    "resnet32": 8,
    "resnet34": 4,
    "resnet50": 4,
    "resnet56": 8,
    "shufflenet_v2_x0_5": 4,
    "shufflenet_v2_x1_0": 4,
    "squeezenet1_1": 8,
    "vgg11_bn": 2,
    "vgg16_bn": 2,
}
WITHOUT_STATISTICS = ("mlp", "squeezenet1_1")


def _images(side, channels=3, batch=2):
    return jax.ShapeDtypeStruct((batch, side, side, channels), jnp.float32)


def _shapes(module, images):
    return jax.eval_shape(module.init, jax.random.key(0), images)


@pytest.mark.parametrize(("name", "parameters", "gmacs"), TORCHVISION)
def test_imagenet_size_is_torchvisions(name, parameters, gmacs):
    module = models.create(name, 1000, stem="imagenet")
    images = _images(224, batch=1)
    variables = _shapes(module, images)
    assert slim.count_parameters(variables) == parameters
    macs = slim.count_macs(module.apply, variables, images)
    assert macs / 1e9 == pytest.approx(gmacs, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "millions", "digits"),
    [
        # He et al. 2015, table 6; Huang et al. 2016, table 2.
        ("resnet20", 0.27, 2),
        ("resnet32", 0.46, 2),
        ("resnet56", 0.85, 2),
        ("densenet_bc_100_12", 0.8, 1),
    ],
)
def test_cifar_size_is_the_papers(name, millions, digits):
    count = slim.count_parameters(_shapes(models.create(name, 10), _images(32)))
    assert abs(count / 1e6 - millions) < 10**-digits


def test_resnet20_by_hand():
    # Identity shortcuts would give 269,722; the two projections add 16*32 + 32*64
    # weights and 2 * (32 + 64) of normalisation.
    count = slim.count_parameters(_shapes(models.create("resnet20", 10), _images(32)))
    assert count == 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64) == 272_474


def test_names_are_sorted_and_complete():
    assert models.names() == tuple(sorted([*CIFAR_SIDES, "mlp"]))


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (28, 1), (16, 3)])
@pytest.mark.parametrize("name", models.names())
def test_shapes_with_the_cifar_stem(name, side, channels):
    module = models.create(name, 7)
    images = _images(side, channels)
    logits, features = jax.eval_shape(module.apply, _shapes(module, images), images)
    assert logits.shape == (2, 7)
    assert len(features) > 1
    if name == "mlp":
        assert [f.shape for f in features] == [(2, 512), (2, 256)]
        return
    sides = [f.shape[1] for f in features]
    assert all(f.shape[:3] == (2, f.shape[1], f.shape[1]) for f in features)
    assert sides == sorted(sides, reverse=True)
    assert 0 < sides[-1] < sides[0] <= side
    if side == 32:
        assert sides[-1] == CIFAR_SIDES[name]


@pytest.mark.parametrize("name", models.names())
def test_bfloat16_computes_but_stores_and_scores_in_float32(name):
    module = models.create(name, 10, dtype=jnp.bfloat16)
    images = _images(16)
    variables = _shapes(module, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    logits, features = jax.eval_shape(module.apply, variables, images)
    assert logits.dtype == jnp.float32
    assert all(f.dtype == jnp.bfloat16 for f in features[:-1])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", models.names())
def test_every_normalisation_hears_of_training(name, train):
    module = models.create(name, 10)
    images = _images(16)
    variables = _shapes(module, images)
    heard = []

    def listen(next_function, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm):
            heard.append(context.module.use_running_average)
        return next_function(*args, **kwargs)

    def call(variables, images):
        return module.apply(variables, images, train=train, mutable=["batch_stats"])

    with nn.intercept_methods(listen):
        _, changed = jax.eval_shape(call, variables, images)
    assert set(heard) == (set() if name in WITHOUT_STATISTICS else {not train})
    assert ("batch_stats" in variables) == (name not in WITHOUT_STATISTICS)
    expected = variables.get("batch_stats", {})
    assert jax.tree.map(jnp.shape, changed.get("batch_stats", {})) == jax.tree.map(
        jnp.shape, expected
    )


@pytest.mark.parametrize("name", ["cnn", "mlp", "squeezenet1_1"])
def test_jit_changes_nothing(name, key):
    module = models.create(name, 10)
    images = jax.random.normal(key, (2, 16, 16, 3))
    variables = jax.jit(module.init)(key, images)
    plain = module.apply(variables, images)
    compiled = jax.jit(module.apply)(variables, images)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "resnet20", "shufflenet_v2_x0_5", "vgg11_bn"])
def test_training_call_moves_statistics_and_normalises(name, key):
    module = models.create(name, 10)
    # Far from zero mean, where the initial statistics are wrong.
    images = 5 + jax.random.normal(key, (4, 16, 16, 3))
    variables = jax.jit(module.init)(key, images)

    @jax.jit
    def call(variables, images):
        return module.apply(variables, images, train=True, mutable=["batch_stats"])

    out, changed = call(variables, images)
    assert out.logits.shape == (4, 10)
    assert np.isfinite(out.logits).all()
    assert np.ptp(out.logits, axis=0).min() > 0  # images are told apart
    before, after = variables["batch_stats"], changed["batch_stats"]
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, after)
    assert all(jax.tree.leaves(moved))


def test_features_are_what_the_classifier_pools(key):
    module = models.create("cnn", 10)
    images = jax.random.normal(key, (2, 16, 16, 3))
    variables = module.init(key, images)
    logits, features = module.apply(variables, images)
    dense = variables["params"]["classifier"]
    pooled = np.asarray(features[-1]).mean((1, 2))
    expected = pooled @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])[None]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_vgg_of_224_applies_to_other_sizes():
    module = models.create("vgg11_bn", 1000, stem="imagenet")
    variables = _shapes(module, _images(224))
    for side in (32, 160, 288):
        out = jax.eval_shape(module.apply, variables, _images(side))
        assert out.logits.shape == (2, 1000)


def test_adaptive_average_by_hand():
    # Windows [0, 2), [1, 4), [3, 5) of five rows; one column is repeated.
    x = jnp.arange(5.0)[None, :, None, None]
    y = adaptive_average(x, 3)
    np.testing.assert_allclose(y[0, :, :, 0], np.tile([[0.5], [2.0], [3.5]], (1, 3)))


@pytest.mark.parametrize(
    ("length", "size", "expected"),
    [(6, 3, [2, 4, 5]), (7, 3, [2, 4, 6]), (5, 2, [1, 3, 4]), (4, 2, [1, 3])],
)
def test_max_pool_ceil_by_hand(length, size, expected):
    line = jnp.arange(length, dtype=jnp.float32) - length  # all negative
    x = jnp.broadcast_to(line[None, :, None, None], (1, length, length, 1))
    y = max_pool_ceil(x, size)
    assert y.shape == (1, len(expected), len(expected), 1)
    np.testing.assert_array_equal(y[0, :, 0, 0] + length, expected)


def test_shuffle_interleaves_the_halves():
    x = jnp.arange(6)[None, None, None, :]
    np.testing.assert_array_equal(shuffle(x)[0, 0, 0], [0, 3, 1, 4, 2, 5])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("resnet19", 10), {}, "'resnet19'.*resnet18, resnet20"),
        (("cnn", 10), {"stem": "tiny"}, "'tiny'.*cifar, imagenet"),
        (("cnn", 0), {}, "num_classes.*got 0"),
    ],
)
def test_create_rejects(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(*arguments, **options)
