"""Which parts of a formula get a name, and which name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from .adjoints import ERROR, adjoint_names
from .grouping import counted
from .measure import Measure
from .quantity import Add, Fun, Num, Pow, Prod, Quantity, Sym, ordered

__all__ = ["LONG", "choose_names", "is_short", "is_worth", "matrix_products"]

LONG = 5  # what is shorter is written out again rather than named
_DEEP = 24  # nesting beyond which a name is given although there is one use only


def choose_names(
    roots: Sequence[Quantity],
    own: Mapping[Quantity, str],
    primal: Collection[Quantity],
    taken: Collection[str],
    minor: Collection[str] = (),
    grouped: Collection[Quantity] = (),
    adjoints: Mapping[Quantity, Quantity] | None = None,
    chains: bool = True,
) -> dict[Quantity, str]:
    """Names of definitions, in the order in which they depend on each other.

    ``own`` are the user's names, of which ``minor`` ones (those of helper functions) are given
    only to what is used more than once; ``grouped`` are products that were made to be named; what
    is used more than once gets a name by its role: ``P`` for probabilities, ``H`` for activations,
    ``Z`` for sums, ``C`` for what is common to derivatives; lower case for vectors and numbers.
    ``adjoints`` say of what quantity a derivative is the adjoint (see :mod:`.adjoints`).  Without
    ``chains`` matrix products within matrix products get no name: Jacobians of networks are read
    from their factors.
    """
    order = ordered(roots)
    uses = counted(roots)
    own = {q: name for q, name in own.items() if name not in minor or uses[q] > 1}
    measure = Measure()
    for q in (*own, *grouped):
        measure.name(q)
    pointwise = matrix_products(order)
    inner: set[Quantity] = set() if chains else _only_chained(order)
    named: dict[Quantity, str | None] = {}
    depth: dict[Quantity, int] = {}
    for q in order:
        depth[q] = 1 + max((depth[c] for c in q.children), default=0)
        if isinstance(q, Sym | Num) or _is_view(q):
            continue
        if q in own:
            named[q] = own[q]
        elif depth[q] > _DEEP or (
            q not in inner and (q in grouped or is_worth(q, uses[q], measure, pointwise))
        ):
            named[q] = None
        if q in named:
            depth[q] = 0
            measure.name(q)
    rank = {q: i for i, q in enumerate(own)}
    values = sorted((q for q in named if q in primal), key=lambda q: rank.get(q, len(rank)))
    named = {q: named[q] for q in (*(q for q in ordered(values) if q in named), *named)}
    return _called(named, primal, taken, adjoints or {})


def _called(
    named: Mapping[Quantity, str | None],
    primal: Collection[Quantity],
    taken: Collection[str],
    adjoints: Mapping[Quantity, Quantity],
) -> dict[Quantity, str]:
    """Names of those that have none yet, by their roles."""
    roles = {q: _role(q, primal, adjoints) for q, name in named.items() if name is None}
    blocked = set(taken) | {name for name in named.values() if name is not None}
    result: dict[Quantity, str] = {}
    counts: Counter[str] = Counter()
    totals = Counter(roles.values())

    def numbered(role: str, forward: bool) -> str:
        counts[role] += 1
        total = totals[role]
        number = counts[role] if forward else total + 1 - counts[role]
        name = role if total == 1 else f"{role}{number}"
        number = 0 if name == role else number
        while name in blocked:
            number += 1
            name = f"{role}{number}"
        return name

    for q, name in named.items():
        if q in primal:
            result[q] = name or numbered(roles[q], True)
            blocked.add(result[q])
    errors = {q: adjoints[q] for q, role in roles.items() if role == ERROR}
    called = adjoint_names(errors, result, blocked)
    totals[ERROR] -= len(called)
    for q, name in named.items():
        if q not in result:
            result[q] = name or called.get(q) or numbered(roles[q], False)
            blocked.add(result[q])
    return result


def is_worth(q: Quantity, uses: int, measure: Measure, pointwise: Collection[Quantity]) -> bool:
    """Whether a name for a quantity saves more than it costs."""
    if _is_eigen(q):
        return True  # the w, V and F of every textbook
    if uses < 2 or is_short(q, measure) or (isinstance(q, Pow) and q.exponent < 0):
        return False
    if isinstance(q, Fun):
        return q.op in ("softmax", "solve") or measure.cost(q) >= LONG - 1
    if q.ndim > 2 and isinstance(q, Prod) and q.summed and len(q.factors) > 1:
        return True  # a batch of matrix products has no short notation
    return measure.cost(q) >= (LONG - 2 if q in pointwise else LONG)


def _is_eigen(q: Quantity) -> bool:
    """Whether a quantity holds eigenvalues with their vectors, or reciprocals of their gaps."""
    return isinstance(q, Fun) and q.op in ("gaps", "eigh")


def matrix_products(order: Sequence[Quantity]) -> set[Quantity]:
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


def _only_chained(order: Sequence[Quantity]) -> set[Quantity]:
    """Products of two axes that are factors of products alone, by labels of their own."""
    other: set[Quantity] = set()
    for q in order:
        whole = isinstance(q, Prod) and not q.constraints
        other.update(c for c in q.children if not whole)
        if isinstance(q, Prod):
            other.update(f for f, subs in q.factors if len(set(subs)) < len(subs))
    found: set[Quantity] = {q for q in order if isinstance(q, Prod) and q.summed and q.ndim == 2}
    return found - other


def _is_view(q: Quantity) -> bool:
    return isinstance(q, Prod) and len(q.factors) <= 1 and not q.summed and q.coef == 1


def is_short(q: Quantity, measure: Measure) -> bool:
    """``‖r‖``, ``x/‖x‖²``, ``1 − h²``: short although they count long."""
    if isinstance(q, Add):
        rest = [part for _, part in q.parts if not isinstance(part, Num)]
        bases = [part.base if isinstance(part, Pow) else part for part in rest]
        return len(rest) == 1 and (isinstance(bases[0], Sym) or bases[0] in measure.named)
    if q.ndim == 0:
        factors = [f for f, _ in q.factors] if isinstance(q, Prod) and not q.summed else [q]
        return len(factors) <= 2 and all(map(_is_norm, factors))
    if not isinstance(q, Prod) or q.coef != 1 or q.summed:
        return False
    vectors = [f for f, _ in q.factors if f.ndim]
    numbers = [f for f, _ in q.factors if not f.ndim]
    simple = len(vectors) == 1 and (isinstance(vectors[0], Sym) or vectors[0] in measure.named)
    return simple and all(is_short(f, measure) for f in numbers)


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


def _role(
    q: Quantity,
    primal: Collection[Quantity],
    adjoints: Mapping[Quantity, Quantity],
) -> str:
    if isinstance(q, Fun) and q.op in ("softmax", "expit"):
        letter = "P"
    elif isinstance(q, Fun) and _is_eigen(q):
        letter = "F" if q.op == "gaps" else ("W", "V")[q.params[-1]]
    elif q not in primal:
        if q in adjoints:
            return ERROR
        letter = "C"
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
