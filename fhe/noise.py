"""Noise after each stage, and how often a gate or a program fails.

Variances are on the torus, in fractions of it squared. Derived as in Chillotti et al.
2020, sections 4 and 6, with balanced digits, separate bases for mask and body, and the
centred modulus switch of ePrint 2025/809. Decomposition errors count for the secret's
mean square, and half of the steps of a blind rotation have a zero secret bit.
"""

import math

import numpy as np

from fhe.gadget import Gadget
from fhe.gates import Gate, phases
from fhe.params import Params


def _digit_variance(gadget: Gadget) -> float:
    """Mean square of a balanced digit, uniform in `[-B/2, B/2)`."""
    return (4.0**gadget.log_base + 2) / 12


def _rounding_variance(gadget: Gadget) -> float:
    """Mean square of what a decomposition drops."""
    return 4.0 ** (-gadget.levels * gadget.log_base) / 12


def blind_rotation_variance(params: Params) -> float:
    """Noise of a bootstrapped bit before any key switch."""
    mask, body = params.mask_gadget, params.body_gadget
    k, N = params.glwe_dimension, params.polynomial_size
    fresh = (
        N
        * params.glwe_sigma**2
        * (
            k * mask.levels * _digit_variance(mask)
            + body.levels * _digit_variance(body)
        )
    )
    # The body's rounding enters as it is, the mask's times the secret.
    rounding = _rounding_variance(body) + (
        k * N * params.glwe_key_variance * _rounding_variance(mask)
    )
    g = params.unrolled
    if g == 1:
        return params.lwe_dimension * (fresh + rounding / 2)
    # Each entry is multiplied by a monomial less 1, of norm 2; one of them is a 1
    # unless all the group's bits are 0.
    entries = 2**g - 1
    return params.lwe_dimension / g * 2 * (entries * fresh + rounding * entries / 2**g)


def key_switch_variance(params: Params) -> float:
    """Noise that a key switch adds, over keys.

    Digits average -1/2, so a share of `3 / (B**2 + 2)` of the first term is an offset
    that all ciphertexts under one key have in common.
    """
    gadget = params.switch_gadget
    return params.large_dimension * (
        gadget.levels * _digit_variance(gadget) * params.lwe_sigma**2
        + params.glwe_key_variance * _rounding_variance(gadget)
    )


def modulus_switch_variance(params: Params) -> float:
    """Noise that the centred switch to `2N` adds."""
    return (1 + params.lwe_dimension / 4) / (48 * params.polynomial_size**2)


def output_variance(params: Params) -> float:
    """Noise of a gate's output as the next gate reads it."""
    if params.order == "ks-pbs":
        return blind_rotation_variance(params)
    return blind_rotation_variance(params) + key_switch_variance(params)


def phase_variance(params: Params, norm2: float) -> float:
    """Noise of a gate's phase where its sign is taken.

    Args:
        params: sizes.
        norm2: `sum_i weights[i]**2` over bootstrapped inputs.
    """
    variance = norm2 * output_variance(params) + modulus_switch_variance(params)
    if params.order == "ks-pbs":
        variance += key_switch_variance(params)
    return variance


def failure_probabilities(params: Params, gate: Gate) -> np.ndarray:
    """Probability of a wrong sign for each input, in `gates.phases` order.

    Gaussian tails beyond both places where the sign changes, for inputs that are
    independent outputs of gates.

    Returns:
        float64 `[2**inputs]`.
    """
    scale = math.sqrt(2 * phase_variance(params, gate.norm2))
    return np.array(
        [
            0.5 * math.erfc(abs(p) / 8 / scale)
            + 0.5 * math.erfc((4 - abs(p)) / 8 / scale)
            for p in phases(gate)
        ]
    )


def failure_probability(params: Params, gate: Gate) -> float:
    """Probability of a wrong output for the worst input.

    Example:
        >>> from fhe.gates import MAJ3
        >>> from fhe.params import R64
        >>> failure_probability(R64, MAJ3) < 2**-64
        True
    """
    return float(failure_probabilities(params, gate).max())


def program_failure(params: Params, weights: np.ndarray, offset: np.ndarray) -> float:
    """`1 - prod (1 - p)`: probability that any gate of a program fails.

    Args:
        params: sizes.
        weights: int8 `[G, 3]`, a circuit's, zero where unused.
        offset: int8 `[G]`.
    """
    # A weight's sign and place only permute the phases over the inputs.
    rows = np.concatenate([np.sort(np.abs(weights), axis=1), offset[:, None]], axis=1)
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    log_success = 0.0
    for row, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        gate = Gate("", tuple(w for w in row[:-1] if w), row[-1])
        p = failure_probability(params, gate)
        log_success += -math.inf if p >= 1 else count * math.log1p(-p)
    return -math.expm1(log_success)
