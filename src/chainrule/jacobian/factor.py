"""Factorizations of matrices that are at hand: blocks, dense, banded, triangular, sparse.

Rows and columns are scaled by powers of two first, so that "singular" speaks of directions, not
of units.  A matrix that leaves no digit of a probing right-hand side is reported as singular.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from ..errors import TooLargeError

__all__ = ["Solver", "blocks", "dense", "singular", "sparse"]

Array: TypeAlias = Any
Check: TypeAlias = Callable[[int, str], None]


@dataclass
class Solver:
    """How, and the solution for [rows, columns] right-hand sides."""

    method: str
    apply: Callable[[Array], Array]


def singular(reason: str) -> np.linalg.LinAlgError:
    """The error for a system without a unique solution."""
    return np.linalg.LinAlgError(
        f"the Jacobian is singular: {reason}. For a least-squares solution use "
        "scipy.sparse.linalg.lsmr with J.to_linear_operator(), or np.linalg.lstsq with "
        "J.to_matrix(); to damp it add c * Jacobian.identity(shape)"
    )


def _power(size: Array) -> Array:
    """Powers of two near 1/size: scaling by them does not round."""
    _, exponent = np.frexp(size)
    return np.ldexp(np.ones_like(size), -exponent)


def _probe(n: int, dtype: np.dtype[Any]) -> Array:
    """A right-hand side with a part along every direction, as good as surely."""
    signs = np.resize([1.0, -1.0, 1.0], n)
    return (np.random.default_rng(n).uniform(0.5, 1.0, n) * signs).astype(dtype)


def _assess(size: Array, probe: Array, x: Array) -> None:
    """LinAlgError where ``x`` grew over the probe so far that no digit is left."""
    eps = np.finfo(x.dtype).eps
    with np.errstate(all="ignore"):
        growth = size * np.max(np.abs(x), axis=-1) / np.max(np.abs(probe), axis=-1)
    growth = np.max(np.nan_to_num(growth, nan=np.inf), initial=0.0)
    if growth * eps > 0.1:
        raise singular(
            "its condition number is infinite"
            if not np.isfinite(growth)
            else f"its condition number, about {growth:.1g}, leaves no digit in {x.dtype}"
        )


def _row_size(matrix: Array) -> Array:
    return np.max(np.abs(matrix), axis=-1, initial=0.0)


def _no_zero(size: Array, name: str) -> None:
    zero = np.argwhere(size == 0)
    if len(zero):
        index = zero[0].tolist()
        place = f"{name} {index[-1]}" + (f" of block {index[0]}" if len(index) > 1 else "")
        raise singular(f"{place} of its matrix is zero")
    if not np.all(np.isfinite(size)):
        raise singular(f"a {name} of its matrix holds NaN or infinity")


def _equilibrated(matrix: Array) -> tuple[Array, Array, Array]:
    """``(r · A · c, r, c)`` for matrices over leading axes."""
    rows = _row_size(matrix)
    _no_zero(rows, "row")
    r = _power(rows)
    matrix = matrix * r[..., None]
    columns = np.max(np.abs(matrix), axis=-2, initial=0.0)
    _no_zero(columns, "column")
    c = _power(columns)
    return matrix * c[..., None, :], r, c


def _lapack(names: tuple[str, str], matrix: Array) -> tuple[Any, Any]:
    """A routine that factorizes and one that solves, of the matrix' type."""
    found: Any = scipy.linalg.get_lapack_funcs(names, (matrix,))
    return found[0], found[1]


# -- dense --------------------------------------------------------------------------------------
def blocks(matrices: Array) -> Solver:
    """[count, m, m]: all at once by LAPACK's LU."""
    count, m = matrices.shape[:2]
    scaled, r, c = _equilibrated(matrices)
    size = np.max(np.sum(np.abs(scaled), axis=-1), axis=-1, initial=0.0)
    probe = np.broadcast_to(_probe(m, scaled.dtype), (count, m))

    def apply(b: Array) -> Array:
        both = np.concatenate([b * r[..., None], probe[..., None]], axis=-1)
        try:
            x = np.linalg.solve(scaled, both)
        except np.linalg.LinAlgError:
            raise singular(f"one of its {count} blocks of {m} x {m} is") from None
        _assess(size, probe, x[..., -1])
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
    getrf, getrs = _lapack(("getrf", "getrs"), scaled)
    lu, pivots, info = getrf(scaled)
    if info > 0:
        raise singular(f"elimination meets a zero pivot in column {info - 1}")

    def solve(b: Array) -> Array:
        return getrs(lu, pivots, b)[0]

    _assess_by(solve, np.max(np.sum(np.abs(scaled), axis=-1)), n, scaled.dtype)
    return Solver(f"dense LU of {n} x {n}", _scaled_apply(solve, r, c, scaled.dtype))


def _assess_by(solve: Callable[[Array], Array], size: Any, n: int, dtype: np.dtype[Any]) -> None:
    probe = _probe(n, dtype)
    _assess(size, probe, solve(probe[:, None])[:, 0])


def _scaled_apply(
    solve: Callable[[Array], Array], r: Array, c: Array, dtype: np.dtype[Any]
) -> Callable[[Array], Array]:
    """Solutions of the unscaled system; complex right-hand sides of a real one in two parts."""

    def apply(b: Array) -> Array:
        b = b * r[:, None]
        if b.dtype.kind == "c" and dtype.kind != "c":
            x = solve(b.real.copy()) + 1j * solve(b.imag.copy())
        else:
            kind = np.result_type(b.dtype, dtype)
            x = solve(np.asarray(b, dtype)).astype(kind, copy=False)
        return x * c[:, None]

    return apply


