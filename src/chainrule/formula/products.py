"""Products of quantities: read through each other, rewritten by name, sums split off."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ..expr.extents import ONE, ZERO, Extent
from .canonical import canonical, unordered
from .keeping import is_zero
from .normalized import is_normalized
from .quantity import (
    Add,
    Factor,
    Index,
    Num,
    Pow,
    Prod,
    Quantity,
    Shape,
    is_small,
    is_view,
    labels_in,
    zero,
)
from .sums import Sums
from .symmetry import exchanged
from .work import Work, distinct, spans

__all__ = ["Products"]

_FEW = 2  # terms that replace a product of sums: y (1 − p) − p (1 − y) is y − p
_SMALL = 32  # quantities: what is looked through by definition


class Products(Sums):
    """The constructor of products."""

    def prod(
        self,
        coef: Extent,
        extents: dict[int, Extent],
        factors: Iterable[Factor],
        out: Iterable[Index],
        constraints: Iterable[Index],
        shape: Shape,
    ) -> Quantity:
        """A product of factors under labels, simplified."""
        work = Work(coef, dict(extents), list(factors), list(out), list(constraints), shape)
        position = 0
        while position < len(work.factors):
            q, subs = work.factors[position]
            if is_zero(q):
                return zero(shape)
            if isinstance(q, Prod) and q.summed and q not in self.kept:
                work.factors[position] = (q, subs) = (self._recognized(q), subs)
            if isinstance(q, Num):
                work.coef = work.coef * q.value
                del work.factors[position]
            elif not (
                isinstance(q, Prod)
                and (
                    self._opens(q, len(work.factors) == 1 and not work.summed())
                    or self._merges(q, subs, work)
                    or self._cancels(q, work)
                    or (q not in self.named and is_normalized(q, subs, work))
                )
                and work.inline(position)
            ):
                position += 1
        self._merge_powers(work)
        while self._rewritten(work):
            if any(is_zero(q) for q, _ in work.factors):
                return zero(shape)
            self._merge_powers(work)
        if not work.coef or any(is_zero(q) for q, _ in work.factors):
            return zero(shape)
        self._order_symmetric(work)
        work.straighten()
        result = self._hoisted(self._turned(work).finish())
        if isinstance(result, Prod) and result.summed:
            number = self._collapsed(result)
            if number is not None:
                return self.scaled(number, Num(ONE), shape) if number else zero(shape)
        if (
            isinstance(result, Prod)
            and result not in self.named
            and len(result.factors) > 1 - bool(result.summed)
        ):
            spread = self._multiplied_out(result)
            if spread is not None:
                expanded = self.add(spread, shape, common=False)
                few = not isinstance(expanded, Add) or len(expanded.parts) <= _FEW
                if few and self.cost(expanded) + 1 < self.cost(result):
                    return expanded
        return self._recognized(result)

    def _recognized(self, result: Quantity) -> Quantity:
        """A product that is kept already, up to the order of factors and a number in front."""
        if not isinstance(result, Prod) or result in self.kept or is_view(result):
            return result
        known = self._products.get(canonical(result, self.symmetric, scaled=False))
        labels = tuple(range(result.ndim))
        if known is None and result.ndim == 2 and result.summed:  # or its transpose
            turned = canonical(exchanged(result), self.symmetric, scaled=False)
            known, labels = self._products.get(turned), (1, 0)
        if known is None or known is result:
            return result
        ratio = result.coef / known.coef
        if ratio == ONE and labels != (1, 0):
            return known
        extents = tuple(result.shape)
        return Prod(result.shape, ratio, extents, ((known, labels),), tuple(range(result.ndim)))

    def _opens(self, inner: Prod, alone: bool) -> bool:
        if inner.summed or not spans(inner):
            return False
        if len(inner.factors) <= 1 and inner.coef == ONE:
            return True
        return inner not in (self.named if alone else self.kept)

    def _merges(self, inner: Prod, subs: tuple[Index, ...], work: Work) -> bool:
        """Whether a sum that is read alone, under labels that all are its own, is part of it."""
        if len(work.factors) > 1 or not inner.summed or inner in self.kept or not spans(inner):
            return False
        bare = [s for s in subs if isinstance(s, int)]
        if work.constraints or not all(isinstance(s, int) for s in work.out):
            return False
        return len(set(bare)) == len(subs) and set(work.out) <= set(bare)

    def _cancels(self, inner: Prod, work: Work) -> bool:
        """Whether a product that is kept for its length only has a divisor that cancels."""
        if inner in self.named or inner.summed or not spans(inner):
            return False
        bases = {self.split(q)[0] for q, _ in work.factors if self.split(q)[1] > 0}
        return any(
            isinstance(q, Pow) and q.exponent < 0 and q.base in bases for q, _ in inner.factors
        )

    def _merge_powers(self, work: Work) -> None:
        total: dict[tuple[Quantity, tuple[Index, ...]], Fraction] = {}
        for q, subs in work.factors:
            base, exponent = self.split(q)
            total[base, subs] = total.get((base, subs), Fraction(0)) + exponent
        factors: list[Factor] = []
        for (base, subs), exponent in total.items():
            if not exponent:
                continue
            powered = self.power(base, exponent)
            if isinstance(powered, Num):
                work.coef = work.coef * powered.value
            else:
                factors.append((powered, subs))
        work.factors = factors

    def _order_symmetric(self, work: Work) -> None:
        """Subscripts of symmetric factors in the order of the output: ``Kᵀ`` is K."""
        number: dict[int, Index] = {}
        for sub in work.out:
            for label in labels_in(sub):
                number.setdefault(label, len(number))
        work.factors = [
            (q, unordered(subs, number)) if self.symmetric(q) else (q, subs)
            for q, subs in work.factors
        ]

    def _turned(self, work: Work) -> Work:
        """``−(y − p)`` as ``p − y``, and ``y − 1`` as ``−(1 − y)``."""
        for i, (q, subs) in enumerate(work.factors):
            if not isinstance(q, Add) or q in self.kept:
                continue
            signs = {isinstance(part, Num): c.negative for c, part in q.parts}
            mixed = len({c.negative for c, _ in q.parts}) > 1
            ones = len(q.parts) == 2 and True in signs and mixed
            turn = signs.get(True, False) if ones else work.coef.negative and mixed
            if turn or (work.coef.negative and all(c.negative for c, _ in q.parts)):
                turned = Add(q.shape, tuple((-c, part) for c, part in q.parts))
                work.factors[i] = (turned, subs)
                work.coef = -work.coef
        return work

    def _hoisted(self, result: Quantity) -> Quantity:
        """A sum without the factors that do not depend on its labels, and without unit axes."""
        if not isinstance(result, Prod) or result.constraints or not result.summed:
            return result
        bare = [s for s in result.out if isinstance(s, int)]
        if not distinct(result.out):
            return result
        summed = set(result.summed)
        inside = [f for f in result.factors if any(summed & set(labels_in(s)) for s in f[1])]
        outside = [f for f in result.factors if f not in inside]
        if not inside or (not outside and len(bare) == len(result.out)):
            return result
        used = {k for _, subs in inside for s in subs for k in labels_in(s)}
        kept = [k for k in bare if k in used]
        shape = tuple(result.extents[k] for k in kept)
        extents = {k: e for k, e in enumerate(result.extents) if k in used}
        inner = self.prod(ONE, extents, inside, kept, (), shape)
        outer = {k: result.extents[k] for k in bare}
        return self.prod(
            result.coef, outer, [*outside, (inner, tuple(kept))], result.out, (), result.shape
        )

    def _collapsed(self, result: Prod) -> Extent | None:
        """The number that a sum of one factor is by its definition: ``Σ (x − mean x)`` is 0."""
        if len(result.factors) != 1 or result.constraints or not self.look_through:
            return None
        head = result.factors[0][0]
        if not (isinstance(head, Add) or head in self.kept) or not is_small(result, _SMALL):
            return None
        found = type(self)(look_through=False).rebuilt([result], {})[result]
        if is_zero(found):
            return ZERO
        if isinstance(found, Num):
            return found.value
        if isinstance(found, Prod) and not found.factors and spans(found) and distinct(found.out):
            return found.coef
        return None
