"""A long-tail study in a terminal: ensemble, compression, relation, table, pictures."""

import dataclasses
import json
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from rich.table import Table

from fidelity import (
    ensemble,
    experiment,
    longtail,
    longtail_plots as plots,
    longtail_study,
    memorize,
    proxies,
    report,
)
from fidelity.association import Bins, binned_rate
from fidelity.experiment import Parts, Result, Study
from fidelity.longtail import Row
from fidelity.longtail_study import Tail, tail_of, tail_of_scores
from fidelity.train import Config
from fidelity.votes import Votes, without_collapsed
from launch import common

MIN_ERRORS = 3.0  # of the influence pairs that are counted and shown


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a long-tail study needs beside the compression study.

    Attributes:
        models: `M`, of the ensemble.
        network: of the ensemble.
        training: of each of its models.
        ratio: of the subsets.
        chunk: models at once.
        scores: to use instead: an npz file, see `memorize.load_scores`, or the folder
            of an earlier study of the same examples.
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


def run(
    study: Study,
    settings: Settings,
    output: str,
    resume: bool,
    *,
    compressed: str | None = None,
) -> Row:
    """Runs or resumes a long-tail study; writes its report and returns a summary.

    Args:
        study: how to compress.
        settings: of the ensemble and the analysis.
        output: folder of the results.
        resume: go on with what is there.
        compressed: folder of `study` if it has been run before.
    """
    common.setup()
    folder = Path(output)
    _module(study, settings, 2)
    ensemble.subset_size(1000, settings.ratio)
    parts = experiment.load_parts(study)
    title = f"{study.network} on {study.data}"
    # The ensemble comes first, so that other studies can already share its scores.
    tail, about = _tail(study, settings, parts, folder, resume)
    with common.progress(f"compress {title}", study.total_epochs) as advance:
        result = experiment.run(
            study,
            compressed or folder / "compress",
            resume=resume or compressed is not None,
            on_epoch=lambda job, _: advance(job),
        )
    rows = longtail_study.relations(result, tail, resamples=settings.resamples)
    shared = common.machine() | {"data": study.data, "network": study.network}
    report.write_json_lines(folder / "relation.jsonl", [shared | r for r in rows])
    summary = shared | about | longtail_study.verdict(rows)
    report.write_json_lines(folder / "summary.jsonl", [summary])
    for split in ("train", "test"):
        if own := [row for row in rows if row["split"] == split]:
            common.console.print(
                table(own, f"{title}: {split} examples, label changes")
            )
    common.console.print(sentence(summary), highlight=False)
    draw(folder, result, tail, title)
    common.console.print(f"scores, rows and plots are in {folder}")
    print(json.dumps(summary))
    return summary


def _tail(
    study: Study, settings: Settings, parts: Parts, folder: Path, resume: bool
) -> tuple[Tail, Row]:
    """Scores that are given, or else estimated."""
    if settings.scores is None:
        return estimate(study, settings, parts, folder, resume)
    about: Row = {"scores": settings.scores}
    if Path(settings.scores).is_dir():
        return longtail_study.load_tail(settings.scores, parts), about
    return tail_of_scores(memorize.load_scores(settings.scores), parts), about


def _module(study: Study, settings: Settings, num_classes: int) -> nn.Module:
    return dataclasses.replace(study, network=settings.network).module(num_classes)


