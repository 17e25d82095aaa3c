"""NumPy's names where NumPy itself cannot dispatch on traced arrays.

``zeros``, ``ones``, ``full``, ``empty``, ``eye``, ``arange``, ``linspace`` give arrays that traced
values can be written into; ``array`` and ``asarray`` take nested lists with traced entries.  On
plain values outside a trace they return plain NumPy arrays.  All other names are NumPy's own.
"""

from __future__ import annotations

from typing import Any

import numpy as _np

from .trace import functions as _functions
from .trace.array import TracedArray, as_node, is_traced, traced
from .trace.functions.creation import full as _full
from .trace.session import current

__all__ = [
    "arange",
    "array",
    "asarray",
    "empty",
    "eye",
    "full",
    "identity",
    "linspace",
    "ones",
    "zeros",
]

assert _functions.__all__  # importing it fills the table of NumPy functions


def _ready(value: Any) -> Any:
    """A plain array as a traced one inside a trace, so that it can be written into."""
    return value if current() is None else traced(as_node(value))


def zeros(shape: Any, dtype: Any = float) -> Any:
    """``np.zeros``; inside a traced function the result can hold traced values."""
    return _np.zeros(shape, dtype) if current() is None else _full(shape, 0, _np.dtype(dtype))


def ones(shape: Any, dtype: Any = float) -> Any:
    """``np.ones``; inside a traced function the result can hold traced values."""
    return _np.ones(shape, dtype) if current() is None else _full(shape, 1, _np.dtype(dtype))


def empty(shape: Any, dtype: Any = float) -> Any:
    """``np.empty``, filled with zeros inside a traced function."""
    return _np.empty(shape, dtype) if current() is None else _full(shape, 0, _np.dtype(dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """``np.full``; the value may be traced."""
    if current() is None:
        return _np.full(shape, fill_value, dtype)
    return _full(shape, fill_value, dtype)


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float) -> Any:
    """``np.eye``."""
    return _ready(_np.eye(N, M, k, dtype))


def identity(n: int, dtype: Any = float) -> Any:
    """``np.identity``."""
    return _ready(_np.identity(n, dtype))


def arange(*args: Any, dtype: Any = None) -> Any:
    """``np.arange``."""
    return _ready(_np.arange(*args, dtype=dtype))


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True) -> Any:
    """``np.linspace``; the ends may be traced."""
    if is_traced(start) or is_traced(stop):
        return _np.linspace(start, stop, num, endpoint)
    return _ready(_np.linspace(start, stop, num, endpoint))


def array(object: Any, dtype: Any = None) -> Any:
    """``np.array`` of (nested lists of) numbers, arrays and traced arrays; always a new array."""
    if isinstance(object, TracedArray):
        result: Any = traced(object.node)
    elif _has_traced(object):
        result = _np.stack([array(item) for item in object])
    else:
        return _np.array(object, dtype)
    return result if dtype is None else result.astype(dtype)


def asarray(a: Any, dtype: Any = None) -> Any:
    """``np.asarray``; a traced array is returned as it is."""
    if isinstance(a, TracedArray) and dtype is None:
        return a
    return array(a, dtype) if _has_traced(a) else _np.asarray(a, dtype)


def _has_traced(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, TracedArray):
            return True
        if isinstance(item, list | tuple):
            stack.extend(item)
    return False


def __getattr__(name: str) -> Any:
    return getattr(_np, name)
