"""Gates as signs of small integer sums.

With true as `+1/8` and false as `-1/8`, a gate is `sign(offset / 8 + sum_i w_i x_i)`,
and one bootstrap computes it whatever the weights. That covers every two-input gate
and 80 of the 256 functions of three inputs, a full adder's sum (XOR3) and carry (MAJ3)
among them. NOT negates a ciphertext and costs nothing.
"""

import itertools
from typing import NamedTuple


class Gate(NamedTuple):
    """`sign(offset / 8 + sum_i weights[i] * x_i)`; up to three inputs."""

    name: str
    weights: tuple[int, ...]
    offset: int

    @property
    def norm2(self) -> int:
        """Factor of the inputs' noise variance."""
        return sum(w * w for w in self.weights)


AND = Gate("and", (1, 1), -1)
NAND = Gate("nand", (-1, -1), 1)
OR = Gate("or", (1, 1), 1)
NOR = Gate("nor", (-1, -1), -1)
XOR = Gate("xor", (2, 2), 2)
XNOR = Gate("xnor", (-2, -2), -2)
ANDNY = Gate("andny", (-1, 1), -1)
ANDYN = Gate("andyn", (1, -1), -1)
ORNY = Gate("orny", (-1, 1), 1)
ORYN = Gate("oryn", (1, -1), 1)
MAJ3 = Gate("maj3", (1, 1, 1), 0)
XOR3 = Gate("xor3", (-2, -2, -2), 0)
XNOR3 = Gate("xnor3", (2, 2, 2), 0)
NAE3 = Gate("nae3", (-1, -1, -1), 2)
AE3 = Gate("ae3", (1, 1, 1), -2)
#: `a ^ (b & c)`; its norm needs R64x.
XOR_AND = Gate("xor_and", (2, 1, 1), 1)

GATES = {
    gate.name: gate
    for gate in (
        *(AND, NAND, OR, NOR, XOR, XNOR, ANDNY, ANDYN, ORNY, ORYN),
        *(MAJ3, XOR3, XNOR3, NAE3, AE3, XOR_AND),
    )
}


def gate(name: str) -> Gate:
    """A gate by name.

    Raises:
        ValueError: the name is none of `GATES`.
    """
    if name not in GATES:
        raise ValueError(f"gate {name!r} is not one of {', '.join(GATES)}")
    return GATES[name]


def phases(gate: Gate) -> list[int]:
    """Noiseless phase in eighths, in `[-4, 4)`, for inputs counted up from all false.

    The last input is the least significant: `(0, 0)`, `(0, 1)`, `(1, 0)`, `(1, 1)`.
    """
    inputs = itertools.product((-1, 1), repeat=len(gate.weights))
    sums = (
        gate.offset + sum(w * x for w, x in zip(gate.weights, xs, strict=True))
        for xs in inputs
    )
    return [(s + 4) % 8 - 4 for s in sums]


def margin(gate: Gate) -> int:
    """Least distance, in eighths, of a phase from where the sign changes."""
    return min(min(abs(p), 4 - abs(p)) for p in phases(gate))


def truth_table(gate: Gate) -> tuple[bool, ...]:
    """Outputs in the order of `phases`.

    Raises:
        ValueError: some inputs land where the sign changes, so this is no gate.

    Example:
        >>> truth_table(AND)
        (False, False, False, True)
    """
    if margin(gate) == 0:
        raise ValueError(f"{gate} has inputs whose sign is undefined")
    return tuple(p > 0 for p in phases(gate))


def invert_input(gate: Gate, index: int) -> Gate:
    """The gate with one input negated, at no cost."""
    weights = tuple(-w if i == index else w for i, w in enumerate(gate.weights))
    return gate._replace(name=f"{gate.name}~{index}", weights=weights)


def invert_output(gate: Gate) -> Gate:
    """The gate with its output negated, at no cost."""
    weights = tuple(-w for w in gate.weights)
    return Gate(f"not {gate.name}", weights, -gate.offset)
