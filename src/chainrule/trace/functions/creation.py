"""New arrays shaped like traced ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...expr.build import cast, filled
from ..array import TracedArray, as_node, traced
from .common import existing, implements

__all__ = ["full", "traced_constant"]


def _like(a: Any, dtype: Any, shape: Any) -> tuple[Any, Any]:
    return (a.shape if shape is None else shape), np.dtype(a.dtype if dtype is None else dtype)


@implements(np.zeros_like)
def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **_: Any
) -> Any:
    extent, kind = _like(a, dtype, shape)
    return full(extent, 0, kind)


@implements(np.empty_like)
def empty_like(
    prototype: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    **_: Any,
) -> Any:
    return zeros_like(prototype, dtype, shape=shape)


@implements(np.ones_like)
def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **_: Any
) -> Any:
    extent, kind = _like(a, dtype, shape)
    return full(extent, 1, kind)


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    **_: Any,
) -> Any:
    extent, kind = _like(a, dtype, shape)
    return full(extent, fill_value, kind)


def full(shape: Any, value: Any, dtype: Any = None) -> Any:
    """A traced array of one value; writable."""
    extents = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
    if isinstance(value, TracedArray):
        kind = value.dtype if dtype is None else np.dtype(dtype)
        return np.broadcast_to(traced(cast(value.node, kind)), extents)
    array = np.asarray(value, dtype)
    if array.ndim:
        return np.broadcast_to(traced_constant(array), extents)
    return traced(filled(array.item(), extents, array.dtype))


def traced_constant(array: Any) -> TracedArray:
    """A plain array as a traced one (an implicit input)."""
    return traced(as_node(array))


@implements(np.copy, method="copy")
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    return traced(a.node, weak=a.weak)


@implements(*existing("astype"))
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return traced(cast(x.node, np.dtype(dtype)))


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    ndim = len(xi)
    grids = []
    for i, x in enumerate(xi):
        shape = [1] * ndim
        shape[i] = -1
        grids.append(np.reshape(x, tuple(shape)))
    if indexing == "xy" and ndim > 1:
        grids = [np.swapaxes(g, 0, 1) for g in grids]
    return tuple(grids if sparse else np.broadcast_arrays(*grids))


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    count = num - 1 if endpoint else num
    step = (stop - start) / max(count, 1)
    grid = np.arange(num, dtype=float).reshape((-1,) + (1,) * np.ndim(step))
    result = np.moveaxis(start + step * grid, 0, axis)
    return (result, step) if retstep else result
