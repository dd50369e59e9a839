"""Branches that the lanes of a warp take together, and how they agree on them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import lax, numpy as jnp

from atari.bits import Bool, Int

_FIELD, _FIELDS = 6, 5  # bits in which 32 lanes are counted, and such fields in a word
_EVERY = (1 << _FIELD) - 1


def any_of(lanes: Bool) -> Bool:
    """Whether a flag holds in any lane, as one bool."""
    return jnp.where(lanes, 1, 0).max() > 0


def vote(flags: Sequence[Bool]) -> tuple[Int, ...]:
    """How many lanes have each flag, for `voted`: five flags a word, by one sum."""

    def word(some: Sequence[Bool]) -> Int:
        fields = [jnp.where(f, 1 << (_FIELD * k), 0) for k, f in enumerate(some)]
        return sum(fields[1:], fields[0]).sum()

    return tuple(word(flags[i : i + _FIELDS]) for i in range(0, len(flags), _FIELDS))


def count(votes: tuple[Int, ...], number: int) -> Int:
    """How many lanes have the flag of this number, if there are several flags."""
    return (votes[number // _FIELDS] >> (_FIELD * (number % _FIELDS))) & _EVERY


def voted(votes: tuple[Int, ...], number: int) -> Bool:
    """Whether any lane has the flag of this number, as one bool."""
    return (votes[number // _FIELDS] & (_EVERY << (_FIELD * (number % _FIELDS)))) != 0


@dataclasses.dataclass(frozen=True)
class Branches:
    """A `Guard`: branches around work that no lane wants."""

    every: bool  # such work, not only what is rare
    known: Mapping[str, Bool] = dataclasses.field(default_factory=dict)
    """Whether any lane wants rare work of a name, where that is known already."""

    def __call__(
        self,
        where: Bool,
        make: Callable[[], Any],
        otherwise: Any,
        /,
        rare: str = "",
    ) -> Any:
        """See `Guard`."""
        if not (self.every or rare):
            return make()

        def full(leaf: Any) -> jax.Array:
            if isinstance(leaf, bool):
                return jnp.full(where.shape, leaf, jnp.bool_)
            dtype = jnp.int32 if isinstance(leaf, int) else leaf.dtype
            return jnp.broadcast_to(jnp.asarray(leaf, dtype), where.shape)

        otherwise = jax.tree.map(full, otherwise)

        def made() -> Any:
            return jax.tree.map(
                lambda new, old: jnp.broadcast_to(new, old.shape).astype(old.dtype),
                make(),
                otherwise,
            )

        some = self.known[rare] if rare in self.known else any_of(where)
        return lax.cond(some, made, lambda: otherwise)

    def knowing(self, names: Sequence[str], votes: tuple[Int, ...]) -> "Branches":
        """With votes on some names, which begin with the second."""
        known = {name: voted(votes, 1 + k) for k, name in enumerate(names)}
        return dataclasses.replace(self, known=known)
