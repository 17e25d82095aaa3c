"""The normal form of a term: tight ranges, labels numbered by appearance, no unit labels."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .nodes import Const, Factor, Map, Node, Scalar, Sum, Term, plain_scalar
from .subs import (
    Key,
    Sub,
    affine,
    bounds,
    const,
    const_value,
    labels_of,
    order_of,
    parts_of,
    relabel,
    scale,
)

if TYPE_CHECKING:
    from .draft import Draft

__all__ = ["finish", "tidy_coef", "tighten", "zeros"]

_NONE = const(0)


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Sum:
    """The zero node: an empty sum."""
    return Sum(shape, dtype, ())


def tidy_coef(coef: Scalar) -> Scalar:
    """Integral floats as ints, so that equal terms are the same node; ``-0.0`` stays."""
    if type(coef) is int:
        return coef
    if type(coef) is float:
        whole = coef.is_integer() and coef != 0 and abs(coef) < 2**53
        return int(coef) if whole else coef
    coef = plain_scalar(coef)
    if isinstance(coef, bool):
        return int(coef)
    if isinstance(coef, float) and coef.is_integer() and abs(coef) < 2**53 and coef != 0:
        return int(coef)
    if isinstance(coef, complex) and coef.imag == 0 and coef.real != 0:
        return tidy_coef(coef.real)
    return coef


def tighten(draft: Draft) -> None:
    """Drop constraints that always hold; turn those on one label into a smaller range."""
    tried: set[Sub] = set()
    while draft.constraints and not draft.zero and _tighten_once(draft, tried):
        pass


def _tighten_once(draft: Draft, tried: set[Sub]) -> bool:
    kept: list[Sub] = []
    for sub in _strictest(draft.constraints):
        low, high = bounds(sub, draft.extents)
        if high < 0:
            draft.zero = True
            return False
        if low < 0:
            kept.append(sub)
    draft.constraints = kept
    for sub in kept:
        c, parts = parts_of(sub)
        if len(parts) == 1 and isinstance(label := parts[0][1], int):
            k = parts[0][0]
            extent = draft.extents[label]
            first = max(0, -(c // k)) if k > 0 else 0
            last = extent - 1 if k > 0 else min(extent - 1, c // -k)
            if last < first:
                draft.zero = True
                return False
            draft.constraints = [s for s in kept if s != sub]
            draft.extents[label] = last - first + 1
            if first:
                draft.replace({label: affine(first, [(1, label)])})
            elif last < extent - 1:
                draft.replace({label: label})  # a smaller range may simplify mod and div
            return True
        opposite = scale(sub, -1)
        if sub not in tried and (bounds(sub, draft.extents)[1] == 0 or opposite in kept):
            tried.update((sub, opposite))
            draft.constraints = [s for s in kept if s not in (sub, opposite)]
            draft.solve([(sub, const(0))])
            return True
    return False


def _strictest(constraints: list[Sub]) -> list[Sub]:
    """Constraints without those that another one, of the same labels, implies."""
    least: dict[tuple[tuple[int, Key], ...], int] = {}
    for sub in constraints:
        constant, parts = parts_of(sub)
        least[parts] = min(constant, least.get(parts, constant))
    return [affine(constant, parts) for parts, constant in least.items()]


def _empty(draft: Draft) -> bool:
    return draft.zero or any(extent <= 0 for extent in draft.extents.values())


def finish(draft: Draft) -> Node:
    """The interned node in normal form: ranges tight, labels numbered, unit labels gone."""
    if draft.zero or 0 in draft.shape:
        return zeros(draft.shape, draft.dtype)
    if not draft.constraints:
        plain = _finish_plain(draft)
        if plain is not None:
            return plain
    while True:
        if draft.constraints:
            tighten(draft)
        if _empty(draft):
            return zeros(draft.shape, draft.dtype)
        unit: dict[int, Sub] = {k: _NONE for k, extent in draft.extents.items() if extent == 1}
        if not unit:
            break
        for label in unit:
            del draft.extents[label]
        draft.replace(unit)
    draft.constraints = _strictest(draft.constraints)
    used = _appearance(draft)
    for label, extent in draft.extents.items():
        if label not in used:
            draft.coef = draft.coef * extent
    for _ in range(4):  # nested keys may change places once their labels are renamed
        if _renumber(draft, used):
            break
        used = _appearance(draft)
    return _absorbed(draft, draft.factors, tuple(draft.out))


def _appearance(draft: Draft) -> dict[int, int]:
    """The labels' numbers by first appearance."""
    draft.constraints.sort(key=order_of)
    order: dict[int, None] = {}
    for sub in draft.out:
        order.update(labels_of(sub))
    for _, subs in draft.factors:
        for sub in subs:
            order.update(labels_of(sub))
    for sub in draft.constraints:
        order.update(labels_of(sub))
    return {label: i for i, label in enumerate(order)}


