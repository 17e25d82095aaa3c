"""Gaussian mixture: the log-density of points, with a Wishart prior on the precisions.

Parameters of k components in d dimensions: weights ``alpha`` (k,), means ``mu`` (k, d), and the
precision's factor Q, lower triangular with diagonal ``exp(q)`` (k, d) and the rest from ``l``
(k, d(d-1)/2), column by column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special


def table(d: int) -> Any:
    """Where each element of Q stands in a row of (exp q, l, 0)."""
    places = np.full((d, d), d + d * (d - 1) // 2)
    places[np.arange(d), np.arange(d)] = np.arange(d)
    columns, rows = np.triu_indices(d, 1)
    places[rows, columns] = d + np.arange(len(rows))
    return places


def log_sum_exp(np: Any, x: Any) -> Any:
    """log Σ exp over the last axis."""
    top = np.max(x, axis=-1, keepdims=True)
    return np.squeeze(top, -1) + np.log(np.sum(np.exp(x - top), axis=-1))


def log_density(np_: Any, d: int, m: float = 0.0, gamma: float = 1.0) -> Callable[..., Any]:
    """(alpha, mu, q, l, x) -> the log-density, for any namespace with NumPy's names."""
    places = table(d)
    nu = d + m + 1
    prior = nu * d * np.log(gamma / np.sqrt(2)) - scipy.special.multigammaln(nu / 2, d)

    def f(alpha: Any, mu: Any, q: Any, l: Any, x: Any) -> Any:
        n, k = x.shape[0], alpha.shape[0]
        rows = np_.concatenate([np_.exp(q), l, 0 * q[:, :1]], axis=1)
        factor = rows[:, places]
        y = np_.einsum("kij,nj->nki", factor, x) - np_.einsum("kij,kj->ki", factor, mu)
        beta = alpha + np_.sum(q, axis=1) - 0.5 * np_.sum(y**2, axis=-1)
        fit = np_.sum(log_sum_exp(np_, beta)) - n * log_sum_exp(np_, alpha)
        constant = k * prior - n * d / 2 * np.log(2 * np.pi)
        return fit + constant - gamma**2 / 2 * np_.sum(factor**2) + m * np_.sum(q)

    return f


def inputs(n: int, k: int, d: int, seed: int = 0) -> tuple[Any, ...]:
    """Parameters and points from a standard normal distribution."""
    rng = np.random.default_rng(seed)
    shapes = ((k,), (k, d), (k, d), (k, d * (d - 1) // 2), (n, d))
    return tuple(rng.normal(size=shape) for shape in shapes)
