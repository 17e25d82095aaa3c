"""Reading and writing arrays under subscripts: views where they suffice, else index arrays.

A subscript may leave its axis where a constraint of the term fails.  Such a read finds zeros: the
array is padded, or (table look-ups, mod, div) the index is clipped and the value deselected.  Such
a write goes into a larger buffer, of which the proper part is kept.  Either way the constraints
that only guard the axis need no mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ..expr.build import written_labels
from ..expr.nodes import Node, Term
from ..expr.subs import Sub, bounds, labels_of, parts_of, scale, unravel, unravelled
from .emitter import Emitter, Labels, Operand
from .steps import Gather, Place, ScatterAdd, ViewOp

__all__ = ["Access", "guarded_by_writing", "labels_in", "read", "write", "writes_part"]

# Up to so many strided additions are a loop; beyond, a write goes through index arrays.
_MOST_SLICES = 1024


def labels_in(subs: Sequence[Sub]) -> Labels:
    """The labels in subscripts, in order of appearance."""
    found: dict[int, None] = {}
    for sub in subs:
        if type(sub) is int:
            found[sub] = None
        else:
            found.update(labels_of(sub))
    return tuple(found)


class Access:
    """View operations that turn an array under subscripts into axes that are distinct labels.

    ``rest`` holds the subscripts that no view can express, and those with ``indexed`` labels; their
    axes come last.  Affine subscripts stay within their axes.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        subs: Sequence[Sub],
        extents: dict[int, int],
        indexed: frozenset[int] = frozenset(),
    ) -> None:
        self.ops: list[ViewOp] = []
        self.rest: list[Sub] = []
        index: list[Any] = []
        axes: list[tuple[str, Any]] = []  # what each axis left by the index is
        sizes: list[int] = []
        axis = 0
        while axis < len(subs):
            sub = subs[axis]
            extent = shape[axis]
            constant, parts = parts_of(sub)
            if not parts:
                index.append(constant)
            elif indexed and not indexed.isdisjoint(labels_of(sub)):
                index.append(slice(None))
                axes.append(("rest", sub))
                sizes.append(extent)
            elif len(parts) == 1 and isinstance(label := parts[0][1], int):
                coef = parts[0][0]
                count = extents[label]
                index.append(_slice(constant, coef, count, extent))
                axes.append(("label", label))
                sizes.append(count)
            elif all(isinstance(k, int) for _, k in parts):
                digits = sorted(((c, k) for c, k in parts if isinstance(k, int)), reverse=True)
                index.append(slice(None))
                radix = 1
                complete = constant == 0
                for coef, label in reversed(digits):
                    complete = complete and coef == radix
                    radix *= extents[label]
                axes.append(
                    ("digits" if complete and radix == extent else "window", (constant, digits))
                )
                sizes.append(extent)
            else:
                merged = unravelled(shape, subs, axis, extents)
                if merged is not None:
                    label, count = merged
                    index.extend([slice(None)] * count)
                    axes.append(("merge", (label, count)))
                    sizes.extend(shape[axis : axis + count])
                    axis += count
                    continue
                index.append(slice(None))
                axes.append(("rest", sub))
                sizes.append(extent)
            axis += 1
        if any(i != slice(None) for i in index):
            self.ops.append(ViewOp("index", tuple(index)))
        self._unfold(axes, sizes, extents)

    def _unfold(
        self, axes: list[tuple[str, Any]], sizes: list[int], extents: dict[int, int]
    ) -> None:
        labels: list[Any] = []
        shape: list[int] = []
        position = 0
        reshaped = False
        windows: list[tuple[int, Any]] = []
        for kind, data in axes:
            if kind == "label":
                labels.append(data)
                shape.append(sizes[position])
                position += 1
            elif kind == "digits":
                for _, label in data[1]:
                    labels.append(label)
                    shape.append(extents[label])
                reshaped = True
                position += 1
            elif kind == "merge":
                label, count = data
                labels.append(label)
                shape.append(extents[label])
                reshaped = True
                position += count
            else:
                if kind == "window":
                    windows.append((len(labels), data))
                labels.append((kind, data))
                shape.append(sizes[position])
                position += 1
        if reshaped:
            self.ops.append(ViewOp("reshape", tuple(shape)))
        for place, (constant, digits) in reversed(windows):
            coefs = tuple(c for c, _ in digits)
            counts = tuple(extents[k] for _, k in digits)
            self.ops.append(ViewOp("window", (place, constant, coefs, counts)))
            labels[place : place + 1] = [k for _, k in digits]
            shape[place : place + 1] = counts
        self._diagonals(labels, shape)
        last = [i for i, k in enumerate(labels) if isinstance(k, tuple)]
        if last:
            first = [i for i in range(len(labels)) if i not in last]
            if first + last != list(range(len(labels))):
                self.ops.append(ViewOp("transpose", (*first, *last)))
            self.rest = [labels[i][1] for i in last]
            shape = [shape[i] for i in (*first, *last)]
            labels = [labels[i] for i in first]
        self.labels: Labels = tuple(labels)
        self.shape = tuple(shape)

    def _diagonals(self, labels: list[Any], shape: list[int]) -> None:
        position = 0
        while position < len(labels):
            label = labels[position]
            if isinstance(label, int) and label in labels[:position]:
                first = labels.index(label)
                self.ops.append(ViewOp("diagonal", (first, position)))
                extent = shape[first]
                for i in (position, first):
                    del labels[i], shape[i]
                labels.append(label)
                shape.append(extent)
                position = 0
                continue
            position += 1


