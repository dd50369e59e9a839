"""Consoles side by side, each given what its player asks for; and what to play."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from atari import console as consoles
from atari.bus import Inputs
from atari.console import State
from atari.games import settings as settings_of
from launch import common
from launch.player import Player, Request

HEIGHT = 256


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


class Machine:
    """Consoles side by side, with ROMs of their own."""

    def __init__(self, players: list[Player]):
        carts = _stack([player.game.cartridge for player in players])
        probes = carts._replace(
            pal=carts.pal * 0, lines=jnp.where(carts.lines == 250, 210, carts.lines)
        )
        self.players = players
        power_on = jax.vmap(functools.partial(consoles.power_on, height=HEIGHT))
        self.state = jax.jit(power_on)(carts)

        @jax.jit
        def tick(
            state: State,
            inputs: Inputs,
            wakes: Any,
            twice: Any,
            timers: Any,
            extra: Any,
            probe: Any,
        ) -> tuple[State, Any, Any]:
            woken = jax.vmap(consoles.system_reset)(carts, state, timers, extra)
            again = jax.vmap(consoles.system_reset)(carts, woken, timers, extra)
            woken = _select(twice, again, woken)
            state = _select(wakes, woken, state)
            used = _select(probe, probes, carts)
            state = jax.vmap(consoles.run_frame)(used, state, inputs)
            return state, state.ram, jax.vmap(consoles.screen)(state)

        self.tick = tick

    def run(self, requests: list[Request]) -> tuple[np.ndarray, np.ndarray]:
        """One frame of every console: RAM and screens."""
        columns = np.array([r.inputs for r in requests], np.int32).T
        wakes = np.array([r.wake >= 0 for r in requests])
        twice = np.array([r.wake == 3 for r in requests])
        draws = [p.draws for p in self.players]
        rows = [max(r.wake, 0) for r in requests]
        timers = np.array([d.timer[i] for d, i in zip(draws, rows, strict=True)])
        extra = np.stack([d.superchip[i] for d, i in zip(draws, rows, strict=True)])
        probe = np.array([r.probing for r in requests])
        inputs = Inputs(*[jnp.asarray(column) for column in columns])
        timers = timers.astype(np.int32)
        self.state, ram, screen = self.tick(
            self.state, inputs, wakes, twice, timers, extra, probe
        )
        return np.asarray(ram), np.asarray(screen)


def _select(where: Any, new: Any, old: Any) -> Any:
    return jax.tree.map(
        lambda a, b: jnp.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old
    )


def run(players: list[Player], turns: list[Iterator[Request]], frames: int) -> None:
    """Serves all turns to their ends, side by side; differences stay in the players.

    Args:
      players: whose consoles are emulated.
      turns: of each player, what it asks for, for example `player.play(...)`.
      frames: of play, for the progress bar.
    """
    machine = Machine(players)
    requests = [next(turn) for turn in turns]
    going = set(range(len(players)))
    with common.progress("frames", frames) as advance:
        shown = 0
        while going:
            ram, screen = machine.run(requests)
            for i in sorted(going):
                player = players[i]
                player.seen(requests[i], ram[i], screen[i])
                following = next(turns[i], None)
                # A run that differs has nothing more to tell.
                if following is None or player.difference is not None:
                    going.remove(i)
                    following = requests[i]._replace(wake=-1)
                requests[i] = following
            least = min((players[i].frame for i in going), default=frames)
            for _ in range(least - shown):
                advance(f"{sum(p.difference is not None for p in players)} differ")
            shown = max(shown, least)
    for player in players:
        player.check_signals()


def choices(name: str) -> list[tuple[int, int]]:
    """Every mode with the first difficulty, every difficulty with the first mode."""
    offered = settings_of(name)
    modes, first = offered.modes, offered.difficulties[0]
    if name == "video_cube":  # fifty cubes, each with three games
        modes = (0, 1, 2, 100, 201, 702)
    found = [(mode, first) for mode in modes]
    return found + [(modes[0], other) for other in offered.difficulties[1:]]
