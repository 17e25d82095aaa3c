"""Loop nests run over no more points than their constraints leave.

=========== ======================================================================================
shrink      a constraint cuts the range of each of its labels, given those of the others
band        ``0 ≤ a − b < w`` in a box of n × n: a loop over n × w, by a label for the difference
difference  two terms that differ in one bound, with opposite signs: one term between the bounds
union       two terms on both sides of one bound: one term without it
cut         a factor of which no more than half is read: that part alone
=========== ======================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..expr.draft import Draft, opened
from ..expr.nodes import Factor, Leaf, Node, Term
from ..expr.subs import Sub, affine, bounds, labels_of, parts_of, scale, subtract

__all__ = ["cut", "fitted", "joined"]


def fitted(term: Term) -> Term | None:
    """The term over a box of half the size or less where its constraints allow one.

    None where they leave no points.
    """
    if not term.constraints:
        return term
    draft = opened(term)
    assert draft is not None
    while not draft.zero and (_shrink(draft) or _band(draft)):
        draft.tighten()
    if draft.zero:
        return None
    return draft.term() if 2 * prod(draft.extents.values()) <= prod(term.extents) else term


def _shrink(draft: Draft) -> bool:
    for sub in draft.constraints:
        _, high = bounds(sub, draft.extents)
        for coef, label in parts_of(sub)[1]:
            if not isinstance(label, int):
                continue
            extent = draft.extents[label]
            # coef·label ≥ least, where the other parts are as large as they get
            most = high - (coef * (extent - 1) if coef > 0 else 0)
            first = max(0, -(most // coef)) if coef > 0 else 0
            last = extent - 1 if coef > 0 else min(extent - 1, most // -coef)
            if last < first:
                draft.zero = True
                return True
            if last - first + 1 < extent:
                draft.extents[label] = last - first + 1
                draft.replace({label: affine(first, [(1, label)])})
                return True
    return False


def _band(draft: Draft) -> bool:
    least = {parts_of(sub)[1]: parts_of(sub)[0] for sub in draft.constraints}
    for sub in draft.constraints:
        constant, parts = parts_of(sub)
        opposite = least.get(parts_of(scale(sub, -1))[1])
        if opposite is None or len(parts) < 2:
            continue
        width = constant + opposite + 1
        if width <= 0:
            draft.zero = True
            return True
        nested = {
            label
            for _, key in parts
            if not isinstance(key, int)
            for label in labels_of(affine(0, [(1, key)]))
        }
        candidates = [
            (draft.extents[key], key, coef)
            for coef, key in parts
            if isinstance(key, int) and abs(coef) == 1 and key not in nested
        ]
        if not candidates or max(candidates)[0] <= width:
            continue
        _, label, coef = max(candidates)
        offset = max(draft.extents) + 1
        rest = [(-coef * k, key) for k, key in parts if key != label]
        draft.extents[offset] = width
        # sub = offset, solved for the label
        value = affine(-coef * constant, [(coef, offset), *rest])
        draft.solve([(label, value)])
        return True
    return False


def joined(terms: Sequence[Term]) -> list[Term]:
    """Pairs of terms that differ in one bound, as one term."""
    result: list[Term] = []
    groups: dict[object, list[Term]] = {}
    for term in terms:
        if term.constraints:
            key = (term.factors, term.out, term.extents, term.shape, len(term.constraints))
            groups.setdefault(key, []).append(term)
        else:
            result.append(term)
    for group in groups.values():
        while group:
            first = group.pop()
            for i, other in enumerate(group):
                made = _pair(first, other)
                if made is not None:
                    del group[i]
                    # what has lost a bound belongs to another group
                    (group if len(made.constraints) == len(first.constraints) else result).append(
                        made
                    )
                    break
            else:
                result.append(first)
    return result


def _pair(first: Term, second: Term) -> Term | None:
    common = [s for s in first.constraints if s in second.constraints]
    one = [s for s in first.constraints if s not in common]
    two = [s for s in second.constraints if s not in common]
    if len(one) != 1 or len(two) != 1:
        return None
    (a,), (b,) = one, two
    constant, parts = parts_of(subtract(a, b))
    if not parts and first.coef == -second.coef:
        # [a ≥ 0] − [b ≥ 0] with a = b + constant: between the bounds
        wide, narrow = (first, second) if constant > 0 else (second, first)
        outer, inner = (a, b) if constant > 0 else (b, a)
        assert narrow is not wide
        return _bounded(wide, [*common, outer, scale(inner, -1, -1)])
    total, parts = parts_of(subtract(a, scale(b, -1)))
    if not parts and total == -1 and first.coef == second.coef:
        return _bounded(first, common)
    return None


def _bounded(like: Term, constraints: Sequence[Sub]) -> Term | None:
    draft = opened(like)
    assert draft is not None
    draft.constraints = list(constraints)
    return draft.term()


def cut(terms: Sequence[Term]) -> list[Term]:
    """Terms that hold no more of their factors than about what they read.

    Arrays that the program is given are referred to, whole or not: nothing is copied.
    """
    read: dict[Node, int] = {}
    for term in terms:
        for node, subs in term.factors:
            read[node] = read.get(node, 0) + prod(term.extents[k] for k in _over(subs))
    large = {
        node
        for node, points in read.items()
        if 2 * points <= node.size and not isinstance(node, Leaf)
    }
    return [_cut(term, large) if large else term for term in terms]


def _over(subs: Sequence[Sub]) -> list[int]:
    return sorted({label for sub in subs for label in labels_of(sub)})


def _cut(term: Term, large: set[Node]) -> Term:
    draft = opened(term)
    assert draft is not None
    draft.factors = [
        _part(term, node, subs) if node in large else (node, subs) for node, subs in term.factors
    ]
    made = draft.term()
    assert made is not None
    return made


def _part(term: Term, node: Node, subs: tuple[Sub, ...]) -> Factor:
    """What the term reads of a factor, over the labels under which it does."""
    labels = _over(subs)
    shape = tuple(term.extents[k] for k in labels)
    part = Draft(
        shape, node.dtype, 1, dict(zip(labels, shape, strict=True)), [(node, subs)], labels
    )
    for sub, extent in zip(subs, node.shape, strict=True):
        part.within(sub, extent)
    return part.finish(), tuple(labels)
