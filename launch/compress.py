r"""Compresses a network and reports which answers changed.

Trains references, prunes and quantizes them, re-trains with each loss, and counts the
test images whose label changed against the reference (CIE), and those of them on which
the reference was right (CIE-U), beside the churn between two references.

A recipe is a sparsity, bits, or both; the other flags say how to prune. Example:

    python -m launch.compress --data=tfds:cifar10 --network=resnet20 \
        --recipes=0.5,0.9,int4,0.8+int8 --losses=ce,mse,kd --seeds=3

Expected: MNIST-5k, CNN, the defaults: 3 minutes on 2 CPU cores; "kd" changes about half
as many labels as "ce" at the same accuracy. Results: a table, results.jsonl and
summary.jsonl, PNG plots, and one folder a network with its artefact, under --output. A
killed run goes on with --resume and ends with the same numbers.
"""

from collections.abc import Sequence
from typing import Any

from absl import app, flags

from fidelity import models
from fidelity.experiment import Study
from fidelity.recipe import (
    ALGORITHMS,
    CRITERIA,
    PRESERVATIONS,
    SCHEDULES,
    STRUCTURES,
    parse,
)
from fidelity.train import Config
from launch import studies

_DATA = flags.DEFINE_string(
    "data",
    "mnist5k",
    "mnist5k (no download), idx:/folder, npz:/file, folder:/path or tfds:name",
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "folder of prepared TFDS sets")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "resize images to this side")
_IMBALANCE = flags.DEFINE_float(
    "imbalance", 1.0, "long tail: largest class over smallest", lower_bound=1.0
)
_NETWORK = flags.DEFINE_string("network", "cnn", f"one of {', '.join(models.names())}")
_STEM = flags.DEFINE_enum("stem", "cifar", ["cifar", "imagenet"], "input layers")
_RECIPES = flags.DEFINE_list(
    "recipes",
    ["0.8", "int4", "0.8+int8"],
    "sparsity in [0,1), bits of the weights (int2 to int8), or both",
)
_INPUT_BITS = flags.DEFINE_integer("input_bits", 0, "bits of layer inputs, 0 for float")
_STRUCTURE = flags.DEFINE_enum("structure", "unstructured", STRUCTURES, "what to prune")
_CRITERION = flags.DEFINE_enum("criterion", "magnitude", CRITERIA, "how to score it")
_SCOPE = flags.DEFINE_enum("scope", "global", ["global", "layer"], "ranked together")
_SCHEDULE = flags.DEFINE_enum("schedule", "oneshot", SCHEDULES, "when to prune")
_ALGORITHM = flags.DEFINE_enum("algorithm", "retrain", ALGORITHMS, "how to recover")
_PER_CHANNEL = flags.DEFINE_bool("per_channel", True, "a scale an output channel")
_SYMMETRIC = flags.DEFINE_bool("symmetric", True, "zero point 0 for weights")
_LOSSES = flags.DEFINE_list(
    "losses", ["ce", "mse", "kd"], f"of {', '.join(PRESERVATIONS)}; ce is the baseline"
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "references, each compressed every way")
_EPOCHS = flags.DEFINE_integer("epochs", 15, "of the references")
_RECOVERY = flags.DEFINE_integer("recovery_epochs", 8, "of the re-training")
_RATE = flags.DEFINE_float("learning_rate", 0.1, "of the references, at its peak")
_RECOVERY_RATE = flags.DEFINE_float("recovery_learning_rate", 0.02, "at its peak")
_BATCH = flags.DEFINE_integer("batch_size", 128, "of both")
_PAD = flags.DEFINE_integer("pad", 2, "pixels of the random crop")
_FLIP = flags.DEFINE_bool("flip", False, "random horizontal flips (not for digits)")
_BFLOAT16 = flags.DEFINE_bool("bfloat16", False, "compute in bfloat16 (GPU, TPU)")
_OUTPUT = flags.DEFINE_string("output", "results/compress", "folder of the results")
_RESUME = flags.DEFINE_bool("resume", False, "go on with the study in --output")


def study_from_flags() -> Study:
    """The study that the flags describe."""
    recipes = tuple(
        parse(
            text,
            structure=_STRUCTURE.value,
            criterion=_CRITERION.value,
            scope=_SCOPE.value,
            schedule=_SCHEDULE.value,
            input_bits=_INPUT_BITS.value,
            per_channel=_PER_CHANNEL.value,
            symmetric=_SYMMETRIC.value,
            algorithm=_ALGORITHM.value,
        )
        for text in _RECIPES.value
    )
    common_config: dict[str, Any] = {
        "batch_size": _BATCH.value,
        "pad": _PAD.value,
        "flip": _FLIP.value,
    }
    return Study(
        data=_DATA.value,
        network=_NETWORK.value,
        recipes=recipes,
        losses=tuple(_LOSSES.value),
        seeds=_SEEDS.value,
        training=Config(_EPOCHS.value, learning_rate=_RATE.value, **common_config),
        recovery=Config(
            _RECOVERY.value, learning_rate=_RECOVERY_RATE.value, **common_config
        ),
        data_dir=_DATA_DIR.value,
        image_size=_IMAGE_SIZE.value,
        imbalance=_IMBALANCE.value,
        stem=_STEM.value,
        bfloat16=_BFLOAT16.value,
    )


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    try:
        studies.run(study_from_flags(), _OUTPUT.value, _RESUME.value)
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    app.run(main)
