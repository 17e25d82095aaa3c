"""What a drawing shows: vertices with names, formulas and shapes, and edges between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Direction", "Edge", "Kind", "Picture", "Vertex"]

#: ``data`` are captured arrays; ``backward`` what only a derivative computes.
Kind: TypeAlias = Literal["input", "data", "operation", "output", "backward", "gradient"]
Direction: TypeAlias = Literal["down", "right"]


@dataclass(frozen=True, slots=True)
class Vertex:
    """One array (or one element of it): its name, how it is computed, its shape."""

    name: str
    formula: str
    shape: tuple[str, ...]
    kind: Kind = "operation"

    @property
    def shape_text(self) -> str:
        """``N × M``; nothing for a number."""
        return " × ".join(self.shape)

    @property
    def line(self) -> str:
        """``h = tanh(z)``, or the name alone."""
        return f"{self.name} = {self.formula}" if self.formula else self.name


@dataclass(frozen=True, slots=True)
class Edge:
    """From an operand to what is computed of it; the label is the local Jacobian, if shown."""

    source: int
    target: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph to be laid out; edges refer to vertices by position, operands come first."""

    title: str
    vertices: Sequence[Vertex]
    edges: Sequence[Edge]
    direction: Direction = "down"
