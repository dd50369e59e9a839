"""A study: references, every recipe with every loss over seeds, and what changed.

Each job leaves a folder with its result, its predictions and, for compressed networks,
the artefact; a study that was killed goes on where it stopped.

    output/study.json
    output/reference/seed0/{result.json, predictions.npz, checkpoint/}
    output/80pct/kd/seed0/{result.json, predictions.npz, network.fid, checkpoint/}
"""

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fidelity import artifact, mismatch, models, quantize, report, slim
from fidelity.compress import Compressed, compress
from fidelity.data import Dataset, Source, load, long_tail, split, statistics, take
from fidelity.fit import fit, predict_all
from fidelity.groups import channel_groups
from fidelity.prune import kept_channels
from fidelity.recipe import Preservation, Recipe, preservation
from fidelity.scheme import sparsity
from fidelity.train import Config, Variables, make_predict, make_trainer

Row = dict[str, Any]
OnEpoch = Callable[[str, Row], None]


@dataclasses.dataclass(frozen=True)
class Study:
    """One data set, one network, recipes times losses times seeds.

    Attributes:
        data: see `fidelity.data.load`.
        network: see `fidelity.models.create`.
        recipes: how to compress.
        losses: names, see `fidelity.recipe.PRESERVATIONS`; "ce" is the baseline.
        seeds: number of references, each compressed by every recipe and loss.
        training: of the references.
        recovery: of the re-training.
        data_dir: of TFDS.
        image_size: to resize to, for sets of mixed sizes.
        imbalance: ratio of the largest to the smallest class after resampling.
        held_out: fraction of the training set kept for choosing, never trained on; 0
            trains on all of it, and nothing can be chosen.
        stem: "cifar" or "imagenet".
        bfloat16: compute in bfloat16.
    """

    data: str
    network: str
    recipes: tuple[Recipe, ...]
    losses: tuple[str, ...] = ("ce", "kd")
    seeds: int = 3
    training: Config = Config()  # noqa: RUF009 - frozen
    recovery: Config = Config(epochs=10, learning_rate=0.02)  # noqa: RUF009
    data_dir: str | None = None
    image_size: int | None = None
    imbalance: float = 1.0
    held_out: float = 0.1
    stem: str = "cifar"
    bfloat16: bool = False

    def __post_init__(self) -> None:
        for name in self.losses:
            preservation(name)
        if self.seeds < 1 or not self.recipes:
            raise ValueError("a study needs at least one seed and one recipe")
        if not self.held_out and any(
            preservation(n).rule == "search" for n in self.losses
        ):
            raise ValueError("a loss whose weights are searched needs held_out > 0")
        names = [recipe.name for recipe in self.recipes]
        if len(set(names)) != len(names):
            raise ValueError(f"two recipes have the same name among {names}")

    def module(self, num_classes: int) -> nn.Module:
        """The network for `num_classes` classes."""
        dtype = jnp.bfloat16 if self.bfloat16 else jnp.float32
        return models.create(self.network, num_classes, stem=self.stem, dtype=dtype)

    @property
    def total_epochs(self) -> int:
        """Epochs of all jobs together, for a progress bar."""
        jobs = sum(r.algorithm != "none" for r in self.recipes) * len(self.losses)
        return self.seeds * (self.training.epochs + jobs * self.recovery.epochs)


class Parts(NamedTuple):
    """The data of a study."""

    source: Source
    train: Dataset
    held_out: Dataset
    test: Dataset


class Result(NamedTuple):
    """What a study found."""

    rows: list[Row]  # one a (recipe, loss, seed)
    references: list[Row]  # one a seed
    churn: list[int]  # label changes between every two references
    flips: dict[tuple[str, str], np.ndarray]  # (recipe, loss) -> [S, N] bool
    predictions: dict[str, np.ndarray]  # job -> [N] labels on the test set
    parts: Parts
    train_predictions: dict[str, np.ndarray]  # job -> [N] labels on the training set


def load_parts(study: Study) -> Parts:
    """Loads, resamples and splits the data of a study."""
    source = load(study.data, data_dir=study.data_dir, image_size=study.image_size)
    if study.held_out:
        train, held_out = split(source.train, study.held_out, seed=0)
    else:
        train, held_out = source.train, take(source.train, np.arange(0))
    if study.imbalance != 1.0:
        train = long_tail(train, study.imbalance, seed=0)
    return Parts(source, train, held_out, source.test)


