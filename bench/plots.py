"""Pictures of a benchmark's JSON: times beside the peers', and time against size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import SUBJECT

#: Colours that stay apart for readers who do not tell red from green (Okabe and Ito).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#555555")


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """`ratios.png` and `growth.png` for what the result holds; none without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    made = []
    for name, painter in (("ratios", _ratios), ("growth", _growth)):
        figure = painter(result["cases"])
        if figure is not None:
            made.append(folder / f"{name}.png")
            figure.savefig(made[-1], dpi=130, bbox_inches="tight")
    return made


def _ratios(cases: dict[str, Any]) -> Any:
    """A point for every peer of every timed quantity: its time over ours."""
    from matplotlib.figure import Figure

    points: list[tuple[str, str, float]] = []
    for case in cases.values():
        for row in case["rows"]:
            quotient = row["chainrule_to_it"]
            if quotient and not row["peer"].startswith(SUBJECT):
                points.append((f"{row['case']}: {row['quantity']}", row["peer"], 1 / quotient))
    if not points:
        return None
    titles = list(dict.fromkeys(title for title, _, _ in points))
    peers = list(dict.fromkeys(peer for _, peer, _ in points))
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(titles)))
    axes = figure.add_subplot()
    for number, peer in enumerate(peers):
        chosen = [(titles.index(t), q) for t, p, q in points if p == peer]
        axes.scatter(
            [q for _, q in chosen],
            [k for k, _ in chosen],
            color=COLOURS[number % len(COLOURS)],
            label=peer,
            zorder=3,
        )
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(titles)), titles, fontsize=7)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd")
    axes.set_xlabel("the peer's time over ours (right of 1: we are faster)")
    axes.legend(fontsize=7, loc="best")
    return figure


def _growth(cases: dict[str, Any]) -> Any:
    """Time against size, both logarithmic."""
    from matplotlib.figure import Figure

    rows = [r for r in cases.get("growth", {"rows": []})["rows"] if r["details"]]
    if not rows:
        return None
    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    for number, row in enumerate(rows):
        sizes = [float(n) for n in row["details"]]
        label = f"{row['case']} (n^{row['value']:.2f})"
        colour = COLOURS[number % len(COLOURS)]
        axes.loglog(sizes, list(row["details"].values()), "o-", color=colour, label=label)
    axes.set_xlabel("size")
    axes.set_ylabel("seconds")
    axes.grid(color="#dddddd")
    axes.legend(fontsize=7)
    return figure
