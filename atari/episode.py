"""An episode of a game: what `reset` and `step` of an environment do.

All functions are for one environment. A step emulates the frames of one action and
makes an observation of the last two; a reset starts the next episode.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax, numpy as jnp

from atari import (
    batching,
    console as consoles,
    game as games,
    mersenne,
    noise as noises,
    observe,
    random,
    reset as resets,
)
from atari.actions import Action
from atari.game import Game, Play
from atari.mersenne import Twister
from atari.noise import Noise
from atari.presets import Config
from atari.program import ACT, compiled

_NEVER = np.iinfo(np.int32).max


class State(NamedTuple):
    """One environment. Copy the pytree to clone it; edit RAM in `play.console.ram`."""

    play: Play
    picture: jax.Array  # uint8[H, 160] or [H, 160, 3]: the last two frames, pooled
    cut: jax.Array | None  # like it: the last frame but one, if the last drew over it
    stack: jax.Array  # uint8[S, ...]: observations, oldest first
    elapsed: jax.Array  # int32, frames of this episode that count to its end
    lives: jax.Array  # int32, at the end of the last step
    over: jax.Array  # bool, the game has ended or was truncated: reset it
    wakes: jax.Array  # int32, resets of this console
    streams: tuple[Twister, Twister] | None  # rng="ale": of actions, of idle actions


class Info(NamedTuple):
    """What is not for the agent's eyes."""

    lives: jax.Array  # int32
    frames: jax.Array  # int32, of this episode
    score: jax.Array  # float32, unclipped reward of the step
    # Before the reset that this step has made; None where steps make none.
    final_observation: jax.Array | None = None


class TimeStep(NamedTuple):
    """What `reset` and `step` give.

    Attributes:
      observation: uint8[stack, height, width], with a last axis of 3 for "rgb", or
        uint8[stack, 128] for "ram"; no first axis if `stack` is None.
      reward: float32.
      terminated: bool.
      truncated: bool.
      info: `Info`.
    """

    observation: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    info: Info


def picture_shape(game: Game, config: Config) -> tuple[int, ...]:
    """Shape of one observation, before stacking."""
    if config.observation == "ram":
        return (128,)
    size = config.size or (game.rom.height, consoles.WIDTH)
    return size if config.observation == "grey" else (*size, 3)


def _view(game: Game, config: Config, play: Play) -> jax.Array:
    """What one frame shows, before pooling and resizing."""
    if config.observation == "ram":
        return consoles.ram(play.console)
    return _coloured(game, config, consoles.screen(play.console))


def _coloured(game: Game, config: Config, screen: jax.Array) -> jax.Array:
    convert = observe.grey if config.observation == "grey" else observe.rgb
    return convert(screen, game.rom.pal)


def _resized(config: Config, picture: jax.Array) -> jax.Array:
    """The observation of a picture."""
    if config.size is None or config.observation == "ram":
        return picture
    return observe.resize(picture, config.size)


def _pools(config: Config) -> bool:
    return config.max_pool and config.frame_skip > 1 and config.observation != "ram"


def shown(config: Config, stack: jax.Array) -> jax.Array:
    """The observation that is made of a stack."""
    return stack[0] if config.stack is None else stack


def _info(state: State, score: jax.Array) -> Info:
    return Info(state.lives, state.elapsed, score.astype(jnp.float32))


@functools.cache
def _probed(game: Game) -> consoles.State:
    """The console as ALE leaves it after its search for the television standard."""
    known = random.draws(3)
    cart = game.cartridge._replace(pal=jnp.int32(0), lines=jnp.int32(210))
    console = consoles.power_on(cart, game.rom.height)

    def probe(console: consoles.State) -> consoles.State:
        still = consoles.neutral()
        if game.rom.paddles:  # paddles that nothing has set yet
            zero = jnp.int32(0)
            still = still._replace(ohms0=zero, ohms1=zero)
        console = consoles.system_reset(cart, console, jnp.int32(int(known.timer[1])))
        console = lax.fori_loop(
            0, 60, lambda _, c: consoles.run_frame(cart, c, still, False), console
        )
        return consoles.system_reset(cart, console, jnp.int32(int(known.timer[2])))

    with jax.ensure_compile_time_eval():
        return jax.jit(probe)(console)


def reset(game: Game, config: Config, key: jax.Array) -> tuple[State, TimeStep]:
    """A console switched on, the game loaded and reset."""
    console = consoles.power_on(game.cartridge, game.rom.height)
    if game.rom.history:
        console = _probed(game)
    play = games.insert(game, console)
    wakes = jnp.int32(resets.FIRST_RESET)
    streams = None
    if config.rng == "ale":
        streams = (mersenne.seed(key), mersenne.seed(key))
    view = _view(game, config, play)
    shape = (config.stack or 1, *picture_shape(game, config))
    state = State(
        play=play,
        picture=jnp.zeros(view.shape, jnp.uint8),
        cut=jnp.zeros(view.shape, jnp.uint8) if _pools(config) else None,
        stack=jnp.zeros(shape, jnp.uint8),
        elapsed=jnp.int32(0),
        lives=jnp.int32(0),
        over=jnp.bool_(True),
        wakes=wakes,
        streams=streams,
    )
    if game.rom.history or (streams and _draws_in_reset(game)):
        state = _load(game, config, state)
    return restart(game, config, key, state, True)


