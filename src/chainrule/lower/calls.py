"""NumPy and SciPy implementations of the calls; each returns a tuple of results.

Leading axes are batch axes throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["CALL_KERNELS"]

CALL_KERNELS: dict[str, Callable[..., tuple[Any, ...]]] = {}


def _kernel(function: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    CALL_KERNELS[function.__name__] = function
    return function


@_kernel
def inv(a: Any) -> tuple[Any, ...]:
    return (np.linalg.inv(a),)
