"""A traced function, ready to be drawn: what its nodes are called, and the same at other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..expr.nodes import Node
from .picture import Kind

__all__ = ["Computation", "Root"]


@dataclass(frozen=True, slots=True)
class Root:
    """A result of the computation."""

    node: Node
    name: str
    kind: Kind = "output"


@dataclass(slots=True)
class Computation:
    """What is drawn.

    ``partner`` maps each node to the same node of a trace at other sizes (to itself where all sizes
    are numbers); ``first`` and ``second`` are the sizes of the names in the two.  ``arrays`` are
    the values of captured leaves in both, ``labels`` the names that the user's code gives.
    """

    title: str
    roots: list[Root]
    leaves: dict[Node, tuple[str, Kind]]
    labels: dict[Node, str]
    partner: dict[Node, Node]
    first: Mapping[str, int] = field(default_factory=dict)
    second: Mapping[str, int] = field(default_factory=dict)
    arrays: tuple[dict[Node, Any], dict[Node, Any]] = field(default_factory=lambda: ({}, {}))
    backward: set[Node] = field(default_factory=set)

    def taken(self) -> set[str]:
        """All names in use."""
        names = {name for name, _ in self.leaves.values()} | set(self.labels.values())
        return names | {root.name for root in self.roots} | set(self.first)
