"""The order of columns within rows, where it is known from the subscripts.

The row of a piece is an affine form of some labels, its other labels run within a row.  Pieces
whose column exceeds the row by the same amount share a *band*; bands in the order of their columns
are the slots of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import combinations, pairwise
from math import prod

from ..expr.subs import (
    Sub,
    affine,
    bounds,
    const,
    const_value,
    labels_of,
    parts_of,
    relabel,
    substitute,
    subtract,
)
from .pieces import Piece

__all__ = ["Band", "Placed", "bands_of", "placed"]

_MANY = 64  # bands whose order is told pair by pair


@dataclass
class Band:
    """Slots of a row: columns ``base + Σ coef·digit``, ascending.

    The first part says where; others write to all slots too (``None``) or to slots of their own:
    from one on that is affine in the labels of the rows.
    """

    digits: tuple[tuple[int, int], ...]  # (coef, extent), largest coefficient first
    low: int
    high: int
    parts: list[tuple[Placed, Sub | None]]

    @property
    def lead(self) -> Placed:
        return self.parts[0][0]

    @property
    def width(self) -> int:
        return prod(e for _, e in self.digits)

    @property
    def span(self) -> int:
        return sum(c * (e - 1) for c, e in self.digits)

    @property
    def covered(self) -> bool:
        """Whether one part writes every slot of every row."""
        return any(where is None and not part.piece.masked for part, where in self.parts)


@dataclass
class Placed:
    """A piece with its rows as an affine form and the labels within a row in order.

    All steps are positive: labels that count down have been flipped.
    """

    piece: Piece
    steps: tuple[tuple[int, int], ...]  # (row step, label), smallest first
    inner: tuple[tuple[int, int], ...]  # (column step, label), largest first
    base: Sub  # first column; label k is that of the k-th step
    low: int
    high: int
    offset: int | None  # of the first column to the row, where that is one number
    columns: tuple[int, int]
    rows: tuple[int, tuple[tuple[int, int], ...]]  # first row, (step, extent)

    @property
    def width(self) -> int:
        return prod(self.piece.extents[k] for _, k in self.inner)


def _mixed(steps: Sequence[tuple[int, int]], extents: Sequence[int]) -> bool:
    """Whether ``Σ step·label`` differs at all points, and grows in the order of the steps."""
    reach = 0
    for step, label in sorted(steps):
        if step <= reach:
            return False
        reach += step * (extents[label] - 1)
    return True


def placed(piece: Piece, shape: tuple[int, int]) -> Placed | None:
    """The piece with its labels told apart; None where rows or the columns in one are no runs."""
    sizes = dict(enumerate(piece.extents))
    unit: dict[int, Sub] = {k: const(0) for k, e in sizes.items() if e == 1}
    row = substitute(piece.row, unit, sizes)
    column = substitute(piece.column, unit, sizes)
    constant, parts = parts_of(row)
    steps = [(c, k) for c, k in parts if isinstance(k, int)]
    low, high = bounds(row, sizes)
    if len(steps) < len(parts) or low < 0 or high >= shape[0]:
        return None
    outer = {k for _, k in steps}
    shift, parts = parts_of(column)
    inner = [(c, k) for c, k in parts if isinstance(k, int) and k not in outer]
    down = next((k for c, k in (*steps, *inner) if c < 0), None)
    if down is not None:
        return placed(piece.flipped(down), shape)
    rest = [(c, k) for c, k in parts if not isinstance(k, int) or k in outer]
    free = {k for k, e in sizes.items() if e > 1} - outer
    base = affine(shift, rest)
    if free != {k for _, k in inner} or free & labels_of(base).keys():
        return None
    if not _mixed(steps, piece.extents) or not _mixed(inner, piece.extents):
        return None
    steps.sort()
    inner.sort(reverse=True)
    return Placed(
        piece=piece,
        steps=tuple(steps),
        inner=tuple(inner),
        base=relabel(base, {k: i for i, (_, k) in enumerate(steps)}),
        low=low,
        high=high,
        offset=const_value(subtract(base, row)),
        columns=bounds(column, sizes),
        rows=(constant, tuple((step, sizes[k]) for step, k in steps)),
    )


def bands_of(group: Sequence[Placed]) -> list[Band] | None:
    """The bands of a group of rows in the order of their columns; None if that varies."""
    bands: list[Band] = []
    for one in sorted(group, key=lambda p: -p.width):
        digits = tuple((c, one.piece.extents[k]) for c, k in one.inner)
        low, high = one.columns
        for band in bands:
            found = _slots(one, digits, band)
            if found is not None:
                band.low, band.high = min(band.low, low), max(band.high, high)
                band.parts.append((one, found[0]))
                break
        else:
            bands.append(Band(digits, low, high, [(one, None)]))
    if all(b.lead.offset is not None for b in bands):
        bands.sort(key=lambda b: b.lead.offset or 0)
        apart = all(
            (a.lead.offset or 0) + a.span < (b.lead.offset or 0) for a, b in pairwise(bands)
        )
        if apart:
            return bands
    bands.sort(key=lambda b: b.low)
    if all(a.high < b.low for a, b in pairwise(bands)):
        return bands
    if len(bands) > _MANY:
        return None
    bands.sort(key=cmp_to_key(lambda a, b: _before(b, a) - _before(a, b)))
    ordered = all(_before(a, b) for a, b in combinations(bands, 2))
    return bands if ordered else None


def _apart(one: Placed, other: Placed) -> tuple[Sub, dict[int, int]] | None:
    """The first column of ``one`` less that of ``other`` in rows of both, over their labels."""
    if one.offset is not None and other.offset is not None:
        return const(one.offset - other.offset), {}
    if one.rows == other.rows:
        sizes = {i: e for i, (_, e) in enumerate(one.rows[1])}
        return subtract(one.base, other.base), sizes
    return None


def _slots(
    one: Placed, digits: tuple[tuple[int, int], ...], band: Band
) -> tuple[Sub | None] | None:
    """Where in a band a piece writes: ``(None,)`` for all slots, None if outside."""
    found = _apart(one, band.lead)
    if found is None:
        return None
    where, sizes = found
    if digits == band.digits and const_value(where) == 0:
        return (None,)
    if band.span != band.width - 1:
        return None
    if any(not isinstance(key, int) for _, key in parts_of(where)[1]):
        return None
    low, high = bounds(where, sizes)
    span = sum(c * (e - 1) for c, e in digits)
    return (where,) if low >= 0 and high + span <= band.span else None


def _before(one: Band, other: Band) -> bool:
    """Whether all columns of a band are known to come before those of another."""
    if one.high < other.low:
        return True
    found = _apart(one.lead, other.lead)
    return found is not None and bounds(*found)[1] + one.span < 0
