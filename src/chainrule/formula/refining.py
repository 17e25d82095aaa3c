"""Formulas simplified again, in the terms that make them short: names, groups, adjoints."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..expr.extents import ONE, ZERO, Extent
from .adjoints import multiples
from .algebra import Algebra
from .grouping import counted, halves, is_normalized, multiplied, shared_group
from .measure import Measure
from .naming import LONG, is_short, is_worth, matrix_products
from .quantity import Add, Pow, Prod, Quantity, ordered

__all__ = ["Refined", "refined"]

_ROUNDS = 12  # groups of factors that get a name
_SHORT = 3  # the length of a product of two names
_FEW = 3  # uses from which on even that is named


class Refined(NamedTuple):
    """The same formulas simplified again: new quantities by old ones, names, primal ones.

    ``grouped`` are products that stand for factors which several formulas share; ``adjoints`` those
    given, by what is ∂L/∂ of them.
    """

    new: dict[Quantity, Quantity]
    names: dict[Quantity, str]
    primal: set[Quantity]
    grouped: set[Quantity]
    adjoints: dict[Quantity, Quantity]


def refined(
    roots: Sequence[Quantity],
    own: Mapping[Quantity, str],
    primal: Collection[Quantity],
    also: Sequence[Quantity] = (),
    grouping: bool = True,
    adjoints: Mapping[Quantity, Quantity] | None = None,
) -> Refined:
    """Formulas simplified again, now that it is known what is used more than once.

    The first pass keeps whole what the program uses twice; much of that is gone by now.
    Quantities with names come first, so that formulas are written in their terms.  What is in
    ``also`` is simplified along with the roots, and does not count as a use.
    """
    adjoints = adjoints or {}
    main = [*own, *roots, *also]
    order = ordered(main)
    uses = counted(roots)
    measure = Measure()
    for q in own:
        measure.name(q)
    pointwise = matrix_products(order)
    keep = {q: q in own for q in order if q in own or is_worth(q, uses[q], measure, pointwise)}
    divisors = [
        Pow(q.base, -q.exponent) if q.exponent.denominator > 1 else q.base
        for q in order
        if isinstance(q, Pow) and q.exponent < 0 and uses[q] > 1 and not is_short(q, measure)
    ]
    keep |= {q: False for q in divisors if q not in keep and measure.cost(q) >= LONG - 1}
    scaled = sorted((q for q in primal if q not in own and is_normalized(q)), key=lambda q: q.uid)
    keep |= dict.fromkeys(scaled if grouping else (), True)
    first = [*own, *(q for q in keep if q in divisors), *(q for q in keep if q in scaled)]
    first.sort(key=lambda q: len(ordered([q])))
    run = _Run([*first, *roots, *also, *adjoints, *adjoints.values()], roots)
    run.again(keep)
    heads = multiplied(run.roots, run.algebra)
    if heads:
        run.again(dict.fromkeys(heads, False))
    grouped = set(halves(run.roots, run.algebra)) if grouping else set()
    if grouped:
        for half in grouped:
            run.algebra.keep(half, named=True)
        run.again(dict.fromkeys(grouped, True))
        grouped = {run.last.get(q, q) for q in grouped}
    grouped |= {run.new[q] for q in keep if q in scaled}
    for _ in range(_ROUNDS if grouping else 0):
        group = shared_group(run.roots, run.algebra)
        if group is None:
            break
        run.algebra.keep(group, named=True)
        run.again({group: True})
        grouped = {run.last.get(q, q) for q in grouped} | {group}
    values = {run.new[q] for q in primal if q in run.new} | set(primal)
    times = _scales(run, own, grouped, values, adjoints)
    if times:
        run.again({}, times)
        grouped = {run.algebra.whole(run.last.get(q, q)) for q in grouped if times.get(q, ONE)}
    names: dict[Quantity, str] = {}
    for q, name in own.items():
        if q in run.new:
            names.setdefault(run.new[q], name)
    values = {run.new[q] for q in primal if q in run.new} | set(primal)
    by = {run.new[q]: run.new[of] for q, of in adjoints.items()}
    return Refined(run.new, names, values, grouped, by)


class _Run:
    """Quantities that are simplified again and again, each time in terms of the last time's."""

    def __init__(self, every: Sequence[Quantity], roots: Sequence[Quantity]) -> None:
        self.algebra = Algebra()
        self.every = every
        self.new: dict[Quantity, Quantity] = {}
        self.last: dict[Quantity, Quantity] = {}
        self._roots = roots

    @property
    def roots(self) -> list[Quantity]:
        """The formulas as they are now."""
        return [self.new[q] for q in self._roots]

    def again(
        self, keep: Mapping[Quantity, bool], times: Mapping[Quantity, Extent] | None = None
    ) -> None:
        """Once more, with what is kept now."""
        if not self.new:
            self.new = self.algebra.rebuilt(self.every, keep, times)
            return
        self.last = self.algebra.rebuilt([self.new[q] for q in self.every], keep, times)
        self.new = {q: self.last[new] for q, new in self.new.items() if new in self.last}


def _scales(
    run: _Run,
    own: Collection[Quantity],
    grouped: Collection[Quantity],
    values: Collection[Quantity],
    adjoints: Mapping[Quantity, Quantity],
) -> dict[Quantity, Extent]:
    """By which number to multiply what is kept, so that it is an adjoint; 0: not to be kept.

    The adjoint of what has no name of the user's is taken only where formulas get shorter.  A group
    that is left once, or has become a product of two names since one of them came later, needs no
    name.
    """
    roots = run.roots
    uses = counted(roots)
    order = ordered(roots)
    measure = Measure()
    for q in own:
        measure.name(run.new[q])
    wanted = [run.new[q] for q, of in adjoints.items() if run.new[of] in measure.named]
    pointwise = matrix_products(order)
    written, times = [], {}
    for q in order:
        if q in grouped and (uses[q] < 2 or (uses[q] < _FEW and measure.length(q) <= _SHORT)):
            times[q] = ZERO
        elif q in grouped or is_worth(q, uses[q], measure, pointwise):
            measure.name(q)
            written += [q] if q not in values else []
    symmetric = run.algebra.symmetric
    found = multiples([run.new[q] for q in adjoints], written, symmetric)
    times |= {q: number for q, number in found.items() if _is_scaled(q, order)}
    return times | multiples(wanted, written, symmetric)


def _is_scaled(q: Quantity, order: Sequence[Quantity]) -> bool:
    """Whether most of what is made of a quantity holds a multiple of it."""
    numbers = [u.coef for u in order if isinstance(u, Prod) and any(f is q for f, _ in u.factors)]
    numbers += [c for u in order if isinstance(u, Add) for c, part in u.parts if part is q]
    return 2 * sum(n not in (ONE, -ONE) for n in numbers) > len(numbers)
