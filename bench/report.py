"""Tables of the rows: figures, and ratios against each peer, wins and losses alike."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from harness import SUBJECT, Row

#: Ratios this close to 1 are called even.
EVEN = 0.05


def show(
    name: str,
    rows: Sequence[Row],
    missing: dict[str, str],
    disagreements: Sequence[str],
    console: Console | None = None,
) -> None:
    """One table for each case of a module."""
    console = console or Console()
    for case in dict.fromkeys(row.case for row in rows):
        console.print(_table(f"{name}: {case}", [row for row in rows if row.case == case]))
    for peer, why in missing.items():
        console.print(f"[yellow]{name}, {peer}:[/] {why}", highlight=False)
    for line in disagreements:
        console.print(f"[bold red]they compute different numbers:[/] {line}", highlight=False)


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("quantity")
    table.add_column("contender")
    table.add_column("best", justify="right")
    table.add_column("median", justify="right")
    table.add_column(f"{SUBJECT} takes", justify="right")
    ours = {r.quantity: r for r in rows if r.peer == SUBJECT}
    previous = None
    for row in side_by_side(rows):
        table.add_row(
            row.quantity if row.quantity != previous else "",
            row.peer,
            amount(row.value, row.unit),
            "" if row.median is None else amount(row.median, row.unit),
            verdict(row, ours.get(row.quantity)),
        )
        previous = row.quantity
    return table


def side_by_side(rows: Sequence[Row]) -> list[Row]:
    """Rows with all peers of one quantity together, ours first, in the order in which they came."""
    order: dict[tuple[str, str], int] = {}
    for row in rows:
        order.setdefault((row.case, row.quantity), len(order))
    return sorted(rows, key=lambda r: (order[r.case, r.quantity], r.peer != SUBJECT))


def ratio(row: Row, ours: Row | None) -> float | None:
    """Our time over the peer's, best call against best call; none against ourselves."""
    if ours is None or row.peer.startswith(SUBJECT) or row.unit not in ("s", "s/node"):
        return None
    return ours.value / row.value


def verdict(row: Row, ours: Row | None) -> str:
    """The ratio in words, or whether a bound is kept."""
    if row.limit is not None:
        kept = row.value <= row.limit
        said = "within" if kept else "ABOVE"
        colour = "green" if kept else "bold red"
        return f"[{colour}]{said} {amount(row.limit, row.unit)}[/]"
    quotient = ratio(row, ours)
    if quotient is None:
        return ""
    if abs(quotient - 1) <= EVEN:
        return f"{quotient:.2f} × its time"
    colour, word = ("green", "faster") if quotient < 1 else ("red", "SLOWER")
    return f"[{colour}]{quotient:.2f} × its time, {word}[/]"


def amount(value: float, unit: str) -> str:
    """A number with a unit that suits its size."""
    if unit in ("s", "s/node"):
        scale, name = next((s for s in _SECONDS if value >= s[0]), _SECONDS[-1])
        return f"{value / scale:.3g} {name}{unit[1:]}"
    if unit == "B":
        scale, name = next((s for s in _BYTES if abs(value) >= s[0]), _BYTES[-1])
        return f"{value / scale:.4g} {name}"
    if unit == "power":
        return f"n^{value:.2f}"
    if unit == "×":
        return f"{value:.2f} ×"
    return f"{value:,.0f} {unit}"


_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
