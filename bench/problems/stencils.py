"""Functions with banded derivatives, for any namespace like NumPy's, and CSR arrays by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse


def rosenbrock(x: Any, np: Any = np) -> Any:
    """The chained Rosenbrock function; its Hessian is tridiagonal."""
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_hessian(x: Any) -> Any:
    """Its Hessian written by hand."""
    n = len(x)
    data = np.empty((n, 3))
    off = -400 * x[:-1]
    data[:-1, 1] = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    data[-1, 1] = 0
    data[1:, 1] += 200
    data[:-1, 2] = off
    data[1:, 0] = off
    columns = np.arange(-1, n - 1, dtype=np.int32)[:, None] + np.arange(3, dtype=np.int32)
    pointers = np.arange(-1, 3 * n + 1, 3, dtype=np.int32)
    pointers[0] = 0
    pointers[-1] -= 1
    return scipy.sparse.csr_array(
        (data.reshape(-1)[1:-1], columns.reshape(-1)[1:-1], pointers), shape=(n, n)
    )


def brusselator(y: Any, np: Any = np) -> Any:
    """Reaction and diffusion of two substances (2, n, n) on a torus."""

    def laplacian(a: Any) -> Any:
        around = np.roll(a, 1, 0) + np.roll(a, -1, 0) + np.roll(a, 1, 1) + np.roll(a, -1, 1)
        return around - 4 * a

    u, v = y[0], y[1]
    return np.stack(
        [
            1 + u * u * v - 4.4 * u + 0.1 * laplacian(u),
            3.4 * u - u * u * v + 0.1 * laplacian(v),
        ]
    )


def brusselator_jacobian(y: Any) -> Any:
    """Its Jacobian written by hand; columns within a row are not sorted where it wraps around."""
    u, v = y
    shape = u.shape
    size = u.size
    number = np.arange(size, dtype=np.int32).reshape(shape)
    near = [
        np.roll(number, 1, 0),
        np.roll(number, 1, 1),
        number,
        np.roll(number, -1, 1),
        np.roll(number, -1, 0),
    ]
    columns = np.empty((2, *shape, 6), np.int32)
    data = np.full((2, *shape, 6), 0.1)
    for k, other in enumerate(near):
        columns[0, ..., k] = other
        columns[1, ..., k + 1] = other + size
    columns[0, ..., 5] = number + size
    columns[1, ..., 0] = number
    uv, square = 2 * u * v, u * u
    data[0, ..., 2] = uv - 4.8
    data[0, ..., 5] = square
    data[1, ..., 0] = 3.4 - uv
    data[1, ..., 3] = -square - 0.4
    pointers = np.arange(0, 12 * size + 1, 6, dtype=np.int32)
    return scipy.sparse.csr_array(
        (data.reshape(-1), columns.reshape(-1), pointers), shape=(2 * size, 2 * size)
    )
