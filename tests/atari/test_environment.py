"""Environments against ALE's own, on a cartridge of short frames."""

import functools
from pathlib import Path

import ale as oracle
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari import environment, presets
from atari.environment import Environment
from atari.mixed import batch
from atari.resetting import autoreset, bank

SEED = 7
ENVS = 4


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A cartridge of short frames that ALE takes for Assault."""
    path = tmp_path_factory.mktemp("rom") / "assault.bin"
    path.write_bytes(oracle.counting_cartridge())
    return path


def compare(env: Environment, reference: oracle.VectorEnv, steps: int) -> dict:
    """Runs both from one seed with the same actions; counts what happened."""
    expected, info = reference.reset(SEED)
    state, timestep = jax.jit(jax.vmap(env.reset))(SEED + jnp.arange(ENVS))
    np.testing.assert_array_equal(timestep.observation, expected)
    np.testing.assert_array_equal(timestep.info.lives, info["lives"])
    np.testing.assert_array_equal(state.play.frames, info["episode_frame_number"])
    step = jax.jit(jax.vmap(env.step))
    keys = jax.random.split(jax.random.key(0), ENVS)
    rng = np.random.default_rng(SEED)
    counts = {"terminated": 0, "truncated": 0, "rewards": 0}
    for _ in range(steps):
        actions = rng.integers(0, env.num_actions, ENVS).astype(np.int32)
        expected, rewards, terminated, truncated, info = reference.step(actions)
        state, timestep = step(keys, state, actions)
        np.testing.assert_array_equal(timestep.observation, expected)
        np.testing.assert_array_equal(timestep.reward, rewards)
        np.testing.assert_array_equal(timestep.terminated, terminated)
        np.testing.assert_array_equal(timestep.truncated, truncated)
        np.testing.assert_array_equal(timestep.info.lives, info["lives"])
        # A lost life may be reported as an end without a reset.
        done = (terminated | truncated) & (np.asarray(state.elapsed) == 0)
        if "final_obs" in info and done.any():
            final = np.asarray(timestep.info.final_observation)[done]
            np.testing.assert_array_equal(final, np.asarray(info["final_obs"])[done])
            counts["finals"] = counts.get("finals", 0) + int(done.sum())
        counts["terminated"] += int(terminated.sum())
        counts["truncated"] += int(truncated.sum())
        counts["rewards"] += int((rewards != 0).sum())
    return counts


def test_sticky_play_with_resets_equals_the_vector_env(path: Path) -> None:
    """Random streams, idle actions, stale pictures, the next step's reset."""
    env = environment.make(path, rng="ale", repeat_action_probability=0.25)
    reference = oracle.VectorEnv(path, ENVS, repeat_action_probability=0.25)
    counts = compare(autoreset(env), reference, 70)
    assert counts["terminated"] >= 8
    assert counts["rewards"] > 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"episodic_life": True}, {}),
        ({"life_loss_info": True, "clip_rewards": False}, {"reward_clipping": False}),
        (
            {"max_frames": 101, "frame_skip": 3, "full_actions": True},
            {"max_episode_steps": 101, "frame_skip": 3, "full_action_space": True},
        ),
        (
            {"max_pool": False, "size": (110, 80), "fire_reset": False, "stack": 2},
            {
                "maxpool": False,
                "img_height": 110,
                "img_width": 80,
                "use_fire_reset": False,
                "stack_num": 2,
            },
        ),
        ({"observation": "rgb", "noop_max": 0}, {"grayscale": False, "noop_max": 0}),
        (
            {"frame_skip": 1, "size": None, "max_frames": 25},
            {"frame_skip": 1, "img_height": 210, "max_episode_steps": 25},
        ),
    ],
)
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_settings_equal_those_of_the_vector_env(path, ours, theirs, mode) -> None:
    same = {k: v for k, v in ours.items() if k in ("episodic_life", "life_loss_info")}
    if ours.get("size", 0) is None:
        theirs = theirs | {"img_width": 160}
    theirs = theirs | same
    theirs["autoreset_mode"] = {"next_step": "NextStep", "same_step": "SameStep"}[mode]
    env = environment.make(path, rng="ale", repeat_action_probability=0.25, **ours)
    reference = oracle.VectorEnv(path, ENVS, repeat_action_probability=0.25, **theirs)
    counts = compare(autoreset(env, mode), reference, 60)
    assert counts["terminated"] + counts["truncated"] > 0
    assert mode == "next_step" or counts["finals"] > 0


@functools.cache
def fast(path: Path, **changes: object) -> Environment:
    """An environment that is compiled once for several tests."""
    env = environment.make(path, "gym_v5", frame_skip=2, **changes)
    return env._replace(
        reset=jax.jit(jax.vmap(env.reset)), step=jax.jit(jax.vmap(env.step))
    )


