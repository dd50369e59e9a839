r"""Compiles a C function to a circuit of bootstrapped gates and reports its cost.

Example:

    python -m launch.compile --program=examples/sobel.c --widths=results/sobel.png

Expected: seconds (a 4x4 product of int32 matrices 3 s, AES-128 5 s); prints gates by
kind, levels, the profile of their widths, security and failure probability, and with
--measure how long the program will take on this device. --netlist writes the gate list
as JSON, --public gives values of public parameters, as JSON. Other inputs than C, by
their ending: Bristol Fashion (.txt), BLIF (.blif), structural Verilog (.v), JSON.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags

import fhe
from fhe import formats, params
from launch import circuits, common

_PARAMS = flags.DEFINE_enum("params", None, sorted(params.NAMED), "parameter set")
_MEASURE = flags.DEFINE_bool("measure", False, "time two batches on this device")
_NETLIST = flags.DEFINE_string("netlist", None, "where to write the gate list (JSON)")
_WIDTHS = flags.DEFINE_string("widths", None, "where to plot the widths (PNG)")


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
        circuit = circuits.load()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    seconds = time.perf_counter() - start
    chosen = circuits.choose_params(circuit, _PARAMS.value)
    rates, device = None, ""
    if _MEASURE.value:
        common.setup()
        _, server = fhe.keygen(chosen, allow_insecure=True)
        rates, device = fhe.measure_rates(server), common.machine()["device"]
    costs = fhe.report(circuit, chosen, rates)
    common.console.print(circuits.table(circuit, seconds, costs, chosen, device))
    if _NETLIST.value:
        Path(_NETLIST.value).parent.mkdir(parents=True, exist_ok=True)
        common.write_atomically(_NETLIST.value, formats.write_json(circuit))
        common.console.print(f"the gate list is in {_NETLIST.value}")
    if _WIDTHS.value:
        Path(_WIDTHS.value).parent.mkdir(parents=True, exist_ok=True)
        plot(circuit.widths, circuits.program(), _WIDTHS.value)
        common.console.print(f"the widths are plotted in {_WIDTHS.value}")


if __name__ == "__main__":
    app.run(main)
