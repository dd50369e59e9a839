"""One game on one console: emulate a frame and score it."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
from jax import numpy as jnp

from atari import cartridge as cartridges, console as consoles, controls, games, rom
from atari.actions import RESET
from atari.cartridge import Cartridge
from atari.games import Memory, Rules, Settings, Signals
from atari.rom import Properties


@dataclasses.dataclass(frozen=True, eq=False)
class Game:
    """What does not change while a game is played.

    Attributes:
      rom: The ROM's properties.
      cartridge: The ROM in its cartridge.
      settings: Actions, modes and difficulties.
      rules: Reward, lives, end.
      mode: The mode that a reset selects.
      difficulty: The difficulty switches: bit 0 left, bit 1 right.
    """

    rom: Properties
    cartridge: Cartridge
    settings: Settings
    rules: Rules
    mode: int
    difficulty: int

    @property
    def name(self) -> str:
        """The ROM's name."""
        return self.rom.name


class Play(NamedTuple):
    """A game in progress. Copy the pytree to clone it."""

    console: consoles.State
    signals: Signals  # of the last frame
    paddle: jax.Array  # int32, ohms
    action: jax.Array  # int32, what the player does unless the action is repeated
    frames: jax.Array  # int32, of this episode, as ALE counts them


def _unscored() -> Rules:
    """A ROM without rules: no reward, no end."""
    none = Signals(
        jnp.int32(0), jnp.int32(0), jnp.bool_(False), jnp.zeros(0, jnp.int32)
    )
    return Rules(lambda mode: none, lambda memory, last: none)


def load(
    game: str | Path, *, mode: int | None = None, difficulty: int | None = None
) -> Game:
    """Loads a game.

    Args:
      game: Name of a known game, or path of a ROM.
      mode: One of its modes; None for the default.
      difficulty: One of its difficulties; None for both switches at B.

    Raises:
      ValueError: Unknown game, ROM of a wrong size, illegal mode or difficulty.

    Example:
      >>> load("breakout").settings.minimal_actions
      (0, 1, 3, 4)
    """
    loaded = rom.load(game)
    properties = loaded.properties
    name = properties.name
    settings = games.settings(name)
    for what, chosen, offered in (
        ("mode", mode, settings.modes),
        ("difficulty", difficulty, settings.difficulties),
    ):
        if chosen is not None and chosen not in offered:
            raise ValueError(f"{name} has no {what} {chosen}; it has {offered}")
    inserted = cartridges.load(
        loaded.image,
        properties.kind,
        first_line=properties.y_start,
        lines=properties.height,
        pal=properties.pal,
        hmove_blanks=properties.hmove_blanks,
    )
    return Game(
        rom=properties,
        cartridge=inserted,
        settings=settings,
        rules=games.rules(name) if name in rom.names() else _unscored(),
        mode=settings.modes[0] if mode is None else mode,
        difficulty=difficulty or 0,
    )


def insert(game: Game, console: consoles.State) -> Play:
    """A game that has not been reset yet."""
    return Play(
        console=console,
        signals=game.rules.start(game.mode),
        paddle=controls.centre(game.settings.paddle_max),
        action=jnp.int32(0),
        frames=jnp.int32(0),
    )


def memory(play: Play) -> Memory:
    """The console's memory, by address."""
    return Memory(play.console.ram[:128], play.console.ram[128:])


def emulate(
    game: Game,
    play: Play,
    action: jax.Array | int,
    *,
    select: jax.Array | bool = False,
    render: bool = True,
    active: jax.Array | bool = True,
) -> Play:
    """One frame.

    Args:
      game: The game.
      play: Its state.
      action: int32, one of `Action`, or `RESET`.
      select: SELECT is held; then nobody plays and nothing is scored.
      render: Whether to draw the picture.
      active: The console stands still where this is False.
    """
    action, select = jnp.asarray(action, jnp.int32), jnp.asarray(select)
    limit = game.settings.paddle_max
    paddle = controls.turn(play.paddle, action, limit)
    paddle = jnp.where(select, play.paddle, paddle)
    pressed = controls.inputs(
        game.rom,
        action,
        paddle=paddle,
        other_paddle=controls.centre(limit),
        difficulty=game.difficulty,
        select=select,
    )
    console = consoles.run_frame(game.cartridge, play.console, pressed, render, active)
    play = play._replace(console=console, paddle=paddle)
    signals = game.rules.update(memory(play), play.signals)
    signals = jax.tree.map(
        lambda new, old: jnp.where(select, old, new).astype(old.dtype),
        signals,
        play.signals,
    )
    return play._replace(signals=signals)


def legal(game: Game, action: jax.Array) -> jax.Array:
    """The action, or NOOP where the game forbids it; RESET too is for resets only."""
    allowed = jnp.zeros(RESET + 1, bool)
    allowed = allowed.at[jnp.array(game.settings.legal_actions)].set(True)
    return jnp.where(allowed[action], action, 0)
