"""The product of a term: its factors multiplied, masked and summed over labels."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..expr.nodes import Scalar, Term
from ..expr.paths import pairwise
from ..expr.subs import parts_of
from .access import guarded_by_writing, labels_in, read
from .emitter import Emitter, Labels, Operand, promoted
from .steps import Contract, Cumulate

__all__ = ["elementwise", "product"]

_BOOL = np.dtype(bool)
_COUNT = np.dtype(np.int64)


def elementwise(e: Emitter, node: Term) -> int | None:
    """The value of a term that only multiplies one or two nodes of its own shape and dtype.

    None for others: :func:`product` emits the same steps for these, in ten times the time.
    """
    factors, shape = node.factors, node.shape
    labels = tuple(range(len(shape)))
    if node.out != labels or node.extents != shape or node.constraints or node.dtype == _BOOL:
        return None
    if not 0 < len(factors) <= 2:
        return None
    for factor, subs in factors:
        if subs != labels or factor.dtype != node.dtype or factor.shape != shape:
            return None
    value = e.value_of(factors[0][0])
    if node.coef != 1:
        value = e.scale(value, node.coef)
    if len(factors) == 2:
        other = e.value_of(factors[1][0])
        value = e.binary("multiply", value, other, shape, promoted(e.dtype(value), node.dtype))
    return e.cast(value, node.dtype)


def product(e: Emitter, node: Term, coef: Scalar) -> Operand:
    """The value of the product over the labels that the output needs, and its labels."""
    wanted = labels_in(node.out)
    if node.constraints:
        cumulated = _cumulative(e, node, coef, wanted)
        if cumulated is not None:
            return cumulated
    extents = dict(enumerate(node.extents))
    guarded = guarded_by_writing(node) if node.constraints else None
    operands = [read(e, n, subs, extents, guarded) for n, subs in node.factors]
    masks = []
    for sub in node.constraints:
        if guarded is None or sub not in guarded:
            labels = labels_in([sub])
            masks.append((e.grid(sub, labels, extents, mask=True), labels))
    selectors = [o for o in operands if e.dtype(o[0]) == _BOOL]
    numbers = [o for o in operands if e.dtype(o[0]) != _BOOL]
    if not numbers:
        return _indicator(e, node, coef, masks + selectors, wanted, extents)
    if node.dtype == _BOOL:
        numbers = [(e.cast(value, _BOOL), labels) for value, labels in numbers]
        return _indicator(e, node, coef, masks + selectors + numbers, wanted, extents)
    numbers = [(_widened(e, value, node.dtype), labels) for value, labels in numbers]
    return _contract_all(e, numbers, masks + selectors, wanted, extents, coef, node.dtype)


def _widened(e: Emitter, value: int, dtype: np.dtype[Any]) -> int:
    """A factor in at least the precision of the product."""
    known = e.dtype(value)
    if known == dtype or (known.kind == "f" and dtype.kind == "c"):
        if known.kind == "f" and 2 * known.itemsize < dtype.itemsize:
            return e.cast(value, np.dtype(f"f{dtype.itemsize // 2}"))
        return value
    return e.cast(value, dtype) if promoted(known, dtype) == dtype else value


def _indicator(
    e: Emitter,
    node: Term,
    coef: Scalar,
    masks: list[Operand],
    wanted: Labels,
    extents: dict[int, int],
) -> Operand:
    """A term without numeric factors: a constant, or the conjunction of masks."""
    boolean = node.dtype == _BOOL
    if not masks:
        return e.fill((), bool(coef) if boolean else coef, node.dtype), ()
    value, labels = masks[0]
    for other, more in masks[1:]:
        union = tuple(dict.fromkeys([*labels, *more]))
        shape = tuple(extents[k] for k in union)
        left, right = e.aligned(value, labels, union), e.aligned(other, more, union)
        value = e.binary("logical_and", left, right, shape, _BOOL)
        labels = union
    if boolean and all(k in wanted for k in labels):
        return value, labels
    value = e.cast(value, _COUNT if boolean else node.dtype)
    result, labels = _contract_all(
        e, [(value, labels)], [], wanted, extents, 1 if boolean else coef, e.dtype(value)
    )
    return e.cast(result, node.dtype), labels


def _cumulative(e: Emitter, node: Term, coef: Scalar, wanted: Labels) -> Operand | None:
    """``Σ_b x[…b…] for a ≥ b`` (or ≤): a cumulative sum along the axis of b."""
    if len(node.constraints) != 1 or len(node.factors) != 1:
        return None
    c, parts = parts_of(node.constraints[0])
    if c != 0 or sorted(k for k, _ in parts) != [-1, 1]:
        return None
    ((_, plus),) = [p for p in parts if p[0] == 1]
    ((_, minus),) = [p for p in parts if p[0] == -1]
    if not isinstance(plus, int) or not isinstance(minus, int):
        return None
    source, subs = node.factors[0]
    if source.dtype == _BOOL or node.dtype == _BOOL:
        return None
    inner = labels_in(subs)
    for summed, kept, reverse in ((minus, plus, False), (plus, minus, True)):
        if (
            summed in inner
            and kept not in inner
            and summed not in wanted
            and kept in wanted
            and node.extents[summed] == node.extents[kept]
        ):
            extents = dict(enumerate(node.extents))
            value, labels = read(e, source, subs, extents)
            value = _widened(e, value, node.dtype)
            keep = tuple(k for k in labels if k in wanted or k == summed)
            value, labels = _contract_all(
                e, [(value, labels)], [], keep, extents, 1, e.dtype(value)
            )
            shape = e.shape(value)
            value = e.emit(
                Cumulate(
                    e.new(shape, e.dtype(value)),
                    (value,),
                    axis=labels.index(summed),
                    reverse=reverse,
                    dtype=e.dtype(value).str,
                    flops=prod(shape),
                )
            )
            if coef != 1:
                value = e.scale(value, coef)
            return e.cast(value, node.dtype), tuple(kept if k == summed else k for k in labels)
    return None


def _contract_all(
    e: Emitter,
    operands: list[Operand],
    masks: list[Operand],
    wanted: Labels,
    extents: dict[int, int],
    coef: Scalar,
    dtype: np.dtype[Any],
) -> Operand:
    """Multiply pair after pair, sum what is not wanted, select, scale."""
    keep = set(wanted)
    inner = [m for m in masks if not keep.issuperset(m[1])]
    if inner:
        masks = [m for m in masks if keep.issuperset(m[1])]
        operands = _select_inside(e, operands, inner, extents)
    if coef != 1:
        smallest = min(range(len(operands)), key=lambda i: e.size(operands[i][0]))
        value, labels = operands[smallest]
        if e.size(value) <= prod(extents[k] for k in wanted):
            operands[smallest] = (e.scale(value, coef), labels)
            coef = 1
    held = {k for _, labels in operands for k in labels}
    kept = tuple(k for k in wanted if k in held)
    order = tuple(k for k in wanted if k in held.union(*(m[1] for m in masks)))
    while len(operands) > 1:
        i, j = pairwise([labels for _, labels in operands], kept, extents)
        others = [o for k, o in enumerate(operands) if k not in (i, j)]
        needed = keep.union(*(labels for _, labels in others)) if others else keep
        operands = [*others, _pair(e, operands[i], operands[j], needed, order, extents)]
    value, labels = _presum(e, *operands[0], keep)
    for mask, more in masks:
        union = tuple(k for k in order if k in labels or k in more)
        shape = tuple(extents[k] for k in union)
        value = e.select(e.aligned(mask, more, union), e.aligned(value, labels, union), shape)
        labels = union
    if coef != 1:
        value = e.scale(value, coef)
    return e.cast(value, dtype), labels


def _select_inside(
    e: Emitter, operands: list[Operand], masks: list[Operand], extents: dict[int, int]
) -> list[Operand]:
    """Masks under the sum: each selects inside the factor that has most of its labels."""
    operands = list(operands)
    for mask, labels in masks:

        def cost(i: int, needed: frozenset[int] = frozenset(labels)) -> int:
            return prod(extents[k] for k in needed.union(operands[i][1]))

        best = min(range(len(operands)), key=cost)
        value, held = operands[best]
        union = (*held, *(k for k in labels if k not in held))
        shape = tuple(extents[k] for k in union)
        operands[best] = (
            e.select(e.aligned(mask, labels, union), e.aligned(value, held, union), shape),
            union,
        )
    return operands


def _pair(
    e: Emitter,
    left: Operand,
    right: Operand,
    needed: set[int],
    order: Labels,
    extents: dict[int, int],
) -> Operand:
    a, la = _presum(e, *left, needed.union(right[1]))
    b, lb = _presum(e, *right, needed.union(la))
    dtype = promoted(e.dtype(a), e.dtype(b))
    if la == lb and needed.issuperset(la):
        return e.binary("multiply", a, b, e.shape(a), dtype), la
    union = tuple(dict.fromkeys([*la, *lb]))
    rank = {k: i for i, k in enumerate(order)}
    last = len(rank)
    out = tuple(sorted((k for k in union if k in needed), key=lambda k: rank.get(k, last + k)))
    shape = tuple(extents[k] for k in out)
    if len(out) == len(union):
        return e.binary("multiply", e.aligned(a, la, out), e.aligned(b, lb, out), shape, dtype), out
    box = {k: extents[k] for k in union}
    target = e.new(shape, dtype)
    flops = 2 * prod(box.values())
    e.emit(Contract(target, (a, b), left=la, right=lb, out=out, extents=box, flops=flops))
    return target, out


def _presum(e: Emitter, value: int, labels: Labels, needed: set[int]) -> Operand:
    """Sum over the labels that nothing else needs."""
    axes = tuple(i for i, k in enumerate(labels) if k not in needed)
    if not axes:
        return value, labels
    return e.reduce(value, axes), tuple(k for k in labels if k in needed)
