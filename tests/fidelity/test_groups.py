"""Channel groups and slimming: a masked network and a smaller one agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fidelity import models, prune, slim
from fidelity.groups import channel_groups, channel_masks
from fidelity.scheme import flat, nested


def _variables(module, shape=(2, 16, 16, 3)):
    """Drawn leaf by leaf, statistics too, so that a wrong removal shows."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=shape), jnp.float32)
    shapes = flat(jax.eval_shape(module.init, jax.random.key(0), images))
    leaves = {}
    for path, leaf in shapes.items():
        name = path.rsplit("/", 1)[-1]
        if name == "kernel":
            fan_in = leaf.size / leaf.shape[-1]
            drawn = rng.normal(size=leaf.shape) * np.sqrt(2 / fan_in)
        else:
            centre = 1.0 if name in ("scale", "var") else 0.0
            drawn = centre + rng.uniform(-0.3, 0.3, leaf.shape)
        leaves[path] = jnp.asarray(drawn, jnp.float32)
    return nested(leaves), images


def _halve(groups):
    return [np.arange(group.size) % 2 == 0 for group in groups]


FAMILIES = [
    "cnn",
    "densenet_bc_100_12",
    "efficientnet_b0",
    "googlenet",
    "mlp",
    "mobilenet_v2",
    "resnet20",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "vgg11_bn",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_masked_equals_shrunk(name):
    module = models.create(name, 10)
    variables, images = _variables(module)
    groups = channel_groups(module.apply, variables, images)
    keep = _halve(groups)
    # Compiling costs more than running here.
    fast = {"xla_backend_optimization_level": 0}

    @functools.partial(jax.jit, compiler_options=fast)
    def mask(params):
        masks = channel_masks(groups, keep, {"params": params})
        return prune.apply_masks(params, flat(masks["params"]))

    masked = {**variables, "params": mask(variables["params"])}
    small = slim.shrink(variables, groups, keep)

    apply = jax.jit(lambda v, x: module.apply(v, x).logits, compiler_options=fast)
    expected, got = apply(masked, images), apply(small, images)
    assert np.isfinite(expected).all()
    scale = jnp.abs(expected).max()
    np.testing.assert_allclose(got / scale, expected / scale, atol=2e-4)

    assert jnp.abs(expected - apply(variables, images)).max() > 1e-2 * scale
    before, after = slim.count_parameters(variables), slim.count_parameters(small)
    # ShuffleNet's shuffles freeze most of its channels.
    assert after < (0.98 if name.startswith("shuffle") else 0.6) * before
    macs = [slim.count_macs(module.apply, v, images) for v in (small, variables)]
    assert macs[0] < macs[1]
    for kept, found in zip(
        keep, prune.kept_channels(groups, masked["params"]), strict=True
    ):
        np.testing.assert_array_equal(kept, found)


def test_residual_sum_ties_both_branches():
    module = models.create("resnet20", 10)
    variables, images = _variables(module)
    groups = channel_groups(module.apply, variables, images)
    stages = [g for g in groups if len(g.members) > 10]
    # The three stages' residual streams, and the inner channel of each of 9 blocks.
    assert [g.size for g in stages] == [16, 32, 64]
    assert len(groups) - len(stages) == 9


def test_flattened_map_repeats_a_channel(key):
    def apply(variables, x):
        p = variables["params"]
        y = jax.lax.conv_general_dilated(
            x,
            p["a"]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y.reshape(y.shape[0], -1) @ p["b"]["kernel"]

    params = {
        "a": {"kernel": jax.random.normal(key, (1, 1, 3, 4))},
        "b": {"kernel": jax.random.normal(key, (4 * 4 * 4, 2))},
    }
    x = jax.random.normal(key, (2, 4, 4, 3))
    (group,) = channel_groups(apply, {"params": params}, x)
    assert {m.path: m.positions.shape for m in group.members} == {
        "params/a/kernel": (4, 1),
        "params/b/kernel": (4, 16),
    }
    keep = [np.array([True, False, True, True])]
    small = slim.shrink({"params": params}, [group], keep)
    assert small["params"]["b"]["kernel"].shape == (48, 2)
    masks = flat(channel_masks([group], keep, {"params": params})["params"])
    masked = {"params": prune.apply_masks(params, masks)}
    np.testing.assert_allclose(apply(small, x), apply(masked, x), atol=1e-5)


def test_an_unknown_operation_freezes_what_it_touches():
    def apply(variables, x):
        p = variables["params"]
        return jnp.sort(x @ p["a"]["kernel"], axis=-1) @ p["b"]["kernel"]

    params = {"a": {"kernel": jnp.ones((3, 5))}, "b": {"kernel": jnp.ones((5, 2))}}
    assert channel_groups(apply, {"params": params}, jnp.ones((1, 3))) == ()


def test_mean_over_channels_freezes_them():
    def apply(variables, x):
        p = variables["params"]
        y = x @ p["a"]["kernel"]
        return (y - y.mean(-1, keepdims=True)) @ p["b"]["kernel"]

    params = {"a": {"kernel": jnp.ones((3, 5))}, "b": {"kernel": jnp.ones((5, 2))}}
    assert channel_groups(apply, {"params": params}, jnp.ones((1, 3))) == ()


@pytest.mark.parametrize("mask", [np.ones(3, bool), np.zeros(5, bool)])
def test_shrink_rejects_a_wrong_mask(mask):
    params = {"a": {"kernel": jnp.ones((3, 5))}, "b": {"kernel": jnp.ones((5, 2))}}
    groups = channel_groups(
        lambda v, x: x @ v["params"]["a"]["kernel"] @ v["params"]["b"]["kernel"],
        {"params": params},
        jnp.ones((1, 3)),
    )
    with pytest.raises(ValueError, match="5 channels"):
        slim.shrink({"params": params}, groups, [mask])


def test_latency_is_positive():
    assert (
        slim.measure_latency(lambda w, x: x @ w, jnp.ones((3, 4)), jnp.ones((2, 3))) > 0
    )
