r"""Relates the label changes of compressed networks to memorization.

Trains an ensemble of networks on random subsets, which says how much each training
example is memorized and which test examples depend on it; trains references and
compresses them every way; then asks whether the examples that change label are the
memorized ones. Example:

    python -m launch.longtail --data=tfds:fashion_mnist --network=cnn --models=1000 \
        --recipes=0.5,0.8,0.95,int4,int3,int2,filter:0.25,filter:0.5,filter:0.75 \
        --losses=ce,kd --seeds=5 --ensemble_chunk=100 --bfloat16

A recipe is as in launch.compress, with "filter:", "block:" or "nm:" before it for
another structure than single weights. Expected: MNIST-5k, MLP, the defaults: 2 to 4
minutes on 2 CPU cores; training examples that change label are the memorized ones (AUC
0.9 and more), test examples lean on memorized ones a little (AUC about 0.6, no more
than those on which two references differ). Results under --output: tables,
relation.jsonl (a row a split, recipe and loss), summary.jsonl, scores.npz,
influence.npz and proxies.npz with the ids of the examples, and PNG plots. A killed run
goes on with --resume.
"""

from collections.abc import Sequence

from absl import app, flags

from fidelity import models
from fidelity.experiment import Study
from fidelity.recipe import PRESERVATIONS, STRUCTURES, Recipe, parse
from fidelity.train import Config
from launch import tails

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
_NETWORK = flags.DEFINE_string("network", "mlp", f"one of {', '.join(models.names())}")
_RECIPES = flags.DEFINE_list(
    "recipes",
    ["0.8", "0.9", "0.95", "int2"],
    "sparsity in [0,1), bits of the weights, or both; STRUCTURE:0.5 to prune otherwise",
)
_LOSSES = flags.DEFINE_list(
    "losses", ["ce", "kd"], f"of {', '.join(PRESERVATIONS)}; ce is the baseline"
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "references, each compressed every way")
_EPOCHS = flags.DEFINE_integer("epochs", 15, "of the references")
_RECOVERY = flags.DEFINE_integer("recovery_epochs", 5, "of the re-training")
_RATE = flags.DEFINE_float("learning_rate", 0.1, "of the references, at its peak")
_RECOVERY_RATE = flags.DEFINE_float("recovery_learning_rate", 0.02, "at its peak")
_BATCH = flags.DEFINE_integer("batch_size", 128, "of both")
_PAD = flags.DEFINE_integer("pad", 0, "pixels of the random crop, everywhere")
_FLIP = flags.DEFINE_bool("flip", False, "random horizontal flips, everywhere")
_BFLOAT16 = flags.DEFINE_bool("bfloat16", False, "compute in bfloat16 (GPU, TPU)")
_MODELS = flags.DEFINE_integer("models", 64, "of the ensemble", lower_bound=1)
_ENSEMBLE = flags.DEFINE_string("ensemble_network", None, "--network if not given")
_ENSEMBLE_EPOCHS = flags.DEFINE_integer("ensemble_epochs", 6, "of each of its models")
_ENSEMBLE_BATCH = flags.DEFINE_integer("ensemble_batch_size", 128, "of its models")
_ENSEMBLE_RATE = flags.DEFINE_float("ensemble_learning_rate", 0.05, "at its peak")
_CHUNK = flags.DEFINE_integer("ensemble_chunk", 32, "models trained at once")
_RATIO = flags.DEFINE_float("ratio", 0.7, "of the training set in a subset")
_HELD_OUT = flags.DEFINE_float("held_out", 0.1, "of the training set, left out of all")
_SCORES = flags.DEFINE_string(
    "scores",
    None,
    "in place of an ensemble: npz of scores (ids as in --data), or the --output of an "
    "earlier run on the same examples",
)
_PROXIES = flags.DEFINE_integer("proxy_seeds", 2, "runs for the proxies, 0 for none")
_RESAMPLES = flags.DEFINE_integer("resamples", 300, "of the bootstrap")
_OUTPUT = flags.DEFINE_string("output", "results/longtail", "folder of the results")
_RESUME = flags.DEFINE_bool("resume", False, "go on with the study in --output")


def parse_recipe(text: str) -> Recipe:
    """A recipe with its structure, e.g. "filter:0.5" or "0.8+int8"."""
    structure, colon, rest = text.partition(":")
    if not colon:
        return parse(text)
    if structure not in STRUCTURES:
        raise ValueError(
            f"unknown structure {structure!r}; choose from {', '.join(STRUCTURES)}"
        )
    return parse(rest, structure=structure)


def study_from_flags() -> tuple[Study, tails.Settings]:
    """The studies that the flags describe."""
    pad, flip, batch = _PAD.value, _FLIP.value, _BATCH.value
    study = Study(
        data=_DATA.value,
        network=_NETWORK.value,
        recipes=tuple(map(parse_recipe, _RECIPES.value)),
        losses=tuple(_LOSSES.value),
        seeds=_SEEDS.value,
        training=Config(_EPOCHS.value, batch, _RATE.value, pad=pad, flip=flip),
        recovery=Config(
            _RECOVERY.value, batch, _RECOVERY_RATE.value, pad=pad, flip=flip
        ),
        data_dir=_DATA_DIR.value,
        image_size=_IMAGE_SIZE.value,
        imbalance=_IMBALANCE.value,
        held_out=_HELD_OUT.value,
        bfloat16=_BFLOAT16.value,
    )
    settings = tails.Settings(
        models=_MODELS.value,
        network=_ENSEMBLE.value or _NETWORK.value,
        training=Config(
            _ENSEMBLE_EPOCHS.value,
            _ENSEMBLE_BATCH.value,
            _ENSEMBLE_RATE.value,
            pad=pad,
            flip=flip,
        ),
        ratio=_RATIO.value,
        chunk=_CHUNK.value,
        scores=_SCORES.value,
        proxy_seeds=_PROXIES.value,
        resamples=_RESAMPLES.value,
    )
    return study, settings


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    try:
        tails.run(*study_from_flags(), _OUTPUT.value, _RESUME.value)
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    app.run(main)
