"""A long-tail study in a terminal: ensemble, compression, relation, table, pictures."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.table import Table

from fidelity import (
    ensemble,
    experiment,
    longtail,
    longtail_plots as plots,
    memorize,
    proxies,
    report,
)
from fidelity.data import TAIL_BINS, class_counts, tail_bins
from fidelity.experiment import Parts, Result, Study
from fidelity.longtail import Relation, Row
from fidelity.memorize import Influence, Scores
from fidelity.train import Config
from launch import common


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a long-tail study needs beside the compression study.

    Attributes:
        models: `M`, of the ensemble.
        network: of the ensemble.
        training: of each of its models.
        ratio: of the subsets.
        chunk: models at once.
        scores: npz file of scores to use instead, see `memorize.load_scores`.
        proxy_seeds: runs for the proxies, 0 for none.
        top_k: training examples kept for each test example.
        resamples: of the bootstrap.
    """

    models: int
    network: str
    training: Config
    ratio: float = 0.7
    chunk: int = 64
    scores: str | None = None
    proxy_seeds: int = 2
    top_k: int = 8
    resamples: int = 300


class Tail(NamedTuple):
    """Scores of the training and test examples of a study."""

    scores: Scores  # of the training examples, in their order
    support: np.ndarray | None  # [T] memorization that a test example leans on
    hardness: np.ndarray  # [N] error rate of models not trained on it
    test_hardness: np.ndarray | None  # [T] error rate of all models
    influence: Influence | None
    summary: Row


def run(study: Study, settings: Settings, output: str, resume: bool) -> list[Row]:
    """Runs (or goes on with) both parts of the study and writes its report."""
    common.setup()
    folder = Path(output)
    title = f"{study.network} on {study.data}"
    with common.progress(f"compress {title}", study.total_epochs) as advance:
        result = experiment.run(
            study,
            folder / "compress",
            resume=resume,
            on_epoch=lambda job, _: advance(job),
        )
    tail = estimate(study, settings, result.parts, folder, resume)
    rows = relations(study, result, tail, settings.resamples)
    shared = common.machine() | {"data": study.data, "network": study.network}
    report.write_json_lines(folder / "relation.jsonl", [shared | r for r in rows])
    summary = shared | tail.summary | verdict(rows)
    report.write_json_lines(folder / "summary.jsonl", [summary])
    common.console.print(table(rows, title))
    common.console.print(sentence(summary), highlight=False)
    draw(folder, result, tail, rows, title)
    common.console.print(f"scores, rows and plots are in {folder}")
    print(json.dumps(summary))
    return rows


def estimate(
    study: Study, settings: Settings, parts: Parts, folder: Path, resume: bool
) -> Tail:
    """Trains the ensemble (or reads scores) and derives what the relation needs."""
    train, test = parts.train, parts.test
    if settings.scores is not None:
        given = memorize.align(memorize.load_scores(settings.scores), train.index)
        hard = 1 - given.right_out
        summary: Row = {"scores": settings.scores, "models": None}
        return Tail(given, None, hard, None, None, summary)
    module = dataclasses.replace(study, network=settings.network).module(
        len(parts.source.class_names)
    )
    learner = ensemble.network_learner(
        module, settings.training, train, test, ratio=settings.ratio
    )
    start = time.perf_counter()
    trained = 0.0
    with common.progress("ensemble", settings.models) as advance:
        done = 0

        def moved(record: Row) -> None:
            nonlocal done, trained
            advance(f"test {record['test_accuracy']:.3f}", record["models"] - done)
            done, trained = record["models"], trained + record["seconds"]

        votes = ensemble.train_ensemble(
            jax.random.key(0),
            learner,
            train.index,
            test.index,
            settings.models,
            ratio=settings.ratio,
            chunk=settings.chunk,
            directory=folder / "ensemble",
            resume=resume,
            on_chunk=moved,
        )
    seconds = time.perf_counter() - start
    scores = memorize.memorization(votes)
    memorize.save_scores(folder / "scores.npz", scores)
    influence = memorize.influence(
        votes,
        top_k=min(settings.top_k, len(train.labels)),
        labels=(train.labels, test.labels),
    )
    np.savez_compressed(
        folder / "influence.npz",
        allow_pickle=False,
        train_index=train.index[influence.row],
        test_index=test.index,
        **influence._asdict(),
    )
    # Below two standard errors the largest of many estimates is mostly noise.
    noise = float(2 * np.nanmedian(influence.standard_error))
    support = memorize_support(scores, influence, noise)
    right = ensemble.unpack(votes.test, len(test.labels)).mean(0)
    summary = _summary(settings, votes, scores, influence, seconds)
    if settings.proxy_seeds:
        found = proxies.proxies(
            jax.random.key(1),
            module,
            settings.training,
            train,
            seeds=settings.proxy_seeds,
        )
        np.savez_compressed(
            folder / "proxies.npz", allow_pickle=False, train_index=train.index, **found
        )
        ranks = proxies.rank_correlations(found, scores.memorization)
        summary["proxy_spearman"] = ranks
    return Tail(scores, support, 1 - scores.right_out, 1 - right, influence, summary)


