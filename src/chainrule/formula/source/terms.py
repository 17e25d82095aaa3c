"""Products of quantities to expressions: factors read, masks, running sums, reductions, means."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ...expr.extents import ONE, Extent
from ..functions import TESTS
from ..masks import apart, order
from ..quantity import Fun, Index, Pow, Prod, Quantity, Sym, Wrap, labels_in
from .booleans import INDICES, is_boolean
from .products import Products
from .reading import Reader
from .sizes import is_unit, nominal, scaled, size
from .syntax import Expr, literal
from .values import Array, Operand, aligned

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Terms"]


class Terms:
    """Lowers the products of one function's body."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.target = lowering.target
        #: sums, and how many elements each adds
        self.counts: dict[int, tuple[Expr, Extent]] = {}

    def _tables(self, q: Prod) -> dict[Quantity, Expr]:
        """Integer arrays of the look-ups."""
        found: dict[Quantity, Expr] = {}
        pending: list[Index] = [*q.out, *q.constraints, *(s for _, ss in q.factors for s in ss)]
        while pending:
            sub = pending.pop()
            if isinstance(sub, int):
                continue
            for _, key in sub.parts:
                if isinstance(key, Wrap):
                    pending.extend(key.subs)
                    if key.table is not None and key.table not in found:
                        expr = self.lowering.full(key.table, self.lowering.known[key.table])
                        found[key.table] = (
                            expr if self._is_index(key.table) else self.target.as_index(expr)
                        )
        return found

    def _is_index(self, q: Quantity) -> bool:
        if isinstance(q, Sym):
            return self.lowering.kinds.get(q.name) in ("i", "u")
        return isinstance(q, Fun) and q.op in INDICES

    def _on_diagonal(self, q: Quantity, subs: tuple[Index, ...]) -> bool:
        """A function read on a diagonal is applied there only: ``log`` of a triangle has no value
        elsewhere."""
        labels = [s for s in subs if isinstance(s, int)]
        return (
            isinstance(q, Fun)
            and not q.whole
            and q not in self.lowering.bound
            and len(q.args) == 1
            and q.op not in TESTS
            and self.lowering.uses[q] <= 1
            and len(set(labels)) < len(labels)
            and self.lowering.functions.stable(q) is None
            and q.op != "astype"
        )

    def _operand(
        self, reader: Reader, product: Prod, q: Quantity, subs: tuple[Index, ...]
    ) -> Operand:
        below = isinstance(q, Pow) and q.exponent < 0 and q not in self.lowering.bound
        if below:
            assert isinstance(q, Pow)
            base = self.lowering.number(q.base)
            value = Array(
                self.lowering.raised(base, -q.exponent), base.axes, base.scalar, base.units
            )
        elif self._on_diagonal(q, subs):
            assert isinstance(q, Fun)
            inner = reader.read(self.lowering.number(q.args[0]), q.args[0].shape, subs)
            inner = self._undoubled(inner, product, sums=False)
            expr = self.target.function(q.op, [inner.expr], [False], q.params)
            return Operand(expr, inner.labels)
        else:
            value = self.lowering.known[q]
        operand = reader.read(value, q.shape, subs)
        boolean = not below and is_boolean(q, self.lowering.booleans)
        return Operand(operand.expr, operand.labels, boolean, below, operand.scalar)

    def value(self, whole: Prod) -> Array:
        q, extra = _without_repeats(self._through(whole))
        reader = Reader(self.target, q, self._tables(q), self.lowering.idents)
        operands = [self._operand(reader, q, f, subs) for f, subs in q.factors]
        cumulated = self._cumulated(q, operands)
        if cumulated is None:
            masks = self._masks(q, reader)
            operands = [*(self._defined(o, masks) for o in operands), *masks]
        else:
            operands = cumulated
        for old, new in extra:
            operands.append(
                Operand(self.target.eye(self.lowering.size(q.extents[old])), (old, new))
            )
        operands = [self._undoubled(o, q) for o in operands]
        kept: dict[int, None] = {}
        for sub in q.out:
            kept.update(labels_in(sub))
        simple = self._reduction(q, operands)
        if simple is not None:
            return simple
        sizes = {k: nominal(e) for k, e in enumerate(q.extents)}
        products = Products(self.target, sizes)
        result = products.run(operands, list(kept), q.coef != ONE)
        for summed, gone in products.sums:
            self._count(summed, q, gone)
        if result is None:
            return self.lowering.placing.written(
                q, reader, Operand(size(q.coef, self.lowering.idents), (), scalar=True)
            )
        if result.boolean and (q.coef != ONE or not is_boolean(q, self.lowering.booleans)):
            result = Operand(self.target.as_float(result.expr), result.labels)
        expr = self._scaled(q.coef, result.expr)
        found = self.lowering.placing.written(
            q, reader, Operand(expr, result.labels, result.boolean, scalar=result.scalar)
        )
        if q.coef != ONE and found.expr is expr:
            self.lowering.unscaled[whole] = q.coef, replace(found, expr=result.expr)
        return found

    def _count(self, expr: Expr, q: Prod, gone: Iterable[int]) -> None:
        """A sum counts its elements, so that a division by their number makes it a mean."""
        count = ONE
        for label in gone:
            count = count * q.extents[label]
        self.counts[id(expr)] = expr, count

    def _scaled(self, coef: Extent, expr: Expr) -> Expr:
        """``coef · expr``; ``x.sum() / N`` over N elements as ``x.mean()``."""
        found = self.counts.get(id(expr))
        if found is not None and found[1].names:
            ratio = coef * found[1]
            if coef.names and ratio.number is not None:
                return scaled(ratio, _mean(expr), self.lowering.idents)
        return scaled(coef, expr, self.lowering.idents)

    def _through(self, q: Prod) -> Prod:
        """A transpose of a product that is used here only, as the product with other axes."""
        if len(q.factors) != 1 or q.summed or q.constraints:
            return q
        inner, subs = q.factors[0]
        if (
            not isinstance(inner, Prod)
            or inner in self.lowering.bound
            or self.lowering.uses[inner] > 1
            or not inner.summed
            or len(inner.factors) < 2
            or sorted(map(str, subs)) != sorted(map(str, range(q.ndim)))
            or sorted(map(str, q.out)) != sorted(map(str, range(q.ndim)))
        ):
            return q
        out = tuple(inner.out[subs.index(k)] for k in q.out)
        coef = q.coef * inner.coef
        return Prod(q.shape, coef, inner.extents, inner.factors, out, inner.constraints)

    def _undoubled(self, operand: Operand, q: Prod, sums: bool = True) -> Operand:
        """A repeated label takes the diagonal (and its sum at once, where it ``sums``)."""
        named = [k for k in operand.labels if k is not None]
        if len(set(named)) == len(named):
            return operand
        operand = operand.squeezed()
        labels = operand.labels
        if len(labels) == 2:
            kept = {k for s in q.out for k in labels_in(s)}
            places = sum(any(labels[0] in labels_in(s) for s in subs) for _, subs in q.factors)
            alone = places == 1 and not q.constraints and labels[0] not in kept
            if sums and alone and not operand.below and not operand.boolean:
                return Operand(self.target.trace(operand.expr), ())
            return replace(operand, expr=self.target.diagonal(operand.expr), labels=labels[:1])
        letters: dict[int | None, str] = {}
        for k in labels:
            letters.setdefault(k, chr(97 + len(letters)))
        inner = "".join(letters[k] for k in labels)
        equation = f"{inner}->{''.join(letters.values())}"
        if operand.boolean:
            operand = Operand(self.target.as_float(operand.expr), labels)
        return replace(
            operand, expr=self.target.einsum(equation, operand.expr), labels=tuple(letters)
        )

    def _reduction(self, q: Prod, operands: list[Operand]) -> Array | None:
        """A sum or mean of one factor, with unit axes kept where the quantity has them."""
        if len(operands) != 1 or operands[0].boolean or operands[0].below or q.constraints:
            return None
        (operand,) = operands
        gone = operand.known - {k for s in q.out for k in labels_in(s)}
        if (
            not gone
            or gone != set(q.summed)
            or any(
                not isinstance(s, int) and (s.parts or not is_unit(q.shape[k]))
                for k, s in enumerate(q.out)
            )
        ):
            return None
        keep = len(q.out) == len(operand.labels) and all(
            s == k or (not isinstance(s, int) and (k is None or k in gone))
            for s, k in zip(q.out, operand.labels, strict=True)
        )
        if not keep:
            operand = operand.squeezed()
        axes = tuple(i for i, k in enumerate(operand.labels) if k in gone)
        rest = tuple(k for k in operand.labels if k not in gone)
        expr = self.target.reduced("sum", operand.expr, axes if rest or keep else None, keep)
        self._count(expr, q, gone)
        expr = self._scaled(q.coef, expr)
        if keep:
            return Array(expr, tuple(range(q.ndim)))
        return Array(expr, tuple(q.out.index(k) for k in rest if k is not None))

    def _masks(self, q: Prod, reader: Reader) -> list[Operand]:
        found: list[Operand] = []
        for constraint in q.constraints:
            joint = reader.labels_of([constraint])
            mask = reader.mask(constraint, joint)
            ordered = order(constraint)
            off = apart(constraint) is not None or (ordered is not None and ordered.shift == 1)
            if off and any(isinstance(f, Pow) and f.exponent < 0 for f, _ in q.factors):
                mask = self.lowering.body.temporary(mask)
            triangle = _triangle(constraint)
            found.append(Operand(mask, tuple(joint), boolean=True, triangle=triangle, apart=off))
        return found

    def _defined(self, operand: Operand, masks: list[Operand]) -> Operand:
        """A divisor, 1 where masks leave out a diagonal: distances are 0 there."""
        for mask in masks:
            if operand.below and mask.apart and mask.known <= operand.known:
                operand = operand.squeezed()
                shaped = aligned(self.target, mask, [k for k in operand.labels if k is not None])
                expr = self.target.where(shaped, operand.expr, literal(1))
                operand = replace(operand, expr=expr)
        return operand

    def _cumulated(self, q: Prod, operands: list[Operand]) -> list[Operand] | None:
        """A constraint ``a − b ≥ 0`` whose summed label sits in one factor is a running sum."""
        if len(q.constraints) != 1:
            return None
        triangle = _triangle(q.constraints[0])
        if triangle is None or triangle[3] or not operands:
            return None
        row, column, upper, _ = triangle
        kept = {k for s in q.out for k in labels_in(s)}
        for outer, inner, reverse in ((row, column, upper), (column, row, not upper)):
            places = [i for i, o in enumerate(operands) if inner in o.known]
            if inner in kept or outer not in kept or len(places) != 1:
                continue
            operand = operands[places[0]]
            if (
                outer in operand.known
                or operand.below
                or operand.boolean
                or q.extents[outer] != q.extents[inner]
                or operand.labels.count(inner) > 1
            ):
                continue
            axis = operand.labels.index(inner)
            expr = self.target.cumulated(operand.expr, axis, reverse)
            labels = tuple(outer if k == inner else k for k in operand.labels)
            new = list(operands)
            new[places[0]] = Operand(expr, labels)
            return new
        return None


