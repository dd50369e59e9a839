"""Tables, JSON lines and pictures of what compression changed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from fidelity.data import Dataset
from fidelity.mismatch import Mismatch, reduction_interval

Row = dict[str, Any]


def scalars(result: Mismatch) -> Row:
    """The scalar metrics of a `Mismatch` as plain numbers, for a JSON line."""
    return {
        name: np.asarray(value).item()
        for name, value in result._asdict().items()
        if np.ndim(value) == 0
    }


def write_json_lines(path: str | Path, rows: Iterable[Mapping]) -> None:
    """One JSON object a line."""
    Path(path).write_text("".join(json.dumps(dict(row)) + "\n" for row in rows))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for one value)."""
    array = np.asarray(values, np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else 0.0


def summarize(
    rows: Sequence[Row],
    flips: Mapping[tuple[str, str], np.ndarray],
    *,
    baseline: str = "ce",
    resamples: int = 2000,
) -> list[Row]:
    """Means over seeds and reduction factors against the baseline loss.

    Args:
        rows: one a (recipe, loss, seed), with keys "recipe", "loss", "accuracy",
            "accuracy_reference", "cie", "cie_u", "held_out_cie".
        flips: (recipe, loss) -> `[S, N]` bool, test examples that changed label.
        baseline: the loss that factors refer to.
        resamples: of the bootstrap.

    Returns:
        One row a (recipe, loss), in order of appearance; the loss that the *held-out*
        split prefers among those of its recipe is marked "chosen".
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["recipe"], row["loss"]), []).append(row)
    summary = []
    for (recipe, loss), members in groups.items():
        out: Row = {"recipe": recipe, "loss": loss, "seeds": len(members)}
        for name in ("accuracy_reference", "accuracy", "cie", "cie_u", "held_out_cie"):
            mean, spread = mean_and_spread([member[name] for member in members])
            out[name], out[f"{name}_std"] = mean, spread
        base = groups.get((recipe, baseline))
        if base and loss != baseline:
            out |= _factors(base, members, flips, (recipe, loss), baseline, resamples)
        summary.append(out)
    for recipe in dict.fromkeys(row["recipe"] for row in summary):
        own = [row for row in summary if row["recipe"] == recipe]
        min(own, key=lambda row: row["held_out_cie"])["chosen"] = True
    return summary


def _factors(
    base: list[Row],
    members: list[Row],
    flips: Mapping[tuple[str, str], np.ndarray],
    key: tuple[str, str],
    baseline: str,
    resamples: int,
) -> Row:
    def total(rows: list[Row], name: str) -> float:
        return float(np.mean([row[name] for row in rows]))

    out: Row = {}
    for name in ("cie", "cie_u"):
        ours = total(members, name)
        out[f"{name}_factor"] = total(base, name) / ours if ours else float("inf")
    before, after = flips.get((key[0], baseline)), flips.get(key)
    if before is not None and after is not None:
        interval = reduction_interval(
            jax.random.key(0), before, after, resamples=resamples
        )
        out["cie_factor_low"], out["cie_factor_high"] = map(float, interval[1:])
    return out


def table(summary: Sequence[Row], *, title: str, churn: Sequence[float] = ()) -> Table:
    """The summary for a terminal.

    Args:
        summary: from `summarize`.
        title: above the table.
        churn: label changes between pairs of references, for the last line.
    """
    out = Table(title=title)
    out.add_column("recipe")
    out.add_column("loss")
    for name in ("accuracy %", "CIE", "CIE-U", "fewer CIE", "fewer CIE-U"):
        out.add_column(name, justify="right")
    previous = ""
    for row in summary:
        if previous and row["recipe"] != previous:
            out.add_section()
        factors = ["", ""]
        if "cie_factor" in row:
            low, high = row.get("cie_factor_low"), row.get("cie_factor_high")
            span = f" [{low:.2f}, {high:.2f}]" if low is not None else ""
            factors = [f"{row['cie_factor']:.2f}x{span}", f"{row['cie_u_factor']:.2f}x"]
        out.add_row(
            row["recipe"] if row["recipe"] != previous else "",
            row["loss"] + (" *" if row.get("chosen") else ""),
            f"{100 * row['accuracy']:.2f} ± {100 * row['accuracy_std']:.2f}",
            f"{row['cie']:.0f} ± {row['cie_std']:.0f}",
            f"{row['cie_u']:.0f} ± {row['cie_u_std']:.0f}",
            *factors,
        )
        previous = row["recipe"]
    notes = ["* chosen on the held-out split"]
    if churn:
        mean, spread = mean_and_spread(churn)
        notes.append(f"churn floor (two dense seeds): {mean:.0f} ± {spread:.0f}")
    out.caption = "; ".join(notes)
    return out


def _figure(rows: int, columns: int, size: tuple[float, float]) -> Figure:
    # The object interface needs no display and leaves pyplot's state alone.
    figure = Figure(figsize=size, layout="constrained")
    figure.subplots(rows, columns, squeeze=False)
    return figure


def plot_sparsity(
    path: str | Path,
    summary: Sequence[Row],
    sparsity: Mapping[str, float],
    *,
    churn: float | None = None,
    title: str = "",
) -> None:
    """Mismatches against sparsity, one line a loss, with the churn floor.

    Args:
        path: PNG to write.
        summary: from `summarize`.
        sparsity: of the recipes to show, by name.
        churn: label changes between two references.
        title: above the plot.
    """
    figure = _figure(1, 2, (10, 4))
    left, right = figure.axes
    for loss in dict.fromkeys(row["loss"] for row in summary):
        own = [r for r in summary if r["loss"] == loss and r["recipe"] in sparsity]
        own.sort(key=lambda row: sparsity[row["recipe"]])
        x = [100 * sparsity[row["recipe"]] for row in own]
        for axes, name in ((left, "cie"), (right, "cie_u")):
            y, spread = [r[name] for r in own], [r[f"{name}_std"] for r in own]
            axes.errorbar(x, y, spread, marker="o", capsize=3, label=loss)
    for axes, name in ((left, "label changed (CIE)"), (right, "reference was right")):
        axes.set(xlabel="sparsity (%)", ylabel="test examples", title=name)
        axes.set_ylim(bottom=0)
    if churn is not None:
        left.axhline(churn, ls="--", c="grey", label="churn of two dense seeds")
    left.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def plot_classes(
    path: str | Path,
    flips: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    *,
    title: str = "",
) -> None:
    """Label changes by class, a group of bars a class, a colour a loss.

    Args:
        path: PNG to write.
        flips: loss -> `[C]` counts.
        class_names: `C` names.
        title: above the plot.
    """
    figure = _figure(1, 1, (max(6.0, 0.9 * len(class_names)), 4))
    axes = figure.axes[0]
    width = 0.8 / max(1, len(flips))
    for i, (loss, counts) in enumerate(flips.items()):
        axes.bar(np.arange(len(counts)) + i * width, counts, width, label=loss)
    ticks = np.arange(len(class_names)) + 0.4 - width / 2
    axes.set_xticks(ticks, class_names, rotation=45, ha="right")
    axes.set(ylabel="label changed (CIE)", title=title)
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_examples(
    path: str | Path,
    dataset: Dataset,
    class_names: Sequence[str],
    reference_labels: np.ndarray,
    labels: np.ndarray,
    *,
    count: int = 24,
    title: str = "",
) -> None:
    """Images whose label changed: truth above, reference -> compressed below.

    Args:
        path: PNG to write.
        dataset: test set.
        class_names: `C` names.
        reference_labels: `[N]` predictions of the reference.
        labels: `[N]` predictions of the compressed network.
        count: at most so many images.
        title: above the plot.
    """
    chosen = np.flatnonzero(reference_labels != labels)[:count]
    columns = 6
    rows = max(1, -(-len(chosen) // columns))
    figure = _figure(rows, columns, (2.0 * columns, 2.4 * rows))
    for axes in figure.axes:
        axes.axis("off")
    for axes, i in zip(figure.axes, chosen, strict=False):
        axes.imshow(dataset.images[i].squeeze(), cmap=matplotlib.colormaps["gray"])
        truth = class_names[dataset.labels[i]]
        was, now = class_names[reference_labels[i]], class_names[labels[i]]
        right = "tab:red" if was == truth else "tab:green" if now == truth else "grey"
        axes.set_title(f"{truth}\n{was} → {now}", fontsize=8, color=right)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
