"""A toy game with the face of an Atari environment: catch what falls."""

from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

from atari import Environment, Info, TimeStep, config

ROWS, COLUMNS = 6, 5


class State(NamedTuple):
    """One game."""

    ball: jax.Array  # int32[2], row and column
    paddle: jax.Array  # int32
    caught: jax.Array  # int32, balls so far, caught or not
    over: jax.Array  # bool
    elapsed: jax.Array  # int32
    stack: jax.Array  # uint8[S, ROWS, COLUMNS], pictures, oldest first


def make(
    balls: int = 2, limit: int = 0, stack: int = 1, fill: bool = False
) -> Environment:
    """A game of some balls, each of which is an episode; truncated after `limit` steps.

    Three actions: left, stay, right. A ball caught gives 3 points, clipped to 1; one
    missed takes 1.
    """

    def picture(state: State) -> jax.Array:
        board = jnp.zeros((ROWS, COLUMNS), jnp.uint8)
        board = board.at[state.ball[0], state.ball[1]].set(255)
        board = board.at[ROWS - 1, state.paddle].set(128)
        return board

    def shown(state: State, points: Any, terminal: Any, cut: Any) -> TimeStep:
        info = Info(jnp.int32(0), state.elapsed, jnp.float32(points))
        reward = jnp.clip(jnp.float32(points), -1, 1)
        return TimeStep(state.stack, reward, jnp.bool_(terminal), jnp.bool_(cut), info)

    def drop(key: jax.Array) -> jax.Array:
        return jnp.array([0, 1]) * jax.random.randint(key, (), 0, COLUMNS)

    def reset(key: jax.Array) -> tuple[State, TimeStep]:
        zero = jnp.int32(0)
        pictures = jnp.zeros((stack, ROWS, COLUMNS), jnp.uint8)
        no, middle = jnp.bool_(False), jnp.int32(COLUMNS // 2)
        state = State(drop(key), middle, zero, no, zero, pictures)
        # Not by a slice: to set a whole array so crashes XLA (JAX 0.11) under pmap.
        for i in range(0 if fill else stack - 1, stack):
            pictures = pictures.at[i].set(picture(state))
        state = state._replace(stack=pictures)
        return state, shown(state, 0, False, False)

    def step(key: jax.Array, state: State, action: jax.Array) -> tuple[State, TimeStep]:
        paddle = jnp.clip(state.paddle + action - 1, 0, COLUMNS - 1)
        ball = state.ball + jnp.array([1, 0])
        landed = ball[0] == ROWS - 1
        points = jnp.where(landed, jnp.where(ball[1] == paddle, 3, -1), 0)
        balls_done = state.caught + landed
        elapsed = state.elapsed + 1
        gone = balls_done >= balls
        cut = (elapsed >= limit) & ~landed if limit else jnp.bool_(False)
        ball = jnp.where(landed & ~gone, drop(key), ball)
        new = State(ball, paddle, balls_done, gone | cut, elapsed, state.stack)
        pictures = jnp.concatenate([state.stack[1:], picture(new)[None]])
        new = new._replace(stack=pictures)
        new = jax.tree.map(lambda a, b: jnp.where(state.over, b, a), new, state)
        going = ~state.over
        return new, shown(new, points * going, landed & going, cut & going)

    return Environment(
        reset=reset,
        step=step,
        restart=None,
        game=None,
        config=config("dqn", frame_skip=1, stack=stack, fill_stack=fill),
        actions=(0, 1, 2),
        observation_shape=(stack, ROWS, COLUMNS),
    )
