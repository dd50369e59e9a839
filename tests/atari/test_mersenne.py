"""MT19937 against NumPy's, and libstdc++'s drawing of integers against ALE's."""

import jax
import numpy as np
import pytest
from ale import VectorEnv, path_of
from jax import numpy as jnp

from atari import mersenne, noise


@pytest.mark.parametrize("seed", [0, 5489, 4753849, 2**31 - 1])
def test_the_stream_is_that_of_numpy(seed: int) -> None:
    @jax.jit
    def words(seed):
        return jax.lax.scan(
            lambda state, _: mersenne.draw(state), mersenne.seed(seed), None, 2000
        )[1]

    expected = np.random.RandomState(seed).randint(0, 1 << 32, 2000, dtype=np.uint32)
    np.testing.assert_array_equal(words(seed), expected)


def test_idle_actions_are_as_many_as_in_the_vector_environment() -> None:
    envs = 12
    _, info = VectorEnv(path_of("boxing"), envs, use_fire_reset=False).reset(100)
    drawn = [mersenne.below(mersenne.seed(100 + i), 30)[1] for i in range(envs)]
    np.testing.assert_array_equal(drawn, info["episode_frame_number"])


def test_integers_below_a_bound_are_even() -> None:
    """Also when the product with the bound is drawn again."""
    bound = 60_000

    def draw(state, _):
        return mersenne.below(state, bound)

    _, found = jax.lax.scan(draw, mersenne.seed(1), None, 4000)
    assert found.min() >= 0
    assert found.max() < bound
    counts = np.histogram(found, 10, (0, bound))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 28  # chi-squared, 9 degrees, 0.1 %


@pytest.mark.parametrize("bound", [0, 1 << 16])
def test_bounds_out_of_range_are_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 65535"):
        mersenne.below(mersenne.seed(0), bound)


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.1, 1.0])
def test_events_equal_a_comparison_in_double_precision(probability: float) -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 5000, np.uint32)
    edge = int(probability * 2**32)
    near = [max(0, min(edge + d, 2**32 - 1)) for d in (-1, 0, 1)]
    bits = np.append(bits, np.array(near, np.uint32))
    expected = bits / 2.0**32 < probability
    np.testing.assert_array_equal(
        noise.happens(jnp.asarray(bits), probability), expected
    )


def test_keys_give_fresh_words() -> None:
    key, first = noise.word(jax.random.key(0))
    _, second = noise.word(key)
    assert first != second