def run(
    study: Study,
    output: str | Path,
    *,
    resume: bool = False,
    on_epoch: OnEpoch = lambda job, record: None,
) -> Result:
    """Runs a study, or the rest of it.

    Args:
        study: what to do.
        output: folder of the results.
        resume: go on with what is there; it must be the same study.
        on_epoch: called with a job's name and each epoch's record.

    Returns:
        A `Result`.

    Raises:
        FileExistsError: `output` holds a study and `resume` is off.
        ValueError: `output` holds another study, or a damaged checkpoint.
    """
    output = Path(output)
    _claim(study, output, resume)
    parts = load_parts(study)
    module = study.module(len(parts.source.class_names))
    references = []
    for seed in range(study.seeds):
        folder = output / "reference" / f"seed{seed}"
        references.append(_reference(study, module, parts, seed, folder, on_epoch))
    rows, flips = [], {}
    labels = {f"reference/{s}": r[1] for s, r in enumerate(references)}
    for recipe in study.recipes:
        names = study.losses if recipe.algorithm != "none" else study.losses[:1]
        wide = _union(names)
        for name in names:
            loss = preservation(name).widen(wide)
            label = name if recipe.algorithm != "none" else "none"
            changed = []
            for seed in range(study.seeds):
                folder = output / slug(recipe.name) / label / f"seed{seed}"
                row, found = _compressed(
                    study,
                    module,
                    parts,
                    references[seed],
                    (recipe, label, loss, seed),
                    folder,
                    on_epoch,
                )
                rows.append(row)
                labels[f"{recipe.name}/{label}/{seed}"] = found
                changed.append(found["test"] != references[seed][1]["test"])
            flips[recipe.name, label] = np.stack(changed)
    tests = [found["test"] for _, found, _ in references]
    churn = [int(np.sum(a != b)) for i, a in enumerate(tests) for b in tests[:i]]
    report.write_json_lines(output / "results.jsonl", rows)
    reference_rows = [row for row, _, _ in references]
    predictions, train_predictions = (
        {job: found[split] for job, found in labels.items() if split in found}
        for split in ("test", "train")
    )
    return Result(
        rows, reference_rows, churn, flips, predictions, parts, train_predictions
    )


def _union(names: tuple[str, ...]) -> tuple[str, ...]:
    """The terms of all losses with fixed weights, in a stable order."""
    chosen = [preservation(name) for name in names]
    fixed = [p for p in chosen if not p.tuned and p.rule != "search"]
    return tuple(dict.fromkeys(term for p in fixed for term in p.terms))


def slug(name: str) -> str:
    """A name as a folder name, e.g. "80% + int8" -> "80pct-int8"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("%", "pct")).strip("-")


def _claim(study: Study, output: Path, resume: bool) -> None:
    """Checks that `output` is free, or holds the same study."""
    settings = json.loads(json.dumps(dataclasses.asdict(study)))
    path = output / "study.json"
    if path.exists():
        if not resume:
            raise FileExistsError(
                f"{output} holds a study already: pass resume (--resume) to go on with "
                "it, or choose another folder"
            )
        found = json.loads(path.read_text())
        differing = [k for k in settings if found.get(k) != settings[k]]
        if differing:
            raise ValueError(
                f"{output} holds another study; it differs in {', '.join(differing)}: "
                "repeat its settings, or choose another folder"
            )
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1))


def _finished(folder: Path) -> tuple[Row, dict[str, np.ndarray]] | None:
    """Result and predictions of a job that is done."""
    if not (folder / "result.json").exists():
        return None
    row = json.loads((folder / "result.json").read_text())
    with np.load(folder / "predictions.npz") as saved:
        return row, dict(saved)


def _finish(folder: Path, row: Row, logits: dict[str, np.ndarray]) -> None:
    """Writes a job's files; the result last, since it marks the job as done."""
    labels = {name: z.argmax(-1).astype(np.int32) for name, z in logits.items()}
    np.savez_compressed(folder / "predictions.npz", allow_pickle=False, **labels)
    partial = folder / "result.partial"
    partial.write_text(json.dumps(row))
    partial.replace(folder / "result.json")


def _reference(
    study: Study,
    module: nn.Module,
    parts: Parts,
    seed: int,
    folder: Path,
    on_epoch: OnEpoch,
) -> tuple[Row, dict[str, np.ndarray], Variables]:
    """Trains (or restores) the reference of one seed."""
    mean, std = statistics(parts.train)
    config = study.training
    trainer = make_trainer(
        module,
        config,
        num_examples=len(parts.train.labels),
        image_shape=parts.train.images.shape[1:],
        mean=mean,
        std=std,
    )
    job = f"reference seed {seed}"
    state, history = fit(
        trainer,
        trainer.init(jax.random.key(seed)),
        parts.train,
        config.epochs,
        directory=folder / "checkpoint",
        resume=True,
        on_epoch=lambda record: on_epoch(job, record),
    )
    variables = trainer.compressed(state)
    done = _finished(folder)
    if done is None:
        logits = {
            "test": predict_all(trainer.predict, variables, parts.test),
            "held_out": predict_all(trainer.predict, variables, parts.held_out),
        }
        right = logits["test"].argmax(-1) == parts.test.labels
        row = {
            "job": job,
            "network": study.network,
            "seed": seed,
            "accuracy": float(right.mean()),
            "parameters": slim.count_parameters(variables),
            "seconds": sum(record["seconds"] for record in history),
        }
        np.savez(folder / "logits.npz", allow_pickle=False, **logits)
        train = predict_all(trainer.predict, variables, parts.train)
        _finish(folder, row, logits | {"train": train})
        done = _finished(folder)
        assert done is not None
    with np.load(folder / "logits.npz") as saved:
        return *done, {**variables, "logits": dict(saved)}


