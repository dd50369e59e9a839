"""The timer's schedule, worked out from the 6532's data sheet, and the ports."""

import numpy as np
import pytest
from jax import numpy as jnp

from atari import riot

INTIM, TIMINT = 0x284, 0x285


def timer(value: int, register: int, at: int = 0) -> riot.Riot:
    """A RIOT whose timer was set."""
    always = jnp.bool_(True)
    fresh = riot.reset(jnp.int32(25))
    return riot.write(
        fresh, jnp.int32(register), jnp.int32(value), jnp.int32(at), always
    )


def read(chip: riot.Riot, address: int, cycles: int) -> tuple[int, riot.Riot]:
    """A read, with all joystick directions free and switches up."""
    ports = jnp.int32(0xFF), jnp.int32(0x3F)
    value, chip = riot.read(
        chip, jnp.int32(address), jnp.int32(cycles), *ports, jnp.bool_(True)
    )
    return int(value), chip


@pytest.mark.parametrize(
    ("register", "scale"), [(0x294, 1), (0x295, 8), (0x296, 64), (0x297, 1024)]
)
def test_prescalers(register: int, scale: int) -> None:
    """The value falls by one at once, then every 1, 8, 64 or 1,024 cycles."""
    chip = timer(40, register, at=100)
    for ticks in (0, 1, 5, 39):
        assert read(chip, INTIM, 101 + ticks * scale)[0] == 39 - ticks
        assert read(chip, INTIM, 100 + (ticks + 1) * scale)[0] == 39 - ticks


def test_underflow_counts_single_cycles() -> None:
    """Past zero the timer shows FF, FE, ... one a cycle until it is read."""
    chip = timer(2, 0x295)
    at_zero = 1 + 2 * 8
    assert read(chip, INTIM, at_zero)[0] == 0xFF
    assert read(chip, INTIM, at_zero + 5)[0] == 0xFA


def test_interrupt_flag() -> None:
    """TIMINT is up from underflow until INTIM is read."""
    chip = timer(2, 0x295)
    assert read(chip, TIMINT, 16)[0] == 0
    assert read(chip, TIMINT, 30)[0] == 0x80
    _, chip = read(chip, INTIM, 31)
    assert read(chip, TIMINT, 33)[0] == 0


def test_ports_and_direction() -> None:
    """SWCHA, SWCHB and the stored DDRA."""
    always = jnp.bool_(True)
    chip = riot.write(
        riot.reset(jnp.int32(25)),
        jnp.int32(0x281),
        jnp.int32(0xF0),
        jnp.int32(0),
        always,
    )
    assert [read(chip, address, 9)[0] for address in (0x280, 0x281, 0x282, 0x283)] == [
        0xFF,
        0xF0,
        0x3F,
        0,
    ]


def test_masked_accesses_change_nothing() -> None:
    """Lanes that do not take part keep their timer."""
    chip = timer(9, 0x294)
    never = jnp.bool_(False)
    after = riot.write(chip, jnp.int32(0x296), jnp.int32(1), jnp.int32(5), never)
    _, after = riot.read(
        after, jnp.int32(INTIM), jnp.int32(500), jnp.int32(0), jnp.int32(0), never
    )
    assert np.array_equal(chip, after)
