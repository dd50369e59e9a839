"""A game as a pure environment: `reset(key)` and `step(key, state, action)`.

Both are for one environment; `jax.vmap` makes a batch. `step` does not reset a finished
game; see `atari.resetting`.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from atari import episode, game as games, presets
from atari.actions import Action
from atari.episode import State, TimeStep
from atari.game import Game
from atari.presets import Config


class Environment(NamedTuple):
    """A task.

    Attributes:
      reset: `(key) -> (state, timestep)`; with `rng="ale"`, `(seed) -> ...`.
      step: `(key, state, action) -> (state, timestep)`; the action is an index into
        `actions`, int32. A finished game stands still.
      restart: `(key, state, where) -> (state, timestep)`: resets a game, if `where`,
        as ALE does, from the state it is in.
      game: The game.
      config: The settings.
      actions: Meaning of each action.
      observation_shape: Shape of an observation, uint8.
    """

    reset: Callable[..., tuple[State, TimeStep]]
    step: Callable[..., tuple[State, TimeStep]]
    restart: Callable[..., tuple[State, TimeStep]]
    game: Game
    config: Config
    actions: tuple[Action, ...]
    observation_shape: tuple[int, ...]

    @property
    def num_actions(self) -> int:
        """How many actions there are."""
        return len(self.actions)


def make(
    game: str | Path,
    preset: str = "ale_vector",
    *,
    mode: int | None = None,
    difficulty: int | None = None,
    **changes: Any,
) -> Environment:
    """Makes an environment.

    Args:
      game: Name of a game ("pong") or path of a ROM.
      preset: One of `presets.PRESETS`.
      mode: Game mode; None for the default.
      difficulty: Difficulty switches; None for the default.
      **changes: Settings of `presets.Config` that differ from the preset.

    Raises:
      ValueError: Unknown game or preset, illegal mode, a setting out of range.
      ModuleNotFoundError: ale-py, which brings ROMs and colours, is not installed.

    Example:
      >>> env = make("pong", "dqn", stack=2)
      >>> state, timestep = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 8))
      >>> timestep.observation.shape
      (8, 2, 84, 84)
    """
    config = presets.config(preset, **changes)
    loaded = games.load(game, mode=mode, difficulty=difficulty)
    settings = loaded.settings
    codes = settings.legal_actions if config.full_actions else settings.minimal_actions
    shape = episode.picture_shape(loaded, config)
    if config.stack is not None:
        shape = (config.stack, *shape)
    return Environment(
        reset=functools.partial(episode.reset, loaded, config),
        step=functools.partial(episode.step, loaded, config, codes),
        restart=functools.partial(episode.restart, loaded, config),
        game=loaded,
        config=config,
        actions=tuple(Action(code) for code in codes),
        observation_shape=shape,
    )