def test_gym_preset_equals_ale_frame_by_frame(path: Path) -> None:
    """Whole pictures, and random numbers drawn on after the end."""
    env = fast(path, rng="ale")
    ale = oracle.interface(path, seed=SEED, sticky=0.25)
    ale.reset_game()
    state, timestep = env.reset(jnp.array([SEED]))
    keys = jax.random.split(jax.random.key(0), 1)
    actions = ale.getMinimalActionSet()
    rng = np.random.default_rng(SEED)
    ended = False
    for _ in range(70):
        np.testing.assert_array_equal(timestep.observation[0], ale.getScreenRGB())
        np.testing.assert_array_equal(state.play.console.ram[0, :128], ale.getRAM())
        assert timestep.info.lives[0] == ale.lives()
        assert timestep.terminated[0] == ale.game_over()
        if ale.game_over():
            ended = True
            break
        index = int(rng.integers(len(actions)))
        reward = sum(ale.act(actions[index]) for _ in range(2))
        state, timestep = env.step(keys, state, jnp.array([index]))
        assert timestep.reward[0] == reward
    assert ended


def test_a_finished_game_stands_still(path: Path) -> None:
    env = fast(path, rng="ale")
    state, _ = env.reset(jnp.array([1]))
    keys = jax.random.split(jax.random.key(2), 1)
    for _ in range(70):
        state, timestep = env.step(keys, state, jnp.array([3]))
        if state.over[0]:
            break
    assert timestep.terminated[0]
    after, timestep = env.step(keys, state, jnp.array([3]))
    assert not timestep.terminated[0]
    assert timestep.reward[0] == 0
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_a_copy_of_the_state_goes_on_alike(path: Path) -> None:
    """Cloning, saving as arrays, editing memory."""
    env = fast(path, rng="ale")
    state, _ = env.reset(jnp.array([1]))
    saved = jax.tree.map(np.asarray, state)
    keys = jax.random.split(jax.random.key(3), 1)
    first, one = env.step(keys, state, jnp.array([3]))
    second, two = env.step(keys, jax.tree.map(jnp.asarray, saved), jnp.array([3]))
    jax.tree.map(np.testing.assert_array_equal, (first, one), (second, two))
    ram = state.play.console.ram.at[0, 0x65].set(9)
    console = state.play.console._replace(ram=ram)
    edited = state._replace(play=state.play._replace(console=console))
    _, timestep = env.step(keys, edited, jnp.array([0]))
    assert timestep.info.lives[0] == 9


def test_games_side_by_side(path: Path) -> None:
    """Shapes of a mixed batch, and what does not mix."""
    games = [
        environment.make(game, full_actions=True) for game in (path, "air_raid", "pong")
    ]
    mixed = batch(games, (1, 2, 1))
    key = jax.random.key(0)
    states, timestep = jax.eval_shape(mixed.reset, key)
    assert timestep.observation.shape == (4, 4, 84, 84)
    actions = jax.ShapeDtypeStruct((4,), jnp.int32)
    after, timestep = jax.eval_shape(mixed.step, key, states, actions)
    assert timestep.reward.shape == (mixed.size,) == (4,)
    assert jax.tree.structure(after) == jax.tree.structure(states)
    with pytest.raises(ValueError, match="numbers of actions differ"):
        batch([games[0], environment.make("pong")], (1, 1))
    with pytest.raises(ValueError, match="1 counts for 2 environments"):
        batch(games[:2], (4,))


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_presets_have_the_shapes_they_say(preset: str, path: Path) -> None:
    """Shapes and types, without running anything."""
    env = environment.make(path, preset)
    state, timestep = jax.eval_shape(env.reset, jax.random.key(0))
    assert timestep.observation.shape == env.observation_shape
    after = jax.eval_shape(env.step, jax.random.key(0), state, jnp.int32(0))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), (state, timestep)
    )


def test_observations_of_memory(path: Path) -> None:
    env = environment.make(path, observation="ram", stack=None)
    assert env.observation_shape == (128,)
    _, timestep = jax.eval_shape(env.reset, jax.random.key(0))
    assert timestep.observation.shape == (128,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "atari"}, "unknown preset 'atari'; known: ale_vector"),
        ({"mode": 9}, r"assault has no mode 9; it has \(0,\)"),
        ({"difficulty": 3}, "assault has no difficulty 3"),
        ({"frame_skip": 0}, "at least 1, not 0"),
        ({"repeat_action_probability": 1.5}, "from 0 to 1, not 1.5"),
        ({"observation": "text"}, "grey, rgb or ram, not 'text'"),
        ({"stack": 0}, "None or at least 1, not 0"),
        ({"rng": "numpy"}, "jax or ale, not 'numpy'"),
        ({"noop_max": -1}, "must not be negative"),
    ],
)
def test_bad_settings_are_refused(path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        environment.make(path, **changes)


def test_bad_resets_are_refused(path: Path) -> None:
    env = environment.make(path, rng="ale")
    with pytest.raises(ValueError, match="next_step or same_step, not 'never'"):
        autoreset(env, "never")
    with pytest.raises(ValueError, match="rng='jax'"):
        bank(env, jax.random.key(0), 2)