def _draws_in_reset(game: Game) -> bool:
    """Whether the selection of the mode draws random numbers."""
    program = compiled(game.settings, game.mode)
    return bool((program.table[0, : program.end] == ACT).any())


def _load(game: Game, config: Config, state: State) -> State:
    """The reset with which ALE ends the loading of a ROM, before any mode is set."""
    game = dataclasses.replace(game, mode=game.settings.modes[0], difficulty=0)
    noise: Noise = jax.random.key(0) if state.streams is None else state.streams[0]
    play, noise, wakes = resets.run(
        game,
        state.play,
        noise,
        state.wakes - 1,
        repeat=config.repeat_action_probability,
        render=False,
    )
    streams = state.streams
    if streams is not None and isinstance(noise, Twister):
        streams = (noise, streams[1])
    return state._replace(play=play, wakes=wakes, streams=streams)


def restart(
    game: Game,
    config: Config,
    key: jax.Array,
    state: State,
    where: jax.Array | bool,
) -> tuple[State, TimeStep]:
    """Resets a game, if `where`, from the state it is in."""
    fire = config.fire_reset and Action.FIRE.value in (
        game.settings.legal_actions
        if config.full_actions
        else game.settings.minimal_actions
    )
    noise: Noise
    streams = state.streams
    noops = jnp.int32(0)
    if streams is None:
        noise, draw = jax.random.split(key)
        if config.noop_max:
            noops = jax.random.randint(draw, (), 0, config.noop_max, jnp.int32)
    else:
        noise, idle = streams
        if config.noop_max:
            drawn, noops = mersenne.below(idle, config.noop_max)
            idle = _where(where, drawn, idle)
    play, noise, wakes = resets.run(
        game,
        state.play,
        noise,
        state.wakes,
        active=where,
        repeat=config.repeat_action_probability,
        fire=fire,
        idles=noops - int(fire),
    )
    if streams is not None and isinstance(noise, Twister):
        streams = (noise, idle)
    picture = _view(game, config, play)
    observation = _resized(config, picture)
    stack = jnp.zeros_like(state.stack).at[-1].set(observation)
    if config.fill_stack:
        stack = jnp.broadcast_to(observation, state.stack.shape)
    started = State(
        play=play,
        picture=picture,
        cut=state.cut,
        stack=stack,
        elapsed=play.frames if config.count_selection else jnp.int32(0),
        lives=play.signals.lives,
        over=play.signals.terminal,
        wakes=wakes,
        streams=streams,
    )
    state = _where(jnp.asarray(where), started, state)
    no = jnp.bool_(False)
    zero = jnp.float32(0)
    observation = shown(config, state.stack)
    return state, TimeStep(observation, zero, no, no, _info(state, zero))


class _Frame(NamedTuple):
    """The carry of a step's loop over frames."""

    play: Play
    noise: Noise
    cut: jax.Array | None
    has_cut: jax.Array  # bool, whether the last but one is there
    sees: tuple[jax.Array, jax.Array]  # bool, whether the last two are to be looked at
    older: jax.Array  # int32, which screen holds the last but one
    elapsed: jax.Array
    reward: jax.Array  # int32
    lost: jax.Array  # bool, fewer lives than at the last step, but some
    ends: jax.Array  # bool, nothing more happens in this step


