"""Proximal policy optimisation (Schulman et al., 2017) of many environments.

Defaults are for thousands of environments. Few updates fit into a minute, so each goes
far: many minibatches, a wide clip.
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
      updates: Of a whole run, for the learning rate's fall.
      epochs: How often each step is learned from.
      minibatch: Steps at once; divides `N * T`.
      learning_rate: Of Adam.
      anneal: The learning rate falls to 0 over the run.
      discount: Gamma.
      trace: Lambda of the advantages.
      clip: Of the probability ratio.
      value_cost: Weight of the value's squared error.
      entropy: Weight of the policy's entropy.
      max_grad_norm: Longer gradients are shortened.
      network: One of `network.TORSOS`.
      norm: Layer normalisation. Without it, at this learning rate, one run of four on
        Pong lost all its rectifiers and learned nothing.
      bfloat16: Compute in bfloat16.
      bank: Reset games to start from.
      stagger: Steps within which the first games start, so that they differ.
    """

    num_envs: int = 8192
    steps: int = 16
    updates: int = 1000
    epochs: int = 4
    minibatch: int = 2048
    learning_rate: float = 1e-3
    anneal: bool = True
    discount: float = 0.99
    trace: float = 0.95
    clip: float = 0.2
    value_cost: float = 0.5
    entropy: float = 0.01
    max_grad_norm: float = 0.5
    network: str = "nature"
    norm: bool = True
    bfloat16: bool = True
    bank: int = 64
    stagger: int = 128

    def __post_init__(self) -> None:
        agents.whole("minibatch", self.num_envs * self.steps, self.minibatch)
        if self.steps < 1 or self.epochs < 1:
            raise ValueError(f"steps and epochs must be at least 1, got {self}")


def make(config: Config, env: Environment, axis_name: str | None = None) -> Agent:
    """Builds the agent.

    Args:
      config: Hyper-parameters.
      env: One environment, which does not reset itself.
      axis_name: Of the devices under `jax.pmap`; gradients are averaged over it.

    Raises:
      ValueError: The network does not fit the observations.

    Example:
      >>> agent = make(Config(), atari.make("pong", "dqn"))  # doctest: +SKIP
      >>> state = jax.jit(agent.init)(key)  # doctest: +SKIP
      >>> state, metrics = jax.jit(agent.update)(state)  # doctest: +SKIP
    """
    torso = network.torso(config.network, norm=config.norm, bfloat16=config.bfloat16)
    module = network.ActorCritic(torso, env.num_actions)
    apply: Callable[..., Any] = module.apply
    batches = config.num_envs * config.steps // config.minibatch
    rate = agents.annealed(
        config.learning_rate, config.anneal, config.updates * config.epochs * batches
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.adam(rate, eps=1e-5)
    )

    def collect(state: State) -> tuple[State, Tally, Steps]:
        state, key = agents.split(state)

        def policy(key: jax.Array, observations: jax.Array) -> tuple[jax.Array, Any]:
            logits, value = apply(state.params, observations)
            action = jax.random.categorical(key, logits)
            return action, (log_probability(logits, action), value)

        actors, made, tally = rollout.collect(
            env, policy, key, state.actors, config.steps
        )
        return state._replace(actors=actors), tally, made

    def learn(state: State, made: Steps) -> tuple[State, dict[str, jax.Array]]:
        state, key = agents.split(state)
        log_prob, value = made.extra
        _, last = apply(state.params, state.actors.observation)
        values = jnp.concatenate([value, last[None]])
        discounts = config.discount * (1.0 - made.terminal)
        advantage = jax.vmap(
            returns.advantages, in_axes=(1, 1, 1, 1, None), out_axes=1
        )(made.reward, values, discounts, made.end, config.trace)
        batch = (
            made.observation,
            made.action,
            made.valid,
            log_prob,
            advantage,
            advantage + value,
        )

        return agents.improve(
            objective,
            optimizer,
            axis_name,
            state,
            key,
            batch,
            epochs=config.epochs,
            minibatch=config.minibatch,
        )

    def objective(
        params: Any,
        observation: jax.Array,
        action: jax.Array,
        valid: jax.Array,
        old: jax.Array,
        advantage: jax.Array,
        target: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits, value = apply(params, observation)
        log_ratio = log_probability(logits, action) - old
        ratio = jnp.exp(log_ratio)
        centre = agents.mean(advantage, valid)
        spread = agents.mean((advantage - centre) ** 2, valid)
        advantage = (advantage - centre) / (jnp.sqrt(spread) + 1e-8)
        clipped = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
        gain = jnp.minimum(ratio * advantage, clipped * advantage)
        losses = {
            "policy": -agents.mean(gain, valid),
            "value": 0.5 * agents.mean((value - target) ** 2, valid),
            "entropy": agents.mean(entropy(logits), valid),
            "divergence": agents.mean(ratio - 1 - log_ratio, valid),
        }
        loss = losses["policy"] + config.value_cost * losses["value"]
        loss -= config.entropy * losses["entropy"]
        return loss, losses | {"loss": loss}

    return agents.build(
        init=agents.starter(module, optimizer, env, config, axis_name),
        collect=collect,
        learn=learn,
        act=sampler(apply),
        steps=config.num_envs * config.steps,
        axis_name=axis_name,
    )


def sampler(apply: Callable[..., Any]) -> Callable[..., jax.Array]:
    """`Agent.act` of a network that gives logits and a value."""

    def act(
        params: Any, key: jax.Array, observations: jax.Array, greedy: bool = False
    ) -> jax.Array:
        logits, _ = apply(params, observations)
        return logits.argmax(-1) if greedy else jax.random.categorical(key, logits)

    return act


def log_probability(logits: jax.Array, action: jax.Array) -> jax.Array:
    """Log of the probability of an action: float32[..., A], int32[...] to [...]."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)
    return chosen[..., 0]


def entropy(logits: jax.Array) -> jax.Array:
    """Of the policy, in nats: float32[..., A] to [...]."""
    logs = jax.nn.log_softmax(logits)
    return -(jnp.exp(logs) * logs).sum(-1)
