"""A recipe (how to compress) and a preservation loss (what to keep), as a user asks.

The recipe never sees the loss, nor the loss the recipe; `fidelity.compress` brings them
together.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from fidelity import prune, quantize, weighting
from fidelity.weighting import Weighting

STRUCTURES = ("unstructured", "nm", "block", "filter")
CRITERIA = ("magnitude", "gradient", "saliency", "random")
SCHEDULES = ("oneshot", "gradual")
ALGORITHMS = ("retrain", "lagrangian", "none")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to compress.

    Attributes:
        sparsity: fraction of weights (channels, if structure is "filter") to remove, in
            `[0, 1)`; 0 for no pruning. "nm" keeps 2 of 4 whatever it says.
        structure: "unstructured", "nm", "block" or "filter".
        criterion: "magnitude", "gradient", "saliency" or "random".
        scope: "global" or "layer".
        schedule: "oneshot", or "gradual" over the first half of the re-training.
        bits: of the kernels, 2 to 8; 0 for float32.
        input_bits: of every layer's input, 2 to 8; 0 for float32.
        per_channel: a scale for each output channel.
        symmetric: zero point 0 for kernels.
        algorithm: "retrain", "lagrangian" (learning-compression alternation) or "none"
            (post-training only).
    """

    sparsity: float = 0.0
    structure: str = "unstructured"
    criterion: str = "magnitude"
    scope: str = "global"
    schedule: str = "oneshot"
    bits: int = 0
    input_bits: int = 0
    per_channel: bool = True
    symmetric: bool = True
    algorithm: str = "retrain"

    def __post_init__(self) -> None:
        prune.constant(self.sparsity)  # checks the range
        for name, choices in (
            ("structure", STRUCTURES),
            ("criterion", CRITERIA),
            ("schedule", SCHEDULES),
            ("algorithm", ALGORITHMS),
            ("scope", ("global", "layer")),
        ):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(
                    f"unknown {name} {value!r}; choose from {', '.join(choices)}"
                )
        for bits in (self.bits, self.input_bits):
            if bits:
                quantize.Grid(bits)  # checks the range

    @property
    def grid(self) -> quantize.Grid | None:
        """Grid of the kernels, None without quantization."""
        if not self.bits:
            return None
        # Below 8 bits a few large weights would waste most of the grid.
        clip = "absmax" if self.bits == 8 else "mse"
        return quantize.Grid(self.bits, self.symmetric, self.per_channel, clip)

    @property
    def name(self) -> str:
        """Short name for tables, e.g. "80% filter + int8"."""
        parts = []
        if self.sparsity:
            kind = "" if self.structure == "unstructured" else f" {self.structure}"
            amount = "2:4" if self.structure == "nm" else f"{self.sparsity:.0%}"
            parts.append(amount + ("" if amount == "2:4" else kind))
        if self.bits:
            inputs = f"a{self.input_bits}" if self.input_bits else ""
            parts.append(f"int{self.bits}{inputs}")
        return " + ".join(parts) or "dense"


def parse(text: str, **settings: Any) -> Recipe:
    """A recipe from a short text: a sparsity, bits, or both.

    Args:
        text: e.g. "0.8", "int8" or "0.8+int8"; "0" is a dense network re-trained.
        **settings: further fields of `Recipe`.

    Raises:
        ValueError: another text, or values that `Recipe` refuses.

    Example:
        >>> parse("0.8+int4", structure="block").name
        '80% block + int4'
    """
    match = re.fullmatch(r"(\d*\.?\d+)?(?:\+?int(\d+))?", text.strip())
    joined = "+" in text
    if match is None or joined != all(match.groups()) or not any(match.groups()):
        raise ValueError(
            f"cannot read the recipe {text!r}; write a sparsity, bits or both, such as "
            "0.8, int8 or 0.8+int8"
        )
    sparsity, bits = match.groups()
    return Recipe(float(sparsity or 0), bits=int(bits or 0), **settings)


@dataclasses.dataclass(frozen=True)
class Preservation:
    """What to keep: the terms of the loss and the rule for their weights.

    Attributes:
        terms: names, see `fidelity.losses.term`.
        weights: fixed weights, one a term; None to let `rule` tune them.
        rule: "uniform", "uncertainty", "softadapt" or "search".
        temperature: of the "kd" term.
    """

    terms: tuple[str, ...] = ("ce",)
    weights: tuple[float, ...] | None = None
    rule: str = "uniform"
    temperature: float = 4.0

    @property
    def tuned(self) -> bool:
        """Whether the weights change from step to step."""
        return self.weights is None and self.rule not in ("uniform", "search")

    def weighting(self) -> Weighting:
        """The rule as functions; "search" starts from equal weights."""
        if self.tuned:
            return weighting.create(self.rule)
        equal = (1 / len(self.terms),) * len(self.terms)
        return weighting.fixed(self.weights or equal)

    def widen(self, terms: Sequence[str]) -> "Preservation":
        """The same loss over more terms, at weight zero: one compiled step for many.

        Example:
            >>> PRESERVATIONS["ce"].widen(("ce", "kd")).weights
            (1.0, 0.0)
        """
        if self.tuned or self.rule == "search":
            return self
        own = self.weights or (1 / len(self.terms),) * len(self.terms)
        given = dict(zip(self.terms, own, strict=True))
        if missing := set(given) - set(terms):
            raise ValueError(f"{sorted(missing)} are not among {list(terms)}")
        wide = tuple(given.get(term, 0.0) for term in terms)
        return dataclasses.replace(self, terms=tuple(terms), weights=wide)


PRESERVATIONS: dict[str, Preservation] = {
    "ce": Preservation(("ce",)),
    "pred": Preservation(("ce", "pred")),
    "mse": Preservation(("ce", "mse")),
    "mse_pred": Preservation(("ce", "mse", "pred")),
    "kd": Preservation(("ce", "kd"), (0.1, 0.9)),
    "kd_only": Preservation(("kd",)),
    "attention": Preservation(("ce", "kd", "attention"), (0.1, 0.9, 10.0)),
    "feature": Preservation(("ce", "kd", "feature"), (0.1, 0.9, 10.0)),
    "uncertainty": Preservation(("ce", "mse", "kd"), rule="uncertainty"),
    "softadapt": Preservation(("ce", "mse", "kd"), rule="softadapt"),
    "search": Preservation(("ce", "mse", "kd"), rule="search"),
}
"""Losses by name. "ce" is plain re-training, the baseline of the paper."""


def preservation(name: str) -> Preservation:
    """The loss called `name`.

    Raises:
        ValueError: unknown name.
    """
    if name not in PRESERVATIONS:
        raise ValueError(
            f"unknown loss {name!r}; choose from {', '.join(PRESERVATIONS)}"
        )
    return PRESERVATIONS[name]
