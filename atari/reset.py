"""Resets a game: runs its program frame by frame in one loop.

In one `while_loop` a reset costs the compilation of one emulated frame, and the members
of a batch may be at different places of the program.
"""

from typing import NamedTuple, TypeVar

import jax
from jax import lax, numpy as jnp

from atari import console as consoles, controls, game as games, noise as noises, random
from atari.game import Game, Play
from atari.mersenne import Twister
from atari.noise import Noise
from atari.program import ACT, CHANGED, SELECT, Program, Row, compiled

T = TypeVar("T")

FIRST_RESET = 4
"""Which draw of the reference's system stream the first `reset_game` uses."""

_KNOWN_WAKES = 1024  # draws of that stream that are tabulated
_MOST_GUARDS = 3  # that can be passed between two frames


class Progress(NamedTuple):
    """Where one console is in its reset."""

    play: Play
    noise: Noise
    wakes: jax.Array  # int32, resets so far
    row: jax.Array  # int32
    left: jax.Array  # int32, frames of the row
    byte: jax.Array  # int32, remembered for a guard
    idles: jax.Array  # int32, idle actions still to come
    then: jax.Array  # int32, row to go on with after the reset


def wake(
    game: Game, play: Play, noise: Noise, wakes: jax.Array
) -> tuple[Play, Noise, jax.Array]:
    """Resets the chips; the timer and a Superchip's RAM wake up with random values.

    Args:
      game: The game.
      play: Its state.
      noise: A key draws the values. The reference's stream of actions does not: ALE has
        a second one for this, with a fixed seed.
      wakes: int32, resets of this console so far.

    Returns:
      Play, noise and count after it.
    """
    superchip = game.rom.kind in ("F8SC", "F6SC")
    extra = None
    if isinstance(noise, Twister):
        known = random.draws(_KNOWN_WAKES, superchip)
        at = jnp.minimum(wakes, _KNOWN_WAKES - 1)
        timer = jnp.asarray(known.timer)[at].astype(jnp.int32)
        if superchip:
            extra = jnp.asarray(known.superchip)[at]
    else:
        key, timer_key, extra_key = jax.random.split(noise, 3)
        noise = key
        timer = jax.random.randint(timer_key, (), 25, 100, jnp.int32)
        if superchip:
            extra = jax.random.bits(extra_key, (128,), jnp.uint8)
    console = consoles.system_reset(game.cartridge, play.console, timer, extra)
    play = play._replace(
        console=console,
        paddle=controls.centre(game.settings.paddle_max),
        frames=jnp.int32(0),
    )
    return play, noise, wakes + 1


def run(
    game: Game,
    play: Play,
    noise: Noise,
    wakes: jax.Array,
    *,
    active: jax.Array | bool = True,
    repeat: float = 0.0,
    fire: bool = False,
    idles: jax.Array | int = 0,
    render: bool = True,
) -> tuple[Play, Noise, jax.Array]:
    """Resets a game and plays its first idle actions.

    Args:
      game: The game.
      play: Its state; memory is kept.
      noise: Source of randomness.
      wakes: int32, resets of this console so far.
      active: Nothing happens where this is False.
      repeat: Probability with which an action is repeated.
      fire: Whether FIRE is pressed after the reset.
      idles: int32, idle actions after that. Should the game end meanwhile, it is reset
        and they go on.
      render: Whether to draw the pictures.

    Returns:
      Play, noise and number of resets after it.
    """
    program = compiled(game.settings, game.mode)
    idles = jnp.asarray(idles, jnp.int32)
    woken = wake(game, play, noise, wakes)
    play, noise, wakes = _where(jnp.asarray(active), woken, (play, noise, wakes))
    first_row = program.row(jnp.int32(0))
    progress = Progress(
        play=play,
        noise=noise,
        wakes=wakes,
        row=jnp.where(active, 0, program.stop),
        left=jnp.asarray(first_row.frames),
        byte=jnp.int32(0),
        idles=idles,
        then=jnp.int32(program.fire) if fire else _idle_or_stop(program, idles),
    )

    def frame(progress: Progress) -> Progress:
        row = program.row(progress.row)
        progress = _emulate(game, row, progress, repeat, render)
        return _where(
            progress.left <= 0, _advance(game, program, row, progress), progress
        )

    progress = lax.while_loop(lambda p: p.row != program.stop, frame, progress)
    return progress.play, progress.noise, progress.wakes


