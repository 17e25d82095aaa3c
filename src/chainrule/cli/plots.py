"""The pictures that training leaves behind; needs matplotlib, and no display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_COLORS = {"training": "#8a97a8", "test": "#1f5fbf"}
_INK = "#333333"
_DPI = 150


def confusion_matrix(truth: Counts, predicted: Counts, classes: int) -> Counts:
    """How often class i (row) was taken for class j (column): (classes, classes)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def draw_learning_curve(
    path: Path,
    *,
    loss: Mapping[str, Sequence[float]],
    accuracy: Mapping[str, Sequence[float]],
) -> Path:
    """Loss and accuracy over the epochs, one line a data set; index 0 is before training."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in loss.items():
        left.plot(values, color=_COLORS[name], linewidth=2, label=name)
    left.set_yscale("log")
    left.set_ylabel("mean cross-entropy (nats, log scale)")
    left.set_title("Loss", loc="left", fontweight="bold")
    left.legend(frameon=False)

    for name, values in accuracy.items():
        right.plot(values, color=_COLORS[name], linewidth=2, label=f"{name}  {values[-1]:.2%}")
    # the first epoch already leaves chance far behind: show where the lines differ
    low = min(min(values[1:]) for values in accuracy.values())
    right.set_ylim(max(0.0, np.floor(low * 20) / 20 - 0.05), 1.005)
    right.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set_ylabel("images classified correctly")
    right.set_title("Accuracy", loc="left", fontweight="bold")
    right.legend(frameon=False, loc="lower right", title="at the end", alignment="left")

    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0, len(next(iter(loss.values()))) - 1)
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK)
    figure.savefig(path, dpi=_DPI)
    return path


def draw_confusion(path: Path, counts: Counts) -> Path:
    """The confusion matrix, coloured by the share of its row; numbers are images."""
    classes = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right, total = int(np.trace(counts)), int(counts.sum())

    figure = Figure(figsize=(6.6, 6), layout="constrained")
    axes = figure.subplots()
    # errors are a few percent of a row: the square root keeps them visible beside the diagonal
    image = axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    for i in range(classes):
        for j in range(classes):
            if counts[i, j]:
                color = "white" if share[i, j] > 0.4 else _INK
                weight = "normal" if i == j else "bold"
                axes.text(
                    j, i, str(counts[i, j]), ha="center", va="center", color=color, weight=weight
                )
    axes.set_xticks(range(classes))
    axes.set_yticks(range(classes))
    axes.set_xlabel("predicted digit")
    axes.set_ylabel("true digit")
    axes.set_title(
        f"{right} of {total} test images right ({right / total:.2%})",
        loc="left",
        fontweight="bold",
    )
    axes.tick_params(length=0, colors=_INK)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)

    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    ticks = np.array([0, 0.01, 0.1, 0.25, 0.5, 1.0])
    bar.set_ticks(list(np.sqrt(ticks)), labels=[f"{tick:.0%}" for tick in ticks])
    bar.set_label("share of the true digit's images (square-root scale)")
    bar.outline.set_visible(False)
    figure.savefig(path, dpi=_DPI)
    return path
