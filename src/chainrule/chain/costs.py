"""The cost model of the search for elimination orders: networks with their factors left blank.

An edge's terms keep labels, extents and subscripts; each factor becomes a placeholder of its shape.
Products and sums are made by the very functions that make the real ones, and remembered: a program
has few kinds of edges, however many vertices.  What is lost is the identity of factors between
edges, so costs are estimates; what an order costs in truth is counted on its lowered program.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import TypeAlias

from ..expr.nodes import Leaf, Node, Sum, Term
from ..expr.subs import labels_of
from ..expr.walk import substitute_nodes, topological
from ..simplify.network import absorb, merge
from .elimination import Linearized, as_piece, composed, local_terms
from .orders import BudgetSpent, Problem

__all__ = ["NetworkAlgebra", "node_flops", "problem_of"]

Shapes: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
Blank: TypeAlias = tuple[Term, ...]

# Placeholders of one operand are numbered from 0, those of the next from here.
_STRIDE = 1 << 20


def node_flops(node: Node) -> int:
    """Multiplications and additions for one node, its operands known."""
    if isinstance(node, Sum):
        scaled = sum(1 for coef, _ in node.parts if coef not in (1, -1))
        scaled += bool(node.parts) and node.parts[0][0] == -1
        return (max(len(node.parts) - 1, 0) + scaled) * node.size
    if not isinstance(node, Term) or not node.factors:
        return 0
    outer = {k for sub in node.out for k in labels_of(sub)}
    held = {k for _, subs in node.factors for sub in subs for k in labels_of(sub)}
    box = prod(node.extents[k] for k in held)
    sums = not held <= outer
    scaled = node.size if node.coef not in (1, -1) else 0
    if len(node.factors) == 1:
        return (box if sums else 0) + scaled
    return (len(node.factors) - 1) * box * (2 if sums else 1) + scaled


class NetworkAlgebra:
    """Edges as numbers of blank networks; products and sums are looked up where they are known.

    ``budget`` bounds the terms that are joined or added up anew; BudgetSpent is raised past it.
    """

    def __init__(self, budget: float = inf) -> None:
        self._left = budget
        self._kinds: list[tuple[Blank, Node, Node]] = []
        self._numbers: dict[tuple[Blank, Shapes], int] = {}
        self._products: dict[tuple[int, int], tuple[int | None, float]] = {}
        self._totals: dict[tuple[int, ...], tuple[int | None, float]] = {}

    def kind(self, terms: Sequence[Term], node: Node, below: Node) -> int | None:
        """The number of the kind of edge that ``∂node/∂below`` is; None for zero."""
        if not terms:
            return None
        shapes = node.shape, below.shape
        blank = _blank(terms)
        number = self._numbers.get((blank, shapes))
        if number is None:
            number = len(self._kinds)
            self._numbers[blank, shapes] = number
            # what stands at the ends matters by its shape alone
            above_end, below_end = (Leaf(-1, n.shape, n.dtype) for n in (node, below))
            self._kinds.append((blank, above_end, below_end))
        return number

    def product(self, above: int, below: int) -> tuple[int | None, float]:
        key = above, below
        found = self._products.get(key)
        if found is None:
            self._spend(len(self._kinds[above][0]) * len(self._kinds[below][0]))
            upper, node, middle = self._kinds[above]
            lower, _, source = self._kinds[below]
            pieces = [as_piece(term, middle, source) for term in _renumbered(lower, _STRIDE)]
            made = composed(upper, None, None, pieces, node, middle, source)
            found = self.kind(made, node, source), _cost(made)
            self._products[key] = found
        return found

    def total(self, parts: tuple[int, ...]) -> tuple[int | None, float]:
        found = self._totals.get(parts)
        if found is None:
            self._spend(sum(len(self._kinds[part][0]) for part in parts) - 1)
            _, node, below = self._kinds[parts[0]]
            terms = [
                term
                for position, part in enumerate(parts)
                for term in _renumbered(self._kinds[part][0], position * _STRIDE)
            ]
            made = absorb(merge(terms))
            found = self.kind(made, node, below), _cost(made)
            self._totals[parts] = found
        return found

    def _spend(self, terms: int) -> None:
        self._left -= terms
        if self._left < 0:
            raise BudgetSpent


def _factors(terms: Sequence[Term]) -> list[Node]:
    return list(dict.fromkeys(node for term in terms for node, _ in term.factors))


def _blank(terms: Sequence[Term]) -> Blank:
    """Terms with factors numbered as they come, and coefficients that are 1 or are not."""
    leaves: dict[Node, Node] = {
        node: Leaf(number, node.shape, node.dtype) for number, node in enumerate(_factors(terms))
    }
    return tuple(
        Term(
            term.shape,
            term.dtype,
            1 if term.coef in (1, -1) else 2,
            term.extents,
            tuple((leaves[node], subs) for node, subs in term.factors),
            term.out,
            term.constraints,
        )
        for term in terms
    )


def _renumbered(terms: Blank, offset: int) -> list[Term]:
    if not offset:
        return list(terms)
    leaves: dict[Node, Node] = {
        node: Leaf(node.slot + offset, node.shape, node.dtype)
        for node in _factors(terms)
        if isinstance(node, Leaf)
    }
    return [t for t in substitute_nodes(list(terms), leaves) if isinstance(t, Term)]


def _cost(terms: Sequence[Term]) -> float:
    """What computing the factors of terms takes, placeholders being known."""
    return sum(node_flops(node) for node in topological(_factors(terms)))


def problem_of(graph: Linearized, budget: float = inf) -> Problem[int]:
    """The search problem of a linearized program; ``budget`` as for :class:`NetworkAlgebra`."""
    algebra = NetworkAlgebra(budget)
    into: list[dict[int, int]] = []
    for v, row in enumerate(graph.into):
        edges = {}
        for u, pieces in row.items():
            node, below = graph.nodes[v], graph.nodes[u]
            terms = absorb(merge(local_terms(node, pieces)))
            number = algebra.kind(terms, node, below)
            if number is not None:
                edges[u] = number
        into.append(edges)
    return Problem(into, graph.inner, algebra)
