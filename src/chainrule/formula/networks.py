"""Jacobians as quantities: sums of terms of shape out + in."""

from __future__ import annotations

from collections.abc import Sequence

from ..expr.extents import ONE, Extent
from .canonical import canonical
from .quantity import Add, Index, Prod, Quantity, zero
from .work import Work

__all__ = ["exchanged", "stored_factors", "total_of", "whole"]


def stored_factors(q: Quantity) -> list[Quantity]:
    """The factors of a Jacobian: what is computed to hold it."""
    terms = [part for _, part in q.parts] if isinstance(q, Add) else [q]
    return [f for t in terms for f in ([f for f, _ in t.factors] if isinstance(t, Prod) else [t])]


def total_of(terms: Sequence[Quantity], shape: tuple[Extent, ...]) -> Quantity:
    """The sum of a Jacobian's terms, each kept whole."""
    flat: list[tuple[Extent, Quantity]] = []
    for term in terms:
        if isinstance(term, Add) and term.shape == shape:
            flat += term.parts
        elif isinstance(term, Prod):
            flat.append((term.coef, _with(term, shape, coef=ONE)))
        else:
            flat.append((ONE, term))
    collected: dict[object, tuple[Extent, Quantity]] = {}
    for coef, term in flat:
        key = canonical(term)
        known = collected.get(key)
        collected[key] = (coef, term) if known is None else (known[0] + coef, known[1])
    parts = [(c, q) for c, q in collected.values() if c]
    if not parts:
        return zero(shape)
    if len(parts) > 1:
        return Add(shape, tuple(parts))
    ((coef, term),) = parts
    if coef == ONE:
        return term
    if isinstance(term, Prod):
        return _with(term, shape, coef=coef)
    return _with(whole(term), shape, coef=coef)


def exchanged(q: Quantity, lead: int) -> Quantity:
    """A Jacobian with its two groups of axes exchanged."""
    shape = (*q.shape[lead:], *q.shape[:lead])
    if isinstance(q, Add):
        return Add(shape, tuple((c, exchanged(part, lead)) for c, part in q.parts))
    if not isinstance(q, Prod):
        q = whole(q)
    return _with(q, shape, out=(*q.out[lead:], *q.out[:lead]))


def whole(q: Quantity) -> Prod:
    """A quantity as a product of itself alone."""
    labels = tuple(range(q.ndim))
    return Prod(q.shape, ONE, q.shape, ((q, labels),), labels)


def _with(
    q: Prod,
    shape: tuple[Extent, ...],
    coef: Extent | None = None,
    out: tuple[Index, ...] | None = None,
) -> Quantity:
    """A product with another coefficient or other output indices."""
    return Work(
        q.coef if coef is None else coef,
        dict(enumerate(q.extents)),
        list(q.factors),
        list(q.out if out is None else out),
        list(q.constraints),
        shape,
    ).finish()
