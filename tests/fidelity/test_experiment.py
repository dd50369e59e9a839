"""Studies from end to end on a tiny set: results, artefacts, resuming after a kill."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_problem import dataset

from fidelity import artifact, data, experiment, quantize
from fidelity.dataset import make_source
from fidelity.experiment import Study
from fidelity.recipe import Recipe, parse
from fidelity.train import Config

CONFIG = Config(epochs=3, batch_size=32, learning_rate=0.05, pad=1, flip=False)
UNSTABLE = ("seconds", "seconds_a_batch", "seconds_a_batch_reference")


@pytest.fixture(scope="module", autouse=True)
def _tiny_set():
    def builder(data_dir, image_size):
        train, test = dataset(256, seed=0), dataset(128, seed=1)
        return make_source("tiny", train, test, [f"quarter {i}" for i in range(4)])

    data.register("tiny", builder)


def study(**changes):
    settings = {
        "data": "tiny",
        "network": "mlp",
        "recipes": (parse("0.5+int4"), parse("int8", algorithm="none")),
        "losses": ("ce", "kd"),
        "seeds": 2,
        "training": CONFIG,
        "recovery": dataclasses.replace(CONFIG, epochs=2),
    }
    return Study(**{**settings, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("study")
    return output, experiment.run(study(), output)


def test_rows_cover_recipes_losses_and_seeds(finished):
    _, result = finished
    found = [(row["recipe"], row["loss"], row["seed"]) for row in result.rows]
    retrained = [("50% + int4", loss, s) for loss in ("ce", "kd") for s in (0, 1)]
    # Without re-training the loss plays no part, so there is one row a seed.
    assert found == retrained + [("int8", "none", s) for s in (0, 1)]
    assert len(result.references) == 2
    assert len(result.churn) == 1


def test_counts_follow_from_the_saved_predictions(finished):
    _, result = finished
    labels = result.parts.test.labels
    for row in result.rows:
        reference = result.predictions[f"reference/{row['seed']}"]
        own = result.predictions[f"{row['recipe']}/{row['loss']}/{row['seed']}"]
        flips = reference != own
        assert row["cie"] == flips.sum()
        assert row["cie_u"] == (flips & (reference == labels)).sum()
        assert sum(row["cie_by_class"]) == row["cie"]
        assert row["accuracy"] == pytest.approx((own == labels).mean())
        key = row["recipe"], row["loss"]
        np.testing.assert_array_equal(result.flips[key][row["seed"]], flips)


def test_artefact_holds_the_compressed_network(finished):
    output, result = finished
    path = output / "50pct-int4" / "kd" / "seed1" / "network.fid"
    loaded, metadata = artifact.load(path)
    assert metadata["bits"] == 4
    params = quantize.from_integers(loaded)["params"]
    kernels = [np.asarray(v["kernel"]) for v in params.values() if "kernel" in v]
    assert all(len(np.unique(k[:, 0])) <= 15 for k in kernels)
    row = next(r for r in result.rows if (r["loss"], r["seed"]) == ("kd", 1))
    assert row["bytes"] == path.stat().st_size < row["bytes_reference"] / 4
    zeros = sum((k == 0).sum() for k in kernels) / sum(k.size for k in kernels)
    assert zeros >= 0.5


def test_json_lines_are_the_rows(finished):
    output, result = finished
    lines = (output / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.rows


class KilledError(Exception):
    """Stands for a kill between two epochs."""


@pytest.mark.parametrize("epochs_before", [1, 8])
def test_killed_study_ends_with_the_same_numbers(finished, tmp_path, epochs_before):
    seen = []

    def kill(job, record):
        seen.append(job)
        if len(seen) > epochs_before:
            raise KilledError

    with pytest.raises(KilledError):
        experiment.run(study(), tmp_path, on_epoch=kill)
    again = experiment.run(study(), tmp_path, resume=True)
    for row, expected in zip(again.rows, finished[1].rows, strict=True):
        for name in expected.keys() - set(UNSTABLE):
            assert row[name] == expected[name], name
    assert again.churn == finished[1].churn


def test_finished_study_resumes_without_training(finished, monkeypatch):
    output, result = finished

    def trained(*args, **kwargs):
        raise AssertionError("a finished job was run again")

    monkeypatch.setattr(experiment, "compress", trained)
    before = sorted(p.stat().st_mtime_ns for p in output.rglob("checkpoint/**/*"))
    again = experiment.run(study(), output, resume=True)
    after = sorted(p.stat().st_mtime_ns for p in output.rglob("checkpoint/**/*"))
    assert again.rows == result.rows
    assert before == after


def test_folder_in_use_is_refused(finished):
    with pytest.raises(FileExistsError, match="--resume"):
        experiment.run(study(), finished[0])


def test_other_study_is_refused_by_name_of_the_setting(finished):
    with pytest.raises(ValueError, match=r"another study.*seeds"):
        experiment.run(study(seeds=3), finished[0], resume=True)


def test_damaged_checkpoint_says_what_to_do(tmp_path):
    def kill(job, record):
        if job == "reference seed 1":
            raise KilledError

    with pytest.raises(KilledError):
        experiment.run(study(), tmp_path, on_epoch=kill)
    checkpoint = tmp_path / "reference" / "seed0" / "checkpoint"
    files = [p for p in checkpoint.rglob("*") if p.is_file()]
    assert files
    for path in files:
        path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="checkpoint"):
        experiment.run(study(), tmp_path, resume=True)


def test_nothing_held_out_trains_on_everything(tmp_path):
    small = study(recipes=(parse("int8"),), losses=("ce",), seeds=1, held_out=0.0)
    result = experiment.run(small, tmp_path)
    assert len(result.parts.train.labels) == 256
    assert len(result.train_predictions["reference/0"]) == 256
    assert result.rows[0]["held_out_cie"] == 0
    with pytest.raises(ValueError, match="needs held_out > 0"):
        study(losses=("search",), held_out=0.0)


def test_removed_filters_make_a_smaller_network(tmp_path):
    recipe = parse("0.5", structure="filter")
    result = experiment.run(
        study(network="cnn", recipes=(recipe,), losses=("ce",), seeds=1), tmp_path
    )
    row = result.rows[0]
    assert row["parameters"] < 0.6 * result.references[0]["parameters"]
    assert row["seconds_a_batch"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": ("ce", "nonsense")}, "unknown loss 'nonsense'"),
        ({"seeds": 0}, "at least one seed"),
        ({"recipes": ()}, "one recipe"),
        ({"recipes": (Recipe(0.5), Recipe(0.5))}, "same name"),
        ({"network": "resnet1"}, "resnet1"),
        ({"data": "no-such-set"}, "no-such-set"),
    ],
)
def test_bad_study_names_what_is_wrong(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        experiment.run(study(**changes), tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("80% + int8", "80pct-int8"), ("2:4", "2-4"), ("50% filter", "50pct-filter")],
)
def test_slug(name, expected):
    assert experiment.slug(name) == expected
