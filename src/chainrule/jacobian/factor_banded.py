"""Banded matrices, in LAPACK's storage: element (i, j) at ``bands[above + i - j, j]``.

Three diagonals have routines of their own, which are several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .factor_common import Array, Solver, assess_by, lapack, no_zero, power, scaled_apply, singular

__all__ = ["banded", "banded_form"]


def banded_form(matrix: Any, below: int, above: int, dtype: np.dtype[Any]) -> Array:
    """The diagonals of a CSR array."""
    n = matrix.shape[0]
    bands = np.zeros((below + above + 1, n), dtype)
    if below + above < 16:
        for k, band in _diagonals(bands, below, above):
            band[:] = matrix.diagonal(k)
    else:
        rows = np.repeat(np.arange(n), np.diff(matrix.indptr))
        bands[above + rows - matrix.indices, matrix.indices] = matrix.data
    return bands


def _diagonals(bands: Array, below: int, above: int) -> Iterator[tuple[int, Array]]:
    """Each diagonal by its number (positive above), as a view of its elements."""
    n = bands.shape[1]
    for k in range(-below, above + 1):
        yield k, bands[above - k, max(k, 0) : n + min(k, 0)]


def banded(bands: Array, below: int, above: int) -> Solver:
    """Cholesky for a positive definite matrix, else LU."""
    form = f"banded ({below} below, {above} above the diagonal)"
    n = bands.shape[1]
    made = _cholesky(bands, below) if below == above else None
    if made is not None:
        return Solver(form + ", Cholesky", made)
    sizes, sums = np.zeros(n, bands.real.dtype), np.zeros(n, bands.real.dtype)
    for k, band in _diagonals(bands, below, above):
        rows = slice(max(-k, 0), n - max(k, 0))
        magnitude = np.abs(band)
        np.maximum(sizes[rows], magnitude, out=sizes[rows])
        sums[rows] += magnitude
    no_zero(sizes, "row")
    r = power(sizes)
    full = np.zeros((2 * below + above + 1, n), bands.dtype)
    full[below:] = bands
    for k, band in _diagonals(full[below:], below, above):
        band *= r[max(-k, 0) : n - max(k, 0)]
    solve = _tridiagonal(full) if below == above == 1 and n > 2 else _lu(full, below, above)
    assess_by(solve, np.max(sums * r), n, bands.dtype)
    unit = np.ones(n, bands.real.dtype)
    return Solver(form + ", LU", scaled_apply(solve, r, unit, bands.dtype))


def _lu(full: Array, below: int, above: int) -> Callable[[Array], Array]:
    gbtrf, gbtrs = lapack(("gbtrf", "gbtrs"), full)
    lu, pivots, info = gbtrf(full, below, above, overwrite_ab=True)
    _no_zero_pivot(info)
    return lambda b: gbtrs(lu, below, above, b, pivots)[0]


def _tridiagonal(full: Array) -> Callable[[Array], Array]:
    gttrf, gttrs = lapack(("gttrf", "gttrs"), full)
    *factors, info = gttrf(full[3, :-1], full[2], full[1, 1:])
    _no_zero_pivot(info)
    return lambda b: gttrs(*factors, b)[0]


def _no_zero_pivot(info: int) -> None:
    if info > 0:
        raise singular(f"elimination meets a zero pivot in column {info - 1}")


def _cholesky(bands: Array, width: int) -> Callable[[Array], Array] | None:
    """None where the matrix is not positive definite, or so nearly that LU decides."""
    n = bands.shape[1]
    d = bands[width].real
    if not np.all(d > 0):
        return None
    limit = 8 * np.finfo(bands.dtype).eps * np.max(np.abs(bands))
    for k in range(1, width + 1):
        upper, lower = bands[width - k, k:], bands[width + k, : n - k]
        if np.max(np.abs(upper - lower.conj()), initial=0.0) > limit:
            return None
    s = power(np.sqrt(d))
    half = bands[width:].copy()
    size = np.zeros((), d.dtype)
    for k in range(width + 1):
        half[k, : n - k] *= s[: n - k] * s[k:]
        size = size + np.max(np.abs(half[k]), initial=0.0) * (2 if k else 1)
    if width == 1 and n > 2:
        pttrf, pttrs = lapack(("pttrf", "pttrs"), half)
        pivots, low, info = pttrf(half[0].real, half[1, :-1])
    else:
        pbtrf, pbtrs = lapack(("pbtrf", "pbtrs"), half)
        factor, info = pbtrf(half, lower=True)
    if info:
        return None

    def solve(b: Array) -> Array:
        if width == 1 and n > 2:
            more = {"lower": True} if half.dtype.kind == "c" else {}
            return pttrs(pivots, low, b, **more)[0]
        return pbtrs(factor, b, lower=True)[0]

    try:
        assess_by(solve, size, n, bands.dtype)
    except np.linalg.LinAlgError:
        return None
    return scaled_apply(solve, s, s, bands.dtype)
