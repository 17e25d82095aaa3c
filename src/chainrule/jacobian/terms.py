"""What all operations on Jacobians share: terms, the nodes that they store, new ones from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..expr.build import is_zero
from ..expr.draft import Draft, opened, whole
from ..expr.nodes import Factor, Leaf, Node, Scalar, Term
from ..expr.subs import Sub, bounds, labels_of, looks_of
from ..expr.walk import substitute_nodes
from ..simplify.network import finalize, stored_size
from ..simplify.sums import accumulate
from .values import factor_values

if TYPE_CHECKING:
    from .object import Jacobian, Layout

__all__ = [
    "both_bound",
    "bound",
    "differing",
    "factor_nodes",
    "over",
    "rebuilt",
    "scaled",
    "with_out",
]


def differing(first: Sequence[int], second: Sequence[int]) -> str:
    """Where two shapes part, for messages: ``axis 1: 3 against 4``."""
    if len(first) != len(second):
        return f"{len(first)} axes instead of {len(second)}"
    for axis, (a, b) in enumerate(zip(first, second, strict=True)):
        if a != b:
            return f"axis {axis} differs: {a} against {b}"
    return "layouts differ"


def factor_nodes(terms: Sequence[Term]) -> list[Node]:
    """The distinct nodes that a network stores: factors and tables."""
    found: dict[Node, None] = {}
    for term in terms:
        found.update(dict.fromkeys(n for n, _ in term.factors))
        for subs in (*(s for _, s in term.factors), term.out, term.constraints):
            for sub in subs:
                found.update(dict.fromkeys(look.table for look in looks_of(sub)))
    return list(found)


def over(terms: Sequence[Term], new: Mapping[Node, Node]) -> list[Term]:
    """Terms over replaced factors (of equal shapes)."""
    return [t for t in substitute_nodes(list(terms), new) if isinstance(t, Term)]


def bound(
    terms: Sequence[Term], values: Sequence[Any], offset: int = 0
) -> tuple[list[Term], dict[Node, Any]]:
    """The terms with leaves numbered from ``offset``, and the values of the leaves."""
    found = [n for n in factor_nodes(terms) if isinstance(n, Leaf)]
    if not offset:
        return list(terms), {n: values[n.slot] for n in found}
    moved: dict[Node, Node] = {n: Leaf(n.slot + offset, n.shape, n.dtype) for n in found}
    return over(terms, moved), {moved[n]: values[n.slot] for n in found}


def both_bound(left: Jacobian, right: Jacobian) -> tuple[list[Term], list[Term], dict[Node, Any]]:
    """The terms of both over leaves of their own, one leaf for an array that both hold."""
    mine, bindings = left._bound()
    theirs, more = right._bound(len(left._values) + 1)
    held = {(id(value), leaf.shape, leaf.dtype): leaf for leaf, value in bindings.items()}
    shared: dict[Node, Node] = {}
    for leaf, value in more.items():
        known = held.get((id(value), leaf.shape, leaf.dtype))
        if known is not None:
            shared[leaf] = known
    if shared:
        theirs = over(theirs, shared)
        more = {leaf: value for leaf, value in more.items() if leaf not in shared}
    return mine, theirs, {**bindings, **more}


def scaled(term: Term, number: Scalar, dtype: np.dtype[Any] | None = None) -> Term:
    """The term times a (nonzero) number."""
    draft = opened(term)
    assert draft is not None
    draft.coef = term.coef * number
    draft.dtype = term.dtype if dtype is None else dtype
    node = draft.term()
    assert node is not None
    return node


def with_out(term: Term, out: Sequence[Sub], shape: tuple[int, ...]) -> Term:
    """The same loop nest, written elsewhere."""
    draft = opened(term)
    assert draft is not None
    draft.out = list(out)
    draft.shape = shape
    node = draft.term()
    assert node is not None
    return node


def _narrowed(term: Term) -> Term:
    """A part of a Jacobian stores the parts of factors that it reads."""
    extents = dict(enumerate(term.extents))
    factors: list[Factor] = []
    for node, subs in term.factors:
        labels = tuple(sorted({k for s in subs for k in labels_of(s)}))
        shape = tuple(extents[k] for k in labels)
        ends = [bounds(s, extents) for s in subs]
        inside = all(low >= 0 and high < e for (low, high), e in zip(ends, node.shape, strict=True))
        if inside and prod(shape) < node.size:
            used = {k: extents[k] for k in labels}
            part = Draft(shape, node.dtype, 1, used, [(node, subs)], labels).finish()
            factors.append((part, labels))
        else:
            factors.append((node, subs))
    if factors == list(term.factors):
        return term
    made = Draft(
        term.shape, term.dtype, term.coef, extents, factors, term.out, term.constraints
    ).term()
    assert made is not None
    return made


def rebuilt(
    kind: type[Jacobian],
    terms: Sequence[Term],
    bindings: Mapping[Node, Any],
    out_shape: tuple[int, ...],
    in_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    layout: Layout,
) -> Jacobian:
    """The Jacobian of new terms over bound leaves; factors that these share are computed once."""

    def resolve(nodes: list[Node]) -> list[Any]:
        return factor_values(nodes, bindings)

    made = finalize([_narrowed(term) for term in terms])
    shape = out_shape + in_shape
    if made and stored_size(made) > prod(shape):  # a product of products: its value is smaller
        total = accumulate(made, shape, dtype)
        made = [] if is_zero(total) else [whole(total)]
    return kind.build(made, resolve, out_shape, in_shape, dtype, layout, lazy=False)
