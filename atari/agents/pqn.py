"""Parallelised Q-network (Gallici et al., 2024): Q(lambda) without replay.

No target network either: layer normalisation keeps it stable.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import numpy as jnp

from atari.agents import agent as agents, network, returns, rollout
from atari.agents.agent import Agent, State
from atari.agents.rollout import Steps, Tally
from atari.environment import Environment


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyper-parameters.

    Attributes:
      num_envs: `N`, on each device.
      steps: `T`, of each environment in an update.
      updates: Of a whole run, for schedules.
      epochs: How often each step is learned from.
      minibatch: Steps at once; divides `N * T`.
      learning_rate: Of RAdam.
      anneal: The learning rate falls to 0 over the run.
      discount: Gamma.
      trace: Lambda of the targets.
      first_epsilon: Probability of a random action at the start,
      last_epsilon: and from `exploration` on.
      exploration: Part of the run in which it falls.
      max_grad_norm: Longer gradients are shortened.
      network: One of `network.TORSOS`.
      bfloat16: Compute in bfloat16.
      bank: Reset games to start from.
      stagger: Steps within which the first games start, so that they differ.
    """

    num_envs: int = 4096
    steps: int = 4
    updates: int = 1000
    epochs: int = 4
    minibatch: int = 1024
    learning_rate: float = 1e-3
    anneal: bool = True
    discount: float = 0.99
    trace: float = 0.65
    first_epsilon: float = 1.0
    last_epsilon: float = 0.005
    exploration: float = 0.1
    max_grad_norm: float = 10.0
    network: str = "nature"
    bfloat16: bool = True
    bank: int = 64
    stagger: int = 128

    def __post_init__(self) -> None:
        agents.whole("minibatch", self.num_envs * self.steps, self.minibatch)
        if self.steps < 1 or self.epochs < 1:
            raise ValueError(f"steps and epochs must be at least 1, got {self}")


def make(config: Config, env: Environment, axis_name: str | None = None) -> Agent:
    """Builds the agent; arguments and errors as for `ppo.make`."""
    torso = network.torso(config.network, norm=True, bfloat16=config.bfloat16)
    module = network.ActionValue(torso, env.num_actions)
    apply: Callable[..., Any] = module.apply
    batches = config.num_envs * config.steps // config.minibatch
    rate = agents.annealed(
        config.learning_rate, config.anneal, config.updates * config.epochs * batches
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.radam(rate)
    )
    epsilon = exploration(
        config.first_epsilon, config.last_epsilon, config.exploration, config.updates
    )

    def collect(state: State) -> tuple[State, Tally, Steps]:
        state, key = agents.split(state)

        def policy(key: jax.Array, observations: jax.Array) -> tuple[jax.Array, Any]:
            values = apply(state.params, observations)
            return explore(key, values, epsilon(state.updates)), values.max(-1)

        actors, made, tally = rollout.collect(
            env, policy, key, state.actors, config.steps
        )
        return state._replace(actors=actors), tally, made

    def learn(state: State, made: Steps) -> tuple[State, dict[str, jax.Array]]:
        state, key = agents.split(state)
        last = apply(state.params, state.actors.observation).max(-1)
        values = jnp.concatenate([made.extra, last[None]])
        discounts = config.discount * (1.0 - made.terminal)
        target = jax.vmap(
            returns.lambda_returns, in_axes=(1, 1, 1, 1, None), out_axes=1
        )(made.reward, values, discounts, made.end, config.trace)

        state, losses = agents.improve(
            objective,
            optimizer,
            axis_name,
            state,
            key,
            (made.observation, made.action, made.valid, target),
            epochs=config.epochs,
            minibatch=config.minibatch,
        )
        losses |= {"epsilon": jnp.float32(epsilon(state.updates))}
        return state, losses

    def objective(
        params: Any,
        observation: jax.Array,
        action: jax.Array,
        valid: jax.Array,
        target: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        values = apply(params, observation)
        value = value_of(values, action)
        loss = 0.5 * agents.mean((value - target) ** 2, valid)
        return loss, {"loss": loss, "value_mean": agents.mean(value, valid)}

    return agents.build(
        init=agents.starter(module, optimizer, env, config, axis_name),
        collect=collect,
        learn=learn,
        act=explorer(apply, config.last_epsilon),
        steps=config.num_envs * config.steps,
        axis_name=axis_name,
    )


def exploration(
    first: float, last: float, share: float, updates: int
) -> optax.Schedule:
    """Epsilon by update: it falls from `first` to `last` in a share of the run."""
    return optax.linear_schedule(first, last, max(1, round(share * updates)))


def explorer(apply: Callable[..., Any], epsilon: float) -> Callable[..., jax.Array]:
    """`Agent.act` of a network that gives the actions' values."""

    def act(
        params: Any, key: jax.Array, observations: jax.Array, greedy: bool = False
    ) -> jax.Array:
        values = apply(params, observations)
        return explore(key, values, 0.0 if greedy else epsilon)

    return act


def value_of(values: jax.Array, action: jax.Array) -> jax.Array:
    """The value of each action: float32[B, A], int32[B] to [B]."""
    return jnp.take_along_axis(values, action[:, None], -1)[:, 0]


def explore(key: jax.Array, values: jax.Array, epsilon: float | jax.Array) -> jax.Array:
    """The best actions, or with probability `epsilon` random ones.

    Args:
      key: PRNG key.
      values: float32[B, A].
      epsilon: Probability.

    Returns:
      int32[B].
    """
    pick_key, coin_key = jax.random.split(key)
    number, actions = values.shape
    picked = jax.random.randint(pick_key, (number,), 0, actions)
    random = jax.random.uniform(coin_key, (number,)) < epsilon
    return jnp.where(random, picked, values.argmax(-1))
