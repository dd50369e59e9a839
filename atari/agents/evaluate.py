"""Scores of whole games by a named protocol, here or in ALE itself.

Nothing of training's help is left: lost lives do not end an episode, and rewards are
not clipped. One game an environment is played, so that short games do not count more.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax, numpy as jnp

from atari import environment
from atari.environment import Environment

PROTOCOLS: dict[str, dict[str, Any]] = {
    "noop": {"noop_max": 30, "repeat_action_probability": 0.0, "fire_reset": True},
    "sticky": {"noop_max": 0, "repeat_action_probability": 0.25, "fire_reset": False},
}
"""How games are played to be scored.

`noop`: random idle actions at the start, fewer than 30 (Mnih et al., 2015). `sticky`:
each frame repeats the action before with probability 1/4 (Machado et al., 2018). Both
play a game to its end, or for 108,000 frames, half an hour, with the minimal actions.
"""

_MAX_FRAMES = 108_000

Act = Callable[..., jax.Array]
"""`(params, key, observations [B, ...], greedy) -> actions int32[B]`, of an agent."""


class Games(NamedTuple):
    """`E` games of an evaluation, under way or over."""

    key: jax.Array
    env: Any  # states
    observation: jax.Array  # uint8[E, ...]
    score: jax.Array  # float32[E]
    length: jax.Array  # int32[E], steps


class Evaluation(NamedTuple):
    """Pure functions.

    Attributes:
      init: `(key) -> Games`, just reset.
      advance: `(params, Games, most) -> Games`: at most so many steps, fewer once all
        games are over (`Games.env.over`).
    """

    init: Callable[[jax.Array], Games]
    advance: Callable[[Any, Games, jax.Array | int], Games]


def _checked(protocol: str) -> dict[str, Any]:
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[protocol]


def game(name: str, protocol: str = "noop", **changes: Any) -> Environment:
    """The environment of a protocol.

    Args:
      name: As for `atari.make`.
      protocol: One of `PROTOCOLS`.
      **changes: Settings that differ, such as `max_frames`.

    Raises:
      ValueError: Unknown protocol, or as `atari.make`.
    """
    fixed = {"episodic_life": False, "clip_rewards": False, "max_frames": _MAX_FRAMES}
    settings = fixed | _checked(protocol) | changes
    return environment.make(name, "dqn", **settings)


def make(env: Environment, act: Act, games: int, *, greedy: bool = False) -> Evaluation:
    """Builds an evaluation on the device.

    Args:
      env: From `game`.
      act: An agent's.
      games: `E`, played side by side.
      greedy: Take the best actions instead of the policy's.
    """

    def init(key: jax.Array) -> Games:
        reset_key, key = jax.random.split(key)
        state, timestep = jax.vmap(env.reset)(jax.random.split(reset_key, games))
        zeros = jnp.zeros(games)
        data = jax.random.key_data(key)
        return Games(data, state, timestep.observation, zeros, zeros.astype(jnp.int32))

    def step(params: Any, now: Games) -> Games:
        key, act_key, step_key = jax.random.split(jax.random.wrap_key_data(now.key), 3)
        action = act(params, act_key, now.observation, greedy)
        keys = jax.random.split(step_key, games)
        over = now.env.over
        state, timestep = jax.vmap(env.step)(keys, now.env, action)
        return Games(
            key=jax.random.key_data(key),
            env=state,
            observation=timestep.observation,
            score=now.score + jnp.where(over, 0, timestep.info.score),
            length=now.length + ~over,
        )

    def advance(params: Any, now: Games, most: jax.Array | int) -> Games:
        def more(carry: tuple[jax.Array, Games]) -> jax.Array:
            return (carry[0] < most) & ~carry[1].env.over.all()

        def body(carry: tuple[jax.Array, Games]) -> tuple[jax.Array, Games]:
            return carry[0] + 1, step(params, carry[1])

        return lax.while_loop(more, body, (jnp.int32(0), now))[1]

    return Evaluation(init, advance)


class Scores(NamedTuple):
    """Of whole games."""

    score: np.ndarray  # float64[E]
    length: np.ndarray  # int64[E], steps
    over: np.ndarray  # bool[E]; the others were still being played


def on_device(
    env: Environment,
    act: Act,
    params: Any,
    games: int,
    *,
    greedy: bool = False,
    seed: int = 0,
    chunk: int = 256,
    on_step: Callable[[int, int], None] | None = None,
) -> Scores:
    """Plays games here until all are over.

    Args:
      env: From `game`.
      act: An agent's.
      params: Of its network.
      games: `E`, played side by side.
      greedy: Take the best actions instead of the policy's.
      seed: Of games and actions.
      chunk: Steps between two calls of `on_step`.
      on_step: Called with steps done and games over.
    """
    played = make(env, act, games, greedy=greedy)
    now = jax.jit(played.init)(jax.random.key(seed))
    advance = jax.jit(played.advance, donate_argnums=1)
    over = np.zeros(games, bool)
    while not over.all():
        now = advance(params, now, chunk)
        over = np.asarray(now.env.over)
        if on_step:
            on_step(int(now.length.max()), int(over.sum()))
    score, length = np.asarray(now.score, np.float64), np.asarray(now.length, np.int64)
    return Scores(score, length, over)


def in_ale(
    name: str,
    act: Act,
    params: Any,
    games: int,
    *,
    protocol: str = "noop",
    greedy: bool = False,
    seed: int = 0,
    max_frames: int = _MAX_FRAMES,
    on_step: Callable[[int, int], None] | None = None,
) -> Scores:
    """The same evaluation in ale-py's vector environment, on the host's processors.

    It checks that what was learned here holds in the reference emulator, and a batch of
    few games is faster there.

    Args:
      name: As for `atari.make`.
      act: An agent's, jitted with `greedy` static.
      params: Of its network.
      games: `E`, played side by side.
      protocol: One of `PROTOCOLS`.
      greedy: Take the best actions instead of the policy's.
      seed: Of games and actions.
      max_frames: Emulated frames after which a game is cut off.
      on_step: Called with steps done and games over.

    Raises:
      ValueError: Unknown protocol.
      ModuleNotFoundError: ale-py is not installed.
    """
    settings = _checked(protocol)
    from ale_py.vector_env import AtariVectorEnv

    envs = AtariVectorEnv(
        name,
        games,
        noop_max=settings["noop_max"],
        repeat_action_probability=settings["repeat_action_probability"],
        use_fire_reset=settings["fire_reset"],
        reward_clipping=False,
        max_num_frames_per_episode=max_frames,
    )
    observation, _ = envs.reset(seed=seed)
    over = np.zeros(games, bool)
    score, length = np.zeros(games), np.zeros(games, np.int64)
    key = jax.random.key(seed)
    steps = 0
    while not over.all():
        action = act(params, jax.random.fold_in(key, steps), observation, greedy)
        observation, reward, terminated, truncated, _ = envs.step(np.asarray(action))
        score += reward * ~over
        length += ~over
        over |= terminated | truncated
        steps += 1
        if on_step:
            on_step(steps, int(over.sum()))
    envs.close()
    return Scores(score, length, over)
