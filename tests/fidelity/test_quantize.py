"""Quantization: the grid, its gradient, PTQ, QAT and layer inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fidelity import models, prune, quantize
from fidelity.quantize import Grid
from fidelity.scheme import chain, kernels

GRIDS = [
    Grid(bits, symmetric, per_channel, clip)
    for bits in (2, 4, 8)
    for symmetric in (True, False)
    for per_channel in (True, False)
    for clip in ("absmax", "mse")
]


def numpy_affine(x, low, high, bits):
    """Affine quantization as Jacob et al. 2018, section 2.1, in float64."""
    smallest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1)
    zero = np.clip(np.round(smallest - low / scale), smallest, largest)
    q = np.clip(np.round(x / scale) + zero, smallest, largest)
    return (q - zero) * scale


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0)])
def test_affine_equals_the_paper(bits, low, high):
    x = np.linspace(low - 1, high + 1, 501, dtype=np.float32)
    grid = Grid(bits, symmetric=False)
    scale, zero = quantize.scale_and_zero(jnp.float32(low), jnp.float32(high), grid)
    got = quantize.fake_quantize(
        jnp.asarray(x), scale.reshape(1), zero.reshape(1), grid
    )
    expected = numpy_affine(x.astype(np.float64), low, high, bits)
    # A value within float32 rounding of a boundary may fall to either side of it.
    off = np.abs(np.asarray(got) - expected) > 1e-4
    assert off.mean() < 0.01


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("wrap", [jax.jit, lambda f: f], ids=["jit", "plain"])
def test_integers_and_fake_quantization_agree_exactly(grid, wrap, key):
    params = {"a": {"kernel": jax.random.normal(key, (3, 3, 4, 8))}}
    scheme = quantize.weights(grid)
    fake = wrap(lambda p: scheme.apply(p, ()))(params)["a"]["kernel"]
    real = wrap(lambda p: quantize.to_integers(p, grid))(params)
    stored = real["a"]["kernel"]
    assert stored.values.dtype == jnp.int8
    assert stored.values.min() >= grid.bounds[0]
    assert stored.values.max() <= grid.bounds[1]
    np.testing.assert_allclose(
        quantize.from_integers(real)["a"]["kernel"], fake, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_quantizing_twice_changes_nothing(grid, key):
    w = jax.random.normal(key, (16, 8))
    scale, zero = quantize.scale_and_zero(*quantize.weight_range(w, grid), grid)
    once = quantize.fake_quantize(w, scale, zero, grid)
    twice = quantize.fake_quantize(once, scale, zero, grid)
    np.testing.assert_array_equal(once, twice)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4),
    st.sampled_from(GRIDS),
)
def test_error_is_half_a_step_and_zero_is_exact(values, grid):
    w = jnp.array([*values, 0.0], jnp.float32)[:, None]
    scale, zero = quantize.scale_and_zero(*quantize.weight_range(w, grid), grid)
    q = quantize.fake_quantize(w, scale, zero, grid)
    assert q[-1, 0] == 0.0
    if grid.clip == "absmax":
        # Rounding the zero point of an affine grid may move the range by half a step.
        slack = 0.5 if grid.symmetric else 1.0
        assert jnp.all(jnp.abs(q - w) <= (slack + 1e-3) * scale)


def test_gradient_passes_inside_the_range_only():
    grid = Grid(4)
    scale, zero = jnp.full((1,), 0.1), jnp.zeros((1,), jnp.int32)
    x = jnp.array([-5.0, -0.76, -0.74, 0.0, 0.33, 0.7, 0.74, 0.76])
    slope = jax.vmap(
        jax.grad(lambda v: quantize.fake_quantize(v[None], scale, zero, grid)[0])
    )(x)
    np.testing.assert_array_equal(slope, [0, 0, 1, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("symmetric", [True, False])
def test_mse_clipping_never_does_worse(symmetric, key):
    w = jax.random.laplace(key, (4096, 8))
    errors = []
    for clip in ("absmax", "mse"):
        grid = Grid(4, symmetric, clip=clip)
        out = quantize.weights(grid).apply({"a": {"kernel": w}}, ())["a"]["kernel"]
        errors.append(np.square(np.asarray(out - w)).sum(0))
    assert (errors[1] <= errors[0] * 1.0001).all()
    assert errors[1].sum() < 0.8 * errors[0].sum()


def test_a_scale_for_each_channel_is_finer(key):
    w = jax.random.normal(key, (64, 8)) * jnp.logspace(-2, 0, 8)[None, :]
    errors = [
        jnp.square(
            quantize.weights(Grid(8, per_channel=p)).apply({"a": {"kernel": w}}, ())[
                "a"
            ]["kernel"]
            - w
        ).mean()
        for p in (True, False)
    ]
    assert errors[0] < 0.3 * errors[1]


def test_pruned_weights_stay_zero_on_the_grid(key):
    params = {"a": {"kernel": jax.random.normal(key, (64, 8)) + 1.0}}
    for grid in GRIDS:
        both = chain(prune.prune(0.5), quantize.weights(grid))
        state = both.init(params, params)
        out = kernels(both.apply(params, state))["a/kernel"]
        assert not out[~state[0].masks["a/kernel"]].any()


@pytest.mark.parametrize(("bits", "limit"), [(8, 0.05), (4, 0.5)])
def test_quantized_inputs_stay_close(bits, limit, key):
    module = models.create("mlp", 10)
    x = jax.random.normal(key, (32, 8, 8, 1))
    variables = module.init(key, x)

    def apply(images):
        return module.apply(variables, images)

    ranges = quantize.calibrate(apply, [x[:16], x[16:]])
    exact = apply(x).logits
    with quantize.quantized_inputs(ranges, Grid(bits, symmetric=False)):
        rough = jax.jit(apply)(x).logits
    error = jnp.abs(rough - exact).max() / jnp.abs(exact).max()
    assert 0 < error < limit
    np.testing.assert_array_equal(apply(x).logits, exact)  # and it ends with the block


def test_calibration_sees_every_layer_and_the_extremes(key):
    module = models.create("cnn", 10)
    x = jax.random.normal(key, (8, 16, 16, 1))
    variables = module.init(key, x)
    ranges = quantize.calibrate(lambda v: module.apply(variables, v), [x])
    layers = {path.rsplit("/", 1)[0] for path in kernels(variables["params"])}
    assert set(ranges) == layers
    first = min(ranges.items(), key=lambda item: item[1][0])[1]
    np.testing.assert_allclose(first[0], x.min(), rtol=1e-6)
    narrow = quantize.calibrate(
        lambda v: module.apply(variables, v), [x], percentile=99.0
    )
    assert all(narrow[p][1] < ranges[p][1] for p in ranges)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Grid(1), "bits must be 2 to 8, got 1"),
        (lambda: Grid(9), "got 9"),
        (lambda: Grid(clip="best"), "clip 'best'"),
        (lambda: quantize.calibrate(lambda x: x, []), "at least one batch"),
        (lambda: quantize.calibrate(lambda x: x, [], percentile=10), "percentile"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
