"""What agents have in common: their functions, their state, gradients, minibatches."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import optax
from jax import lax, numpy as jnp

from atari.agents import rollout
from atari.agents.rollout import Actors, Tally
from atari.environment import Environment


class State(NamedTuple):
    """Everything that changes while training; a pytree of arrays."""

    key: jax.Array  # uint32[2], raw key data
    updates: jax.Array  # int32[], done so far
    params: Any
    opt_state: Any
    actors: Actors
    memory: Any  # what an agent keeps besides: past steps, a target network


class Metrics(NamedTuple):
    """Of one update; over all devices if there are several."""

    tally: Tally
    losses: dict[str, jax.Array]  # float32[], means


class Agent(NamedTuple):
    """Pure functions.

    Attributes:
      init: `(key) -> State`. Resets environments.
      update: `(State) -> (State, Metrics)`: plays and learns; `learn` after `collect`.
      collect: `(State) -> (State, Tally, batch)`: plays.
      learn: `(State, batch) -> (State, losses)`: learns.
      act: `(params, key, observations [B, ...], greedy) -> actions int32[B]`.
      steps: Environment steps of one update on one device.
    """

    init: Callable[[jax.Array], State]
    update: Callable[[State], tuple[State, Metrics]]
    collect: Callable[[State], tuple[State, Tally, Any]]
    learn: Callable[[State, Any], tuple[State, dict[str, jax.Array]]]
    act: Callable[..., jax.Array]
    steps: int


def build(
    *,
    init: Callable[[jax.Array], State],
    collect: Callable[[State], tuple[State, Tally, Any]],
    learn: Callable[[State, Any], tuple[State, dict[str, jax.Array]]],
    act: Callable[..., jax.Array],
    steps: int,
    axis_name: str | None,
) -> Agent:
    """Puts an agent together from playing and learning.

    Args:
      init: As in `Agent`.
      collect: As in `Agent`.
      learn: As in `Agent`; `updates` is counted here.
      act: As in `Agent`.
      steps: As in `Agent`.
      axis_name: Of the devices under `jax.pmap`, or None.
    """

    def update(state: State) -> tuple[State, Metrics]:
        state, tally, batch = collect(state)
        with jax.named_scope("learning"):
            state, losses = learn(state, batch)
        if axis_name is not None:
            tally = lax.psum(tally, axis_name)
            losses = lax.pmean(losses, axis_name)
        state = state._replace(updates=state.updates + 1)
        return state, Metrics(tally, losses)

    return Agent(init, update, collect, learn, act, steps)


class Setting(Protocol):
    """What every agent's `Config` says of its environments; see `rollout.start`."""

    @property
    def num_envs(self) -> int:
        """Environments on each device."""

    @property
    def bank(self) -> int:
        """Reset games to start from."""

    @property
    def stagger(self) -> int:
        """Steps within which the first games start."""


def starter(
    module: nn.Module,
    optimizer: optax.GradientTransformation,
    env: Environment,
    config: Setting,
    axis_name: str | None,
) -> Callable[[jax.Array], State]:
    """An `init` that gives no memory: games just reset, a network just drawn.

    Every device has its own games and the first one's network.
    """

    def init(key: jax.Array) -> State:
        net_key, env_key, key = jax.random.split(key, 3)
        if axis_name is not None:
            shared = lax.all_gather(jax.random.key_data(net_key), axis_name)[0]
            net_key = jax.random.wrap_key_data(shared)
        actors = rollout.start(
            env, env_key, config.num_envs, config.bank, config.stagger
        )
        params = module.init(net_key, actors.observation[:1])
        return State(
            key=jax.random.key_data(key),
            updates=jnp.int32(0),
            params=params,
            opt_state=optimizer.init(params),
            actors=actors,
            memory=(),
        )

    return init


def train(agent: Agent, updates: int) -> Callable[[jax.Array], tuple[State, Metrics]]:
    """A whole run as one jittable function of a key.

    Returns:
      `(key) -> (State, Metrics)`; metrics have a leading axis of `updates`.

    Example:
      >>> state, metrics = jax.jit(train(agent, 100))(key)  # doctest: +SKIP
    """

    def run(key: jax.Array) -> tuple[State, Metrics]:
        def body(state: State, _: None) -> tuple[State, Metrics]:
            return agent.update(state)

        return lax.scan(body, agent.init(key), None, updates)

    return run


