"""The Jacobian by vertex elimination, in any order: forward and reverse sweeps are two of them.

The linearized program is a graph: vertices are the values on a path from inputs to outputs, and
the edge ``u → v`` holds the network of ``∂v/∂u``.  Eliminating a vertex joins every edge into it
with every edge out of it; when only inputs and outputs are left, the edges are the Jacobians.  The
order decides what is multiplied by what.  In reverse order of the program it is the reverse sweep,
in program order the forward sweep, both term for term.

Griewank and Walther, *Evaluating Derivatives*, 2nd ed., ch. 9 and 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..expr.nodes import Node, Term
from ..rules.local import Piece, identity_piece, local_jacobian
from ..simplify.network import absorb, finalize, merge
from .network import NotHolomorphic, identity, join
from .sweep import active_nodes

__all__ = ["Linearized", "as_piece", "composed", "eliminate", "local_terms"]


@dataclass(slots=True)
class Linearized:
    """The graph of a program's local derivatives; vertices are numbered in program order.

    An output that other values use too, or that is an input, is read through a vertex of its own,
    one more identity away.
    """

    nodes: list[Node] = field(default_factory=list)
    into: list[dict[int, list[Piece]]] = field(default_factory=list)  # v → {u: ∂v/∂u}
    sources: list[int | None] = field(default_factory=list)  # None: no output depends on it
    sinks: list[int | None] = field(default_factory=list)  # None: depends on no input

    @classmethod
    def of(cls, outputs: Sequence[Node], sources: Sequence[Node]) -> Linearized:
        """The graph between ``sources`` and ``outputs``.  Raises NotHolomorphic at a conjugate."""
        graph = cls()
        wanted = set(sources)
        number: dict[Node, int] = {}
        order = active_nodes(outputs, sources)
        active = set(order)
        used: set[Node] = set()
        for node in order:
            edges: dict[int, list[Piece]] = {}
            if node not in wanted:
                for piece in local_jacobian(node):
                    if piece.arg not in active:
                        continue
                    if piece.conj:
                        raise NotHolomorphic(node)
                    edges.setdefault(number[piece.arg], []).append(piece)
                    used.add(piece.arg)
            number[node] = graph._add(node, edges)
        graph.sources = [number.get(node) for node in sources]
        for output in outputs:
            vertex = number.get(output)
            if vertex is not None and (output in used or output in wanted or vertex in graph.sinks):
                vertex = graph._add(output, {vertex: [identity_piece(output)]})
            graph.sinks.append(vertex)
        return graph

    def _add(self, node: Node, edges: dict[int, list[Piece]]) -> int:
        self.nodes.append(node)
        self.into.append(edges)
        return len(self.nodes) - 1

    @property
    def inner(self) -> list[int]:
        """The vertices to eliminate, in program order (which is the forward sweep's)."""
        ends = {*self.sources, *self.sinks}
        return [v for v in range(len(self.nodes)) if v not in ends]


def as_piece(term: Term, node: Node, below: Node) -> Piece:
    """The terms of ``∂node/∂below`` as a piece of a local Jacobian."""
    lead = node.ndim
    return Piece(
        below,
        term.coef,
        term.extents,
        term.factors,
        term.out[:lead],
        term.out[lead:],
        term.constraints,
    )


def local_terms(node: Node, pieces: Iterable[Piece]) -> list[Term]:
    """Pieces of a local Jacobian as terms of shape node + argument."""
    start = identity(node)
    made: list[Term] = []
    for piece in pieces if start is not None else ():
        assert start is not None
        shape = node.shape + piece.arg.shape
        made += join(start, piece, piece.out, piece.into, node.ndim, shape, True)
    return made


def composed(
    above: Sequence[Term] | None,
    local: Sequence[Piece] | None,
    below: Sequence[Term] | None,
    pieces: Sequence[Piece] | None,
    node: Node,
    middle: Node,
    source: Node,
) -> list[Term]:
    """``∂node/∂middle`` joined with ``∂middle/∂source``, not added up yet.

    Each comes as terms, or as the pieces of a local Jacobian (``above`` or ``local``, ``below`` or
    ``pieces``).  A local Jacobian above is applied to the terms below, as in a forward sweep, any
    other pair is joined as in a reverse sweep.
    """
    shape = node.shape + source.shape
    made: list[Term] = []
    if local is not None and below is not None:
        for piece in local:
            for term in below:
                made += join(term, piece, piece.into, piece.out, middle.ndim, shape, False)
    else:
        if above is None:
            above = absorb(merge(local_terms(node, local or ())))
        if pieces is None:
            pieces = [as_piece(term, middle, source) for term in below or ()]
        for term in above:
            for piece in pieces:
                made += join(term, piece, piece.out, piece.into, node.ndim, shape, True)
    return made


@dataclass(slots=True)
class _Edge:
    """``∂v/∂u``: pieces of the local Jacobian, and what eliminations have added since."""

    pieces: list[Piece]
    added: list[Term] = field(default_factory=list)

    def terms(self, node: Node) -> list[Term]:
        return [*local_terms(node, self.pieces), *self.added]


def eliminate(graph: Linearized, order: Sequence[int]) -> list[list[list[Term]]]:
    """For each output, for each source, the terms of the Jacobian, of shape output + source.

    ``order`` holds the vertices of ``graph.inner``, each once.  Raises ValueError otherwise.
    """
    if sorted(order) != graph.inner:
        raise ValueError(
            f"an elimination order holds each of the {len(graph.inner)} inner vertices once"
        )
    nodes = graph.nodes
    edges = [{u: _Edge(pieces) for u, pieces in row.items()} for row in graph.into]
    above: list[dict[int, None]] = [{} for _ in nodes]
    for v, row in enumerate(edges):
        for u in row:
            above[u][v] = None
    for w in order:
        below = edges[w]
        settled = {
            u: absorb(merge(edge.terms(nodes[w]))) if edge.added else None
            for u, edge in below.items()
        }
        for v in above[w]:
            edge = edges[v].pop(w)
            upper = absorb(merge(edge.terms(nodes[v]))) if edge.added else None
            for u, lower in settled.items():
                made = composed(
                    upper,
                    None if edge.added else edge.pieces,
                    lower,
                    None if below[u].added else below[u].pieces,
                    nodes[v],
                    nodes[w],
                    nodes[u],
                )
                if not made:
                    continue
                if u not in edges[v]:
                    edges[v][u] = _Edge([])
                    above[u][v] = None
                edges[v][u].added += made
        for u in below:
            above[u].pop(w, None)
        edges[w] = {}
        above[w] = {}
    return [
        [_between(edges, nodes, source, sink) for source in graph.sources] for sink in graph.sinks
    ]


def _between(
    edges: Sequence[dict[int, _Edge]], nodes: Sequence[Node], source: int | None, sink: int | None
) -> list[Term]:
    """The finished network of one output by one source."""
    if source is None or sink is None or source not in edges[sink]:
        return []
    return finalize(merge(edges[sink][source].terms(nodes[sink])), nodes)
