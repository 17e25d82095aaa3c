"""A derivation in explicit matrices, as text and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .elements import Scalar
from .symbols import Meaning
from .writing import width_of

__all__ = ["Line", "Matrix", "Section", "SmallCase"]


@dataclass(frozen=True)
class Line:
    """``left = right``, each in text and LaTeX."""

    left: tuple[str, str]
    right: tuple[str, str]

    def rows(self) -> list[str]:
        """The lines of text."""
        return [f"{self.left[0]} = {self.right[0]}"]

    @property
    def latex(self) -> str:
        """The equation, aligned at its sign."""
        return f"{self.left[1]} &= {self.right[1]}"


@dataclass(frozen=True)
class Matrix:
    """``left =`` an explicit matrix; ``cells`` is an array of scalars of rank at most 2."""

    left: tuple[str, str]
    cells: Any

    def _table(self, latex: bool) -> list[list[str]]:
        cells = self.cells
        if cells.ndim == 0:
            cells = cells.reshape(1, 1)
        if cells.ndim == 1:
            cells = cells[:, None]
        return [[_shown(c, latex) for c in row] for row in cells]

    def rows(self) -> list[str]:
        """The lines of text."""
        table = self._table(False)
        if len(table) == 1 and len(table[0]) == 1:
            return [f"{self.left[0]} = {table[0][0]}"]
        widths = [max(map(width_of, column)) for column in zip(*table, strict=True)]
        body = [
            "   ".join(c + " " * (w - width_of(c)) for c, w in zip(row, widths, strict=True))
            for row in table
        ]
        head = f"{self.left[0]} = "
        lines = []
        for number, row in enumerate(body):
            left, right = _brackets(number, len(body))
            lines.append((head if not number else " " * width_of(head)) + f"{left} {row} {right}")
        return lines

    @property
    def latex(self) -> str:
        """The equation, aligned at its sign."""
        table = self._table(True)
        if len(table) == 1 and len(table[0]) == 1:
            return f"{self.left[1]} &= {table[0][0]}"
        body = r" \\ ".join(" & ".join(row) for row in table)
        return rf"{self.left[1]} &= \begin{{pmatrix}}{body}\end{{pmatrix}}"


def _shown(cell: Any, latex: bool) -> str:
    assert isinstance(cell, Scalar)
    return cell.latex if latex else cell.text


def _brackets(number: int, total: int) -> tuple[str, str]:
    if total == 1:
        return "(", ")"
    if number == 0:
        return "⎛", "⎞"
    return ("⎝", "⎠") if number == total - 1 else ("⎜", "⎟")


@dataclass(frozen=True)
class Section:
    """A headed part of a small case; ``meanings`` say what symbols in it are."""

    title: str
    items: tuple[Line | Matrix, ...] = ()
    note: str = ""
    meanings: tuple[Meaning, ...] = ()

    def __str__(self) -> str:
        rows = [row for item in self.items for row in item.rows()]
        rows += [meaning.text for meaning in self.meanings]
        return "\n  ".join([self.title, *rows, *([self.note] if self.note else [])])

    @property
    def latex(self) -> str:
        """The items as one aligned block."""
        rows = [item.latex for item in self.items]
        rows += [f"&{meaning.latex}" for meaning in self.meanings]
        body = r" \\ ".join(rows)
        return rf"\begin{{aligned}}{body}\end{{aligned}}" if body else ""


@dataclass(frozen=True)
class SmallCase:
    """A derivation in explicit matrices at small sizes.

    ``agreement`` says for each argument how the general formula was compared with what comes out
    element by element: "symbolically" or "at random values".
    """

    sizes: dict[str, int]
    sections: tuple[Section, ...]
    agreement: dict[str, str]

    @property
    def text(self) -> str:
        """All sections as text."""
        return "\n".join(map(str, self.sections))

    @property
    def latex(self) -> str:
        """All sections as LaTeX, each with its title and a displayed block."""
        return "\n\n".join(self._latex_sections())

    def _latex_sections(self) -> Iterator[str]:
        for section in self.sections:
            title = section.title.translate(_PLAIN_TEXT)
            block = f"\n\\[\n{section.latex}\n\\]" if section.latex else ""
            note = f"\n{section.note.translate(_PLAIN_TEXT)}" if section.note else ""
            yield rf"\paragraph{{{title}}}{block}{note}"

    def _repr_latex_(self) -> str:
        return "$$" + r" \\ ".join(s.latex for s in self.sections if s.latex) + "$$"

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


_PLAIN_TEXT = {
    ord("∂"): r"$\partial$",
    ord("𝟏"): r"$\mathbf{1}$",
    ord("ᵀ"): r"$^\top$",
    ord("Σ"): r"$\Sigma$",
    ord("×"): r"$\times$",
}