def _mean(total: Expr) -> Expr:
    """``x.sum(…)`` as ``x.mean(…)``."""
    assert isinstance(total, ast.Call)
    assert isinstance(total.func, ast.Attribute)
    return ast.Call(ast.Attribute(total.func.value, "mean", ast.Load()), total.args, total.keywords)


def _triangle(constraint: Index) -> tuple[int, int, bool, int] | None:
    """For ``a − b + c ≥ 0``: rows, columns, whether the upper triangle stays, and the shift."""
    if isinstance(constraint, int) or len(constraint.parts) != 2:
        return None
    shift = constraint.const.number
    plus = [k for c, k in constraint.parts if c == ONE and isinstance(k, int)]
    minus = [k for c, k in constraint.parts if c == -ONE and isinstance(k, int)]
    if len(plus) != 1 or len(minus) != 1 or shift is None or int(shift) != shift:
        return None
    a, b = plus[0], minus[0]
    return (a, b, False, int(shift)) if a < b else (b, a, True, -int(shift))


def _without_repeats(q: Prod) -> tuple[Prod, list[tuple[int, int]]]:
    """Labels that are several of the output's axes get a second label and an identity."""
    seen: set[int] = set()
    extents = list(q.extents)
    out: list[Index] = []
    extra: list[tuple[int, int]] = []
    for sub in q.out:
        if isinstance(sub, int):
            if sub in seen:
                extents.append(extents[sub])
                extra.append((sub, len(extents) - 1))
                sub = len(extents) - 1
            seen.add(sub)
        out.append(sub)
    if not extra:
        return q, []
    return Prod(q.shape, q.coef, tuple(extents), q.factors, tuple(out), q.constraints), extra
