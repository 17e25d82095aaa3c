"""Rearranging: reshapes, transposes, joins, repeats, pads.  All are terms with one factor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ...expr import build
from ...expr.build import broadcast, view
from ...expr.draft import Draft
from ...expr.nodes import Node, Sum
from ...expr.ops import join_dtypes
from ...expr.subs import Sub, add, affine, modulo
from ..array import OPERATORS, TracedArray, traced
from .common import axes_of, axis_of, existing, implements, node_array

__all__ = ["concatenated", "moved"]


def _inverse(axes: Sequence[int]) -> list[int]:
    return [list(axes).index(i) for i in range(len(axes))]


def _handle(a: Any) -> TracedArray:
    return a if isinstance(a, TracedArray) else traced(node_array(a))


def moved(a: Any, axes: Sequence[int]) -> TracedArray:
    """A transposed view."""
    array = _handle(a)
    axes = tuple(axes)
    back = _inverse(axes)
    return array.view_by(
        lambda node: build.permute(node, axes), lambda whole, part: build.permute(part, back)
    )


def _reshaped(a: Any, shape: tuple[int, ...]) -> TracedArray:
    array = _handle(a)
    old = array.shape
    return array.view_by(
        lambda node: build.reshape(node, shape), lambda whole, part: build.reshape(part, old)
    )


def _complete(shape: Any, size: int, old: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(shape, int | np.integer):
        shape = (shape,)
    result = [int(e) for e in shape]
    if -1 in result:
        known = prod(e for e in result if e != -1)
        if result.count(-1) > 1 or known == 0 or size % known:
            raise ValueError(f"cannot reshape array of shape {old} into shape {tuple(shape)}")
        result[result.index(-1)] = size // known
    if prod(result) != size:
        raise ValueError(f"cannot reshape array of shape {old} into shape {tuple(shape)}")
    return tuple(result)


@implements(np.reshape)
def reshape(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None
) -> Any:
    node = node_array(a)
    target = _complete(newshape if shape is None else shape, node.size, node.shape)
    if order in ("C", "A", "K"):
        return _reshaped(a, target)
    if order != "F":
        raise ValueError(f"order must be 'C', 'F', 'A' or 'K', not {order!r}")
    turned = moved(a, range(node.ndim)[::-1])
    return moved(_reshaped(turned, target[::-1]), range(len(target))[::-1])


@implements(np.ravel, method="ravel")
def ravel(a: Any, order: str = "C") -> Any:
    return reshape(a, (-1,) if node_array(a).size else (0,), order)


@implements(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    ndim = node_array(a).ndim
    if axes is None:
        return moved(a, range(ndim)[::-1])
    order = [axis_of(i, ndim) for i in axes]
    if sorted(order) != list(range(ndim)):
        raise ValueError("axes don't match array")
    return moved(a, order)


@implements(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    return np.swapaxes(x, -1, -2)


@implements(np.permute_dims)
def permute_dims(a: Any, axes: Any = None) -> Any:
    return transpose(a, axes)


@implements(np.swapaxes, method="swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = list(range(np.ndim(a)))
    i, j = axis_of(axis1, len(order)), axis_of(axis2, len(order))
    order[i], order[j] = order[j], order[i]
    return moved(a, order)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    ndim = np.ndim(a)
    origin, target = axes_of(source, ndim), axes_of(destination, ndim)
    if len(origin) != len(target):
        raise ValueError("`source` and `destination` must have the same number of elements")
    order = [i for i in range(ndim) if i not in origin]
    for place, axis in sorted(zip(target, origin, strict=True)):
        order.insert(place, axis)
    return moved(a, order)


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    ndim = np.ndim(a)
    axis = axis_of(axis, ndim)
    start = start + ndim if start < 0 else start
    if axis < start:
        start -= 1
    return moveaxis(a, axis, start)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    axes = (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
    ndim = np.ndim(a) + len(axes)
    places = axes_of(axes, ndim)
    rest = iter(np.shape(a))
    return _reshaped(a, tuple(1 if i in places else next(rest) for i in range(ndim)))


@implements(np.squeeze, method="squeeze")
def squeeze(a: Any, axis: Any = None) -> Any:
    shape = np.shape(a)
    if axis is None:
        axes = tuple(i for i, e in enumerate(shape) if e == 1)
    else:
        axes = axes_of(axis, len(shape))
        if any(shape[i] != 1 for i in axes):
            raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return _reshaped(a, tuple(e for i, e in enumerate(shape) if i not in axes))


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    node = node_array(array)
    target = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
    if np.broadcast_shapes(node.shape, target) != target:
        raise ValueError(f"shape {node.shape} cannot be broadcast to {target}")
    return traced(broadcast(node, target))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(np.shape(a) for a in args))
    return tuple(np.broadcast_to(a, shape) for a in args)


@implements(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    results = tuple(a if np.ndim(a) >= 1 else np.reshape(a, (1,)) for a in arrays)
    return results[0] if len(results) == 1 else results


@implements(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    results = tuple(
        a if np.ndim(a) >= 2 else np.reshape(a, (1, *np.shape(a)) if np.ndim(a) else (1, 1))
        for a in arrays
    )
    return results[0] if len(results) == 1 else results


@implements(np.atleast_3d)
def atleast_3d(*arrays: Any) -> Any:
    def one(a: Any) -> Any:
        shape = np.shape(a)
        if len(shape) >= 3:
            return a
        return np.reshape(a, {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)])

    results = tuple(one(a) for a in arrays)
    return results[0] if len(results) == 1 else results


# -- joining ----------------------------------------------------------------------------------
def concatenated(nodes: Sequence[Node], axis: int, dtype: np.dtype[Any]) -> Node:
    """Parts written side by side: a sum of terms with shifted outputs."""
    first = nodes[0]
    total = sum(n.shape[axis] for n in nodes)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    parts: list[tuple[int, Node]] = []
    start = 0
    for node in nodes:
        labels: list[Sub] = list(range(node.ndim))
        out = list(labels)
        out[axis] = affine(start, [(1, axis)])
        start += node.shape[axis]
        if node.size == 0:
            continue
        extents = dict(enumerate(node.shape))
        draft = Draft(shape, dtype, 1, extents, [(node, tuple(labels))], out)
        part = draft.finish()
        if part.shape == shape and len(nodes) == 1:
            return part
        parts.append((1, part))
    if len(parts) == 1 and parts[0][1].shape == shape:
        return parts[0][1]
    return Sum(shape, dtype, tuple(parts))


@implements(np.concatenate, np.concat)
def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None
) -> Any:
    values = list(arrays)
    if axis is None:
        values, axis = [np.ravel(a) for a in values], 0
    nodes = [node_array(v) for v in values]
    if not nodes:
        raise ValueError("need at least one array to concatenate")
    ndim = nodes[0].ndim
    if ndim == 0:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    position = axis_of(axis, ndim)
    for i, node in enumerate(nodes):
        if node.ndim != ndim or any(
            p != q
            for k, (p, q) in enumerate(zip(node.shape, nodes[0].shape, strict=True))
            if k != position
        ):
            raise ValueError(
                f"concatenate: array {i} has shape {node.shape}, array 0 {nodes[0].shape}; "
                f"all axes but axis {position} must agree"
            )
    kind = np.dtype(dtype) if dtype is not None else join_dtypes([n.dtype for n in nodes])
    nodes = [build.cast(n, kind) for n in nodes]
    return traced(concatenated(nodes, position, kind))


@implements(np.stack)
def stack(
    arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = None
) -> Any:
    values = list(arrays)
    shapes = {np.shape(v) for v in values}
    if len(shapes) != 1:
        raise ValueError(f"stack: all arrays must have the same shape, not {sorted(shapes)}")
    position = axis_of(axis, len(next(iter(shapes))) + 1)
    return concatenate([np.expand_dims(v, position) for v in values], axis=position, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    arrays = [np.atleast_1d(a) for a in tup]
    return concatenate(arrays, axis=0 if np.ndim(arrays[0]) == 1 else 1, dtype=dtype)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    return concatenate([np.atleast_2d(a) for a in tup], axis=0, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return concatenate([np.atleast_3d(a) for a in tup], axis=2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    columns = [a if np.ndim(a) >= 2 else np.reshape(a, (-1, 1)) for a in tup]
    return concatenate(columns, axis=1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    if axis is None:
        return concatenate([np.ravel(arr), np.ravel(values)])
    return concatenate([arr, values], axis=axis)


def _array(value: Any) -> Any:
    """``np.array`` of nested lists with traced entries."""
    if isinstance(value, list | tuple):
        return np.stack([_array(v) for v in value])
    return value if isinstance(value, TracedArray) else np.asarray(value)


OPERATORS["array"] = _array


@implements(np.block)
def block(arrays: Any) -> Any:
    def depth(value: Any) -> int:
        return 1 + depth(value[0]) if isinstance(value, list) else 0

    levels = depth(arrays)

    def leaves(value: Any) -> list[Any]:
        return [x for v in value for x in leaves(v)] if isinstance(value, list) else [value]

    ndim = max([levels, *(np.ndim(x) for x in leaves(arrays))])

    def join(value: Any, level: int) -> Any:
        if not isinstance(value, list):
            shape = np.shape(value)
            return np.reshape(value, (1,) * (ndim - len(shape)) + shape)
        return concatenate([join(v, level + 1) for v in value], axis=ndim - levels + level)

    return join(arrays, 0)


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    position = axis_of(axis, np.ndim(ary))
    extent = np.shape(ary)[position]
    if isinstance(indices_or_sections, int | np.integer):
        count = int(indices_or_sections)
        each, extra = divmod(extent, count)
        sizes = [each + 1] * extra + [each] * (count - extra)
        cuts = list(np.cumsum([0, *sizes]))
    else:
        cuts = [0, *(int(i) for i in indices_or_sections), extent]
    lead = (slice(None),) * position
    return [ary[(*lead, slice(a, b))] for a, b in pairwise(cuts)]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    if isinstance(indices_or_sections, int | np.integer):
        extent = np.shape(ary)[axis_of(axis, np.ndim(ary))]
        if extent % int(indices_or_sections):
            raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> Any:
    return split(ary, indices_or_sections, 0 if np.ndim(ary) == 1 else 1)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> Any:
    return split(ary, indices_or_sections, 0)


@implements(*existing("unstack"))
def unstack(x: Any, /, *, axis: int = 0) -> Any:
    return tuple(np.moveaxis(x, axis, 0))


# -- repeating --------------------------------------------------------------------------------
@implements(np.repeat, method="repeat")
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    if axis is None:
        a, axis = np.ravel(a), 0
    node = node_array(a)
    position = axis_of(axis, node.ndim)
    counts = np.asarray(repeats)
    extent = node.shape[position]
    if counts.size == 1:
        n = int(counts.reshape(()))
        if n * node.size == 0:
            return traced(build.zeros(_with(node.shape, position, n * extent), node.dtype))
        wide: Any = np.broadcast_to(
            np.expand_dims(traced(node), position + 1), _insert(node.shape, position + 1, n)
        )
        return np.reshape(wide, _with(node.shape, position, n * extent))
    index = np.repeat(np.arange(extent), counts)
    return np.take(traced(node), index, axis=position)


def _with(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    return (*shape[:axis], extent, *shape[axis + 1 :])


def _insert(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    return (*shape[:axis], extent, *shape[axis:])


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    counts = (int(reps),) if isinstance(reps, int | np.integer) else tuple(map(int, reps))
    shape = np.shape(A)
    ndim = max(len(counts), len(shape))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - len(shape)) + shape
    spread = tuple(k for r, e in zip(counts, shape, strict=True) for k in (r, e))
    apart = np.reshape(A, tuple(k for e in shape for k in (1, e)))
    final = tuple(r * e for r, e in zip(counts, shape, strict=True))
    return np.reshape(np.broadcast_to(apart, spread), final)


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    axes = axes_of(axis, np.ndim(m))
    return m[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(np.ndim(m)))]


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    return flip(m, 1)


@implements(np.flipud)
def flipud(m: Any) -> Any:
    return flip(m, 0)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    i, j = (axis_of(x, np.ndim(m)) for x in axes)
    k %= 4
    if k == 0:
        return m
    if k == 2:
        return flip(m, (i, j))
    order = list(range(np.ndim(m)))
    order[i], order[j] = order[j], order[i]
    return moved(flip(m, j), order) if k == 1 else flip(moved(m, order), j)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return np.reshape(roll(np.ravel(a), shift, 0), np.shape(a))
    axes = (axis,) if isinstance(axis, int | np.integer) else tuple(axis)
    shifts = (shift,) if isinstance(shift, int | np.integer) else tuple(shift)
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(axes) == 1:
        axes = axes * len(shifts)
    node = node_array(a)
    total: dict[int, int] = {}
    for k, s in zip(axes, shifts, strict=True):
        position = axis_of(k, node.ndim)
        total[position] = total.get(position, 0) + int(s)
    extents = dict(enumerate(node.shape))
    if node.size == 0:
        return traced(node)
    subs: list[Sub] = [
        modulo(affine(-total[i], [(1, i)]), e, extents) if i in total else i
        for i, e in enumerate(node.shape)
    ]
    return traced(view(node, extents, subs, range(node.ndim), node.shape))


# -- padding ----------------------------------------------------------------------------------
def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    pairs = np.broadcast_to(np.asarray(pad_width), (ndim, 2))
    return [(int(a), int(b)) for a, b in pairs]


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Any:
    node = node_array(array)
    if isinstance(pad_width, dict):
        chosen = {axis_of(k, node.ndim): v for k, v in pad_width.items()}
        pad_width = [np.broadcast_to(chosen.get(i, 0), (2,)) for i in range(node.ndim)]
    widths = _widths(pad_width, node.ndim)
    if mode == "constant":
        return _pad_constant(node, widths, kwargs.get("constant_values", 0))
    result: Any = traced(node)
    for axis, (before, after) in enumerate(widths):
        index = np.arange(-before, node.shape[axis] + after)
        extent = node.shape[axis]
        if mode == "edge":
            index = np.clip(index, 0, extent - 1)
        elif mode == "wrap":
            index = index % extent
        elif mode == "reflect":
            period = max(2 * (extent - 1), 1)
            index = (extent - 1) - np.abs((extent - 1) - index % period)
        elif mode == "symmetric":
            index = index % (2 * extent)
            index = np.where(index >= extent, 2 * extent - 1 - index, index)
        else:
            raise ValueError(f"pad: mode {mode!r} is not supported on traced arrays")
        if before or after:
            result = np.take(result, index, axis=axis)
    return result


def _pad_constant(node: Node, widths: list[tuple[int, int]], values: Any) -> Any:
    shape = tuple(e + a + b for e, (a, b) in zip(node.shape, widths, strict=True))
    if node.size == 0:
        inner = build.zeros(shape, node.dtype)
    else:
        labels = tuple(range(node.ndim))
        out = [affine(a, [(1, i)]) for i, (a, _) in enumerate(widths)]
        extents = dict(enumerate(node.shape))
        inner = Draft(shape, node.dtype, 1, extents, [(node, labels)], out).finish()  # type: ignore[assignment]
    result = traced(inner)
    if not isinstance(values, TracedArray) and not np.any(values):
        return result
    pairs = np.broadcast_to(np.asarray(values), (node.ndim, 2))
    for axis, ((before, after), (low, high)) in enumerate(zip(widths, pairs, strict=True)):
        lead = (slice(None),) * axis
        if before:
            result[(*lead, slice(None, before))] = low
        if after:
            result[(*lead, slice(shape[axis] - after, None))] = high
    return result


# -- diagonals and triangles ------------------------------------------------------------------
@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    node = node_array(a)
    i, j = axis_of(axis1, node.ndim), axis_of(axis2, node.ndim)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    row, column = max(0, -offset), max(0, offset)
    length = max(0, min(node.shape[i] - row, node.shape[j] - column))
    rest = [k for k in range(node.ndim) if k not in (i, j)]
    shape = (*(node.shape[k] for k in rest), length)
    if 0 in shape:
        return traced(build.zeros(shape, node.dtype))
    label = node.ndim
    subs: list[Sub] = list(range(node.ndim))
    subs[i], subs[j] = affine(row, [(1, label)]), affine(column, [(1, label)])
    extents = {k: node.shape[k] for k in rest} | {label: length}
    return traced(view(node, extents, subs, [*rest, label], shape))


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    node = node_array(v)
    if node.ndim == 2:
        return diagonal(v, k)
    if node.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = node.shape[0] + abs(k)
    out = [affine(max(0, -k), [(1, 0)]), affine(max(0, k), [(1, 0)])]
    if node.size == 0:
        return traced(build.zeros((n, n), node.dtype))
    draft = Draft((n, n), node.dtype, 1, {0: node.shape[0]}, [(node, (0,))], out)
    return traced(draft.finish())


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(np.ravel(v), k)


def _triangle(m: Any, k: int, lower: bool) -> Any:
    node = node_array(m)
    if node.ndim == 1:
        node = broadcast(node, (node.shape[0], node.shape[0]))
    labels = list(range(node.ndim))
    row, column = labels[-2:]
    sign = 1 if lower else -1
    below = affine(sign * k, [(sign, row), (-sign, column)])
    extents = dict(enumerate(node.shape))
    draft = Draft(node.shape, node.dtype, 1, extents, [(node, tuple(labels))], labels, [below])
    return traced(draft.finish())


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    return _triangle(m, int(k), True)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    return _triangle(m, int(k), False)


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    count = x.shape[0] if N is None else N
    powers = np.arange(count) if increasing else np.arange(count)[::-1]
    return np.stack([x ** int(p) for p in powers], axis=-1)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, **_: Any) -> Any:
    node = node_array(x)
    sizes = (window_shape,) if isinstance(window_shape, int) else tuple(window_shape)
    axes = tuple(range(node.ndim)) if axis is None else axes_of(axis, node.ndim)
    if len(axes) != len(sizes):
        raise ValueError("window_shape and axis must have the same length")
    subs: list[Sub] = list(range(node.ndim))
    extents = dict(enumerate(node.shape))
    out: list[Sub] = list(range(node.ndim))
    for size, k in zip(sizes, axes, strict=True):
        label = len(extents)
        extents[label] = int(size)
        extents[k] -= int(size) - 1
        if extents[k] <= 0:
            raise ValueError("window shape cannot be larger than input array shape")
        subs[k] = add(subs[k], label)
        out.append(label)
    shape = tuple(extents[k] for k in out if isinstance(k, int))
    return traced(view(node, extents, subs, out, shape))


# -- asking about shapes ----------------------------------------------------------------------
@implements(np.shape)
def shape_(a: Any) -> tuple[int, ...]:
    return node_array(a).shape


@implements(np.ndim)
def ndim_(a: Any) -> int:
    return node_array(a).ndim


@implements(np.size)
def size_(a: Any, axis: int | None = None) -> int:
    node = node_array(a)
    return node.size if axis is None else node.shape[axis_of(axis, node.ndim)]
