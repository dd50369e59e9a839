"""Faces that other libraries expect: gymnasium's VectorEnv, and gymnax.

gymnasium is an optional dependency; it is needed for `VectorEnv` only.
"""

from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from atari import environment, resetting
from atari.environment import Environment
from atari.episode import Info, State
from atari.resetting import Bank

try:
    from gymnasium import spaces
    from gymnasium.vector import AutoresetMode, VectorEnv as _Base
except ModuleNotFoundError:  # pragma: no cover
    _Base = object  # type: ignore[misc, assignment]


class VectorEnv(_Base):
    """A batch of one game as a `gymnasium.vector.VectorEnv`.

    Observations, rewards and flags are NumPy arrays; a step is one call of a compiled
    function.

    Example:
      >>> envs = VectorEnv("pong", 8, preset="dqn")
      >>> observations, info = envs.reset(seed=0)
      >>> observations.shape
      (8, 4, 84, 84)
    """

    def __init__(
        self,
        game: str,
        num_envs: int,
        *,
        autoreset_mode: Literal["next_step", "same_step"] = "next_step",
        bank_size: int = 64,
        seed: int = 0,
        **settings: Any,
    ):
        """Makes the batch.

        Args:
          game: As for `environment.make`.
          num_envs: Environments.
          autoreset_mode: As for `resetting.autoreset`.
          bank_size: Reset games that are emulated at the first reset and drawn from
            later; 0 emulates every reset.
          seed: Of everything, unless `reset` is given another.
          **settings: As for `environment.make`.

        Raises:
          ModuleNotFoundError: gymnasium is not installed.
          ValueError: As `environment.make` and `resetting.autoreset`.
        """
        if _Base is object:
            raise ModuleNotFoundError(
                "VectorEnv needs gymnasium, which is not installed: "
                "pip install gymnasium"
            )
        env = environment.make(game, **settings)
        self.env = env
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(
            0, 255, env.observation_shape, np.uint8
        )
        self.single_action_space = spaces.Discrete(env.num_actions)
        self.observation_space = spaces.Box(
            0, 255, (num_envs, *env.observation_shape), np.uint8
        )
        self.action_space = spaces.MultiDiscrete([env.num_actions] * num_envs)
        mode = {
            "next_step": AutoresetMode.NEXT_STEP,
            "same_step": AutoresetMode.SAME_STEP,
        }
        if autoreset_mode not in mode:
            raise ValueError(
                f"autoreset_mode must be next_step or same_step, not {autoreset_mode!r}"
            )
        self.autoreset_mode = mode[autoreset_mode]
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self._resetting = autoreset_mode
        self._bank_size = 0 if env.config.rng == "ale" else bank_size
        self._seed = seed
        self._reset = jax.jit(jax.vmap(env.reset))
        self._step: Any = None
        self._bank: Bank | None = None
        self._state: State | None = None
        self._key = jax.random.key(seed)

    def _prepare(self) -> None:
        self._key, key = jax.random.split(self._key)
        if self._bank_size:
            self._bank = self._reset(jax.random.split(key, self._bank_size))

        def step(
            bank: Bank | None, key: jax.Array, state: State, actions: jax.Array
        ) -> tuple:
            env = resetting.autoreset(self.env, self._resetting, bank)
            keys = jax.random.split(key, self.num_envs)
            return jax.vmap(env.step)(keys, state, actions)

        self._step = jax.jit(step)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Resets all environments.

        Args:
          seed: Starts the random numbers anew; with `rng="ale"` environment i gets seed
            + i, as in ALE's vector environment.
          options: None; masks are not supported.

        Raises:
          ValueError: There are options.
        """
        if options:
            raise ValueError(f"reset takes no options, got {sorted(options)}")
        if seed is not None:
            self._seed, self._key = seed, jax.random.key(seed)
        if self._step is None:
            self._prepare()
        self._key, key = jax.random.split(self._key)
        keys = jax.random.split(key, self.num_envs)
        if self.env.config.rng == "ale":
            keys = self._seed + jnp.arange(self.num_envs)
        self._state, timestep = self._reset(keys)
        return np.asarray(timestep.observation), _info(timestep.info)

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """One step of all environments.

        Args:
          actions: int[num_envs].

        Returns:
          Observations, rewards, terminated, truncated, info. With "same_step", info has
          `final_obs` and its mask `_final_obs` whenever a game has ended.

        Raises:
          RuntimeError: Nothing has been reset yet.
        """
        if self._state is None:
            raise RuntimeError("call reset() before step()")
        self._key, key = jax.random.split(self._key)
        chosen = jnp.asarray(actions, jnp.int32)
        self._state, timestep = self._step(self._bank, key, self._state, chosen)
        terminated, truncated = (
            np.asarray(timestep.terminated),
            np.asarray(timestep.truncated),
        )
        info = _info(timestep.info)
        done = terminated | truncated
        if timestep.info.final_observation is not None and done.any():
            info["final_obs"] = np.asarray(timestep.info.final_observation)
            info["_final_obs"] = done
        return (
            np.asarray(timestep.observation),
            np.asarray(timestep.reward),
            terminated,
            truncated,
            info,
        )


def _info(info: Info) -> dict[str, np.ndarray]:
    return {
        "lives": np.asarray(info.lives),
        "episode_frame_number": np.asarray(info.frames),
        "score": np.asarray(info.score),
    }


class GymnaxParams(NamedTuple):
    """gymnax passes parameters to every call; these games have none."""


class Gymnax:
    """The calls of gymnax: `reset(key, params)`, `step(key, state, action, params)`.

    `step` returns `(observation, state, reward, done, info)` and resets a finished game
    in the same step; `info` has `terminated`, `truncated` and `final_observation`.

    Example:
      >>> env = Gymnax(make("pong"))
      >>> observation, state = env.reset(jax.random.key(0))
    """

    def __init__(self, env: Environment, bank: Bank | None = None):
        """Wraps an environment that does not reset itself.

        Args:
          env: From `environment.make`.
          bank: As for `resetting.autoreset`.
        """
        self.env = env
        self._resetting = resetting.autoreset(env, "same_step", bank)

    @property
    def default_params(self) -> GymnaxParams:
        """Nothing."""
        return GymnaxParams()

    @property
    def name(self) -> str:
        """The game's name."""
        return self.env.game.name

    @property
    def num_actions(self) -> int:
        """How many actions there are."""
        return self.env.num_actions

    def reset(
        self, key: jax.Array, params: GymnaxParams | None = None
    ) -> tuple[jax.Array, State]:
        """Resets one environment."""
        state, timestep = self.env.reset(key)
        return timestep.observation, state

    def step(
        self,
        key: jax.Array,
        state: State,
        action: jax.Array,
        params: GymnaxParams | None = None,
    ) -> tuple[jax.Array, State, jax.Array, jax.Array, dict[str, jax.Array]]:
        """One step of one environment."""
        state, timestep = self._resetting.step(key, state, action)
        done = timestep.terminated | timestep.truncated
        info = {
            "terminated": timestep.terminated,
            "truncated": timestep.truncated,
            "discount": 1.0 - timestep.terminated,
            **timestep.info._asdict(),
        }
        return timestep.observation, state, timestep.reward, done, info