def memorize_support(
    scores: Scores, influence: Influence, min_influence: float
) -> np.ndarray:
    """`longtail.memorized_support`, undefined where nothing influences an example."""
    support = longtail.memorized_support(
        scores, influence, min_influence=min_influence
    )
    return np.where(influence.value[:, 0] > min_influence, support, 0.0)


def _summary(
    settings: Settings,
    votes: ensemble.Votes,
    scores: Scores,
    influence: Influence,
    seconds: float,
) -> Row:
    known = scores.memorization[~np.isnan(scores.memorization)]
    out: Row = {
        "models": votes.num_models,
        "ensemble_network": settings.network,
        "ensemble_seconds": seconds,
        "train_examples": len(votes.train_index),
        "memorized": float(np.mean(known >= longtail.MEMORIZED)),
        "mean_memorization": float(known.mean()),
        "median_standard_error": float(np.nanmedian(scores.standard_error)),
        "pairs": len(memorize.high_influence_pairs(scores, influence)[0]),
    }
    if votes.num_models >= 4:
        halves = memorize.split_half(votes)
        out |= {f"split_half_{k}": v for k, v in halves._asdict().items()}
    return out


def relations(study: Study, result: Result, tail: Tail, resamples: int) -> list[Row]:
    """A row for every split, recipe and loss; the churn of references comes first."""
    rows = []
    for split in ("train", "test"):
        score = tail.scores.memorization if split == "train" else tail.support
        hard = tail.hardness if split == "train" else tail.test_hardness
        if score is None:
            continue
        hard = score if hard is None or np.isnan(hard).all() else hard
        events = changes(result, split)
        for (recipe, loss), changed in events.items():
            relation, hardness = (
                longtail.relate(x, changed, resamples=resamples) for x in (score, hard)
            )
            settings = {"split": split, "recipe": recipe, "loss": loss}
            row = longtail.row(relation, hardness, seeds=len(changed), **settings)
            base = events.get((recipe, "ce"))
            if base is not None and loss != "ce":
                found = longtail.auc_difference(
                    score, changed, base, resamples=resamples
                )
                row |= {f"auc_minus_ce{k}": v for k, v in _spread(found).items()}
            if recipe != "churn":
                row |= _population(result, split, recipe, loss, score)
            rows.append(row | _groups(result, split, score, changed))
    return rows


def _spread(interval: Any) -> dict[str, float]:
    return {"": interval.value, "_low": interval.low, "_high": interval.high}


def changes(result: Result, split: str) -> dict[tuple[str, str], np.ndarray]:
    """Who changed label: (recipe, loss) -> `[S, N]`, and ("churn", "") first."""
    labels = result.predictions if split == "test" else result.train_predictions
    references = longtail.population(labels, "reference")
    found = {}
    if len(references) > 1:
        found["churn", "-"] = references != np.roll(references, 1, axis=0)
        if len(references) == 2:
            found["churn", "-"] = found["churn", "-"][:1]
    for recipe, loss in result.flips:
        own = longtail.population(labels, f"{recipe}/{loss}")
        found[recipe, loss] = own != references[: len(own)]
    return found


def _population(
    result: Result, split: str, recipe: str, loss: str, score: np.ndarray
) -> Row:
    """What the populations' modal labels say."""
    labels = result.predictions if split == "test" else result.train_predictions
    classes = len(result.parts.source.class_names)
    references = longtail.population(labels, "reference")
    own = longtail.population(labels, f"{recipe}/{loss}")
    modal = longtail.modal_changed(references, own, classes)
    known = ~np.isnan(score)
    found = longtail.auc(longtail.levels(score[known]), modal[known], ~modal[known])
    return {
        "modal_changed": int(modal.sum()),
        "modal_auc": None if np.isnan(found) else found,
        "taxicab": float(longtail.taxicab(references, own, classes).mean()),
    }


def _groups(result: Result, split: str, score: np.ndarray, changed: np.ndarray) -> Row:
    """The relation by class and by tail bin."""
    parts = result.parts
    dataset = parts.train if split == "train" else parts.test
    names = parts.source.class_names
    bins = tail_bins(class_counts(parts.train, len(names)), fallback=True)
    classes = longtail.by_group(score, changed, dataset.labels, names)
    tails = longtail.by_group(score, changed, bins[dataset.labels], TAIL_BINS)
    for row in classes + tails:
        row["auc"] = None if np.isnan(row["auc"]) else row["auc"]
    return {"classes": classes, "tail_bins": tails}


def verdict(rows: list[Row]) -> Row:
    """In how many rows the relation is there, and in how many beyond churn's."""
    out: Row = {}
    for split in ("train", "test"):
        own = [r for r in rows if r["split"] == split and r["auc"] is not None]
        churn = [r["auc"] for r in own if r["recipe"] == "churn"]
        own = [r for r in own if r["recipe"] != "churn"]
        if not own:
            continue
        holds = [r["auc_low"] is not None and r["auc_low"] > 0.5 for r in own]
        out |= {
            f"{split}_rows": len(own),
            f"{split}_auc_above_half": sum(holds),
            f"{split}_auc_smallest": min(r["auc"] for r in own),
            f"{split}_auc_largest": max(r["auc"] for r in own),
            f"{split}_auc_churn": churn[0] if churn else None,
        }
    return out


