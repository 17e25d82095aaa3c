"""Compressed rows without sorting: every entry's place in them is an affine form, region by region.

Rows are counted by digits of a mixed radix, those of the labels of the pieces.  Where pieces begin
or end, each digit's range is cut: that gives *cells*, boxes of digits in which all rows have the
same bands.  So within a cell the place of an entry is affine in the digits, and values and columns
are written through strided views: nothing is sorted, moved or masked but what a constraint leaves
out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from ..expr.nodes import Node
from ..expr.subs import Sub, affine, looks_of, parts_of
from ..lower.kernels import index_grid
from .bands import Band, Placed, bands_of, placed
from .pieces import Array, Piece

__all__ = ["Arrangement", "Source", "apart", "arranged", "written"]

_MOST_CELLS = 4096  # times the pieces in each
_FEW = 8  # leaps within a row that are worth a piece each
_PICKED = 1 << 17  # entries up to so many are picked at once
_KEPT = 1 << 21  # columns of up to so many entries are kept with the arrangement


@dataclass(slots=True)
class _View:
    """A view of the array of entries: where it begins, and extent and stride of each axis."""

    start: int
    extents: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, entries: Array) -> Array:
        size = entries.itemsize
        strides = tuple([size * s for s in self.strides])
        return np.ndarray(self.extents, entries.dtype, entries, size * self.start, strides)


@dataclass(slots=True)
class _Part:
    """A piece's values: where they go, in which order axes lie, whether others lie there."""

    piece: Piece
    view: _View
    axes: tuple[int, ...]
    add: bool

    def values(self, array: Array) -> Array:
        array = self.piece.part(array)
        if self.axes != tuple(range(len(self.axes))):
            array = array.transpose(self.axes)
        return array.reshape(self.view.extents)


@dataclass(slots=True)
class _Slots:
    """A band within a cell: its columns, and what is written to it."""

    view: _View
    base: Sub  # first column over the digits of the row
    inside: tuple[tuple[int, int], ...]  # (coef, extent) within the band
    fresh: bool  # the first part writes everything
    parts: list[_Part]

    @property
    def looks(self) -> bool:
        """Whether columns are looked up."""
        return not all(isinstance(key, int) for _, key in parts_of(self.base)[1])

    @property
    def tables(self) -> list[Node]:
        """Where columns are looked up."""
        return [look.table for look in looks_of(self.base)]


class _Pattern(NamedTuple):
    """Columns and row pointers, and the tables that they were read from."""

    columns: Array
    pointers: Array
    tables: Mapping[Node, Array]

    def holds(self, index: np.dtype[Any], tables: Mapping[Node, Any]) -> bool:
        return self.columns.dtype == index and all(
            np.array_equal(known, tables[node]) for node, known in self.tables.items()
        )


@dataclass(slots=True)
class Arrangement:
    """How all entries are written; ``counts``: a view of the rows' numbers of entries, and these.

    ``pattern`` holds columns and pointers once they are known, and copies of the tables in which
    they were looked up: the next matrix of this form has the same under the same tables.
    ``picks`` says which of all values in a row each entry is, where the views would be many and
    short.
    """

    slots: list[_Slots]
    counts: list[tuple[_View, int]]
    size: int
    masked: bool
    pattern: _Pattern | None = None
    picks: Array | None = None

    @property
    def plain(self) -> bool:
        """Whether every entry is one value, and entries are few: they can be picked in one go."""
        return (
            not self.masked
            and self.size <= _PICKED
            and all(s.fresh and len(s.parts) == 1 for s in self.slots)
        )


def arranged(pieces: Sequence[Piece], shape: tuple[int, int]) -> Arrangement | None:
    """Where every entry goes; None where the order of columns is not known."""
    every = []
    for piece in pieces:
        one = placed(piece, shape)
        if one is None:
            return None
        every.append(one)
    made = Arrangement([], [], 0, any(p.masked for p in pieces))
    for group in _row_groups(every):
        if not _write_group(group, shape, made):
            return None
    entries = sum(prod(p.extents) for p in pieces)
    return made if made.size <= 4 * entries + 1024 else None


