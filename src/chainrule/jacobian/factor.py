"""Factorizations of matrices that are at hand: blocks, dense, banded, triangular, sparse.

Rows and columns are scaled by powers of two first, so that "singular" speaks of directions, not
of units.  A matrix that leaves no digit of a probing right-hand side is reported as singular.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from ..errors import TooLargeError
from .factor_banded import banded, banded_form
from .factor_common import (
    Array,
    Solver,
    assess,
    assess_by,
    lapack,
    no_zero,
    power,
    probing,
    scaled_apply,
    singular,
)

__all__ = ["Solver", "blocks", "dense", "singular", "sparse"]

Check: TypeAlias = Callable[[int, str], None]


def _row_size(matrix: Array) -> Array:
    return np.max(np.abs(matrix), axis=-1, initial=0.0)


def _equilibrated(matrix: Array) -> tuple[Array, Array, Array]:
    """``(r · A · c, r, c)`` for matrices over leading axes."""
    rows = _row_size(matrix)
    no_zero(rows, "row")
    r = power(rows)
    matrix = matrix * r[..., None]
    columns = np.max(np.abs(matrix), axis=-2, initial=0.0)
    no_zero(columns, "column")
    c = power(columns)
    return matrix * c[..., None, :], r, c


# -- dense --------------------------------------------------------------------------------------
def blocks(matrices: Array) -> Solver:
    """[count, m, m]: all at once by LAPACK's LU."""
    count, m = matrices.shape[:2]
    scaled, r, c = _equilibrated(matrices)
    size = np.max(np.sum(np.abs(scaled), axis=-1), axis=-1, initial=0.0)
    probe = np.broadcast_to(probing(m, scaled.dtype), (count, m))

    def apply(b: Array) -> Array:
        both = np.concatenate([b * r[..., None], probe[..., None]], axis=-1)
        try:
            x = np.linalg.solve(scaled, both)
        except np.linalg.LinAlgError:
            raise singular(f"one of its {count} blocks of {m} x {m} is") from None
        assess(size, probe, x[..., -1])
        return x[..., :-1] * c[..., None]

    return Solver(f"blocks: {count} dense systems of {m} x {m}", apply)


def dense(matrix: Array) -> Solver:
    """A triangular matrix, Cholesky for a positive definite one, else LU."""
    n = len(matrix)
    for lower, name in ((False, "upper"), (True, "lower")):
        if n > 1 and not np.any(np.tril(matrix, -1) if not lower else np.triu(matrix, 1)):
            return _triangular(matrix, lower, name)
    made = _cholesky(matrix)
    if made is not None:
        return made
    scaled, r, c = _equilibrated(matrix)
    getrf, getrs = lapack(("getrf", "getrs"), scaled)
    lu, pivots, info = getrf(scaled)
    if info > 0:
        raise singular(f"elimination meets a zero pivot in column {info - 1}")

    def solve(b: Array) -> Array:
        return getrs(lu, pivots, b)[0]

    assess_by(solve, np.max(np.sum(np.abs(scaled), axis=-1)), n, scaled.dtype)
    return Solver(f"dense LU of {n} x {n}", scaled_apply(solve, r, c, scaled.dtype))


def _triangular(matrix: Array, lower: bool, name: str) -> Solver:
    n = len(matrix)
    zero = np.flatnonzero(np.diagonal(matrix) == 0)
    if len(zero):
        raise singular(f"it is triangular with a zero on the diagonal, at {int(zero[0])}")

    def solve(b: Array) -> Array:
        return scipy.linalg.solve_triangular(matrix, b, lower=lower)

    unit = np.ones(n, matrix.real.dtype)
    return Solver(
        f"dense triangular ({name}) of {n} x {n}", scaled_apply(solve, unit, unit, matrix.dtype)
    )


def _hermitian(matrix: Array) -> bool:
    """Up to rounding; only half of it is read then."""
    eps = np.finfo(matrix.dtype).eps
    size = np.max(np.abs(matrix), initial=0.0)
    return bool(np.max(np.abs(matrix - matrix.conj().T), initial=0.0) <= 8 * eps * size)


