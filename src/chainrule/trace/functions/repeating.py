"""Repeating and padding: repeat, tile, flip, rot90, roll, pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...expr import build
from ...expr.build import view
from ...expr.draft import Draft
from ...expr.nodes import Node
from ...expr.subs import Sub, affine, modulo
from ..array import TracedArray, traced
from .common import axes_of, axis_of, implements, node_array
from .shape import moved

__all__: list[str] = []


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
