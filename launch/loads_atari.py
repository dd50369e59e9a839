"""What is measured of `atari` over several devices: emulation, and training."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax, numpy as jnp

import atari
from launch import learning
from launch.scaling import Devices, Load, Work, places, reduction, share


def emulate(
    env: atari.Environment, bank: atari.Bank, devices: Devices, size: int, steps: int
) -> Callable[[], jax.Array]:
    """Consoles under random actions, split over devices that exchange nothing.

    A console's actions and resets come from its own key, so that what it plays does not
    depend on the devices.

    Args:
        env: without autoreset.
        bank: reset games to start from.
        devices: that share the consoles.
        size: consoles, `N` a device.
        steps: `T` of a call.

    Returns:
        A function that plays on and gives the observations' checksums, uint32
        `[P, T, N]` for this process's `P` devices.
    """
    own, each = places(devices), share(size, devices, "consoles")

    def start(picks: jax.Array, bank: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda leaf: leaf[picks], bank[0]), bank

    def play(keys: jax.Array, state: Any, bank: Any) -> tuple[Any, ...]:
        resetting = atari.autoreset(env, "next_step", bank)

        def one(key: jax.Array, state: Any) -> tuple[jax.Array, Any, jax.Array]:
            keys = jax.random.split(jax.random.wrap_key_data(key), 3)
            action = jax.random.randint(keys[0], (), 0, env.num_actions)
            state, timestep = resetting.step(keys[1], state, action)
            pixels = timestep.observation.reshape(-1).astype(jnp.uint32)
            seen = (pixels * jnp.arange(1, pixels.size + 1, dtype=jnp.uint32)).sum()
            return jax.random.key_data(keys[2]), state, seen

        def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
            *carry, seen = jax.vmap(one)(*carry)
            return tuple(carry), seen

        (keys, state), seen = lax.scan(step, (keys, state), None, steps)
        return keys, state, seen

    keys = jax.random.key_data(jax.random.split(jax.random.key(1), size))
    keys = np.asarray(keys).reshape(len(devices), each, -1)[own]
    picks = np.arange(size) % bank[1].reward.shape[0]
    picks = picks.reshape(len(devices), each)[own]
    begin = jax.pmap(start, in_axes=(0, None), devices=devices)
    state, banks = begin(picks, bank)
    run = jax.pmap(play, devices=devices, donate_argnums=(0, 1))

    def call() -> jax.Array:
        nonlocal keys, state
        keys, state, seen = run(keys, state, banks)
        return jax.block_until_ready(seen)

    return call


def emulation(game: str, num_envs: int, steps: int, bank_size: int) -> Load:
    """Frames a second with observations, resets from a bank.

    Args:
        game: name.
        num_envs: consoles of the fewest devices.
        steps: of a call, four frames each.
        bank_size: reset games to start from.
    """
    env = atari.make(game)
    bank = jax.device_get(atari.bank(env, jax.random.key(0), bank_size))

    def make(devices: Devices, size: int) -> Work:
        call = emulate(env, bank, devices, size, steps)
        return Work(call, size * steps * env.config.frame_skip)

    return Load(f"{game}: emulation", "frames", num_envs, make)


def training(
    agent: str, game: str, num_envs: int, settings: Sequence[str], env: Any = None
) -> Load:
    """Frames a second of an agent's whole updates, gradients averaged over devices.

    Args:
        agent: "ppo" or "pqn".
        game: name.
        num_envs: environments of the fewest devices.
        settings: of the agent, `name=value` each; `minibatch` is that of one device
            with all of `num_envs`, and shrinks with its part of them.
        env: in place of the game's.
    """
    made = env or atari.make(game, "dqn")
    skip = made.config.frame_skip if made.config is not None else 1
    module = learning.AGENTS[agent]
    whole = learning.configure(
        agent, [f"num_envs={num_envs}", *settings, "updates=100000"], 1, skip
    )

    def make(devices: Devices, size: int) -> Work:
        each = share(size, devices, "environments")
        part = whole.minibatch * each // num_envs
        config = dataclasses.replace(whole, num_envs=each, minibatch=part)
        made_agent = module.make(config, made, "devices")
        keys = jax.random.split(jax.random.key(0), len(devices))
        start = jax.pmap(made_agent.init, "devices", devices=devices)
        update = jax.pmap(
            made_agent.update, "devices", devices=devices, donate_argnums=0
        )
        state = start(keys[places(devices)])
        params = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state.params
        )

        def call() -> None:
            nonlocal state
            state, metrics = update(state)
            jax.block_until_ready((state, metrics))

        gradients = config.epochs * (each * config.steps // part)
        exchange = reduction(params, devices, gradients) if len(devices) > 1 else None
        return Work(call, size * config.steps * skip, exchange)

    return Load(f"{game}: {agent} training", "frames", num_envs, make)
