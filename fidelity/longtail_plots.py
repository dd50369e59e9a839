"""Pictures of the long tail: rates by memorization, examples, pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fidelity.association import Bins
from fidelity.data import Dataset


def plot_bins(
    path: str | Path,
    panels: Mapping[str, Mapping[str, Bins]],
    *,
    xlabel: str = "memorization",
    title: str = "",
) -> None:
    """Mismatch rate by bin of a score, with intervals.

    Args:
        path: PNG to write.
        panels: title of a panel (a loss) -> name of a line (a sparsity) -> `Bins`.
        xlabel: name of the score.
        title: above all panels.
    """
    figure = Figure(figsize=(5.0 * len(panels), 4), layout="constrained")
    figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (name, lines) in zip(figure.axes, panels.items(), strict=True):
        colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(lines)))
        for color, (label, bins) in zip(colors, lines.items(), strict=True):
            x = (bins.edges[1:] + bins.edges[:-1]) / 2
            seen = bins.examples > 0
            spans = np.stack([bins.rate - bins.low, bins.high - bins.rate])
            axes.errorbar(
                x[seen],
                100 * bins.rate[seen],
                100 * np.maximum(spans[:, seen], 0),
                marker="o",
                capsize=3,
                color=color,
                label=label,
            )
        axes.set(xlabel=xlabel, title=name)
        axes.legend()
    # Last, since the panels share the axis and setting one end stops its scaling.
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[0].set_ylabel("label changed (%)")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _show(axes: Axes, image: np.ndarray, text: str, color: str | None = None) -> None:
    """An image without ticks, framed if a colour is given."""
    axes.imshow(image.squeeze(), cmap=matplotlib.colormaps["gray"])
    axes.set(xticks=[], yticks=[])
    axes.set_title(text, fontsize=8, color=color or "black")
    for spine in axes.spines.values():
        spine.set_visible(color is not None)
        spine.set_color(color or "black")
        spine.set_linewidth(3)


def plot_memorized(
    path: str | Path,
    dataset: Dataset,
    memorization: np.ndarray,
    changed: np.ndarray,
    class_names: Sequence[str],
    *,
    count: int = 32,
    title: str = "",
) -> None:
    """The most memorized training examples; those that changed label are framed.

    Args:
        path: PNG to write.
        dataset: training set, `N` examples.
        memorization: `[N]`; NaN is left out.
        changed: `[S, N]` bool; red where most seeds changed, orange where some did.
        class_names: `C` names.
        count: at most so many images.
        title: above the plot.
    """
    ranked = np.argsort(-np.nan_to_num(memorization, nan=-np.inf), kind="stable")
    chosen = ranked[: min(count, int(np.sum(~np.isnan(memorization))))]
    changed = np.atleast_2d(changed)
    columns = 8
    rows = max(1, -(-len(chosen) // columns))
    figure = Figure(figsize=(1.5 * columns, 1.9 * rows + 0.6), layout="constrained")
    figure.subplots(rows, columns, squeeze=False)
    for axes in figure.axes[len(chosen) :]:
        axes.axis("off")
    for axes, i in zip(figure.axes, chosen, strict=False):
        flips, seeds = int(changed[:, i].sum()), len(changed)
        color = None if not flips else "tab:red" if 2 * flips > seeds else "tab:orange"
        text = f"{class_names[dataset.labels[i]]}\nmem {memorization[i]:.2f}"
        _show(axes, dataset.images[i], f"{text}, {flips}/{seeds}", color)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def plot_pairs(
    path: str | Path,
    train: Dataset,
    test: Dataset,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    memorization: np.ndarray,
    class_names: Sequence[str],
    *,
    changed: np.ndarray | None = None,
    count: int = 16,
    title: str = "",
) -> None:
    """Memorized training examples beside the test example that depends on them.

    Args:
        path: PNG to write.
        train: training set, `N` examples.
        test: test set, `T` examples.
        pairs: `(train_rows, test_rows, influence)`, see
            `fidelity.memorize.high_influence_pairs`; each training example is shown
            once.
        memorization: `[N]`.
        class_names: `C` names.
        changed: `[S, T]` bool; test examples that changed label are framed.
        count: at most so many pairs.
        title: above the plot.
    """
    first = np.sort(np.unique(pairs[0], return_index=True)[1])[:count]
    across = 4
    rows = max(1, -(-len(first) // across))
    figure = Figure(figsize=(3.0 * across, 1.9 * rows + 0.6), layout="constrained")
    figure.subplots(rows, 2 * across, squeeze=False)
    for axes in figure.axes[2 * len(first) :]:
        axes.axis("off")
    for place, p in enumerate(first):
        i, j, value = pairs[0][p], pairs[1][p], pairs[2][p]
        left, right = figure.axes[2 * place : 2 * place + 2]
        name = class_names[train.labels[i]]
        _show(left, train.images[i], f"train: {name}\nmem {memorization[i]:.2f}")
        flips = 0 if changed is None else int(np.atleast_2d(changed)[:, j].sum())
        color = "tab:red" if flips else None
        name = class_names[test.labels[j]]
        _show(right, test.images[j], f"test: {name}\ninfl {value:.2f}", color)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
