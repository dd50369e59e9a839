"""The long-tail question asked of a study, on predictions written by hand."""

import json

import jax
import numpy as np
import pytest
from tiny_problem import dataset

from fidelity import longtail, longtail_plots, longtail_study
from fidelity.association import auc, binned_rate, levels
from fidelity.data import take
from fidelity.dataset import make_source
from fidelity.experiment import Parts, Result
from fidelity.longtail_study import CHURN, Tail
from fidelity.memorize import Influence, Scores
from fidelity.votes import Votes

CLASSES = [f"quarter {i}" for i in range(4)]


def study(seeds=3, train=80, test=40):
    """A result in which changes of "ce" follow a score, and those of "kd" do not."""
    rng = np.random.default_rng(0)
    data = [dataset(n, seed=s) for s, n in enumerate((train, test))]
    source = make_source("tiny", *data, CLASSES)
    parts = Parts(source, source.train, source.test, source.test)
    score = rng.uniform(size=train)
    labels: dict[str, dict[str, np.ndarray]] = {"train": {}, "test": {}}
    for split, own in zip(labels, data, strict=True):
        count = len(own.labels)
        chance = score if split == "train" else np.full(count, 0.3)
        for s in range(seeds):
            noise = rng.uniform(size=count) < 0.05
            reference = (own.labels + noise) % 4
            labels[split][f"reference/{s}"] = reference
            for loss, rate in (("ce", chance * 0.6), ("kd", np.full(count, 0.2))):
                changed = rng.uniform(size=count) < rate
                labels[split][f"80%/{loss}/{s}"] = (reference + changed) % 4
    flips = {("80%", loss): np.zeros((seeds, test), bool) for loss in ("ce", "kd")}
    result = Result([], [], [], flips, labels["test"], parts, labels["train"])
    unknown = np.full(train, np.nan)
    scores = Scores(source.train.index, score, unknown, unknown, 1 - score)
    return result, scores


def test_changes_are_against_the_own_reference():
    result, _ = study()
    found = longtail_study.changes(result, "train")
    assert list(found) == [(CHURN, "-"), ("80%", "ce"), ("80%", "kd")]
    labels = result.train_predictions
    for s in range(3):
        own = labels[f"80%/kd/{s}"] != labels[f"reference/{s}"]
        np.testing.assert_array_equal(found["80%", "kd"][s], own)
        pair = labels[f"reference/{s}"] != labels[f"reference/{(s - 1) % 3}"]
        np.testing.assert_array_equal(found[CHURN, "-"][s], pair)


@pytest.mark.parametrize(("seeds", "pairs"), [(1, None), (2, 1), (4, 4)])
def test_churn_counts_each_pair_of_two_once(seeds, pairs):
    result, _ = study(seeds)
    found = longtail_study.changes(result, "test").get((CHURN, "-"))
    assert (None if found is None else len(found)) == pairs


def test_studies_without_training_predictions_say_so():
    result, _ = study()
    with pytest.raises(ValueError, match="before predictions on the training set"):
        longtail_study.changes(result._replace(train_predictions={}), "train")


def test_relations_tell_the_related_loss_from_the_other():
    result, scores = study(seeds=6)
    tail = longtail_study.tail_of_scores(scores, result.parts)
    rows = longtail_study.relations(result, tail, resamples=100)
    assert [(r["split"], r["loss"]) for r in rows] == [
        ("train", "-"),
        ("train", "ce"),
        ("train", "kd"),
    ]
    _, ce, kd = rows
    assert ce["auc_low"] > 0.6
    assert kd["auc_low"] < 0.5 < kd["auc_high"]
    assert kd["auc_minus_ce_high"] < 0
    assert "auc_minus_ce" not in ce
    assert {row["group"] for row in ce["classes"]} <= set(CLASSES)
    assert sum(row["examples"] for row in ce["tail_bins"]) == 80
    json.dumps(rows, allow_nan=False)

    found = longtail_study.verdict(rows)
    assert found["train_rows"] == 2
    assert found["train_holds"] == 1
    assert found["train_auc_largest"] == ce["auc"]
    assert found["train_auc_churn"] == rows[0]["auc"]
    assert "test_rows" not in found


