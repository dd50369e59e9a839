"""Named parameter sets.

Sizes, noise and digits of one instance of the scheme. Security and failure probability
follow from them: see `fhe.security` and `fhe.noise`.
"""

import dataclasses
import math
from typing import Any, Literal

from fhe.gadget import Gadget


@dataclasses.dataclass(frozen=True)
class Params:
    """One instance of the scheme (CGGI, Chillotti et al. 2020).

    Attributes:
        name: what the set is called in files and messages.
        lwe_dimension: n, bits of the small secret and steps of a blind rotation.
        lwe_sigma: noise of the small key, as a fraction of the torus.
        glwe_dimension: k, mask polynomials.
        polynomial_size: N, a power of two.
        glwe_sigma: noise of the large key, as a fraction of the torus.
        mask_gadget: digits of the mask in the external product.
        body_gadget: digits of the body.
        switch_gadget: digits of the key switch.
        glwe_key: distribution of the large secret's coefficients.
        order: "ks-pbs" switches keys before the blind rotation and keeps ciphertexts
            under the large key; "pbs-ks" does it after, with ciphertexts under the
            small key.
        unrolled: g, secret bits that a step of the blind rotation takes, 1 to 4; it
            divides n. See `fhe.unroll`.
    """

    name: str
    lwe_dimension: int
    lwe_sigma: float
    glwe_dimension: int
    polynomial_size: int
    glwe_sigma: float
    mask_gadget: Gadget
    body_gadget: Gadget
    switch_gadget: Gadget
    glwe_key: Literal["binary", "ternary"] = "binary"
    order: Literal["ks-pbs", "pbs-ks"] = "ks-pbs"
    unrolled: int = 1

    def __post_init__(self) -> None:
        N = self.polynomial_size
        if N < 4 or N & (N - 1):
            raise ValueError(f"polynomial_size must be a power of two >= 4, got {N}")
        if self.lwe_dimension < 1 or self.glwe_dimension < 1:
            raise ValueError(f"dimensions must be >= 1, got {self}")
        for sigma in (self.lwe_sigma, self.glwe_sigma):
            if not 0 <= sigma < 0.5:
                raise ValueError(f"sigma must be in [0, 1/2), got {sigma}")
        if self.glwe_key not in ("binary", "ternary"):
            raise ValueError(f"glwe_key must be binary or ternary, got {self.glwe_key}")
        if self.order not in ("ks-pbs", "pbs-ks"):
            raise ValueError(f"order must be ks-pbs or pbs-ks, got {self.order}")
        for gadget in (self.mask_gadget, self.body_gadget, self.switch_gadget):
            gadget.check()
        if self.unrolled not in (1, 2, 3, 4) or self.lwe_dimension % self.unrolled:
            raise ValueError(
                "unrolled must be 1, 2, 3 or 4 and divide lwe_dimension, got "
                f"{self.unrolled} and {self.lwe_dimension}"
            )

    @property
    def rows(self) -> int:
        """Rows of a bootstrapping key's entry."""
        return self.glwe_dimension * self.mask_gadget.levels + self.body_gadget.levels

    @property
    def entries(self) -> tuple[int, ...]:
        """Leading axes of a bootstrapping key: n, or n / g by `2**g - 1`."""
        if self.unrolled == 1:
            return (self.lwe_dimension,)
        return self.lwe_dimension // self.unrolled, 2**self.unrolled - 1

    @property
    def large_dimension(self) -> int:
        """Dimension of the extracted LWE secret, `k * N`."""
        return self.glwe_dimension * self.polynomial_size

    @property
    def ciphertext_dimension(self) -> int:
        """Mask elements of the ciphertexts that gates read and write."""
        return self.large_dimension if self.order == "ks-pbs" else self.lwe_dimension

    @property
    def glwe_key_variance(self) -> float:
        """Mean square of a coefficient of the large secret."""
        return 1 / 2 if self.glwe_key == "binary" else 2 / 3


