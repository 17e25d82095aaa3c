"""Symbols that a reader may not know, and the line that says what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import NamedTuple, Protocol

from .linearized import Commutation
from .notation import Apply, Halved, Notation

__all__ = ["Meaning", "meanings"]


_LINE = 78  # characters of adjoints on a line


class Meaning(NamedTuple):
    """``where …`` as text and in LaTeX."""

    text: str
    latex: str


class Row(Protocol):
    """What is printed."""

    @property
    def notation(self) -> Notation: ...
    @property
    def adjoint(self) -> Meaning | None: ...


_NORMAL = Meaning(
    "where Φ(z) is the distribution function of the standard normal distribution",
    r"\text{where } \Phi(z) \text{ is the distribution function of the standard normal"
    r" distribution}",
)
_DENSITY = Meaning(
    "where φ(z) is the density of the standard normal distribution",
    r"\text{where } \varphi(z) \text{ is the density of the standard normal distribution}",
)
_LOWER = Meaning(
    "where Φ(A) is the lower triangle of A with its diagonal halved",
    r"\text{where } \Phi(A) \text{ is the lower triangle of } A \text{ with its diagonal halved}",
)
_UPPER = Meaning(
    "where Φᵀ(A) is the upper triangle of A with its diagonal halved",
    r"\text{where } \Phi^\top(A) \text{ is the upper triangle of } A \text{ with its diagonal"
    r" halved}",
)
_COMMUTATION = Meaning(
    "where 𝐊[n,m] is the commutation matrix: 𝐊[n,m] vec(X) = vec(Xᵀ) for X (n, m)",
    r"\text{where } \mathbf{K}_{n,m} \, \operatorname{vec}(X) = \operatorname{vec}(X^\top)"
    r" \text{ for } X \in \mathbb{R}^{n \times m}",
)


_FRECHET = Meaning(
    "where L_exp(A, E) is the derivative of the matrix exponential at A along E (Fréchet)",
    r"\text{where } L_{\exp}(A, E) \text{ is the derivative of the matrix exponential at } A"
    r" \text{ along } E",
)
_OFF_DIAGONAL = Meaning(
    "where offdiag(A) is A with zeros on its diagonal",
    r"\text{where } \operatorname{offdiag}(A) \text{ is } A \text{ with zeros on its diagonal}",
)
_FUNCTIONS = {"ndtr": _NORMAL, "normpdf": _DENSITY, "expm_frechet": _FRECHET, "gaps": _OFF_DIAGONAL}


def meanings(rows: Iterable[Row]) -> list[Meaning]:
    """What the symbols that occur mean, each once, in the order in which they occur."""
    rows = list(rows)
    found = (_meaning(part) for row in rows for part in _parts(row.notation))
    adjoints = [row.adjoint for row in rows if row.adjoint is not None]
    return [*_listed(adjoints), *dict.fromkeys(m for m in found if m is not None)]


def _listed(equations: Sequence[Meaning]) -> Iterator[Meaning]:
    """``where P̄ = ∂L/∂P, V̄ = ∂L/∂V``: as many on a line as it holds."""
    lines: list[list[Meaning]] = []
    for equation in equations:
        if lines and len(", ".join(e.text for e in (*lines[-1], equation))) <= _LINE:
            lines[-1].append(equation)
        else:
            lines.append([equation])
    for number, line in enumerate(lines):
        text = ", ".join(e.text for e in line)
        latex = r", \; ".join(e.latex for e in line)
        word = "and" if number else "where"
        yield Meaning(f"{word} {text}", rf"\text{{{word} }} {latex}")


def _meaning(notation: Notation) -> Meaning | None:
    if isinstance(notation, Halved):
        return _LOWER if notation.lower else _UPPER
    if isinstance(notation, Apply):
        return _FUNCTIONS.get(notation.op)
    return _COMMUTATION if isinstance(notation, Commutation) else None


def _parts(notation: Notation) -> Iterator[Notation]:
    """A notation and what it is made of."""
    stack: list[object] = [notation]
    while stack:
        part = stack.pop()
        if isinstance(part, tuple):
            stack.extend(reversed(part))
        elif isinstance(part, Notation):
            yield part
            if is_dataclass(part):
                stack.extend(getattr(part, f.name) for f in reversed(fields(part)))
