"""Sums and what is built of them: mean, var, std, average, cumulative sums, differences."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ...expr.build import broadcast, cast, map_, reshape, summed, zeros
from ...expr.draft import Draft
from ...expr.nodes import Const, Node
from ...expr.subs import affine
from ..array import TracedArray, traced
from .common import accumulator_dtype, axes_of, axis_of, existing, implements, node_array, ufunc

__all__ = ["keep_dims", "masked"]

_NO = np._NoValue


def keep_dims(node: Node, axes: tuple[int, ...], shape: tuple[int, ...]) -> Node:
    """Put reduced axes back with extent 1."""
    return reshape(node, tuple(1 if i in axes else e for i, e in enumerate(shape)))


def masked(node: Node, where: Any, fill: Any) -> Node:
    """The node with ``fill`` where the mask is False."""
    if where is True or where is _NO:
        return node
    mask = node_array(where)
    shape = np.broadcast_shapes(mask.shape, node.shape)
    return map_(
        "where", broadcast(mask, shape), broadcast(node, shape), Const(fill), dtype=node.dtype
    )


@ufunc((np.add, "reduce"))
@implements(np.sum, method="sum")
def sum_(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = _NO,
    where: Any = True,
) -> Any:
    node = masked(node_array(a), where, 0)
    axes = axes_of(axis, node.ndim)
    kind = accumulator_dtype(np.sum, node, dtype)
    total = summed(cast(node, kind), axes, kind)
    if keepdims is True:
        total = keep_dims(total, axes, node.shape)
    result = traced(total, weak=isinstance(a, TracedArray) and a.weak)
    return result if initial is _NO else result + initial


def _count(
    node: Node, axes: tuple[int, ...], where: Any, keepdims: bool, dtype: np.dtype[Any]
) -> Any:
    """How many elements each mean is over; an array (of the result's dtype) under a mask."""
    if where is True or where is _NO:
        return prod(node.shape[i] for i in axes)
    mask = np.broadcast_to(where, node.shape)
    return np.sum(mask, axis=axes, keepdims=keepdims).astype(dtype)


def _float(node: Node, dtype: Any) -> np.dtype[Any]:
    if dtype is not None:
        wanted: np.dtype[Any] = np.dtype(dtype)
        return wanted
    return node.dtype if node.dtype.kind in "fc" else np.dtype(float)


@implements(np.mean, method="mean")
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> Any:
    node = node_array(a)
    axes = axes_of(axis, node.ndim)
    keepdims = keepdims is True
    total = sum_(a, axes, _float(node, dtype), keepdims=keepdims, where=where)
    return np.divide(total, _count(node, axes, where, keepdims, total.dtype))


@implements(np.average)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Any:
    if weights is None:
        result = np.mean(a, axis, keepdims=keepdims is True)
        scale: Any = a.size / result.size
    else:
        if np.shape(weights) != np.shape(a):
            if axis is None or np.ndim(weights) != 1:
                raise TypeError("Axis must be specified when shapes of a and weights differ.")
            shape = [1] * np.ndim(a)
            shape[axis_of(axis, np.ndim(a))] = -1
            weights = np.broadcast_to(np.reshape(weights, shape), np.shape(a))
        scale = np.sum(weights, axis=axis, keepdims=keepdims is True)
        result = np.sum(np.multiply(a, weights), axis=axis, keepdims=keepdims is True) / scale
    return (result, np.broadcast_to(scale, result.shape)) if returned else result


@implements(np.var, method="var")
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = _NO,
    correction: Any = _NO,
) -> Any:
    if correction is not _NO:
        ddof = correction
    node = node_array(a)
    axes = axes_of(axis, node.ndim)
    center = np.mean(a, axes, dtype, keepdims=True, where=where) if mean is _NO else mean
    deviation = np.subtract(a, center)
    if deviation.dtype.kind == "c":
        squares = np.square(np.real(deviation)) + np.square(np.imag(deviation))
    else:
        squares = np.square(deviation)
    keepdims = keepdims is True
    total = np.sum(squares, axis=axes, dtype=dtype, keepdims=keepdims, where=where)
    free: Any = _count(node, axes, where, keepdims, total.dtype) - ddof
    if isinstance(free, TracedArray | np.ndarray | np.generic):
        return np.divide(total, np.maximum(free, 0))
    return np.divide(total, max(free, 0))


@implements(np.std, method="std")
def std(*args: Any, **kwargs: Any) -> Any:
    kwargs.pop("out", None)
    return np.sqrt(np.var(*args, **kwargs))


@ufunc((np.add, "accumulate"))
@implements(np.cumsum, method="cumsum")
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    node = node_array(a)
    if axis is None:
        node = node_array(np.ravel(traced(node)))
        axis = 0
    position = axis_of(axis, node.ndim)
    kind = accumulator_dtype(np.sum, node, dtype)
    node = cast(node, kind)
    if node.size == 0:
        return traced(zeros(node.shape, kind))
    summed_label = node.ndim
    subs = tuple(summed_label if i == position else i for i in range(node.ndim))
    extents = dict(enumerate(node.shape))
    extents[summed_label] = node.shape[position]
    before = affine(0, [(1, position), (-1, summed_label)])
    draft = Draft(node.shape, kind, 1, extents, [(node, subs)], range(node.ndim), [before])
    return traced(draft.finish())


@implements(*existing("cumulative_sum"))
def cumulative_sum(
    x: Any,
    /,
    *,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    include_initial: bool = False,
) -> Any:
    result = cumsum(x, axis, dtype)
    if include_initial:
        axis = axis or 0
        shape = list(result.shape)
        shape[axis] = 1
        result = np.concatenate([np.zeros(shape, result.dtype), result], axis=axis)
    return result


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = _NO, append: Any = _NO) -> Any:
    position = axis_of(axis, a.ndim if isinstance(a, TracedArray) else np.ndim(a))
    parts = [a]
    for extra, first in ((prepend, True), (append, False)):
        if extra is not _NO:
            if np.ndim(extra) == 0:
                shape = list(a.shape)
                shape[position] = 1
                extra = np.broadcast_to(extra, tuple(shape))
            parts = [extra, *parts] if first else [*parts, extra]
    if len(parts) > 1:
        a = np.concatenate(parts, axis=position)
    lead = (slice(None),) * position
    for _ in range(n):
        a = a[(*lead, slice(1, None))] - a[(*lead, slice(None, -1))]
    return a


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    result = np.diff(np.ravel(ary))
    parts = [result]
    if to_begin is not None:
        parts.insert(0, np.ravel(to_begin))
    if to_end is not None:
        parts.append(np.ravel(to_end))
    return np.concatenate(parts) if len(parts) > 1 else result


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.sum(np.not_equal(a, 0), axis=axis, keepdims=keepdims)


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    steps: Any = dx
    if x is not None:
        steps = np.diff(x, axis=-1 if np.ndim(x) == 1 else axis)
    y = np.moveaxis(y, axis, -1)
    if x is not None and np.ndim(x) > 1:
        steps = np.moveaxis(steps, axis, -1)
    return np.sum(steps * (y[..., 1:] + y[..., :-1]) / 2.0, axis=-1)
