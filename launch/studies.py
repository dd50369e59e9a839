"""A fidelity study in a terminal: progress, tables, pictures."""

import json
from pathlib import Path

import numpy as np

from fidelity import experiment, report
from fidelity.experiment import Result, Study
from launch import common


def run(study: Study, output: str, resume: bool) -> list[dict]:
    """Runs a study with a progress bar and writes its report."""
    common.setup()
    title = f"{study.network} on {study.data}"
    with common.progress(title, study.total_epochs) as advance:
        result = experiment.run(
            study, output, resume=resume, on_epoch=lambda job, _: advance(job)
        )
    return write_report(study, result, Path(output))


def write_report(study: Study, result: Result, output: Path) -> list[dict]:
    """Prints the table; writes summary.jsonl and the plots. Returns the summary."""
    summary = report.summarize(result.rows, result.flips)
    title = (
        f"{study.network} on {study.data}, {len(result.parts.test.labels)} test images"
    )
    common.console.print(report.table(summary, title=title, churn=result.churn))
    mean = np.mean([row["accuracy"] for row in result.references])
    common.console.print(f"reference accuracy {100 * mean:.2f} %; {_sizes(result)}")
    shared = common.machine() | {"data": study.data, "network": study.network}
    churn = float(np.mean(result.churn)) if result.churn else None
    lines = [shared | row | {"churn": churn} for row in summary]
    report.write_json_lines(output / "summary.jsonl", lines)

    pruned = {r.name: r.sparsity for r in study.recipes if r.sparsity and not r.bits}
    if pruned:
        report.plot_sparsity(
            output / "sparsity.png", summary, pruned, churn=churn, title=title
        )
    names = result.parts.source.class_names
    labels = result.parts.test.labels
    for recipe in dict.fromkeys(row["recipe"] for row in summary):
        own = {loss: f for (r, loss), f in result.flips.items() if r == recipe}
        counts = {
            loss: np.bincount(labels, f.mean(0), len(names)) for loss, f in own.items()
        }
        slug = experiment.slug(recipe)
        report.plot_classes(
            output / f"classes-{slug}.png", counts, names, title=f"{title}, {recipe}"
        )
        loss = next(iter(own))
        report.plot_examples(
            output / f"flips-{slug}.png",
            result.parts.test,
            names,
            result.predictions["reference/0"],
            result.predictions[f"{recipe}/{loss}/0"],
            title=f"labels changed by {recipe}, {loss}",
        )
    common.console.print(f"results, plots and artefacts are in {output}")
    print(json.dumps(lines[-1]))
    return lines


def _sizes(result: Result) -> str:
    """Bytes on disk of the first job of each recipe."""
    seen = {row["recipe"]: row for row in reversed(result.rows)}
    parts = [
        f"{name} {row['bytes'] / 1e3:.0f} kB" for name, row in reversed(seen.items())
    ]
    dense = result.rows[0]["bytes_reference"]
    return f"on disk: dense {dense / 1e3:.0f} kB, {', '.join(parts)}"
