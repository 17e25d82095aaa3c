"""Functions to calls: elementwise ones, stable forms of some, and functions of whole arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...expr.extents import ONE, Extent
from ..functions import TESTS
from ..quantity import Add, Fun, Num, Quantity
from .booleans import is_boolean
from .syntax import Expr, literal, subscript, template
from .target import OPERATORS
from .values import Array

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Functions"]

#: functions with several results
_SEVERAL = frozenset({"slogdet", "eigh", "svd", "qr", "nonzero"})


class Functions:
    """Lowers the functions of one function's body."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.target = lowering.target
        #: calls with several results that are held already
        self.results: dict[object, Expr] = {}
        self.several: Counter[object] = Counter()

    def count(self, quantities: Iterable[Quantity]) -> None:
        """How many results of each call with several of them are used."""
        self.several.update(
            (q.op, q.args, q.params[:-1])
            for q in quantities
            if isinstance(q, Fun) and q.op in _SEVERAL
        )

    def elementwise(self, q: Fun) -> Array:
        if q.op == "astype":
            found = self.lowering.known[q.args[0]]
            return Array(self.target.as_float(found.expr), found.axes, units=found.units)
        stable = self.stable(q)
        op, args = stable if stable is not None else (q.op, q.args)
        logical = op.startswith("logical") or op == "where"
        for a in args:
            if isinstance(a, Num):
                self.lowering.known.setdefault(a, self.lowering.compute(a))
        values = [
            self.lowering.known[a]
            if logical and (op != "where" or i == 0)
            else self.lowering.number(a)
            for i, a in enumerate(args)
        ]
        exprs, axes, units = self.lowering.together(values)
        scalar = [v.scalar for v in values]
        if op == "where" and not is_boolean(args[0], self.lowering.booleans):
            exprs[0] = template("a != 0", a=exprs[0])
        if all(scalar) and op not in OPERATORS:
            exprs = [self.target.number()(exprs[0]), *exprs[1:]]
            scalar[0] = False
        elif op == "where" and scalar[1] and scalar[2]:
            exprs[1] = self.target.number()(exprs[1])
            scalar[1] = False
        expr = self.target.function(op, exprs, scalar, q.params if stable is None else ())
        return Array(expr, axes, all(scalar), units)

    def stable(self, q: Fun) -> tuple[str, tuple[Quantity, ...]] | None:
        """Forms that do not overflow: ``log(1 + exp u)`` as ``logaddexp(0, u)`` …"""
        inner = q.args[0]
        if inner in self.lowering.bound:
            return None
        if q.op == "log1p" and isinstance(inner, Fun) and inner.op == "exp":
            return "logaddexp", (Num(Extent({})), inner.args[0])
        if q.op == "log" and isinstance(inner, Fun) and inner.op == "expit":
            return "log_expit", inner.args
        if q.op == "log" and isinstance(inner, Add) and len(inner.parts) == 2:
            (c, one), (d, e) = sorted(inner.parts, key=lambda part: isinstance(part[1], Fun))
            powered = (
                isinstance(e, Fun) and e.op == "exp" and e not in self.lowering.bound and d == ONE
            )
            if powered and isinstance(one, Num) and c * one.value == ONE:
                assert isinstance(e, Fun)
                return "logaddexp", (Num(Extent({})), e.args[0])
        return None

    def whole(self, q: Fun) -> Array:
        logical = q.op in TESTS or q.op == "nonzero"
        args = [self.lowering.full(a, self.lowering.known[a], boolean=logical) for a in q.args]
        axes = tuple(range(q.ndim))
        if q.op in ("softmax", "logsumexp"):
            return Array(self.target.whole(q.op, args, q.params), axes)
        params = q.params[:-1]
        if q.op == "last_writer" and params != (q.ndim,):
            raise self.target.unknown("last_writer of a batch")
        if q.op not in _SEVERAL:
            return Array(self.target.whole(q.op, args, params), axes)
        key = (q.op, q.args, params)
        if q.op == "nonzero":  # how many there are
            params = (int(q.shape[0].value({})),)
        if key not in self.results:
            value = self.target.whole(q.op, args, params)
            once = self.several[key] <= 1
            self.results[key] = value if once else self.lowering.body.temporary(value, q.op)
        index = q.params[-1]
        assert isinstance(index, int)
        return Array(subscript(self.results[key], [literal(index)]), axes)
