"""log Σ exp of a vector, by subtracting the largest element first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def log_sum_exp(np_: Any) -> Callable[[Any], Any]:
    """x (n,) -> log Σ exp x, for any namespace with NumPy's names."""

    def f(x: Any) -> Any:
        top = np_.max(x)
        return top + np_.log(np_.sum(np_.exp(x - top)))

    return f


def inputs(n: int, seed: int = 0) -> Any:
    """Uniform numbers."""
    return np.random.default_rng(seed).uniform(size=n)
