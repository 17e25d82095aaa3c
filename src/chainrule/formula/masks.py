"""Constraints on two indices: ``j ≤ i``, ``j < i``, ``i ≠ j``."""

from __future__ import annotations

from typing import NamedTuple

from ..expr.extents import ONE, ZERO, Extent
from .quantity import Form, Index, Wrap

__all__ = ["Order", "apart", "order", "sides"]


class Order(NamedTuple):
    """``low + shift ≤ high`` for two labels."""

    low: int
    high: int
    shift: int


def order(constraint: Index) -> Order | None:
    """What ``high − low − shift ≥ 0`` says, None for other constraints."""
    if isinstance(constraint, int):
        return None
    pair = _pair(constraint)
    number = constraint.const.number
    if pair is None or number is None or number != int(number):
        return None
    return Order(pair[1], pair[0], -int(number))


def apart(constraint: Index) -> Form | None:
    """The difference that is nowhere 0, of ``(difference mod n) − 1 ≥ 0``; None for others."""
    if isinstance(constraint, int) or constraint.const != -ONE or len(constraint.parts) != 1:
        return None
    ((coef, key),) = constraint.parts
    if coef != ONE or not isinstance(key, Wrap) or key.kind != "mod":
        return None
    (inner,) = key.subs
    return inner if isinstance(inner, Form) and _pair(inner) is not None else None


def _pair(form: Form) -> tuple[int, int] | None:
    """The labels of ``a − b + const``."""
    plus = [k for c, k in form.parts if c == ONE and isinstance(k, int)]
    minus = [k for c, k in form.parts if c == -ONE and isinstance(k, int)]
    return (plus[0], minus[0]) if len(plus) == len(minus) == 1 == len(form.parts) / 2 else None


def sides(form: Form) -> tuple[Form, Form]:
    """``left`` and ``right`` without minus signs, where the form is ``left − right``."""
    left = tuple(p for p in form.parts if not p[0].negative)
    right = tuple((-c, k) for c, k in form.parts if c.negative)
    const: Extent = form.const
    below = const.negative
    return Form(ZERO if below else const, left), Form(-const if below else ZERO, right)
