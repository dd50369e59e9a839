r"""Compiles a C function to a circuit of bootstrapped gates and reports its cost.

Example:

    python -m launch.compile --program=examples/sobel.c --widths=results/sobel.png

Expected: seconds (a 4x4 product of int32 matrices 5 s, AES-128 6 s); prints gates by
kind, levels and the profile of their widths. --netlist writes the gate list as JSON,
--public gives values of public parameters, as JSON. Other inputs than C, by their
ending: Bristol Fashion (.txt), BLIF (.blif), structural Verilog (.v), JSON (.json).
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags
from rich.table import Table

from fhe import compiler, formats
from fhe.circuit import Circuit
from launch import common

_PROGRAM = flags.DEFINE_string("program", None, "C file or netlist", required=True)
_FUNCTION = flags.DEFINE_string("function", None, "its name; the last one by default")
_PUBLIC = flags.DEFINE_string("public", "{}", 'JSON, such as {"n": 8}')
_LOOP_BOUND = flags.DEFINE_integer("loop_bound", None, "of loops that a secret ends")
_OBJECTIVE = flags.DEFINE_enum(
    "objective", "auto", ["auto", "size", "depth"], "few gates, few levels, or cheaper"
)
_ALLOW_AX = flags.DEFINE_bool("allow_ax", False, "use a^(b&c) gates")
_NETLIST = flags.DEFINE_string("netlist", None, "where to write the gate list (JSON)")
_WIDTHS = flags.DEFINE_string("widths", None, "where to plot the widths (PNG)")


def load(program: str) -> Circuit:
    """The circuit that the flags describe."""
    if Path(program).suffix == ".c":
        return compiler.compile(
            Path(program),
            _FUNCTION.value,
            public=json.loads(_PUBLIC.value),
            loop_bound=_LOOP_BOUND.value,
            objective=cast(compiler.Objective, _OBJECTIVE.value),
            allow_ax=_ALLOW_AX.value,
        )
    return formats.read(
        program, depth=_OBJECTIVE.value == "depth", allow_ax=_ALLOW_AX.value
    )


def report(circuit: Circuit, title: str, seconds: float) -> Table:
    """The compile report as a table."""
    widths = circuit.widths
    table = Table("property", "value", title=title)
    signature = circuit.signature
    table.add_row("parameters", ", ".join(p.describe() for p in signature.parameters))
    table.add_row("results", ", ".join(p.describe() for p in signature.results))
    table.add_row("input bits", f"{circuit.num_inputs:,}")
    table.add_row("output bits", f"{len(circuit.outputs):,}")
    table.add_row("bootstraps", f"{circuit.num_bootstraps:,}")
    for kind, count in circuit.counts.items():
        table.add_row(f"  {kind}", f"{count:,}")
    table.add_row("levels", f"{circuit.depth:,}")
    if len(widths):
        table.add_row(
            "gates a level",
            f"mean {widths.mean():.1f}, least {widths.min()}, most {widths.max()}",
        )
        table.add_row("profile", profile(widths))
    table.add_row("compiled in", f"{seconds:.2f} s")
    return table


def profile(widths: np.ndarray, columns: int = 64) -> str:
    """A line of block characters, one a group of levels, as tall as their width."""
    groups = np.array_split(widths, min(columns, len(widths)))
    heights = np.array([group.mean() for group in groups])
    blocks = " ▁▂▃▄▅▆▇█"
    return "".join(blocks[int(np.ceil(8 * h))] for h in heights / heights.max())


def plot(widths: np.ndarray, title: str, path: str) -> None:
    """Gates of each level, as PNG."""
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    axes.stairs(widths, fill=True)
    axes.set(xlabel="level", ylabel="gates", title=title)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    start = time.perf_counter()
    try:
        circuit = load(_PROGRAM.value)
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    seconds = time.perf_counter() - start
    common.console.print(report(circuit, _PROGRAM.value, seconds))
    if _NETLIST.value:
        Path(_NETLIST.value).parent.mkdir(parents=True, exist_ok=True)
        common.write_atomically(_NETLIST.value, formats.write_json(circuit))
        common.console.print(f"the gate list is in {_NETLIST.value}")
    if _WIDTHS.value:
        Path(_WIDTHS.value).parent.mkdir(parents=True, exist_ok=True)
        plot(circuit.widths, _PROGRAM.value, _WIDTHS.value)
        common.console.print(f"the widths are plotted in {_WIDTHS.value}")


if __name__ == "__main__":
    app.run(main)
