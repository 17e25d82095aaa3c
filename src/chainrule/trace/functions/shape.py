"""Rearranging: reshapes, transposes, unit axes, broadcasts.  All are terms with one factor."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ...expr import build
from ...expr.build import broadcast
from ..array import TracedArray, traced
from .common import axes_of, axis_of, implements, node_array

__all__ = ["moved"]


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
