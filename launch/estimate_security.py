r"""Estimates the security of the named parameter sets with lattice-estimator.

Needs Sage and a clone of the estimator, neither of which is a dependency:

    pip install passagemath-standard
    git clone https://github.com/malb/lattice-estimator
    PYTHONPATH=lattice-estimator python -m launch.estimate_security --params=R64

Expected: 20 seconds a set. Prints the cost of each attack in bits under the MATZOV
model beside the figure pinned in fhe.security, and exits with status 1 where the
estimate is more than a bit below it.
"""

import json
import math
from collections.abc import Sequence

from absl import app, flags
from rich.table import Table

from fhe import params, security
from launch import common

_PARAMS = flags.DEFINE_list("params", ["R64", "R64x", "R128"], "sets of fhe.params")
_ATTACKS = flags.DEFINE_list(
    "attacks",
    ["primal_usvp", "primal_bdd", "dual_hybrid"],
    "of estimator.LWE; primal_hybrid is slow and close to primal_bdd",
)


def attack_bits(dimension: int, sigma: float, secret: str) -> dict[str, float]:
    """log2 of operations of each attack on LWE modulo 2**32."""
    try:
        from estimator import LWE, ND, RC  # type: ignore[import-not-found]
    except ImportError as error:
        raise SystemExit(f"{error}: see --help for what to install") from error
    low = 0 if secret == "binary" else -1
    instance = LWE.Parameters(
        n=dimension,
        q=2**32,
        Xs=ND.Uniform(low, 1),
        Xe=ND.DiscreteGaussian(sigma * 2**32),
    )
    found = {}
    for name in _ATTACKS.value:
        attack = getattr(LWE, name)
        cost = attack(instance, red_cost_model=RC.MATZOV)
        found[name] = math.log2(cost["rop"])
    return found


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    table = Table(title="Bits of security, lattice-estimator, MATZOV")
    for name in ("set", "key", "dimension", "log2 sigma", *_ATTACKS.value, "pinned"):
        table.add_column(name, justify="right")
    worse = False
    for name in _PARAMS.value:
        chosen = params.named(name)
        for label, dimension, sigma, secret in (
            ("lwe", chosen.lwe_dimension, chosen.lwe_sigma, "binary"),
            ("glwe", chosen.large_dimension, chosen.glwe_sigma, chosen.glwe_key),
        ):
            pinned = security.estimate_lwe(dimension, sigma, secret)
            bits = attack_bits(dimension, sigma, secret)
            worse |= min(bits.values()) < pinned - 1
            print(json.dumps({"set": name, "key": label, **bits, "pinned": pinned}))
            table.add_row(
                name,
                f"{label} {secret}",
                f"{dimension}",
                f"{math.log2(sigma):.2f}",
                *(f"{bits[a]:.1f}" for a in _ATTACKS.value),
                f"{pinned:.1f}",
            )
    common.console.print(table)
    if worse:
        raise SystemExit("an estimate is more than a bit below the pinned one")


if __name__ == "__main__":
    app.run(main)
