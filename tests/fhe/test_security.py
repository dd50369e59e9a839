"""Security estimates: the pinned table and the rule beside it."""

import math

import pytest

from fhe import params, security

# Of lattice-estimator, 2026-06-06: the weaker of the two keys.
ESTIMATED = {
    "R64": 128.5,
    "R64-256": 128.5,
    "R64x": 128.4,
    "R128": 128.3,
    "TFHE-lib": 118.3,
    "TFHE-rs": 132.0,
    "TFHE-rs-ks": 132.1,
    "nuFHE": 94.0,
}


@pytest.mark.parametrize(("name", "bits"), ESTIMATED.items())
def test_named_sets_have_the_pinned_estimate(name, bits):
    assert security.estimate(params.named(name)).bits == bits


def test_toy_is_worthless():
    assert security.estimate(params.TOY).bits < 20


@pytest.mark.parametrize("row", security.PINNED, ids=str)
def test_the_rule_is_near_every_pinned_row_and_not_above(row):
    dimension, log_sigma, secret = row
    # A shift of sigma by a hundredth misses the table but moves no bit.
    rule = security.estimate_lwe(dimension, 2.0 ** (log_sigma - 0.01), secret)
    bits = security.PINNED[row]
    assert bits - (7 if secret == "ternary" else 3) < rule < bits + 0.3


def test_more_noise_and_longer_secrets_are_safer():
    base = security.estimate_lwe(600, 2.0**-13.5)
    assert security.estimate_lwe(650, 2.0**-13.5) > base
    assert security.estimate_lwe(600, 2.0**-12.5) > base
    assert security.estimate_lwe(600, 0.0) == 0


def test_noise_below_a_unit_counts_as_rounded():
    tiny = security.estimate_lwe(600, 2.0**-60)
    assert math.isclose(tiny, security.estimate_lwe(600, 2.0**-32))
