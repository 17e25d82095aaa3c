"""Array helpers that emitted programs call: windows, diagonals, index grids, scatter-add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..expr.nodes import Node
from ..expr.subs import Div, Key, Look, Mod, Sub, parts_of

__all__ = ["diagonal", "index_grid", "scatter_add", "window"]


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
    sub: Sub, labels: Sequence[int], extents: Sequence[int], tables: Mapping[Node, Any]
) -> Any:
    """Values of a subscript over the box of ``labels``, broadcastable to ``extents``."""

    def label_values(label: int) -> Any:
        position = list(labels).index(label)
        shape = [1] * len(labels)
        shape[position] = extents[position]
        return np.arange(extents[position]).reshape(shape)

    def key_values(key: Key) -> Any:
        if isinstance(key, int):
            return label_values(key)
        if isinstance(key, Mod):
            return np.mod(evaluate(key.sub), key.n)
        if isinstance(key, Div):
            return np.floor_divide(evaluate(key.sub), key.n)
        assert isinstance(key, Look)
        return np.asarray(tables[key.table])[tuple(evaluate(s) for s in key.subs)]

    def evaluate(sub: Sub) -> Any:
        constant, parts = parts_of(sub)
        total: Any = constant
        for coef, key in parts:
            values = key_values(key)
            if values.dtype.kind != "i" or values.dtype.itemsize < 8:
                values = values.astype(np.intp)
            total = total + (values if coef == 1 else coef * values)
        return total

    return evaluate(sub)


def scatter_add(buffer: np.ndarray[Any, Any], index: tuple[Any, ...], value: Any) -> None:
    """``buffer[index] += value``, repeated indices accumulating."""
    np.add.at(buffer, index, value)
