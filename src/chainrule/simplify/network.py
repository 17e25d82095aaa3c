"""Rewrites of Jacobian networks: what is stored never grows.

============ =====================================================================================
compress     factors with equal labels are multiplied; a summed label is contracted where the
             result is no larger than what goes in
merge        terms with equal output subscripts are added where the sum stores no more than they do
windows      terms that write shifted windows of the same axes are added over their union
blocks       terms that write parts of one block for every index are added into the block
distribute   terms that differ in one factor: that factor becomes a sum
absorb       if one term is dense, all become one dense term
============ =====================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np

from ..expr.build import cast, is_zero
from ..expr.draft import Draft, opened, whole
from ..expr.nodes import Factor, Node, Sum, Term
from ..expr.subs import Sub, labels_of
from .blocks import blocked
from .products import fold, known_products
from .ranges import cut, fitted, joined
from .sums import accumulate
from .windows import Window, common_origin, plain

__all__ = ["absorb", "compress", "finalize", "merge", "stored_size"]

# Each term is compared with each other one where there are no more than so many.
_COMPARED = 24


def _labels(subs: Sequence[Sub]) -> set[int]:
    found: set[int] = set()
    for sub in subs:
        found.update(labels_of(sub))
    return found


def _bare(subs: Sequence[Sub]) -> bool:
    return all(isinstance(s, int) for s in subs) and len(set(subs)) == len(subs)


def _combined(
    term: Term, chosen: Sequence[Factor], keep: Sequence[int], dtype: np.dtype[np.generic]
) -> Node:
    """The product of factors over ``keep``, other labels summed."""
    extents = {k: term.extents[k] for k in _labels([s for _, ss in chosen for s in ss])}
    shape = tuple(term.extents[k] for k in keep)
    return Draft(shape, dtype, 1, extents, chosen, keep).finish()


def compress(term: Term, final: bool = False) -> Term:
    """Multiply out and contract where nothing grows.

    Boolean factors stay apart until the end (``final``): a branch that was not taken stays out
    however infinite the factors that join it later are.
    """
    changed = True
    while changed and len(term.factors) > 1:
        changed = False
        step = _same_labels(term, final) or _contract_one(term)
        if step is not None:
            term = step
            changed = True
    return term


def _replace(term: Term, chosen: Sequence[int], node: Node, keep: Sequence[Sub]) -> Term | None:
    rest = [f for i, f in enumerate(term.factors) if i not in chosen]
    summed = _labels([s for i in chosen for s in term.factors[i][1]]) - _labels(keep)
    return Draft(
        term.shape,
        term.dtype,
        term.coef,
        {k: e for k, e in enumerate(term.extents) if k not in summed},
        [*rest, (node, tuple(keep))],
        term.out,
        term.constraints,
    ).term()


def _same_labels(term: Term, final: bool) -> Term | None:
    """Two factors over the same labels (or one over a subset): their product is no larger."""
    for i, (a, sa) in enumerate(term.factors):
        for j, (b, sb) in enumerate(term.factors):
            if i == j or not _labels(sb) <= _labels(sa):
                continue
            masks = (a.dtype.kind == "b") + (b.dtype.kind == "b")
            if (masks == 1 and not final) or (masks == 2 and i > j):
                continue
            if masks == 2 and (a, sa) == (b, sb):
                return _replace(term, (i, j), a, sa)
            order = sorted(_labels(sa))
            size = prod(term.extents[k] for k in order)
            if size > a.size and not (_bare(sa)):
                continue
            dtype = np.result_type(a.dtype, b.dtype)
            node = _combined(term, [(a, sa), (b, sb)], order, dtype)
            return _replace(term, (i, j), node, order)
    return None


def _contract_one(term: Term) -> Term | None:
    outer = _labels(term.out) | _labels(term.constraints)
    for label in range(len(term.extents)):
        if label in outer:
            continue
        chosen = [i for i, (_, ss) in enumerate(term.factors) if label in _labels(ss)]
        factors = [term.factors[i] for i in chosen]
        involved = sorted(_labels([s for _, ss in factors for s in ss]))
        keep = []
        for k in involved:
            elsewhere = k in outer or any(
                k in _labels(ss) for i, (_, ss) in enumerate(term.factors) if i not in chosen
            )
            if elsewhere:
                keep.append(k)
        if len(chosen) == 1 and not keep and len(term.factors) == 1:
            return None
        result = prod(term.extents[k] for k in keep)
        if result <= sum(n.size for n, _ in factors):
            dtype = np.result_type(*(n.dtype for n, _ in factors))
            if dtype.kind == "b":  # masks are counted, not joined, where they are summed
                dtype = term.dtype
            node = _combined(term, factors, keep, dtype)
            return _replace(term, chosen, node, keep)
    return None


def stored_size(terms: Sequence[Term]) -> int:
    """Elements of the distinct factors."""
    distinct = {n for t in terms for n, _ in t.factors}
    return sum(n.size for n in distinct)


def _core(term: Term) -> tuple[Node, list[int]]:
    """The product of a term's factors over the labels of its output, as one node."""
    keep = sorted(_labels(term.out))
    used = _labels([s for _, ss in term.factors for s in ss])
    present = [k for k in keep if k in used]
    extents = dict(enumerate(term.extents))
    shape = tuple(term.extents[k] for k in present)
    if not term.factors:
        labels: list[int] = []
        return Draft((), term.dtype, term.coef, {}, [], labels).finish(), []
    node = Draft(
        shape, term.dtype, term.coef, {k: extents[k] for k in used}, term.factors, present
    ).finish()
    return node, present


