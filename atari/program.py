"""The reset of a game as a table of rows, each some frames of one kind.

ALE's reset is long: 60 idle frames, four with RESET held, the mode's selection, four
more with RESET held, the game's starting actions. How long presses and selections last
depends on memory, so the rows form a small program with loops.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from atari.actions import RESET, Action
from atari.games import Settings
from atari.games.rules import Test
from atari.games.selection import Move, Press, SoftReset, Step, Until

Number = int | jax.Array

EMULATE, SELECT, ACT, STOP = range(4)
"""What a row does with its frames: emulate an action, hold SELECT, let the player act
(who may repeat himself, and stops when the game is over), nothing."""

CHANGED = -1
"""The test that a byte differs from what it was on the first arrival."""


class Row(NamedTuple):
    """Some frames of one kind, and where to go on."""

    kind: Number
    action: Number = Action.NOOP.value
    frames: Number = 1
    jitter: Number = 0  # how many lengths there are at random, `frames` the shortest
    counts: Number = 0  # the episode's frame counter goes up at the end
    calms: Number = 0  # the repeated action becomes NOOP at the end
    clears: Number = 0  # the signals start anew at the end
    following: Number = 0
    # On arrival: if this test holds, go to `leave` instead.
    guarded: Number = 0
    test: Number = 0
    watched: Number = 0  # address of the byte of `CHANGED`
    leave: Number = 0


class Program(NamedTuple):
    """The rows of a reset, and what may follow it."""

    table: np.ndarray  # int32[fields of Row, R]
    tests: tuple[Test, ...]
    end: int  # rows from here on are FIRE, an idle action, the stop

    @property
    def fire(self) -> int:
        """The row that presses FIRE after the reset."""
        return self.end

    @property
    def idle(self) -> int:
        """The row of an idle action after the reset."""
        return self.end + 1

    @property
    def stop(self) -> int:
        """The row at which nothing more happens."""
        return self.end + 2

    def row(self, number: jax.Array) -> Row:
        """The fields of one row."""
        return Row(*jnp.asarray(self.table)[:, number])


def compiled(settings: Settings, mode: int) -> Program:
    """The reset of a game that selects a mode."""
    rows = [Row(EMULATE, frames=60), _held()._replace(clears=1)]
    tests: list[Test] = []
    script = settings.selection.script(mode) if settings.selection else ()
    for step in (*script, SoftReset()):
        _append(rows, tests, step)
    rows += [Row(EMULATE, action) for action in settings.starting_actions]
    end = len(rows)
    rows += [Row(ACT, Action.FIRE.value), Row(ACT), Row(STOP)]
    table = np.array(rows, np.int32)
    following = table[:, Row._fields.index("following")]
    following[:] = np.where(following, following, np.arange(1, len(rows) + 1))
    return Program(table.T, tuple(tests), end)


def _held() -> Row:
    return Row(EMULATE, RESET, frames=4, calms=1)


def _append(rows: list[Row], tests: list[Test], step: Step) -> None:
    if isinstance(step, SoftReset):
        rows.append(_held())
    elif isinstance(step, Move):
        rows.append(Row(ACT, step.action))
    elif isinstance(step, Press):
        rows.append(Row(SELECT, frames=step.frames, jitter=step.jitter))
        rows.append(Row(EMULATE, counts=1))
    else:
        begin = len(rows)
        for inner in step.steps:
            _append(rows, tests, inner)
        rows[-1] = rows[-1]._replace(following=begin)
        first = rows[begin]._replace(guarded=1, leave=len(rows))
        if isinstance(step, Until):
            first = first._replace(test=len(tests))
            tests.append(step.test)
        else:
            first = first._replace(test=CHANGED, watched=step.address)
        rows[begin] = first
