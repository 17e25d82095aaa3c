"""Chapters as Markdown with programs, and running them: what a program prints goes under it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["Cell", "Chapter", "chapters", "executed", "markdown"]

_FENCE = "```"


@dataclass(frozen=True)
class Cell:
    """A piece of prose, or a program with what it printed and the pictures it made."""

    text: str
    code: bool = False
    output: str = ""
    figures: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Chapter:
    """A chapter by its short name."""

    name: str
    cells: tuple[Cell, ...] = field(repr=False)

    @property
    def title(self) -> str:
        """The first line, without its sign."""
        return self.cells[0].text.splitlines()[0].lstrip("# ")


@cache
def chapters() -> tuple[Chapter, ...]:
    """All chapters in order, not executed."""
    found = sorted(
        (f for f in files(__package__).joinpath("text").iterdir() if f.name.endswith(".md")),
        key=lambda f: f.name,
    )
    return tuple(
        Chapter(f.name.removesuffix(".md"), tuple(_cells(f.read_text(encoding="utf-8"))))
        for f in found
    )


def _cells(text: str) -> list[Cell]:
    cells: list[Cell] = []
    held: list[str] = []
    code = False
    for line in [*text.splitlines(), None]:
        if line is None or line.startswith(_FENCE):
            body = "\n".join(held).strip("\n")
            if body:
                cells.append(Cell(body, code))
            held = []
            code = line is not None and line != _FENCE
        else:
            held.append(line)
    return cells


def executed(chapter: Chapter) -> Chapter:
    """The chapter with its programs run, in one namespace from top to bottom.

    Programs may call ``figure(name, drawing)`` for something with an ``svg``.  What one raises
    is not caught: a chapter that fails is an error.
    """
    shown: list[tuple[str, Any]] = []

    def figure(name: str, drawing: Any) -> None:
        shown.append((name, drawing))

    namespace: dict[str, Any] = {"__name__": f"companion.{chapter.name}", "figure": figure}
    cells: list[Cell] = []
    for number, cell in enumerate(chapter.cells):
        if not cell.code:
            cells.append(cell)
            continue
        printed = io.StringIO()
        shown.clear()
        with contextlib.redirect_stdout(printed):
            run = compile(cell.text, f"<companion {chapter.name}, program {number}>", "exec")
            exec(run, namespace)
        lines = [line.rstrip() for line in printed.getvalue().splitlines()]
        cells.append(Cell(cell.text, True, "\n".join(lines).strip("\n"), tuple(shown)))
    return Chapter(chapter.name, tuple(cells))


def markdown(chosen: Sequence[Chapter], place: Callable[[str, Any], str]) -> str:
    """Executed chapters as one Markdown text; ``place`` stores a picture and says its link."""
    parts = []
    for chapter in chosen:
        for cell in chapter.cells:
            if not cell.code:
                parts.append(cell.text)
                continue
            parts.append(f"{_FENCE}python\n{cell.text}\n{_FENCE}")
            if cell.output:
                parts.append(f"{_FENCE}text\n{cell.output}\n{_FENCE}")
            parts.extend(f"![{name}]({place(name, drawing)})" for name, drawing in cell.figures)
    return "\n\n".join(parts) + "\n"
