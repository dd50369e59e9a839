"""Votes on disk, ours and published."""

import numpy as np
import pytest
from nearest import all_subsets, votes_of

from fidelity import votes
from fidelity.votes import Votes


def test_votes_survive_the_disk(tmp_path):
    saved = votes_of(*all_subsets())
    votes.save(tmp_path / "votes.npz", saved)
    loaded = votes.load(tmp_path / "votes.npz")
    assert isinstance(loaded, Votes)
    assert loaded.num_models == 56
    for a, b in zip(saved, loaded, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["votes.npz"]
    member = votes.unpack(loaded.member, 8)
    np.testing.assert_array_equal(member, all_subsets()[0])


def test_collapsed_models_are_left_out():
    member, train, test = (np.repeat(x, 2, axis=1) for x in all_subsets())
    test = test | True
    test[3] = False
    test[7, :4] = False  # half the median is enough
    kept = votes.without_collapsed(votes_of(member, train, test))
    assert kept.num_models == 55
    np.testing.assert_array_equal(
        votes.unpack(kept.member, 16), np.delete(member, 3, axis=0)
    )


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        votes.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match=r"other.npz holds no votes"):
        votes.load(tmp_path / "other.npz")


def test_published_runs_can_be_read(tmp_path):
    rng = np.random.default_rng(0)
    right, test = rng.uniform(size=(3, 6)) < 0.5, rng.uniform(size=(3, 4)) < 0.5
    members, paths = [], []
    for m in range(3):
        order, test_order = rng.permutation(6), rng.permutation(4)
        inside, outside = order[:4], order[4:]
        members.append(np.isin(np.arange(6), inside))
        paths.append(tmp_path / f"run{m}.npz")
        np.savez(
            paths[-1],
            index_train=inside,
            index_removed=outside,
            index_test=test_order,
            correctness_train=right[m, inside].astype(np.float32),
            correctness_removed=right[m, outside].astype(np.float32),
            correctness_test=test[m, test_order].astype(np.float32),
        )
    found = votes.read_runs(paths)
    np.testing.assert_array_equal(votes.unpack(found.member, 6), members)
    np.testing.assert_array_equal(votes.unpack(found.train, 6), right)
    np.testing.assert_array_equal(votes.unpack(found.test, 4), test)
    np.testing.assert_array_equal(found.train_index, np.arange(6))
    with pytest.raises(ValueError, match="no runs"):
        votes.read_runs([])


def test_runs_about_other_examples_are_refused(tmp_path):
    for m, index in enumerate(([0, 1], [0, 2])):
        np.savez(
            tmp_path / f"run{m}.npz",
            index_train=index[:1],
            index_removed=index[1:],
            index_test=[0],
            correctness_train=[1.0],
            correctness_removed=[0.0],
            correctness_test=[1.0],
        )
    with pytest.raises(ValueError, match=r"run1.npz is about other examples"):
        votes.read_runs([tmp_path / "run0.npz", tmp_path / "run1.npz"])