def _slice(constant: int, coef: int, count: int, extent: int) -> Any:
    if coef == 1 and constant == 0 and count == extent:
        return slice(None)
    stop: int | None = constant + coef * (count - 1) + (1 if coef > 0 else -1)
    if coef < 0 and stop is not None and stop < 0:
        stop = None
    return slice(constant, stop, coef if coef != 1 else None)


# -- reading --------------------------------------------------------------------------------------
def read(
    e: Emitter,
    node: Node,
    subs: tuple[Sub, ...],
    extents: dict[int, int],
    guarded: set[Sub] | None = None,
) -> Operand:
    """A factor under its subscripts as a value whose axes are distinct labels.

    Constraints that need no mask, because the value is zero where they fail, go into ``guarded``.
    """
    value = e.value_of(node)
    shape = node.shape
    if len(set(subs)) == len(subs) and all(
        type(s) is int and extents[s] == n for s, n in zip(subs, shape, strict=True)
    ):
        return value, subs  # type: ignore[return-value]
    valid: list[Sub] = []
    pads: list[tuple[int, int]] = []
    for sub, extent in zip(subs, shape, strict=True):
        low, high = bounds(sub, extents)
        before, after = max(0, -low), max(0, high - extent + 1)
        if before or after:
            sides = [sub] * (before > 0) + [scale(sub, -1, extent - 1)] * (after > 0)
            if guarded is not None:
                guarded.update(sides)
            if not _paddable(sub, extent, before + after):
                valid += sides
                before = after = 0
        pads.append((before, after))
    if any(pad != (0, 0) for pad in pads):
        value, shape, subs = _padded(e, value, shape, subs, pads)
    access = Access(shape, subs, extents)
    twice: frozenset[int] = frozenset()
    while not twice.issuperset(again := set(access.labels).intersection(labels_in(access.rest))):
        twice = twice | again
        access = Access(shape, subs, extents, twice)
    value = e.view(value, access.ops, access.shape)
    labels = access.labels
    if not access.rest:
        return value, labels
    over = labels_in(access.rest)
    below = [n if valid else None for n in access.shape[len(labels) :]]
    grids = [e.grid(sub, over, extents, below=n) for sub, n in zip(access.rest, below, strict=True)]
    full = tuple(extents[k] for k in (*labels, *over))
    value = e.emit(Gather(e.new(full, e.dtype(value)), (value, *grids)))
    labels = labels + over
    for sub in valid:
        these = labels_in([sub])
        mask = e.aligned(e.grid(sub, these, extents, mask=True), these, _ordered(these, labels))
        mask = e.aligned(mask, _ordered(these, labels), labels)
        value = e.select(mask, value, tuple(extents[k] for k in labels))
    return value, labels


def _ordered(these: Labels, like: Labels) -> Labels:
    return tuple(k for k in like if k in these)


