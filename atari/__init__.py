"""A bit-exact Atari 2600 in JAX: batches of ALE's games on an accelerator.

`make` gives an environment of pure functions; `jax.vmap` makes it a batch.

Example:
  >>> import jax, atari
  >>> env = atari.make("pong")
  >>> keys = jax.random.split(jax.random.key(0), 64)
  >>> state, timestep = jax.jit(jax.vmap(env.reset))(keys)
"""

from atari.actions import Action
from atari.environment import Environment, make
from atari.episode import Info, State, TimeStep
from atari.mixed import Batch, batch
from atari.presets import PRESETS, Config, config
from atari.resetting import Bank, autoreset, bank
from atari.rom import names

__all__ = [
    "PRESETS",
    "Action",
    "Bank",
    "Batch",
    "Config",
    "Environment",
    "Info",
    "State",
    "TimeStep",
    "autoreset",
    "bank",
    "batch",
    "config",
    "make",
    "names",
]
