"""How a linear system is taken apart: from the subscripts of its terms alone.

Axes of extent 1 are dropped, axes that a reshape merged are split; labels that no factor has, and
connected components of a product, are systems of their own; then the elements are divided, or
terms through few labels are told from terms with few entries.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..expr.draft import Draft
from ..expr.nodes import Factor, Node, Term
from ..expr.subs import Sub, affine, labels_of
from ..lower.run import Cache
from ..simplify.sums import accumulate
from ..simplify.terms import derived
from . import factor
from .solve_steps import Apart, Axes, Diagonal, Entries, LowRank, Reshaped, Step
from .sparse import entries
from .terms import with_out

__all__ = ["clear", "planned"]

_plans: Cache[tuple[Any, ...], Step] = Cache(256)


def clear() -> None:
    """Forget all plans."""
    _plans.clear()


def planned(terms: tuple[Term, ...], out: tuple[int, ...], into: tuple[int, ...]) -> Step:
    key = terms, out, into
    step = _plans.get(key)
    if step is None:
        step = _plan(terms, out, into)
        _plans.put(key, step)
    return step


def _plan(terms: tuple[Term, ...], out: tuple[int, ...], into: tuple[int, ...]) -> Step:
    if not terms:
        raise factor.singular("it is zero")
    if prod(out) != prod(into):
        raise factor.singular(f"a part of it maps {into} to {out}: it is not square")
    n_out = len(out)
    if 1 in out + into:
        kept = [k for k, e in enumerate(out + into) if e != 1]
        shape = tuple((out + into)[k] for k in kept)
        fewer = tuple(with_out(t, [t.out[k] for k in kept], shape) for t in terms)
        split = sum(k < n_out for k in kept)
        return Reshaped(_plan(fewer, shape[:split], shape[split:]), shape[:split], into)
    digits = [_digits(terms, k, e) for k, e in enumerate(out + into)]
    if any(digits):
        parts = [d or (e,) for d, e in zip(digits, out + into, strict=True)]
        split_terms = tuple(_split(t, digits, parts) for t in terms)
        rows = tuple(e for part in parts[:n_out] for e in part)
        columns = tuple(e for part in parts[n_out:] for e in part)
        return Reshaped(_plan(split_terms, rows, columns), rows, into)
    pairs = _pairs(terms, n_out, len(into))
    free = [p for p in pairs if all(_is_free(t, t.out[p[0]], out[p[0]]) for t in terms)]
    if free:
        rest_out = [i for i in range(n_out) if i not in [p[0] for p in free]]
        rest_in = [j for j in range(len(into)) if j not in [p[1] for p in free]]
        inner = tuple(_restricted(t, rest_out, rest_in, n_out, t.factors, t.coef) for t in terms)
        step = _plan(inner, tuple(out[i] for i in rest_out), tuple(into[j] for j in rest_in))
        if not rest_out and not rest_in:
            # a multiple of a permutation of axes
            return Apart([*(([i], [j], None) for i, j in free), ([], [], step)])
        return Apart([*(([i], [j], None) for i, j in free), (rest_out, rest_in, step)])
    if len(terms) == 1:
        groups = _components(terms[0], n_out)
        if len(groups) > 1:
            return Apart(_separate(terms[0], groups, out, into))
    return _core(terms, Axes(out, into, pairs))


def _merged(term: Term, axis: int) -> list[int]:
    """The labels of an axis that a reshape merged, the slowest first; [] if it is another one."""
    sub = term.out[axis]
    if isinstance(sub, int) or sub.const:
        return []
    labels: list[int] = []
    step = 1
    for coef, key in sorted(sub.parts, key=lambda part: part[0]):
        if not isinstance(key, int) or coef != step:
            return []
        labels.insert(0, key)
        step *= term.extents[key]
    return labels if step == term.shape[axis] else []


def _digits(terms: Sequence[Term], axis: int, extent: int) -> tuple[int, ...]:
    """The extents that an axis of ``extent`` is split into, alike in all terms; () if it is not."""
    shapes = {tuple(t.extents[k] for k in _merged(t, axis)) for t in terms}
    (shape,) = shapes if len(shapes) == 1 else ((),)
    return shape


def _split(term: Term, digits: Sequence[tuple[int, ...]], parts: Sequence[tuple[int, ...]]) -> Term:
    """A term with its merged axes split."""
    out: list[Sub] = []
    for axis, split in enumerate(digits):
        out.extend(_merged(term, axis) if split else [term.out[axis]])
    return with_out(term, out, tuple(e for part in parts for e in part))


def _pairs(terms: Sequence[Term], n_out: int, n_in: int) -> list[tuple[int, int]]:
    """Axes of out and of in that are one label in every term."""
    found: list[tuple[int, int]] = []
    for i in range(n_out):
        for j in range(n_in):
            if any(j == other for _, other in found):
                continue
            if all(isinstance(t.out[i], int) and t.out[i] == t.out[n_out + j] for t in terms):
                found.append((i, j))
                break
    return found


def _is_free(term: Term, label: Sub, extent: int) -> bool:
    """Whether a label occurs twice in the output and nowhere else."""
    assert isinstance(label, int)
    subs = [s for _, ss in term.factors for s in ss]
    inside = any(label in labels_of(s) for s in (*subs, *term.constraints))
    places = sum(label in labels_of(s) for s in term.out)
    return not inside and places == 2 and term.extents[label] == extent


def _restricted(
    term: Term,
    rows: Sequence[int],
    columns: Sequence[int],
    n_out: int,
    factors: Sequence[Factor],
    coef: Any,
) -> Term:
    """The part of a term over some axes, with some factors."""
    out = [*(term.out[i] for i in rows), *(term.out[n_out + j] for j in columns)]
    shape = tuple(term.shape[k] for k in (*rows, *(n_out + j for j in columns)))
    used: set[int] = set()
    for sub in (*out, *(s for _, ss in factors for s in ss)):
        used.update(labels_of(sub))
    constraints = [s for s in term.constraints if set(labels_of(s)) <= used]
    extents = {k: term.extents[k] for k in used}
    made = Draft(shape, term.dtype, coef, extents, factors, out, constraints).term()
    assert made is not None
    return made


def _components(term: Term, n_out: int) -> list[set[int]]:
    """Groups of labels that factors, constraints and subscripts join; [] if axes have none."""
    groups: list[set[int]] = []
    joined = [
        *({k for s in subs for k in labels_of(s)} for _, subs in term.factors),
        *(set(labels_of(s)) for s in (*term.out, *term.constraints)),
    ]
    if any(not labels_of(s) for s in term.out):
        return []
    for labels in joined:
        if not labels:
            continue
        touching = [g for g in groups if g & labels]
        for g in touching:
            groups.remove(g)
        groups.append(labels.union(*touching))
    return groups


def _separate(
    term: Term, groups: list[set[int]], out: tuple[int, ...], into: tuple[int, ...]
) -> list[tuple[list[int], list[int], Step | None]]:
    """A plan for each component of a product; numbers go with the first."""
    n_out = len(out)
    found: list[tuple[list[int], list[int], Step | None]] = []
    coef: Any = term.coef
    loose = [f for f in term.factors if not any(labels_of(s) for s in f[1])]
    for labels in groups:
        rows = [i for i in range(n_out) if labels & labels_of(term.out[i]).keys()]
        columns = [j for j in range(len(into)) if labels & labels_of(term.out[n_out + j]).keys()]
        factors = [
            (node, subs)
            for node, subs in term.factors
            if any(labels & labels_of(s).keys() for s in subs)
        ]
        part = _restricted(term, rows, columns, n_out, [*loose, *factors], coef)
        coef, loose = 1, []
        shapes = tuple(out[i] for i in rows), tuple(into[j] for j in columns)
        found.append((rows, columns, _plan((part,), *shapes)))
    return found


def _core(terms: tuple[Term, ...], axes: Axes) -> Step:
    dtype = np.result_type(*(t.dtype for t in terms))
    if dtype.kind in "biu":
        dtype = np.dtype(float)
    if not axes.rows:
        return Diagonal(_diagonal_node(terms, axes, dtype), axes)
    whole = Entries(terms, axes, dtype)
    cuts = [(t, _cut(t, axes)) for t in terms]
    total = sum(cut.rank for _, cut in cuts)
    if total < axes.size:
        raise factor.singular(f"its rank is at most {total * axes.count}, of {prod(axes.out)} rows")
    if axes.size < 16:
        return whole
    many = 2 * axes.count * axes.size
    low = [(t, c) for t, c in cuts if 4 * c.rank <= axes.size and entries([t]) > many]
    base = tuple(t for t in terms if all(t is not other for other, _ in low))
    rank = sum(cut.rank for _, cut in low)
    if not low or 4 * rank > axes.size or 4 * entries(base) > axes.count * axes.size**2:
        return whole
    sides = _side(low, axes, 0, dtype), _side(low, axes, 1, dtype)
    step = _plan(base, axes.out, axes.into)
    return LowRank(step, sides, rank, axes, whole, terms, dtype)


def _diagonal_node(terms: Sequence[Term], axes: Axes, dtype: np.dtype[Any]) -> Node:
    parts = []
    order = [i for i, _ in axes.pairs]
    for term in terms:
        out = [term.out[i] for i in order]
        parts.append(with_out(term, out, axes.batch))
    return accumulate([derived_term(t) for t in parts], axes.batch, dtype)


def derived_term(term: Term) -> Node:
    """A term after the rewrites of derivative terms."""
    return derived(
        Draft(
            term.shape,
            term.dtype,
            term.coef,
            dict(enumerate(term.extents)),
            term.factors,
            term.out,
            term.constraints,
        )
    )


@dataclass
class _Cut:
    """The factors of a term on the side of out and of in; labels that both sides have."""

    sides: tuple[list[Factor], list[Factor]]
    labels: list[int]
    rank: int
    constraints: tuple[list[Sub], list[Sub]]


def _cut(term: Term, axes: Axes) -> _Cut:
    """The cut of fewest labels between rows and columns (over each example of the batch)."""
    n_out = len(axes.out)
    batch = {term.out[i] for i, _ in axes.pairs}
    ends = (
        {k for i in axes.rows for k in labels_of(term.out[i])} - batch,
        {k for j in axes.columns for k in labels_of(term.out[n_out + j])} - batch,
    )
    fixed: tuple[list[Factor], list[Factor]] = ([], [])
    loose: list[Factor] = []
    for node, subs in term.factors:
        labels = {k for s in subs for k in labels_of(s)}
        side = 0 if labels & ends[0] else 1 if labels & ends[1] else None
        (loose if side is None else fixed[side]).append((node, subs))
    best: _Cut | None = None
    for choice in itertools.product((0, 1), repeat=min(len(loose), 6)):
        sides = (list(fixed[0]), list(fixed[1]))
        for entry, side in zip(loose, choice + (0,) * len(loose), strict=False):
            sides[side].append(entry)
        reached = [
            end | {k for _, subs in side for s in subs for k in labels_of(s)}
            for end, side in zip(ends, sides, strict=True)
        ]
        constraints: tuple[list[Sub], list[Sub]] = ([], [])
        for sub in term.constraints:
            labels = set(labels_of(sub)) - batch
            side = 0 if labels <= reached[0] or not labels <= reached[1] else 1
            constraints[side].append(sub)
            reached[side] |= labels
        shared = sorted((reached[0] & reached[1]) - batch)
        rank = prod(term.extents[k] for k in shared)
        if best is None or rank < best.rank:
            best = _Cut(sides, shared, rank, constraints)
    assert best is not None
    return best


def _side(low: Sequence[tuple[Term, _Cut]], axes: Axes, which: int, dtype: np.dtype[Any]) -> Node:
    """U (``which`` 0, with coefficients) or V of all low-rank terms: [batch, axes, rank]."""
    n_out = len(axes.out)
    own = axes.rows if which == 0 else axes.columns
    sizes = axes.out if which == 0 else axes.into
    total = sum(cut.rank for _, cut in low)
    shape = (*axes.batch, *(sizes[k] for k in own), total)
    parts = []
    start = 0
    for term, cut in low:
        extents = dict(enumerate(term.extents))
        position: Sub = _raveled(cut.labels, extents, start)
        out = [
            *(term.out[i] for i, _ in axes.pairs),
            *(term.out[k if which == 0 else n_out + k] for k in own),
            position,
        ]
        factors, constraints = cut.sides[which], cut.constraints[which]
        used: set[int] = set()
        for sub in (*out, *(s for _, ss in factors for s in ss), *constraints):
            used.update(labels_of(sub))
        node = Draft(
            shape,
            dtype,
            term.coef if which == 0 else 1,
            {k: extents[k] for k in sorted(used)},
            factors,
            out,
            constraints,
        ).finish()
        parts.append(node)
        start += cut.rank
    return accumulate(parts, shape, dtype)


def _raveled(labels: Sequence[int], extents: dict[int, int], start: int) -> Sub:
    """The position of a point of the cut's labels among the columns of U and V."""
    parts: list[tuple[int, Any]] = []
    radix = 1
    for label in reversed(labels):
        parts.append((radix, label))
        radix *= extents[label]
    return affine(start, parts)