def _paddable(sub: Sub, extent: int, more: int) -> bool:
    _, parts = parts_of(sub)
    return bool(parts) and more <= 4 * extent + 64 and all(type(k) is int for _, k in parts)


def _padded(
    e: Emitter,
    value: int,
    shape: tuple[int, ...],
    subs: tuple[Sub, ...],
    pads: list[tuple[int, int]],
) -> tuple[int, tuple[int, ...], tuple[Sub, ...]]:
    larger = tuple(a + n + b for (a, b), n in zip(pads, shape, strict=True))
    key = ("padded", value, tuple(pads))
    if key not in e.grids:
        buffer = e.fill(larger, 0, e.dtype(value))
        inner = tuple(_slice(a, 1, n, m) for (a, _), n, m in zip(pads, shape, larger, strict=True))
        e.grids[key] = e.emit(Place(buffer, (buffer, value), ops=(ViewOp("index", inner),)))
    shifted = tuple(
        scale(sub, 1, before) if before else sub
        for sub, (before, _) in zip(subs, pads, strict=True)
    )
    return e.grids[key], larger, shifted


# -- writing --------------------------------------------------------------------------------------
def writes_part(node: Term) -> bool:
    """Whether a term writes only a part of its shape (padding, scatter), so zeros are filled."""
    written = written_labels(node)
    return written is None or prod(node.extents[k] for k in written) != prod(node.shape)


def _overhang(node: Term) -> list[tuple[int, int]]:
    """How far each output subscript leaves its axis, below and above."""
    extents = dict(enumerate(node.extents))
    found = []
    for sub, extent in zip(node.out, node.shape, strict=True):
        low, high = bounds(sub, extents)
        found.append((max(0, -low), max(0, high - extent + 1)))
    return found


def guarded_by_writing(node: Term) -> set[Sub]:
    """Constraints that need no mask: what they exclude falls outside of the output."""
    found: set[Sub] = set()
    if all(type(sub) is int for sub in node.out):
        return found
    for sub, extent, (before, after) in zip(node.out, node.shape, _overhang(node), strict=True):
        if before:
            found.add(sub)
        if after:
            found.add(scale(sub, -1, extent - 1))
    return found


def write(
    e: Emitter, node: Term, value: int, labels: Labels, buffer: int | None, add: bool = True
) -> int:
    """A value under labels into the output: a view of it, or placed in (or added to) a buffer."""
    extents = dict(enumerate(node.extents))
    if buffer is None:
        value = e.cast(value, node.dtype)
        whole = _rearranged(e, node, value, labels, extents)
        if whole is not None:
            return whole
        add = False
    over = _overhang(node)
    if any(o != (0, 0) for o in over):
        larger = tuple(a + n + b for (a, b), n in zip(over, node.shape, strict=True))
        out = tuple(scale(s, 1, a) for s, (a, _) in zip(node.out, over, strict=True))
        hangs = Term(larger, node.dtype, 1, node.extents, node.factors, out)
        result = write(e, hangs, value, labels, None)
        inner = tuple(
            _slice(a, 1, n, m) for (a, _), n, m in zip(over, node.shape, larger, strict=True)
        )
        part = e.view(result, [ViewOp("index", inner)], node.shape)
        if buffer is None:
            return part
        # the part has zeros where the term does not write: it can only be added
        return e.emit(Place(buffer, (buffer, part), add=True, flops=prod(node.shape)))
    fresh = buffer is None
    if buffer is None:
        buffer = e.fill(node.shape, 0, node.dtype)
    access = Access(node.shape, node.out, extents)
    if not access.rest:
        loops = _loops(node, access.labels, extents)
        if loops is not None:
            aligned = e.aligned(value, labels, access.labels)
            adds = bool(loops) or (add and not fresh)
            return e.emit(
                Place(
                    buffer,
                    (buffer, aligned),
                    ops=tuple(access.ops),
                    add=adds,
                    loops=loops,
                    extents=access.shape,
                    flops=prod(access.shape) if adds else 0,
                )
            )
    over_labels = labels_in(access.rest)
    if access.rest and not set(access.labels) & set(over_labels):
        kept = Term(
            tuple(extents[k] for k in access.labels), node.dtype, 1, node.extents, (), access.labels
        )
        if written_labels(kept) is not None and _plain(node, access.labels):
            order = (*access.labels, *over_labels)
            shape = tuple(extents[k] for k in order)
            grids = tuple(e.grid(sub, over_labels, extents) for sub in access.rest)
            return e.emit(
                ScatterAdd(
                    buffer,
                    (buffer, _spread(e, value, labels, order, shape), *grids),
                    ops=tuple(access.ops),
                    lead=len(access.labels),
                    flops=prod(shape),
                )
            )
    order = labels_in(node.out)
    shape = tuple(extents[k] for k in order)
    grids = tuple(e.grid(sub, order, extents) for sub in node.out)
    aligned = _spread(e, value, labels, order, shape)
    return e.emit(ScatterAdd(buffer, (buffer, aligned, *grids), flops=prod(shape)))