def sentence(summary: Row) -> str:
    """The verdict in words."""
    lines = []
    if summary.get("models"):
        lines.append(
            f"{summary['models']} models in {summary['ensemble_seconds']:.1f} s; "
            f"{100 * summary['memorized']:.1f} % of the training examples are memorized "
            f"(from {longtail.MEMORIZED} on), median standard error "
            f"{summary['median_standard_error']:.3f}, split-half correlation "
            f"{summary.get('split_half_pearson', float('nan')):.3f}"
        )
    if ranks := summary.get("proxy_spearman"):
        listed = ", ".join(f"{name} {value:.2f}" for name, value in ranks.items())
        lines.append(f"rank correlation of the proxies with memorization: {listed}")
    words = {
        "train": "training examples that change label are memorized ones",
        "test": "test examples that change label lean on memorized training examples",
    }
    for split, claim in words.items():
        if f"{split}_rows" in summary:
            holds, count = summary[f"{split}_auc_above_half"], summary[f"{split}_rows"]
            low, high = summary[f"{split}_auc_smallest"], summary[f"{split}_auc_largest"]
            churn = summary[f"{split}_auc_churn"]
            floor = f"; churn of two references {churn:.2f}" if churn else ""
            lines.append(
                f"{claim}: in {holds} of {count} rows the AUC's interval lies above "
                f"0.5 (AUC {low:.2f} to {high:.2f}{floor})"
            )
    return "\n".join(lines)


def table(rows: list[Row], title: str) -> Table:
    """The relation for a terminal."""
    out = Table(title=f"Label changes against memorization, {title}")
    for name in ("split", "recipe", "loss"):
        out.add_column(name)
    columns = ("changed %", "score changed/kept", "AUC", "hardness", "Spearman")
    for name in (*columns, "changed % by score <.1 / >=.5", "AUC - ce"):
        out.add_column(name, justify="right")
    previous: tuple[str, str] = ("", "")
    for row in rows:
        key = row["split"], row["recipe"]
        if previous[0] and key != previous:
            out.add_section()
        previous = key
        out.add_row(
            row["split"],
            row["recipe"],
            row["loss"],
            f"{100 * row['mismatch_rate']:.2f}",
            f"{_number(row['mean_changed'])} / {_number(row['mean_kept'])}",
            _interval(row, "auc"),
            _number(row["auc_hardness"]),
            _interval(row, "spearman"),
            _ends(row),
            _interval(row, "auc_minus_ce") if "auc_minus_ce" in row else "",
        )
    return out


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:.2f}"


def _interval(row: Row, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{_number(row[name])} [{_number(low)}, {_number(high)}]"


def _ends(row: Row) -> str:
    """Rates of the lowest bin and of the upper half of the bins."""
    counts = np.array(row["bin_count"])
    rates = np.array([x or 0.0 for x in row["bin_rate"]])
    half = len(counts) // 2
    upper = counts[half:].sum()
    high = (counts * rates)[half:].sum() / upper if upper else None
    texts = ["-" if x is None else f"{100 * x:.1f}" for x in (row["bin_rate"][0], high)]
    return " / ".join(texts)


def draw(
    folder: Path, result: Result, tail: Tail, rows: list[Row], title: str
) -> None:
    """Writes the pictures."""
    parts = result.parts
    names = parts.source.class_names
    score = tail.scores.memorization
    for split, values in (("train", score), ("test", tail.support)):
        own = [r for r in rows if r["split"] == split]
        if values is None or not own:
            continue
        panels: dict[str, dict[str, Any]] = {}
        events = changes(result, split)
        for recipe, loss in events:
            known = ~np.isnan(values)
            bins = longtail.binned_rate(
                values[known], events[recipe, loss][:, known], longtail.EDGES
            )
            panels.setdefault(loss if recipe != "churn" else "two references", {})[
                recipe
            ] = bins
        what = "memorization" if split == "train" else "memorization leant on"
        plots.plot_bins(
            folder / f"bins-{split}.png",
            panels,
            xlabel=what,
            title=f"{title}, {split} examples",
        )
    for recipe in dict.fromkeys(r for r, _ in result.flips):
        loss = next(lo for r, lo in result.flips if r == recipe)
        changed = changes(result, "train")[recipe, loss]
        slug = experiment.slug(recipe)
        plots.plot_memorized(
            folder / f"memorized-{slug}.png",
            parts.train,
            score,
            changed,
            names,
            title=f"most memorized; framed: label changed by {recipe}, {loss}",
        )
    if tail.influence is not None:
        recipe, loss = list(result.flips)[0]
        pairs = memorize.high_influence_pairs(tail.scores, tail.influence)
        plots.plot_pairs(
            folder / "pairs.png",
            parts.train,
            parts.test,
            pairs,
            score,
            names,
            changed=result.flips[recipe, loss],
            title=f"influence pairs; framed: label changed by {recipe}, {loss}",
        )


__all__ = ["Relation", "Settings", "Tail", "run"]
