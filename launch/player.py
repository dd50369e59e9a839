"""One run of a game on both sides: what ALE does, asked of our console frame by frame.

A `Player` holds the reference emulator and yields, tick by tick, the inputs that our
console must be given to go through the same; it then compares what comes back.
"""

import dataclasses
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ale_py
import jax
import numpy as np
from jax import lax, numpy as jnp

from atari import console as consoles, controls, game as games, random, rom
from atari.actions import RESET, Action
from atari.games import Memory
from atari.games.selection import Move, Press, SoftReset, Step, Until

_WAKES = 600  # resets whose random values are tabulated
_SELECTS = 500  # tries to select a mode; ALE needs a few dozen at most
_NO_SEARCH = ("maze_craze",)  # ALE knows its television standard
_BARE = "koolaid"  # lends its name to a ROM that ALE has no rules for


class Request(NamedTuple):
    """What a player wants of the console in the next tick."""

    inputs: tuple[int, ...]
    wake: int = -1  # which of the reference's resets comes first, if any
    probing: bool = False  # ALE has not found out the television standard yet
    start: bool = False  # the signals start anew after this frame
    scored: bool = True
    compare: bool = False  # with what ALE shows now


@dataclasses.dataclass
class Difference:
    """The first disagreement of one run."""

    frame: int
    what: str
    detail: str


