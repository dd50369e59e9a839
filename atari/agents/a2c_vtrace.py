"""Advantage actor-critic with V-trace and CuLE's batching (Dalton and Frosio, 2020).

Thousands of environments would give few, huge updates. So they are dealt into groups:
all of them take a step or a few, and the network learns from the last `horizon` steps
of one group or more, in rotation. A group's steps are by the time from older policies,
which V-trace corrects (Espeholt et al., 2018). One group, with `horizon` equal to
plain A2C.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import lax, numpy as jnp

from atari.agents import agent as agents, network, returns, rollout
from atari.agents.agent import Agent, State
from atari.agents.ppo import entropy, log_probability, sampler
from atari.agents.rollout import Steps, Tally
from atari.environment import Environment


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyper-parameters.

    Attributes:
      num_envs: `N`, on each device.
      steps: Of each environment in an update.
      horizon: Past steps that are learned from; a multiple of `steps`.
      groups: Of environments; divides `N`.
      turns: Groups that are learned from in an update, one after another.
      updates: Of a whole run, for the learning rate's fall.
      learning_rate: Of Adam.
      anneal: The learning rate falls to 0 over the run.
      discount: Gamma.
      clip_rho: Of V-trace.
      clip_c: Of V-trace.
      value_cost: Weight of the value's squared error.
      entropy: Weight of the policy's entropy.
      max_grad_norm: Longer gradients are shortened.
      network: One of `network.TORSOS`.
      bfloat16: Compute in bfloat16.
      bank: Reset games to start from.
      stagger: Steps within which the first games start, so that they differ.
    """

    num_envs: int = 4096
    steps: int = 1
    horizon: int = 20
    groups: int = 16
    turns: int = 4
    updates: int = 10_000
    learning_rate: float = 7e-4
    anneal: bool = True
    discount: float = 0.99
    clip_rho: float = 1.0
    clip_c: float = 1.0
    value_cost: float = 0.5
    entropy: float = 0.01
    max_grad_norm: float = 0.5
    network: str = "nature"
    bfloat16: bool = True
    bank: int = 64
    stagger: int = 128

    def __post_init__(self) -> None:
        agents.whole("groups", self.num_envs, self.groups)
        agents.whole("steps", self.horizon, self.steps)


def make(config: Config, env: Environment, axis_name: str | None = None) -> Agent:
    """Builds the agent; arguments and errors as for `ppo.make`."""
    torso = network.torso(config.network, bfloat16=config.bfloat16)
    module = network.ActorCritic(torso, env.num_actions)
    apply: Callable[..., Any] = module.apply
    rate = agents.annealed(
        config.learning_rate, config.anneal, config.updates * config.turns
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.adam(rate, eps=1e-5)
    )

    def policy(params: Any) -> rollout.Policy:
        def choose(key: jax.Array, observations: jax.Array) -> tuple[jax.Array, Any]:
            logits, _ = apply(params, observations)
            action = jax.random.categorical(key, logits)
            return action, log_probability(logits, action)

        return choose

    begin = agents.starter(module, optimizer, env, config, axis_name)

    def init(key: jax.Array) -> State:
        state = begin(key)

        def one(actors: rollout.Actors) -> Steps:
            return rollout.step(env, policy(state.params), key, actors)[1]

        # Nothing in it is valid yet.
        shape = (config.horizon,)
        past = jax.tree.map(
            lambda x: jnp.zeros(shape + x.shape, x.dtype),
            jax.eval_shape(one, state.actors),
        )
        return state._replace(memory=past)

    def collect(state: State) -> tuple[State, Tally, tuple]:
        state, key = agents.split(state)
        actors, made, tally = rollout.collect(
            env, policy(state.params), key, state.actors, config.steps
        )
        at = state.updates * config.steps % config.horizon
        past = jax.tree.map(
            lambda ring, new: lax.dynamic_update_slice_in_dim(ring, new, at, 0),
            state.memory,
            made,
        )
        return state._replace(actors=actors, memory=past), tally, ()

    def learn(state: State, batch: tuple) -> tuple[State, dict[str, jax.Array]]:
        size = config.num_envs // config.groups
        # The ring's oldest row is the one that the next update overwrites.
        oldest = (state.updates + 1) * config.steps % config.horizon
        order = (oldest + jnp.arange(config.horizon)) % config.horizon

        def turn(carry: Any, turn: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
            first = turn % config.groups * size

            def group(x: jax.Array, axis: int) -> jax.Array:
                return lax.dynamic_slice_in_dim(x, first, size, axis)

            past = jax.tree.map(lambda x: group(x, 1)[order], state.memory)
            last = group(state.actors.observation, 0)
            params, opt_state, losses = agents.descend(
                objective, optimizer, axis_name, *carry, past, last
            )
            return (params, opt_state), losses

        turns = state.updates * config.turns + jnp.arange(config.turns)
        carry, losses = lax.scan(turn, (state.params, state.opt_state), turns)
        losses = jax.tree.map(lambda x: x.mean(), losses)
        return state._replace(params=carry[0], opt_state=carry[1]), losses

    def objective(
        params: Any, past: Steps, last: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        seen = jnp.concatenate([past.observation, last[None]])
        logits, values = apply(params, seen.reshape(-1, *last.shape[1:]))
        values = values.reshape(seen.shape[:2])
        logits = logits.reshape(*seen.shape[:2], -1)[:-1]
        log_prob = log_probability(logits, past.action)

        def corrected(*arrays: jax.Array) -> returns.Corrected:
            return returns.vtrace(
                *arrays, clip_rho=config.clip_rho, clip_c=config.clip_c
            )

        made = jax.vmap(corrected, in_axes=1, out_axes=1)(
            lax.stop_gradient(log_prob) - past.extra,
            past.reward,
            lax.stop_gradient(values),
            config.discount * (1.0 - past.terminal),
            past.end,
        )
        error = values[:-1] - made.targets
        losses = {
            "policy": -agents.mean(log_prob * made.advantages, past.valid),
            "value": 0.5 * agents.mean(error**2, past.valid),
            "entropy": agents.mean(entropy(logits), past.valid),
        }
        loss = losses["policy"] + config.value_cost * losses["value"]
        loss -= config.entropy * losses["entropy"]
        return loss, losses | {"loss": loss}

    return agents.build(
        init=init,
        collect=collect,
        learn=learn,
        act=sampler(apply),
        steps=config.num_envs * config.steps,
        axis_name=axis_name,
    )
