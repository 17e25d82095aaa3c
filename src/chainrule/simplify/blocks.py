"""Terms that write parts of one block for every index, added into that block.

Projecting points by cameras gives, for every observation a, entries in columns ``11t[a]``,
``11t[a]+1``, … from as many terms.  They all lie in the block of 2 rows and 11 columns of the
observation, ``abc->(2a+b)|(c+11t[a])``: that one term stores less than they do together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from ..expr.draft import Draft
from ..expr.nodes import Node, Term
from ..expr.subs import (
    Look,
    Sub,
    affine,
    bounds,
    const_value,
    labels_of,
    parts_of,
    substitute,
    subtract,
)
from .sums import accumulate

__all__ = ["blocked"]

Core: TypeAlias = Callable[[Term], tuple[Node, list[int]]]
# where a term lies in a block: for each label of the block an expression in the term's labels
Place: TypeAlias = dict[int, Sub]
_Member: TypeAlias = tuple[Term, Place]

_MOST = 64


def blocked(terms: Sequence[Term], core: Core) -> list[Term]:
    """Terms that lie in one another's blocks as one, where that stores no more.

    ``core(term)`` gives the product of a term's factors and the labels it is over.
    """
    if not 1 < len(terms) <= _MOST:
        return list(terms)
    groups: dict[object, list[Term]] = {}
    for term in terms:
        groups.setdefault(_kind(term), []).append(term)
    result = []
    for kind, group in groups.items():
        result += group if kind is None or len(group) < 2 else _grouped(group, core)
    return result


def _kind(term: Term) -> object:
    """What the terms of a block have in common: the tables that each axis looks up."""
    if term.constraints:
        return None
    kind: list[object] = []
    for sub in term.out:
        for coef, key in parts_of(sub)[1]:
            if isinstance(key, Look):
                kind.append((len(kind), coef, key.table, len(key.subs)))
            elif not isinstance(key, int):
                return None
        kind.append(None)
    return tuple(kind)


def _grouped(terms: Sequence[Term], core: Core) -> list[Term]:
    pending = sorted(terms, key=lambda t: -_box(t))
    result = []
    while len(pending) > 1:
        block = pending.pop(0)
        own: _Member = (block, {k: k for k in _outer(block)})
        places = [(term, place) for term in pending if (place := _place(block, term)) is not None]
        members = _fitting(own, places)
        if len(members) < (2 if _stored(block) else 3):
            result.append(block)
            continue
        taken = [term for term, _ in members]
        pending = [term for term in pending if term not in taken]
        result.append(_joined(members, core))
    return result + pending


def _outer(term: Term) -> list[int]:
    return sorted({k for sub in term.out for k in labels_of(sub)})


def _box(term: Term) -> int:
    return prod(term.extents[k] for k in _outer(term))


def _place(block: Term, term: Term) -> Place | None:
    """Where a term lies in a block; None if it does not."""
    extents = dict(enumerate(term.extents))
    found: Place = {}
    pending = list(zip(block.out, term.out, strict=True))
    while pending:
        later = []
        for mine, given in pending:
            constant, parts = parts_of(mine)
            digits = [(c, k) for c, k in parts if isinstance(k, int) and k not in found]
            rest = affine(constant, [p for p in parts if p not in digits])
            if not labels_of(rest).keys() <= found.keys():
                later.append((mine, given))
                continue
            remainder = subtract(given, substitute(rest, found, extents))
            solved = _digits(digits, remainder)
            if solved is None or any(
                not isinstance(key, int) for sub in solved.values() for _, key in parts_of(sub)[1]
            ):
                return None
            if len(digits) > 1 and any(
                bounds(sub, extents)[0] < 0 or bounds(sub, extents)[1] >= block.extents[k]
                for k, sub in solved.items()
            ):
                return None
            found |= solved
        if len(later) == len(pending):
            return None
        pending = later
    return found


def _digits(digits: Sequence[tuple[int, int]], value: Sub) -> Place | None:
    """``Σ coef·label = value`` solved for the labels, digits of a mixed radix."""
    if not digits:
        return {} if const_value(value) == 0 else None
    constant, parts = parts_of(value)
    found: Place = {}
    *higher, (unit, last) = sorted(digits, reverse=True)
    if unit <= 0:
        return None
    for coef, label in higher:
        quotient, constant = divmod(constant, coef)
        found[label] = affine(quotient, [(c // coef, k) for c, k in parts if c % coef == 0])
        parts = tuple(p for p in parts if p[0] % coef)
    if constant % unit or any(c % unit for c, _ in parts):
        return None
    found[last] = affine(constant // unit, [(c // unit, k) for c, k in parts])
    return found


def _stored(block: Term) -> bool:
    """Whether a term is one factor that holds each of its elements."""
    return len(block.factors) == 1 and block.factors[0][0].size == _box(block)


def _hull(members: Sequence[_Member]) -> tuple[dict[int, int], dict[int, int]]:
    """For each label of the block where the members begin, and how many indices they span."""
    low: dict[int, int] = {}
    extents: dict[int, int] = {}
    for label in members[0][1]:
        ends = [bounds(place[label], dict(enumerate(term.extents))) for term, place in members]
        low[label] = min(first for first, _ in ends)
        extents[label] = max(last for _, last in ends) - low[label] + 1
    return low, extents


def _fitting(own: _Member, others: Sequence[_Member]) -> list[_Member]:
    """The most of the others, nearest first, whose common block stores no more than they do."""
    near = sorted(others, key=lambda m: prod(_hull([own, m])[1].values()))
    members, best = [own], 1
    for other in near:
        members.append(other)
        stored = _read([term for term, _ in members])
        # a block that holds a few zeros more is worth several terms less
        if prod(_hull(members)[1].values()) <= stored + stored // 8:
            best = len(members)
    return members[:best]


def _read(terms: Sequence[Term]) -> int:
    """Elements of factors that the terms read: of a slice of an argument only the slice."""
    read: dict[Node, int] = {}
    for term in terms:
        for node, subs in term.factors:
            labels = {k for sub in subs for k in labels_of(sub)}
            box = prod(term.extents[k] for k in labels)
            read[node] = min(node.size, read.get(node, 0) + box)
    return sum(read.values())


def _joined(members: Sequence[_Member], core: Core) -> Term:
    """The sum of the members over their common block."""
    block = members[0][0]
    low, extents = _hull(members)
    # what all members run over goes last, so that each writes long runs
    shared = {k for k in extents if all(const_value(place[k]) is None for _, place in members)}
    order = sorted(extents, key=lambda k: (k in shared, extents[k], k))
    shape = tuple(extents[k] for k in order)
    dtype = np.result_type(*(term.dtype for term, _ in members))
    parts = []
    for term, place in members:
        node, over = core(term)
        inner = {k: term.extents[k] for k in _outer(term)}
        into = [subtract(place[k], affine(low[k], [])) for k in order]
        parts.append(Draft(shape, dtype, 1, inner, [(node, tuple(over))], into).finish())
    total = accumulate(parts, shape, dtype)
    moved: Place = {k: affine(low[k], [(1, k)]) for k in extents}
    out = [substitute(sub, moved, extents) for sub in block.out]
    made = Draft(block.shape, dtype, 1, extents, [(total, tuple(order))], out).term()
    assert made is not None
    return made
