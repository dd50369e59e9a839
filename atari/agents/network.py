"""Networks that see: Nature CNN, IMPALA's residual network, and heads for agents.

Parameters are float32; torsos compute in `dtype`, heads in float32. All modules take
leading batch axes.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.linen import initializers
from jax import numpy as jnp

TORSOS = ("nature", "impala", "mlp")


def as_image(observation: jax.Array) -> jax.Array:
    """Stacked grey or RGB pictures as channels: [..., S, H, W(, 3)] to [..., H, W, C].

    Args:
      observation: uint8[B, S, H, W] or uint8[B, S, H, W, 3].

    Raises:
      ValueError: Not pictures.
    """
    if observation.ndim == 4:
        return jnp.moveaxis(observation, 1, -1)
    if observation.ndim == 5:
        image = jnp.moveaxis(observation, 1, -2)
        return image.reshape(*image.shape[:3], -1)
    raise ValueError(
        f"a convolutional torso needs stacked pictures, not observations of shape "
        f"{observation.shape[1:]}; make the environment with a stack, or use 'mlp'"
    )


class Strided(nn.Module):
    """A convolution of which the kernel is twice as wide as its stride, unpadded.

    Blocks of stride x stride pixels become channels first, and a 2x2 kernel does the
    rest: the same function, with four times as many channels for matrix units to use.

    Attributes:
      features: Channels out.
      stride: Pixels.
      dtype: To compute in.
    """

    features: int
    stride: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] to [B, H // s - 1, W // s - 1, features]."""
        batch, height, width, channels = x.shape
        s, rows, columns = self.stride, height // self.stride, width // self.stride
        x = x[:, : rows * s, : columns * s]
        x = x.reshape(batch, rows, s, columns, s, channels).swapaxes(2, 3)
        x = x.reshape(batch, rows, columns, s * s * channels)
        return nn.Conv(
            self.features,
            (2, 2),
            padding="VALID",
            dtype=self.dtype,
            kernel_init=initializers.orthogonal(np.sqrt(2)),
        )(x)


class Nature(nn.Module):
    """The network of Mnih et al., Nature 2015.

    Attributes:
      features: Outputs.
      norm: Layer normalisation before each rectifier, as PQN has it.
      dtype: To compute in.
    """

    features: int = 512
    norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """uint8[B, S, H, W] to dtype[B, features]."""

        def activate(x: jax.Array) -> jax.Array:
            if self.norm:
                axes = tuple(range(1, x.ndim))
                x = nn.LayerNorm(reduction_axes=axes, dtype=self.dtype)(x)
            return nn.relu(x)

        init = initializers.orthogonal(np.sqrt(2))
        x = as_image(observation).astype(self.dtype) / 255
        x = activate(Strided(32, 4, self.dtype)(x))
        x = activate(Strided(64, 2, self.dtype)(x))
        x = nn.Conv(64, (3, 3), padding="VALID", dtype=self.dtype, kernel_init=init)(x)
        x = activate(x).reshape(x.shape[0], -1)
        return activate(nn.Dense(self.features, dtype=self.dtype, kernel_init=init)(x))


class Residual(nn.Module):
    """A block of IMPALA's network: rectifier and convolution, twice, and a shortcut."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, features] to the same."""
        y = x
        for _ in range(2):
            y = nn.Conv(self.features, (3, 3), dtype=self.dtype)(nn.relu(y))
        return x + y


class Impala(nn.Module):
    """The deep network of Espeholt et al., 2018, figure 3, without the LSTM.

    Attributes:
      features: Outputs.
      channels: Of each stage.
      norm: Layer normalisation of the outputs.
      dtype: To compute in.
    """

    features: int = 256
    channels: tuple[int, ...] = (16, 32, 32)
    norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """uint8[B, S, H, W] to dtype[B, features]."""
        x = as_image(observation).astype(self.dtype) / 255
        for channels in self.channels:
            x = nn.Conv(channels, (3, 3), dtype=self.dtype)(x)
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
            x = Residual(channels, self.dtype)(x)
            x = Residual(channels, self.dtype)(x)
        x = nn.relu(x).reshape(x.shape[0], -1)
        x = nn.Dense(self.features, dtype=self.dtype)(x)
        if self.norm:
            x = nn.LayerNorm(dtype=self.dtype)(x)
        return nn.relu(x)


class Mlp(nn.Module):
    """Two layers, for memory or small pictures.

    Attributes:
      features: Of each layer.
      norm: Layer normalisation before each rectifier.
      dtype: To compute in.
    """

    features: int = 64
    norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """uint8[B, ...] to dtype[B, features]."""
        x = observation.reshape(observation.shape[0], -1).astype(self.dtype) / 255
        init = initializers.orthogonal(np.sqrt(2))
        for _ in range(2):
            x = nn.Dense(self.features, dtype=self.dtype, kernel_init=init)(x)
            x = nn.relu(nn.LayerNorm(dtype=self.dtype)(x) if self.norm else x)
        return x


class ActorCritic(nn.Module):
    """A policy and its value on one torso."""

    torso: nn.Module
    num_actions: int

    @nn.compact
    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        """uint8[B, ...] to logits float32[B, A] and values float32[B]."""
        x = self.torso(observation).astype(jnp.float32)
        small, one = initializers.orthogonal(0.01), initializers.orthogonal(1.0)
        logits = nn.Dense(self.num_actions, kernel_init=small)(x)
        return logits, nn.Dense(1, kernel_init=one)(x)[:, 0]


class ActionValue(nn.Module):
    """Values of actions on a torso; dueling as Wang et al., 2016, equation 9."""

    torso: nn.Module
    num_actions: int
    dueling: bool = False

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """uint8[B, ...] to float32[B, A]."""
        x = self.torso(observation).astype(jnp.float32)
        values = nn.Dense(self.num_actions)(x)
        if self.dueling:
            values -= values.mean(-1, keepdims=True)
            values += nn.Dense(1)(x)
        return values


def torso(name: str, *, norm: bool = False, bfloat16: bool = False) -> nn.Module:
    """A torso by name.

    Args:
      name: One of `TORSOS`.
      norm: Layer normalisation.
      bfloat16: Compute in bfloat16.

    Raises:
      ValueError: Unknown name.

    Example:
      >>> torso("nature", bfloat16=True).features
      512
    """
    made: dict[str, Callable[..., nn.Module]] = {
        "nature": Nature,
        "impala": Impala,
        "mlp": Mlp,
    }
    if name not in made:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(TORSOS)}")
    return made[name](norm=norm, dtype=jnp.bfloat16 if bfloat16 else jnp.float32)
