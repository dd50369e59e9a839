"""Pruning masks, against NumPy and against properties that masks must have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fidelity import prune
from fidelity.scheme import flat, kernels, sparsity

VARIANTS = pytest.mark.parametrize("wrap", [jax.jit, lambda f: f], ids=["jit", "plain"])


def make_params(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "a": {"kernel": jax.random.normal(keys[0], (3, 3, 4, 8))},
        "b": {"kernel": 5.0 * jax.random.normal(keys[1], (32, 10))},
        "norm": {"scale": jnp.ones(8)},
    }


def grads_like(params):
    return jax.tree.map(lambda w: jnp.sin(7.0 * w), params)


@VARIANTS
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_keep_best_removes_exactly_the_smallest(wrap, fraction, key):
    scores = jax.random.uniform(key, (1000,))
    kept = wrap(lambda s: prune.keep_best(s, fraction))(scores)
    expected = np.ones(1000, bool)
    expected[np.argsort(np.asarray(scores))[: round(1000 * fraction)]] = False
    np.testing.assert_array_equal(kept, expected)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=12, max_size=12),
    st.floats(0, 0.99),
)
def test_ties_never_change_the_count(values, fraction):
    kept = prune.keep_best(jnp.array(values), fraction)
    assert int(kept.sum()) == 12 - round(np.float32(fraction) * 12)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("criterion", [prune.magnitude, prune.gradient, prune.saliency])
def test_unstructured_masks_equal_numpy(scope, criterion):
    params = make_params()
    grads = grads_like(params)
    masks = prune.make_masks(params, grads, 0.7, criterion=criterion, scope=scope)
    score = {
        prune.magnitude: lambda w, g: np.abs(w),
        prune.gradient: lambda w, g: np.abs(g),
        prune.saliency: lambda w, g: np.abs(w * g),
    }[criterion]
    slopes = kernels(grads)
    scores = {
        path: score(np.asarray(w), np.asarray(slopes[path]))
        for path, w in kernels(params).items()
    }
    together = np.sort(np.concatenate([s.ravel() for s in scores.values()]))
    for path, s in scores.items():
        ordered = together if scope == "global" else np.sort(s.ravel())
        threshold = ordered[round(ordered.size * 0.7)]
        np.testing.assert_array_equal(masks[path], s >= threshold)
    assert set(masks) == set(scores)


def test_random_masks_follow_the_key(key):
    params = make_params()
    first, again, other = (
        prune.make_masks(params, params, 0.5, criterion=prune.random(k))["a/kernel"]
        for k in (key, key, jax.random.fold_in(key, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(other)).mean() > 0.3


@VARIANTS
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 4)])
def test_nm_keeps_the_largest_n_of_every_m_inputs(wrap, n, m):
    params = make_params()
    masks = wrap(lambda p: prune.make_masks(p, p, 0.0, structure=prune.NM(n, m)))(
        params
    )
    for path, w in kernels(params).items():
        groups = np.abs(np.asarray(w)).reshape(-1, m, w.shape[-1])
        kept = np.asarray(masks[path]).reshape(groups.shape)
        assert (kept.sum(1) == n).all()
        weakest = np.where(kept, groups, np.inf).min(1)
        assert (np.where(kept, -np.inf, groups).max(1) <= weakest).all()


def test_nm_leaves_an_input_that_does_not_divide(key):
    params = {"a": {"kernel": jax.random.normal(key, (3, 3, 3, 8))}}
    assert prune.make_masks(params, params, 0.0, structure=prune.NM())["a/kernel"].all()


def test_blocks_stand_or_fall_together():
    params = make_params()
    structure = prune.Block(4, 4)
    masks = prune.make_masks(params, params, 0.5, structure=structure)
    for path, w in kernels(params).items():
        kept = np.asarray(masks[path]).reshape(-1, w.shape[-1])
        for i in range(0, kept.shape[0], 4):
            for j in range(0, kept.shape[1], 4):
                assert np.unique(kept[i : i + 4, j : j + 4]).size == 1
    # The strong layer "b" keeps its blocks; a ragged edge is not punished for its size.
    assert masks["b/kernel"].mean() > masks["a/kernel"].mean()
    ragged = np.asarray(masks["b/kernel"])[:, 8:]
    assert ragged.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prune.constant(1.0), r"\[0, 1\)"),
        (lambda: prune.prune(-0.1), r"\[0, 1\)"),
        (lambda: prune.prune(float("nan")), r"\[0, 1\)"),
        (lambda: prune.cubic(1.5, begin=0, end=1), r"\[0, 1\)"),
        (lambda: prune.cubic(0.5, begin=3, end=3), "end after it begins"),
        (lambda: prune.prune(0.5, scope="both"), "scope 'both'"),
        (lambda: prune.prune(0.5, every=0), "every"),
        (lambda: prune.NM(4, 4), "4:4"),
        (lambda: prune.Block(0, 4), "block sides"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_cubic_is_the_published_curve():
    schedule = prune.cubic(0.9, begin=100, end=200, initial=0.1)
    for t in (0, 100, 130, 175, 200, 999):
        u = min(max((t - 100) / 100, 0), 1)
        expected = 0.9 + (0.1 - 0.9) * (1 - u) ** 3
        np.testing.assert_allclose(schedule(t), expected, rtol=1e-6)


@pytest.mark.parametrize("criterion", [prune.magnitude, prune.gradient])
def test_a_pruned_weight_stays_pruned(criterion, key):
    params = make_params()
    scheme = prune.prune(
        prune.cubic(0.9, begin=0, end=40), criterion=criterion, every=10
    )
    state = scheme.init(params, grads_like(params))
    update = jax.jit(scheme.update)
    gone = {p: ~np.asarray(m) for p, m in state.masks.items()}
    for step in range(1, 51):
        key, noise = jax.random.split(key)
        params = jax.tree.map(
            lambda w, k=noise: w + 0.3 * jax.random.normal(k, w.shape), params
        )
        before = state
        state = update(params, grads_like(params), jnp.int32(step), state)
        for path, mask in state.masks.items():
            assert not (np.asarray(mask) & gone[path]).any()
            gone[path] |= ~np.asarray(mask)
            if step % 10:
                np.testing.assert_array_equal(mask, before.masks[path])
    reached = float(sparsity(scheme.apply(params, state)))
    np.testing.assert_allclose(reached, 0.9, atol=2e-3)


def test_one_shot_masks_never_move():
    params = make_params()
    scheme = prune.prune(0.5)
    state = scheme.init(params, params)
    other = jax.tree.map(lambda w: w[..., ::-1], params)
    after = scheme.update(other, other, jnp.int32(100), state)
    for path, mask in state.masks.items():
        np.testing.assert_array_equal(mask, after.masks[path])


def test_apply_masks_keeps_other_leaves():
    params = make_params()
    out = prune.apply_masks(params, {"a/kernel": jnp.zeros((3, 3, 4, 8), bool)})
    assert not flat(out)["a/kernel"].any()
    np.testing.assert_array_equal(out["b"]["kernel"], params["b"]["kernel"])
