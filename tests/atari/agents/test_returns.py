"""Advantages and targets against the published sums, term by term in NumPy."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari.agents import returns

T = 12
GAMMA = 0.9


@pytest.fixture(params=[0, 4, 5])
def episode(request) -> dict[str, np.ndarray]:
    """Random steps in which episodes end, some of them truncated."""
    rng = np.random.default_rng(request.param)
    ends = rng.random(T) < 0.3
    terminal = ends & (rng.random(T) < 0.5)
    assert 0 < terminal.sum() < ends.sum() < T
    return {
        "rewards": rng.normal(size=T).astype(np.float32),
        "values": rng.normal(size=T + 1).astype(np.float32),
        "discounts": (GAMMA * ~terminal).astype(np.float32),
        "ends": ends,
    }


def last_step(ends: np.ndarray, t: int) -> int:
    """The last step of the episode that step t is in."""
    later = np.flatnonzero(ends[t:])
    return t + later[0] if len(later) else T - 1


def n_step_return(episode: dict, t: int, n: int) -> float:
    """Rewards of n steps and the value after them."""
    total, factor = 0.0, 1.0
    for k in range(t, t + n):
        total += factor * episode["rewards"][k]
        factor *= episode["discounts"][k]
    return total + factor * episode["values"][t + n]


@pytest.mark.parametrize("trace", [0.0, 0.65, 1.0])
def test_lambda_returns_are_the_forward_view(episode, trace) -> None:
    """(1 - l) sum of l^(n-1) G^(n), and l^(m-1) G^(m) for the last."""
    expected = []
    for t in range(T):
        m = last_step(episode["ends"], t) - t + 1
        mixed = sum(
            (1 - trace) * trace ** (n - 1) * n_step_return(episode, t, n)
            for n in range(1, m)
        )
        expected.append(mixed + trace ** (m - 1) * n_step_return(episode, t, m))
    actual = returns.lambda_returns(**episode, trace=trace)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trace", [0.0, 0.95, 1.0])
def test_advantages_are_sums_of_errors(episode, trace) -> None:
    values, discounts = episode["values"], episode["discounts"]
    expected = []
    for t in range(T):
        total, factor = 0.0, 1.0
        for k in range(t, last_step(episode["ends"], t) + 1):
            error = episode["rewards"][k] + discounts[k] * values[k + 1] - values[k]
            total += factor * error
            factor *= discounts[k] * trace
        expected.append(total)
    actual = returns.advantages(**episode, trace=trace)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("clip_rho", "clip_c"), [(1.0, 1.0), (2.0, 0.5)])
def test_vtrace_is_equation_one(episode, clip_rho, clip_c) -> None:
    """v_s = V(x_s) + sum_t gamma^(t-s) (prod c_i) rho_t (r_t + gamma V' - V)."""
    rng = np.random.default_rng(9)
    log_ratios = rng.normal(size=T).astype(np.float32)
    ratios = np.exp(log_ratios)
    rho, c = np.minimum(ratios, clip_rho), np.minimum(ratios, clip_c)
    rewards, values = episode["rewards"], episode["values"]
    discounts, ends = episode["discounts"], episode["ends"]
    targets = np.empty(T + 1)
    targets[T] = values[T]
    for s in range(T):
        total, factor = values[s], 1.0
        for t in range(s, last_step(ends, s) + 1):
            error = rewards[t] + discounts[t] * values[t + 1] - values[t]
            total += factor * rho[t] * error
            factor *= discounts[t] * c[t]
        targets[s] = total
    following = np.where(ends, values[1:], targets[1:])
    gains = rho * (rewards + discounts * following - values[:-1])
    actual = returns.vtrace(log_ratios, **episode, clip_rho=clip_rho, clip_c=clip_c)
    np.testing.assert_allclose(actual.targets, targets[:-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actual.advantages, gains, rtol=1e-4, atol=1e-5)


def test_vtrace_on_policy_is_the_n_step_return(episode) -> None:
    """Espeholt et al., 2018, remark 1."""
    actual = returns.vtrace(jnp.zeros(T), **episode).targets
    expected = returns.lambda_returns(**episode, trace=1.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_nothing_comes_from_another_episode(episode) -> None:
    """What happens after an end does not change what is before it."""
    end = int(np.flatnonzero(episode["ends"])[0])
    other = {name: array.copy() for name, array in episode.items()}
    other["rewards"][end + 1 :] += 5
    other["values"][end + 2 :] -= 3
    for function in (returns.advantages, returns.lambda_returns):
        before = function(**episode, trace=0.9)[: end + 1]
        after = function(**other, trace=0.9)[: end + 1]
        np.testing.assert_array_equal(before, after)
    log_ratios = jnp.linspace(-1, 1, T)
    before, after = (returns.vtrace(log_ratios, **e) for e in (episode, other))
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old[: end + 1], new[: end + 1])


@pytest.mark.parametrize("n", [1, 3, 5])
def test_n_step_returns(episode, n) -> None:
    terminal = episode["discounts"] == 0
    for t in range(T - n):
        taken = min(n, last_step(episode["ends"], t) - t + 1)
        ahead = returns.n_step(
            episode["rewards"][t : t + n],
            terminal[t : t + n],
            episode["ends"][t : t + n],
            GAMMA,
        )
        assert int(ahead.steps) == taken
        total = ahead.reward + ahead.discount * episode["values"][t + taken]
        expected = n_step_return(episode, t, taken)
        np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-5)


def test_a_batch_is_a_vmap(episode) -> None:
    batch = {name: np.stack([array] * 3, 1) for name, array in episode.items()}
    function = jax.vmap(
        lambda r, v, d, e: returns.advantages(r, v, d, e, 0.9), in_axes=1, out_axes=1
    )
    actual = function(*batch.values())
    np.testing.assert_allclose(
        actual[:, 1], returns.advantages(**episode, trace=0.9), rtol=1e-6
    )