def merge(terms: Sequence[Term], final: bool = False) -> list[Term]:
    """Add terms with equal output subscripts where that stores no more."""
    groups: dict[object, list[Term]] = {}
    for term in terms:
        shared = len(_labels(term.out))
        key = (term.out, term.constraints, term.extents[:shared], term.shape)
        groups.setdefault(key, []).append(term)
    result: list[Term] = []
    for group in groups.values():
        while len(group) > 1:
            merged = _merge_pair(group)
            if merged is None:
                break
            group = merged
        result.extend(group)
    return blocked(_windows(result, final), _core) if len(result) > 1 else result


class _Merged(NamedTuple):
    """A term over a window, and the terms that it is the sum of."""

    term: Term
    window: Window
    parts: tuple[Term, ...]


def _windows(terms: list[Term], final: bool) -> list[Term]:
    """Windows of the same axes are added over their union where that stores no more."""
    rest: list[Term] = []
    groups: dict[object, list[_Merged]] = {}
    for term in terms:
        window = plain(term)
        if window is None:
            rest.append(term)
        else:
            # where terms are many, only those of the same labels are compared
            key = tuple(k for _, k in window) if len(terms) > _COMPARED else None
            groups.setdefault(key, []).append(_Merged(term, window, (term,)))
    for group in groups.values():
        while (made := _one_window(group, final)) is not None:
            group = made
        rest.extend(known.term for known in group)
    return rest


def _one_window(group: list[_Merged], final: bool) -> list[_Merged] | None:
    """The group with two terms of it added, None where that would store more."""
    for (i, one), (j, two) in combinations(enumerate(group), 2):
        parts = one.parts + two.parts
        stored = stored_size(parts)
        if not stored:
            continue
        # in the end, windows that stand out by little are worth terms less
        limit = stored + stored // 8 + 1 if final else stored
        made = common_origin((one.term, two.term), (one.window, two.window), limit, _core)
        if made is not None and (window := plain(made)) is not None:
            return [
                _Merged(made, window, parts),
                *(g for k, g in enumerate(group) if k not in (i, j)),
            ]
    return None


def _merge_pair(group: list[Term]) -> list[Term] | None:
    for i, first in enumerate(group):
        for j in range(i + 1, len(group)):
            made = _added(first, group[j])
            if made is not None:
                rest = [t for k, t in enumerate(group) if k not in (i, j)]
                return rest if not made else [*rest, *made]
    return None


