"""Which parts of a formula get a name, and which name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from .algebra import Algebra
from .quantity import Add, Fun, Num, Pow, Prod, Quantity, Sym, ordered

__all__ = ["choose_names"]

_LONG = 5  # what is shorter is written out again rather than named
_DEEP = 24  # nesting beyond which a name is given although there is one use only


def choose_names(
    roots: Sequence[Quantity],
    own: Mapping[Quantity, str],
    primal: Collection[Quantity],
    taken: Collection[str],
    algebra: Algebra,
) -> dict[Quantity, str]:
    """Names of definitions, in the order in which they depend on each other.

    ``own`` are the user's names; what is used more than once gets a name by its role: ``P`` for
    probabilities, ``H`` for activations, ``Z`` for sums, ``D`` for derivatives (numbered from the
    input on); lower case for vectors and numbers.
    """
    order = ordered(roots)
    uses = Counter(child for q in order for child in q.children)
    uses.update(root for root in roots if uses[root])
    algebra.restart(own)
    named: dict[Quantity, str | None] = {}
    depth: dict[Quantity, int] = {}
    for q in order:
        depth[q] = 1 + max((depth[c] for c in q.children), default=0)
        if isinstance(q, Sym | Num) or _is_view(q):
            continue
        if q in own:
            named[q] = own[q]
        elif (uses[q] > 1 and algebra.cost(q) >= _LONG and not _is_norm(q)) or depth[q] > _DEEP:
            named[q] = None
        if q in named:
            depth[q] = 0
            algebra.keep(q, named=True)
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
            if name in blocked:
                name = name.replace("D", "Δ").replace("d", "δ")
            while name in blocked:
                name += "_"
            blocked.add(name)
        result[q] = name
    return result


def _is_view(q: Quantity) -> bool:
    return isinstance(q, Prod) and len(q.factors) <= 1 and not q.summed and q.coef == 1


def _is_norm(q: Quantity) -> bool:
    """``‖r‖``: short although it counts long."""
    if isinstance(q, Pow) and q.base.ndim == 0:
        q = q.base
    return isinstance(q, Prod) and q.ndim == 0 and len(q.factors) == 1 and all(
        isinstance(f, Pow) for f, _ in q.factors
    )  # fmt: skip


def _role(q: Quantity, primal: Collection[Quantity]) -> str:
    if isinstance(q, Fun) and q.op == "softmax":
        letter = "P"
    elif q not in primal:
        letter = "D"
    elif isinstance(q, Fun):
        letter = "H"
    elif isinstance(q, Add):
        letter = "Z"
    else:
        letter = "S"
    return letter if q.ndim >= 2 else letter.lower()
