"""Rewrites inside one product of factors.

========== =========================================================== ==========================
name        pattern                                                     result
========== =========================================================== ==========================
views       a factor that only rearranges, scales or is constant        its own factor, relabelled
cancel      s · (1/s)                                                   1
normalize   Σ x · (1/Σ x)                                               1 (`totals`)
logistic    exp z · 1/(1 + exp z)                                       expit z
operator    an operator factor contracted with a tensor                 the operator applied
========== =========================================================== ==========================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..expr.build import is_zero, map_
from ..expr.draft import Draft, tidy_coef
from ..expr.nodes import Call, Const, Leaf, Map, Node, Sum, Term
from .totals import normalize

__all__ = [
    "APPLY",
    "Apply",
    "Derive",
    "cancel",
    "copy",
    "derived",
    "open_views",
    "opens",
    "partner",
]

# operator -> function that applies it in place within a product, if it can: simplify.operators
Derive: TypeAlias = Callable[[Draft], Node]
Apply: TypeAlias = Callable[[Draft, int, Derive], bool]
APPLY: dict[str, Apply] = {}


def opens(node: Node) -> bool:
    """Whether a derivative factor is read through: at most one factor, nothing summed."""
    if not isinstance(node, Term) or len(node.factors) > 1:
        return False
    seen: set[int] = set()
    for sub in node.out:
        if isinstance(sub, int):
            seen.add(sub)
        else:
            for _, key in sub.parts:
                if isinstance(key, int):
                    seen.add(key)
    return len(seen) == len(node.extents)


def _one_plus(node: Node) -> Node | None:
    """``s`` where node is ``1 + s``."""
    if isinstance(node, Sum) and len(node.parts) == 2:
        (c1, a), (c2, b) = node.parts
        for c, one, d, other in ((c1, a, c2, b), (c2, b, c1, a)):
            if c == 1 and d == 1 and isinstance(one, Const) and one.value == 1:
                return other
    return None


def partner(node: Node) -> tuple[Node, Node | None] | None:
    """The factor that cancels against ``node`` and what their product becomes (None: 1)."""
    if isinstance(node, Map) and node.op == "reciprocal":
        below = node.args[0]
        inner = _one_plus(below)
        if isinstance(inner, Map) and inner.op == "exp":
            return inner, map_("expit", inner.args[0])
        return below, None
    return None


def cancel(draft: Draft) -> bool:
    """Drop (or join) one pair of factors whose product is known; False if there is none."""
    for i, (node, subs) in enumerate(draft.factors):
        found = partner(node)
        if found is None:
            continue
        for j, (other, other_subs) in enumerate(draft.factors):
            if j != i and other is found[0] and other_subs == subs:
                keep = [f for k, f in enumerate(draft.factors) if k not in (i, j)]
                if found[1] is not None:
                    keep.append((found[1], subs))
                draft.factors = keep
                return True
    return False


def copy(draft: Draft) -> Draft:
    """An independent copy."""
    return Draft(
        draft.shape,
        draft.dtype,
        draft.coef,
        dict(draft.extents),
        draft.factors,
        draft.out,
        draft.constraints,
    )


def open_views(draft: Draft) -> Draft:
    position = 0
    while position < len(draft.factors) and not draft.zero:
        node = draft.factors[position][0]
        if opens(node) and node.dtype.kind != "b":
            if draft.rename(position):
                continue
            trial = copy(draft)
            trial.inline(position)
            if trial.zero or len(trial.constraints) <= len(draft.constraints) + len(
                _constraints(node)
            ):
                draft = trial
                continue
            tight = copy(trial)
            tight.tighten()
            if tight.zero or not tight.constraints:
                draft = tight
                continue
        position += 1
    return draft


def _constraints(node: Node) -> Sequence[Any]:
    return node.constraints if isinstance(node, Term) else ()


def _pointwise(draft: Draft) -> Node | None:
    """What :func:`derived` gives for an elementwise product to which no rewrite applies.

    Most terms of a sweep are: this is their short way.  None for all others.
    """
    shape, labels = draft.shape, tuple(draft.out)
    if (
        draft.constraints
        or draft.zero
        or labels != tuple(range(len(shape)))
        or tuple(draft.extents) != labels
        or tuple(draft.extents.values()) != shape
        or 0 in shape
        or 1 in shape
        or draft.dtype.kind == "b"
    ):
        return None
    coef = draft.coef
    factors = []
    for node, subs in draft.factors:
        if subs != labels:
            return None
        while type(node) is Term and len(node.factors) < 2 and node.dtype.kind != "b":
            if node.out != labels or node.extents != shape or node.constraints:
                return None  # a view proper, or a sum
            if not node.factors or node.factors[0][1] != labels:
                return None
            coef = coef * node.coef
            node = node.factors[0][0]
        if not isinstance(node, Leaf | Map | Term | Sum) or is_zero(node):
            return None
        if type(node) is Map and node.op == "reciprocal":
            return None
        factors.append((node, labels))
    coef = tidy_coef(coef)
    if not factors or coef == 0 or (coef == 1 and len(factors) == 1):
        return None
    return Term(shape, draft.dtype, coef, shape, tuple(factors), labels)


def derived(draft: Draft) -> Node:
    """The node of a derivative term, after the rewrites of this module."""
    plain = _pointwise(draft)
    if plain is not None:
        return plain
    draft = open_views(draft)
    if draft.zero:
        return draft.finish()
    while len(draft.factors) > 1 and (cancel(draft) or normalize(draft)):
        pass
    for position, (node, _) in enumerate(draft.factors):
        if not isinstance(node, Call) or node.op not in APPLY:
            continue
        if APPLY[node.op](draft, position, derived):
            return derived(draft)
    return draft.finish()
