"""Long runs on a host: progress, checkpoints, data larger than the device's memory."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fidelity import checkpoint
from fidelity.data import Dataset
from fidelity.train import Anchor, Metrics, State, Trainer, Variables

Record = dict[str, Any]


def to_device(dataset: Dataset) -> tuple[jax.Array, jax.Array]:
    """`(images, labels)` of a data set on the default device."""
    return jnp.asarray(dataset.images), jnp.asarray(dataset.labels)


def fit(
    trainer: Trainer,
    state: State,
    dataset: Dataset,
    epochs: int,
    *,
    reference: Variables | None = None,
    anchor: Anchor | None = None,
    directory: str | Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 30.0,
    on_epoch: Callable[[Record], None] | None = None,
    device_bytes: float = 16e9,
) -> tuple[State, list[Record]]:
    """Trains until `epochs` are done.

    A run that was killed and is resumed ends with the same numbers as one that was not:
    all randomness comes from the key in the state.

    Args:
        trainer: from `fidelity.train.make_trainer`.
        state: where to start (and the shapes of what to restore).
        dataset: training set, on the host.
        epochs: to do in all, those of a restored checkpoint included.
        reference: network to preserve.
        anchor: see `fidelity.learning_compression`.
        directory: folder for checkpoints, none if None.
        resume: go on from the newest checkpoint in `directory`, if any.
        checkpoint_seconds: a checkpoint follows the first epoch that ends so long after
            the last one, and the last epoch.
        on_epoch: called with each epoch's record, e.g. to move a progress bar.
        device_bytes: images beyond this are sent to the device in pieces.

    Returns:
        The last state and one record an epoch: loss terms, weights, training accuracy,
        seconds, examples a second.

    Raises:
        ValueError: from `fidelity.checkpoint.restore`.
    """
    history: list[Record] = []
    done = 0
    if directory is not None and resume and checkpoint.latest(directory) is not None:
        done, state, saved = checkpoint.restore(directory, state)
        history = saved["history"]
        for record in history:
            if on_epoch:
                on_epoch(record)
    whole = dataset.images.nbytes <= device_bytes
    data = to_device(dataset) if whole and done < epochs else None
    saved_at = time.monotonic()
    for epoch in range(done, epochs):
        start = time.perf_counter()
        state, order = trainer.shuffle(state, len(dataset.labels))
        if data is not None:
            state, metrics = _run(trainer, state, *data, order, reference, anchor)
        else:
            state, metrics = _run_in_pieces(
                trainer, state, dataset, order, reference, anchor, device_bytes
            )
        jax.block_until_ready(metrics)
        seconds = time.perf_counter() - start
        record = {
            "epoch": epoch + 1,
            "terms": np.asarray(metrics.terms).tolist(),
            "weights": np.asarray(metrics.weights).tolist(),
            "train_accuracy": float(metrics.accuracy),
            "seconds": seconds,
            "examples_per_second": len(dataset.labels) / seconds,
        }
        history.append(record)
        if on_epoch:
            on_epoch(record)
        due = epoch + 1 == epochs or time.monotonic() - saved_at >= checkpoint_seconds
        if directory is not None and due:
            checkpoint.save(directory, epoch + 1, state, {"history": history})
            saved_at = time.monotonic()
    return state, history


def _run(
    trainer: Trainer,
    state: State,
    images: jax.Array,
    labels: jax.Array,
    order: jax.Array,
    reference: Variables | None,
    anchor: Anchor | None,
) -> tuple[State, Metrics]:
    """The batches of `order`, by the faster of two equal ways."""
    if jax.default_backend() != "cpu":
        return trainer.steps(state, images, labels, order, reference, anchor)
    # XLA's convolutions on CPUs are an order of magnitude slower inside a loop.
    rows = []
    for chosen in np.asarray(order):
        state, metrics = trainer.step(state, images, labels, chosen, reference, anchor)
        rows.append(metrics)
    return state, jax.tree.map(lambda *xs: jnp.stack(xs).mean(0), *rows)


def _run_in_pieces(
    trainer: Trainer,
    state: State,
    dataset: Dataset,
    order: jax.Array,
    reference: Variables | None,
    anchor: Anchor | None,
    device_bytes: float,
) -> tuple[State, Metrics]:
    """The batches of `order`, with a piece of them on the device at a time."""
    batches, batch_size = order.shape
    per_batch = batch_size * dataset.images[0].nbytes
    # Equal pieces (the last may be shorter) so that two shapes are compiled at most.
    size = max(1, min(batches, int(device_bytes // per_batch)))
    sums: Metrics | None = None
    for start in range(0, batches, size):
        piece = np.asarray(order[start : start + size])
        rows = piece.reshape(-1)
        images, labels = (jnp.asarray(x[rows]) for x in dataset[:2])
        within = jnp.arange(rows.size).reshape(piece.shape)
        state, metrics = _run(trainer, state, images, labels, within, reference, anchor)
        part = len(piece) / batches
        share = jax.tree.map(functools.partial(jnp.multiply, part), metrics)
        sums = share if sums is None else jax.tree.map(jnp.add, sums, share)
    assert sums is not None
    return state, sums


def predict_all(
    predict: Callable[[Variables, jax.Array], jax.Array],
    variables: Variables,
    dataset: Dataset,
    *,
    batch_size: int = 500,
) -> np.ndarray:
    """Logits of a data set on the host, `[N, C]` float32.

    Args:
        predict: `Trainer.predict` or `fidelity.train.make_predict(...)`.
        variables: of the network.
        dataset: on the host.
        batch_size: images at a time; the last batch is filled up, so that
            one shape compiles.
    """
    if not len(dataset.labels):
        one = jnp.zeros((1, *dataset.images.shape[1:]), dataset.images.dtype)
        classes = jax.eval_shape(predict, variables, one).shape[-1]
        return np.zeros((0, classes), np.float32)
    rows = []
    for start in range(0, len(dataset.labels), batch_size):
        images = dataset.images[start : start + batch_size]
        missing = min(batch_size, len(dataset.labels)) - len(images)
        padded = np.pad(images, [(0, missing)] + [(0, 0)] * (images.ndim - 1))
        logits = predict(variables, jnp.asarray(padded))[: len(images)]
        rows.append(np.asarray(logits, np.float32))
    return np.concatenate(rows)