def _set(
    name: str,
    lwe: tuple[int, float],
    glwe: tuple[int, int, float],
    mask: tuple[int, int],
    switch: tuple[int, int],
    body: tuple[int, int] | None = None,
    **options: Any,
) -> Params:
    n, lwe_sigma = lwe
    k, N, glwe_sigma = glwe
    gadgets = Gadget(*mask), Gadget(*(body or mask)), Gadget(*switch)
    return Params(name, n, lwe_sigma, k, N, glwe_sigma, *gadgets, **options)


_LARGE = (2, 512, 2.0**-24.3)

#: The default: NAND, MAJ3 and XOR3 fail with probability below 2**-64.
R64 = _set(
    "R64", (618, 2.0**-13.20), _LARGE, (2, 8), (6, 2), (2, 6), glwe_key="ternary"
)
#: As R64 with polynomials half as long: 0.71 times the work of a matrix product.
R64_256 = _set(
    "R64-256",
    (632, 2.0**-13.56),
    (4, 256, 2.0**-24.3),
    (2, 8),
    (6, 2),
    (2, 6),
    glwe_key="ternary",
)
#: As R64 with three secret bits a step, for a gate sooner done: see `fhe.unroll`.
R64_U3 = dataclasses.replace(R64, name="R64-u3", mask_gadget=Gadget(3, 6), unrolled=3)
#: As R64-u3 with four.
R64_U4 = dataclasses.replace(R64_U3, name="R64-u4", lwe_dimension=620, unrolled=4)
#: As R64 with room for `a ^ (b & c)`, at 2**-64 too.
R64X = _set(
    "R64x", (656, 2.0**-14.18), _LARGE, (2, 8), (6, 2), (2, 6), glwe_key="ternary"
)
#: NAND, MAJ3 and XOR3 below 2**-128, against attacks that use decryption failures.
R128 = _set(
    "R128", (696, 2.0**-15.21), _LARGE, (2, 8), (7, 2), (3, 5), glwe_key="ternary"
)
#: The TFHE library's default, below 128 bits today.
TFHE_LIB = _set(
    "TFHE-lib", (630, 2.0**-15), (1, 1024, 2.0**-25), (3, 7), (8, 2), order="pbs-ks"
)
#: TFHE-rs's boolean DEFAULT_PARAMETERS.
TFHE_RS = _set(
    "TFHE-rs",
    (805, 5.861628e-6),
    (3, 512, 9.315273e-10),
    (2, 10),
    (5, 3),
    order="pbs-ks",
)
#: TFHE-rs's boolean DEFAULT_PARAMETERS_KS_PBS.
TFHE_RS_KS = _set(
    "TFHE-rs-ks", (739, 1.83045e-5), (3, 512, 9.315273e-10), (2, 10), (4, 3)
)
#: nuFHE, cuFHE and REDcuFHE: about 94 bits, for comparisons only.
NUFHE = _set(
    "nuFHE", (500, 2.0**-15.3), (1, 1024, 2.0**-27), (2, 10), (8, 2), order="pbs-ks"
)
#: Tiny, fast and worthless as encryption: for tests and tutorials.
TOY = _set(
    "toy", (16, 2.0**-26), (2, 64, 2.0**-30), (2, 8), (8, 2), (2, 6), glwe_key="ternary"
)

NAMED = {
    p.name: p
    for p in (
        *(R64, R64_256, R64_U3, R64_U4, R64X, R128),
        *(TFHE_LIB, TFHE_RS, TFHE_RS_KS, NUFHE, TOY),
    )
}


def named(name: str) -> Params:
    """A parameter set by name.

    Raises:
        ValueError: the name is none of `NAMED`.
    """
    if name not in NAMED:
        raise ValueError(f"parameter set {name!r} is not one of {', '.join(NAMED)}")
    return NAMED[name]


def key_sizes(params: Params) -> dict[str, int]:
    """Bytes of the server key's arrays in full and with masks left to the seed."""
    n, N, k = params.lwe_dimension, params.polynomial_size, params.glwe_dimension
    rows = math.prod(params.entries) * params.rows * N
    switches = params.large_dimension * params.switch_gadget.levels
    return {
        "bootstrapping": 4 * rows * (k + 1),
        "switching": 4 * switches * (n + 1),
        "bootstrapping_seeded": 4 * rows,
        "switching_seeded": 4 * switches,
    }
