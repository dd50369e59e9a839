"""What one console may ask about its batch, so that rare work is done when it occurs.

Functions here are for one console, and say the same without `vmap`; their rules for
`vmap` look at the whole batch.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import lax, numpy as jnp

Tree = TypeVar("Tree")

_SMALL = 256  # numbers a console


def lead(tree: Any, batched: Any, size: int) -> Any:
    """Every leaf with the batch axis in front, for a rule of `custom_vmap`.

    Args:
      tree: a pytree.
      batched: whether each leaf has the axis already.
      size: of the batch.
    """
    return jax.tree.map(
        lambda leaf, has: (
            leaf if has else jnp.broadcast_to(leaf, (size, *jnp.shape(leaf)))
        ),
        tree,
        batched,
    )


@jax.custom_batching.custom_vmap
def anywhere(flag: jax.Array) -> jax.Array:
    """Whether a flag, bool[], holds for any console; under `vmap` one bool for all.

    Example:
      >>> jax.vmap(anywhere, out_axes=None)(jnp.array([False, True]))
      Array(True, dtype=bool)
    """
    return flag


@anywhere.def_vmap
def _(size: int, has: list[bool], flag: jax.Array) -> tuple[jax.Array, bool]:
    del size
    return anywhere(flag.any(0) if has[0] else flag), False


def rarely(where: jax.Array, change: Callable[[Tree], Tree], tree: Tree) -> Tree:
    """`change(tree)` if `where` holds for any console of the batch, else the tree.

    A loop of at most one turn: unlike the branches of a conditional it can change large
    arrays in place. `change` itself must leave the other consoles' part as it is.
    """
    _, tree = lax.while_loop(
        lambda carry: carry[0],
        lambda carry: (jnp.bool_(False), change(carry[1])),
        (anywhere(where), tree),
    )
    return tree


@jax.custom_batching.custom_vmap
def draw(where: jax.Array, index: jax.Array, table: Tree, tree: Tree) -> Tree:
    """Entry `index` of a table, if `where`, else the tree.

    Args:
      where: bool[].
      index: int32[].
      table: a pytree with one more leading axis; the same for all consoles.
      tree: what the others keep.

    Returns:
      The pytree. Under `vmap` only what is drawn of its large leaves is moved.
    """
    return _select(where, index, table, tree)


@draw.def_vmap
def _(
    size: int, has: list, where: jax.Array, index: jax.Array, table: Any, tree: Any
) -> tuple[Any, Any]:
    everywhere = jax.tree.map(lambda _: True, tree)
    if any(jax.tree.leaves(has[2])):  # a table each: nothing is shared
        args = (where, index, table, tree)
        every = [lead(*pair, size) for pair in zip(args, has, strict=True)]
        return jax.vmap(_select)(*every), everywhere
    where, index, tree = (
        lead(leaf, axes, size)
        for leaf, axes in ((where, has[0]), (index, has[1]), (tree, has[3]))
    )
    few = min(size, max(16, size // 64))
    tables, (leaves, structure) = jax.tree.leaves(table), jax.tree.flatten(tree)
    # Small leaves are many, and each would be a kernel of its own.
    large = [k for k, leaf in enumerate(leaves) if leaf.size > _SMALL * size]
    small = [k for k, leaf in enumerate(leaves) if leaf.size <= _SMALL * size]
    select = jax.vmap(_select, (0, 0, None, 0))
    chosen = select(where, index, *([x[k] for k in small] for x in (tables, leaves)))

    def move(carry: tuple[jax.Array, list]) -> tuple[jax.Array, list]:
        left, moved = carry
        (rows,) = jnp.nonzero(left, size=few, fill_value=size)
        drawn = index.at[rows].get(mode="clip")
        moved = [
            old.at[rows].set(tables[k][drawn], mode="drop")
            for k, old in zip(large, moved, strict=True)
        ]
        return left.at[rows].set(False, mode="drop"), moved

    moved = [leaves[k] for k in large]
    _, moved = lax.while_loop(lambda carry: carry[0].any(), move, (where, moved))
    for places, found in ((small, chosen), (large, moved)):
        for k, leaf in zip(places, found, strict=True):
            leaves[k] = leaf
    return jax.tree.unflatten(structure, leaves), everywhere


def _select(where: jax.Array, index: jax.Array, table: Any, tree: Any) -> Any:
    return jax.tree.map(lambda t, old: jnp.where(where, t[index], old), table, tree)