def split(state: State) -> tuple[State, jax.Array]:
    """The state with its next key, and a key to use."""
    kept, used = jax.random.split(jax.random.wrap_key_data(state.key))
    return state._replace(key=jax.random.key_data(kept)), used


def descend(
    objective: Callable[..., tuple[jax.Array, dict[str, jax.Array]]],
    optimizer: optax.GradientTransformation,
    axis_name: str | None,
    params: Any,
    opt_state: Any,
    *args: Any,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """One step down a gradient, its mean over devices.

    Args:
      objective: `(params, *args) -> (loss, losses)`.
      optimizer: From optax.
      axis_name: Of the devices, or None.
      params: Where the step starts.
      opt_state: The optimizer's.
      *args: Of the objective.

    Returns:
      Parameters, optimizer state and losses.
    """
    grads, losses = jax.grad(objective, has_aux=True)(params, *args)
    if axis_name is not None:
        grads = lax.pmean(grads, axis_name)
    changes, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, changes), opt_state, losses


def shuffled(
    learn: Callable[[Any, Any], tuple[Any, dict[str, jax.Array]]],
    key: jax.Array,
    carry: Any,
    batch: Any,
    *,
    epochs: int,
    minibatch: int,
) -> tuple[Any, dict[str, jax.Array]]:
    """Learns from shuffled minibatches, several times from each example.

    Args:
      learn: `(carry, minibatch) -> (carry, losses)`.
      key: Of the order.
      carry: What learning changes.
      batch: A pytree of arrays `[T, N, ...]`.
      epochs: How often each example is seen.
      minibatch: Examples at once; divides `T * N`.

    Returns:
      The carry, and the means of the losses.
    """
    flat: Any = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
    size = jax.tree.leaves(flat)[0].shape[0]

    def some(carry: Any, chosen: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        return learn(carry, jax.tree.map(lambda x: x[chosen], flat))

    def epoch(carry: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        order = jax.random.permutation(key, size).reshape(-1, minibatch)
        return lax.scan(some, carry, order)

    carry, losses = lax.scan(epoch, carry, jax.random.split(key, epochs))
    return carry, jax.tree.map(lambda x: x.mean(), losses)


def improve(
    objective: Callable[..., tuple[jax.Array, dict[str, jax.Array]]],
    optimizer: optax.GradientTransformation,
    axis_name: str | None,
    state: State,
    key: jax.Array,
    batch: tuple,
    *,
    epochs: int,
    minibatch: int,
) -> tuple[State, dict[str, jax.Array]]:
    """A gradient step for each minibatch: `descend` on what is `shuffled`.

    Args:
      objective: As for `descend`; its arguments are the parts of a minibatch.
      optimizer: From optax.
      axis_name: Of the devices, or None.
      state: Before learning.
      key: Of the order.
      batch: Arrays `[T, N, ...]`.
      epochs: How often each example is seen.
      minibatch: Examples at once.

    Returns:
      The state after it, and the means of the losses.
    """

    def some(carry: Any, part: Any) -> tuple[Any, dict[str, jax.Array]]:
        params, opt_state, losses = descend(
            objective, optimizer, axis_name, *carry, *part
        )
        return (params, opt_state), losses

    carry, losses = shuffled(
        some,
        key,
        (state.params, state.opt_state),
        batch,
        epochs=epochs,
        minibatch=minibatch,
    )
    return state._replace(params=carry[0], opt_state=carry[1]), losses


def mean(values: jax.Array, where: jax.Array) -> jax.Array:
    """The mean of the values that count; 0 if none does."""
    weights = where.astype(jnp.float32)
    return (values * weights).sum() / jnp.maximum(weights.sum(), 1)


def whole(what: str, total: int, part: int) -> None:
    """Checks that `part` divides `total`.

    Raises:
      ValueError: It does not.
    """
    if part < 1 or total % part:
        raise ValueError(f"{what} must divide {total:,}, which {part} does not")


def annealed(rate: float, anneal: bool, gradient_steps: int) -> optax.Schedule:
    """A learning rate that falls linearly to 0, or stays."""
    if anneal:
        return optax.linear_schedule(rate, 0.0, max(gradient_steps, 1))
    return optax.constant_schedule(rate)
