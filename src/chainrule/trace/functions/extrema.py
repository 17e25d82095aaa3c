"""Products, extrema, tests and orders: what is computed along axes other than by adding."""

from __future__ import annotations

from math import prod as size_of
from typing import Any

import numpy as np

from ...errors import TraceError, located
from ...expr.build import cast, filled, gather_look, map_, permute, reshape, view
from ...expr.calls import call
from ...expr.nodes import Const, Node
from ...expr.subs import Sub
from ..array import TracedArray, traced
from .common import accumulator_dtype, axes_of, axis_of, existing, implements, node_array, ufunc
from .indexing import nonzero_tables
from .reduction import keep_dims, masked

__all__ = ["reduced"]

_NO = np._NoValue


def _weak(a: Any) -> bool:
    return isinstance(a, TracedArray) and a.weak


def reduced(op: str, node: Node, axes: tuple[int, ...], keepdims: Any) -> Node:
    """A call over ``axes``, moved last in their order; they disappear or stay with extent 1."""
    kept = [i for i in range(node.ndim) if i not in axes]
    result: Node = call(op, permute(node, [*kept, *sorted(axes)]), params=(len(axes),))
    return keep_dims(result, axes, node.shape) if keepdims is True else result


# -- products ---------------------------------------------------------------------------------
@implements(np.prod)
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    initial: Any = _NO,
    where: Any = True,
) -> Any:
    node = masked(node_array(a), where, 1)
    axes = axes_of(axis, node.ndim)
    node = cast(node, accumulator_dtype(np.prod, node, dtype))
    total = reduced("prod", node, axes, keepdims) if axes else node
    result = traced(total, weak=_weak(a))
    return result if initial is _NO else result * initial


@implements(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return _running("cumprod", a, axis, dtype)


def _running(op: str, a: Any, axis: Any, dtype: Any) -> TracedArray:
    node = node_array(a)
    if axis is None:
        node, axis = reshape(node, (node.size,)), 0
    position = axis_of(axis, node.ndim)
    node = cast(node, accumulator_dtype(np.prod, node, dtype))
    return traced(_along(position, node, lambda last: call(op, last)))


def _along(position: int, node: Node, act: Any) -> Node:
    """Apply ``act`` with an axis moved to the end, and move it back."""
    order = [i for i in range(node.ndim) if i != position] + [position]
    result: Node = act(permute(node, order))
    return permute(result, [order.index(i) for i in range(node.ndim)])


@implements(*existing("cumulative_prod"))
def cumulative_prod(
    x: Any,
    /,
    *,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    include_initial: bool = False,
) -> Any:
    if axis is None:
        if np.ndim(x) > 1:
            raise ValueError(
                "For arrays which have more than one dimension ``axis`` argument is required."
            )
        axis = 0
    result = _running("cumprod", x, axis, dtype)
    if include_initial:
        shape = list(result.shape)
        shape[axis] = 1
        return np.concatenate([np.ones(shape, result.dtype), result], axis=axis)
    return result


# -- extrema ----------------------------------------------------------------------------------
def _extremum(op: str, a: Any, axis: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    better = {"amax": np.maximum, "amin": np.minimum}[op]
    node = node_array(a)
    axes = axes_of(axis, node.ndim)
    if where is not True and where is not _NO:
        if initial is _NO:
            raise ValueError(
                f"reduction operation '{better.__name__}' does not have an identity, so to use a "
                "where mask one has to specify 'initial'"
            )
        node = masked(node, where, initial)
    if not axes:
        result = traced(node, weak=_weak(a))
    elif size_of(node.shape[i] for i in axes) == 0:
        if initial is _NO:
            raise ValueError(
                f"zero-size array to reduction operation {better.__name__} which has no identity"
            )
        shape = tuple(e for i, e in enumerate(node.shape) if i not in axes)
        empty: Node = filled(np.asarray(initial).item(), shape, node.dtype)
        return traced(keep_dims(empty, axes, node.shape) if keepdims is True else empty)
    else:
        result = traced(reduced(op, node, axes, keepdims), weak=_weak(a))
    return result if initial is _NO else better(result, initial)


@implements(np.max, np.amax)
def max_(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    initial: Any = _NO,
    where: Any = True,
) -> Any:
    return _extremum("amax", a, axis, keepdims, initial, where)


@implements(np.min, np.amin)
def min_(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    initial: Any = _NO,
    where: Any = True,
) -> Any:
    return _extremum("amin", a, axis, keepdims, initial, where)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = _NO) -> Any:
    return max_(a, axis, None, keepdims) - min_(a, axis, None, keepdims)


@ufunc((np.multiply, "reduce"))
def _multiply_reduce(a: Any, axis: Any = 0, dtype: Any = None, **kwargs: Any) -> Any:
    return prod(a, axis, dtype, **kwargs)


@ufunc((np.multiply, "accumulate"))
def _multiply_accumulate(a: Any, axis: Any = 0, dtype: Any = None, **_: Any) -> Any:
    return cumprod(a, axis, dtype)


@ufunc((np.maximum, "reduce"))
def _maximum_reduce(a: Any, axis: Any = 0, dtype: Any = None, **kwargs: Any) -> Any:
    return max_(a, axis, **kwargs)


@ufunc((np.minimum, "reduce"))
def _minimum_reduce(a: Any, axis: Any = 0, dtype: Any = None, **kwargs: Any) -> Any:
    return min_(a, axis, **kwargs)


# -- tests ------------------------------------------------------------------------------------
def _tested(op: str, a: Any, axis: Any, keepdims: Any, where: Any) -> Any:
    node = node_array(a)
    if node.dtype.kind != "b":
        node = map_("not_equal", node, Const(0))
    node = masked(node, where, op == "all")
    axes = axes_of(axis, node.ndim)
    return traced(reduced(op, node, axes, keepdims) if axes else node)


@implements(np.any)
def any_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = _NO, *, where: Any = True
) -> Any:
    return _tested("any", a, axis, keepdims, where)


