"""Methods and attributes of the traced array that are not simply a function's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import METHODS, TracedArray, as_node, traced
from .elementwise import cast_to, imag, real
from .shape import moved

__all__: list[str] = []

for _name in ("prod", "max", "min", "cumprod", "argmax", "argmin", "any", "all", "argsort", "ptp"):
    METHODS[_name] = getattr(np, _name)
METHODS["conj"] = METHODS["conjugate"] = np.conjugate
METHODS["take"] = np.take
METHODS["sort"] = lambda a, *args, **kwargs: a.assign(as_node(np.sort(a, *args, **kwargs)))
METHODS["fill"] = lambda a, value: a.__setitem__(..., value)
METHODS["flatten"] = lambda a, order="C": traced(as_node(np.ravel(a, order)))
METHODS["view"] = lambda a, *_: a
METHODS["diagonal"] = np.diagonal


def _reshape(a: TracedArray, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    target = shape[0] if len(shape) == 1 else shape
    return np.reshape(a, target, order=order)  # type: ignore[call-overload]


def _transpose(a: TracedArray, *axes: Any) -> Any:
    if not axes or axes == (None,):
        return np.transpose(a)
    return np.transpose(a, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)


def _astype(a: TracedArray, dtype: Any, *args: Any, **kwargs: Any) -> Any:
    return traced(cast_to(a.node, np.dtype(dtype)))


def _transposed(a: TracedArray) -> Any:
    return moved(a, range(a.ndim)[::-1])


METHODS["reshape"] = _reshape
METHODS["transpose"] = _transpose
METHODS["astype"] = _astype
METHODS["T"] = property(_transposed)
METHODS["mT"] = property(np.matrix_transpose)
METHODS["real"] = property(real)
METHODS["imag"] = property(imag)
METHODS["flat"] = property(np.ravel)
