"""A product of vectors and matrices as a graph, and the matrix notation that it has.

Labels are vertices, matrices are edges, vectors sit on vertices.  A summed vertex between two
edges is a matrix product (with ``diag(v)`` where a vector sits on it), one at the end of an edge
is a product with a vector (or ``𝟏``), two edges between the same vertices are ``⊙``, a closed
cycle of summed vertices is a trace.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..expr.extents import Extent
from .composing import hadamard, multiply, transpose
from .notation import (
    Diag,
    DiagonalOf,
    Identity,
    Norm,
    Notation,
    OffDiagonal,
    Ones,
    Power,
    Product,
    Trace,
    Transpose,
)
from .triangles import NoMatrixForm

__all__ = ["Contraction", "Edge"]


@dataclass(slots=True)
class Edge:
    row: int
    column: int
    matrix: Notation
    symmetric: bool = False


class Contraction:
    """Labels as vertices; see the module's text."""

    def __init__(self, extents: tuple[Extent, ...], out: list[int]) -> None:
        self.extents = extents
        self.out = out
        self.scalars: list[Notation] = []
        self.vectors: dict[int, list[Notation]] = {k: [] for k in range(len(extents))}
        self.edges: list[Edge] = []

    def diagonal(self, label: int, matrix: Notation) -> None:
        """A matrix under one label twice: its diagonal (summed, its trace)."""
        found: Notation = DiagonalOf(matrix)
        if isinstance(matrix, Power):
            found = Power(DiagonalOf(matrix.inner), matrix.exponent, False)
        self.vectors[label].append(found)

    def reduce(self) -> tuple[list[Notation], Notation | None]:
        """Eliminate all summed labels; returns the numbers in front and what they multiply."""
        summed = [k for k in self.vectors if k not in self.out]
        while summed:
            self._merge(set(summed))
            chosen = self._next(summed)
            summed.remove(chosen)
            if not self._cycle(chosen, summed):
                self._eliminate(chosen)
        self._merge(set())
        return self.scalars, self._result()

    def _at(self, label: int) -> list[Edge]:
        return [e for e in self.edges if label in (e.row, e.column)]

    def _next(self, summed: list[int]) -> int:
        """A label to eliminate: inner ones of a chain first, then ends."""
        degree = {k: len(self._at(k)) for k in summed}
        chosen = min(summed, key=lambda k: ({1: 0, 2: 1, 0: 2}.get(degree[k], 3), k))
        ends = {o for k in summed for e in self._at(k) for o in (e.row, e.column)} - set(summed)
        if degree[chosen] == 1 and not ends and len(summed) > 1:
            inner = [k for k in summed if degree[k] == 2]
            chosen = inner[0] if inner else chosen
        return chosen

    def _oriented(self, edge: Edge, row: int) -> Notation:
        if edge.row == row or edge.symmetric:
            return edge.matrix
        return transpose(edge.matrix)

    def _merge(self, summed: set[int]) -> None:
        """Parallel edges become one ⊙; two that close a cycle of summed labels stay for a trace."""
        groups: dict[frozenset[int], list[Edge]] = {}
        for edge in self.edges:
            groups.setdefault(frozenset((edge.row, edge.column)), []).append(edge)
        merged: list[Edge] = []
        for pair, edges in groups.items():
            masked = any(isinstance(e.matrix, OffDiagonal) for e in edges)
            closed = pair <= summed and len(edges) == 2 and not masked
            if closed and all(len(self._at(k)) == 2 for k in pair):
                merged.extend(edges)
                continue
            if len(edges) == 1:
                merged.append(edges[0])
                continue
            row, column = edges[0].row, edges[0].column
            if self.out == [column, row]:
                row, column = column, row
            parts = [self._oriented(e, row) for e in edges]
            merged.append(Edge(row, column, hadamard(parts)))
        self.edges = merged

    def _cycle(self, label: int, summed: list[int]) -> bool:
        """Two edges between the same two summed labels: a trace (or a squared norm)."""
        edges = self._at(label)
        if len(edges) != 2 or {edges[0].row, edges[0].column} != {edges[1].row, edges[1].column}:
            return False
        (other,) = {edges[0].row, edges[0].column} - {label}
        if other not in summed:
            return False
        self.edges = [e for e in self.edges if e not in edges]
        summed.remove(other)
        left, right = self._oriented(edges[0], label), self._oriented(edges[1], label)
        weights = [self.vectors.pop(label), self.vectors.pop(other)]
        if left == right and not any(weights):
            self.scalars.append(Norm(left, True, True))
            return True
        middle = [Diag(hadamard(w)) if w else None for w in weights]
        chain = [middle[0], transpose(left) if middle[0] is not None else None]
        if middle[0] is None:
            chain = [transpose(left), right, middle[1]]
        else:
            chain = [middle[0], left, middle[1], transpose(right)]
        matrices = [c for c in chain if c is not None]
        if all(isinstance(c, Transpose) for c in matrices):  # tr(Aᵀ Bᵀ) = tr(B A)
            matrices = [transpose(c) for c in reversed(matrices)]
        self.scalars.append(Trace(multiply(*matrices)))
        return True

    def _eliminate(self, label: int) -> None:
        edges = self._at(label)
        vectors = self.vectors.pop(label)
        self.edges = [e for e in self.edges if e not in edges]
        if not edges:
            self.scalars.append(_inner(vectors, self.extents[label]))
        elif len(edges) == 1:
            (edge,) = edges
            other = edge.column if edge.row == label else edge.row
            vector = hadamard(vectors) if vectors else Ones(self.extents[label])
            matrix = self._oriented(edge, other)
            self.vectors[other].append(multiply(matrix, vector))
        elif len(edges) == 2:
            first, second = edges
            row = first.column if first.row == label else first.row
            column = second.column if second.row == label else second.row
            middle = [Diag(hadamard(vectors))] if vectors else []
            left, right = self._oriented(first, row), self._oriented(second, label)
            self.edges.append(Edge(row, column, multiply(left, *middle, right)))
        else:
            raise NoMatrixForm

    def _result(self) -> Notation | None:
        if not self.out:
            return None
        if len(self.out) == 1:
            vectors = self.vectors[self.out[0]]
            return hadamard(vectors) if vectors else Ones(self.extents[self.out[0]])
        row, column = self.out
        if row == column:
            vectors = self.vectors[row]
            return Diag(hadamard(vectors)) if vectors else Identity(self.extents[row])
        left, right = self.vectors[row], self.vectors[column]
        if not self.edges:
            u = hadamard(left) if left else Ones(self.extents[row])
            v = hadamard(right) if right else Ones(self.extents[column])
            return multiply(u, transpose(v))
        body = hadamard([self._oriented(e, row) for e in self.edges])
        if left:
            body = multiply(Diag(hadamard(left)), body)
        if right:
            body = multiply(body, Diag(hadamard(right)))
        return body


def _inner(vectors: list[Notation], size: Extent) -> Notation:
    """``Σ_c Π v[c]``: an inner product, a squared norm, a trace, or the sum of one vector."""
    if len(vectors) == 1:
        (vector,) = vectors
        if isinstance(vector, DiagonalOf):
            return Trace(vector.inner)
        if isinstance(vector, Power) and vector.exponent == 2:
            return Norm(vector.inner, True, False)
        return _straight(multiply(transpose(Ones(size)), vector))
    if len(vectors) == 2 and vectors[0] == vectors[1]:
        return Norm(vectors[0], True, False)
    last = max(range(len(vectors)), key=lambda i: (isinstance(vectors[i], Product), i))
    right = vectors[last]
    left = [v for i, v in enumerate(vectors) if i != last]
    return _straight(multiply(transpose(hadamard(left)), right))


def _straight(number: Notation) -> Notation:
    """Of a number ``xᵀ Aᵀ y`` and its transpose ``yᵀ A x``, the one with fewer transposes."""
    turned = transpose(number)
    return turned if _transposes(turned) < _transposes(number) else number


def _transposes(product: Notation) -> int:
    factors = product.factors if isinstance(product, Product) else (product,)
    return sum(isinstance(f, Transpose) for f in factors)
