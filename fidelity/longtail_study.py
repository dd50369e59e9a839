"""The long-tail question asked of a whole study: every split, recipe and loss.

    result = experiment.run(study, "results/compress")
    votes = ensemble.train_ensemble(...)                  # on result.parts
    rows = relations(result, tail_of(votes, result.parts))

The label changes of two references against each other, the churn, come first in every
split: whatever compression does has to be read against them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fidelity import longtail, memorize
from fidelity.association import Interval, auc, levels
from fidelity.data import TAIL_BINS, class_counts, tail_bins
from fidelity.experiment import Parts, Result
from fidelity.longtail import Row
from fidelity.memorize import Influence, Scores
from fidelity.votes import Votes, unpack

Changes = dict[tuple[str, str], np.ndarray]  # (recipe, loss) -> [S, N] bool

CHURN = "churn"


class Tail(NamedTuple):
    """Scores of the training and test examples of a study."""

    scores: Scores  # of the training examples, in their order
    hardness: np.ndarray  # [N] error rate of models not trained on it
    support: np.ndarray | None  # [T] see `fidelity.longtail.memorized_support`
    test_hardness: np.ndarray | None  # [T] error rate of all models
    influence: Influence | None


def tail_of(votes: Votes, parts: Parts, *, top_k: int = 8) -> Tail:
    """What an ensemble says of a study's examples.

    Args:
        votes: of an ensemble on `parts.train` and `parts.test`, in their order.
        parts: data of the study.
        top_k: training examples of its class to keep for each test example.
    """
    train, test = parts.train, parts.test
    scores = memorize.memorization(votes)
    influence = memorize.influence(
        votes, top_k=min(top_k, len(train.labels)), labels=(train.labels, test.labels)
    )
    right = unpack(votes.test, len(test.labels)).mean(0)
    support = longtail.memorized_support(scores, influence)
    return Tail(scores, 1 - scores.right_out, support, 1 - right, influence)


def tail_of_scores(scores: Scores, parts: Parts) -> Tail:
    """What given scores say of a study's training examples, matched by id.

    Raises:
        ValueError: no example of the study has a score.
    """
    own = memorize.align(scores, parts.train.index)
    if np.isnan(own.memorization).all():
        raise ValueError("none of the scores belongs to an example of this data set")
    return Tail(own, 1 - own.right_out, None, None, None)


def save_tail(folder: str | Path, tail: Tail, parts: Parts) -> None:
    """Writes scores.npz and influence.npz, with the ids of the examples.

    Args:
        folder: an existing one.
        tail: of an ensemble.
        parts: data that it was trained on.
    """
    memorize.save_scores(Path(folder) / "scores.npz", tail.scores)
    assert tail.influence is not None
    assert tail.test_hardness is not None
    np.savez_compressed(
        Path(folder) / "influence.npz",
        allow_pickle=False,
        train_index=parts.train.index[tail.influence.row],
        test_index=parts.test.index,
        test_hardness=tail.test_hardness,
        **tail.influence._asdict(),
    )


def load_tail(folder: str | Path, parts: Parts) -> Tail:
    """Reads what `save_tail` wrote, for another study of the same examples.

    Raises:
        ValueError: the files are about other examples.
    """
    scores = memorize.load_scores(Path(folder) / "scores.npz")
    with np.load(Path(folder) / "influence.npz") as saved:
        same = np.array_equal(saved["test_index"], parts.test.index)
        if not same or not np.array_equal(scores.index, parts.train.index):
            raise ValueError(
                f"the scores in {folder} are about other examples: repeat the data, "
                "imbalance and held_out that they were made with"
            )
        influence = Influence(*(saved[name] for name in Influence._fields))
        hardness = saved["test_hardness"]
    support = longtail.memorized_support(scores, influence)
    return Tail(scores, 1 - scores.right_out, support, hardness, influence)


def changes(result: Result, split: str) -> Changes:
    """Who changed label against their own reference, by recipe and loss.

    Args:
        result: of the study.
        split: "train" or "test".

    Returns:
        (recipe, loss) -> `[S, N]` bool; first `(CHURN, "-")`, each reference against
        the next, if there are several.

    Raises:
        ValueError: the study was run before training predictions were kept.
    """
    labels = _labels(result, split)
    references = longtail.population(labels, "reference")
    found: Changes = {}
    if len(references) > 1:
        pairs = 1 if len(references) == 2 else len(references)
        found[CHURN, "-"] = (references != np.roll(references, 1, axis=0))[:pairs]
    for recipe, loss in result.flips:
        own = longtail.population(labels, f"{recipe}/{loss}")
        found[recipe, loss] = own != references
    return found


def _labels(result: Result, split: str) -> Mapping[str, np.ndarray]:
    if split == "test":
        return result.predictions
    if missing := sorted(set(result.predictions) - set(result.train_predictions)):
        raise ValueError(
            f"{missing[0]} and {len(missing) - 1} other jobs of the study were done "
            "before predictions on the training set were kept: run them again, in "
            "another folder"
        )
    return result.train_predictions


def relations(result: Result, tail: Tail, *, resamples: int = 300) -> list[Row]:
    """The relation of label changes to memorization in every split, recipe and loss.

    Args:
        result: of the study.
        tail: of its examples.
        resamples: of the bootstraps.

    Returns:
        Rows as `fidelity.longtail.row` makes them, with "split", "recipe", "loss",
        "seeds"; against the "ce" loss "auc_minus_ce" with its paired interval; changes
        of the modal label ("modal_changed", "modal_auc", "taxicab"); and the relation
        within "classes" and "tail_bins".
    """
    rows = []
    for split, score, hard in (
        ("train", tail.scores.memorization, tail.hardness),
        ("test", tail.support, tail.test_hardness),
    ):
        if score is None or hard is None:
            continue
        events = changes(result, split)
        for (recipe, loss), changed in events.items():
            relation = longtail.relate(score, changed, resamples=resamples)
            hardness = None
            # Imported scores may come without the accuracies they were made of.
            if not np.isnan(hard).all():
                hardness = longtail.relate(hard, changed, resamples=resamples)
            settings = {"split": split, "recipe": recipe, "loss": loss}
            row = longtail.row(relation, hardness, seeds=len(changed), **settings)
            base = events.get((recipe, "ce"))
            if base is not None and loss != "ce":
                row |= _difference(
                    longtail.auc_difference(score, changed, base, resamples=resamples)
                )
            if recipe != CHURN:
                row |= _modal(result, split, recipe, loss, score)
            rows.append(row | _groups(result.parts, split, score, changed))
    return rows


def _difference(found: Interval) -> Row:
    names = ("auc_minus_ce", "auc_minus_ce_low", "auc_minus_ce_high")
    return dict(zip(names, map(longtail.plain, found), strict=True))


def _modal(
    result: Result, split: str, recipe: str, loss: str, score: np.ndarray
) -> Row:
    """What the modal labels of the two populations say."""
    labels = _labels(result, split)
    classes = len(result.parts.source.class_names)
    references = longtail.population(labels, "reference")
    own = longtail.population(labels, f"{recipe}/{loss}")
    modal = longtail.modal_changed(references, own, classes)
    known = ~np.isnan(score)
    found = auc(levels(score[known]), modal[known], ~modal[known])
    return {
        "modal_changed": int(modal.sum()),
        "modal_auc": longtail.plain(found),
        "taxicab": float(longtail.taxicab(references, own, classes).mean()),
    }


def _groups(parts: Parts, split: str, score: np.ndarray, changed: np.ndarray) -> Row:
    dataset = parts.train if split == "train" else parts.test
    names = parts.source.class_names
    bins = tail_bins(class_counts(parts.train, len(names)), fallback=True)
    return {
        "classes": longtail.by_group(score, changed, dataset.labels, names),
        "tail_bins": longtail.by_group(score, changed, bins[dataset.labels], TAIL_BINS),
    }


def verdict(rows: list[Row]) -> Row:
    """In how many rows the relation is there, and how strong, beside churn's.

    Args:
        rows: of `relations`.

    Returns:
        For each split that has rows: "SPLIT_rows", "SPLIT_holds" (the interval of the
        AUC lies above one half), the smallest, median and largest AUC, and the AUCs of
        plain hardness (the median) and of churn; the last two may be None.
    """
    out: Row = {}
    for split in ("train", "test"):
        own = [r for r in rows if r["split"] == split and r["auc"] is not None]
        floor = [r["auc"] for r in own if r["recipe"] == CHURN]
        own = [r for r in own if r["recipe"] != CHURN]
        if not own:
            continue
        values = [r["auc"] for r in own]
        hard = [r["auc_hardness"] for r in own if r["auc_hardness"] is not None]
        out |= {
            f"{split}_rows": len(own),
            f"{split}_holds": sum((r["auc_low"] or 0) > 0.5 for r in own),
            f"{split}_auc_smallest": min(values),
            f"{split}_auc_median": float(np.median(values)),
            f"{split}_auc_largest": max(values),
            f"{split}_auc_hardness": float(np.median(hard)) if hard else None,
            f"{split}_auc_churn": floor[0] if floor else None,
        }
    return out