def apart(pieces: Sequence[Piece], shape: tuple[int, int]) -> list[Piece]:
    """Pieces that leap within their rows in few strides, each stride a piece of its own.

    Other pieces may then lie in between: the other block of columns of ``abc->ab|cb``.
    """
    done: list[Piece] = []
    pending = list(pieces)
    while pending:
        piece = pending.pop()
        one = placed(piece, shape)
        if one is not None:
            piece = one.piece
            leaps = [k for coef, k in one.inner if coef > 1 and piece.extents[k] <= _FEW]
            if leaps:
                pending += [piece.cut(leaps[0], i, i + 1) for i in range(piece.extents[leaps[0]])]
                continue
        done.append(piece)
    return done


def _row_groups(every: Sequence[Placed]) -> list[list[Placed]]:
    """Pieces that share rows (by bounds) together, in the order of rows."""
    groups: list[list[Placed]] = []
    top = -1
    for one in sorted(every, key=lambda p: p.low):
        if one.low > top:
            groups.append([])
        groups[-1].append(one)
        top = max(top, one.high)
    return groups


class Source(NamedTuple):
    """The values of a term: broadcastable to its box of labels, and where they are entries."""

    values: Array
    box: tuple[int, ...]
    mask: Array | None

    @property
    def over_box(self) -> Array:
        return np.broadcast_to(self.values, self.box)


# -- digits ---------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Digits:
    """A piece over a box of digits: where each begins, and its label (None: it stays there)."""

    piece: Piece
    begin: tuple[int, ...]
    labels: tuple[int | None, ...]

    def end(self, digit: int) -> int:
        label = self.labels[digit]
        return self.begin[digit] + (1 if label is None else self.piece.extents[label])


def _digits(
    every: Sequence[Placed], shape: tuple[int, int]
) -> tuple[list[int], list[_Digits]] | None:
    """The steps of the digits, largest first, and the pieces cut so that each has a box of them."""
    steps = sorted({1, *(step for p in every for step, _ in p.steps)}, reverse=True)
    if any(a % b for a, b in pairwise(steps)):
        return None
    low = every[0].low
    done: list[_Digits] = []
    pending = [p.piece for p in every]
    while pending:
        if len(done) + len(pending) > _MOST_CELLS:
            return None
        one = placed(pending.pop(), shape)
        assert one is not None
        label_of = {step: label for step, label in one.steps}
        begin = []
        rest = one.low - low
        for step in steps:
            digit, rest = divmod(rest, step)
            begin.append(digit)
        piece = one.piece
        for position in range(len(steps) - 1, 0, -1):
            label = label_of.get(steps[position])
            radix = steps[position - 1] // steps[position]
            if label is None or begin[position] + piece.extents[label] <= radix:
                continue
            # it runs on into the next digit: cut where it begins anew, split where it is whole
            extent = piece.extents[label]
            whole = extent - extent % radix
            if begin[position]:
                cuts = [0, radix - begin[position], extent]
            elif whole < extent:
                cuts = [0, whole, extent]
            elif steps[position - 1] in label_of:
                return None
            else:
                pending.append(piece.split(label, radix))
                break
            pending += [piece.cut(label, a, b) for a, b in pairwise(cuts)]
            break
        else:
            labels = tuple(label_of.get(step) for step in steps)
            done.append(_Digits(piece, tuple(begin), labels))
    return steps, done


