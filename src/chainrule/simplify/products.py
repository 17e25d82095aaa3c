"""Products of factors that the program has already computed are read from there.

The derivative of a softmax ``y = e / s`` is made of ``e``, ``1/s`` and ``y``; folded back it is
``diag(y) − y yᵀ``, which stores ``y`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..expr.build import map_
from ..expr.draft import opened
from ..expr.nodes import Const, Factor, Map, Node, Scalar, Term
from ..expr.subs import Sub, const_value
from .broadcasts import narrowed

__all__ = ["Known", "fold", "known_products"]


class Known(NamedTuple):
    """``node = coef · Π factors``, elementwise: the first factor has all its labels."""

    node: Node
    coef: Scalar
    labels: tuple[Sub, ...]
    factors: tuple[Factor, ...]


def known_products(nodes: Iterable[Node]) -> dict[Node, list[Known]]:
    """The elementwise products and quotients among nodes of a program, by their first factor."""
    found: dict[Node, list[Known]] = {}
    for node in nodes:
        made = _quotient(node) if isinstance(node, Map) else _product(node)
        if made is not None:
            found.setdefault(made.factors[0][0], []).append(made)
    return found


def _quotient(node: Map) -> Known | None:
    if node.op != "divide" or any(isinstance(a, Const) for a in node.args):
        return None
    above, below = node.args
    labels = tuple(range(node.ndim))
    if node.dtype.kind not in "fc" or above.dtype != node.dtype or below.dtype != node.dtype:
        return None
    base, subs = narrowed(below, labels)
    return Known(node, 1, labels, ((above, labels), (map_("reciprocal", base), subs)))


def _product(node: Node) -> Known | None:
    if not isinstance(node, Term) or not _elementwise(node) or len(node.factors) < 2:
        return None
    whole = [k for k, (_, subs) in enumerate(node.factors) if subs == node.out]
    if not whole or any(n.dtype != node.dtype for n, _ in node.factors):
        return None
    first = whole[0]
    rest = [f for k, f in enumerate(node.factors) if k != first]
    return Known(node, node.coef, node.out, (node.factors[first], *rest))


def _elementwise(node: Term) -> bool:
    """A product in which nothing is summed and each axis is a label of its own."""
    return (
        not node.constraints
        and node.extents == tuple(n for n in node.shape if n != 1)
        and [s for s in node.out if isinstance(s, int)] == list(range(len(node.extents)))
        and all(isinstance(s, int) or const_value(s) == 0 for _, subs in node.factors for s in subs)
    )


def fold(term: Term, known: dict[Node, list[Known]], kept: set[Node]) -> Term | None:
    """The term with known products in place of their factors, None if there are none.

    Products that are not in ``kept`` (those of the program) are taken apart first.
    """
    coef, factors = _apart(term, kept)
    changed = False
    while (step := _fold_one(factors, known)) is not None:
        scale, factors = step
        coef = coef * scale
        changed = True
    draft = opened(term)
    if not changed or draft is None:
        return None
    draft.coef = coef
    draft.factors = factors
    return draft.term()


def _apart(term: Term, kept: set[Node]) -> tuple[Scalar, list[Factor]]:
    coef: Scalar = term.coef
    pending, factors = list(term.factors), []
    while pending:
        node, subs = pending.pop()
        if node in kept:
            factors.append((node, subs))
            continue
        if isinstance(node, Map) and node.op == "square":
            pending += [(node.args[0], subs)] * 2
            continue
        if not isinstance(node, Term) or not _elementwise(node) or not node.factors:
            factors.append(narrowed(node, subs))
            continue
        own = {
            label: sub for label, sub in zip(node.out, subs, strict=True) if isinstance(label, int)
        }
        coef = coef * node.coef
        for inner, read in node.factors:
            pending.append((inner, _under(read, own)))
    return coef, factors


def _under(read: Sequence[Sub], own: dict[int, Sub]) -> tuple[Sub, ...]:
    return tuple(own[s] if isinstance(s, int) else s for s in read)


def _fold_one(
    factors: Sequence[Factor], known: dict[Node, list[Known]]
) -> tuple[Scalar, list[Factor]] | None:
    for node, subs in factors:
        for product in known.get(node, ()):
            own = {
                label: sub
                for label, sub in zip(product.labels, subs, strict=True)
                if isinstance(label, int)
            }
            rest = list(factors)
            for inner, read in product.factors:
                wanted = (inner, _under(read, own))
                if wanted not in rest:
                    break
                rest.remove(wanted)
            else:
                return 1 / product.coef if product.coef != 1 else 1, [*rest, (product.node, subs)]
    return None
