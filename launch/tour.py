r"""Shows each of the systems at work, small, on any machine; no download.

    python -m launch.tour

1. fidelity: trains two networks on 4,000 handwritten digits, compresses each to 4-bit
   integers, and to 80 % zeros in 8-bit integers, re-trains with cross-entropy ("ce")
   and with distillation ("kd"), and counts the test digits whose label changed. Then
   trains 24 networks on random subsets, and asks whether the digits that changed label
   are those that a network gets right only if it was trained on them.

2. fhe: compiles a C function to gates, encrypts its arguments, runs the gates on the
   encrypted bits, and decrypts the result.

3. atari: four games of Breakout played at random, filmed. Needs ale-py, which carries
   the ROMs; left out without it.

Expected: two minutes on 2 CPU cores. With 4-bit weights "kd" changes 2 to 3
times fewer labels than "ce" at the same accuracy; of the training digits, those that
change label are the memorized ones (AUC 0.8 or more); the encrypted sum of 20 and 22 is
42; the film is atari.gif. Tables, pictures and artefacts are left under --output; a
killed tour goes on with --resume.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

import atari
import fhe
from fidelity.experiment import Study
from fidelity.recipe import parse
from fidelity.train import Config
from launch import common, film, studies, tails

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


def tail_settings() -> tails.Settings:
    """A small ensemble, which ranks the examples roughly."""
    return tails.Settings(
        models=24,
        network="mlp",
        training=Config(epochs=5, learning_rate=0.05, pad=0, flip=False),
        chunk=12,
        proxy_seeds=0,
        resamples=50,
    )


ADD = "int add(int a, int b) { return a + b; }"


def show_fhe() -> None:
    """Adds two encrypted integers by a C function."""
    circuit = fhe.compile(ADD)
    costs = fhe.report(circuit, fhe.R64)
    common.console.print(
        f"{ADD}\n{costs.bootstraps} bootstrapped gates in {costs.levels} levels, "
        f"{costs.security_bits:.0f} bits of security",
        highlight=False,
    )
    client, server = fhe.keygen()
    inputs = client.encrypt(circuit, {"a": 20, "b": 22})
    common.console.print(f"20 and 22 encrypted: {inputs.nbytes / 1e3:.0f} kB")
    with common.progress("encrypted gates", costs.bootstraps) as advance:
        done = 0

        def moved(gates: int, total: int) -> None:
            nonlocal done
            advance(steps=gates - done)
            done = gates

        outputs = fhe.evaluate(circuit, server, inputs, progress=moved)
    common.console.print(f"decrypted: {client.decrypt(circuit, outputs)['return']}")


def show_atari(output: Path) -> None:
    """Films four games, if ale-py is installed."""
    try:
        env = atari.make("breakout", noop_max=0)
    except ModuleNotFoundError as error:
        common.console.print(f"left out: {error}")
        return
    found = film.play(env, num_envs=4, steps=20, seed=0, output=f"{output}/atari.gif")
    common.console.print(
        f"{found['output']}: {found['frames_per_second']:,.0f} frames/s"
    )


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    output = Path(_OUTPUT.value)
    common.console.rule("fidelity: compression that keeps the answers")
    try:
        studies.run(fidelity_study(), str(output / "fidelity"), _RESUME.value)
        common.console.rule("fidelity: are the changed labels the memorized ones?")
        tails.run(
            fidelity_study(),
            tail_settings(),
            str(output / "longtail"),
            _RESUME.value,
            compressed=str(output / "fidelity"),
        )
    except FileExistsError as error:
        raise SystemExit(f"error: {error}") from error
    common.console.rule("fhe: a C program on encrypted data")
    show_fhe()
    common.console.rule("atari: consoles by the batch")
    show_atari(output)


if __name__ == "__main__":
    app.run(main)