def _triangular(matrix: Array, lower: bool, name: str) -> Solver:
    n = len(matrix)
    zero = np.flatnonzero(np.diagonal(matrix) == 0)
    if len(zero):
        raise singular(f"it is triangular with a zero on the diagonal, at {int(zero[0])}")

    def solve(b: Array) -> Array:
        return scipy.linalg.solve_triangular(matrix, b, lower=lower)

    unit = np.ones(n, matrix.real.dtype)
    return Solver(
        f"dense triangular ({name}) of {n} x {n}", _scaled_apply(solve, unit, unit, matrix.dtype)
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
    s = _power(np.sqrt(d))
    scaled = matrix * s[:, None] * s
    potrf, potrs = _lapack(("potrf", "potrs"), scaled)
    c, info = potrf(scaled, lower=True)
    if info:
        return None

    def solve(b: Array) -> Array:
        return potrs(c, b, lower=True)[0]

    try:
        _assess_by(solve, np.max(np.sum(np.abs(scaled), axis=-1)), n, scaled.dtype)
    except np.linalg.LinAlgError:
        return None
    return Solver(f"dense Cholesky of {n} x {n}", _scaled_apply(solve, s, s, scaled.dtype))


# -- sparse -------------------------------------------------------------------------------------
def sparse(matrix: scipy.sparse.csr_array[Any], check: Check) -> Solver:
    """A square CSR array in canonical form: banded, triangular, or SuperLU."""
    n = matrix.shape[0]
    count = np.diff(matrix.indptr)
    if not np.all(count):
        raise singular(f"row {int(np.flatnonzero(count == 0)[0])} of its matrix is zero")
    rows = np.repeat(np.arange(n), count)
    data = matrix.data
    if data.dtype.kind not in "fc" or data.dtype.itemsize < 4:
        data = data.astype(np.float64)
    row_size = np.maximum.reduceat(np.abs(data), matrix.indptr[:-1])
    _no_zero(row_size, "row")
    offset = matrix.indices - rows
    below, above = max(0, -int(offset.min())), max(0, int(offset.max()))
    if (below + above + 1) * n <= 4 * len(data) + 4 * n:
        return _banded(data, offset, matrix.indices, n, below, above, row_size, check)
    r = _power(row_size)
    scaled = scipy.sparse.csr_array((data * r[rows], matrix.indices, matrix.indptr), matrix.shape)
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
    _assess_by(lu.solve, size, n, scaled.dtype)
    unit = np.ones(n, scaled.data.real.dtype)
    return Solver(
        f"sparse LU, {n} rows, {len(data)} entries", _scaled_apply(lu.solve, r, unit, scaled.dtype)
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
        _scaled_apply(solve, r, unit, scaled.dtype),
    )


def _banded(
    data: Array,
    offset: Array,
    columns: Array,
    n: int,
    below: int,
    above: int,
    row_size: Array,
    check: Check,
) -> Solver:
    check((2 * below + above + 1) * n * data.itemsize, "the bands of the factors")
    form = f"banded ({below} below, {above} above the diagonal)"
    bands = np.zeros((below + above + 1, n), data.dtype)
    bands[above - offset, columns] = data
    made = _banded_cholesky(bands, n, below) if below == above else None
    if made is not None:
        return Solver(form + ", Cholesky", made)
    r = _power(row_size)
    full = np.zeros((2 * below + above + 1, n), data.dtype)
    full[below + above - offset, columns] = data * r[columns + (-offset)]
    gbtrf, gbtrs = _lapack(("gbtrf", "gbtrs"), full)
    size = np.max(np.bincount(columns - offset, np.abs(data), n) * r)
    lu, pivots, info = gbtrf(full, below, above, overwrite_ab=True)
    if info > 0:
        raise singular(f"elimination meets a zero pivot in column {info - 1}")

    def solve(b: Array) -> Array:
        return gbtrs(lu, below, above, b, pivots)[0]

    _assess_by(solve, size, n, data.dtype)
    unit = np.ones(n, data.real.dtype)
    return Solver(form + ", LU", _scaled_apply(solve, r, unit, data.dtype))


def _banded_cholesky(bands: Array, n: int, width: int) -> Callable[[Array], Array] | None:
    d = bands[width].real
    if not np.all(d > 0):
        return None
    eps = np.finfo(bands.dtype).eps
    size = np.max(np.abs(bands))
    for k in range(1, width + 1):
        upper, lower = bands[width - k, k:], bands[width + k, : n - k]
        if np.max(np.abs(upper - lower.conj()), initial=0.0) > 8 * eps * size:
            return None
    s = _power(np.sqrt(d))
    half = bands[width:].copy()
    for k in range(width + 1):
        half[k, : n - k] *= s[: n - k] * s[k:]
    size = 2 * np.max(np.sum(np.abs(half), axis=0))
    pbtrf, pbtrs = _lapack(("pbtrf", "pbtrs"), half)
    factor, info = pbtrf(half, lower=True)
    if info:
        return None

    def solve(b: Array) -> Array:
        return pbtrs(factor, b, lower=True)[0]

    try:
        _assess_by(solve, size, n, bands.dtype)
    except np.linalg.LinAlgError:
        return None
    return _scaled_apply(solve, s, s, bands.dtype)