def estimate(
    study: Study, settings: Settings, parts: Parts, folder: Path, resume: bool
) -> tuple[Tail, Row]:
    """Trains the ensemble, saves what it says of the examples, and sums it up."""
    train, test = parts.train, parts.test
    module = _module(study, settings, len(parts.source.class_names))
    learner = ensemble.network_learner(
        module, settings.training, train, test, ratio=settings.ratio
    )
    records: list[Row] = []
    with common.progress("ensemble", settings.models) as advance:

        def moved(record: Row) -> None:
            before = records[-1]["models"] if records else 0
            records.append(record)
            text = f"accuracy {record['subset_accuracy']:.3f} on its subset, "
            text += f"test {record['test_accuracy']:.3f}"
            advance(text, record["models"] - before)

        trained = ensemble.train_ensemble(
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
    votes = without_collapsed(trained)
    tail = tail_of(votes, parts, top_k=settings.top_k)
    longtail_study.save_tail(folder, tail, parts)
    summary = _summary(settings, votes, tail) | {
        "collapsed": trained.num_models - votes.num_models,
        "ensemble_seconds": sum(record["seconds"] for record in records),
        "models_per_second": _rate(records),
        "subset_accuracy": records[-1]["subset_accuracy"],
        "test_accuracy": records[-1]["test_accuracy"],
    }
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
        summary["proxy_spearman"] = proxies.rank_correlations(
            found, tail.scores.memorization
        )
    return tail, summary


def _rate(records: list[Row]) -> float:
    """Models a second, the first chunk, which compiles, left out if there are more."""
    before = records[0] if len(records) > 1 else {"models": 0}
    timed = records[1:] or records
    seconds = sum(record["seconds"] for record in timed)
    return (records[-1]["models"] - before["models"]) / seconds


def _summary(settings: Settings, votes: Votes, tail: Tail) -> Row:
    assert tail.influence is not None
    known = tail.scores.memorization[~np.isnan(tail.scores.memorization)]
    out: Row = {
        "models": votes.num_models,
        "ensemble_network": settings.network,
        "train_examples": len(votes.train_index),
        "memorized": float(np.mean(known >= longtail.MEMORIZED)),
        "mean_memorization": float(known.mean()),
        "median_standard_error": float(np.nanmedian(tail.scores.standard_error)),
        "pairs": len(
            memorize.high_influence_pairs(
                tail.scores, tail.influence, min_errors=MIN_ERRORS
            )[0]
        ),
    }
    if votes.num_models >= 4:
        halves = memorize.split_half(votes)
        out |= {f"split_half_{k}": v for k, v in halves._asdict().items()}
    return out


def sentence(summary: Row) -> str:
    """The summary in words."""
    lines = []
    if "models" in summary:
        lines.append(
            f"{summary['models']} models in {summary['ensemble_seconds']:.1f} s "
            f"({summary['collapsed']} more collapsed and are left out); "
            f"{100 * summary['memorized']:.1f} % of training examples are memorized "
            f"(from {longtail.MEMORIZED} on), median standard error "
            f"{summary['median_standard_error']:.3f}, split-half correlation "
            f"{summary.get('split_half_pearson', float('nan')):.3f}"
        )
    if ranks := summary.get("proxy_spearman"):
        listed = ", ".join(f"{name} {value:.2f}" for name, value in ranks.items())
        lines.append(f"rank correlation of the proxies with memorization: {listed}")
    words = {
        "train": "training examples that change label are the memorized ones",
        "test": "test examples that change label lean on memorized training examples",
    }
    for split, claim in words.items():
        if f"{split}_rows" not in summary:
            continue
        own = {
            name.removeprefix(f"{split}_"): value
            for name, value in summary.items()
            if name.startswith(f"{split}_")
        }
        text = (
            f"{claim}: AUC above 0.5 with its interval in {own['holds']} of "
            f"{own['rows']} rows (smallest {own['auc_smallest']:.2f}, median "
            f"{own['auc_median']:.2f}, largest {own['auc_largest']:.2f})"
        )
        for name, what in (
            ("auc_hardness", "hardness instead of memorization"),
            ("auc_churn", "churn of two references instead of compression"),
        ):
            if own[name] is not None:
                text += f"; {what}: {own[name]:.2f}"
        lines.append(text)
    return "\n".join(lines)


def table(rows: list[Row], title: str) -> Table:
    """The relation in one split, for a terminal."""
    out = Table(title=title)
    out.add_column("recipe")
    out.add_column("loss")
    for name in (
        "changed %",
        "score*",
        "AUC",
        "AUC - ce",
        "AUC hard",
        "rank",
        "% <.1 / >=.5",
    ):
        out.add_column(name, justify="right", no_wrap=True)
    previous = ""
    for row in rows:
        if previous and row["recipe"] != previous:
            out.add_section()
        out.add_row(
            row["recipe"] if row["recipe"] != previous else "",
            row["loss"],
            f"{100 * row['mismatch_rate']:.2f}",
            f"{_number(row['mean_changed'])} / {_number(row['mean_kept'])}",
            _interval(row, "auc"),
            _interval(row, "auc_minus_ce") if "auc_minus_ce" in row else "",
            _number(row["auc_hardness"]),
            _number(row["spearman"]),
            _ends(row),
        )
        previous = row["recipe"]
    out.caption = (
        "* mean score of changed / kept examples: memorization; for a test example, "
        "that of the training examples that influence it most. AUC: a changed example "
        "has the higher score. AUC hard: the same for the error rate of models that "
        "never saw it. rank: Spearman's correlation. Last: changed % by score."
    )
    return out


def _number(x: float | None) -> str:
    return "-" if x is None else f"{x:.2f}"


def _interval(row: Row, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{_number(row[name])} [{_number(low)}, {_number(high)}]"


def _ends(row: Row) -> str:
    """Rates of the lowest bin and of the upper half of the bins."""
    counts = np.array(row["bin_examples"])
    rates = np.array([x or 0.0 for x in row["bin_rate"]])
    half = len(counts) // 2
    upper = counts[half:].sum()
    high = (counts * rates)[half:].sum() / upper if upper else None
    texts = ["-" if x is None else f"{100 * x:.1f}" for x in (row["bin_rate"][0], high)]
    return " / ".join(texts)


def draw(folder: Path, result: Result, tail: Tail, title: str) -> None:
    """Writes the pictures."""
    parts, names = result.parts, result.parts.source.class_names
    memorization = tail.scores.memorization
    for split, score, what in (
        ("train", memorization, "memorization"),
        ("test", tail.support, "memorization of what influences it most"),
    ):
        if score is None:
            continue
        known = ~np.isnan(score)
        panels: dict[str, dict[str, Bins]] = {}
        for (recipe, loss), changed in longtail_study.changes(result, split).items():
            bins = binned_rate(score[known], changed[:, known], longtail.EDGES)
            panel = "two references" if recipe == longtail_study.CHURN else loss
            panels.setdefault(panel, {})[recipe] = bins
        plots.plot_bins(
            folder / f"bins-{split}.png",
            panels,
            xlabel=what,
            title=f"{title}, {split} examples",
        )
    flips = longtail_study.changes(result, "train")
    for recipe in dict.fromkeys(recipe for recipe, _ in result.flips):
        loss = next(loss for other, loss in result.flips if other == recipe)
        about = f"framed: label changed by {recipe}, {loss}"
        slug = experiment.slug(recipe)
        plots.plot_memorized(
            folder / f"memorized-{slug}.png",
            parts.train,
            memorization,
            flips[recipe, loss],
            names,
            title=f"most memorized training examples; {about}",
        )
        if tail.influence is not None:
            plots.plot_pairs(
                folder / f"pairs-{slug}.png",
                parts.train,
                parts.test,
                memorize.high_influence_pairs(
                    tail.scores, tail.influence, min_errors=MIN_ERRORS
                ),
                memorization,
                names,
                changed=result.flips[recipe, loss],
                title=f"influence pairs; {about}",
            )