# -- cells ----------------------------------------------------------------------------------------
def _write_group(every: Sequence[Placed], shape: tuple[int, int], made: Arrangement) -> bool:
    """Append what writes the rows of a group; False where that is not known."""
    found = _digits(every, shape)
    if found is None:
        return False
    steps, pieces = found
    breaks = [
        sorted({b for p in pieces for b in (p.begin[d], p.end(d))}) for d in range(len(steps))
    ]
    place = [{b: i for i, b in enumerate(bs)} for bs in breaks]
    cells: dict[tuple[int, ...], list[_Digits]] = {}
    total = 0
    for one in pieces:
        ranges = [range(place[d][one.begin[d]], place[d][one.end(d)]) for d in range(len(steps))]
        total += prod(map(len, ranges))
        if total > _MOST_CELLS:
            return False
        for cell in product(*ranges):
            cells.setdefault(cell, []).append(one)
    bands: dict[tuple[int, ...], list[Band]] = {}
    for cell, inside in cells.items():
        cut = []
        for one in inside:
            piece = one.piece
            for d, label in enumerate(one.labels):
                if label is not None:
                    low, high = breaks[d][cell[d]], breaks[d][cell[d] + 1]
                    piece = piece.cut(label, low - one.begin[d], high - one.begin[d])
            part = placed(piece, shape)
            assert part is not None
            cut.append(part)
        ordered = bands_of(cut)
        if ordered is None:
            return False
        bands[cell] = ordered
    _write_cells(steps, breaks, bands, made)
    return True


def _write_cells(
    steps: Sequence[int],
    breaks: Sequence[Sequence[int]],
    bands: Mapping[tuple[int, ...], Sequence[Band]],
    made: Arrangement,
) -> None:
    lengths = [np.diff(b) for b in breaks]
    widths = np.zeros([len(n) for n in lengths], np.int64)
    for cell, ordered in bands.items():
        widths[cell] = sum(b.width for b in ordered)
    # from the last digit on: entries for one step of a digit, and those before a cell
    strides: list[Array] = []
    before: list[Array] = []
    inner = widths
    for count in reversed(lengths):
        strides.insert(0, inner)
        block = inner * count
        inner = block.sum(-1)
        before.insert(0, np.cumsum(block, -1) - block)
    start = made.size
    for cell in sorted(bands):
        ordered = bands[cell]
        first = start + sum(int(b[cell[: d + 1]]) for d, b in enumerate(before))
        down = {
            step: int(s[cell[: d + 1]])
            for d, (step, s) in enumerate(zip(steps, strides, strict=True))
        }
        lead = ordered[0].lead
        rows = _View(
            1 + lead.rows[0],
            tuple(extent for _, extent in lead.rows[1]),
            tuple(step for step, _ in lead.rows[1]),
        )
        made.counts.append((rows, int(widths[cell])))
        for band in ordered:
            made.slots.append(_slots(band, first, down))
            first += band.width
    made.size += int(inner)


def _slots(band: Band, first: int, down: Mapping[int, int]) -> _Slots:
    lead = band.lead
    rows = [extent for _, extent in lead.rows[1]]
    strides = [down[step] for step, _ in lead.steps]
    radix = band.width
    across = []
    for _, extent in band.digits:
        radix //= extent
        across.append(radix)
    view = _View(first, (*rows, *(e for _, e in band.digits)), (*strides, *across))
    base = lead.base
    if lead.offset is not None:
        constant, digits = lead.rows
        base = affine(constant + lead.offset, [(step, k) for k, (step, _) in enumerate(digits)])
    parts = []
    everywhere = sorted(band.parts, key=lambda p: p[1] is not None or p[0].piece.masked)
    fresh = band.covered
    for number, (one, where) in enumerate(everywhere):
        constant, moves = (0, ()) if where is None else parts_of(where)
        shifts = {key: coef for coef, key in moves}
        mine = [down[step] + shifts.get(k, 0) for k, (step, _) in enumerate(one.steps)]
        inner = across if where is None else [coef for coef, _ in one.inner]
        used = [k for _, k in (*one.steps, *one.inner)]
        units = [k for k in range(len(one.piece.extents)) if k not in used]
        extents = tuple(one.piece.extents[k] for k in used)
        target = _View(first + constant, extents, (*mine, *inner))
        parts.append(_Part(one.piece, target, (*used, *units), number > 0 or not fresh))
    return _Slots(view, base, band.digits, fresh, parts)


