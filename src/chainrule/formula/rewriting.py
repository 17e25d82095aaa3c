"""An algebra that keeps a record of its rewrites, for those who want to see the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..expr.extents import Extent
from . import patterns
from .algebra import Algebra
from .quantity import Add, Fun, Num, Pow, Prod, Quantity, Shape
from .work import Work

__all__ = ["Recorder", "Rewrite"]

_FUNCTIONS = {
    "exp": "exponential of a logarithm",
    "log": "logarithm of exponentials",
    "where": "guard of 0/0",
    "logaddexp": "logaddexp(0, z) = log(1 + exp z)",
}


@dataclass(frozen=True)
class Rewrite:
    """One rewrite: its name, what was there, and what is there now."""

    name: str
    before: Quantity
    after: Quantity


class Recorder(Algebra):
    """:class:`Algebra` with the list ``rewrites`` of what it did."""

    def __init__(self, look_through: bool = True) -> None:
        super().__init__(look_through)
        self.rewrites: list[Rewrite] = []

    def _record(self, name: str, before: Quantity, after: Quantity) -> None:
        if before is not after:
            self.rewrites.append(Rewrite(name, before, after))

    def fun(
        self, op: str, args: tuple[Quantity, ...], shape: Shape, params: tuple[Any, ...] = ()
    ) -> Quantity:
        """An elementwise function."""
        result = super().fun(op, args, shape, params)
        if op in _FUNCTIONS and not (isinstance(result, Fun) and result.op == op):
            self._record(_FUNCTIONS[op], Fun(op, args, shape, params), result)
        return result

    def power(self, base: Quantity, exponent: Fraction) -> Quantity:
        """An elementwise power."""
        result = super().power(base, exponent)
        if exponent != 1 and isinstance(base, Add) and not isinstance(result, Pow):
            self._record("1/(1 + exp(−z)) = σ(z)", Pow(base, exponent), result)
        return result

    def _rewritten(self, work: Work) -> bool:
        for name, rule in patterns.PRODUCT_RULES.items():
            before = _copy(work)
            if rule(self, work):
                self._record(name, before.finish(), _copy(work).finish())
                return True
        return False

    def _merge_powers(self, work: Work) -> None:
        before = _copy(work)
        super()._merge_powers(work)
        if len(work.factors) < len(before.factors):
            self._record("equal factors", before.finish(), _copy(work).finish())

    def _collect(
        self, parts: Sequence[tuple[Extent, Quantity]], shape: Shape
    ) -> list[tuple[Extent, Quantity]]:
        found = super()._collect(parts, shape)
        if len(found) < len(parts):
            self._record("like terms", Add(shape, tuple(parts)), self._sum_of(found, shape))
        return found

    def _expanded(self, parts: Sequence[tuple[Extent, Quantity]], shape: Shape) -> Quantity | None:
        found = super()._expanded(parts, shape)
        if found is not None:
            whole = self._sum_of(parts, shape)
            if self.cost(found) < self.cost(whole):
                self._record("multiplied out", whole, found)
        return found

    def _common(self, total: Quantity) -> Quantity:
        result = super()._common(total)
        self._record("common factor", total, result)
        return result

    def _collapsed(self, result: Prod) -> Extent | None:
        found = super()._collapsed(result)
        if found is not None:
            name = "a number by definition" if found else "sums to 0 by definition"
            self._record(name, result, Num(found))
        return found


def _copy(work: Work) -> Work:
    return Work(
        work.coef,
        dict(work.extents),
        list(work.factors),
        list(work.out),
        list(work.constraints),
        work.shape,
    )