def _compressed(
    study: Study,
    module: nn.Module,
    parts: Parts,
    reference: tuple[Row, dict[str, np.ndarray], Variables],
    task: tuple[Recipe, str, Preservation, int],
    folder: Path,
    on_epoch: OnEpoch,
) -> tuple[Row, dict[str, np.ndarray]]:
    """Runs one recipe with one loss from one reference, unless it is done."""
    recipe, label, loss, seed = task
    job = f"{recipe.name} {label} seed {seed}"
    done = _finished(folder)
    if done is not None:
        for _ in range(study.recovery.epochs if recipe.algorithm != "none" else 0):
            on_epoch(job, {})
        return done
    variables = {k: v for k, v in reference[2].items() if k != "logits"}
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    small = compress(
        jax.random.fold_in(jax.random.key(seed), 1),
        module,
        variables,
        parts.train,
        recipe,
        loss,
        study.recovery,
        held_out=parts.held_out,
        directory=str(folder / "checkpoint"),
        resume=True,
        on_epoch=lambda record: on_epoch(job, record),
    )
    seconds = time.perf_counter() - start
    exported = export(module, recipe, variables, small, parts, folder / "network.fid")
    # What is measured is what was written, read back.
    loaded, _ = artifact.load(folder / "network.fid")
    shipped = jax.device_put(quantize.from_integers(loaded))
    logits = {
        "test": predict_all(small.trainer.predict, shipped, parts.test),
        "held_out": predict_all(small.trainer.predict, shipped, parts.held_out),
        "train": predict_all(small.trainer.predict, shipped, parts.train),
    }
    kept = reference[2]["logits"]
    found = mismatch.compare(kept["test"], logits["test"], parts.test.labels)
    held_out = mismatch.churn(kept["held_out"], logits["held_out"])
    row = {
        "data": study.data,
        "network": study.network,
        "recipe": recipe.name,
        "loss": label,
        "seed": seed,
        **report.scalars(found),
        "cie_by_class": np.asarray(found.cie_by_class).tolist(),
        "held_out_cie": int(held_out),
        "sparsity": float(sparsity(small.variables["params"])),
        "weights": dict(zip(loss.terms, small.weights, strict=False)),
        "seconds": seconds,
        **exported,
    }
    _finish(folder, row, logits)
    # A finished job never goes on, and a study has hundreds of them.
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return row, {k: z.argmax(-1).astype(np.int32) for k, z in logits.items()}


def export(
    module: nn.Module,
    recipe: Recipe,
    reference: Variables,
    small: Compressed,
    parts: Parts,
    path: Path,
) -> Row:
    """Writes the artefact, filters removed and weights as integers, and measures it.

    Args:
        module: the network.
        recipe: how it was compressed.
        reference: before.
        small: after.
        parts: data, for the image shape and the latency's input.
        path: file to write.

    Returns:
        Bytes of the file and of the reference as float32; with removed filters also
        parameters and seconds for a batch, before and after.
    """
    variables, row = small.variables, {}
    if recipe.structure == "filter" and recipe.sparsity:
        shape = (1, *parts.train.images.shape[1:])
        example = jax.ShapeDtypeStruct(shape, jnp.float32)
        groups = channel_groups(module.apply, reference, example)
        keep = kept_channels(groups, variables["params"])
        variables = slim.shrink(variables, groups, keep)
        mean, std = statistics(parts.train)
        images = jnp.asarray(parts.test.images[:256])
        predict = make_predict(module, mean, std)
        row = {
            "parameters": slim.count_parameters(variables),
            "seconds_a_batch": slim.measure_latency(predict, variables, images),
            "seconds_a_batch_reference": slim.measure_latency(
                predict, reference, images
            ),
        }
    if recipe.grid:
        integers = quantize.to_integers(variables["params"], recipe.grid)
        variables = {**variables, "params": integers}
    size = artifact.save(path, variables, metadata=dataclasses.asdict(recipe))
    dense = sum(4 * leaf.size for leaf in jax.tree.leaves(reference))
    return {**row, "bytes": size, "bytes_reference": dense}
