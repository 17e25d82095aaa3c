"""Loop nests of entries, in a form whose rows and columns can be counted: pieces.

A piece gives one entry for every point of its box of labels.  Cutting its box opens ``mod`` and
``div`` where they are affine, splitting a label makes the digits of one row index two labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..expr.subs import (
    Affine,
    Div,
    Mod,
    Sub,
    add,
    affine,
    bounds,
    const,
    parts_of,
    substitute,
)

__all__ = ["Array", "Piece", "linear"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_MANY = 64  # pieces into which wrapped subscripts are cut


class _Shape(NamedTuple):
    """A reshaping among the views of a piece."""

    extents: tuple[int, ...]


@dataclass(slots=True)
class Piece:
    """Entries over a box of labels 0, 1, …: row and column of each, and where values lie.

    ``views`` lead from the array number ``source``, which is over the box of the whole term, to the
    elements of this piece; ``masked``: some of its points are no entries.
    """

    row: Sub
    column: Sub
    extents: tuple[int, ...]
    source: int
    masked: bool
    views: tuple[tuple[slice, ...] | _Shape, ...] = ()

    def part(self, array: Array) -> Array:
        """The elements of this piece in an array over the whole box."""
        for view in self.views:
            array = array.reshape(view.extents) if isinstance(view, _Shape) else array[view]
        return array

    def turned(self) -> Piece:
        """With rows and columns exchanged."""
        return replace(self, row=self.column, column=self.row)

    def cut(self, label: int, low: int, high: int) -> Piece:
        """The part with ``low ≤ label < high``, ``mod`` and ``div`` opened where affine there."""
        if (low, high) == (0, self.extents[label]):
            return self
        extents = tuple(high - low if k == label else e for k, e in enumerate(self.extents))
        index = tuple(slice(low, high) if k == label else slice(None) for k in range(len(extents)))
        last = self.views[-1] if self.views else None
        if last is not None and not isinstance(last, _Shape) and last[label] == slice(None):
            one_cut = tuple(
                s if k == label else t for k, (s, t) in enumerate(zip(index, last, strict=True))
            )
            views = (*self.views[:-1], one_cut)
        else:
            views = (*self.views, index)
        return self._changed({label: affine(low, [(1, label)])}, extents, views)

    def flipped(self, label: int) -> Piece:
        """The same entries, the label counted from the other end."""
        count = len(self.extents)
        index = tuple(slice(None, None, -1 if k == label else None) for k in range(count))
        last = affine(self.extents[label] - 1, [(-1, label)])
        return self._changed({label: last}, self.extents, (*self.views, index))

    def split(self, label: int, radix: int) -> Piece:
        """The same entries, the label as ``radix·label + (label + 1)``; later labels move up."""
        count = self.extents[label] // radix
        assert count * radix == self.extents[label]
        extents = (*self.extents[:label], count, radix, *self.extents[label + 1 :])
        mapping: dict[int, Sub] = {k: k + 1 for k in range(label + 1, len(self.extents))}
        mapping[label] = affine(0, [(radix, label), (1, label + 1)])
        return self._changed(mapping, extents, (*self.views, _Shape(extents)))

    def _changed(
        self,
        mapping: dict[int, Sub],
        extents: tuple[int, ...],
        views: tuple[tuple[slice, ...] | _Shape, ...],
    ) -> Piece:
        sizes = dict(enumerate(extents))
        row, column = (
            _opened(substitute(sub, mapping, sizes), sizes) for sub in (self.row, self.column)
        )
        return Piece(row, column, extents, self.source, self.masked, views)


def linear(piece: Piece) -> list[Piece]:
    """Pieces over parts of the box in which ``mod`` and ``div`` of one label are affine."""
    done: list[Piece] = []
    pending = [piece]
    while pending:
        if len(done) + len(pending) > _MANY:
            return [piece]
        one = pending.pop()
        found = _wrapped(one)
        if found is None:
            done.append(one)
            continue
        label, cuts = found
        if len(cuts) > _MANY:
            return [piece]
        for low, high in pairwise(cuts):
            pending.append(one.cut(label, low, high))
    return done


def _wrapped(piece: Piece) -> tuple[int, list[int]] | None:
    """A label under a ``mod`` or ``div`` and where to cut its range."""
    for sub in (piece.row, piece.column):
        for _, key in parts_of(sub)[1]:
            if not isinstance(key, Mod | Div):
                continue
            constant, parts = parts_of(key.sub)
            if len(parts) != 1:
                continue
            step, label = parts[0]
            if not isinstance(label, int):
                continue
            extent = piece.extents[label]
            values = [constant, constant + step * (extent - 1)]
            if (max(values) // key.n - min(values) // key.n) > _MANY:
                continue
            period = (constant + step * np.arange(extent)) // key.n
            inside = np.flatnonzero(np.diff(period)) + 1
            return label, [0, *inside.tolist(), extent]
    return None


def _opened(sub: Sub, extents: Mapping[int, int]) -> Sub:
    """``mod`` and ``div`` replaced by affine forms where their argument stays in one period."""
    constant, parts = parts_of(sub)
    if all(isinstance(key, int) for _, key in parts):
        return sub
    total: Sub = const(constant)
    for coef, key in parts:
        term: Sub = Affine(0, ((coef, key),))
        if isinstance(key, Mod | Div):
            low, high = bounds(key.sub, extents)
            period = low // key.n
            if period == high // key.n:
                if isinstance(key, Div):
                    term = const(coef * period)
                else:
                    c, inner = parts_of(key.sub)
                    term = affine(coef * (c - period * key.n), [(coef * k, x) for k, x in inner])
        total = add(total, term)
    return total
