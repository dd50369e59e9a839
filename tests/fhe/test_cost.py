"""Costs and risks of programs, by hand-computed numbers."""

import dataclasses
import math

import numpy as np
import pytest

import fhe
from fhe import cost, gates, noise
from fhe.cost import Rates


@pytest.fixture(scope="module")
def adder():
    return fhe.compile("int add(int a, int b) { return a + b; }", objective="size")


def test_seconds_on_several_devices():
    """Levels of 20 and 3 gates over 2 devices: batches of 8 and 2, then 2, a device."""
    circuit = dataclasses.replace(
        fhe.compile("_Bool f(_Bool a) { return !a; }"),
        level_starts=np.array([0, 20, 23]),
    )
    link = cost.Link(latency=0.5, bandwidth=100.0)
    args = circuit, fhe.R64, Rates(latency=3.0, throughput=2.0)
    found = cost.shared_seconds(*args, 2, link, batches=(2, 8))
    sent = 3 * 0.5 + 4 * (fhe.R64.ciphertext_dimension + 1) * (8 + 2 + 2) / 100
    assert found == pytest.approx((4 + 3 + 3 + sent, sent))
    alone = cost.shared_seconds(*args, 1, link, batches=(2, 8))
    assert alone == (4 + 4 + 3 + 3 + 3, 0)  # batches of 8, 8, 4, then 2, 2


@pytest.mark.parametrize(
    ("latency", "throughput", "expected"),
    [(1.0, 1e9, "levels"), (0.0, 10.0, "gates")],
)
def test_seconds_at_both_ends(adder, latency, throughput, expected):
    found = cost.seconds(adder, Rates(latency, throughput))
    if expected == "levels":
        assert found == adder.depth
    else:
        assert found == pytest.approx(adder.num_bootstraps / 10)


def test_latency_bound_share(adder):
    assert cost.latency_bound(adder, Rates(1.0, 1e9)) == 1.0
    assert cost.latency_bound(adder, Rates(0.0, 10.0)) == 0.0


def test_report(adder):
    found = fhe.report(adder, fhe.R64, Rates(1.0, 1e9))
    assert found.bootstraps == adder.num_bootstraps == sum(found.kinds.values())
    assert found.levels == adder.depth == len(found.widths) == found.seconds
    assert found.security_bits >= 128
    worst = noise.failure_probability(fhe.R64, gates.MAJ3)
    assert 0 < found.failure <= found.bootstraps * worst
    assert fhe.report(adder, fhe.R64).seconds is None


def test_failure_of_a_program_is_the_sum_over_its_gates(adder):
    one = adder.weights[:1], adder.offset[:1]
    single = noise.program_failure(fhe.R64, *one)
    many = noise.program_failure(
        fhe.R64, np.repeat(one[0], 1000, 0), np.repeat(one[1], 1000)
    )
    assert many == pytest.approx(1000 * single, rel=1e-6)


def test_stronger_set_fails_less(adder):
    failures = [fhe.report(adder, s).failure for s in (fhe.R64, fhe.R128)]
    assert math.log2(failures[1]) < math.log2(failures[0]) - 50


def test_ax_gates_are_refused_under_the_default_set():
    circuit = fhe.compile("int f(int a, int b, int c) { return a ^ (b & c); }")
    fhe.check_gates(circuit, fhe.R64)
    fused = fhe.compile(
        "int f(int a, int b, int c) { return a ^ (b & c); }", allow_ax=True
    )
    assert fused.counts == {"ax3": 32}
    fhe.check_gates(fused, fhe.R64X)
    limit = fhe.report(fused, fhe.R64X).failure * 2
    with pytest.raises(ValueError, match="R64x"):
        fhe.check_gates(fused, fhe.R64, limit)


def test_measured_rates_are_plausible(toy):
    found = fhe.measure_rates(toy[1], narrow=4, wide=16, repeats=1)
    assert found.latency > 0
    assert 4 / found.latency < 50 * found.throughput
