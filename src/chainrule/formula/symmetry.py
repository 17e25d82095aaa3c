"""Which quantities do not change when two of their axes are exchanged: ``X Xᵀ``, ``K(x, x)``."""

from __future__ import annotations

from collections import Counter

from ..expr.extents import ONE
from .canonical import canonical
from .quantity import Add, Fun, Pow, Prod, Quantity, Sym, ordered
from .work import Work, spans

_MOST = 12  # factors of a product that is opened

__all__ = ["Symmetries", "exchanged"]

_ELEMENTWISE_ODD = frozenset(("negative", "sin", "tanh", "arctan", "sinh", "erf", "sign"))


class Symmetries:
    """Signs under the exchange of the first two axes, by structure.

    1 for symmetric quantities, −1 for antisymmetric ones, 0 for all others.  Quantities of more
    than two axes count as well: ``x[n,d] − x[i,d]`` under (n,i) is antisymmetric, its square not.
    """

    def __init__(self) -> None:
        self._signs: dict[Quantity, int] = {}

    def __call__(self, quantity: Quantity) -> bool:
        """Whether a quantity is symmetric."""
        return self.sign(quantity) == 1

    def sign(self, quantity: Quantity) -> int:
        """How a quantity behaves under the exchange of its first two axes."""
        if quantity.ndim < 2 or quantity.shape[0] != quantity.shape[1]:
            return 0
        if quantity not in self._signs:
            for q in ordered([quantity]):
                if q not in self._signs:
                    self._signs[q] = self._of(q)
        return self._signs[quantity]

    def _of(self, q: Quantity) -> int:
        if q.ndim < 2 or q.shape[0] != q.shape[1]:
            return 0
        if isinstance(q, Sym):
            return int(q.symmetric)
        if isinstance(q, Pow):
            sign = self._signs[q.base]
            if sign == -1 and q.exponent.denominator == 1:
                return 1 if q.exponent % 2 == 0 else -1
            return int(sign == 1)
        if isinstance(q, Add):
            return self._of_sum(q)
        if isinstance(q, Fun):
            return self._of_function(q)
        assert isinstance(q, Prod)
        q = _opened(q)
        return int(canonical(q, self) == canonical(exchanged(q), self))

    def _of_sum(self, total: Add) -> int:
        """Parts are equal to each other's exchange, up to one sign for all of them."""
        before: Counter[object] = Counter()
        after: dict[int, Counter[object]] = {1: Counter(), -1: Counter()}
        for coef, part in total.parts:
            if not part.shape:
                turned: object = part
                key: object = part
                own = 1
            else:
                own = self._signs[part]
                key = turned = canonical(part, self)
                if not own:
                    opened = _opened(part if isinstance(part, Prod) else _whole(part))
                    key, turned = canonical(opened, self), canonical(exchanged(opened), self)
            own = own or 1
            before[key, coef] += 1
            for sign in after:
                after[sign][turned, coef * (sign * own)] += 1
        return next((sign for sign in after if after[sign] == before), 0)

    def _of_function(self, fun: Fun) -> int:
        if fun.op == "solve":  # A⁻¹ B A⁻¹
            opened = _opened(_whole(fun))
            return int(canonical(opened, self) == canonical(exchanged(opened), self))
        if fun.whole:
            return int(fun.op in ("inv", "inverse") and self._signs[fun.args[0]] == 1)
        if len(fun.args) == 1 and self._signs[fun.args[0]] == -1:
            return -1 if fun.op in _ELEMENTWISE_ODD else int(fun.op in ("abs", "cos", "cosh"))
        return int(all(not a.shape or self._signs[a] == 1 for a in fun.args))


def _whole(q: Quantity) -> Prod:
    """A quantity as a product of one factor."""
    axes = tuple(range(q.ndim))
    return Prod(q.shape, ONE, q.shape, ((q, axes),), axes)


def _opened(q: Prod) -> Prod:
    """A product with the products among its factors opened: ``(H P) Hᵀ`` as ``H P Hᵀ``."""
    extents = dict(enumerate(q.extents))
    work = Work(q.coef, extents, list(q.factors), list(q.out), list(q.constraints), q.shape)
    position = 0
    while position < len(work.factors) <= _MOST:
        inner, subs = work.factors[position]
        if isinstance(inner, Fun) and inner.op == "solve" and len(subs) == 2:  # A⁻¹ B
            fresh = max(work.extents) + 1
            work.extents[fresh] = inner.shape[0]
            inverse = Fun("inv", inner.args[:1], inner.args[0].shape, (0,), whole=True)
            work.factors[position] = (inner.args[1], (fresh, subs[1]))
            work.factors.append((inverse, (subs[0], fresh)))
            continue
        if not (isinstance(inner, Prod) and spans(inner) and work.inline(position)):
            position += 1
    opened = work.finish()
    return opened if isinstance(opened, Prod) else q


def exchanged(q: Prod) -> Prod:
    """The same product with its first two axes exchanged."""
    a, b, *rest = q.out
    return Prod(q.shape, q.coef, q.extents, q.factors, (b, a, *rest), q.constraints)
