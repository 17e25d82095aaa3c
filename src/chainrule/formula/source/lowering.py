"""Quantities to statements: what a formula says, as vectorized code of one library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from ...expr.extents import ONE, Extent
from ..quantity import Add, Fun, Num, Pow, Prod, Quantity, Ramp, Sym
from .body import Body
from .booleans import is_boolean
from .functions import Functions
from .placing import Placing
from .sizes import is_unit, nominal, number_of, scaled, size, whole
from .syntax import Expr, binary, literal, name, subscript
from .target import Target
from .terms import Terms
from .values import Array, Operand, aligned

__all__ = ["Lowering"]


class Lowering:
    """Lowers quantities into one function's body.

    ``bound`` are the quantities that have a variable already; ``idents`` the identifiers of the
    extents' names; ``kinds`` the dtype kinds of captured arrays.
    """

    def __init__(
        self,
        target: Target,
        body: Body,
        idents: dict[str, str],
        symbols: Mapping[str, str],
        kinds: Mapping[str, str],
    ) -> None:
        self.target = target
        self.body = body
        self.idents = idents
        self.symbols = symbols
        self.kinds = kinds
        self.booleans = frozenset(s for s, kind in kinds.items() if kind == "b")
        self.bound: dict[Quantity, str] = {}
        self.known: dict[Quantity, Array] = {}
        self.unscaled: dict[Quantity, tuple[Extent, Array]] = {}
        self.uses: Counter[Quantity] = Counter()
        self.placing = Placing(target, body, idents)
        self.functions = Functions(self)
        self.terms = Terms(self)

    # -- the interface ------------------------------------------------------------------------
    def bind(self, q: Quantity, ident: str) -> None:
        """A quantity is held by a variable, in full shape, from now on."""
        self.bound[q] = ident
        self.known[q] = Array(name(ident), tuple(range(q.ndim)), scalar=False)

    def needs(self, roots: Iterable[Quantity]) -> list[Quantity]:
        """What must be computed for ``roots``, parts first, down to what has a variable."""
        done: set[Quantity] = set()
        order: list[Quantity] = []
        stack = [(root, False) for root in reversed(list(roots))]
        while stack:
            q, expanded = stack.pop()
            if expanded:
                order.append(q)
            elif q not in done:
                done.add(q)
                stack.append((q, True))
                if q not in self.bound:
                    stack.extend((c, False) for c in reversed(q.children))
        return order

    def prepare(self, roots: Sequence[Quantity]) -> Counter[Quantity]:
        """How often each quantity is used below ``roots``."""
        order = self.needs(roots)
        uses = Counter(c for q in order if q not in self.bound for c in q.children)
        uses.update(roots)
        self.uses = uses
        self.functions.count(order)
        return uses

    def value(self, root: Quantity, uses: Mapping[Quantity, int]) -> Array:
        """The value of a quantity; what is used twice gets a variable."""
        for q in self.needs([root]):
            if q in self.known:
                continue
            found = self.compute(q)
            if q is not root and uses.get(q, 0) > 1 and self._worth(q, found):
                held = self.body.temporary(self._ordered(found))
                found = Array(held, tuple(sorted(found.axes)), units=found.units)
                self.unscaled.pop(q, None)
            self.known[q] = found
        return self.known[root]

    def _worth(self, q: Quantity, found: Array) -> bool:
        if isinstance(q, Sym | Num) or found.scalar:
            return False
        return not (isinstance(q, Prod) and len(q.factors) <= 1 and not q.summed and q.coef == ONE)

    def full(
        self, q: Quantity, found: Array, like: str | None = None, boolean: bool = False
    ) -> Expr:
        """The value in its full shape, number type (unless ``boolean``) and order of axes."""
        expr = found.expr
        if is_boolean(q, self.booleans) and not boolean:
            expr = self.target.as_float(expr)
        if found.scalar and not q.shape:
            return self.target.number()(expr) if like is None else self._filled(expr, like, True)
        if found.scalar:
            if like is not None:
                return self._filled(expr, like, True)
            return self.target.full([self.size(e) for e in q.shape], expr)
        missing = [k for k in range(q.ndim) if k not in found.axes]
        spread = [*missing, *found.units]
        laid = self._laid(Array(expr, found.axes), range(q.ndim))
        if all(is_unit(q.shape[k]) for k in spread):
            head = 0
            while head < q.ndim and head in missing:
                head += 1
            return subscript(laid, [literal(None)] * head + [name("...")]) if head else laid
        if like is not None:
            return self._filled(laid, like, False)
        return self.target.broadcast(laid, [self.size(e) for e in q.shape])

    def _filled(self, value: Expr, like: str, number: bool) -> Expr:
        return self.target.full_like(name(like), value, number)

    def size(self, extent: Extent) -> Expr:
        return whole(extent, self.idents)

    # -- layout -------------------------------------------------------------------------------
    def _laid(self, value: Array, axes: Iterable[int]) -> Expr:
        operand = Operand(value.expr, value.axes)
        return aligned(self.target, operand, list(axes))

    def _ordered(self, value: Array) -> Expr:
        order = sorted(value.axes)
        return self.target.transposed(value.expr, [value.axes.index(k) for k in order])

    def together(
        self, values: Sequence[Array]
    ) -> tuple[list[Expr], tuple[int, ...], frozenset[int]]:
        """Expressions that broadcast against each other; axes of the result, and its units."""
        arrays = [v for v in values if not v.scalar and v.axes]
        units = frozenset(
            k
            for v in arrays
            for k in v.units
            if all(k in other.units or k not in other.axes for other in arrays)
        )
        if len({v.axes for v in arrays}) == 1:
            return [v.expr for v in values], arrays[0].axes, units
        axes = tuple(sorted({k for v in arrays for k in v.axes}))
        exprs = [v.expr if v.scalar or not v.axes else self._laid(v, axes) for v in values]
        return exprs, axes, units

    # -- kinds of quantities ------------------------------------------------------------------
    def compute(self, q: Quantity) -> Array:
        if isinstance(q, Ramp):
            return Array(self.target.arange(self.size(q.shape[0]), floating=True), (0,))
        if isinstance(q, Sym):
            return Array(name(self.symbols[q.name]), tuple(range(q.ndim)))
        if isinstance(q, Num):
            return Array(size(q.value, self.idents), (), scalar=True)
        if isinstance(q, Add):
            return self._sum(q)
        if isinstance(q, Pow):
            return self._power(q)
        if isinstance(q, Fun):
            return self.functions.whole(q) if q.whole else self.functions.elementwise(q)
        assert isinstance(q, Prod)
        return self.terms.value(q)

    def number(self, q: Quantity) -> Array:
        found = self.known[q]
        if is_boolean(q, self.booleans):
            return Array(self.target.as_float(found.expr), found.axes, units=found.units)
        return found

    def _sum(self, q: Add) -> Array:
        if not q.parts:
            return Array(literal(0), (), scalar=True)
        joined = self._joined(q)
        if joined is not None:
            return joined
        parts = [(c * self.unscaled[p][0] if p in self.unscaled else c, p) for c, p in q.parts]
        common = abs(parts[0][0])
        if len(parts) > 1 and common != ONE and all(abs(c) == common for c, _ in parts):
            signs = sorted(((c / common, p) for c, p in parts), key=lambda part: part[0].negative)
            values = [
                self.unscaled[p][1] if p in self.unscaled else self.number(p) for _, p in signs
            ]
            total = self._added([c for c, _ in signs], values)
            self.unscaled[q] = (common, total)
            return Array(
                scaled(common, total.expr, self.idents), total.axes, total.scalar, total.units
            )
        parts = sorted(q.parts, key=lambda part: part[0].negative)
        values = [self.number(p) for _, p in parts]
        return self._added([c for c, _ in parts], values)

    def _joined(self, q: Add) -> Array | None:
        """Parts that fill an axis one after the other, as a concatenation."""
        pieces = [(c, *self.placing.pieces[p]) for c, p in q.parts if p in self.placing.pieces]
        if len(pieces) < max(2, len(q.parts)) or len({axis for _, axis, *_ in pieces}) > 1:
            return None
        pieces.sort(key=lambda piece: nominal(piece[2]))
        axis = pieces[0][1]
        bounds = [Extent({}), *(stop for *_, stop, _ in pieces)]
        if bounds[-1] != q.shape[axis] or any(
            start != bound for (_, _, start, _, _), bound in zip(pieces, bounds, strict=False)
        ):
            return None
        values = [scaled(c, expr, self.idents) for c, *_, expr in pieces]
        return Array(self.target.joined(values, axis), tuple(range(q.ndim)))

    def _added(self, coefs: Sequence[Extent], values: Sequence[Array]) -> Array:
        exprs, axes, units = self.together(values)
        total: Expr | None = None
        for coef, expr in zip(coefs, exprs, strict=True):
            if total is None:
                total = self._times(coef, expr)
            else:
                term = self._times(abs(coef), expr)
                total = binary(total, "-" if coef.negative else "+", term)
        assert total is not None
        return Array(total, axes, all(v.scalar for v in values), units)

    def _times(self, coef: Extent, expr: Expr) -> Expr:
        value = getattr(expr, "value", None)
        if type(value) is int and value == 1:
            return size(coef, self.idents)
        return scaled(coef, expr, self.idents)

    def _power(self, q: Pow) -> Array:
        found = self.number(q.base)
        return Array(self.raised(found, q.exponent), found.axes, found.scalar, found.units)

    def raised(self, base: Array, exponent: Fraction) -> Expr:
        size_ = abs(exponent)
        if size_ == 1:
            expr = base.expr
        elif size_ == Fraction(1, 2) and not base.scalar:
            expr = self.target.function("sqrt", [base.expr], [False], ())
        else:
            expr = binary(base.expr, "**", number_of(size_))
        return binary(literal(1), "/", expr) if exponent < 0 else expr