def _emulate(
    game: Game, row: Row, progress: Progress, repeat: float, render: bool
) -> Progress:
    """One frame of a row."""
    play, noise = progress.play, progress.noise
    acts = jnp.asarray(row.kind == ACT)
    drawn, bits = noises.word(noise)
    if isinstance(drawn, Twister):
        drawn, _ = noises.word(drawn)  # the other player's
    noise = _where(acts, drawn, noise)
    chooses = acts & ~noises.happens(bits, repeat)
    play = play._replace(action=jnp.where(chooses, row.action, play.action))
    action = jnp.where(acts, games.legal(game, play.action), row.action)
    refused = acts & play.signals.terminal
    emulated = games.emulate(
        game, play, action, select=row.kind == SELECT, render=render
    )
    play = _where(refused, play, emulated)
    counts = jnp.where(acts, ~refused, jnp.asarray(row.counts) != 0)
    play = play._replace(frames=play.frames + counts)
    return progress._replace(play=play, noise=noise, left=progress.left - 1)


def _advance(game: Game, program: Program, row: Row, progress: Progress) -> Progress:
    """The end of a row: its effects, and the row that follows."""
    play = progress.play
    start = game.rules.start(game.mode)
    play = play._replace(
        signals=_where(jnp.asarray(row.clears) != 0, start, play.signals),
        action=jnp.where(jnp.asarray(row.calms) != 0, 0, play.action),
    )
    following, byte = _pass_guards(program, row, progress)
    # Behind the end come FIRE, once, and idle actions, each of which may end the game.
    idles = progress.idles - (progress.row == program.idle)
    idle = _idle_or_stop(program, idles)
    after = progress.row >= program.end
    then = jnp.where(after, idle, progress.then)
    following = jnp.where(after, idle, following)
    following = jnp.where(following == program.end, then, following)
    ended = (progress.row == program.idle) & play.signals.terminal
    woken = wake(game, play, progress.noise, progress.wakes)
    play, noise, wakes = _where(ended, woken, (play, progress.noise, progress.wakes))
    following = jnp.where(ended, 0, following)

    following_row = program.row(following)
    lengths = jnp.asarray(following_row.jitter)
    drawn, bits = noises.word(noise)
    noise = _where(lengths > 0, drawn, noise)
    longer = bits % jnp.maximum(lengths, 1).astype(jnp.uint32)
    return Progress(
        play=play,
        noise=noise,
        wakes=wakes,
        row=following,
        left=following_row.frames + longer.astype(jnp.int32),
        byte=byte,
        idles=idles,
        then=then,
    )


def _pass_guards(
    program: Program, row: Row, progress: Progress
) -> tuple[jax.Array, jax.Array]:
    """The row that follows by the guards, and the byte remembered."""
    memory = games.memory(progress.play)
    holds = [test(memory) for test in program.tests]
    came_from, byte = progress.row, progress.byte
    following = jnp.asarray(row.following)
    for _ in range(_MOST_GUARDS):
        guard = program.row(following)
        watched = memory.between(0x80, 0xFF)[jnp.asarray(guard.watched) & 0x7F]
        first = (guard.test == CHANGED) & (came_from < following)
        byte = jnp.where(first, watched, byte)
        passed = watched != byte
        for number, holding in enumerate(holds):
            passed = jnp.where(guard.test == number, holding, passed)
        leaves = (jnp.asarray(guard.guarded) != 0) & passed
        came_from = jnp.where(leaves, following, came_from)
        following = jnp.where(leaves, guard.leave, following)
    return following, byte


def _idle_or_stop(program: Program, idles: jax.Array) -> jax.Array:
    return jnp.where(idles > 0, program.idle, program.stop)


def _where(condition: jax.Array, new: T, old: T) -> T:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
