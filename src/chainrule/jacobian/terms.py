"""What all operations on Jacobians share: terms, the nodes that they store, new ones from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..expr.draft import opened
from ..expr.nodes import Leaf, Node, Scalar, Term
from ..expr.subs import Sub, looks_of
from ..expr.walk import substitute_nodes
from ..simplify.network import finalize
from .values import factor_values

if TYPE_CHECKING:
    from .object import Jacobian, Layout

__all__ = ["bound", "factor_nodes", "over", "rebuilt", "scaled", "with_out"]


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

    return kind.build(
        finalize(list(terms)), resolve, out_shape, in_shape, dtype, layout, lazy=False
    )
