"""Packed registers against themselves unpacked."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari import cpu, riot, tia
from atari.kernels import packing

LAYOUTS = {
    "tia": packing.TIA,
    "beam": packing.BEAM,
    "cpu": packing.CPU,
    "inputs": packing.INPUTS,
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("salt", [0, 12345, -7])
def test_what_is_packed_comes_back(name: str, salt: int) -> None:
    """All values that the bits hold, under any salt, jitted or not."""
    layout = LAYOUTS[name]
    rng = np.random.default_rng(0)
    fields = {
        field: jnp.asarray(rng.integers(0, 1 << bits, 9) << shift, jnp.int32)
        for word in layout
        for field, bits, shift in word
    }

    def there_and_back(fields: dict, salt: jax.Array) -> dict:
        return packing.unpack(layout, packing.pack(layout, fields, salt), salt)

    for function in (there_and_back, jax.jit(there_and_back)):
        found = function(fields, jnp.int32(salt))
        assert set(found) == set(fields)
        for field, value in fields.items():
            np.testing.assert_array_equal(found[field], value, field)


@pytest.mark.parametrize("name", LAYOUTS)
def test_words_are_not_overfull(name: str) -> None:
    """No word has more than 32 bits and no field lies in two."""
    layout = LAYOUTS[name]
    assert all(sum(bits for _, bits, _ in word) <= 32 for word in layout)
    assert len(set(packing.names(layout))) == len(packing.names(layout))


def test_fields_are_registers() -> None:
    """The layouts name fields that there are."""
    assert set(packing.names(packing.TIA)) < set(tia.Tia._fields)
    assert set(packing.names(packing.BEAM)) < set(packing.names(packing.TIA))
    known = {*cpu.Cpu._fields, *riot.Riot._fields, "executed", "over", "vblank"}
    assert set(packing.names(packing.CPU)) < known
