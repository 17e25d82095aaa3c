"""Which parts of a formula get a name, and which name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from .algebra import Algebra
from .grouping import counted, multiplied, shared_group
from .measure import Measure
from .quantity import Add, Fun, Num, Pow, Prod, Quantity, Sym, ordered

__all__ = ["Refined", "choose_names", "refined"]

_LONG = 5  # what is shorter is written out again rather than named
_ROUNDS = 12  # groups of factors that get a name
_OTHER = {"D": "Δ", "d": "δ"}
_DEEP = 24  # nesting beyond which a name is given although there is one use only


def choose_names(
    roots: Sequence[Quantity],
    own: Mapping[Quantity, str],
    primal: Collection[Quantity],
    taken: Collection[str],
    minor: Collection[str] = (),
    grouped: Collection[Quantity] = (),
) -> dict[Quantity, str]:
    """Names of definitions, in the order in which they depend on each other.

    ``own`` are the user's names, of which ``minor`` ones (those of helper functions) are given
    only to what is used more than once; ``grouped`` are products that were made to be named; what
    is used more than once gets a name by its role: ``P`` for probabilities, ``H`` for activations,
    ``Z`` for sums, ``D`` for derivatives (numbered from the input on); lower case for vectors and
    numbers.
    """
    order = ordered(roots)
    uses = counted(roots)
    own = {q: name for q, name in own.items() if name not in minor or uses[q] > 1}
    measure = Measure()
    for q in (*own, *grouped):
        measure.name(q)
    pointwise = _pointwise(order)
    named: dict[Quantity, str | None] = {}
    depth: dict[Quantity, int] = {}
    for q in order:
        depth[q] = 1 + max((depth[c] for c in q.children), default=0)
        if isinstance(q, Sym | Num) or _is_view(q):
            continue
        if q in own:
            named[q] = own[q]
        elif depth[q] > _DEEP or q in grouped or _worth(q, uses[q], measure, pointwise):
            named[q] = None
        if q in named:
            depth[q] = 0
            measure.name(q)
    values = ordered([q for q in named if q in primal])
    named = {q: named[q] for q in (*(q for q in values if q in named), *named)}
    roles = {q: _role(q, primal) for q, name in named.items() if name is None}
    totals = Counter(roles.values())
    blocked = set(taken) | {name for name in named.values() if name is not None}
    counts: Counter[str] = Counter()
    result: dict[Quantity, str] = {}
    for q, name in named.items():
        if name is None:
            role = roles[q]
            counts[role] += 1
            total = totals[role]
            number = counts[role] if q in primal else total + 1 - counts[role]
            name = role if total == 1 else f"{role}{number}"
            if name in blocked and _OTHER.get(name, name) not in blocked:
                name = role = _OTHER[name]
            number = 0 if name == role else number
            while name in blocked:
                number += 1
                name = f"{role}{number}"
            blocked.add(name)
        result[q] = name
    return result


def _worth(q: Quantity, uses: int, measure: Measure, pointwise: Collection[Quantity]) -> bool:
    """Whether a name for a quantity saves more than it costs."""
    if uses < 2 or _is_short(q, measure) or (isinstance(q, Pow) and q.exponent < 0):
        return False
    if isinstance(q, Fun):
        return q.op in ("softmax", "solve") or measure.cost(q) >= _LONG - 1
    return measure.cost(q) >= (_LONG - 2 if q in pointwise else _LONG)


def _pointwise(order: Sequence[Quantity]) -> set[Quantity]:
    """Matrix products that are added or multiplied elementwise: ``G Vᵀ`` in softmax's pullback.

    In a chain of products they are written out, ``G Bᵀ Xᵀ``, since any order will do.
    """
    found: set[Quantity] = set()
    for q in order:
        chained: set[Quantity] = set()
        if isinstance(q, Prod):
            summed = set(q.summed)
            chained = {f for f, subs in q.factors if summed & set(subs)}
        found.update(c for c in q.children if c not in chained)
    return {
        q for q in found if isinstance(q, Prod) and q.ndim >= 2 and q.summed and len(q.factors) > 1
    }


class Refined(NamedTuple):
    """The same formulas simplified again: new quantities by old ones, names, primal ones.

    ``grouped`` are products that stand for factors which several formulas share.
    """

    new: dict[Quantity, Quantity]
    names: dict[Quantity, str]
    primal: set[Quantity]
    grouped: set[Quantity]


def refined(
    roots: Sequence[Quantity],
    own: Mapping[Quantity, str],
    primal: Collection[Quantity],
    also: Sequence[Quantity] = (),
    grouping: bool = True,
) -> Refined:
    """Formulas simplified again, now that it is known what is used more than once.

    The first pass keeps whole what the program uses twice; much of that is gone by now.
    Quantities with names come first, so that formulas are written in their terms.  What is in
    ``also`` is simplified along with the roots, and does not count as a use.
    """
    algebra = Algebra()
    every = [*own, *roots, *also]
    order = ordered(every)
    uses = counted(roots)
    measure = Measure()
    for q in own:
        measure.name(q)
    pointwise = _pointwise(order)
    keep = {q: q in own for q in order if q in own or _worth(q, uses[q], measure, pointwise)}
    divisors = [
        Pow(q.base, -q.exponent) if q.exponent.denominator > 1 else q.base
        for q in order
        if isinstance(q, Pow) and q.exponent < 0 and uses[q] > 1 and not _is_short(q, measure)
    ]
    keep |= {q: False for q in divisors if q not in keep and measure.cost(q) >= _LONG - 1}
    first = sorted((*own, *(q for q in keep if q in divisors)), key=lambda q: len(ordered([q])))
    every = [*first, *roots, *also]
    new = algebra.rebuilt(every, keep)
    heads = multiplied([new[root] for root in roots], algebra)
    if heads:
        again = algebra.rebuilt([new[q] for q in every], dict.fromkeys(heads, False))
        new = {q: again[new[q]] for q in new if new[q] in again}
    grouped: set[Quantity] = set()
    for _ in range(_ROUNDS if grouping else 0):
        group = shared_group([new[root] for root in roots], algebra)
        if group is None:
            break
        algebra.keep(group, named=True)
        again = algebra.rebuilt([new[q] for q in every], {group: True})
        new = {q: again[new[q]] for q in new if new[q] in again}
        grouped = {again.get(q, q) for q in grouped} | {group}
    names: dict[Quantity, str] = {}
    for q, name in own.items():
        if q in new:
            names.setdefault(new[q], name)
    values = {new[q] for q in primal if q in new} | set(primal)
    return Refined(new, names, values, grouped)


def _is_view(q: Quantity) -> bool:
    return isinstance(q, Prod) and len(q.factors) <= 1 and not q.summed and q.coef == 1


def _is_short(q: Quantity, measure: Measure) -> bool:
    """``‖r‖``, ``x/‖x‖²``: short although they count long."""
    if q.ndim == 0:
        factors = [f for f, _ in q.factors] if isinstance(q, Prod) and not q.summed else [q]
        return len(factors) <= 2 and all(map(_is_norm, factors))
    if not isinstance(q, Prod) or q.coef != 1 or q.summed:
        return False
    vectors = [f for f, _ in q.factors if f.ndim]
    numbers = [f for f, _ in q.factors if not f.ndim]
    simple = len(vectors) == 1 and (isinstance(vectors[0], Sym) or vectors[0] in measure.named)
    return simple and all(_is_short(f, measure) for f in numbers)


def _is_norm(q: Quantity) -> bool:
    """``‖x‖`` or a power of it."""
    base = q
    while isinstance(base, Pow):
        base = base.base
    return (
        isinstance(base, Prod)
        and len(base.factors) == 1
        and all(isinstance(f, Pow) for f, _ in base.factors)
    )


def _role(q: Quantity, primal: Collection[Quantity]) -> str:
    if isinstance(q, Fun) and q.op == "softmax":
        letter = "P"
    elif q not in primal:
        letter = "D"
    elif isinstance(q, Fun) and q.op == "solve":
        letter = "S"
    elif isinstance(q, Fun):
        letter = "H"
    elif isinstance(q, Add):
        residual = any(c.negative for c, _ in q.parts) and not any(
            isinstance(part, Num) for _, part in q.parts
        )
        letter = "R" if residual else "Z"
    else:
        letter = "S"
    return letter if sum(e != 1 for e in q.shape) >= 2 else letter.lower()
