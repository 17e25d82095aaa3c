"""Vectors of counts in matrix notation: ``(0, …, N − 1)``, ``(1, …, N)``."""

from __future__ import annotations

from fractions import Fraction

from ..expr.extents import ONE, ZERO
from .notation import Counting
from .quantity import Add, Num, Quantity, Ramp

__all__ = ["counting"]


def counting(q: Quantity) -> Counting | None:
    """The notation of a ramp, or of one that begins at another whole number."""
    if isinstance(q, Ramp):
        return Counting(q.name, 1, q.shape[0], ZERO)
    if not isinstance(q, Add) or len(q.parts) != 2:
        return None
    for (start, one), (step, ramp) in (q.parts, q.parts[::-1]):
        if isinstance(one, Num) and isinstance(ramp, Ramp) and step == ONE:
            first = start * one.value
            number = first.number
            if isinstance(number, Fraction) and number.denominator == 1:
                return Counting(ramp.name, 1, ramp.shape[0], first)
    return None
