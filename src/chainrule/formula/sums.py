"""Sums of quantities: collected, multiplied out where that is shorter, common factors taken out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from ..expr.extents import ONE, Extent
from .canonical import canonical
from .keeping import Keeping, is_zero
from .quantity import Add, Factor, Num, Prod, Quantity, Shape, labels_in, zero
from .work import Work, is_plain, spans

__all__ = ["Sums"]

_MAX_EXPANDED = 6
_MAX_TERMS = 12


class Sums(Keeping):
    """The constructors of sums."""

    def add(
        self, parts: Iterable[tuple[Extent, Quantity]], shape: Shape, common: bool = True
    ) -> Quantity:
        """``Σ coef·quantity``, collected; with ``common``, factored where it has factors."""
        flat = self._flat(parts, shape)
        collected = self._collect(flat, shape)
        best = self._sum_of(collected, shape)
        expanded = self._expanded(collected, shape)
        if expanded is not None and self.cost(expanded) < self.cost(best):
            best = expanded
        if not common:  # a product asks what it is when multiplied out: not to be factored again
            return best
        found = self._narrowed(best) or self._identity(best)
        return self._common(best) if found is None else found

    def _narrowed(self, total: Quantity) -> Quantity | None:
        """A sum that does not vary along an axis as a view of one without: ``(1 − v) 𝟏ᵀ``."""
        if not isinstance(total, Add) or total in self.kept or total.ndim < 2:
            return None
        axes = tuple(range(total.ndim))
        used: set[int] = set()
        for _, part in total.parts:
            if isinstance(part, Num):
                continue
            if not isinstance(part, Prod) or part in self.kept or part.constraints:
                return None
            if part.out != axes or part.extents[: total.ndim] != total.shape:
                return None
            used.update(k for _, subs in part.factors for s in subs for k in labels_in(s))
        kept = [k for k in axes if k in used]
        if not kept or len(kept) == total.ndim:
            return None
        shape = tuple(total.shape[k] for k in kept)
        parts: list[tuple[Extent, Quantity]] = []
        for coef, part in total.parts:
            if isinstance(part, Prod):
                extents = {k: e for k, e in enumerate(part.extents) if k not in axes or k in kept}
                part = self.prod(part.coef, extents, part.factors, kept, (), shape)
            parts.append((coef, part))
        inner = self.add(parts, shape)
        extents = dict(enumerate(total.shape))
        return self.prod(ONE, extents, [(inner, tuple(kept))], axes, (), total.shape)

    def _flat(
        self, parts: Iterable[tuple[Extent, Quantity]], shape: Shape
    ) -> list[tuple[Extent, Quantity]]:
        flat: list[tuple[Extent, Quantity]] = []
        for coef, part in parts:
            coef, part = self._scaled(coef, part, shape)
            if not coef or is_zero(part):
                continue
            if isinstance(part, Add) and part not in self.kept:
                flat.extend((coef * c, q) for c, q in part.parts)
            else:
                flat.append((coef, part))
        return flat

    def _scaled(self, coef: Extent, part: Quantity, shape: Shape) -> tuple[Extent, Quantity]:
        """Take numbers out of a part, so that like parts meet."""
        if isinstance(part, Num):
            return coef * part.value, Num(ONE)
        if not isinstance(part, Prod) or part in self.kept:
            return coef, part
        if not part.factors and not part.constraints and _covers(part, shape):
            return coef * part.coef, Num(ONE)
        if part.coef != ONE:
            rest = self.prod(
                ONE,
                dict(enumerate(part.extents)),
                part.factors,
                part.out,
                part.constraints,
                part.shape,
            )
            return coef * part.coef, rest
        if len(part.factors) == 1 and is_plain(part):
            inner = part.factors[0][0]
            if isinstance(inner, Add) and inner not in self.kept:
                return coef, Add(part.shape, tuple(self._through(inner, part)))
        return coef, part

    def _through(self, inner: Add, part: Prod) -> list[tuple[Extent, Quantity]]:
        """A view of a sum as the sum of views."""
        subs = part.factors[0][1]
        extents = dict(enumerate(part.extents))
        views: list[tuple[Extent, Quantity]] = []
        for coef, q in inner.parts:
            factors: list[Factor] = [(q, () if isinstance(q, Num) else subs)]
            if not isinstance(q, Num) or not spans(part):
                q = self.prod(ONE, dict(extents), factors, part.out, (), part.shape)
            views.append((coef, q))
        return views

    def _collect(
        self, parts: Sequence[tuple[Extent, Quantity]], shape: Shape
    ) -> list[tuple[Extent, Quantity]]:
        total: dict[object, tuple[Extent, Quantity]] = {}
        for coef, part in parts:
            key = canonical(self._written_out(part), self.symmetric)
            if key in total:
                coef = total[key][0] + coef
                part = total[key][1]
            total[key] = (coef, part)
        return [(c, q) for c, q in total.values() if c]

    def _written_out(self, part: Quantity) -> Quantity:
        """The sum of a product that is kept for its length only, as the sum of its factors."""
        if not isinstance(part, Prod) or len(part.factors) != 1 or not part.summed:
            return part
        inner = part.factors[0][0]
        if not isinstance(inner, Prod) or inner.summed or inner in self.named:
            return part
        work = Work(
            part.coef,
            dict(enumerate(part.extents)),
            list(part.factors),
            list(part.out),
            list(part.constraints),
            part.shape,
        )
        return work.finish() if work.inline(0) else part

    def _sum_of(self, parts: Sequence[tuple[Extent, Quantity]], shape: Shape) -> Quantity:
        if not parts:
            return zero(shape)
        if len(parts) == 1:
            return self.scaled(parts[0][0], parts[0][1], shape)
        head, key = self._ratios(parts)
        known = self._sums.get((shape, key))
        if known is not None:
            return self.scaled(head / known[0], known[1], shape)
        return Add(shape, tuple(parts))

    def scaled(self, coef: Extent, part: Quantity, shape: Shape) -> Quantity:
        """``coef·part`` (a number is spread over the shape)."""
        if isinstance(part, Num):
            if not shape:
                return Num(coef * part.value)
            return Prod(shape, coef * part.value, shape, (), tuple(range(len(shape))))
        if coef == ONE:
            return part
        labels = tuple(range(len(shape)))
        return self.prod(coef, dict(enumerate(shape)), [(part, labels)], labels, (), shape)

    def _expanded(self, parts: Sequence[tuple[Extent, Quantity]], shape: Shape) -> Quantity | None:
        """The sum with products of sums multiplied out, None where there are none."""
        result: list[tuple[Extent, Quantity]] = []
        changed = False
        for coef, part in parts:
            spread = self._multiplied_out(part) if isinstance(part, Prod) else None
            if spread is None or len(result) > 4 * _MAX_EXPANDED:
                result.append((coef, part))
            else:
                changed = True
                result.extend((coef * c, q) for c, q in spread)
        if not changed:
            return None
        collected = self._collect(self._flat(result, shape), shape)
        return self._sum_of(collected, shape)

    def _multiplied_out(self, part: Prod) -> list[tuple[Extent, Quantity]] | None:
        """Each part is multiplied out once: sums within sums would be exponentially often."""
        if part not in self._spread:
            found = self._spread_of(part)
            self._spread[part] = found
        return self._spread[part]

    def _spread_of(self, part: Prod) -> list[tuple[Extent, Quantity]] | None:
        terms = 1
        for q, _ in part.factors:
            terms *= len(q.parts) if isinstance(q, Add) and q.parts else 1
        if terms > _MAX_TERMS:
            return None
        for position, (q, subs) in enumerate(part.factors):
            if isinstance(q, Add) and 0 < len(q.parts) <= _MAX_EXPANDED:
                rest = part.factors[:position] + part.factors[position + 1 :]
                extents = dict(enumerate(part.extents))
                return [
                    (
                        c,
                        self.prod(
                            part.coef,
                            dict(extents),
                            [*rest, (inner, () if isinstance(inner, Num) else subs)],
                            part.out,
                            part.constraints,
                            part.shape,
                        ),
                    )
                    for c, inner in q.parts
                ]
        return None

    def multiplied_out(self, quantity: Quantity) -> Quantity:
        """A product of a sum as a sum of products, once; other quantities as they are."""
        spread = self._multiplied_out(quantity) if isinstance(quantity, Prod) else None
        if spread is None:
            return quantity
        flat = self._collect(self._flat(spread, quantity.shape), quantity.shape)
        return self._sum_of(flat, quantity.shape)

    def _common(self, total: Quantity) -> Quantity:
        """Factors that all parts of a sum share, and that are as large as the sum, taken out."""
        if not isinstance(total, Add) or len(total.parts) < 2 or total in self.kept:
            return total
        whole = tuple(range(total.ndim))
        found: list[dict[Factor, Fraction]] = []  # exponents of what stands outside of sums
        for _, part in total.parts:
            if part in self.named or not isinstance(part, Prod):
                base, exponent = self.split(part)
                found.append({(base, whole if base.shape else ()): exponent})
            elif part.constraints or part.out != whole or not spans(part):
                return total
            else:
                outside = [f for f in part.factors if not _reaches(f, part.summed)]
                split = [(self.split(q), subs) for q, subs in outside]
                found.append({(base, subs): exponent for (base, exponent), subs in split})
        shared: dict[Factor, Fraction] = {}
        for factor in found[0]:
            exponents = [other.get(factor, Fraction(0)) for other in found]
            if isinstance(factor[0], Num) or min(exponents) * max(exponents) <= 0:
                continue
            shared[factor] = min(exponents, key=abs)
        if not shared:
            return total
        rest: list[tuple[Extent, Quantity]] = []
        for coef, part in total.parts:
            inverse = [(self.power(q, -e), subs) for (q, subs), e in shared.items()]
            if isinstance(part, Prod) and part not in self.named:
                factors, extents, out = list(part.factors), part.extents, part.out
                coef = coef * part.coef
            else:
                factors, extents, out = [(part, whole if part.shape else ())], total.shape, whole
            made = self.prod(ONE, dict(enumerate(extents)), factors + inverse, out, (), total.shape)
            rest.append((coef, made))
        inner = self.add(rest, total.shape)
        extents = total.shape
        outer = [(self.power(q, e), subs) for (q, subs), e in shared.items()]
        return self.prod(
            ONE, dict(enumerate(extents)), [*outer, (inner, whole)], whole, (), total.shape
        )


def _reaches(factor: Factor, labels: Iterable[int]) -> bool:
    """Whether a factor depends on one of the labels."""
    return any(label in labels_in(s) for s in factor[1] for label in labels)


def _covers(part: Prod, shape: Shape) -> bool:
    return part.out == tuple(range(len(shape))) and part.extents[: len(shape)] == shape
