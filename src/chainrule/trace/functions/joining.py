"""Joining and splitting: concatenate, stack, block, split.  Sums of terms with shifted outputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...expr import build
from ...expr.draft import Draft
from ...expr.nodes import Node, Sum
from ...expr.ops import join_dtypes
from ...expr.subs import Sub, affine
from ..array import OPERATORS, TracedArray, traced
from .common import axis_of, existing, implements, node_array

__all__ = ["concatenated"]


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
