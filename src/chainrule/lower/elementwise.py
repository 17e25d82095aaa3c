"""NumPy and SciPy implementations of the elementwise functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from ..expr.ops import OPS

__all__ = ["ELEMENTWISE"]


def _polygamma(x: Any, order: int) -> Any:
    return np.asarray(scipy.special.polygamma(order, x), dtype=np.asarray(x).dtype)


_OTHER: dict[str, Callable[..., Any]] = {
    "polygamma": _polygamma,
    "digamma": scipy.special.digamma,
    "stop": np.positive,
    "root": np.sqrt,
}

ELEMENTWISE: dict[str, Callable[..., Any]] = {}
for _name in OPS:
    if _name == "astype":
        continue  # the backend writes it out
    if _name in _OTHER:
        ELEMENTWISE[_name] = _OTHER[_name]
    elif hasattr(np, _name):
        ELEMENTWISE[_name] = getattr(np, _name)
    else:
        ELEMENTWISE[_name] = getattr(scipy.special, _name)