def test_scores_are_matched_by_id():
    result, scores = study()
    order = np.random.default_rng(1).permutation(80)
    moved = Scores(*(x[order] for x in scores))
    tail = longtail_study.tail_of_scores(moved, result.parts)
    np.testing.assert_array_equal(tail.scores.memorization, scores.memorization)
    strange = scores._replace(index=scores.index + 10**6)
    with pytest.raises(ValueError, match="none of the scores"):
        longtail_study.tail_of_scores(strange, result.parts)


def test_an_ensemble_scores_both_splits():
    result, _ = study()
    rng = np.random.default_rng(0)
    member = rng.uniform(size=(30, 80)) < 0.7
    hard = rng.uniform(size=80)
    train = member | (rng.uniform(size=(30, 80)) > hard[None, :])
    test = rng.uniform(size=(30, 40)) < 0.8
    bits = [np.packbits(x, axis=1) for x in (member, train, test)]
    parts = result.parts
    votes = Votes(*bits, parts.train.index, parts.test.index)
    tail = longtail_study.tail_of(votes, parts, top_k=3)
    assert isinstance(tail, Tail)
    np.testing.assert_allclose(tail.test_hardness, 1 - test.mean(0))
    assert np.corrcoef(tail.hardness, hard)[0, 1] > 0.8
    same = parts.train.labels[tail.influence.row] == parts.test.labels[:, None]
    assert same.all()
    rows = longtail_study.relations(result, tail, resamples=5)
    assert {row["split"] for row in rows} == {"train", "test"}
    changed = longtail_study.changes(result, "test")["80%", "ce"].sum(0)
    expected = auc(levels(tail.support), changed, 3 - changed)
    assert next(r for r in rows if (r["split"], r["loss"]) == ("test", "ce"))[
        "auc"
    ] == pytest.approx(expected)


def test_pictures_are_written(tmp_path):
    result, scores = study()
    parts, memorization = result.parts, scores.memorization
    changed = longtail_study.changes(result, "train")["80%", "ce"]
    bins = binned_rate(memorization, changed, np.linspace(0, 1, 6))
    empty = binned_rate(np.zeros(80), changed, np.linspace(0, 1, 6))
    longtail_plots.plot_bins(tmp_path / "a.png", {"ce": {"80%": bins, "0%": empty}})
    longtail_plots.plot_memorized(
        tmp_path / "b.png", parts.train, memorization, changed, CLASSES, count=10
    )
    pairs = np.array([3, 3, 5]), np.array([1, 2, 0]), np.array([0.9, 0.5, 0.4])
    for name, kept in (("c", pairs), ("d", tuple(x[:0] for x in pairs))):
        longtail_plots.plot_pairs(
            tmp_path / f"{name}.png",
            parts.train,
            parts.test,
            kept,
            memorization,
            CLASSES,
        )
    for name in "abcd":
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_saved_tail_is_for_the_same_examples_only(tmp_path):
    result, scores = study()
    influence = Influence(
        np.linspace(1, 0, 80, dtype=np.float32).reshape(40, 2),
        np.arange(80, dtype=np.int32).reshape(40, 2),
        np.full((40, 2), 0.01, np.float32),
    )
    support = longtail.memorized_support(scores, influence)
    hardness = np.linspace(0, 1, 40)
    tail = Tail(scores, 1 - scores.right_out, support, hardness, influence)
    longtail_study.save_tail(tmp_path, tail, result.parts)
    found = longtail_study.load_tail(tmp_path, result.parts)
    jax.tree.map(np.testing.assert_array_equal, found, tail)
    train = take(result.parts.train, np.arange(79))
    with pytest.raises(ValueError, match="are about other examples"):
        longtail_study.load_tail(tmp_path, result.parts._replace(train=train))
