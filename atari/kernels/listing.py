"""Instructions listed by address, so that to fetch one is to look up a word."""

from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp

from atari import bus, cartridge, cpu as cpus, waiting
from atari.bits import Bool, Int
from atari.kernels.machine import Machine

_SIGNS = 24  # first bit of an instruction's portents in its word


def instructions(rom: jax.Array, alone: bool) -> jax.Array:
    """What begins at each byte of an image, for `fetch`.

    A word of its bytes and portents, int32[ROM_SIZE]; if consoles are alone followed by
    the words of its opcode, so that all look-ups are made at once. The caches of many
    consoles would rather hold other things.
    """
    byte = rom.astype(jnp.int32)
    words = cpus.look_up(cpus.decode_table(), byte)
    word = cpus.joined(words, byte, jnp.roll(byte, -1), jnp.roll(byte, -2))
    code = cpus.Code(words, word)
    signs = cpus.portents(code)
    some = (
        signs["jump"],
        signs["odd"],
        signs["tens"],
        waiting.leads_back(code, code.first),
    )
    for k, sign in enumerate(some):
        word |= jnp.where(sign, 1 << (_SIGNS + k), 0)
    return jnp.concatenate([word, *words]) if alone else word


def portents(word: Int, p: Int) -> dict[str, Bool]:
    """The rare work that an instruction may want.

    Args:
      word: the first of `instructions`.
      p: flags of the CPU.
    """
    signs = [((word >> (_SIGNS + k)) & 1) != 0 for k in range(4)]
    jump, odd, tens, polls = signs
    odd |= tens & ((p & cpus.DECIMAL) != 0)
    return {"jump": jump, "odd": odd, "waiting": polls}


def is_near(pc: Int) -> Bool:
    """Whether what is listed for a PC holds."""
    return ((pc & 0x1000) != 0) & ((pc & 0xFFF) < cartridge.SWITCHES)


def ask(machine: Machine, pc: Int, mapper: Any) -> Callable[[], Any]:
    """Asks for what is listed for a PC, which comes from far.

    As if it were in ROM: what is found for code elsewhere is not used.

    Returns:
      A function that gives the words, those of `instructions`; or None if nothing is
      listed.
    """
    if machine.code is None:
        return lambda: None
    at = cartridge.locate(machine.cart, mapper, pc | 0x1000) - cartridge.RAM_SIZE
    word, size = machine.code[at], cartridge.ROM_SIZE
    if machine.alone:
        words = word, machine.code[at + size], machine.code[at + 2 * size]
        return lambda: words
    return lambda: (word, *cpus.look_up(machine.table, word & 0xFF))


def fetch(machine: Machine, core: Any, listed: Any) -> tuple[cpus.Code, Any]:
    """`cpu.fetch`, from what is listed where no access switches banks."""
    cart, cpu, mapper = machine.cart, core.cpu, core.mapper

    def slowly() -> tuple[cpus.Code, Any]:
        read = bus.reader(cart, machine.memory)
        return cpus.fetch(cpu, machine.table, mapper, read, guard=machine.guard)

    if listed is None:
        return slowly()
    near = is_near(cpu.pc)
    quick = cpus.Code(listed[1:], listed[0]), mapper
    return machine.guard(
        ~near, lambda: bus.choose(near, quick, slowly()), quick, rare="far"
    )
