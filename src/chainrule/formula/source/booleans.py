"""Which quantities hold True and False, and which hold whole numbers for indexing."""

from __future__ import annotations

from ...expr.extents import ONE
from ..functions import TESTS
from ..quantity import Form, Fun, Prod, Quantity, Sym, Wrap

__all__ = ["INDICES", "is_boolean"]

INDICES = frozenset({"argmax", "argmin", "argsort", "nonzero"})


def is_boolean(q: Quantity, booleans: frozenset[str] = frozenset()) -> bool:
    """Whether the values are True and False: a test, or a view of one."""
    while isinstance(q, Prod):
        if len(q.factors) != 1 or q.coef != ONE or q.summed or q.constraints:
            return False
        if any(not isinstance(s, int) and _adds(s) for s in q.out):
            return False
        q = q.factors[0][0]
    if isinstance(q, Sym):
        return q.name in booleans
    if isinstance(q, Fun) and q.op == "where":
        return all(is_boolean(a, booleans) for a in q.args[1:])
    return isinstance(q, Fun) and q.op in TESTS


def _adds(index: Form) -> bool:
    """Whether values are added at an index, and not just laid out along it."""
    return any(abs(coef) != ONE or isinstance(key, Wrap) for coef, key in index.parts)
