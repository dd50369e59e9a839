r"""Shows each of the systems at work, small, on any machine; no download.

    python -m launch.tour

1. fidelity: trains two networks on 4,000 handwritten digits, compresses each to 4-bit
   integers, and to 80 % zeros in 8-bit integers, re-trains with cross-entropy ("ce")
   and with distillation ("kd"), and counts the test digits whose label changed.

Expected: half a minute on 2 CPU cores. With 4-bit weights "kd" changes 2 to 3 times
fewer labels than "ce" at the same accuracy. Tables, pictures and artefacts are left
under --output; a killed tour goes on with --resume.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from fidelity.experiment import Study
from fidelity.recipe import parse
from fidelity.train import Config
from launch import common, studies

_OUTPUT = flags.DEFINE_string("output", "results/tour", "folder of the results")
_RESUME = flags.DEFINE_bool("resume", False, "go on with the tour in --output")


def fidelity_study() -> Study:
    """Digits, a small network, two recipes, two losses, two seeds."""
    return Study(
        data="mnist5k",
        network="mlp",
        recipes=(parse("int4"), parse("0.8+int8")),
        losses=("ce", "kd"),
        seeds=2,
        training=Config(epochs=15, learning_rate=0.1),
        recovery=Config(epochs=8, learning_rate=0.02),
    )


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    output = Path(_OUTPUT.value)
    common.console.rule("fidelity: compression that keeps the answers")
    try:
        studies.run(fidelity_study(), str(output / "fidelity"), _RESUME.value)
    except FileExistsError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    app.run(main)
