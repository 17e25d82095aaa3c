"""Keys under which equal products are equal, however their factors are ordered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .quantity import Factor, Index, Prod, Quantity, labels_in, map_labels

__all__ = ["canonical", "unordered"]


def canonical(
    part: Quantity, symmetric: Callable[[Quantity], bool] | None = None, scaled: bool = True
) -> object:
    """A key under which products that differ in the order of factors are equal.

    Subscripts of ``symmetric`` factors have no order; without ``scaled`` the coefficient is left
    out.
    """
    if not isinstance(part, Prod):
        return part
    number: dict[int, Index] = {}
    for sub in part.out:
        for label in labels_in(sub):
            number.setdefault(label, len(number))
    kept = len(number)
    factors = part.factors
    if symmetric is not None:
        factors = tuple(
            (q, unordered(subs, number)) if symmetric(q) else (q, subs) for q, subs in factors
        )

    def order(factor: Factor) -> tuple[int, str]:
        q, subs = factor
        return q.uid, " ".join(str(number[s]) if s in number else "·" for s in subs)

    pending = list(factors)
    while pending:  # from the output on: a label is known by where it is reached from
        reached = [f for f in pending if any(s in number for s in f[1])] or pending
        chosen = min(reached, key=order)
        pending.remove(chosen)
        for sub in chosen[1]:
            for label in labels_in(sub):
                number.setdefault(label, len(number))
    for sub in part.constraints:
        for label in labels_in(sub):
            number.setdefault(label, len(number))
    if symmetric is not None and len(number) > kept:
        factors = tuple(
            (q, unordered(subs, number)) if symmetric(q) else (q, subs) for q, subs in factors
        )
    factors = tuple(sorted(factors, key=order))
    return (
        part.shape,
        part.coef if scaled else None,
        tuple(part.extents[label] for label in number),
        tuple((q, tuple(map_labels(s, number) for s in subs)) for q, subs in factors),
        tuple(map_labels(s, number) for s in part.out),
        frozenset(map_labels(s, number) for s in part.constraints),
    )


def unordered(subs: tuple[Index, ...], number: Mapping[int, Index]) -> tuple[Index, ...]:
    """Subscripts of a symmetric factor, the first two by number (those without one last)."""
    a, b, *rest = subs
    if not isinstance(a, int) or not isinstance(b, int):
        return subs
    most = len(number)
    places = [number.get(s, most) for s in (a, b)]
    return (b, a, *rest) if places[1] < places[0] else subs  # type: ignore[operator]
