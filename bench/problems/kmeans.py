"""k-means: the cost of centroids, and Newton's direction (the cost's Hessian is diagonal)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def cost(np_: Any) -> Callable[[Any, Any], Any]:
    """(centroids, points) -> Σ of squared distances to the nearest, for any namespace."""

    def f(centroids: Any, points: Any) -> Any:
        apart = points[:, None, :] - centroids[None, :, :]
        return np_.sum(np_.min(np_.sum(apart**2, axis=-1), axis=1))

    return f


def inputs(n: int, k: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    """Uniform points, the last k of them as centroids."""
    points = np.random.default_rng(seed).uniform(size=(n, d))
    return points[-k:].copy(), points
