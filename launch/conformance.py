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

import json
import tempfile
from pathlib import Path
from typing import Any

import ale_py
from absl import app, flags
from rich.table import Table

from atari import console as consoles, rom
from atari.kernels import frame
from launch import common
from launch.player import Player
from launch.referee import choices, run

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
_WIDE = flags.DEFINE_bool(
    "wide", False, "the kernel as large batches have it, 32 consoles a warp, not one"
)
_JSON = flags.DEFINE_string("json", "", "file of JSON lines, one a game; resumes")


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
    if _WIDE.value:
        frame.FEW = 0
    names = _GAMES.value or rom.names()
    for name in names:
        rom.properties(name)
    settings = {
        "frames": _FRAMES.value,
        "seed": _SEED.value,
        "sticky": _STICKY.value,
        "backend": _BACKEND.value,
        "modes": _MODES.value,
        "wide": _WIDE.value,
    }
    rows: dict[str, dict[str, Any]] = {}
    if _JSON.value and Path(_JSON.value).exists():
        for line in Path(_JSON.value).read_text().splitlines():
            old = json.loads(line)
            old = {"modes": False, "wide": False} | old
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
