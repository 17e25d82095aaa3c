"""From numbers to names: two traces at different sizes become one graph of quantities.

The function is traced twice, with a different prime for each named extent.  The two graphs are
walked side by side; a number that is the same in both is literal, one that differs is solved for
as an expression of the names (``N``, ``2 N``, ``N − 1``, ``1/N``, ``1/√D`` …).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from ..expr.build import is_ramp
from ..expr.calls import BODIED
from ..expr.extents import ONE, Extent, Number, exact, extent, name
from ..expr.nodes import Box, Call, Const, Leaf, Map, Node, Scalar, Sum, Term
from ..expr.subs import Affine, Look, Sub
from ..expr.walk import topological
from .algebra import Algebra
from .grouping import is_normalized
from .quantity import (
    Add,
    Form,
    Fun,
    Index,
    Num,
    Prod,
    Quantity,
    Ramp,
    Sym,
    Wrap,
    constant,
    is_view,
    map_labels,
    zero,
)

__all__ = ["FormulaError", "Translator", "size_pairs", "solve"]

_SMALL = (
    (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59),
    (71, 79, 101, 113, 199, 379, 431, 769, 863, 881, 1759, 2039, 2753),
)
_LARGE = (
    (907, 911, 919, 929, 937, 941, 947, 953, 967, 971, 977, 983, 991),
    (1009, 1019, 1031, 1063, 1117, 1201, 1447, 1511, 1657, 2089, 2179, 2749, 3121),
)


def size_pairs(
    names: Sequence[str], numbers: Iterable[int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Two sizes for each name, all primes.

    They grow in the same order, so that decisions about sizes agree in both traces, and none is
    near one of the ``numbers`` that shapes hold.  The differences between the two sizes of a name
    have no simple multiples, sums and differences in common, so that ``K - 1`` cannot pass for
    ``D + 5``.
    """
    if len(names) > len(_SMALL[0]):
        raise TypeError(f"{len(names)} named extents are too many; at most {len(_SMALL[0])}")
    largest = _SMALL[1][max(len(names), 1) - 1]
    near = any(_SMALL[0][0] // 2 < n < 2 * largest for n in numbers)
    first, second = _LARGE if near else _SMALL
    return dict(zip(names, first, strict=False)), dict(zip(names, second, strict=False))


class FormulaError(TypeError):
    """No formula can be given; says why and what to do.

    ``node`` is the operation of the first trace that stands in the way, if it is one;
    ``partial``, from :func:`chainrule.derive`, the derivation up to there, if there is one.
    """

    node: Node | None = None
    partial: Any = None


_DIFFERS = (
    "the computation depends on the sizes in a way that no single formula covers: at {a} and at "
    "{b} it runs different operations ({x} against {y}). Give the sizes that the function loops "
    "over or branches on as numbers, for example x=(64, 3) or x='N 3'."
)
_BODIED = (
    "chainrule.{op} runs a function of its own, for which there is no closed form: derive that "
    "function by itself, or write the steps out where their number is known"
)
_BODIED_NAMES = {"scan": "scan", "while": "while_loop", "cond": "cond", "apply": "checkpoint"}
_UNSOLVED = (
    "the number {x} at sizes {a} becomes {y} at {b}, which is no simple expression of the names "
    "{names}. Give the sizes that it depends on as numbers."
)


def _powers(names: Sequence[str]) -> Iterator[Extent]:
    """Monomials, the simplest first."""
    single: tuple[int | Fraction, ...] = (1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
    for power in single:
        for key in names:
            yield name(key) ** power
    for a, b in itertools.combinations(names, 2):
        for p, q in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
            yield name(a) ** p * name(b) ** q
    for a, b, c in itertools.combinations(names, 3):
        for signs in ((1, 1, 1), (-1, -1, -1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)):
            yield name(a) ** signs[0] * name(b) ** signs[1] * name(c) ** signs[2]


@lru_cache(maxsize=64)
def _valued(
    first: tuple[tuple[str, int], ...], second: tuple[tuple[str, int], ...]
) -> tuple[tuple[Extent, float, float], ...]:
    """Monomials with their values at both sizes."""
    one, other = dict(first), dict(second)
    return tuple((m, m.value(one), m.value(other)) for m in _powers(list(one)))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-12 * max(abs(a), abs(b))


def _short(value: float) -> Number | None:
    number = exact(value)
    if isinstance(number, Fraction):
        return number if number.denominator <= 64 else None
    near = Fraction(value).limit_denominator(64)
    return near if near and _near(float(near), value) else None


def solve(x: float, y: float, first: Mapping[str, int], second: Mapping[str, int]) -> Extent | None:
    """The expression of the names with value ``x`` at sizes ``first`` and ``y`` at ``second``."""
    if type(x) is type(y) and x == y:
        return extent(x)
    names = list(first)
    if type(x) is type(y) is int and (found := _whole(x, y, names, first, second)) is not None:
        return found
    valued = _valued(tuple(first.items()), tuple(second.items()))
    simple = _simple(x, y, names, valued)
    if simple is not None:
        return simple
    loose: Extent | None = None
    for mono, u, v in valued:
        factor = x / u
        if _near(factor * v, y):
            number = _short(factor)
            if number is not None:
                return mono * number
            loose = loose or mono * exact(factor)
    for a, b, power in ((x, y, 1), (1 / x if x else 0.0, 1 / y if y else 0.0, -1)):
        found = _affine(a, b, names, valued, first, second)
        if found is not None:
            return found**power
    return loose


def _whole(
    x: int, y: int, names: Sequence[str], first: Mapping[str, int], second: Mapping[str, int]
) -> Extent | None:
    """``n``, ``n ± 1``, ``n m``, ``n ± m + b`` with b at most 1: what loops and windows count."""
    for shift in (0, -1, 1):
        for n in names:
            if (x - first[n], y - second[n]) == (shift, shift):
                return name(n) + shift
    for n, m in itertools.combinations(names, 2):
        if (x, y) == (first[n] * first[m], second[n] * second[m]):
            return name(n) * name(m)
    for n, m in itertools.permutations(names, 2):
        for sign, shift in itertools.product((-1, 1), (1, 0, -1)):
            left = x - first[n] - sign * first[m]
            if left == shift == y - second[n] - sign * second[m]:
                return name(n) + name(m) * sign + shift
    return None


Valued: TypeAlias = "Sequence[tuple[Extent, float, float]]"


_SMALL_NUMBERS = (1, 2, Fraction(1, 2), 4, Fraction(1, 4))


def _simple(x: float, y: float, names: Sequence[str], valued: Valued) -> Extent | None:
    """``n``, ``1/n``, ``2 n m``; ``n + 1``, ``2 n − 1``, ``(n − 1)/2`` and their reciprocals.

    At small sizes other expressions have the same values: 1/3 and 1/9 at 4 and 10 are 1/(n − 1).
    """
    for mono, u, v in valued:
        for number in _SMALL_NUMBERS:
            for sign in (1, -1):
                factor = sign * float(number)
                if _near(factor * u, x) and _near(factor * v, y):
                    return mono * number * sign
    singles = [entry for entry in valued if str(entry[0]) in names]
    for a, b, power in ((x, y, 1), (1 / x if x else 0.0, 1 / y if y else 0.0, -1)):
        for mono, u, v in singles:
            for number in _SMALL_NUMBERS[:3]:
                for sign in (1, -1):
                    slope = sign * float(number)
                    shift = a - slope * u
                    whole = round(2 * shift)
                    near = abs(2 * shift - whole) < 1e-9 and abs(whole) <= 4
                    if near and _near(slope * v + whole / 2, b):
                        return (mono * number * sign + Fraction(whole, 2)) ** power
    return None


def _affine(
    x: float,
    y: float,
    names: Sequence[str],
    valued: Valued,
    first: Mapping[str, int],
    second: Mapping[str, int],
) -> Extent | None:
    """``a·m + b`` for a monomial m, or ``±n ± m + b``: whole numbers a and b first."""
    return (
        _linear(x, y, valued, 1)
        or _of_two(x, y, names, first, second)
        or _linear(x, y, valued, 4)
        or _of_two(x, y, names, first, second, Fraction(1, 2))
    )


def _linear(x: float, y: float, valued: Valued, most: int) -> Extent | None:
    """``a·m + b`` where the denominators of a and b are at most ``most``."""
    for mono, u, v in valued:
        if u < 1 or u == v:
            continue
        slope = _short((y - x) / (v - u)) if y != x else None
        if slope is None or not -16 <= slope <= 16 or Fraction(slope).denominator > most:
            continue
        shift = _short(x - float(slope) * u)
        if shift is None or Fraction(shift).denominator > (most if most == 1 else 64):
            continue
        if -64 <= shift <= 64 and _near(float(slope) * v + float(shift), y):
            return mono * slope + shift
    return None


def _of_two(
    x: float,
    y: float,
    names: Sequence[str],
    first: Mapping[str, int],
    second: Mapping[str, int],
    part: int | Fraction = 1,
) -> Extent | None:
    """``n ± m + b``, ``2 n ± m + b``, or with part ½ their halves: ``n − m/2 + b/2``."""
    for n, m in itertools.permutations(names, 2):
        for p, q in ((1, 1), (1, -1), (-1, -1), (2, 1), (2, -1)):
            left = x / part - p * first[n] - q * first[m]
            right = y / part - p * second[n] - q * second[m]
            if left == right and abs(left) <= 64 and float(left).is_integer():
                return (name(n) * p + name(m) * q + int(left)) * part
    return None


_VARIES = (
    "an array that the function makes of its sizes alone (of shape {x} at one size, {y} at "
    "another) has no name in a formula. Pass it as an argument, or give its size as a number."
)


class Translator:
    """Walks two isomorphic graphs in parallel and builds simplified quantities."""

    def __init__(
        self, algebra: Algebra, first: Mapping[str, int], second: Mapping[str, int]
    ) -> None:
        self.algebra = algebra
        self.first = first
        self.second = second
        self.known: dict[Node, Quantity] = {}
        self.symbols: dict[Node, str] = {}
        self.symmetric: frozenset[str] = frozenset()  # symbols of symmetric matrices
        self.labels: dict[Node, str] = {}
        self.arrays: tuple[dict[Node, Any], dict[Node, Any]] = ({}, {})
        self.names: dict[Quantity, str] = {}
        self.forward = False  # whether it is the function itself that is translated
        self.from_the_end: set[str] = set()  # index arrays that have negative elements
        self._partner: dict[Node, Node] = {}
        self._numbers: dict[tuple[Any, Any], Extent] = {}

    # -- numbers ------------------------------------------------------------------------------
    def number(self, x: Scalar, y: Scalar) -> Extent:
        """The extent of a pair of numbers."""
        if isinstance(x, complex) or isinstance(y, complex):
            raise FormulaError("formulas of complex numbers are not supported; use real arrays")
        key = (x, y)
        if key not in self._numbers:
            found = solve(x, y, self.first, self.second)
            if found is None:
                raise FormulaError(
                    _UNSOLVED.format(
                        x=x,
                        y=y,
                        a=dict(self.first),
                        b=dict(self.second),
                        names=", ".join(self.first),
                    )
                )
            self._numbers[key] = found
        return self._numbers[key]

    def shape(self, a: Node, b: Node) -> tuple[Extent, ...]:
        """The symbolic shape of a pair of nodes."""
        if len(a.shape) != len(b.shape):
            raise self._differs(a, b)
        return tuple(self.number(x, y) for x, y in zip(a.shape, b.shape, strict=True))

    def _differs(self, a: object, b: object) -> FormulaError:
        error = FormulaError(
            _DIFFERS.format(a=dict(self.first), b=dict(self.second), x=_what(a), y=_what(b))
        )
        error.node = a if isinstance(a, Node) else None
        return error

    # -- indices ------------------------------------------------------------------------------
    def index(self, a: Sub, b: Sub) -> Index:
        """The symbolic index of a pair of subscripts."""
        if isinstance(a, int) and isinstance(b, int) and a == b:
            return a
        if not isinstance(a, Affine) or not isinstance(b, Affine):
            raise self._differs(a, b)
        if len(a.parts) != len(b.parts):
            raise self._differs(a, b)
        const = self.number(a.const, b.const)
        parts: list[tuple[Extent, int | Wrap]] = []
        for (c, k), (d, m) in zip(a.parts, b.parts, strict=True):
            coef, key = self.number(c, d), self._key(k, m)
            if isinstance(key, Form):
                const = const + coef * key.const
                parts += [(coef * inner, part) for inner, part in key.parts]
            else:
                parts.append((coef, key))
        return map_labels(Form(const, tuple(parts)), {})

    def _key(self, k: Any, m: Any) -> int | Form | Wrap:
        if type(k) is not type(m):
            raise self._differs(k, m)
        if isinstance(k, int):
            if k != m:
                raise self._differs(k, m)
            return k
        if isinstance(k, Look):
            subs = tuple(self.index(s, t) for s, t in zip(k.subs, m.subs, strict=True))
            table = self._counted(self.known[k.table])
            if isinstance(table, Ramp):
                return subs[0]
            return Wrap("look", self.number(k.n, m.n), subs, table)
        return Wrap(type(k).__name__.lower(), self.number(k.n, m.n), (self.index(k.sub, m.sub),))

    def _counted(self, table: Quantity) -> Quantity:
        """``where(i < 0, i + n, i)``, NumPy's count from the end, as i: formulas count from 0."""
        if isinstance(table, Fun) and table.op == "where":
            condition, _, usual = table.args
            if isinstance(condition, Fun) and condition.op == "less":
                named = isinstance(usual, Sym) and usual.name in self.from_the_end
                if condition.args[0] is usual and not named:
                    return usual
        return table

    # -- nodes --------------------------------------------------------------------------------
    def roots(self, ones: Sequence[Node], others: Sequence[Node]) -> list[Quantity]:
        """The quantities of nodes of the first trace, given those of the second."""
        uses = Counter(child for node in topological(ones) for child in node.children)
        stack = [(a, b, False) for a, b in zip(ones, others, strict=True)][::-1]
        while stack:
            a, b, expanded = stack.pop()
            if self._partner.get(a, b) is not b:
                raise self._differs(a, b)
            if a in self.known:
                continue
            if not expanded:
                if type(a) is not type(b) or len(a.children) != len(b.children):
                    raise self._differs(a, b)
                stack.append((a, b, True))
                pairs = zip(a.children, b.children, strict=True)
                stack.extend((x, y, False) for x, y in reversed(list(pairs)))
                continue
            self._partner[a] = b
            try:
                found = self._quantity(a, b)
            except FormulaError as error:
                error.node = error.node or a
                raise
            self.known[a] = self._kept(a, found, uses[a] > 1)
        return [self.known[node] for node in ones]

    def learn(self, ones: Mapping[Quantity, Node], others: Mapping[Quantity, Node]) -> None:
        """The nodes that quantities were lowered to, at both sizes: they mean those quantities."""
        for quantity, node in ones.items():
            if not isinstance(quantity, Num) and node not in self.known:
                self.known[node] = quantity
                self._partner[node] = others[quantity]

    def network(
        self, ones: Sequence[Term], others: Sequence[Term], shape: tuple[Extent, ...]
    ) -> list[Quantity]:
        """The terms of a Jacobian network, given those at the second sizes."""
        if len(ones) != len(others):
            raise self._differs(f"{len(ones)} terms", f"{len(others)} terms")
        factors = [(n for t in terms for n in t.children) for terms in (ones, others)]
        self.roots(*map(list, factors))
        return [self._term(a, b, shape) for a, b in zip(ones, others, strict=True)]

    def step(self, one: Node, other: Node) -> Quantity:
        """The quantity of one node over those of its children, which are known already."""
        return self._quantity(one, other)

    def _kept(self, node: Node, found: Quantity, shared: bool) -> Quantity:
        """Keep what has a name or is shared; of ``2 d`` what is shared is d."""
        if isinstance(found, Sym | Num) or not found.children:
            return found
        if node in self.labels:
            self.algebra.keep(found, named=True)
            self.names.setdefault(found, self.labels[node])
            return found
        if self.forward and is_normalized(found):
            self.algebra.keep(found, named=True)
            return found
        if not shared or _is_wide(found):
            return found
        if isinstance(found, Prod) and not found.constraints and found not in self.algebra.named:
            factor = found.coef.factor
            if factor != 1:
                unit = self.algebra.prod(
                    found.coef / factor,
                    dict(enumerate(found.extents)),
                    found.factors,
                    found.out,
                    (),
                    found.shape,
                )
                self.algebra.keep(unit, named=False)
                return self.algebra.scaled(ONE * factor, unit, found.shape)
        self.algebra.keep(found, named=False)
        return found

    def _quantity(self, a: Node, b: Node) -> Quantity:
        shape = self.shape(a, b)
        algebra = self.algebra
        if isinstance(a, Leaf):
            if a in self.arrays[0]:
                return self._captured(a, b, shape)
            if a not in self.symbols:
                raise FormulaError("a value from outside of the function has no name")
            return Sym(self.symbols[a], shape, self.symbols[a] in self.symmetric)
        if isinstance(a, Const) and isinstance(b, Const):
            return Num(self.number(a.value, b.value))
        if isinstance(a, Box):
            return self.known[a.node]
        if isinstance(a, Sum) and isinstance(b, Sum):
            if len(a.parts) != len(b.parts):
                raise self._differs(a, b)
            return algebra.add(
                [
                    (self.number(c, d), self.known[n])
                    for (c, n), (d, _) in zip(a.parts, b.parts, strict=True)
                ],
                shape,
            )
        if isinstance(a, Term) and isinstance(b, Term):
            return self._term(a, b, shape)
        if isinstance(a, Map) and isinstance(b, Map) and a.op == b.op:
            params = () if a.op == "astype" else a.params
            return algebra.fun(a.op, tuple(self.known[n] for n in a.args), shape, params)
        if isinstance(a, Call) and isinstance(b, Call) and (a.op, a.index) == (b.op, b.index):
            if a.op in BODIED:
                raise FormulaError(_BODIED.format(op=_BODIED_NAMES[a.op]))
            args = tuple(self.known[n] for n in a.args)
            if a.params != b.params:
                raise self._differs(a, b)
            if a.op == "cofactor" and a.ndim == 2:  # det(A) A⁻ᵀ, where A is invertible
                det = Fun("det", args, (), (0,), whole=True)
                inverse = Fun("inverse", args, shape, (0,), whole=True)
                extents = dict(enumerate(shape))
                return algebra.prod(ONE, extents, [(det, ()), (inverse, (1, 0))], (0, 1), (), shape)
            if a.op == "solve" and len(shape) == 2 and shape[1] == ONE:
                return self._solved_vector(args, shape)
            return Fun(a.op, args, shape, (*a.params, a.index), whole=True)
        raise self._differs(a, b)

    def _solved_vector(self, args: tuple[Quantity, ...], shape: tuple[Extent, ...]) -> Quantity:
        """``A⁻¹ b`` of one right-hand side as a vector, viewed as the column that NumPy solves."""
        matrix, column = args
        first = constant(0)
        vector = self.algebra.view(column, (0, first), (0,), {0: shape[0]}, shape[:1])
        solution = Fun("solve", (matrix, vector), shape[:1], (0,), whole=True)
        self.algebra.keep(solution, named=False)
        return self.algebra.view(solution, (0,), (0, first), {0: shape[0]}, shape)

    def _captured(self, a: Node, b: Node, shape: tuple[Extent, ...]) -> Quantity:
        """An array from outside: a number, a constant, an identity, or known by its name."""
        x, y = np.asarray(self.arrays[0][a]), np.asarray(self.arrays[1][b])
        if not x.shape:
            return Num(self.number(x.item(), y.item()))
        if x.dtype.kind in "fiu" and x.size and (x == x.flat[0]).all() and (y == y.flat[0]).all():
            value = self.number(x.flat[0].item(), y.flat[0].item())
            return self.algebra.scaled(value, Num(ONE), shape) if value else zero(shape)
        square = x.ndim == 2 and x.shape[0] == x.shape[1]
        if square and (x == np.eye(len(x))).all() and (y == np.eye(len(y))).all():
            return Prod(shape, ONE, shape[:1], (), (0, 0))
        if x.shape != y.shape and (steps := _steps(x, y)) is not None:
            start, step = (self.number(*pair) for pair in steps)
            return self.algebra.add([(start, Num(ONE)), (step, Ramp(shape[0]))], shape)
        if x.shape != y.shape or not np.array_equal(x, y):
            raise FormulaError(_VARIES.format(x=x.shape, y=y.shape))
        if x.dtype.kind == "i" and x.size and x.min() < 0:
            self.from_the_end.add(self.symbols[a])
        return Sym(self.symbols[a], shape)

    def _term(self, a: Term, b: Term, shape: tuple[Extent, ...]) -> Quantity:
        if (len(a.factors), len(a.extents), len(a.constraints)) != (
            len(b.factors),
            len(b.extents),
            len(b.constraints),
        ):
            raise self._differs(a, b)
        if is_ramp(a) and is_ramp(b):
            return Ramp(shape[0])
        extents = {
            k: self.number(x, y) for k, (x, y) in enumerate(zip(a.extents, b.extents, strict=True))
        }
        factors = [
            (self.known[n], tuple(self.index(s, t) for s, t in zip(subs, other, strict=True)))
            for (n, subs), (_, other) in zip(a.factors, b.factors, strict=True)
        ]
        out = [self.index(s, t) for s, t in zip(a.out, b.out, strict=True)]
        return self.algebra.prod(
            self.number(a.coef, b.coef) if a.coef != 1 else ONE,
            extents,
            factors,
            out,
            [self.index(s, t) for s, t in self._matched(a.constraints, b.constraints)],
            shape,
        )

    def _matched(self, a: Sequence[Sub], b: Sequence[Sub]) -> list[tuple[Sub, Sub]]:
        """Constraints are sorted by their text: pair those that fit each other."""
        for order in itertools.islice(itertools.permutations(b), 24):
            try:
                for x, y in zip(a, order, strict=True):
                    self.index(x, y)
            except FormulaError:
                continue
            return list(zip(a, order, strict=True))
        if a:
            raise self._differs(a, b)
        return []


def _steps(x: Any, y: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]] | None:
    """First elements and steps where both arrays are evenly spaced (``arange``, ``linspace``)."""
    found = []
    for array in (x, y):
        if array.ndim != 1 or array.dtype.kind not in "iuf" or len(array) < 3:
            return None
        start, step = array[0].item(), (array[-1].item() - array[0].item()) / (len(array) - 1)
        if not np.allclose(array, start + step * np.arange(len(array)), rtol=1e-13, atol=1e-13):
            return None
        found.append((start, int(step) if step == int(step) else step))
    (a, s), (b, t) = found
    return (a, b), (s, t)


def _is_wide(q: Quantity) -> bool:
    """Whether a quantity of more than two axes is made of smaller ones without a sum over labels.

    Opened, it may leave matrix products: ``Σ_d G[n,m] (x[n,d] − y[m,d])``.
    """
    if q.ndim < 3:
        return False
    if isinstance(q, Add):
        return all(isinstance(p, Num) or (is_view(p) and _is_wide(p)) for _, p in q.parts)
    if not isinstance(q, Prod) or q.summed or q.constraints:
        return False
    return all(f.ndim < q.ndim or _is_wide(f) for f, _ in q.factors)


def _what(value: object) -> str:
    if isinstance(value, Map | Call):
        return value.op
    if isinstance(value, Node):
        return f"{value.kind} of shape {value.shape}"
    if isinstance(value, Affine):
        return f"an index that starts at {value.const}"
    if isinstance(value, tuple):
        return " and ".join(map(_what, value))
    return str(value)