@implements(np.all)
def all_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = _NO, *, where: Any = True
) -> Any:
    return _tested("all", a, axis, keepdims, where)


@ufunc((np.logical_or, "reduce"))
def _or_reduce(a: Any, axis: Any = 0, dtype: Any = None, **kwargs: Any) -> Any:
    return any_(a, axis, **kwargs)


@ufunc((np.logical_and, "reduce"))
def _and_reduce(a: Any, axis: Any = 0, dtype: Any = None, **kwargs: Any) -> Any:
    return all_(a, axis, **kwargs)


@implements(np.nonzero, method="nonzero")
def nonzero(a: Any) -> tuple[TracedArray, ...]:
    node = node_array(a)
    if node.ndim == 0:
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Use np.atleast_1d(scalar).nonzero() "
            "instead."
        )
    if node.dtype.kind != "b":
        node = map_("not_equal", node, Const(0))
    return tuple(traced(table) for table in nonzero_tables(node))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> Any:
    return nonzero(np.ravel(a))[0]


@implements(np.argwhere)
def argwhere(a: Any) -> Any:
    return np.stack(nonzero(a), axis=-1)


# -- positions and orders ---------------------------------------------------------------------
def _positions(op: str, a: Any, axis: Any, keepdims: Any) -> Any:
    node = node_array(a)
    shape = node.shape
    axes = axes_of(axis, node.ndim)
    if axis is None:
        node, position = reshape(node, (node.size,)), 0
    else:
        position = axis_of(axis, node.ndim)
    if node.shape[position] == 0:
        raise ValueError(f"attempt to get {op} of an empty sequence")
    order = [i for i in range(node.ndim) if i != position] + [position]
    result: Node = call(op, permute(node, order))
    return traced(keep_dims(result, axes, shape) if keepdims is True else result)


@implements(np.argmax)
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _NO) -> Any:
    return _positions("argmax", a, axis, keepdims)


@implements(np.argmin)
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _NO) -> Any:
    return _positions("argmin", a, axis, keepdims)


def _flat_or(a: Any, axis: Any) -> tuple[Node, int]:
    node = node_array(a)
    if axis is None:
        return reshape(node, (node.size,)), 0
    return node, axis_of(axis, node.ndim)


@implements(np.argsort)
def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Any:
    """Ties are in order of position (a stable sort), whatever ``kind``."""
    node, position = _flat_or(a, axis)
    return traced(_along(position, node, lambda last: call("argsort", last)))


def _sorted(last: Node) -> Node:
    """Sorted along the last axis: a gather by argsort, which is its derivative too."""
    if last.size == 0:
        return last
    table = call("argsort", last)
    labels = tuple(range(last.ndim))
    subs: tuple[Sub, ...] = (*labels[:-1], gather_look(table, labels, last.shape[-1]))
    return view(last, dict(enumerate(last.shape)), subs, labels, last.shape)


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    node, position = _flat_or(a, axis)
    return traced(_along(position, node, _sorted))


def _sorted_over(a: Any, axis: Any) -> tuple[TracedArray, tuple[int, ...], tuple[int, ...]]:
    """The values sorted over ``axis`` (several are merged) as the last axis."""
    node = node_array(a)
    axes = axes_of(axis, node.ndim)
    kept = [i for i in range(node.ndim) if i not in axes]
    count = size_of(node.shape[i] for i in axes)
    if count == 0:
        raise TraceError(located("a median or quantile of no values", "check the array's size"))
    if node.dtype.kind not in "fc":
        node = cast(node, np.dtype(float))
    flat = reshape(permute(node, [*kept, *axes]), (*(node.shape[i] for i in kept), count))
    return traced(_sorted(flat)), axes, node.shape


@implements(np.median)
def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Any:
    values, axes, shape = _sorted_over(a, axis)
    n = values.shape[-1]
    result = np.mean(values[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    return traced(keep_dims(result.node, axes, shape)) if keepdims is True else result


@implements(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    **_: Any,
) -> Any:
    if isinstance(q, TracedArray) or method != "linear":
        raise TraceError(
            located(
                "np.quantile is traced for given q and method='linear' only",
                "sort with np.sort and interpolate",
            )
        )
    levels = np.asarray(q)
    if levels.dtype.kind != "f":
        levels = levels.astype(float)
    if levels.size and (levels.min() < 0 or levels.max() > 1):
        raise ValueError("Quantiles must be in the range [0, 1]")
    values, axes, shape = _sorted_over(a, axis)
    if isinstance(q, int | float):  # weak, as NumPy has it; an array of levels is not
        levels = levels.astype(values.dtype)
    place = levels * (values.shape[-1] - 1)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, values.shape[-1] - 1)
    share = np.asarray(place - below, levels.dtype)
    low, high = values[..., below], values[..., above]
    gap = high - low
    result = np.where(share >= 0.5, high - gap * (1 - share), low + gap * share)
    rank = levels.ndim
    result = np.moveaxis(result, range(result.ndim - rank, result.ndim), range(rank))
    if keepdims is True:
        rest = tuple(1 if i in axes else e for i, e in enumerate(shape))
        return np.reshape(result, (*levels.shape, *rest))
    return result


@implements(np.percentile)
def percentile(a: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(q, TracedArray):
        return quantile(a, q)
    level = q / 100 if isinstance(q, int | float) else np.true_divide(q, 100)
    return quantile(a, level, *args, **kwargs)