# -- writing --------------------------------------------------------------------------------------
def written(
    arrangement: Arrangement,
    sources: Sequence[Source],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    index: np.dtype[Any],
    tables: Mapping[Node, Any],
) -> scipy.sparse.csr_array[Any]:
    """The CSR array of an arrangement under values (and masks) of its sources."""
    columns, pointers = _pattern(arrangement, shape[0], index, tables)
    if arrangement.plain:
        if arrangement.picks is None:
            arrangement.picks = _picks(arrangement, sources)
        flat = np.concatenate([np.ravel(source.values) for source in sources])
        data = flat.take(arrangement.picks).astype(dtype, copy=False)
    else:
        data = np.empty(arrangement.size, dtype)
        present = np.zeros(arrangement.size, bool) if arrangement.masked else None
        _write(arrangement, [(s.over_box, s.mask) for s in sources], data, present)
        if present is not None:
            data, columns = data[present], columns[present]
            kept = np.zeros(arrangement.size + 1, index)
            np.cumsum(present, out=kept[1:])
            pointers = kept[pointers]
    made: scipy.sparse.csr_array[Any] = scipy.sparse.csr_array(
        (data, columns, pointers), shape=shape
    )
    made.has_canonical_format = True
    return made


def _picks(arrangement: Arrangement, sources: Sequence[Source]) -> Array:
    """For each entry its number among the values of all sources: the numbers, written likewise."""
    numbers: list[tuple[Array, Array | None]] = []
    first = 0
    for source in sources:
        count = np.size(source.values)
        own = np.arange(first, first + count).reshape(np.shape(source.values))
        numbers.append((np.broadcast_to(own, source.box), None))
        first += count
    picks = np.empty(arrangement.size, np.intp)
    _write(arrangement, numbers, picks, None)
    return picks


def _write(
    arrangement: Arrangement,
    arrays: Sequence[tuple[Array, Array | None]],
    data: Array,
    present: Array | None,
) -> None:
    for slots in arrangement.slots:
        if not slots.fresh:
            slots.view.of(data)[...] = 0
        for part in slots.parts:
            values, mask = arrays[part.piece.source]
            target, value = part.view.of(data), part.values(values)
            if mask is not None:
                assert present is not None
                mask = part.values(mask)
                np.add(target, value, out=target, where=mask)
                part.view.of(present)[mask] = True
                continue
            if part.add:
                target += value
            else:
                target[...] = value
            if present is not None:
                part.view.of(present)[...] = True


def _pattern(
    arrangement: Arrangement, rows: int, index: np.dtype[Any], tables: Mapping[Node, Any]
) -> tuple[Array, Array]:
    """Columns and row pointers; fresh arrays."""
    known = arrangement.pattern
    if known is not None and known.holds(index, tables):
        return known.columns.copy(), known.pointers.copy()
    columns, pointers = np.empty(arrangement.size, index), np.zeros(rows + 1, index)
    for view, width in arrangement.counts:
        view.of(pointers)[...] = width
    np.cumsum(pointers, out=pointers)
    for slots in arrangement.slots:
        _write_columns(slots, columns, tables)
    if len(columns) + len(pointers) <= _KEPT:
        read = {t: np.array(tables[t]) for s in arrangement.slots for t in s.tables}
        arrangement.pattern = _Pattern(columns.copy(), pointers.copy(), read)
    return columns, pointers


def _write_columns(slots: _Slots, columns: Array, tables: Mapping[Node, Any]) -> None:
    target = slots.view.of(columns)
    count = target.ndim - len(slots.inside)
    index = columns.dtype
    coefs = [coef for coef, _ in slots.inside]
    total: Array
    if slots.looks:
        rows = target.shape[:count]
        total = index_grid(slots.base, range(count), rows, False, None, tables).astype(index)
    else:
        constant, parts = parts_of(slots.base)
        total = np.full((), constant, index)
        steps = {key: coef for coef, key in parts}
        coefs = [*(steps.get(k, 0) for k in range(count)), *coefs]
    extents = target.shape[target.ndim - len(coefs) :]
    for coef, extent in zip(coefs, extents, strict=True):
        total = total[..., None] + coef * np.arange(extent, dtype=index)
    target[...] = total