def _spread(e: Emitter, value: int, labels: Labels, order: Labels, shape: tuple[int, ...]) -> int:
    aligned = e.aligned(value, labels, order)
    if e.shape(aligned) == shape:
        return aligned
    return e.view(aligned, [ViewOp("broadcast", shape)], shape)


def _plain(node: Term, labels: Labels) -> bool:
    """Whether the labels stand alone on axes of their own (each writes its own slice)."""
    alone = [
        parts[0][1]
        for sub in node.out
        for parts in [parts_of(sub)[1]]
        if len(parts) == 1 and type(parts[0][1]) is int
    ]
    return set(labels) == set(alone)


def _loops(node: Term, axes: Labels, extents: dict[int, int]) -> tuple[int, ...] | None:
    """Axes of the view to loop over, so that the others write distinct elements; None: too many.

    Empty where all points write distinct elements.
    """
    if written_labels(node) is not None:
        return ()
    looped: set[int] = set()
    seen = {
        parts[0][1]
        for sub in node.out
        for parts in [parts_of(sub)[1]]
        if len(parts) == 1 and type(parts[0][1]) is int
    }
    for sub in node.out:
        _, parts = parts_of(sub)
        digits = [(abs(c), k) for c, k in parts if type(k) is int and k not in looped | seen]
        while not _distinct(digits, extents):
            drop = min(digits, key=lambda d: extents[d[1]])
            digits.remove(drop)
            looped.add(drop[1])
        seen.update(k for _, k in digits)
    loops = tuple(i for i, k in enumerate(axes) if k in looped)
    return loops if prod(extents[axes[i]] for i in loops) <= _MOST_SLICES else None


def _distinct(digits: list[tuple[int, int]], extents: dict[int, int]) -> bool:
    radix = 1
    for coef, label in sorted(digits):
        if coef < radix:
            return False
        radix = coef * extents[label]
    return True


def _rearranged(
    e: Emitter, node: Term, value: int, labels: Labels, extents: dict[int, int]
) -> int | None:
    """The output as a view of the value, where it is written whole: axes, digits, copies."""
    written = written_labels(node)
    if written is None or prod(extents[k] for k in written) != prod(node.shape):
        return None
    order: list[int] = []
    axis = 0
    while axis < len(node.out):
        sub = node.out[axis]
        if isinstance(sub, int):
            order.append(sub)
        elif sub.parts:
            keys = [key for _, key in sub.parts]
            if all(isinstance(k, int) for k in keys):
                digits = sorted(sub.parts, key=lambda p: -p[0])
                if sub.const or any(c < 0 for c, _ in digits):
                    return None
                order.extend(k for _, k in digits if isinstance(k, int))
            else:
                found = labels_of(sub)
                if len(found) != 1:
                    return None
                (label,) = found
                end = axis + 1
                while prod(node.shape[axis:end]) < extents[label] and end < len(node.shape):
                    end += 1
                while end < len(node.shape) and node.shape[end] == 1:
                    end += 1
                if list(node.out[axis:end]) != unravel(label, node.shape[axis:end], extents):
                    return None
                order.append(label)
                axis = end - 1
        axis += 1
    aligned = e.aligned(value, labels, tuple(order))
    shape = tuple(extents[k] for k in order)
    ops = []
    if e.shape(aligned) != shape:
        ops.append(ViewOp("broadcast", shape))
    if shape != node.shape:
        ops.append(ViewOp("reshape", node.shape))
    return e.view(aligned, ops, node.shape)
