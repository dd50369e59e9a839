"""Many models, each trained on a random subset, and what each of them got right.

The estimators of Feldman & Zhang (2020, arXiv:2008.03703) need two bits a model and
example: was it in the model's training set, and did the model get it right. That is
all that is kept (`fidelity.votes`); `fidelity.memorize` derives the rest offline.

One model is a pure function, a `Learner`; `train_ensemble` vmaps it over models, maps
over devices, works in chunks and leaves a file for each, so that a killed run goes on.

Shapes: `M` models, `N` training examples, `T` test examples, `n` size of a subset.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fidelity import parallel, votes
from fidelity.data import Dataset, statistics
from fidelity.models.shift import shifted_convolutions
from fidelity.train import Config, Variables, make_trainer
from fidelity.votes import Votes, unpack

Record = dict[str, Any]
Learn = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


class Learner(NamedTuple):
    """How one model is trained and judged.

    Attributes:
        learn: `(data, key, rows [n]) -> (right_train [N], right_test [T])`, bool; pure,
            trains on the examples `rows` and says what the model gets right.
        data: pytree of arrays that all models share.
        name: settings in words; chunk files of another name are refused.
    """

    learn: Learn
    data: Any
    name: str


def subset_size(num_examples: int, ratio: float) -> int:
    """`n = floor(ratio N)`, checked to leave examples in and out.

    Raises:
        ValueError: a ratio outside `(0, 1)`, or a subset with none or all.
    """
    size = int(ratio * num_examples + 1e-9) if 0 < ratio < 1 else 0
    if not 0 < size < num_examples:
        raise ValueError(
            f"the ratio {ratio} of {num_examples} examples must leave some in and some "
            "out: choose one in (0, 1), e.g. 0.7"
        )
    return size


def in_batches(
    function: Callable[..., Any], arrays: tuple[jax.Array, ...], batch_size: int
) -> Any:
    """`function(*rows)` over batches of examples, results joined; jittable.

    Args:
        function: arrays `[B, ...]` to a pytree of arrays `[B, ...]`.
        arrays: each `[N, ...]`; the last batch is filled up with the last example.
        batch_size: `B`.
    """
    count = len(arrays[0])
    size = min(batch_size, count)
    batches = -(-count // size)
    rows = jnp.minimum(jnp.arange(batches * size), count - 1).reshape(batches, size)
    found = jax.lax.map(lambda r: function(*(x[r] for x in arrays)), rows)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], found)


def network_learner(
    module: nn.Module,
    config: Config,
    train: Dataset,
    test: Dataset,
    *,
    ratio: float = 0.7,
    batch_size: int = 500,
) -> Learner:
    """A `Learner` that trains a network from scratch by SGD.

    Convolutions run as matrix products, see `fidelity.models.shift`. Batch statistics,
    if the network has them, see the model's own subset only.

    Args:
        module: from `fidelity.models.create`; its type of computation may be bfloat16.
        config: hyper-parameters; large batches save the traffic of weights.
        train: all training examples.
        test: test examples.
        ratio: of the subsets, which sets the length of the schedule.
        batch_size: of the evaluation.

    Raises:
        ValueError: a subset smaller than one batch.
    """
    mean, std = statistics(train)
    trainer = make_trainer(
        module,
        config,
        num_examples=subset_size(len(train.labels), ratio),
        image_shape=train.images.shape[1:],
        mean=mean,
        std=std,
    )

    def right(variables: Variables, images: jax.Array, labels: jax.Array) -> jax.Array:
        def batch(images: jax.Array, labels: jax.Array) -> jax.Array:
            return jnp.argmax(trainer.predict(variables, images), -1) == labels

        return in_batches(batch, (images, labels), batch_size)

    def learn(
        data: Any, key: jax.Array, rows: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        images, labels, test_images, test_labels = data

        def epoch(state: Any, _: None) -> tuple[Any, None]:
            state, order = trainer.shuffle(state, len(rows))
            return trainer.steps(state, images, labels, rows[order])[0], None

        with shifted_convolutions():
            state, _ = jax.lax.scan(epoch, trainer.init(key), None, config.epochs)
            variables = trainer.compressed(state)
            found = right(variables, images, labels)
            return found, right(variables, test_images, test_labels)

    data = tuple(map(jnp.asarray, (*train[:2], *test[:2])))
    return Learner(learn, data, f"{module} {config}")


def make_program(
    learner: Learner, num_examples: int, size: int, devices: Sequence[jax.Device]
) -> Callable[[jax.Array], list[np.ndarray]]:
    """Compiles, when first called, the training of a chunk of models.

    Args:
        learner: one model.
        num_examples: `N`.
        size: `n`, of a subset.
        devices: that share the models.

    Returns:
        `(keys [M, 2] uint32) -> [member, train, test]`, the bits of `Votes`, on the
        host; `M` is a multiple of the devices.
    """
    own = np.array(parallel.places(devices), int)
    alone = len(own) == len(devices)

    def one(data: Any, key_data: jax.Array) -> tuple[jax.Array, ...]:
        subset_key, key = jax.random.split(jax.random.wrap_key_data(key_data))
        rows = jax.random.permutation(subset_key, num_examples)[:size]
        member = jnp.zeros(num_examples, bool).at[rows].set(True)
        train, test = learner.learn(data, key, rows)
        return jnp.packbits(member), jnp.packbits(train), jnp.packbits(test)

    def many(data: Any, keys: jax.Array) -> tuple[jax.Array, ...]:
        found = jax.vmap(one, in_axes=(None, 0))(data, keys)
        # Other hosts' votes are out of reach but for an exchange.
        return found if alone else jax.lax.all_gather(found, "devices", tiled=True)

    if len(devices) == 1:
        single = jax.jit(many)
        return lambda keys: [np.asarray(x) for x in single(learner.data, keys)]
    mapped = jax.pmap(many, "devices", in_axes=(None, 0), devices=devices)
    data = parallel.place(learner.data, devices)

    def over(keys: jax.Array) -> list[np.ndarray]:
        found = mapped(data, keys.reshape(len(devices), -1, *keys.shape[1:])[own])
        return [
            np.asarray(x).reshape(-1, x.shape[-1]) if alone else np.asarray(x[0])
            for x in found
        ]

    return over


def train_ensemble(
    key: jax.Array,
    learner: Learner,
    train_index: np.ndarray,
    test_index: np.ndarray,
    num_models: int,
    *,
    ratio: float = 0.7,
    chunk: int = 64,
    devices: int | None = None,
    directory: str | Path | None = None,
    resume: bool = False,
    on_chunk: Callable[[Record], None] = lambda record: None,
) -> Votes:
    """Trains `M` models, each on its own random subset of exactly `n` examples.

    Model `m` draws its subset and its weights from `fold_in(key, m)` alone, so chunks,
    devices and interruptions do not change what it is.

    Args:
        key: PRNG key.
        learner: one model, e.g. `network_learner(...)`.
        train_index: `[N]` ids of the training examples.
        test_index: `[T]` ids of the test examples.
        num_models: `M`; a last chunk that is not full is trained whole and cut.
        ratio: `n / N`; 0.7 is Feldman & Zhang's.
        chunk: models trained at once over all devices; memory grows with it.
        devices: number of devices, all if None. Where they belong to several processes
            (`jax.distributed`) each of these makes the same call.
        directory: for a file a chunk, none if None. Several hosts must share it.
        resume: go on with the chunks in `directory`.
        on_chunk: called after each chunk with models done, seconds, mean accuracies on
            the subset, on the rest of the training set, and on the test set.

    Returns:
        `Votes` of all models.

    Raises:
        FileExistsError: `directory` holds chunks and `resume` is off.
        ValueError: chunks of another ensemble, or arguments out of range.
    """
    group = jax.devices()[:devices]
    if devices is not None and len(group) != devices:
        raise ValueError(f"{devices} devices asked for, {len(group)} present")
    chunk = min(chunk, num_models)
    if num_models < 1 or chunk < 1:
        raise ValueError(f"models and chunk must be >= 1: {num_models}, {chunk}")
    # A chunk is spread evenly, and so may grow by less than one model a device.
    chunk = -(-chunk // len(group)) * len(group)
    size = subset_size(len(train_index), ratio)
    settings = {
        "learner": learner.name,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "ratio": ratio,
        "chunk": chunk,
    }
    folder = Path(directory) if directory is not None else None
    first_process = jax.process_index() == 0
    if folder is not None and first_process:
        _claim(folder, settings, resume)
    run = None
    parts = []
    for first in range(0, num_models, chunk):
        path = folder / f"chunk-{first:06d}.npz" if folder is not None else None
        if path is not None and path.exists():
            part = votes.load(path)
            _check_ids(path, part, train_index, test_index)
            record = json.loads(path.with_suffix(".json").read_text())
        else:
            start = time.perf_counter()
            run = run or make_program(learner, len(train_index), size, group)
            keys = jax.vmap(lambda m: jax.random.key_data(jax.random.fold_in(key, m)))(
                jnp.arange(first, first + chunk)
            )
            found = run(keys)
            part = Votes(found[0], found[1], found[2], train_index, test_index)
            record = {"seconds": time.perf_counter() - start} | _accuracies(part)
            if path is not None and first_process:
                path.with_suffix(".json").write_text(json.dumps(record))
                votes.save(path, part)  # last, since it marks the chunk as done
        parts.append(part)
        on_chunk({"models": min(first + chunk, num_models)} | record)
    bits = [np.concatenate(x)[:num_models] for x in zip(*parts, strict=True)][:3]
    return Votes(bits[0], bits[1], bits[2], train_index, test_index)


def _claim(folder: Path, settings: Record, resume: bool) -> None:
    """Checks that `folder` is free, or holds chunks of the same ensemble."""
    path = folder / "ensemble.json"
    if path.exists():
        if not resume:
            raise FileExistsError(
                f"{folder} holds an ensemble already: pass resume (--resume) to go on "
                "with it, or choose another folder"
            )
        found = json.loads(path.read_text())
        differing = [k for k in settings if found.get(k) != settings[k]]
        if differing:
            raise ValueError(
                f"{folder} holds another ensemble; it differs in "
                f"{', '.join(differing)}: repeat its settings, or choose another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1))


def _check_ids(
    path: Path, part: Votes, train_index: np.ndarray, test_index: np.ndarray
) -> None:
    same = np.array_equal(part.train_index, train_index)
    if not same or not np.array_equal(part.test_index, test_index):
        raise ValueError(
            f"{path} is about other examples: the data set has changed; choose "
            "another folder"
        )


def _accuracies(part: Votes) -> Record:
    count, tests = len(part.train_index), len(part.test_index)
    inside, right = unpack(part.member, count), unpack(part.train, count)
    return {
        "subset_accuracy": float(right[inside].mean()),
        "rest_accuracy": float(right[~inside].mean()),
        "test_accuracy": float(unpack(part.test, tests).mean()),
    }
