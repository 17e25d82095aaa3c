"""What a sum divides is summed again: ``Σ x · (1/Σ x) = 1``.

The derivative of ``log Σ exp`` by what is subtracted inside (a maximum, as a rule) consists of such
sums: it is 0 exactly.
"""

from __future__ import annotations

from ..expr.draft import Draft, opened
from ..expr.nodes import Map, Node, Term
from ..expr.subs import Sub, labels_of

__all__ = ["normalize", "normalized", "open_products"]

# Products within products are looked through this often.
_DEPTH = 4


def normalize(draft: Draft) -> bool:
    """Drop one pair ``x``, ``1/Σ x`` whose product is summed as there; False if there is none."""
    for i, (node, subs) in enumerate(draft.factors):
        total = _total_below(node)
        if total is None:
            continue
        ((inner, read),) = total.factors
        for j, (other, other_subs) in enumerate(draft.factors):
            if other is not inner:
                continue
            own = {k: s for k, s in zip(read, other_subs, strict=True) if isinstance(k, int)}
            rest = [f for k, f in enumerate(draft.factors) if k not in (i, j)]
            kept = tuple(own[s] if isinstance(s, int) else s for s in total.out)
            gone = [s for k, s in own.items() if k not in total.out]
            used = [*draft.out, *draft.constraints, *kept, *(s for _, ss in rest for s in ss)]
            if subs == kept and _whole(draft, total, gone, used):
                draft.factors = rest
                draft.extents = {k: n for k, n in draft.extents.items() if k not in gone}
                if total.coef != 1:
                    draft.coef = draft.coef / total.coef
                return True
    return False


def _whole(draft: Draft, total: Term, gone: list[Sub], used: list[Sub]) -> bool:
    """Whether labels ``gone`` run over all that ``total`` sums, and nothing else holds them."""
    extents = [n for k, n in enumerate(total.extents) if k not in total.out]
    if len(set(gone)) != len(gone) or any(not isinstance(s, int) for s in gone):
        return False
    if {label for sub in used for label in labels_of(sub)} & set(gone):
        return False
    return sorted(draft.extents[s] for s in gone if isinstance(s, int)) == sorted(extents)


def _total_below(node: Node) -> Term | None:
    """The ``Σ x`` over some axes of one factor whose reciprocal the node is."""
    if not isinstance(node, Map) or node.op != "reciprocal":
        return None
    total = _without_units(node.args[0])
    if not isinstance(total, Term) or len(total.factors) != 1 or total.constraints:
        return None
    ((inner, read),) = total.factors
    if inner.dtype != total.dtype or inner.shape != tuple(
        total.extents[s] if isinstance(s, int) else 1 for s in read
    ):
        return None
    labels = [s for s in read if isinstance(s, int)]
    kept = [s for s in total.out if isinstance(s, int)]
    constant = all(isinstance(s, int) or not s.parts for s in total.out)
    apart = len(set(labels)) == len(labels) and len(set(kept)) == len(kept) < len(labels)
    return total if constant and apart and set(kept) < set(labels) else None


def _without_units(node: Node) -> Node:
    """A sum that keeps axes of extent 1 read as one term."""
    while (
        isinstance(node, Term)
        and len(node.factors) == 1
        and len(node.extents) == sum(isinstance(s, int) for s in node.out)
    ):
        ((inner, _),) = node.factors
        draft = opened(node)
        if not isinstance(inner, Term) or draft is None or not draft.rename(0):
            break
        made = draft.term()
        if made is None or made is node:
            break
        node = made
    return node


def normalized(node: Node) -> bool:
    """Whether a product, or products in it, hold both ``x`` and ``1/Σ x``."""
    held: set[Node] = set()
    pending = [(node, _DEPTH)]
    while pending:
        one, depth = pending.pop()
        held.add(one)
        if depth and _is_product(one):
            assert isinstance(one, Term)
            pending.extend((n, depth - 1) for n, _ in one.factors)
    totals = (_total_below(n) for n in held)
    return any(t is not None and t.factors[0][0] in held for t in totals)


def open_products(draft: Draft) -> None:
    """Read the draft through factors that are products themselves."""
    for _ in range(_DEPTH):
        found = [k for k, (node, _) in enumerate(draft.factors) if _is_product(node)]
        for position in reversed(found):
            draft.inline(position)
        if not found:
            return


def _is_product(node: Node) -> bool:
    """A term in which nothing is summed."""
    if not isinstance(node, Term) or node.constraints:
        return False
    kept = {s for s in node.out if isinstance(s, int)}
    return len(kept) == len(node.extents) and all(
        isinstance(s, int) or not s.parts for s in node.out
    )
