r"""Compares the console with ale-py, frame by frame: RAM, screen, reward, lives, end.

Every game is played twice with seeded random actions, without and with sticky actions
(probability 0.25), from the construction of ALE's console through its search for the
television standard and all resets. Games run side by side, on one program. Example:

    python -m launch.conformance --games=pong,seaquest --frames=3000 --seed=0

With --modes, every game is reset to each of its modes and difficulties (Video Cube to 6
of its 153 modes) and played for --frames from there:

    python -m launch.conformance --modes --frames=20 --sticky=0.25

Expected: some 15 minutes on a CPU core, and hours for all 104 games; a few minutes on a
GPU. Prints a table, names the first differing frame of every game that differs, and
exits with status 1 if any does. The last line counts the games that are exact. With
--json, games found there are not run again. Two-player ROMs
(`--games=combat,joust,maze_craze,warlords`) run as bare consoles: RAM and screen only.
"""

import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ale_py
import jax
import numpy as np
from absl import app, flags
from jax import numpy as jnp
from rich.table import Table

from atari import console as consoles, rom
from atari.console import Inputs, State
from atari.games import settings as settings_of
from launch import common
from launch.player import Player, Request

_GAMES = flags.DEFINE_list("games", [], "names; all single-player games by default")
_FRAMES = flags.DEFINE_integer("frames", 3000, "frames of play a game", lower_bound=1)
_EPISODE = flags.DEFINE_integer("episode", 1000, "frames before a reset is forced")
_SEED = flags.DEFINE_integer("seed", 0, "of actions and of sticky actions")
_STICKY = flags.DEFINE_list("sticky", ["0", "0.25"], "probabilities of repeating")
_BATCH = flags.DEFINE_integer("batch", 104, "games that run side by side")
_MODES = flags.DEFINE_bool(
    "modes", False, "play every mode and every difficulty, not only the default"
)
_BACKEND = flags.DEFINE_enum(
    "backend",
    "auto",
    ["auto", "lax", "pallas", "interpret"],
    "XLA's loop or the GPU kernel; auto: the kernel on a GPU",
)
_JSON = flags.DEFINE_string("json", "", "file of JSON lines, one a game; resumes")

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


def row(name: str, players: list[Player]) -> dict[str, Any]:
    """What is said of one game."""
    wrong = [player for player in players if player.difference is not None]
    result: dict[str, Any] = {
        "game": name,
        "kind": players[0].game.rom.kind,
        "runs": len(players),
        "exact": not wrong,
        "played": sum(player.frame for player in players),
        "resets": sum(player.resets for player in players),
        "first_difference": "",
    }
    if wrong:
        first, what = wrong[0], wrong[0].difference
        assert what is not None
        result["first_difference"] = (
            f"sticky {first.sticky:g}, mode {first.mode}, difficulty "
            f"{first.difficulty}, frame {what.frame}: {what.what}, {what.detail}"
        )
    return result


def main(argv: list[str]) -> None:
    """Runs the games that --json does not have yet."""
    del argv
    common.setup()
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    consoles.set_backend(_BACKEND.value)
    names = _GAMES.value or rom.names()
    for name in names:
        rom.properties(name)
    settings = {
        "frames": _FRAMES.value,
        "seed": _SEED.value,
        "sticky": _STICKY.value,
        "backend": _BACKEND.value,
        "modes": _MODES.value,
    }
    rows: dict[str, dict[str, Any]] = {}
    if _JSON.value and Path(_JSON.value).exists():
        for line in Path(_JSON.value).read_text().splitlines():
            old = json.loads(line)
            old.setdefault("modes", False)
            if old["game"] in names and all(
                old.get(k) == v for k, v in settings.items()
            ):
                rows[old["game"]] = old
    # DPC cartridges have a chip of their own, so they are another program.
    left = [name for name in names if name not in rows]
    left.sort(key=lambda name: rom.properties(name).kind == "DPC")
    with tempfile.TemporaryDirectory() as folder:
        while left:
            dpc = rom.properties(left[0]).kind == "DPC"
            same = [n for n in left if (rom.properties(n).kind == "DPC") == dpc]
            chosen, left = same[: _BATCH.value], left[len(same[: _BATCH.value]) :]
            players = [
                Player(name, float(sticky), Path(folder), _SEED.value, *choice)
                for name in chosen
                for sticky in _STICKY.value
                for choice in (choices(name) if _MODES.value else [(None, None)])
            ]
            turns = [player.play(_FRAMES.value, _EPISODE.value) for player in players]
            run(players, turns, _FRAMES.value)
            for name in chosen:
                own = [player for player in players if player.name == name]
                rows[name] = row(name, own) | settings | common.machine()
                if _JSON.value:
                    common.append_json(_JSON.value, rows[name])
    table = Table("game", "kind", "frames", "resets", "exact", "first difference")
    for name in names:
        r = rows[name]
        cells = (r["game"], r["kind"], f"{r['played']:,}", str(r["resets"]))
        table.add_row(*cells, "yes" if r["exact"] else "NO", r["first_difference"])
    common.console.print(table)
    exact = sum(r["exact"] for r in rows.values())
    print(f"{exact} games exact of {len(rows)} games run")
    if exact < len(rows):
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
