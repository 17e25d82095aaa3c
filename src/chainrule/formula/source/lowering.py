"""Quantities to statements: what a formula says, as vectorized code of one library."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from ...expr.extents import ONE, Extent
from ..quantity import (
    Add,
    Fun,
    Index,
    Num,
    Pow,
    Prod,
    Quantity,
    Sym,
    Wrap,
    labels_in,
)
from .body import Body
from .products import Products
from .reading import Reader, digits, radix
from .sizes import is_unit, nominal, number_of, scaled, size, whole
from .syntax import Expr, binary, literal, name, subscript, template
from .target import OPERATORS, Target
from .values import Array, Operand, aligned

__all__ = ["Lowering", "is_boolean"]

_TEST_NAMES = (
    "equal not_equal less less_equal greater greater_equal logical_not logical_and logical_or "
    "logical_xor isnan isinf isfinite signbit any all"
)
_TESTS = frozenset(_TEST_NAMES.split())
_INDICES = frozenset({"argmax", "argmin", "argsort"})
_SEVERAL = frozenset({"slogdet", "eigh", "svd", "qr"})


def is_boolean(q: Quantity, booleans: frozenset[str] = frozenset()) -> bool:
    """Whether the values are True and False: a test, or a view of one."""
    while isinstance(q, Prod):
        if len(q.factors) != 1 or q.coef != ONE or q.summed or q.constraints:
            return False
        q = q.factors[0][0]
    if isinstance(q, Sym):
        return q.name in booleans
    if isinstance(q, Fun) and q.op == "where":
        return all(is_boolean(a, booleans) for a in q.args[1:])
    return isinstance(q, Fun) and q.op in _TESTS


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
        self.results: dict[object, Expr] = {}
        self.unscaled: dict[Quantity, tuple[Extent, Array]] = {}
        #: variables that were made to add into
        self.scatters: set[str] = set()
        #: (axis, first place, place after the last, value) of what only fills a part of an axis
        self.pieces: dict[Quantity, tuple[int, Extent, Extent, Expr]] = {}
        self.counts: dict[int, tuple[Expr, Extent]] = {}
        self.uses: Counter[Quantity] = Counter()
        self.several: Counter[object] = Counter()

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
        self.several.update(
            (q.op, q.args, q.params[:-1]) for q in order if isinstance(q, Fun) and q.op in _SEVERAL
        )
        return uses

    def value(self, root: Quantity, uses: Mapping[Quantity, int]) -> Array:
        """The value of a quantity; what is used twice gets a variable."""
        for q in self.needs([root]):
            if q in self.known:
                continue
            found = self._value(q)
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

    def _together(
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
    def _value(self, q: Quantity) -> Array:
        if isinstance(q, Sym):
            return Array(name(self.symbols[q.name]), tuple(range(q.ndim)))
        if isinstance(q, Num):
            return Array(size(q.value, self.idents), (), scalar=True)
        if isinstance(q, Add):
            return self._sum(q)
        if isinstance(q, Pow):
            return self._power(q)
        if isinstance(q, Fun):
            return self._whole(q) if q.whole else self._function(q)
        assert isinstance(q, Prod)
        return self._product(q)

    def _number(self, q: Quantity) -> Array:
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
                self.unscaled[p][1] if p in self.unscaled else self._number(p) for _, p in signs
            ]
            total = self._added([c for c, _ in signs], values)
            self.unscaled[q] = (common, total)
            return Array(
                scaled(common, total.expr, self.idents), total.axes, total.scalar, total.units
            )
        parts = sorted(q.parts, key=lambda part: part[0].negative)
        values = [self._number(p) for _, p in parts]
        return self._added([c for c, _ in parts], values)

    def _joined(self, q: Add) -> Array | None:
        """Parts that fill an axis one after the other, as a concatenation."""
        pieces = [(c, *self.pieces[p]) for c, p in q.parts if p in self.pieces]
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
        exprs, axes, units = self._together(values)
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
        found = self._number(q.base)
        return Array(self._raised(found, q.exponent), found.axes, found.scalar, found.units)

    def _raised(self, base: Array, exponent: Fraction) -> Expr:
        size_ = abs(exponent)
        if size_ == 1:
            expr = base.expr
        elif size_ == Fraction(1, 2) and not base.scalar:
            expr = self.target.function("sqrt", [base.expr], [False], ())
        else:
            expr = binary(base.expr, "**", number_of(size_))
        return binary(literal(1), "/", expr) if exponent < 0 else expr

    def _function(self, q: Fun) -> Array:
        if q.op == "astype":
            found = self.known[q.args[0]]
            return Array(self.target.as_float(found.expr), found.axes, units=found.units)
        stable = self._stable(q)
        op, args = stable if stable is not None else (q.op, q.args)
        logical = op.startswith("logical") or op == "where"
        for a in args:
            if isinstance(a, Num):
                self.known.setdefault(a, self._value(a))
        values = [
            self.known[a] if logical and (op != "where" or i == 0) else self._number(a)
            for i, a in enumerate(args)
        ]
        exprs, axes, units = self._together(values)
        scalar = [v.scalar for v in values]
        if op == "where" and not is_boolean(args[0], self.booleans):
            exprs[0] = template("a != 0", a=exprs[0])
        if all(scalar) and op not in OPERATORS:
            exprs = [self.target.number()(exprs[0]), *exprs[1:]]
            scalar[0] = False
        elif op == "where" and scalar[1] and scalar[2]:
            exprs[1] = self.target.number()(exprs[1])
            scalar[1] = False
        expr = self.target.function(op, exprs, scalar, q.params if stable is None else ())
        return Array(expr, axes, all(scalar), units)

    def _stable(self, q: Fun) -> tuple[str, tuple[Quantity, ...]] | None:
        """Forms that do not overflow: ``log(1 + exp u)`` as ``logaddexp(0, u)`` …"""
        inner = q.args[0]
        if inner in self.bound:
            return None
        if q.op == "log1p" and isinstance(inner, Fun) and inner.op == "exp":
            return "logaddexp", (Num(Extent({})), inner.args[0])
        if q.op == "log" and isinstance(inner, Fun) and inner.op == "expit":
            return "log_expit", inner.args
        if q.op == "log" and isinstance(inner, Add) and len(inner.parts) == 2:
            (c, one), (d, e) = sorted(inner.parts, key=lambda part: isinstance(part[1], Fun))
            powered = isinstance(e, Fun) and e.op == "exp" and e not in self.bound and d == ONE
            if powered and isinstance(one, Num) and c * one.value == ONE:
                assert isinstance(e, Fun)
                return "logaddexp", (Num(Extent({})), e.args[0])
        return None

    def _whole(self, q: Fun) -> Array:
        args = [self.full(a, self.known[a]) for a in q.args]
        axes = tuple(range(q.ndim))
        if q.op in ("softmax", "logsumexp"):
            return Array(self.target.whole(q.op, args, q.params), axes)
        if q.op not in _SEVERAL:
            return Array(self.target.whole(q.op, args, q.params[:-1]), axes)
        key = (q.op, q.args, q.params[:-1])
        if key not in self.results:
            value = self.target.whole(q.op, args, q.params[:-1])
            once = self.several[key] <= 1
            self.results[key] = value if once else self.body.temporary(value, q.op)
        index = q.params[-1]
        assert isinstance(index, int)
        return Array(subscript(self.results[key], [literal(index)]), axes)

    # -- products -----------------------------------------------------------------------------
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
                        expr = self.full(key.table, self.known[key.table])
                        found[key.table] = (
                            expr if self._is_index(key.table) else self.target.as_index(expr)
                        )
        return found

    def _is_index(self, q: Quantity) -> bool:
        if isinstance(q, Sym):
            return self.kinds.get(q.name) in ("i", "u")
        return isinstance(q, Fun) and q.op in _INDICES

    def _on_diagonal(self, q: Quantity, subs: tuple[Index, ...]) -> bool:
        """A function read on a diagonal is applied there only: ``log`` of a triangle has no value
        elsewhere."""
        labels = [s for s in subs if isinstance(s, int)]
        return (
            isinstance(q, Fun)
            and not q.whole
            and q not in self.bound
            and len(q.args) == 1
            and q.op not in _TESTS
            and self.uses[q] <= 1
            and len(set(labels)) < len(labels)
            and self._stable(q) is None
            and q.op != "astype"
        )

    def _operand(
        self, reader: Reader, product: Prod, q: Quantity, subs: tuple[Index, ...]
    ) -> Operand:
        below = isinstance(q, Pow) and q.exponent < 0 and q not in self.bound
        if below:
            assert isinstance(q, Pow)
            base = self._number(q.base)
            value = Array(self._raised(base, -q.exponent), base.axes, base.scalar, base.units)
        elif self._on_diagonal(q, subs):
            assert isinstance(q, Fun)
            inner = reader.read(self._number(q.args[0]), q.args[0].shape, subs)
            inner = self._undoubled(inner, product, sums=False)
            expr = self.target.function(q.op, [inner.expr], [False], q.params)
            return Operand(expr, inner.labels)
        else:
            value = self.known[q]
        operand = reader.read(value, q.shape, subs)
        boolean = not below and is_boolean(q, self.booleans)
        return Operand(operand.expr, operand.labels, boolean, below, operand.scalar)

    def _product(self, whole: Prod) -> Array:
        q, extra = _without_repeats(self._through(whole))
        reader = Reader(self.target, q, self._tables(q), self.idents)
        operands = [self._operand(reader, q, f, subs) for f, subs in q.factors]
        cumulated = self._cumulated(q, operands)
        if cumulated is None:
            operands = [*operands, *self._masks(q, reader)]
        else:
            operands = cumulated
        for old, new in extra:
            operands.append(Operand(self.target.eye(self.size(q.extents[old])), (old, new)))
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
            return self._written(q, reader, Operand(size(q.coef, self.idents), (), scalar=True))
        if result.boolean and (q.coef != ONE or not is_boolean(q, self.booleans)):
            result = Operand(self.target.as_float(result.expr), result.labels)
        expr = self._scaled(q.coef, result.expr)
        found = self._written(
            q, reader, Operand(expr, result.labels, result.boolean, scalar=result.scalar)
        )
        if q.coef != ONE and found.expr is expr:
            self.unscaled[whole] = q.coef, replace(found, expr=result.expr)
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
                return scaled(ratio, _mean(expr), self.idents)
        return scaled(coef, expr, self.idents)

    def _through(self, q: Prod) -> Prod:
        """A transpose of a product that is used here only, as the product with other axes."""
        if len(q.factors) != 1 or q.summed or q.constraints:
            return q
        inner, subs = q.factors[0]
        if (
            not isinstance(inner, Prod)
            or inner in self.bound
            or self.uses[inner] > 1
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
            found.append(Operand(mask, tuple(joint), boolean=True, triangle=_triangle(constraint)))
        return found

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

    # -- writing ------------------------------------------------------------------------------
    def _written(self, q: Prod, reader: Reader, value: Operand) -> Array:
        """The value as the quantity's: views where the output's axes are labels, else scatters."""
        if all(
            (q.extents[s] == q.shape[k]) if isinstance(s, int) else _is_unit_index(s, q.shape[k])
            for k, s in enumerate(q.out)
        ):
            return self._placed(q, value)
        reshaped = self._reshaped(q, value)
        if reshaped is not None:
            return reshaped
        padded = self._padded(q, value)
        if padded is not None:
            return padded
        return self._scattered(q, reader, value)

    def _placed(self, q: Prod, value: Operand) -> Array:
        position = {s: k for k, s in enumerate(q.out) if isinstance(s, int)}
        axes = [position[k] if k is not None else None for k in value.labels]
        if None in axes:
            filled = _between(axes, q.ndim)
            if filled is None:
                return self._placed(q, value.squeezed())
            units = frozenset(
                k
                for k, a in zip(filled, axes, strict=True)
                if a is None and not is_unit(q.shape[k])
            )
            return Array(value.expr, tuple(filled), value.scalar, units)
        return Array(value.expr, tuple(k for k in axes if k is not None), value.scalar)

    def _whole_box(self, q: Prod, value: Operand, order: Sequence[int]) -> Expr:
        """The value over the whole box of labels, broadcast where it lacks one."""
        value = value.squeezed()
        expr = aligned(self.target, value, order)
        if set(order) <= value.known:
            return expr
        shape = [self.size(q.extents[k]) for k in order]
        if value.scalar:
            return self.target.full(shape, value.expr)
        return self.target.broadcast(expr, shape)

    def _reshaped(self, q: Prod, value: Operand) -> Array | None:
        """Output axes that are digits of a label, or the mixed radix of several."""
        order: list[int] = []
        k = 0
        while k < q.ndim:
            sub = q.out[k]
            if isinstance(sub, int) and q.extents[sub] == q.shape[k]:
                order.append(sub)
            elif not isinstance(sub, int) and not sub.parts and is_unit(q.shape[k]):
                pass
            elif (labels := radix(sub, q.extents, q.shape[k])) is not None:
                order += labels
            elif (found := digits(q.out, k, q.shape, q.extents)) is not None:
                order.append(found[0])
                k += found[1] - 1
            else:
                return None
            k += 1
        if len(set(order)) < len(order):
            return None
        expr = self._whole_box(q, value, order)
        shape = [self.size(e) for e in q.shape]
        return Array(self.target.reshaped(expr, shape), tuple(range(q.ndim)))

    def _padded(self, q: Prod, value: Operand) -> Array | None:
        """Output axes that are windows (a label and a shift) or one place of an axis."""
        if q.constraints:
            return None
        order: list[int] = []
        widths: list[tuple[Expr, Expr]] = []
        spans: list[tuple[Extent, Extent]] = []
        places: list[int] = []
        flips: list[int] = []
        for k, sub in enumerate(q.out):
            shift, label = (Extent({}), sub) if isinstance(sub, int) else (sub.const, -1)
            if not isinstance(sub, int) and sub.parts:
                coef, key = sub.parts[0]
                if len(sub.parts) > 1 or not isinstance(key, int):
                    return None
                label = key
                if coef == -ONE:
                    shift = shift - q.extents[label] + 1
                    flips.append(k)
                elif coef != ONE:
                    return None
            count = q.extents[label] if label >= 0 else ONE
            if label < 0:
                places.append(k)
            else:
                order.append(label)
            spans.append((shift, count))
            widths.append((self.size(shift), self.size(q.shape[k] - shift - count)))
        if len(set(order)) < len(order):
            return None
        expr = self._whole_box(q, value, order)
        if value.scalar and not order:
            expr = self.target.full([literal(1)] * q.ndim, expr)
        elif places:
            items = [literal(None) if k in places else None for k in range(q.ndim)]
            expr = self.target.expanded(expr, [i is None for i in items])
            lead = 0
            while lead in places:
                lead += 1
            if lead:
                expr = subscript(expr, [literal(None)] * lead + ([name("...")] if order else []))
        for k in flips:
            expr = self.target.flipped(expr, k)
        ends = [
            (k, start, start + count)
            for k, (start, count) in enumerate(spans)
            if start or start + count != q.shape[k]
        ]
        if len(ends) == 1:
            self.pieces[q] = (*ends[0], expr)
        return Array(self.target.padded(expr, widths), tuple(range(q.ndim)))

    def _scattered(self, q: Prod, reader: Reader, value: Operand) -> Array:
        order = reader.labels_of(q.out)
        expr = self._whole_box(q, value, order)
        index = [reader.index(s, order, e) for s, e in zip(q.out, q.shape, strict=True)]
        shape = [self.size(e) for e in q.shape]
        zeros, update = self.target.scattered(shape, index, expr)
        axes = tuple(range(q.ndim))
        if update is None:
            return Array(zeros, axes)
        held = self.body.fresh("t")
        self.scatters.add(held)
        self.body.assign(held, zeros)
        self.body.do(update(held), held)
        return Array(name(held), axes)


def _mean(total: Expr) -> Expr:
    """``x.sum(…)`` as ``x.mean(…)``."""
    assert isinstance(total, ast.Call)
    assert isinstance(total.func, ast.Attribute)
    return ast.Call(ast.Attribute(total.func.value, "mean", ast.Load()), total.args, total.keywords)


def _between(axes: Sequence[int | None], rank: int) -> list[int] | None:
    """Axes with the places of unit dimensions filled in, the order kept; None where it cannot."""
    taken = {k for k in axes if k is not None}
    filled: list[int] = []
    for i, axis in enumerate(axes):
        if axis is None:
            low = filled[-1] if filled else -1
            high = next((k for k in axes[i:] if k is not None), rank)
            axis = next((k for k in range(low + 1, high) if k not in taken), None)
            if axis is None:
                return None
            taken.add(axis)
        filled.append(axis)
    return filled


def _is_unit_index(sub: Index, extent: Extent) -> bool:
    return not isinstance(sub, int) and not sub.parts and is_unit(extent)


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