def _renumber(draft: Draft, number: dict[int, int]) -> bool:
    """Rename labels; whether that was all, so that the numbers are those of appearance."""
    done = all(old == new for old, new in number.items())
    if not done:
        draft.out = [relabel(s, number) for s in draft.out]
        draft.factors = [(n, tuple(relabel(s, number) for s in ss)) for n, ss in draft.factors]
        draft.constraints = [relabel(s, number) for s in draft.constraints]
    draft.extents = {new: draft.extents[old] for old, new in number.items()}
    return done


def _finish_plain(draft: Draft) -> Node | None:
    """``finish`` where every subscript is a label or a constant; None where one is not."""
    ext = draft.extents
    whole = tuple(draft.out)
    if whole == tuple(ext) == tuple(range(len(ext))) and min(ext.values(), default=2) > 1:
        return _absorbed(draft, draft.factors, whole)  # the labels are numbered already
    groups = tuple([subs for _, subs in draft.factors])
    for subs in (whole, *groups):
        for sub in subs:
            if type(sub) is not int and not isinstance(sub, int) and sub.parts:
                return None
    found = _renamed(whole, groups, tuple(ext.items()))
    if found is None:
        return zeros(draft.shape, draft.dtype)
    out, inner, draft.extents, copies = found
    if copies != 1:
        draft.coef = draft.coef * copies
    factors = [(pair[0], subs) for pair, subs in zip(draft.factors, inner, strict=True)]
    return _absorbed(draft, factors, out)


@lru_cache(maxsize=4096)
def _renamed(
    out: tuple[Sub, ...],
    groups: tuple[tuple[Sub, ...], ...],
    sizes: tuple[tuple[int, int], ...],
) -> tuple[tuple[Sub, ...], tuple[tuple[Sub, ...], ...], dict[int, int], int] | None:
    """Labels numbered by appearance, unit labels gone: the new subscripts, the extents, and the
    number of points of labels that do not occur.  None where a label has no points.
    """
    ext = dict(sizes)
    if ext and min(ext.values()) <= 0:
        return None
    number: dict[int, Sub] = {}
    extents: dict[int, int] = {}

    def new(sub: Sub) -> Sub:
        if not isinstance(sub, int):
            return sub
        renamed = number.get(sub)
        if renamed is None:
            renamed = _NONE
            if ext[sub] > 1:
                renamed = len(extents)
                extents[renamed] = ext[sub]
            number[sub] = renamed
        return renamed

    first = tuple([new(sub) for sub in out])
    rest = tuple([tuple([new(sub) for sub in subs]) for subs in groups])
    return first, rest, extents, prod(e for label, e in ext.items() if label not in number)


def _absorbed(draft: Draft, factors: list[Factor], out: tuple[Sub, ...]) -> Node:
    """The node once scalars have gone into the coefficient; zero where a factor is."""
    coef = draft.coef
    kept = []
    for pair in factors:
        node = pair[0]
        if isinstance(node, Const):
            coef = coef * node.value
        elif isinstance(node, Sum) and not node.parts:
            return zeros(draft.shape, draft.dtype)
        else:
            kept.append(pair)
    return _interned(draft, coef, tuple(kept), out)


def _interned(
    draft: Draft, coef: Scalar, factors: tuple[Factor, ...], out: tuple[Sub, ...]
) -> Node:
    if type(coef) is not int:
        coef = tidy_coef(coef)
    if type(coef) is int and coef != 1:
        if coef == 0:
            return zeros(draft.shape, draft.dtype)
        if draft.dtype.kind == "b":
            coef = 1
    extents = tuple(draft.extents.values())
    if (
        coef == 1
        and len(factors) == 1
        and not draft.constraints
        and _is_identity(factors[0], out, draft.shape, extents)
    ):
        node = factors[0][0]
        if node.dtype == draft.dtype:
            return node
        if node.dtype.kind != "b":  # a boolean factor goes on selecting
            return _cast(node, draft.dtype)
    return Term(draft.shape, draft.dtype, coef, extents, factors, out, tuple(draft.constraints))


def _is_identity(
    factor: Factor, out: tuple[Sub, ...], shape: tuple[int, ...], extents: tuple[int, ...]
) -> bool:
    node, subs = factor
    if subs != out or node.shape != shape:
        return False
    seen = set()
    for axis, sub in enumerate(out):
        if isinstance(sub, int):
            if sub in seen or extents[sub] != shape[axis]:
                return False
            seen.add(sub)
        elif const_value(sub) is None or shape[axis] != 1:
            return False
    return True


def _cast(node: Node, dtype: np.dtype[Any]) -> Node:
    return Map("astype", node.shape, dtype, (node,), (dtype.str,))
