"""How many bits of security a parameter set has, by estimate.

The pinned figures are the smallest of the uSVP, BDD and dual-hybrid attacks under the
MATZOV cost model, by the lattice-estimator of Albrecht, Player and Scott
(https://github.com/malb/lattice-estimator, commit 27a581b of 2026-06-06). Estimates
move as attacks improve: `python -m launch.estimate_security` repeats them.

A set outside the table is judged by the line of 128-bit security for binary secrets
modulo 2**32, `log2 sigma = 2.6759 - 0.025697 n` (Zama, concrete-security-curves): bits
grow in proportion to the dimension at a given noise. The rule stays within 3 bits of
every pinned binary row.
"""

import math
from typing import NamedTuple

from fhe.params import Params

_SLOPE, _INTERCEPT = -0.025697, 2.6759


class Estimate(NamedTuple):
    """Bits of security of the small and of the large key; infinite noise is none."""

    lwe: float
    glwe: float

    @property
    def bits(self) -> float:
        """The weaker key's."""
        return min(self.lwe, self.glwe)


#: (dimension, log2 sigma, secret): bits, by lattice-estimator.
PINNED: dict[tuple[int, float, str], float] = {
    (618, -13.20, "binary"): 128.5,
    (632, -13.56, "binary"): 128.5,
    (656, -14.18, "binary"): 128.4,
    (696, -15.21, "binary"): 128.3,
    (1024, -24.30, "ternary"): 131.3,
    (630, -15.00, "binary"): 118.3,
    (1024, -25.00, "binary"): 122.2,
    (805, -17.38, "binary"): 132.0,
    (739, -15.74, "binary"): 132.1,
    (1536, -30.00, "binary"): 155.8,
    (500, -15.30, "binary"): 94.0,
    (1024, -27.00, "binary"): 114.1,
}


def estimate_lwe(dimension: int, sigma: float, secret: str = "binary") -> float:
    """Bits of security of LWE modulo `2**32`.

    Args:
        dimension: n, or `k * N` for GLWE.
        sigma: noise as a fraction of the torus.
        secret: "binary" or "ternary"; outside the table both count as binary, which
            understates ternary secrets.

    Returns:
        Bits; 0 without noise.
    """
    if sigma <= 0:
        return 0.0
    log_sigma = math.log2(sigma)
    pinned = PINNED.get((dimension, round(log_sigma, 2), secret))
    if pinned is not None:
        return pinned
    # Noise below one unit of 2**-32 is what rounding leaves of it.
    return 128 * dimension * _SLOPE / (max(log_sigma, -32.0) - _INTERCEPT)


def estimate(params: Params) -> Estimate:
    """Bits of security of a parameter set.

    Example:
        >>> from fhe.params import R64
        >>> estimate(R64).bits
        128.5
    """
    return Estimate(
        estimate_lwe(params.lwe_dimension, params.lwe_sigma),
        estimate_lwe(params.large_dimension, params.glwe_sigma, params.glwe_key),
    )