def step(
    game: Game,
    config: Config,
    codes: tuple[int, ...],
    key: jax.Array,
    state: State,
    action: jax.Array,
) -> tuple[State, TimeStep]:
    """One step: some frames of an action, the index of one of the `codes`."""
    limit = config.max_frames or _NEVER
    wanted = jnp.array(codes, jnp.int32)[action]
    last = config.frame_skip - 1

    def frame(carry: _Frame, i: jax.Array) -> tuple[_Frame, None]:
        active = ~carry.ends
        drawn, bits = noises.word(carry.noise)
        if isinstance(drawn, Twister):
            drawn, _ = noises.word(drawn)  # the other player's
        repeated = noises.happens(bits, config.repeat_action_probability)
        chosen = jnp.where(repeated, carry.play.action, wanted)
        acting = carry.play._replace(action=chosen)
        play = games.emulate(game, acting, games.legal(game, chosen), active=active)
        play = play._replace(frames=play.frames + 1)
        if config.stop_drawing:
            drawn = _where(active, drawn, carry.noise)
            acting = acting._replace(
                action=jnp.where(active, chosen, carry.play.action)
            )
        play = _played(active, play, acting)
        signals = play.signals
        elapsed = carry.elapsed + active
        lost = (signals.lives < state.lives) & (signals.lives > 0)
        ends = signals.terminal | (elapsed >= limit)
        if config.episodic_life:
            ends |= lost

        # A game that has ended stands still, on its last picture.
        sees = active & ~ends if config.stale_end else ~state.over
        kept, has_cut, older, saw = carry.cut, carry.has_cut, carry.older, carry.sees[1]
        if kept is not None:
            at = i == last - 1
            # The picture stays where it is, unless the frame was cut short: then the
            # next one goes on drawing on it.
            cut = at & sees & (play.console.partial != 0)
            kept = batching.rarely(
                cut,
                lambda old: jnp.where(cut, _view(game, config, play), old),
                kept,
            )
            has_cut |= cut
            older = jnp.where(at, play.console.front, older)
            saw = jnp.where(at, sees & ~cut, saw)
        reward = carry.reward + jnp.where(active, signals.reward, 0)
        lost = jnp.where(active, lost, carry.lost)
        ends |= carry.ends
        looks = (kept, has_cut, (sees, saw), older)
        return _Frame(play, drawn, *looks, elapsed, reward, lost, ends), None

    noise: Noise = key if state.streams is None else state.streams[0]
    zero, no = jnp.int32(0), jnp.bool_(False)
    looks = (state.cut, no, (no, no), zero)
    carry = _Frame(state.play, noise, *looks, state.elapsed, zero, no, state.over)
    carry, _ = lax.scan(frame, carry, jnp.arange(config.frame_skip))
    signals = carry.play.signals
    ended = signals.terminal & ~state.over
    lost = carry.lost & (config.episodic_life or config.life_loss_info)
    terminated = ended | lost
    truncated = (carry.elapsed >= limit) & ~terminated & ~state.over
    over = signals.terminal | (carry.elapsed >= limit)
    if config.episodic_life and config.reset_on_life_loss:
        over |= lost
    picture = _look(game, config, carry, state.picture)
    stack = _push(state.stack, _resized(config, picture))
    streams = state.streams
    if streams is not None and isinstance(carry.noise, Twister):
        streams = (carry.noise, streams[1])
    new = State(
        play=carry.play,
        picture=picture,
        cut=carry.cut,
        stack=stack,
        elapsed=carry.elapsed,
        lives=signals.lives,
        over=over,
        wakes=state.wakes,
        streams=streams,
    )
    play = _played(~state.over, new.play, state.play)
    # The picture of a finished game has not changed.
    still: dict[str, Any] = {"play": play, "picture": picture, "cut": carry.cut}
    nothing: Any = None
    without = dict.fromkeys(still, nothing)
    old, new = (s._replace(**without) for s in (state, new))
    new = _where(state.over, old, new)._replace(**still)
    score = carry.reward.astype(jnp.float32)
    reward = jnp.clip(score, -1, 1) if config.clip_rewards else score
    observation = shown(config, new.stack)
    return new, TimeStep(observation, reward, terminated, truncated, _info(new, score))


def _look(game: Game, config: Config, carry: _Frame, before: jax.Array) -> jax.Array:
    """What the last two frames show, pooled; what `before` did if they are not seen."""
    saw, saw_older = carry.sees
    if config.observation == "ram":
        return jnp.where(saw, _view(game, config, carry.play), before)
    console = carry.play.console
    picture = jnp.where(saw, jnp.uint8(0), before)
    views = _coloured(game, config, consoles.pixels(console.screens))
    for k in range(2):
        sees = ((console.front == k) & saw) | ((carry.older == k) & saw_older)
        picture = jnp.maximum(picture, jnp.where(sees, views[k], jnp.uint8(0)))
    cut = carry.cut
    if cut is None:
        return picture
    return batching.rarely(
        carry.has_cut,
        lambda seen: jnp.where(carry.has_cut, jnp.maximum(seen, cut), seen),
        picture,
    )


def _push(stack: jax.Array, picture: jax.Array) -> jax.Array:
    """The stack without its oldest picture, and with a new one; elementwise."""
    shift = [(-1, 1, 0)] + [(0, 0, 0)] * picture.ndim
    older = lax.pad(stack, jnp.uint8(0), shift)
    last = np.arange(stack.shape[0]).reshape(-1, *[1] * picture.ndim)
    return jnp.where(last == stack.shape[0] - 1, picture, older)


def _played(active: jax.Array, new: Play, old: Play) -> Play:
    """The new play where active; otherwise the console has stood still by itself."""
    nothing: Any = None
    rest = [play._replace(console=nothing) for play in (new, old)]
    return _where(active, *rest)._replace(console=new.console)


def _where(condition: jax.Array | bool, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
