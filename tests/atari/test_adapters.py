"""The faces of gymnasium and gymnax, on a cartridge of short frames."""

from pathlib import Path

import ale as oracle
import gymnasium
import jax
import numpy as np
import pytest

from atari import environment
from atari.adapters import Gymnax, VectorEnv

SETTINGS = {"frame_skip": 2, "max_frames": 6, "noop_max": 2, "stack": 2}


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A cartridge of short frames that has the rules of Assault."""
    path = tmp_path_factory.mktemp("rom") / "assault.bin"
    path.write_bytes(oracle.counting_cartridge())
    return path


def test_gymnasium_vector_environment(path: Path) -> None:
    """Spaces, types, the end of an episode in the same step, equal seeds."""
    envs = VectorEnv(
        path, 2, autoreset_mode="same_step", bank_size=2, seed=5, **SETTINGS
    )
    assert isinstance(envs, gymnasium.vector.VectorEnv)
    with pytest.raises(RuntimeError, match="call reset"):
        envs.step(np.zeros(2, np.int64))
    runs = []
    for _ in range(2):
        observations, info = envs.reset(seed=5)
        assert envs.observation_space.contains(observations)
        assert info["lives"].tolist() == [4, 4]
        played = [observations]
        for i in range(4):
            actions = np.array([2, 3])
            assert envs.action_space.contains(actions)
            observations, rewards, terminated, truncated, info = envs.step(actions)
            assert envs.observation_space.contains(observations)
            assert rewards.shape == terminated.shape == (2,)
            assert not terminated.any()
            assert truncated.all() == (i == 2)
            assert ("final_obs" in info) == (i == 2)
            played.append(observations)
            if truncated.all():
                check_bank(envs, observations, info["final_obs"])
        runs.append(np.stack(played))
    np.testing.assert_array_equal(*runs)
    with pytest.raises(ValueError, match="takes no options"):
        envs.reset(options={"reset_mask": None})
    with pytest.raises(ValueError, match="not 'never'"):
        VectorEnv(path, 2, autoreset_mode="never")


def check_bank(envs: VectorEnv, observations: np.ndarray, final: np.ndarray) -> None:
    """Games begin as in the bank, and the last pictures of the old ones are kept."""
    starts = np.asarray(envs._bank[1].observation)
    for seen in observations:
        assert (seen == starts).all((1, 2, 3)).any()
    assert (final != observations).any()


def test_gymnax_face(path: Path) -> None:
    """Types of a step, without running it."""
    env = Gymnax(environment.make(path, **SETTINGS))
    assert env.name == "assault"
    params = env.default_params
    key = jax.random.key(0)
    observation, state = jax.eval_shape(env.reset, key, params)
    assert observation.shape == (2, 84, 84)
    seen, after, reward, done, info = jax.eval_shape(
        env.step, key, state, np.int32(env.num_actions - 1), params
    )
    assert (seen.shape, reward.shape, done.dtype) == ((2, 84, 84), (), bool)
    assert info["final_observation"].shape == (2, 84, 84)
    assert jax.tree.structure(after) == jax.tree.structure(state)
