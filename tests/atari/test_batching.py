"""Questions to the batch, against the same work done console by console."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari import batching


@pytest.mark.parametrize("flags", [[False, False], [False, True], [True, True]])
def test_anywhere_is_one_answer_for_all(flags: list[bool]) -> None:
    """Also for a batch of batches, and for one console."""
    lanes = jnp.array(flags)
    one = jax.vmap(batching.anywhere, out_axes=None)
    assert bool(one(lanes)) is any(flags)
    both = jnp.stack([lanes, ~lanes])
    assert bool(jax.vmap(one, out_axes=None)(both))
    assert bool(batching.anywhere(lanes[0])) is flags[0]


@pytest.mark.parametrize("flags", [[0, 0, 0], [0, 1, 0]])
def test_rare_work_is_done_when_it_occurs(flags: list[int]) -> None:
    """And is one turn of a loop, whose condition has no batch."""
    where, rows = jnp.array(flags, bool), jnp.arange(12.0).reshape(3, 4)

    def one(here: jax.Array, row: jax.Array) -> jax.Array:
        return batching.rarely(here, lambda r: jnp.where(here, -r, r), row)

    expected = np.where(np.array(flags, bool)[:, None], -rows, rows)
    np.testing.assert_array_equal(jax.vmap(one)(where, rows), expected)
    np.testing.assert_array_equal(one(where[1], rows[1]), expected[1])
    (loop,) = [
        equation
        for equation in jax.make_jaxpr(jax.vmap(one))(where, rows).eqns
        if equation.primitive.name == "while"
    ]
    assert loop.outvars[0].aval.shape == ()


@pytest.mark.parametrize("size", [1, 3, 40, 300])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_what_is_drawn_equals_a_select(size: int, share: float) -> None:
    """However many of the batch draw; with and without jit."""
    rng = np.random.default_rng(size)
    where = jnp.asarray(rng.random(size) < share)
    index = jnp.asarray(rng.integers(0, 5, size), jnp.int32)
    table = {"a": jnp.arange(5.0), "b": jnp.arange(10).reshape(5, 2)}
    tree = {"a": -jnp.ones(size), "b": -jnp.ones((size, 2), jnp.int32)}

    def one(here: jax.Array, i: jax.Array, old: dict) -> dict:
        return batching.draw(here, i, table, old)

    found = jax.vmap(one)(where, index, tree)
    jitted = jax.jit(jax.vmap(one))(where, index, tree)
    for name, entries in table.items():
        here = np.asarray(where).reshape(-1, *[1] * (entries.ndim - 1))
        expected = np.where(here, entries[index], tree[name])
        np.testing.assert_array_equal(found[name], expected)
        np.testing.assert_array_equal(jitted[name], expected)
    single = one(where[0], index[0], jax.tree.map(lambda leaf: leaf[0], tree))
    np.testing.assert_array_equal(single["b"], found["b"][0])


def test_tables_of_their_own_and_two_batches() -> None:
    """Every console has a table; a batch of batches shares one."""
    tables = jnp.arange(12).reshape(2, 3, 2)
    where, index = jnp.array([True, False]), jnp.array([2, 0])
    old = -jnp.ones((2, 2), jnp.int32)
    found = jax.vmap(batching.draw)(where, index, tables, old)
    np.testing.assert_array_equal(found, [[4, 5], [-1, -1]])
    twice = jax.vmap(jax.vmap(batching.draw, (0, 0, None, 0)), (0, 0, None, 0))
    pair = lambda leaf: jnp.stack([leaf, leaf[::-1]])  # noqa: E731
    found = twice(pair(where), pair(index), tables[0], pair(old))
    np.testing.assert_array_equal(found[0], [[4, 5], [-1, -1]])
    np.testing.assert_array_equal(found[1], [[-1, -1], [4, 5]])
