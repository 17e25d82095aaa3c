"""Compressed rows without sorting, where the order of columns is known from the subscripts.

A piece is a loop nest of entries.  Its row is an affine form of some labels, the others run
within a row.  Pieces whose column exceeds the row by the same amount share a *band*; bands in
the order of their columns are the slots of a table, one line a row, which read by lines is CSR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key
from itertools import combinations, pairwise
from math import prod
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse

from ..expr.nodes import Node
from ..expr.subs import (
    Affine,
    Div,
    Mod,
    Sub,
    add,
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
from ..lower.kernels import index_grid

__all__ = ["Array", "Piece", "Table", "arranged", "linear", "turned", "written"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_MANY = 64  # pieces into which wrapped subscripts, and segments into which rows, are cut


@dataclass
class Piece:
    """Entries over a box of labels 0, 1, …: row and column of each, and where values lie.

    The box is the part from ``starts`` on of the array number ``source``; ``masked``: some of its
    points are no entries.
    """

    row: Sub
    column: Sub
    extents: tuple[int, ...]
    source: int
    starts: tuple[int, ...]
    masked: bool

    def part(self, array: Array) -> Array:
        """The elements of this piece in an array over the whole box."""
        ranges = zip(self.starts, self.extents, strict=True)
        return array[tuple(slice(low, low + extent) for low, extent in ranges)]


def turned(piece: Piece) -> Piece:
    return replace(piece, row=piece.column, column=piece.row)


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
            pending.append(_cut(one, label, low, high))
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


def _cut(piece: Piece, label: int, low: int, high: int) -> Piece:
    """The part with ``low ≤ label < high``; ``mod`` and ``div`` that are affine there opened."""
    extents = tuple(high - low if k == label else e for k, e in enumerate(piece.extents))
    sizes = dict(enumerate(extents))
    shifted: dict[int, Sub] = {label: affine(low, [(1, label)])}
    starts = tuple(low + e if k == label else e for k, e in enumerate(piece.starts))

    def new(sub: Sub) -> Sub:
        return _opened(substitute(sub, shifted, sizes), sizes)

    return replace(
        piece, row=new(piece.row), column=new(piece.column), extents=extents, starts=starts
    )


def _opened(sub: Sub, extents: Mapping[int, int]) -> Sub:
    """``mod`` and ``div`` replaced by affine forms where their argument stays in one period."""
    constant, parts = parts_of(sub)
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

    def covers(self, rows: int) -> bool:
        """Whether one part writes every slot of every row."""
        return any(where is None and part.covers(rows) for part, where in self.parts)


@dataclass
class Placed:
    """A piece with its rows as an affine form and the labels within a row in order."""

    piece: Piece
    row: int
    steps: tuple[tuple[int, int], ...]  # (row step, label)
    inner: tuple[tuple[int, int], ...]  # (column step, label), as in the band's digits
    base: Sub  # first column; label k is that of the k-th step
    low: int
    high: int
    offset: int | None
    columns: tuple[int, int]
    rows: tuple[int, tuple[tuple[int, int], ...]]  # first row, (step, extent)
    run: bool  # rows low … high without gaps, counted up by the row labels

    @property
    def width(self) -> int:
        return prod(self.piece.extents[k] for _, k in self.inner)

    def covers(self, rows: int) -> bool:
        """Whether it writes all slots of all the ``rows`` rows of its group."""
        extents = self.piece.extents
        return not self.piece.masked and prod(extents[k] for _, k in self.steps) == rows


def _mixed(steps: Sequence[tuple[int, int]], extents: Sequence[int]) -> bool:
    """Whether ``Σ step·label`` differs at all points, and grows in the order of the steps."""
    reach = 0
    for step, label in sorted(steps, key=lambda s: abs(s[0])):
        if abs(step) <= reach:
            return False
        reach += abs(step) * (extents[label] - 1)
    return True


def _placed(piece: Piece, shape: tuple[int, int]) -> Placed | None:
    sizes = dict(enumerate(piece.extents))
    unit: dict[int, Sub] = {k: const(0) for k, e in sizes.items() if e == 1}
    row = substitute(piece.row, unit, sizes)
    column = substitute(piece.column, unit, sizes)
    constant, parts = parts_of(row)
    steps = [(c, k) for c, k in parts if isinstance(k, int)]
    low, high = bounds(row, sizes)
    if len(steps) < len(parts) or low < 0 or high >= shape[0]:
        return None
    if not _mixed(steps, piece.extents):
        return None
    outer = {k for _, k in steps}
    shift, parts = parts_of(column)
    inner: list[tuple[int, int]] = []
    rest = []
    for coef, key in parts:
        if isinstance(key, int) and key not in outer:
            inner.append((coef, key))
        else:
            rest.append((coef, key))
    free = {k for k, e in sizes.items() if e > 1} - outer
    base = affine(shift, rest)
    if free != {k for _, k in inner} or free & labels_of(base).keys():
        return None
    if not _mixed(inner, piece.extents):
        return None
    inner.sort(key=lambda s: -abs(s[0]))
    down = sum(c * (sizes[k] - 1) for c, k in inner if c < 0)
    base = affine(parts_of(base)[0] + down, parts_of(base)[1])
    offset = const_value(subtract(base, row))
    steps.sort(key=lambda s: abs(s[0]))
    radix = 1
    run = True
    for step, label in steps:
        run = run and step == radix
        radix *= sizes[label]
    return Placed(
        piece=piece,
        row=constant,
        steps=tuple(steps),
        inner=tuple(inner),
        base=relabel(base, {k: i for i, (_, k) in enumerate(steps)}),
        low=low,
        high=high,
        offset=offset,
        columns=bounds(column, sizes),
        rows=(constant, tuple((step, sizes[k]) for step, k in steps)),
        run=run,
    )


@dataclass
class Table:
    """Bands over the rows ``first ≤ row < end``."""

    first: int
    end: int
    bands: list[Band]

    @property
    def slots(self) -> int:
        return (self.end - self.first) * sum(b.width for b in self.bands)


def arranged(pieces: Sequence[Piece], shape: tuple[int, int]) -> list[Table] | None:
    """Tables that hold all entries; None where the order of columns is not known."""
    placed = []
    for piece in pieces:
        one = _placed(piece, shape)
        if one is None:
            return None
        placed.append(one)
    groups = _row_groups(_segmented(placed, shape))
    tables = []
    for group in groups:
        bands = _bands(group)
        if bands is None:
            return None
        table = Table(group[0].low, max(p.high for p in group) + 1, bands)
        if table.slots > 4 * sum(prod(p.piece.extents) for p in group) + 1024:
            return None
        tables.append(table)
    return tables


def written(
    arrangement: Sequence[Table],
    sources: Sequence[tuple[Array, Array | None]],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    index: np.dtype[Any],
    tables: Mapping[Node, Any],
) -> scipy.sparse.csr_array[Any]:
    """The CSR array of an arrangement under values (and masks) of its sources."""
    total = sum(table.slots for table in arrangement)
    data, indices = np.empty(total, dtype), np.empty(total, index)
    counts = np.zeros(shape[0] + 1, index)
    used = 0
    for group in arrangement:
        first, end, bands, slots = group.first, group.end, group.bands, group.slots
        rows = end - first
        values, columns = data[used : used + slots], indices[used : used + slots]
        table = values.reshape(rows, -1), columns.reshape(rows, -1)
        if all(b.covers(rows) for b in bands):
            _fill(first, bands, *table, None, tables, sources)
            counts[first + 1 : end + 1] = slots // rows
            used += slots
            continue
        present = np.zeros(table[0].shape, bool)
        _fill(first, bands, *table, present, tables, sources)
        kept = np.flatnonzero(present)
        values[: len(kept)] = values[kept]
        columns[: len(kept)] = columns[kept]
        counts[first + 1 : end + 1] = np.count_nonzero(present, axis=1)
        used += len(kept)
    if used < total:
        data, indices = data[:used].copy(), indices[:used].copy()
    pointers = np.cumsum(counts, dtype=index)
    made: scipy.sparse.csr_array[Any] = scipy.sparse.csr_array(
        (data, indices, pointers), shape=shape
    )
    made.has_canonical_format = True
    return made


def _row_groups(placed: Sequence[Placed]) -> list[list[Placed]]:
    """Pieces that share rows (by bounds) together, in the order of rows."""
    groups: list[list[Placed]] = []
    top = -1
    for one in sorted(placed, key=lambda p: p.low):
        if one.low > top:
            groups.append([])
        groups[-1].append(one)
        top = max(top, one.high)
    return groups


def _segmented(placed: Sequence[Placed], shape: tuple[int, int]) -> list[Placed]:
    """Pieces over runs of rows cut where other runs begin or end, so that groups are full."""
    runs = [p for p in placed if p.run and p.steps]
    breaks = sorted({b for p in runs for b in (p.low, p.high + 1)})
    if len(breaks) > _MANY:
        return list(placed)
    result = []
    for one in placed:
        if not one.run or not one.steps:
            result.append(one)
            continue
        step, label = one.steps[-1]
        extent = one.piece.extents[label]
        inside = [b - one.low for b in breaks if one.low < b <= one.high]
        if not inside or any(b % step for b in inside):
            result.append(one)
            continue
        cuts = [0, *(b // step for b in inside), extent]
        for low, high in pairwise(cuts):
            part = _placed(_cut(one.piece, label, low, high), shape)
            assert part is not None
            result.append(part)
    return result


def _bands(group: Sequence[Placed]) -> list[Band] | None:
    """The bands of a group of rows in the order of their columns; None if that varies."""
    bands: list[Band] = []
    for one in sorted(group, key=lambda p: -p.width):
        digits = tuple((abs(c), one.piece.extents[k]) for c, k in one.inner)
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


def _fill(
    first: int,
    bands: Sequence[Band],
    data: Array,
    columns: Array,
    present: Array | None,
    tables: Mapping[Node, Any],
    sources: Sequence[tuple[Array, Array | None]],
) -> None:
    """Write bands into tables of rows (from ``first`` on) by slots."""
    rows = len(data)
    index = columns.dtype
    slot = 0
    for band in bands:
        inside = np.zeros(1, index)
        for coef, extent in band.digits:
            inside = np.add.outer(inside, coef * np.arange(extent, dtype=index)).reshape(-1)
        offset = band.lead.offset
        if offset is not None:
            start = np.arange(first + offset, first + rows + offset, dtype=index)
            np.add(start[:, None], inside, out=columns[:, slot : slot + band.width])
        else:
            one = band.lead
            base = _base(one, tables)
            digits = [e for _, e in band.digits]
            grid = base.reshape(base.shape + (1,) * len(digits)) + inside.reshape(digits)
            steps = (*((1, 0) for _ in one.steps), *one.inner)
            flip = tuple(slice(None, None, -1 if c < 0 else None) for c, _ in steps)
            _window(columns, first, slot, one, band, None)[...] = grid[flip]
        fresh = band.covers(rows)
        parts = sorted(band.parts, key=lambda p: p[1] is not None or not p[0].covers(rows))
        if not fresh:
            data[:, slot : slot + band.width] = 0
        for number, (one, where) in enumerate(parts):
            used = [k for _, k in (*one.steps, *one.inner)]
            units = [k for k in range(len(one.piece.extents)) if k not in used]
            target = _window(data, first, slot, one, band, where)
            values, mask = sources[one.piece.source]
            value = one.piece.part(values).transpose(*used, *units).reshape(target.shape)
            if mask is not None:
                mask = one.piece.part(mask).transpose(*used, *units).reshape(target.shape)
                np.add(target, value, out=target, where=mask)
                if present is not None:
                    _window(present, first, slot, one, band, where)[mask] = True
                continue
            if number == 0 and fresh:
                target[...] = value
            else:
                target += value
            if present is not None:
                _window(present, first, slot, one, band, where)[...] = True
        slot += band.width


def _base(one: Placed, tables: Mapping[Node, Any]) -> Array:
    """The first column over the labels of the rows."""
    extents = [e for _, e in one.rows[1]]
    return np.asarray(index_grid(one.base, range(len(extents)), extents, False, None, tables))


def _window(
    table: Array, first: int, slot: int, one: Placed, band: Band, where: Sub | None
) -> Array:
    """The view of a rows-by-slots table that a piece writes to: row labels, inner labels."""
    down, across = table.strides
    extents = one.piece.extents
    constant, parts = (0, ()) if where is None else parts_of(where)
    slot += constant
    moves = {key: coef for coef, key in parts}
    strides, shape = [], []
    for position, (step, label) in enumerate(one.steps):
        strides.append(step * down + moves.get(position, 0) * across)
        shape.append(extents[label])
    radix = band.width
    for coef, label in one.inner:
        radix //= extents[label]
        stride = radix if where is None else abs(coef)
        shape.append(extents[label])
        strides.append(stride * across * (1 if coef > 0 else -1))
        if coef < 0:
            slot += stride * (extents[label] - 1)
    return np.lib.stride_tricks.as_strided(table[one.row - first :, slot:], shape, strides)
