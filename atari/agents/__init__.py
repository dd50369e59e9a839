"""Agents that learn a game with everything on the device.

Each agent is `make(config, env, axis_name=None)`, which gives pure functions: `init`
and `update`, one program that plays many environments and learns from what happened.

Example:
  >>> import atari, jax
  >>> from atari.agents import ppo
  >>> env = atari.make("pong", "dqn")
  >>> agent = ppo.make(ppo.Config(num_envs=64, minibatch=256), env)
  >>> state = jax.jit(agent.init)(jax.random.key(0))  # doctest: +SKIP
  >>> state, metrics = jax.jit(agent.update)(state)  # doctest: +SKIP
"""
