"""Which parts of a formula get a name, and which name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from .algebra import Algebra
from .measure import Measure
from .quantity import Add, Fun, Num, Pow, Prod, Quantity, Sym, ordered

__all__ = ["choose_names", "refined"]

_LONG = 5  # what is shorter is written out again rather than named
_OTHER = {"D": "Δ", "d": "δ"}
_DEEP = 24  # nesting beyond which a name is given although there is one use only


def choose_names(
    roots: Sequence[Quantity],
    own: Mapping[Quantity, str],
    primal: Collection[Quantity],
    taken: Collection[str],
) -> dict[Quantity, str]:
    """Names of definitions, in the order in which they depend on each other.

    ``own`` are the user's names; what is used more than once gets a name by its role: ``P`` for
    probabilities, ``H`` for activations, ``Z`` for sums, ``D`` for derivatives (numbered from the
    input on); lower case for vectors and numbers.
    """
    order = ordered(roots)
    uses = _uses(roots, order)
    measure = Measure()
    for q in own:
        measure.name(q)
    named: dict[Quantity, str | None] = {}
    depth: dict[Quantity, int] = {}
    for q in order:
        depth[q] = 1 + max((depth[c] for c in q.children), default=0)
        if isinstance(q, Sym | Num) or _is_view(q):
            continue
        if q in own:
            named[q] = own[q]
        elif depth[q] > _DEEP or _worth(q, uses[q], measure):
            named[q] = None
        if q in named:
            depth[q] = 0
            measure.name(q)
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


def _worth(q: Quantity, uses: int, measure: Measure) -> bool:
    """Whether a name for a quantity saves more than it costs."""
    long = _LONG - isinstance(q, Fun)
    return uses > 1 and measure.cost(q) >= long and not _is_short(q)


def _uses(roots: Sequence[Quantity], order: Sequence[Quantity]) -> Counter[Quantity]:
    uses = Counter(child for q in order for child in q.children)
    uses.update(root for root in roots if uses[root])
    return uses


def refined(
    roots: Sequence[Quantity],
    own: Mapping[Quantity, str],
    primal: Collection[Quantity],
    also: Sequence[Quantity] = (),
) -> tuple[dict[Quantity, Quantity], dict[Quantity, str], set[Quantity]]:
    """The same formulas simplified again, now that it is known what is used more than once.

    The first pass keeps whole what the program uses twice; much of that is gone by now.  Returns
    the new quantities by the old ones, names of new ones, and the new primal quantities.  What is
    in ``also`` is simplified along with the roots, and does not count as a use.
    """
    algebra = Algebra()
    order = ordered(roots)
    uses = _uses(roots, order)
    measure = Measure()
    for q in own:
        measure.name(q)
    keep = {q: q in own for q in order if q in own or _worth(q, uses[q], measure)}
    keep.update((q, True) for q in ordered(also) if q in own)
    new = algebra.rebuilt([*roots, *also], keep)
    names: dict[Quantity, str] = {}
    for q, name in own.items():
        if q in new:
            names.setdefault(new[q], name)
    values = {new[q] for q in primal if q in new} | set(primal)
    return new, names, values


def _is_view(q: Quantity) -> bool:
    return isinstance(q, Prod) and len(q.factors) <= 1 and not q.summed and q.coef == 1


def _is_short(q: Quantity) -> bool:
    """``‖r‖``, ``x/‖x‖²``: short although they count long."""
    if q.ndim == 0:
        base = q.base if isinstance(q, Pow) else q
        return (
            isinstance(base, Prod)
            and len(base.factors) == 1
            and all(isinstance(f, Pow) for f, _ in base.factors)
        )
    if not isinstance(q, Prod) or q.coef != 1 or q.summed:
        return False
    vectors = [f for f, _ in q.factors if f.ndim]
    numbers = [f for f, _ in q.factors if not f.ndim]
    return len(vectors) == 1 and isinstance(vectors[0], Sym) and all(map(_is_short, numbers))


def _role(q: Quantity, primal: Collection[Quantity]) -> str:
    if isinstance(q, Fun) and q.op == "softmax":
        letter = "P"
    elif q not in primal:
        letter = "D"
    elif isinstance(q, Fun):
        letter = "H"
    elif isinstance(q, Add):
        residual = any(c.negative for c, _ in q.parts) and not any(
            isinstance(part, Num) for _, part in q.parts
        )
        letter = "R" if residual else "Z"
    else:
        letter = "S"
    return letter if q.ndim >= 2 else letter.lower()
