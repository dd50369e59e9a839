r"""Trains a small integer network, then reads encrypted handwritten digits with it.

The network (examples/digits.c) has 64 one-bit pixels, 16 hidden units and 10 classes,
and weights of -7 to 7 that are public to the compiler; the picture is secret. Example:

    python -m launch.encrypt_digits --digits=4

Expected: 85 to 90 % of 1,000 test digits right in the clear; every encrypted answer
equals the one in the clear. Half a minute of training on 2 CPU cores, then minutes a
digit there, and below a second on a GPU.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from rich.table import Table

import fhe
from fidelity.data import load
from launch import common

_DIGITS = flags.DEFINE_integer("digits", 2, "to read encrypted", lower_bound=0)
_STEPS = flags.DEFINE_integer("steps", 3000, "of training", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of training")

HIDDEN, CLASSES, LARGEST = 16, 10, 7
PROGRAM = Path(__file__).parent.parent / "examples" / "digits.c"
Weights = tuple[jax.Array, jax.Array]


def shrink(images: np.ndarray) -> np.ndarray:
    """28x28 grey digits as 64 bits: means of 3x3 blocks of the middle, thresholded."""
    blocks = images[:, 2:26, 2:26, 0].reshape(-1, 8, 3, 8, 3).mean((2, 4))
    return (blocks > 80).reshape(-1, 64).astype(np.uint8)


def integers(weights: jax.Array) -> jax.Array:
    """Weights of -1 to 1 as integers; gradients pass straight through."""
    rounded = jnp.round(LARGEST * jnp.clip(weights, -1, 1))
    return LARGEST * weights + jax.lax.stop_gradient(rounded - LARGEST * weights)


def scores(weights: Weights, bits: jax.Array) -> jax.Array:
    """Class scores of one picture `[64]`, as examples/digits.c computes them."""
    hidden = jax.nn.relu(integers(weights[0]) @ bits)
    return integers(weights[1]) @ hidden


def train(
    key: jax.Array, bits: jax.Array, labels: jax.Array, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Integer weights `[16, 64]` and `[10, 16]`, by cross-entropy and Adam."""
    below, above, draws = jax.random.split(key, 3)
    weights = (
        0.3 * jax.random.normal(below, (HIDDEN, bits.shape[1])),
        0.3 * jax.random.normal(above, (CLASSES, HIDDEN)),
    )
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps))

    def loss(weights: Weights, picks: jax.Array) -> jax.Array:
        logits = jax.vmap(scores, (None, 0))(weights, bits[picks]) / 100
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, labels[picks]
        ).mean()

    def step(state: tuple, key: jax.Array) -> tuple[tuple, None]:
        weights, moments = state
        picks = jax.random.randint(key, (256,), 0, len(labels))
        updates, moments = optimizer.update(jax.grad(loss)(weights, picks), moments)
        return (optax.apply_updates(weights, updates), moments), None

    start = weights, optimizer.init(weights)
    (weights, _), _ = jax.jit(lambda state, keys: jax.lax.scan(step, state, keys))(
        start, jax.random.split(draws, steps)
    )
    first, second = (np.asarray(integers(w)).astype(np.int8) for w in weights)
    return first, second


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup()
    source = load("mnist5k")
    bits = jnp.asarray(shrink(source.train.images), jnp.float32)
    key = jax.random.key(_SEED.value)
    first, second = train(key, bits, jnp.asarray(source.train.labels), _STEPS.value)
    circuit = fhe.compile(PROGRAM, public={"first": first, "second": second})
    test, labels = shrink(source.test.images), source.test.labels
    clear = circuit.simulate({"image": test})["return"]
    accuracy = float((clear == labels).mean())
    common.console.print(
        f"{100 * accuracy:.1f} % of {len(labels)} digits right in the clear; "
        f"{circuit.num_bootstraps:,} gates in {circuit.depth} levels"
    )
    client, server = fhe.keygen()
    table = Table("digit", "in the clear", "encrypted", "seconds")
    picks = np.random.default_rng(_SEED.value).permutation(len(labels))
    answers = []
    with common.progress("digits", _DIGITS.value) as advance:
        for i in picks[: _DIGITS.value]:
            start = time.perf_counter()
            inputs = client.encrypt(circuit, {"image": test[i]})
            outputs = fhe.evaluate(circuit, server, inputs)
            answers.append(client.decrypt(circuit, outputs)["return"])
            seconds = time.perf_counter() - start
            row = (labels[i], clear[i], answers[-1])
            table.add_row(*map(str, row), f"{seconds:.1f}")
            advance()
    common.console.print(table)
    right = answers == clear[picks[: _DIGITS.value]].tolist()
    line = {"accuracy": accuracy, "gates": circuit.num_bootstraps, "right": right}
    print(json.dumps(common.machine() | line))
    if not right:
        raise SystemExit("an encrypted answer differs from the one in the clear")


if __name__ == "__main__":
    app.run(main)
