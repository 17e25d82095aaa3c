"""The algebra of quantities: constructors that simplify, as one does on paper.

==============  ================================================  ================================
name            pattern                                           result
==============  ================================================  ================================
views           a factor that only rearranges or scales           its own factor, relabelled
powers          x · x,  x · x⁻¹                                   x²,  1
collect         2 a + 3 a,  a − a                                 5 a,  0
flatten         a + (b + c), a · (b · c)                          one sum, one product
expand          y (1 − p) − (1 − y) p                             y − p: where it gets shorter
common factor   a b + a c                                         a (b + c)
reciprocals     1/(1 + exp(−z))                                   σ(z)
softmax, …      see :mod:`.patterns`
==============  ================================================  ================================

Quantities in ``kept`` bear a name of the user's (or are shared): they are not dissolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from ..expr.extents import ONE, ZERO, Extent
from . import patterns
from .measure import Measure
from .quantity import (
    Add,
    Factor,
    Fun,
    Index,
    Num,
    Pow,
    Prod,
    Quantity,
    Shape,
    is_small,
    is_view,
    labels_in,
    ordered,
    zero,
)
from .symmetry import Symmetries
from .work import Work, distinct, spans

__all__ = ["Algebra", "is_zero"]

_MAX_EXPANDED = 6
_MAX_TERMS = 12
_FEW = 2  # terms that replace a product of sums: y (1 − p) − p (1 − y) is y − p
_SMALL = 32  # quantities: what is looked through by definition


def is_zero(quantity: Quantity) -> bool:
    """Whether a quantity is the empty sum or the number 0."""
    if isinstance(quantity, Add):
        return not quantity.parts
    return isinstance(quantity, Num) and not quantity.value


class Algebra(Measure):
    """Simplifying constructors; ``kept`` holds the quantities that stay whole.

    Of these, ``named`` bear a name of the user's; the others are used more than once.
    """

    def __init__(self, look_through: bool = True) -> None:
        super().__init__()
        self.look_through = look_through
        self.symmetric = Symmetries()
        self.kept: set[Quantity] = set()
        self._sums: dict[object, tuple[Extent, Add]] = {}
        self._products: dict[object, Prod] = {}
        self._roots: dict[Quantity, Pow] = {}
        self.folds: list[Prod] = []

    def keep(self, quantity: Quantity, named: bool) -> None:
        """Keep a quantity whole from now on."""
        self.kept.add(quantity)
        if named:
            self.name(quantity)
        if isinstance(quantity, Add) and len(quantity.parts) > 1:
            head, key = self._ratios(quantity.parts)
            self._sums.setdefault((quantity.shape, key), (head, quantity))
        if isinstance(quantity, Pow) and quantity.exponent.denominator > 1:
            self._roots.setdefault(quantity.base, quantity)
        if isinstance(quantity, Prod) and not is_view(quantity):
            key = patterns.canonical(quantity, self.symmetric, scaled=False)
            self._products.setdefault(key, quantity)
        if named and isinstance(quantity, Prod) and len(quantity.factors) > 1:
            whole = tuple(range(len(quantity.extents)))
            if quantity.out == whole and quantity.coef == ONE and not quantity.constraints:
                self.folds.append(quantity)

    # -- sums ---------------------------------------------------------------------------------
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
        found = patterns.simplify_sum(self, best)
        return self._common(best) if found is None else found

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
        if len(part.factors) == 1 and _plain(part):
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
            key = patterns.canonical(self._written_out(part), self.symmetric)
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

    def _ratios(self, parts: Sequence[tuple[Extent, Quantity]]) -> tuple[Extent, object]:
        """The first coefficient (by age), and the parts relative to it."""
        keys = sorted(
            ((patterns.canonical(q, self.symmetric), c, q) for c, q in parts),
            key=lambda p: p[2].uid,
        )
        head = keys[0][1]
        return head, frozenset((key, c / head) for key, c, _ in keys)

    def direction(self, total: Add) -> object:
        """What a sum has in common with its multiples."""
        return total.shape, self._ratios(total.parts)[1]

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

    def _is_pure_view(self, part: Prod) -> bool:
        return (
            len(part.factors) == 1
            and _plain(part)
            and part not in self.named
            and spans(part)
            and distinct(part.out)
        )

    def _multiplied_out(self, part: Prod) -> list[tuple[Extent, Quantity]] | None:
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

    # -- products -----------------------------------------------------------------------------
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
                    or (q not in self.named and patterns.is_normalized(q, subs, work))
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
        known = self._products.get(patterns.canonical(result, self.symmetric, scaled=False))
        if known is None or known is result:
            return result
        labels = tuple(range(known.ndim))
        ratio = result.coef / known.coef
        whole = ((known, labels),)
        return known if ratio == ONE else Prod(known.shape, ratio, known.shape, whole, labels)

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

    def _order_symmetric(self, work: Work) -> None:
        """Subscripts of symmetric factors in the order of the output: ``Kᵀ`` is K."""
        number: dict[int, Index] = {}
        for sub in work.out:
            for label in labels_in(sub):
                number.setdefault(label, len(number))
        work.factors = [
            (q, patterns.unordered(subs, number)) if self.symmetric(q) else (q, subs)
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
        found = Algebra(look_through=False).rebuilt([result], {})[result]
        if is_zero(found):
            return ZERO
        if isinstance(found, Num):
            return found.value
        if isinstance(found, Prod) and not found.factors and spans(found) and distinct(found.out):
            return found.coef
        return None

    def rebuilt(
        self, roots: Sequence[Quantity], keep: Mapping[Quantity, bool]
    ) -> dict[Quantity, Quantity]:
        """Quantities constructed anew, by the old ones; ``keep``: what stays whole, if named."""
        new: dict[Quantity, Quantity] = {}
        for q in ordered(roots):
            new[q] = self._anew(q, new)
            if q in keep and new[q].children and (keep[q] or not is_view(new[q])):
                self.keep(new[q], keep[q])
        return new

    def _anew(self, q: Quantity, new: Mapping[Quantity, Quantity]) -> Quantity:
        if isinstance(q, Add):
            return self.add([(c, new[part]) for c, part in q.parts], q.shape)
        if isinstance(q, Prod):
            factors = [(new[f], subs) for f, subs in q.factors]
            extents = dict(enumerate(q.extents))
            return self.prod(q.coef, extents, factors, q.out, q.constraints, q.shape)
        if isinstance(q, Pow):
            return self.power(new[q.base], q.exponent)
        if isinstance(q, Fun) and not q.whole:
            return self.fun(q.op, tuple(new[a] for a in q.args), q.shape, q.params)
        if isinstance(q, Fun):
            return Fun(q.op, tuple(new[a] for a in q.args), q.shape, q.params, whole=True)
        return q

    def _opens(self, inner: Prod, alone: bool) -> bool:
        if inner.summed or not spans(inner):
            return False
        if len(inner.factors) <= 1 and inner.coef == ONE:
            return True
        return inner not in (self.named if alone else self.kept)

    def _rewritten(self, work: Work) -> bool:
        """One of the named rewrites of products; False where none applies."""
        return any(rule(self, work) for rule in patterns.PRODUCT_RULES.values())

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

    def _whole_power(self, q: Pow) -> bool:
        """Whether a power is a base of its own: one with a name, a root that is shared."""
        return q in self.named or (q in self.kept and q.exponent.denominator > 1)

    def split(self, q: Quantity) -> tuple[Quantity, Fraction]:
        """Base and exponent."""
        if isinstance(q, Pow) and not self._whole_power(q):
            return q.base, q.exponent
        return q, Fraction(1)

    # -- the rest -----------------------------------------------------------------------------
    def power(self, base: Quantity, exponent: Fraction) -> Quantity:
        """An elementwise power."""
        if exponent == 1:
            return base
        if isinstance(base, Num):
            if exponent.denominator == 1:
                return Num(base.value ** int(exponent))
            if base.value.simple and base.value.names:
                return Num(base.value**exponent)
        root = self._roots.get(base)
        if root is not None and (exponent / root.exponent).denominator == 1:
            return self.power(root, exponent / root.exponent)
        if isinstance(base, Pow) and exponent.denominator == 1 and not self._whole_power(base):
            return self.power(base.base, base.exponent * exponent)
        if isinstance(base, Prod) and base not in self.kept and exponent.denominator == 1:
            spread = self._power_of_product(base, exponent)
            if spread is not None:
                return spread
        found = patterns.simplify_power(self, base, exponent)
        return found if found is not None else Pow(base, exponent)

    def _power_of_product(self, base: Prod, exponent: Fraction) -> Quantity | None:
        if base.summed or base.constraints or not spans(base) or not distinct(base.out):
            return None
        factors = [(self.power(q, exponent), subs) for q, subs in base.factors]
        coef = base.coef ** int(exponent)
        extents = dict(enumerate(base.extents))
        return self.prod(coef, extents, factors, base.out, (), base.shape)

    def fun(
        self, op: str, args: tuple[Quantity, ...], shape: Shape, params: tuple[object, ...] = ()
    ) -> Quantity:
        """An elementwise function; of a view it is the view of the function."""
        if len(args) == 1 and isinstance(args[0], Prod) and self._is_pure_view(args[0]):
            outer = args[0]
            inner, subs = outer.factors[0]
            applied = self.fun(op, (inner,), inner.shape, params)
            extents = dict(enumerate(outer.extents))
            return self.prod(ONE, extents, [(applied, subs)], outer.out, (), shape)
        found = patterns.simplify_function(self, op, args, shape, params)
        return found if found is not None else Fun(op, args, shape, params)

    def view(
        self,
        inner: Quantity,
        subs: Sequence[Index],
        out: Sequence[Index],
        extents: dict[int, Extent],
        shape: Shape,
    ) -> Quantity:
        """``out[out] = inner[subs]``."""
        return self.prod(ONE, extents, [(inner, tuple(subs))], out, (), shape)


def _reaches(factor: Factor, labels: Iterable[int]) -> bool:
    """Whether a factor depends on one of the labels."""
    return any(label in labels_in(s) for s in factor[1] for label in labels)


def _covers(part: Prod, shape: Shape) -> bool:
    return part.out == tuple(range(len(shape))) and part.extents[: len(shape)] == shape


def _plain(part: Prod) -> bool:
    return part.coef == ONE and not part.constraints and not part.summed
