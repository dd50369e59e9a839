"""Arithmetic of the 6502 that is undocumented or decimal."""

from jax import numpy as jnp

from atari.bits import Bool, Int, pick


def modify(kind: Int, value: Int, carry: Int) -> tuple[Int, Int]:
    """Shift, rotate or count; and the carry after."""
    results = [value, value << 1, value >> 1, (value << 1) | carry]
    results += [(value >> 1) | (carry << 7), value + 1, value - 1]
    left = (kind == 1) | (kind == 3)
    right = (kind == 2) | (kind == 4)
    carry = jnp.where(left, value >> 7, jnp.where(right, value & 1, carry))
    return pick(kind, results) & 0xFF, carry


def _decimal(value: Int) -> Int:
    return (value >> 4) * 10 + (value & 15)


def _digits(value: Int) -> Int:
    value = (value & 0xFF) % 100
    return ((value // 10) << 4) | (value % 10)


def add(left: Int, right: Int, carry: Int, minus: Bool, ten: Bool) -> tuple:
    """ADC and SBC, decimal where `ten`: result, carry, overflow."""
    other = jnp.where(minus, right ^ 0xFF, right)
    total = left + other + carry
    beyond = ((left ^ total) & (other ^ total) & 0x80) >> 7
    binary = (total & 0xFF, (total > 0xFF).astype(jnp.int32), beyond)
    borrow = 1 - carry
    tens = _decimal(left) + _decimal(right) + carry
    less = _decimal(left) - _decimal(right) - borrow
    less = jnp.where(less < 0, less + 100, less)
    digits = _digits(jnp.where(minus, less, tens))
    # Bytes that are no decimal digits can leave less than -100; the reference then
    # reads before its table of digits, where it keeps the table of `_decimal`.
    digits = jnp.where(minus & (less < 0), _decimal(less & 0xFF), digits)
    carried = jnp.where(minus, left >= right + borrow, tens > 99).astype(jnp.int32)
    beyond = ((left ^ digits) & (digits ^ right) & 0x80) >> 7
    decimal = (digits, carried, beyond)
    return tuple(jnp.where(ten, x, y) for x, y in zip(decimal, binary, strict=True))
