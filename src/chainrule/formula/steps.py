"""The steps of a derivation, as one writes them down for somebody else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .mathml import mathml
from .symbols import Meaning
from .writing import width_of

__all__ = ["Step", "Steps"]


@dataclass(frozen=True)
class Step:
    """One step: ``kind`` is function, local, chain, rewrite, result or cost.

    ``lines`` are (left, right) in text, ``tex`` the same in LaTeX; ``meanings`` say what symbols in
    them are, ``note`` says in words what happens.
    """

    kind: str
    title: str
    lines: tuple[tuple[str, str], ...] = ()
    tex: tuple[tuple[str, str], ...] = ()
    note: str = ""
    meanings: tuple[Meaning, ...] = ()

    @property
    def text(self) -> str:
        """All lines as text, what symbols mean, the note at the end."""
        lines = [f"{left} = {right}" if left else right for left, right in self.lines]
        lines += [meaning.text for meaning in self.meanings]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    @property
    def latex(self) -> str:
        """All lines as one aligned LaTeX block, without delimiters."""
        rows = [f"{left} &= {right}" if left else f"&= {right}" for left, right in self.tex]
        rows += [f"&{meaning.latex}" for meaning in self.meanings]
        return r"\begin{aligned}" + r" \\ ".join(rows) + r"\end{aligned}" if rows else ""

    @property
    def mathml(self) -> tuple[str, ...]:
        """One MathML element a line."""
        return tuple(mathml(*(side for side in line if side)) for line in self.lines)

    def __str__(self) -> str:
        width = max((width_of(left) for left, _ in self.lines), default=0)
        lines = [f"{' ' * (width - width_of(left))}{left} = {right}" for left, right in self.lines]
        lines += [meaning.text for meaning in self.meanings]
        return "\n   ".join([self.title, *lines, *([self.note] if self.note else [])])


class Steps(list[Step]):
    """A list of steps that prints itself numbered."""

    def __init__(self, steps: Iterable[Step] = (), head: str = "") -> None:
        super().__init__(steps)
        self.head = head

    def __str__(self) -> str:
        numbered = [f"{number}. {step}" for number, step in enumerate(self, 1)]
        return "\n".join([*([self.head] if self.head else []), *numbered])

    def __repr__(self) -> str:
        return str(self)
