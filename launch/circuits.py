"""Programs from flags, and the compile report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from rich.table import Table

from fhe import compiler, formats
from fhe.circuit import Circuit
from fhe.cost import Report
from fhe.params import Params, named

_PROGRAM = flags.DEFINE_string("program", None, "C file or netlist", required=True)
_FUNCTION = flags.DEFINE_string("function", None, "its name; the last one by default")
_PUBLIC = flags.DEFINE_string("public", "{}", 'JSON, such as {"n": 8}')
_LOOP_BOUND = flags.DEFINE_integer("loop_bound", None, "of loops that a secret ends")
_OBJECTIVE: flags.FlagHolder[Any] = flags.DEFINE_enum(
    "objective", "auto", ["auto", "size", "depth"], "few gates, few levels, or cheaper"
)
_ALLOW_AX = flags.DEFINE_bool("allow_ax", False, "use a^(b&c) gates")


def program() -> str:
    """Path of the program."""
    return _PROGRAM.value


def load() -> Circuit:
    """The circuit that the flags describe."""
    if Path(_PROGRAM.value).suffix == ".c":
        return compiler.compile(
            Path(_PROGRAM.value),
            _FUNCTION.value,
            public=json.loads(_PUBLIC.value),
            loop_bound=_LOOP_BOUND.value,
            objective=_OBJECTIVE.value,
            allow_ax=_ALLOW_AX.value,
        )
    return formats.read(
        _PROGRAM.value, depth=_OBJECTIVE.value == "depth", allow_ax=_ALLOW_AX.value
    )


def choose_params(circuit: Circuit, name: str | None) -> Params:
    """The set called `name`, or the default that the program's gates allow."""
    return named(name or ("R64x" if "ax3" in circuit.counts else "R64"))


def table(
    circuit: Circuit, seconds: float, costs: Report, params: Params, device: str = ""
) -> Table:
    """The compile report.

    Args:
        circuit: the program.
        seconds: that compiling took.
        costs: from `fhe.report`.
        params: that the costs are for.
        device: whose seconds are estimated, if they are.
    """
    widths = circuit.widths
    out = Table("property", "value", title=_PROGRAM.value)
    signature = circuit.signature
    out.add_row("parameters", ", ".join(p.describe() for p in signature.parameters))
    out.add_row("results", ", ".join(p.describe() for p in signature.results))
    out.add_row("input bits", f"{circuit.num_inputs:,}")
    out.add_row("output bits", f"{len(circuit.outputs):,}")
    out.add_row("bootstraps", f"{costs.bootstraps:,}")
    for kind, count in costs.kinds.items():
        out.add_row(f"  {kind}", f"{count:,}")
    out.add_row("levels", f"{costs.levels:,}")
    if len(widths):
        out.add_row(
            "gates a level",
            f"mean {widths.mean():.1f}, least {widths.min()}, most {widths.max()}",
        )
        out.add_row("profile", profile(widths))
    out.add_row("compiled in", f"{seconds:.2f} s")
    out.add_row("parameter set", params.name)
    out.add_row("security", f"{costs.security_bits:.0f} bits")
    failure = "0" if costs.failure <= 0 else f"2^{np.log2(costs.failure):.1f}"
    out.add_row("failure probability", failure)
    if costs.seconds is not None and costs.latency_bound is not None:
        out.add_row(
            f"estimate on {device}",
            f"{costs.seconds:.2f} s, {costs.latency_bound:.0%} in levels that do not "
            "fill the device",
        )
    return out


def profile(widths: np.ndarray, columns: int = 64) -> str:
    """A line of block characters, one a group of levels, as tall as their width."""
    groups = np.array_split(widths, min(columns, len(widths)))
    heights = np.array([group.mean() for group in groups])
    blocks = " ▁▂▃▄▅▆▇█"
    return "".join(blocks[int(np.ceil(8 * h))] for h in heights / heights.max())