def _added(first: Term, second: Term) -> list[Term] | None:
    """The sum of two terms of equal output as one term, [] if it is zero, None if it would grow."""
    if first.factors == second.factors and first.extents == second.extents:
        return _with_coef(first, first.coef + second.coef)
    if first.constraints and any(
        not _labels(first.constraints) <= _labels(t.out) for t in (first, second)
    ):
        return None
    distributed = _distribute(first, second)
    if distributed is not None:
        return [distributed]
    a, la = _core(first)
    b, lb = _core(second)
    labels = sorted({*la, *lb})
    size = prod(first.extents[k] for k in labels)
    if size > max(stored_size([first, second]), 1):
        return None
    dtype = np.result_type(a.dtype, b.dtype)
    shape = tuple(first.extents[k] for k in labels)
    box = dict(zip(labels, shape, strict=True))
    spread = [
        Draft(shape, dtype, 1, dict(box), [(n, tuple(ls))], labels).finish()
        for n, ls in ((a, la), (b, lb))
    ]
    total = accumulate(spread, shape, dtype)
    return _as_terms(first, [(total, tuple(labels))])


def _as_terms(like: Term, factors: Sequence[Factor]) -> list[Term]:
    shared = _labels(like.out) | _labels(like.constraints)
    extents = {k: e for k, e in enumerate(like.extents) if k in shared}
    made = Draft(like.shape, like.dtype, 1, extents, factors, like.out, like.constraints).term()
    return [made] if made is not None else []


def _with_coef(term: Term, coef: complex) -> list[Term]:
    draft = opened(term)
    assert draft is not None
    draft.coef = coef
    made = draft.term()
    return [made] if made is not None else []


def _distribute(first: Term, second: Term) -> Term | None:
    """Terms that differ in one factor under the same subscripts."""
    if (
        len(first.factors) != len(second.factors)
        or len(first.factors) < 2
        or first.extents != second.extents
    ):
        return None
    differ = [
        i for i, (a, b) in enumerate(zip(first.factors, second.factors, strict=True)) if a != b
    ]
    if len(differ) != 1:
        return None
    (i,) = differ
    (a, sa), (b, sb) = first.factors[i], second.factors[i]
    if sa != sb or a.shape != b.shape:
        return None
    dtype = np.result_type(a.dtype, b.dtype)
    if dtype.kind == "b":
        dtype = first.dtype
    parts = ((first.coef, cast(a, dtype)), (second.coef, cast(b, dtype)))
    total = Sum(a.shape, dtype, parts)
    factors = [*first.factors[:i], (total, sa), *first.factors[i + 1 :]]
    return Draft(
        first.shape,
        first.dtype,
        1,
        dict(enumerate(first.extents)),
        factors,
        first.out,
        first.constraints,
    ).term()


def is_dense(term: Term) -> bool:
    """One factor that holds every element of the output."""
    return (
        len(term.factors) == 1
        and not term.constraints
        and term.out == tuple(range(len(term.shape)))
        and term.factors[0][0].size == prod(term.shape)
    )


def absorb(terms: Sequence[Term]) -> list[Term]:
    """One dense term, where one term is dense or all together are larger than the dense value."""
    if len(terms) < 2:
        return list(terms)
    dense = prod(terms[0].shape)
    if any(is_dense(t) for t in terms) or stored_size(terms) > dense:
        total = accumulate(terms, terms[0].shape, terms[0].dtype)
        return [whole(total)] if not is_zero(total) else []
    return list(terms)


def finalize(terms: Sequence[Term], program: Iterable[Node] = ()) -> list[Term]:
    """What is stored: masks multiplied in, ranges tight, merged, dense where that is smaller.

    Products that ``program``, the nodes that are differentiated, computes anyway are read there.
    """
    folded = _folded([compress(t, final=True) for t in terms], program)
    tight = [fitted(t) for t in joined(folded)]
    return cut(absorb(merge([t for t in tight if t is not None], final=True)))


def _folded(terms: list[Term], program: Iterable[Node]) -> list[Term]:
    nodes = list(program)
    known = known_products(nodes)
    if not known:
        return terms
    kept = set(nodes)
    made = []
    for term in terms:
        new = fold(term, known, kept)
        made.append(term if new is None else compress(new, final=True))
    return made if stored_size(made) < stored_size(terms) else terms
