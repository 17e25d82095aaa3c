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
softmax, …      see :mod:`.patterns`, :mod:`.normalized`
known products  see :mod:`.known`
==============  ================================================  ================================

Quantities in ``kept`` bear a name of the user's (or are shared): they are not dissolved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from ..expr.extents import ONE, ZERO, Extent
from . import patterns
from .elementary import simplify_function
from .functions import TESTS
from .keeping import is_zero
from .products import Products
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity, Shape, is_view, ordered
from .work import Work, distinct, is_plain, spans

__all__ = ["Algebra", "is_zero"]


class Algebra(Products):
    """Simplifying constructors; ``kept`` holds the quantities that stay whole.

    Of these, ``named`` bear a name of the user's; the others are used more than once.
    """

    def _identity(self, total: Quantity) -> Quantity | None:
        return patterns.simplify_sum(self, total)

    def _rewritten(self, work: Work) -> bool:
        """One of the named rewrites of products; False where none applies."""
        return any(rule(self, work) for rule in patterns.PRODUCT_RULES.values())

    def power(self, base: Quantity, exponent: Fraction) -> Quantity:
        """An elementwise power."""
        if exponent == 1 or (exponent > 0 and isinstance(base, Fun) and base.op in TESTS):
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
        found = simplify_function(self, op, args, shape, params)
        return found if found is not None else Fun(op, args, shape, params)

    def _is_pure_view(self, part: Prod) -> bool:
        return (
            len(part.factors) == 1
            and is_plain(part)
            and part not in self.named
            and spans(part)
            and distinct(part.out)
        )

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

    def rebuilt(
        self,
        roots: Sequence[Quantity],
        keep: Mapping[Quantity, bool],
        times: Mapping[Quantity, Extent] | None = None,
    ) -> dict[Quantity, Quantity]:
        """Quantities constructed anew, by the old ones; ``keep``: what stays whole, if named.

        Quantities in ``times`` are released; the multiples of them by a number are kept instead.
        """
        for q in times or ():
            self.release(q)
        new: dict[Quantity, Quantity] = {}
        for q in ordered(roots):
            new[q] = self._anew(q, new)
            if q in keep and new[q].children and (keep[q] or not is_view(new[q])):
                self.keep(new[q], keep[q])
            if times and times.get(q, ZERO):
                whole = self.scaled(times[q], new[q], q.shape)
                self.keep(whole, named=True)
                new[q] = self.scaled(ONE / times[q], whole, q.shape)
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
