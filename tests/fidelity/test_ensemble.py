"""Ensembles on subsets: what each model is, chunks, devices, resuming."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nearest import LABELS, POINTS, TEST_LABELS, TESTS, learner, right_by_hand
from tiny_problem import Tiny, dataset

from fidelity import ensemble
from fidelity.train import Config
from fidelity.votes import unpack

TRAIN_IDS, TEST_IDS = np.arange(8) * 10, np.arange(4) + 500


def train(key, models=7, **settings):
    options = {"chunk": 3, "devices": 1} | settings
    return ensemble.train_ensemble(
        key, options.pop("learner", learner()), TRAIN_IDS, TEST_IDS, models, **options
    )


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_votes_are_what_each_subset_gets_right(key):
    votes = train(key, 20)
    member = unpack(votes.member, 8)
    np.testing.assert_array_equal(member.sum(1), 5)
    assert len(np.unique(member, axis=0)) > 10
    for m, right, test in zip(
        member,
        unpack(votes.train, 8),
        unpack(votes.test, 4),
        strict=True,
    ):
        rows = np.flatnonzero(m)
        np.testing.assert_array_equal(right, right_by_hand(rows, POINTS, LABELS))
        np.testing.assert_array_equal(test, right_by_hand(rows, TESTS, TEST_LABELS))
    np.testing.assert_array_equal(votes.train_index, TRAIN_IDS)


@pytest.mark.parametrize("settings", [{"chunk": 7}, {"chunk": 64}, {"devices": 2}])
def test_chunks_and_devices_change_nothing(key, settings):
    assert_same(train(key), train(key, **settings))


def test_every_example_is_left_out_equally_often(key):
    member = unpack(train(key, 2000, chunk=1000).member, 8)
    # Four standard errors of 2,000 draws at 5 of 8.
    np.testing.assert_allclose(member.mean(0), 5 / 8, atol=4 * 0.011)


def test_killed_run_goes_on(key, tmp_path):
    def kill(record):
        if record["models"] > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(key, directory=tmp_path, on_chunk=kill)
    assert len(list(tmp_path.glob("chunk-*.npz"))) == 2
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("chunk-*.npz")}
    records = []
    resumed = train(key, directory=tmp_path, resume=True, on_chunk=records.append)
    assert_same(resumed, train(key))
    assert [record["models"] for record in records] == [3, 6, 7]
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


def test_finished_chunks_can_be_extended(key, tmp_path):
    train(key, 6, directory=tmp_path)
    more = train(key, 9, directory=tmp_path, resume=True)
    assert_same(more, train(key, 9))


def test_another_ensemble_is_refused(key, tmp_path):
    train(key, directory=tmp_path)
    with pytest.raises(FileExistsError, match="--resume"):
        train(key, directory=tmp_path)
    with pytest.raises(ValueError, match="differs in learner"):
        train(key, directory=tmp_path, resume=True, learner=learner("other"))
    with pytest.raises(ValueError, match="differs in ratio"):
        train(key, directory=tmp_path, resume=True, ratio=0.5)
    with pytest.raises(ValueError, match="about other examples"):
        ensemble.train_ensemble(
            key,
            learner(),
            TRAIN_IDS + 1,
            TEST_IDS,
            7,
            chunk=3,
            devices=1,
            directory=tmp_path,
            resume=True,
        )


def test_damaged_chunk_is_named(key, tmp_path):
    train(key, directory=tmp_path)
    path = tmp_path / "chunk-000003.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"chunk-000003.npz .* is damaged"):
        train(key, directory=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.0}, "ratio 1.0"),
        ({"ratio": 0.05}, "ratio 0.05 of 8"),
        ({"models": 0}, "must be >= 1"),
        ({"chunk": 0}, "must be >= 1"),
        ({"devices": 3}, "3 devices asked for, 2 present"),
    ],
)
def test_arguments_out_of_range(key, settings, message):
    with pytest.raises(ValueError, match=message):
        train(key, **settings)


def test_network_learner_matches_one_model_alone(key):
    data, test = dataset(96, seed=0), dataset(42, seed=1)
    config = Config(3, 16, 0.05, pad=0, flip=False)
    one = ensemble.network_learner(Tiny(), config, data, test, batch_size=40)
    votes = ensemble.train_ensemble(key, one, data.index, test.index, 3, devices=1)
    for m in range(3):
        subset_key, own_key = jax.random.split(jax.random.fold_in(key, m))
        rows = jax.random.permutation(subset_key, 96)[:67]
        right, right_test = jax.jit(one.learn)(one.data, own_key, rows)
        members = np.isin(np.arange(96), rows)
        np.testing.assert_array_equal(unpack(votes.member[m], 96), members)
        # Rounding differs between one and many, so a close call may fall otherwise.
        same = unpack(votes.train[m], 96) == np.asarray(right)
        same_test = unpack(votes.test[m], 42) == np.asarray(right_test)
        assert same.mean() > 0.95
        assert same_test.mean() > 0.95
    assert unpack(votes.test, 42).mean() > 0.4  # of four classes


def test_in_batches_fills_up_the_last_batch():
    x = jnp.arange(10.0)
    found = ensemble.in_batches(lambda a, b: (a + b, a * b), (x, x), 4)
    np.testing.assert_array_equal(found[0], 2 * x)
    np.testing.assert_array_equal(found[1], x * x)


def test_chunk_records_are_json(key, tmp_path):
    train(key, directory=tmp_path)
    record = json.loads((tmp_path / "chunk-000000.json").read_text())
    # A nearest neighbour is always right on what it has seen.
    assert record["subset_accuracy"] == 1.0
    assert 0 < record["rest_accuracy"] < 1
