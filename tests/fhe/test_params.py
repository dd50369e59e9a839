"""Named sets and the checks on sizes."""

import dataclasses

import pytest

from fhe import params
from fhe.gadget import Gadget


@pytest.mark.parametrize("name", sorted(params.NAMED))
def test_named(name):
    assert params.named(name).name == name


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'R65' is not one of R64"):
        params.named("R65")


@pytest.mark.parametrize(
    "change",
    [
        {"polynomial_size": 500},
        {"polynomial_size": 2},
        {"lwe_dimension": 0},
        {"glwe_sigma": 0.5},
        {"lwe_sigma": -1.0},
        {"glwe_key": "gaussian"},
        {"order": "pbs"},
        {"mask_gadget": Gadget(4, 8)},
        {"unrolled": 0},
        {"unrolled": 4},
    ],
)
def test_impossible_sizes_are_refused(change):
    with pytest.raises(ValueError, match=r"must|needs|asks"):
        dataclasses.replace(params.R64, **change)


@pytest.mark.parametrize(("order", "dimension"), [("ks-pbs", 1024), ("pbs-ks", 618)])
def test_ciphertexts_live_under_the_key_of_the_order(order, dimension):
    sizes = dataclasses.replace(params.R64, order=order)
    assert sizes.ciphertext_dimension == dimension
    assert sizes.rows == 6
