"""Matrix notation of a quantity, where it has one.

A product of factors of rank ≤ 2 is a graph: labels are its vertices, matrices its edges, vectors
sit on vertices.  A summed vertex between two edges is a matrix product (with ``diag(v)`` where a
vector sits on it), one at the end of an edge is a product with a vector (or ``𝟏``), two edges
between the same vertices are ``⊙``, a closed cycle of summed vertices is a trace.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ..expr.extents import ONE, ZERO, Extent, extent
from .functions import style_of
from .notation import (
    Apply,
    Diag,
    DiagonalOf,
    Hadamard,
    HalfTriangle,
    Halved,
    Identity,
    Inverse,
    Literal,
    Name,
    Norm,
    Notation,
    Ones,
    Plus,
    Power,
    Product,
    Scaled,
    Summed,
    Trace,
    Transpose,
    Triangle,
)
from .quantity import Add, Form, Fun, Index, Num, Pow, Prod, Quantity, Sym
from .symmetry import Symmetries

__all__ = ["Matrices", "NoMatrixForm", "coefficient"]


UNIT = Literal(ONE)


class NoMatrixForm(Exception):
    """A quantity that only index notation can write."""


@dataclass(slots=True)
class _Edge:
    row: int
    column: int
    matrix: Notation
    symmetric: bool = False


def transpose(inner: Notation) -> Notation:
    """``innerᵀ``, products reversed, double transposes gone."""
    if isinstance(inner, Transpose):
        return inner.inner
    if isinstance(inner, Product):
        return Product(tuple(transpose(f) for f in reversed(inner.factors)))
    if isinstance(inner, Identity | Literal | Trace | Norm | Summed):
        return inner
    if isinstance(inner, Diag) and not isinstance(inner, DiagonalOf):
        return inner
    return Transpose(inner)


def inverse(inner: Notation) -> Notation:
    """``inner⁻¹``; of a transpose ``inner⁻ᵀ``."""
    if isinstance(inner, Transpose):
        return Transpose(Inverse(inner.inner))
    return Inverse(inner)


def multiply(*factors: Notation) -> Notation:
    """The matrix product, flat."""
    flat: list[Notation] = []
    for factor in factors:
        flat.extend(factor.factors if isinstance(factor, Product) else (factor,))
    return flat[0] if len(flat) == 1 else Product(tuple(flat))


def hadamard(parts: list[Notation]) -> Notation:
    """The elementwise product; reciprocals as divisors."""
    halved = _halved(parts)
    if halved is not None:
        return halved
    if len(parts) > 1:
        parts = [factor for part in parts for factor in _twice(part)]
    parts = sorted(parts, key=lambda p: isinstance(p, Plus))
    above = [p for p in parts if not _is_reciprocal(p)]
    below = [_inverted(p) for p in parts if _is_reciprocal(p)]
    if not above and len(parts) == 1:
        return parts[0]
    if not above:
        return Power(hadamard(below), Fraction(-1), True)
    if len(above) == 1 and not below:
        return above[0]
    return Hadamard(tuple(above), tuple(below))


def _twice(part: Notation) -> tuple[Notation, ...]:
    """A square as its two factors, so that ``p ⊙ (z ⊙ z)`` needs no parentheses."""
    if isinstance(part, Power) and part.exponent == 2 and part.matrix:
        return (part.inner, part.inner)
    return (part,)


def _halved(parts: list[Notation]) -> Notation | None:
    """``Φ(M)`` for M under the mask ``tril(𝟏 𝟏ᵀ) − I/2``: the triangle, its diagonal halved."""
    for i, part in enumerate(parts):
        if isinstance(part, HalfTriangle):
            rest = [p for k, p in enumerate(parts) if k != i]
            return Halved(hadamard(rest), part.lower) if rest else None
    return None


def _is_reciprocal(part: Notation) -> bool:
    return isinstance(part, Power) and part.exponent < 0


def _inverted(part: Notation) -> Notation:
    assert isinstance(part, Power)
    if part.exponent == -1:
        return part.inner
    return Power(part.inner, -part.exponent, part.matrix)


def scaled(coef: Extent, scalars: list[Notation], body: Notation | None) -> Notation:
    """Numbers times something."""
    above: list[Notation] = []
    below: list[Notation] = []
    for scalar in scalars:
        if isinstance(scalar, Scaled):
            coef = coef * scalar.coef
            above += scalar.above
            below += scalar.below
            if scalar.body is not None:
                above.append(scalar.body)
        elif _is_reciprocal(scalar):
            below.append(_inverted(scalar))
        elif isinstance(scalar, Literal):
            coef = coef * scalar.number
        else:
            above.append(scalar)
    if body is None and not above and not below:
        return Literal(coef)
    if isinstance(body, Scaled):
        coef = coef * body.coef
        above += body.above
        below += body.below
        body = body.body
    above.sort(key=lambda n: not isinstance(n, Name))
    if coef == ONE and not above and not below:
        assert body is not None
        return body
    if coef == ONE and not below and body is None and len(above) == 1:
        return above[0]
    return Scaled(coef, tuple(above), tuple(below), body)


def _is_integer(value: Extent) -> bool:
    number = value.number
    return isinstance(number, Fraction) and number.denominator == 1


def _is_whole(value: Extent) -> bool:
    """Whether a number is whole: an integer, or whole multiples of products of extents."""
    return len(value.bottom) == 1 and all(
        isinstance(c, Fraction)
        and c.denominator == 1
        and all(power > 0 and power.denominator == 1 for _, power in mono)
        for mono, c in value.top
    )


def coefficient(coefs: list[Extent]) -> Extent:
    """What all coefficients of a sum have in common and one writes in front."""
    if any(_is_integer(c) for c in coefs) and not all(map(_is_integer, coefs)):
        return ONE
    best = min(coefs, key=lambda c: abs(float(c.number)) if c.number is not None else 1e300)
    for candidate in (best, coefs[0]):
        ratios = [c / candidate for c in coefs]
        if all(map(_is_whole, ratios)):
            negative = all(r.negative for r in ratios)
            positive = all(not r.negative for r in ratios)
            if negative or (candidate.negative and not positive):
                candidate = -candidate
            return candidate
    return ONE


def _gathered(bodies: list[tuple[Extent, Notation]]) -> list[tuple[Extent, Notation]]:
    """Parts of a sum; of ``Aᵀ x + A x − 2 ρ x`` the first two as ``(A + Aᵀ) x``."""
    groups: dict[Notation, list[int]] = {}
    for i, (coef, body) in enumerate(bodies):
        if isinstance(body, Product) and len(body.factors) == 2 and coef in (ONE, -ONE):
            if isinstance(body.factors[1], Ones):
                continue
            groups.setdefault(body.factors[1], []).append(i)
    result = list(bodies)
    for last, places in groups.items():
        heads = [(bodies[i][0], bodies[i][1].factors[0]) for i in places]  # type: ignore[attr-defined]
        if len(heads) < 2:
            continue
        heads.sort(
            key=lambda h: (h[0].negative, isinstance(h[1], Diag), isinstance(h[1], Transpose))
        )
        sign = heads[0][0]
        total = Plus(tuple(scaled(c * sign, [], h) for c, h in heads))
        result[places[0]] = (sign, Product((total, last)))
        for i in places[1:]:
            result[i] = (ZERO, last)
    return [(c, body) for c, body in result if c]


class Matrices:
    """Writes quantities in matrix notation; ``names`` are written by name."""

    def __init__(self, names: Mapping[Quantity, str]) -> None:
        self.names = names
        self.symmetric = Symmetries()
        self._known: dict[Quantity, Notation] = {}

    def write(self, quantity: Quantity, top: bool = False) -> Notation:
        """The notation of a quantity; at the ``top`` its own name is not used."""
        if not top and quantity in self.names:
            return Name(self.names[quantity], quantity.ndim)
        if top:
            return self._write(quantity)
        if quantity not in self._known:
            self._known[quantity] = self._write(quantity)
        return self._known[quantity]

    def _write(self, quantity: Quantity) -> Notation:
        if quantity.ndim > 2:
            raise NoMatrixForm
        if isinstance(quantity, Sym):
            return Name(quantity.name, quantity.ndim)
        if isinstance(quantity, Num):
            return Literal(quantity.value)
        if isinstance(quantity, Add):
            return self._sum(quantity)
        if isinstance(quantity, Pow):
            return self._power(quantity)
        if isinstance(quantity, Fun):
            return self._function(quantity)
        assert isinstance(quantity, Prod)
        return self._product(quantity)

    # -- sums, powers, functions --------------------------------------------------------------
    def _sum(self, total: Add) -> Notation:
        if not total.parts:
            return Literal(extent(0))
        found = _half_triangle(total) or self._normal(total)
        if found is not None:
            return found
        coefs = [c * self._own(q) for c, q in total.parts]
        common = coefficient(coefs)
        bodies: list[tuple[Extent, Notation]] = []
        for coef, (_, q) in zip(coefs, total.parts, strict=True):
            rest = coef / common
            if isinstance(q, Num):
                rest = rest * q.value
            body: Notation = UNIT if isinstance(q, Num) else self.write(q)
            if isinstance(body, Scaled) and q not in self.names:
                body = scaled(ONE / self._own(q), [], body)
            equal = next((i for i, (_, other) in enumerate(bodies) if other == body), None)
            if equal is None:
                bodies.append((rest, body))
            else:  # different quantities, written alike: (X Xᵀ)⁻¹ and its transpose
                bodies[equal] = (bodies[equal][0] + rest, body)
        bodies = _gathered([(c, body) for c, body in bodies if c])
        parts = [(c, Literal(c) if body is UNIT else scaled(c, [], body)) for c, body in bodies]
        if not parts:
            return Literal(extent(0))
        if len(parts) == 1:
            return scaled(common, [], parts[0][1])
        first = next((i for i, (c, _) in enumerate(parts) if not c.negative), 0)
        parts.insert(0, parts.pop(first))
        return scaled(common, [], Plus(tuple(p for _, p in parts)))

    def _normal(self, total: Add) -> Notation | None:
        """``(1 + erf(u/√2))/2`` is ``Φ(u)``, the normal distribution function."""
        for (c, one), (d, e) in itertools.permutations(total.parts, 2):
            if not isinstance(one, Num) or not isinstance(e, Fun) or e.op != "erf":
                continue
            if c * one.value != d or e in self.names:
                continue
            style = style_of("ndtr")
            inner = scaled(extent(2.0**0.5), [], self.write(e.args[0]))
            cdf = scaled(d * 2, [], Apply("ndtr", (inner,), style.text, style.latex))
            rest = tuple(p for p in total.parts if p[1] is not one and p[1] is not e)
            return Plus((self._sum(Add(total.shape, rest)), cdf)) if rest else cdf
        return None

    def _own(self, part: Quantity) -> Extent:
        """The coefficient that a part carries itself."""
        return part.coef if isinstance(part, Prod) and part not in self.names else ONE

    def _power(self, power: Pow) -> Notation:
        base, exponent = power.base, power.exponent
        inner = self.write(base)
        if isinstance(inner, Norm) and inner.squared and exponent != -1:
            norm = Norm(inner.inner, False, inner.matrix)
            twice = exponent * 2
            return norm if twice == 1 else Power(norm, twice, False)
        if exponent.denominator == 2 and abs(exponent) == Fraction(1, 2):
            root = Power(inner, Fraction(1, 2), power.ndim == 2)
            return root if exponent > 0 else Power(root, Fraction(-1), power.ndim == 2)
        return Power(inner, exponent, power.ndim == 2)

    def _function(self, fun: Fun) -> Notation:
        args = tuple(self.write(a) for a in fun.args)
        op = fun.op
        if op in ("softmax", "logsumexp"):
            rows = fun.args[0].ndim == 2
            flipped = rows and fun.params[0] == 0
            style = style_of(op)
            inner = transpose(args[0]) if flipped else args[0]
            result = Apply(op, (inner,), style.text, style.latex)
            return transpose(result) if flipped and op == "softmax" else result
        if op in ("inv", "inverse"):
            return inverse(args[0])
        if op == "solve":
            return multiply(inverse(args[0]), args[1])
        if op == "slogdet":
            op = "logabsdet" if fun.params[-1] == 1 else "signdet"
            style = style_of(op)
            return Apply(op, args, style.text, style.latex, style.binds)
        if not fun.whole:
            style = style_of(op, fun.params)
            return Apply(op, args, style.text, style.latex, style.binds, fun.params)
        if any(a.ndim > 2 for a in (fun, *fun.args)):
            raise NoMatrixForm
        if any(a.ndim == 2 and set(a.shape) == {ONE} for a in fun.args):
            raise NoMatrixForm
        if op in ("solve_triangular", "triangular_inverse") and not fun.params[1]:
            lower = bool(fun.params[0])
            whole = is_triangular(fun.args[0], lower)
            factor = inverse(args[0] if whole else Triangle(args[0], lower))
            return multiply(factor, *args[1:])
        if fun.params[-1]:
            op = f"{op}:{fun.params[-1]}"
        style = style_of(op)
        ranks = tuple(a.ndim for a in fun.args)
        return Apply(op, args, style.text, style.latex, style.binds, fun.params[:-1], ranks)

    # -- products -----------------------------------------------------------------------------
    def _product(self, prod: Prod) -> Notation:
        out, turned = _out_labels(prod)
        triangle = _triangle(prod, out)
        if triangle is not None:
            lower, inside = triangle
            if not inside.factors:
                ones = [Ones(e) for e in inside.extents]
                return scaled(
                    inside.coef, [], Triangle(multiply(ones[0], transpose(ones[1])), lower)
                )
            whole = self._product(inside)
            if isinstance(whole, Scaled) and whole.body is not None:
                return replace(whole, body=Triangle(whole.body, lower))
            return Triangle(whole, lower)
        graph = _Graph(prod.extents, out)
        for q, subs in prod.factors:
            self._place(graph, q, subs)
        scalars, body = graph.reduce()
        if body is not None and turned:
            body = transpose(body)
        return scaled(prod.coef, scalars, body)

    def _place(self, graph: _Graph, q: Quantity, subs: tuple[Index, ...]) -> None:
        if len(subs) > 2:
            raise NoMatrixForm
        for axis, sub in enumerate(subs):
            if not isinstance(sub, int) and (sub.parts or q.shape[axis] != ONE):
                raise NoMatrixForm
            if isinstance(sub, int) and graph.extents[sub] != q.shape[axis]:
                raise NoMatrixForm
        bare = [s for s in subs if isinstance(s, int)]
        written = self.write(q)
        if isinstance(written, Scaled) and written.body is not None and bare:
            graph.scalars.append(Scaled(written.coef, written.above, written.below, None))
            written = written.body
        if not bare:
            graph.scalars.append(written)
        elif len(bare) == 2:
            if bare[0] == bare[1]:
                graph.diagonal(bare[0], written)
            else:
                graph.edges.append(_Edge(bare[0], bare[1], written, self.symmetric(q)))
        else:
            row = len(subs) == 2 and not isinstance(subs[0], int)
            graph.vectors[bare[0]].append(transpose(written) if row else written)


def _triangle(prod: Prod, out: list[int]) -> tuple[bool, Prod] | None:
    """Whether it is a lower (True) or upper triangle, and of what; None without constraint."""
    if not prod.constraints:
        return None
    if len(prod.constraints) != 1 or len(out) != 2 or out[0] == out[1]:
        raise NoMatrixForm
    for lower, (low, high) in ((True, out), (False, out[::-1])):
        if prod.constraints[0] == Form(ZERO, ((ONE, low), (-ONE, high))) or prod.constraints[
            0
        ] == Form(ZERO, ((-ONE, high), (ONE, low))):
            inside = Prod(prod.shape, prod.coef, prod.extents, prod.factors, prod.out)
            return lower, inside
    raise NoMatrixForm


def _half_triangle(total: Add) -> Notation | None:
    """The mask 1 below the diagonal, ½ on it."""
    if len(total.parts) != 2 or total.ndim != 2:
        return None
    for (one, mask), (half, eye) in (total.parts, total.parts[::-1]):
        if not (isinstance(mask, Prod) and isinstance(eye, Prod)) or mask.factors or eye.factors:
            continue
        numbers = one * mask.coef == ONE and half * eye.coef == extent(Fraction(-1, 2))
        if numbers and mask.constraints and eye.out == (0, 0) and mask.out == (0, 1):
            found = _triangle(mask, [0, 1])
            return HalfTriangle(total.shape[0], found[0]) if found is not None else None
    return None


def is_triangular(q: Quantity, lower: bool) -> bool:
    """Whether a matrix has nothing above (below) its diagonal, by the function it comes from."""
    if isinstance(q, Prod) and len(q.factors) == 1 and not q.constraints:
        inner, subs = q.factors[0]
        return subs == q.out[::-1] and is_triangular(inner, not lower)
    if not isinstance(q, Fun):
        return False
    return q.op == "cholesky" if lower else q.op == "qr" and q.params[-1] == 1


def _out_labels(prod: Prod) -> tuple[list[int], bool]:
    """The output's labels without unit axes, and whether the result is a row."""
    out: list[int] = []
    for axis, sub in enumerate(prod.out):
        if isinstance(sub, int):
            if prod.extents[sub] != prod.shape[axis]:
                raise NoMatrixForm
            out.append(sub)
        elif sub.parts or prod.shape[axis] != ONE:
            raise NoMatrixForm
    if len(out) > 2:
        raise NoMatrixForm
    row = len(prod.out) == 2 and len(out) == 1 and isinstance(prod.out[0], Form)
    return out, row


