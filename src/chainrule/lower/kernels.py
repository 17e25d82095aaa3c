"""Array helpers that emitted programs call: windows, diagonals, index grids, scatter-add."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from ..expr.nodes import Node
from ..expr.subs import Div, Key, Mod, Sub, parts_of

__all__ = ["diagonal", "index_grid", "overlap_add", "scatter_add", "values_at", "window"]


def window(
    array: np.ndarray[Any, Any],
    axis: int,
    constant: int,
    coefs: Sequence[int],
    counts: Sequence[int],
) -> np.ndarray[Any, Any]:
    """The axis replaced by several: element ``constant + Σ coef·index`` (no copy)."""
    step = array.strides[axis]
    base = array[(slice(None),) * axis + (slice(constant, None),)]
    shape = array.shape[:axis] + tuple(counts) + array.shape[axis + 1 :]
    strides = array.strides[:axis] + tuple(c * step for c in coefs) + array.strides[axis + 1 :]
    return np.lib.stride_tricks.as_strided(
        base, shape, strides, writeable=bool(array.flags.writeable)
    )


def diagonal(array: np.ndarray[Any, Any], first: int, second: int) -> np.ndarray[Any, Any]:
    """A writable view of the diagonal of two axes, as the last axis."""
    keep = [i for i in range(array.ndim) if i not in (first, second)]
    extent = min(array.shape[first], array.shape[second])
    shape = (*(array.shape[i] for i in keep), extent)
    strides = (
        *(array.strides[i] for i in keep),
        array.strides[first] + array.strides[second],
    )
    return np.lib.stride_tricks.as_strided(
        array, shape, strides, writeable=bool(array.flags.writeable)
    )


def index_grid(
    sub: Sub,
    labels: Sequence[int],
    extents: Sequence[int],
    mask: bool,
    below: int | None,
    tables: Mapping[Node, Any],
) -> Any:
    """Values of a subscript over the box of ``labels``; ``mask``: whether they are ≥ 0."""
    axes = {}
    for axis, (label, extent) in enumerate(zip(labels, extents, strict=True)):
        shape = [1] * len(labels)
        shape[axis] = extent
        axes[label] = np.arange(extent).reshape(shape)
    grid = values_at(sub, axes, tables)
    if mask:
        grid = grid >= 0
    elif below is not None:
        grid = np.clip(grid, 0, below - 1)
    if np.shape(grid) != tuple(extents):
        grid = np.broadcast_to(grid, tuple(extents))
    return grid


def values_at(sub: Sub, axes: Mapping[int, Any], tables: Mapping[Node, Any]) -> Any:
    """Values of a subscript where each label takes the values of an array."""

    def key_values(key: Key) -> Any:
        if isinstance(key, int):
            return axes[key]
        if isinstance(key, Mod):
            return np.mod(evaluate(key.sub), key.n)
        if isinstance(key, Div):
            return np.floor_divide(evaluate(key.sub), key.n)
        table = np.asarray(tables[key.table])
        # where a constraint fails an index may leave the table: any entry will do
        index = (np.clip(evaluate(s), 0, n - 1) for s, n in zip(key.subs, table.shape, strict=True))
        entries = table[tuple(index)]
        return entries if entries.dtype == np.intp else entries.astype(np.intp)

    def evaluate(sub: Sub) -> Any:
        constant, parts = parts_of(sub)
        total: Any = None
        for coef, key in parts:
            values = key_values(key)
            values = values if coef == 1 else coef * values
            total = values if total is None else total + values
        if total is None:
            return np.intp(constant)
        return total + constant if constant else total

    return evaluate(sub)


def overlap_add(view: np.ndarray[Any, Any], value: Any, loops: Sequence[int]) -> None:
    """``view += value`` where elements of the view coincide only along the axes ``loops``."""
    value = np.broadcast_to(value, view.shape)
    rest = [axis for axis in range(view.ndim) if axis not in loops]
    target, source = view.transpose(*loops, *rest), value.transpose(*loops, *rest)
    if target.ndim == 1:
        target, source = target[:, None], source[:, None]
    for index in np.ndindex(target.shape[: len(loops)]):
        target[index] += source[index]


def scatter_add(
    view: np.ndarray[Any, Any], index: tuple[Any, ...], value: Any, lead: int = 0
) -> None:
    """``view[…, index…] += value``, repeated indices accumulating in order.

    ``lead`` axes come first in both; the index arrays have the shape of the value's other axes.
    """
    axes = view.shape[lead:]
    count = math.prod(value.shape[lead:])
    if count == 0 or value.size == 0:
        return
    flat = np.zeros((), np.intp) if not index else index[0]
    for extent, more in zip(axes[1:], index[1:], strict=True):
        flat = flat * extent + more
    flat = flat.reshape(count)
    cells = math.prod(axes)
    if lead == 0 and value.dtype.kind in "fc":
        total = _summed_by(flat, value.reshape(count), cells)
        view += total.reshape(view.shape)
        return
    if value.dtype.kind not in "fc" or value.dtype.itemsize < 4:
        order = (*range(lead, view.ndim), *range(lead))
        moved = (*range(lead, value.ndim), *range(lead))
        np.add.at(view.transpose(order), index, value.transpose(moved))
        return
    # rows: out[flat[j]] += row[j], as one sparse matrix times a dense one
    rows = value.reshape(-1, count)
    matrix = scipy.sparse.csc_array(
        (np.ones(count, value.real.dtype), flat, np.arange(count + 1)), shape=(cells, count)
    )
    total = matrix @ rows.T
    view += total.T.reshape(view.shape)


def _summed_by(flat: Any, values: Any, cells: int) -> Any:
    if values.dtype.kind == "c":
        real = np.bincount(flat, values.real, cells)
        return (real + 1j * np.bincount(flat, values.imag, cells)).astype(values.dtype)
    return np.bincount(flat, values, cells).astype(values.dtype, copy=False)
