"""Small integer functions shared by the chips; all are elementwise."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import jax
from jax import lax, numpy as jnp

Int: TypeAlias = jax.Array  # int32, a scalar or one entry a console
Word: TypeAlias = jax.Array  # uint32
Bool: TypeAlias = jax.Array
Tree = TypeVar("Tree")


class Settle(Protocol):
    """The identity, as a hint that its argument is worth storing.

    What follows uses the values more than once; without the hint a compiler may compute
    them again for each use.
    """

    def __call__(self, tree: Tree, /) -> Tree:
        """The tree itself."""


def unsettled(tree: Tree, /) -> Tree:
    """No hint."""
    return tree


class Guard(Protocol):
    """Work that some consoles want, and that may be left out where none does."""

    def __call__(
        self,
        where: Bool,
        make: Callable[[], Any],
        otherwise: Any,
        /,
        rare: str = "",
    ) -> Any:
        """`make()`, or `otherwise` if `where` holds nowhere.

        A console that does not want the work may get either, so it must not look.
        Work with a name is rare: seldom wanted by any of 32 consoles.
        """


def always(
    where: Bool, make: Callable[[], Any], otherwise: Any, /, rare: str = ""
) -> Any:
    """The work is done at any rate."""
    del where, otherwise, rare
    return make()


def typed(new: Tree, old: Tree) -> Tree:
    """The new values in the types of the old, as a loop's carry needs them."""
    return jax.tree.map(lambda a, b: a.astype(b.dtype), new, old)


def pick(index: jax.Array, values: Sequence[int | jax.Array]) -> jax.Array:
    """`values[index]` for a handful of values, as selects; the last one by default."""
    chosen = jnp.asarray(values[-1], jnp.int32)
    for i in reversed(range(len(values) - 1)):
        chosen = jnp.where(index == i, values[i], chosen)
    return chosen


def quotient(number: jax.Array, by: int) -> jax.Array:
    """`number // by` where neither is negative, which a compiler cannot know."""
    return lax.div(number, jnp.full_like(number, by))


def remainder(number: jax.Array, by: int) -> jax.Array:
    """`number % by` where neither is negative."""
    return lax.rem(number, jnp.full_like(number, by))


def reverse8(byte: jax.Array) -> jax.Array:
    """The eight low bits in reverse order."""
    byte = ((byte & 0x0F) << 4) | ((byte >> 4) & 0x0F)
    byte = ((byte & 0x33) << 2) | ((byte >> 2) & 0x33)
    return ((byte & 0x55) << 1) | ((byte >> 1) & 0x55)


def spread2(byte: jax.Array) -> jax.Array:
    """Eight bits to sixteen, each twice as wide; uint32."""
    word = (byte | (byte << 4)) & 0x0F0F
    word = (word | (word << 2)) & 0x3333
    word = (word | (word << 1)) & 0x5555
    return word * 3


def spread4(byte: jax.Array) -> jax.Array:
    """Eight bits to thirty-two, each four times as wide; uint32."""
    word = (byte | (byte << 12)) & 0x000F000F
    word = (word | (word << 6)) & 0x03030303
    word = (word | (word << 3)) & 0x11111111
    return word * 15