class _Graph:
    """Labels as vertices; see the module's text."""

    def __init__(self, extents: tuple[Extent, ...], out: list[int]) -> None:
        self.extents = extents
        self.out = out
        self.scalars: list[Notation] = []
        self.vectors: dict[int, list[Notation]] = {k: [] for k in range(len(extents))}
        self.edges: list[_Edge] = []

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

    def _at(self, label: int) -> list[_Edge]:
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

    def _oriented(self, edge: _Edge, row: int) -> Notation:
        if edge.row == row or edge.symmetric:
            return edge.matrix
        return transpose(edge.matrix)

    def _merge(self, summed: set[int]) -> None:
        """Parallel edges become one ⊙; two that close a cycle of summed labels stay for a trace."""
        groups: dict[frozenset[int], list[_Edge]] = {}
        for edge in self.edges:
            groups.setdefault(frozenset((edge.row, edge.column)), []).append(edge)
        merged: list[_Edge] = []
        for pair, edges in groups.items():
            closed = pair <= summed and len(edges) == 2
            if closed and all(len(self._at(k)) == 2 for k in pair):
                merged.extend(edges)
                continue
            if len(edges) == 1:
                merged.append(edges[0])
                continue
            first = edges[0]
            parts = [self._oriented(e, first.row) for e in edges]
            merged.append(_Edge(first.row, first.column, hadamard(parts)))
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
            self.edges.append(_Edge(row, column, multiply(left, *middle, right)))
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
