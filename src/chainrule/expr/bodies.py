"""Closed programs inside a node: the body of a loop, a branch, a part that is computed anew.

A :class:`Body` computes its ``outs`` from its ``leaves`` alone.  Leaves are numbered from 0 in
every body, so that equal bodies are one; walks over the graph around a body do not enter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .nodes import Const, Leaf, Node
from .walk import dependents, substitute_nodes, topological

__all__ = ["Body", "body_of", "closed"]


@dataclass(frozen=True, eq=False)
class Body:
    """``outs`` as functions of ``leaves``; made by :func:`body_of`, where equal ones are one."""

    leaves: tuple[Leaf, ...]
    outs: tuple[Node, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and (self.leaves, self.outs) == (other.leaves, other.outs)

    def __hash__(self) -> int:
        return hash((self.leaves, self.outs))

    def __repr__(self) -> str:
        return f"<body of {len(self.leaves)} inputs, {len(self.outs)} results>"


def body_of(leaves: Sequence[Leaf], outs: Sequence[Node]) -> Body:
    """The body over leaves numbered from 0, in the order given."""
    places = tuple(Leaf(k, leaf.shape, leaf.dtype) for k, leaf in enumerate(leaves))
    if places == tuple(leaves):
        return Body(places, tuple(outs))
    return Body(places, tuple(substitute_nodes(list(outs), dict(zip(leaves, places, strict=True)))))


def closed(leaves: Sequence[Leaf], outs: Sequence[Node]) -> tuple[Body, list[Node]]:
    """A body whose last leaves stand for what ``outs`` take from around it, and those nodes.

    What does not depend on ``leaves`` is computed once, outside.
    """
    order = topological(outs)
    inside = dependents(order, leaves)
    taken: dict[Node, None] = {}
    for node in order:
        if node in inside:
            for child in node.children:
                if child not in inside and not isinstance(child, Const):
                    taken[child] = None
    for out in outs:
        if out not in inside and not isinstance(out, Const):
            taken[out] = None
    start = 1 + max((n.slot for n in order if isinstance(n, Leaf)), default=-1)
    start = max(start, 1 + max((leaf.slot for leaf in leaves), default=-1))
    places = {node: Leaf(start + k, node.shape, node.dtype) for k, node in enumerate(taken)}
    inner = substitute_nodes(list(outs), dict(places))
    return body_of([*leaves, *places.values()], inner), list(taken)
