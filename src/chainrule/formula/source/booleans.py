"""Which quantities hold True and False, and which hold whole numbers for indexing."""

from __future__ import annotations

from ...expr.extents import ONE
from ..quantity import Fun, Prod, Quantity, Sym

__all__ = ["INDICES", "TESTS", "is_boolean"]

_TEST_NAMES = (
    "equal not_equal less less_equal greater greater_equal logical_not logical_and logical_or "
    "logical_xor isnan isinf isfinite signbit any all"
)
TESTS = frozenset(_TEST_NAMES.split())
INDICES = frozenset({"argmax", "argmin", "argsort"})


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
    return isinstance(q, Fun) and q.op in TESTS
