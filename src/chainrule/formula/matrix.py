"""Matrix notation of a quantity, where it has one; products are read as a graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from ..expr.extents import ONE, Extent, extent
from .composing import coefficient, gathered, in_order, inverse, multiply, scaled, transpose
from .contraction import Contraction, Edge
from .functions import style_of
from .notation import (
    Apply,
    Literal,
    Name,
    Norm,
    Notation,
    OffDiagonal,
    Ones,
    Plus,
    Power,
    Scaled,
    Triangle,
)
from .quantity import Add, Form, Fun, Index, Num, Pow, Prod, Quantity, Sym
from .ramps import counting
from .symmetry import Symmetries
from .triangles import NoMatrixForm, half_triangle, is_triangular, off_diagonal, triangle_of

__all__ = ["Matrices", "NoMatrixForm"]

UNIT = Literal(ONE)


class Matrices:
    """Writes quantities in matrix notation; ``names`` are written by name."""

    def __init__(self, names: Mapping[Quantity, str]) -> None:
        self.names = names
        self.symmetric = Symmetries()
        self._known: dict[Quantity, Notation] = {}

    def write(self, quantity: Quantity, top: bool = False) -> Notation:
        """The notation of a quantity; at the ``top`` its own name is not used."""
        if not top and quantity in self.names:
            return Name(self.names[quantity], quantity.ndim, symmetric=self.symmetric(quantity))
        if top:
            return self._write(quantity)
        if quantity not in self._known:
            self._known[quantity] = self._write(quantity)
        return self._known[quantity]

    def _write(self, quantity: Quantity) -> Notation:
        if quantity.ndim > 2:
            raise NoMatrixForm
        if (count := counting(quantity)) is not None:
            return count
        if isinstance(quantity, Sym):
            return Name(quantity.name, quantity.ndim, symmetric=quantity.symmetric)
        if isinstance(quantity, Num):
            return Literal(quantity.value)
        if isinstance(quantity, Add):
            return self._sum(quantity)
        if isinstance(quantity, Pow):
            return self._power(quantity)
        if isinstance(quantity, Fun):
            return self._function(quantity)
        number, dense = self._dense(ONE, quantity)
        assert isinstance(dense, Prod)
        return scaled(number, [], self._product(dense))

    # -- sums, powers, functions --------------------------------------------------------------
    def _sum(self, total: Add) -> Notation:
        if not total.parts:
            return Literal(extent(0))
        total = Add(total.shape, tuple(self._dense(c, q) for c, q in total.parts))
        found = half_triangle(total) or self._normal(total)
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
        bodies = gathered([(c, body) for c, body in bodies if c])
        parts = [(c, Literal(c) if body is UNIT else scaled(c, [], body)) for c, body in bodies]
        if not parts:
            return Literal(extent(0))
        if len(parts) == 1:
            return scaled(common, [], parts[0][1])
        parts = in_order(parts)
        return scaled(common, [], Plus(tuple(p for _, p in parts)))

    def _dense(self, coef: Extent, q: Quantity) -> tuple[Extent, Quantity]:
        """``exp(−u²/2)/√(2 π)`` as ``φ(u)``, the density of the normal distribution."""
        if not isinstance(q, Prod) or q in self.names:
            return coef, q
        for k, (f, subs) in enumerate(q.factors):
            u = _bell(f) if f not in self.names else None
            number = (coef * q.coef).number if u is not None else None
            if u is None or number is None:
                continue
            exact = float(number) * math.sqrt(2 * math.pi)
            ratio = Fraction(exact).limit_denominator(64)
            if ratio and math.isclose(exact, float(ratio), rel_tol=1e-12):
                dense = Fun("normpdf", (u,), f.shape)
                factors = (*q.factors[:k], (dense, subs), *q.factors[k + 1 :])
                whole = Prod(q.shape, ONE, q.extents, factors, q.out, q.constraints)
                return extent(ratio), whole
        return coef, q

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
            return Plus((cdf, self._sum(Add(total.shape, rest)))) if rest else cdf
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
        edges: list[Edge] = []
        while (off := off_diagonal(prod)) is not None:
            row, column, prod = off
            edges.append(Edge(row, column, OffDiagonal(prod.extents[row]), True))
        triangle = triangle_of(prod, out)
        if triangle is not None and not edges:
            lower, strict, inside = triangle
            if not inside.factors:
                ones = [Ones(e) for e in inside.extents]
                return scaled(
                    inside.coef, [], Triangle(multiply(ones[0], transpose(ones[1])), lower, strict)
                )
            whole = self._product(inside)
            if isinstance(whole, Scaled) and whole.body is not None:
                return replace(whole, body=Triangle(whole.body, lower, strict))
            return Triangle(whole, lower, strict)
        if triangle is not None:
            raise NoMatrixForm
        graph = Contraction(prod.extents, out)
        graph.edges += edges
        for q, subs in prod.factors:
            self._place(graph, q, subs)
        scalars, body = graph.reduce()
        if body is not None and turned:
            body = transpose(body)
        return scaled(prod.coef, scalars, body)

    def _place(self, graph: Contraction, q: Quantity, subs: tuple[Index, ...]) -> None:
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
                graph.edges.append(Edge(bare[0], bare[1], written, self.symmetric(q)))
        else:
            row = len(subs) == 2 and not isinstance(subs[0], int)
            graph.vectors[bare[0]].append(transpose(written) if row else written)


def _bell(q: Quantity) -> Quantity | None:
    """u of ``exp(−u²/2)``."""
    inner = q.args[0] if isinstance(q, Fun) and q.op == "exp" else None
    if not isinstance(inner, Prod) or inner.coef != extent(Fraction(-1, 2)) or inner.summed:
        return None
    if len(inner.factors) == 1 and inner.factors[0][1] == inner.out:
        square = inner.factors[0][0]
        if isinstance(square, Pow) and square.exponent == 2:
            return square.base
    return None


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