class Player:
    """One run of one game: the reference, and what it asks of our console.

    Args:
      name: the ROM's name.
      sticky: probability of repeating an action.
      folder: where ROMs without rules are put under another name.
      seed: of actions and of sticky actions.
      mode: game mode from the first reset of play on; None for the default.
      difficulty: of the switches, likewise.
    """

    def __init__(
        self,
        name: str,
        sticky: float,
        folder: Path,
        seed: int = 0,
        mode: int | None = None,
        difficulty: int | None = None,
    ):
        self.name, self.sticky = name, sticky
        self.mode, self.difficulty = mode, difficulty
        self.bare = rom.properties(name).players > 1
        self.game = games.load(name, mode=mode, difficulty=difficulty)
        path = Path(ale_py.__file__).parent / "roms" / f"{name}.bin"
        if self.bare:
            renamed = folder / name / f"{_BARE}.bin"
            renamed.parent.mkdir(exist_ok=True)
            path = Path(shutil.copy(path, renamed))
            self.game = dataclasses.replace(
                self.game, settings=games.load(_BARE).settings
            )
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setFloat("repeat_action_probability", sticky)
        self.ale.loadROM(path)
        self.rng = np.random.default_rng([seed, int(100 * sticky)])
        self.stream = np.random.RandomState(seed)
        self.superchip = self.game.rom.kind in ("F8SC", "F6SC")
        self.draws = random.draws(_WAKES, self.superchip)
        self.table = _inputs(name, 0)
        self.paddle_max = self.game.settings.paddle_max
        self.paddle = self.centre = (controls.PADDLE_MIN + self.paddle_max) // 2
        self.action = 0
        self.ram = np.zeros(256, np.uint8)
        self.frame = 0  # of play
        self.resets = 0
        self.log: list[tuple[np.ndarray, bool, bool]] = []  # RAM, start, scored
        self.outcomes: dict[int, tuple[int, int, int]] = {}  # by place in the log
        self.places: list[int] = []
        self.difference: Difference | None = None

    def pins(self, action: int, select: bool = False) -> tuple[int, ...]:
        """Inputs of one frame; turns the paddle."""
        code = 18 if action == RESET else action
        row = self.table[int(select)][code].copy()
        if self.game.rom.paddles:
            step = int(self.table[2][code][0])
            if not select:
                turned = self.paddle + step * controls.PADDLE_STEP
                low, high = controls.PADDLE_MIN, self.paddle_max
                self.paddle = min(max(turned, low), high)
            row[row == -1], row[row == -2] = self.paddle, self.centre
        return tuple(int(value) for value in row)

    def frames(self, count: int, action: int = 0, **how: Any) -> Iterator[Request]:
        """Emulates without the player."""
        for _ in range(count):
            yield Request(self.pins(action), **how)

    def act(self, action: int, **how: Any) -> Iterator[Request]:
        """One frame of an action, which may be repeated instead."""
        draws = self.stream.randint(0, 1 << 32, 2, dtype=np.uint32)
        if draws[0] / 2**32 >= self.sticky:
            self.action = action
        legal = self.action in self.game.settings.legal_actions
        yield Request(self.pins(self.action if legal else 0), **how)

    def soft_reset(self, **how: Any) -> Iterator[Request]:
        """RESET held for four frames."""
        yield from self.frames(3, RESET)
        yield Request(self.pins(RESET), **how)
        self.action = 0

    def select(self, step: Step) -> Iterator[Request]:
        """One step of the selection of a mode."""
        if isinstance(step, SoftReset):
            yield from self.soft_reset()
        elif isinstance(step, Move):
            yield from self.act(step.action)
        elif isinstance(step, Press):
            count = step.frames
            if step.jitter:
                draw = int(self.stream.randint(0, 1 << 32, dtype=np.uint32))
                count += draw % step.jitter
            for _ in range(count):
                yield Request(self.pins(0, select=True), scored=False)
            yield from self.frames(1)
        else:
            byte = None if isinstance(step, Until) else self.memory()(step.address)
            for _ in range(_SELECTS):
                memory = self.memory()
                if isinstance(step, Until):
                    if bool(step.test(memory)):
                        return
                elif int(memory(step.address)) != int(byte):  # type: ignore[arg-type]
                    return
                for inner in step.steps:
                    yield from self.select(inner)
            self.differ("selection", f"the mode is not there after {_SELECTS} tries")

    def memory(self) -> Memory:
        """The console's memory now."""
        return Memory(jnp.asarray(self.ram[:128]), jnp.asarray(self.ram[128:]))

    def reset(self, wake: int, loading: bool = False) -> Iterator[Request]:
        """ALE's reset of a game; what is compared is its last frame.

        Args:
          wake: which of the reference's resets it is.
          loading: it ends the loading of the ROM, before a mode has been set.
        """
        self.paddle = self.centre
        settings = self.game.settings
        mode = settings.modes[0] if loading else self.game.mode
        yield Request(self.pins(0), wake=wake)
        yield from self.frames(59)
        yield from self.soft_reset(start=True)
        if settings.selection and not self.bare:
            for step in settings.selection.script(mode):
                yield from self.select(step)
        last = (*(() if self.bare else settings.starting_actions),)
        yield from self.soft_reset(compare=not last)
        for i, action in enumerate(last):
            yield Request(self.pins(action), compare=i == len(last) - 1)

    def play(self, frames: int, episode: int) -> Iterator[Request]:
        """The whole run; a game that ends, or lasts `episode` frames, is reset."""
        still = consoles.neutral()
        if self.game.rom.paddles:
            still = still._replace(ohms0=jnp.int32(0), ohms1=jnp.int32(0))
        if self.game.rom.paddles == 2:
            still = still._replace(ohms2=jnp.int32(0), ohms3=jnp.int32(0))
        idle = tuple(int(value) for value in still)
        wake, since = 2, 0
        if self.name not in _NO_SEARCH:
            yield Request(idle, wake=1, probing=True)
            for _ in range(59):
                yield Request(idle, probing=True)
            # ALE ends its search with a reset, and then loads the game with another.
            wake = 3
        yield from self.reset(wake, loading=True)
        wake += 1
        if self.mode is not None:
            self.ale.setMode(self.mode)
        if self.difficulty is not None:
            self.ale.setDifficulty(self.difficulty)
            self.table = _inputs(self.name, self.difficulty)
        for _ in range(frames):
            if since == 0 or self.ale.game_over() or since >= episode:
                self.ale.reset_game()
                yield from self.reset(wake)
                wake, since = wake + 1, 0
                self.resets += 1
                if self.ale.game_over():
                    # ALE refuses to act, in the odd modes of Demon Attack for one.
                    self.outcomes[len(self.log) - 1] = self.signals(0)
                    return
            since += 1
            yield from self.random_act()

    def random_act(self) -> Iterator[Request]:
        """One frame of a random action, on both sides."""
        legal = self.game.settings.legal_actions
        action = int(legal[self.rng.integers(len(legal))])
        reward = self.ale.act(ale_py.Action(action))
        self.outcomes[len(self.log)] = self.signals(reward)
        self.frame += 1
        yield from self.act(action, compare=True)

    def signals(self, reward: int) -> tuple[int, int, int]:
        """Reward, lives and end, from ALE."""
        over = self.ale.game_over(with_truncation=False)
        return int(reward), self.ale.lives(), int(over)

    def differ(self, what: str, detail: str, frame: int | None = None) -> None:
        """Notes the first difference."""
        if self.difference is None:
            at = self.frame if frame is None else frame
            self.difference = Difference(at, what, detail)

    def seen(self, request: Request, ram: np.ndarray, screen: np.ndarray) -> None:
        """Takes note of our console after a frame, and compares it."""
        self.ram = ram
        if request.probing:
            return
        self.log.append((ram.copy(), request.start, request.scored))
        if not request.compare:
            return
        expected = self.ale.getRAM()
        if wrong := np.flatnonzero(expected != ram[:128]).tolist():
            at = wrong[0]
            self.differ("RAM", f"{len(wrong)} bytes, {0x80 + at:02X} first")
        picture = self.ale.getScreen()
        off = np.argwhere(picture != screen[: picture.shape[0]])
        if off.size:
            row, column = off[0]
            self.differ("screen", f"{len(off)} pixels, row {row} column {column} first")

    def check_signals(self) -> None:
        """Compares reward, lives and end, which the rules make of the RAM."""
        if self.bare or self.difference is not None or not self.log:
            return
        rams = np.stack([entry[0] for entry in self.log])
        starts, scored = (np.array([e[i] for e in self.log]) for i in (1, 2))
        found = np.stack(_score(self.game, rams, starts, scored), 1)
        for number, (place, expected) in enumerate(self.outcomes.items(), 1):
            if (got := tuple(found[place])) != expected:
                detail = f"(reward, lives, end) {expected} expected, {got} found"
                return self.differ("signals", detail, number)


