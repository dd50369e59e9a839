"""Cartridges side by side in one program and in ale-py, compared after every frame."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import ale_py
import jax
import numpy as np
from jax import numpy as jnp

from atari import cartridge, console, random
from atari.tia import NEVER

# Lends its name, and so rules without mode selection, to unknown images.
_NAME = "boxing"


@dataclasses.dataclass
class Record:
    """What happened to one cartridge.

    Attributes:
      frames: how many were compared.
      wrong: frame, bytes of RAM and pixels that differ, of the first frame that does.
      screens: our pictures, uint8[T, H, 160].
      partial: whether each frame was cut short, bool[T].
      lines: scan lines of each frame, int[T].
      stars: whether the Cosmic Ark effect was on at a frame's end, bool[T].
    """

    frames: int
    wrong: tuple[int, list[int], int] | None
    screens: np.ndarray
    partial: np.ndarray
    lines: np.ndarray
    stars: np.ndarray


@functools.cache
def _programs() -> tuple[Callable, Callable]:
    lanes = jax.vmap
    return (
        jax.jit(lanes(console.run_frame)),
        jax.jit(lanes(console.system_reset, (0, 0, None))),
    )


def play(
    images: Sequence[bytes], folder: Path, actions: Sequence[int], pal: Sequence[int]
) -> list[Record]:
    """Loads all images in ale-py and here, then plays the same actions.

    Args:
      images: of 2 or 4 KB.
      folder: where ale-py finds them.
      actions: an `Action` a frame, for all.
      pal: which images are PAL games.
    """
    ales, carts = [], []
    for i, image in enumerate(images):
        path = folder / str(i) / f"{_NAME}.bin"
        path.parent.mkdir()
        path.write_bytes(image)
        ale = ale_py.ALEInterface()
        ale.setFloat("repeat_action_probability", 0.0)
        ale.loadROM(path)
        ales.append(ale)
        lines = 250 if i in pal else 210
        carts.append(cartridge.load(image, lines=lines, pal=i in pal))
    cart = jax.tree.map(lambda *leaves: jnp.stack(leaves), *carts)
    probed = cart._replace(pal=cart.pal * 0, lines=cart.lines * 0 + 210)
    run_frame, reset = _programs()
    power_on = functools.partial(console.power_on, height=250)
    state = jax.vmap(power_on)(cart)
    timers = [jnp.int32(int(value)) for value in random.draws(4).timer]

    def inputs(action: str) -> console.Inputs:
        pressed = sum(
            bit
            for word, bit in (("UP", 16), ("DOWN", 32), ("LEFT", 64), ("RIGHT", 128))
            if word in action
        )
        switches = 0x3E if action == "RESET" else 0x3F
        fields = (255 - pressed, switches, int("FIRE" in action), 0, *[NEVER] * 4)
        return console.Inputs(
            *[jnp.full(len(images), value, jnp.int32) for value in fields]
        )

    def go(cart: cartridge.Cartridge, action: str, count: int) -> None:
        nonlocal state
        for _ in range(count):
            state = run_frame(cart, state, inputs(action))

    # ALE finds out the television standard, resets, and loads the game.
    state = reset(cart, state, timers[1])
    go(probed, "NOOP", 60)
    state = reset(cart, reset(cart, state, timers[2]), timers[3])
    go(cart, "NOOP", 60)
    go(cart, "RESET", 8)

    wrong: list[tuple[int, list[int], int] | None] = [None] * len(images)
    frames = [0] * len(images)
    seen = []
    over = [False] * len(images)
    for number in range(len(actions) + 1):
        screens = np.asarray(jax.vmap(console.screen)(state))
        rams = np.asarray(jax.vmap(console.ram)(state))
        facts = (state.partial, state.core.tia.lines, state.core.tia.star)
        seen.append((screens, *(np.asarray(fact) for fact in facts)))
        for i, ale in enumerate(ales):
            if over[i]:
                continue
            frames[i] = number + 1
            different = np.flatnonzero(ale.getRAM() != rams[i])
            picture = ale.getScreen()
            pixels = int((picture != screens[i, : len(picture)]).sum())
            if wrong[i] is None and (different.size or pixels):
                wrong[i] = (number, (different + 0x80).tolist(), pixels)
        if number == len(actions):
            break
        action = ale_py.Action(actions[number])
        # ALE does nothing any more when its rules say that the game is over.
        over = [done or ale.game_over() for done, ale in zip(over, ales, strict=True)]
        for i, ale in enumerate(ales):
            if not over[i]:
                ale.act(action)
        go(cart, action.name, 1)
    columns = [np.stack(column, 1) for column in zip(*seen, strict=True)]
    return [
        Record(frames[i], wrong[i], *(column[i] for column in columns))
        for i in range(len(images))
    ]
