"""Long runs: a killed run resumes and ends with the same bits."""

import gc
import json
import time

import jax
import numpy as np
import pytest
import tiny_problem

from fidelity import checkpoint
from fidelity.fit import fit, predict_all


@pytest.fixture(scope="module")
def data():
    return tiny_problem.dataset()


class KilledError(Exception):
    """Stands for the end of the process."""


def test_a_killed_run_ends_with_the_same_numbers(data, key, tmp_path):
    trainer = tiny_problem.trainer(data)
    whole, history = fit(trainer, trainer.init(key), data, 4)

    def kill(record):
        if record["epoch"] == 3:
            raise KilledError

    with pytest.raises(KilledError):
        fit(
            trainer,
            trainer.init(key),
            data,
            4,
            directory=tmp_path / "a",
            checkpoint_seconds=0,
            on_epoch=kill,
        )
    assert checkpoint.latest(tmp_path / "a") == 2
    seen = []
    resumed, after = fit(
        trainer,
        trainer.init(jax.random.key(99)),  # what is restored does not depend on it
        data,
        4,
        directory=tmp_path / "a",
        resume=True,
        on_epoch=seen.append,
    )
    tiny_problem.assert_trees_equal(whole, resumed)
    assert [r["epoch"] for r in seen] == [1, 2, 3, 4]
    for a, b in zip(history, after, strict=True):
        assert a["terms"] == b["terms"]
        assert a["train_accuracy"] == b["train_accuracy"]

    again, _ = fit(
        trainer, trainer.init(key), data, 4, directory=tmp_path / "a", resume=True
    )
    tiny_problem.assert_trees_equal(whole, again)


def test_pieces_equal_the_whole(data, key):
    trainer = tiny_problem.trainer(data)
    whole, history = fit(trainer, trainer.init(key), data, 1)
    # Room for three batches of 32 images: pieces of 3, 3 and 2.
    pieces, rows = fit(
        trainer, trainer.init(key), data, 1, device_bytes=3 * 32 * data.images[0].nbytes
    )
    tiny_problem.assert_trees_equal(whole, pieces)
    np.testing.assert_allclose(history[0]["terms"], rows[0]["terms"], rtol=1e-5)


@pytest.mark.parametrize("batch_size", [32, 100, 256, 1000])
def test_predictions_do_not_depend_on_the_batch(data, batch_size):
    trainer = tiny_problem.trainer(data)
    variables = tiny_problem.reference(data)
    expected = trainer.predict(variables, data.images)
    got = predict_all(trainer.predict, variables, data, batch_size=batch_size)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_checkpoint_round_trip_keeps_one(data, key, tmp_path):
    trainer = tiny_problem.trainer(data)
    state = trainer.init(key)
    checkpoint.save(tmp_path, 1, state, {"history": []})
    checkpoint.save(tmp_path, 2, state, {"history": [1]})
    step, tree, metadata = checkpoint.restore(tmp_path, state)
    assert (step, metadata) == (2, {"history": [1]})
    tiny_problem.assert_trees_equal(tree, state)
    assert [p.name for p in tmp_path.iterdir() if p.name.isdigit()] == ["2"]


def test_no_checkpoint(tmp_path, key):
    assert checkpoint.latest(tmp_path / "none") is None
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        checkpoint.restore(tmp_path, {})


def test_another_number_of_classes_is_refused(data, key, tmp_path):
    trainer = tiny_problem.trainer(data)
    checkpoint.save(tmp_path, 1, trainer.init(key), {})
    wider = tiny_problem.trainer(data, module=tiny_problem.Tiny(num_classes=7))
    with pytest.raises(ValueError, match="another network"):
        checkpoint.restore(tmp_path, wider.init(key))


def test_a_leaf_too_many_or_too_few_is_refused_by_name(tmp_path):
    both = {"a": np.ones((2, 3)), "b": np.ones(4)}
    checkpoint.save(tmp_path, 1, both, {})
    with pytest.raises(ValueError, match="b are in the checkpoint alone"):
        checkpoint.restore(tmp_path, {"a": both["a"]})
    with pytest.raises(ValueError, match="c has shape None, expected"):
        checkpoint.restore(tmp_path, both | {"c": np.ones(1)})
    np.testing.assert_array_equal(checkpoint.restore(tmp_path, both)[1]["a"], both["a"])


# Orbax leaves reads behind when one fails; they complain when they end.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["truncate", "remove", "metadata"])
def test_a_damaged_checkpoint_is_refused(data, key, tmp_path, how):
    trainer = tiny_problem.trainer(data)
    state = trainer.init(key)
    checkpoint.save(tmp_path, 1, state, {"history": []})
    files = [p for p in (tmp_path / "1" / "state").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    if how == "truncate":
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    elif how == "remove":
        for path in (p for p in files if "ocdbt" in str(p) or "/d/" in str(p)):
            path.unlink()
    else:
        for path in (tmp_path / "1" / "metadata").rglob("*"):
            if path.is_file():
                path.write_text(json.dumps({"x": 1})[:-3])
    with pytest.raises(ValueError, match=r"damaged|lost its metadata"):
        checkpoint.restore(tmp_path, state)
    time.sleep(0.5)
    gc.collect()