@functools.cache
def _inputs(name: str, difficulty: int) -> np.ndarray:
    """Inputs by action and RESET, without and with SELECT; and the paddle's turn."""
    game = games.load(name)
    actions = jnp.array([*Action, RESET], jnp.int32)
    rows = [
        jax.vmap(
            lambda a, s=select: jnp.stack(
                controls.inputs(
                    game.rom,
                    a,
                    paddle=-1,
                    other_paddle=-2,
                    select=s,
                    difficulty=difficulty,
                )
            )
        )(actions)
        for select in (False, True)
    ]
    zero = jnp.int32(10 * controls.PADDLE_STEP)
    limit = 100 * controls.PADDLE_STEP
    turns = jax.vmap(lambda a: controls.turn(zero, a, limit) - zero)(actions)
    turns = turns // controls.PADDLE_STEP
    return np.stack([*rows, jnp.broadcast_to(turns[:, None], rows[0].shape)])


def _score(
    game: games.Game, rams: np.ndarray, starts: np.ndarray, scored: np.ndarray
) -> list[np.ndarray]:
    """Reward, lives and end after every frame."""

    @jax.jit
    def score(rams: Any, starts: Any, scored: Any) -> Any:
        first = game.rules.start(game.mode)

        def after(signals: Any, frame: tuple[Any, ...]) -> tuple[Any, Any]:
            ram, start, counts = frame
            new = game.rules.update(Memory(ram[:128], ram[128:]), signals)
            signals = jax.tree.map(
                lambda n, o: jnp.where(counts, n, o).astype(o.dtype), new, signals
            )
            signals = jax.tree.map(
                lambda n, o: jnp.where(start, n, o).astype(o.dtype), first, signals
            )
            return signals, (signals.reward, signals.lives, signals.terminal)

        return lax.scan(after, first, (rams, starts, scored))[1]

    return [np.asarray(x).astype(int) for x in score(rams, starts, scored)]
