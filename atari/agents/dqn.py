"""Deep Q-network (Mnih et al., 2015), its replay memory on the device.

Double (van Hasselt et al., 2016), dueling (Wang et al., 2016), n-step and prioritised
(Schaul et al., 2016) by settings. A replay of a million steps takes 7 GB.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import lax, numpy as jnp

from atari.agents import agent as agents, network, replay as replays, rollout
from atari.agents.agent import Agent, State
from atari.agents.pqn import exploration, explore, explorer, value_of
from atari.agents.replay import Replay
from atari.agents.rollout import Tally
from atari.environment import Environment


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyper-parameters.

    Attributes:
      num_envs: `N`, on each device.
      steps: Of each environment in an update; divides `capacity`.
      capacity: Steps of each environment that are remembered.
      learn_start: Steps of each environment before learning starts.
      batches: Gradient steps in an update.
      minibatch: Transitions in each.
      ahead: n of the n-step returns.
      double: The network chooses the action that the target network values.
      dueling: The network adds advantages to a value.
      prioritised: Replay by priority.
      priority: Exponent of the priorities.
      beta: Correction for priorities at the start, which rises to 1 over the run.
      target_period: Updates after which the target network is renewed.
      updates: Of a whole run, for schedules.
      learning_rate: Of Adam.
      discount: Gamma.
      first_epsilon: Probability of a random action at the start,
      last_epsilon: and from `exploration` on.
      exploration: Part of the run in which it falls.
      max_grad_norm: Longer gradients are shortened.
      network: One of `network.TORSOS`.
      bfloat16: Compute in bfloat16.
      bank: Reset games to start from.
      stagger: Steps within which the first games start, so that they differ.
    """

    num_envs: int = 1024
    steps: int = 1
    capacity: int = 1000
    learn_start: int = 40
    batches: int = 16
    minibatch: int = 512
    ahead: int = 3
    double: bool = True
    dueling: bool = False
    prioritised: bool = False
    priority: float = 0.5
    beta: float = 0.4
    target_period: int = 50
    updates: int = 10_000
    learning_rate: float = 5e-4
    discount: float = 0.99
    first_epsilon: float = 1.0
    last_epsilon: float = 0.01
    exploration: float = 0.1
    max_grad_norm: float = 10.0
    network: str = "nature"
    bfloat16: bool = True
    bank: int = 64
    stagger: int = 128

    def __post_init__(self) -> None:
        agents.whole("steps", self.capacity, self.steps)
        if not self.ahead < self.learn_start <= self.capacity:
            raise ValueError(
                "learn_start must be more than ahead and at most capacity, got "
                f"{self.learn_start}"
            )


def make(config: Config, env: Environment, axis_name: str | None = None) -> Agent:
    """Builds the agent; arguments as for `ppo.make`.

    Raises:
      ValueError: Observations are not stacked, or longer than `learn_start`.
    """
    torso = network.torso(config.network, bfloat16=config.bfloat16)
    module = network.ActionValue(torso, env.num_actions, config.dueling)
    apply: Callable[..., Any] = module.apply
    stack = env.observation_shape[0]
    fill = env.config.fill_stack
    if env.config.stack is None:
        raise ValueError("the replay needs stacked observations; give stack=1 or more")
    if config.learn_start < stack + config.ahead:
        raise ValueError(f"learn_start must be at least {stack + config.ahead}")
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adam(config.learning_rate, eps=1.5e-4),
    )
    epsilon = exploration(
        config.first_epsilon, config.last_epsilon, config.exploration, config.updates
    )
    beta = optax.linear_schedule(config.beta, 1.0, config.updates)

    begin = agents.starter(module, optimizer, env, config, axis_name)

    def init(key: jax.Array) -> State:
        state = begin(key)
        memory = replays.make(config.capacity, config.num_envs, env.observation_shape)
        # Copied, since a state that is donated may hold no array twice.
        target = jax.tree.map(jnp.copy, state.params)
        return state._replace(memory=(target, memory))

    def collect(state: State) -> tuple[State, Tally, tuple]:
        state, key = agents.split(state)

        def policy(key: jax.Array, observations: jax.Array) -> tuple[jax.Array, Any]:
            values = apply(state.params, observations)
            return explore(key, values, epsilon(state.updates)), ()

        actors, made, tally = rollout.collect(
            env, policy, key, state.actors, config.steps
        )
        target, replay = state.memory
        memory = (target, replays.add(replay, made))
        return state._replace(actors=actors, memory=memory), tally, ()

    def learn(state: State, batch: tuple) -> tuple[State, dict[str, jax.Array]]:
        state, key = agents.split(state)
        target, replay = state.memory

        def some(carry: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
            params, opt_state, replay = carry
            drawn = replays.sample(
                replay,
                key,
                config.minibatch,
                steps=config.ahead,
                discount=config.discount,
                stack=stack,
                fill=fill,
                prioritised=config.prioritised,
                beta=beta(state.updates),
            )
            params, opt_state, losses = agents.descend(
                objective, optimizer, axis_name, params, opt_state, target, drawn
            )
            error = losses.pop("error")
            if config.prioritised:
                replay = replays.reweigh(replay, drawn, error, config.priority)
            return (params, opt_state, replay), losses

        def now(carry: tuple[Any, Any, Replay]) -> tuple[Any, dict[str, jax.Array]]:
            carry, losses = lax.scan(some, carry, jax.random.split(key, config.batches))
            return carry, jax.tree.map(lambda x: x.mean(), losses)

        def later(carry: tuple[Any, Any, Replay]) -> tuple[Any, dict[str, jax.Array]]:
            return carry, {"loss": jnp.float32(0), "value_mean": jnp.float32(0)}

        (params, opt_state, replay), losses = lax.cond(
            replay.added >= config.learn_start,
            now,
            later,
            (state.params, state.opt_state, replay),
        )
        renew = (state.updates + 1) % config.target_period == 0
        target = jax.tree.map(lambda a, b: jnp.where(renew, a, b), params, target)
        losses |= {"epsilon": jnp.float32(epsilon(state.updates))}
        memory = (target, replay)
        return state._replace(params=params, opt_state=opt_state, memory=memory), losses

    def objective(
        params: Any, target: Any, drawn: replays.Sample
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        value = value_of(apply(params, drawn.observation), drawn.action)
        following = apply(target, drawn.following)
        chooses = apply(params, drawn.following) if config.double else following
        best = value_of(following, chooses.argmax(-1))
        wanted = lax.stop_gradient(drawn.reward + drawn.discount * best)
        error = value - wanted
        loss = agents.mean(optax.huber_loss(error) * drawn.importance, drawn.valid)
        value_mean = agents.mean(value, drawn.valid)
        return loss, {"loss": loss, "value_mean": value_mean, "error": error}

    return agents.build(
        init=init,
        collect=collect,
        learn=learn,
        act=explorer(apply, config.last_epsilon),
        steps=config.num_envs * config.steps,
        axis_name=axis_name,
    )
