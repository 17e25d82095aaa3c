"""Formulas in notebooks: tables of MathML equations, which need no library to be shown."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Protocol

__all__ = ["equations"]


class Row(Protocol):
    """A formula with a shape."""

    @property
    def equation(self) -> str: ...
    @property
    def shape(self) -> tuple[str, ...]: ...


def equations(rows: Iterable[Row], head: str = "", foot: Iterable[str] = ()) -> str:
    """The equations one under the other, each with its shape; ``head`` above, ``foot`` below."""
    cells = "".join(
        f"<tr><td style='text-align:left'>{row.equation}</td>"
        f"<td style='text-align:left;opacity:0.7'>{escape(' × '.join(row.shape)) or 'number'}</td>"
        "</tr>"
        for row in rows
    )
    above = f"<p>{escape(head)}</p>" if head else ""
    below = "".join(f"<p>{escape(line)}</p>" for line in foot)
    return f"{above}<table>{cells}</table>{below}"