def _cholesky(matrix: Array) -> Solver | None:
    """None where the matrix is not positive definite, or so nearly that LU decides."""
    n = len(matrix)
    d = np.diagonal(matrix).real
    if not np.all(d > 0) or not np.all(np.isfinite(d)) or not _hermitian(matrix):
        return None
    s = power(np.sqrt(d))
    scaled = matrix * s[:, None] * s
    potrf, potrs = lapack(("potrf", "potrs"), scaled)
    c, info = potrf(scaled, lower=True)
    if info:
        return None

    def solve(b: Array) -> Array:
        return potrs(c, b, lower=True)[0]

    try:
        assess_by(solve, np.max(np.sum(np.abs(scaled), axis=-1)), n, scaled.dtype)
    except np.linalg.LinAlgError:
        return None
    return Solver(f"dense Cholesky of {n} x {n}", scaled_apply(solve, s, s, scaled.dtype))


# -- sparse -------------------------------------------------------------------------------------
def sparse(matrix: scipy.sparse.csr_array[Any], check: Check) -> Solver:
    """A square CSR array in canonical form: banded, triangular, or SuperLU."""
    n = matrix.shape[0]
    count = np.diff(matrix.indptr)
    if not np.all(count):
        raise singular(f"row {int(np.flatnonzero(count == 0)[0])} of its matrix is zero")
    data = matrix.data
    if data.dtype.kind not in "fc" or data.dtype.itemsize < 4:
        data = data.astype(np.float64)
    # columns ascend within a row: its first and last entry tell how far it reaches
    first, last = matrix.indices[matrix.indptr[:-1]], matrix.indices[matrix.indptr[1:] - 1]
    diagonal = np.arange(n, dtype=first.dtype)
    below, above = max(0, int(np.max(diagonal - first))), max(0, int(np.max(last - diagonal)))
    if (below + above + 1) * n <= 4 * len(data) + 4 * n:
        check((2 * below + above + 1) * n * data.itemsize, "the bands of the factors")
        bands = banded_form(matrix, below, above, data.dtype)
        return banded(bands, below, above)
    row_size = np.maximum.reduceat(np.abs(data), matrix.indptr[:-1])
    no_zero(row_size, "row")
    r = power(row_size)
    data = data * np.repeat(r, count)
    scaled = scipy.sparse.csr_array((data, matrix.indices, matrix.indptr), matrix.shape)
    if not below or not above:
        return _sparse_triangular(scaled, r, "lower" if above == 0 else "upper")
    size = np.max(np.add.reduceat(np.abs(scaled.data), matrix.indptr[:-1]))
    try:
        lu = scipy.sparse.linalg.splu(scaled.tocsc())
    except RuntimeError:
        raise singular("sparse elimination meets a zero pivot") from None
    except MemoryError:
        raise TooLargeError(
            f"the sparse factors of a matrix of {n} rows and {len(data):,} entries do not fit in "
            "memory; instead: an iterative method on J.to_linear_operator(), such as "
            "scipy.sparse.linalg.gmres"
        ) from None
    assess_by(lu.solve, size, n, scaled.dtype)
    unit = np.ones(n, scaled.data.real.dtype)
    return Solver(
        f"sparse LU, {n} rows, {len(data)} entries", scaled_apply(lu.solve, r, unit, scaled.dtype)
    )


def _sparse_triangular(scaled: Any, r: Array, name: str) -> Solver:
    n = scaled.shape[0]
    if np.any(scaled.diagonal() == 0):
        zero = int(np.flatnonzero(scaled.diagonal() == 0)[0])
        raise singular(f"it is triangular with a zero on the diagonal, at {zero}")

    def solve(b: Array) -> Array:
        return scipy.sparse.linalg.spsolve_triangular(scaled, b, lower=name == "lower")

    unit = np.ones(n, scaled.data.real.dtype)
    return Solver(
        f"sparse triangular ({name}), {n} rows, {scaled.nnz} entries",
        scaled_apply(solve, r, unit, scaled.dtype),
    )
