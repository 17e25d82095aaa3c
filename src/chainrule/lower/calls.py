"""NumPy and SciPy implementations of the calls; each returns a tuple of results.

Leading axes are batch axes throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import scipy.linalg

from ..expr.bodies import Body
from ..expr.calls import CALL_OPS
from ..expr.calls import calls as scans
from ..expr.nodes import Leaf

__all__ = ["CALL_KERNELS"]

Array = Any
Results = tuple[Any, ...]
Triangle = Literal["L", "U"]

CALL_KERNELS: dict[str, Callable[..., Results]] = {}


def _kernel(*names: str) -> Callable[[Callable[..., Results]], Callable[..., Results]]:
    def register(function: Callable[..., Results]) -> Callable[..., Results]:
        for name in names:
            CALL_KERNELS[name] = function
        return function

    return register


def _batched(function: Callable[..., Array], shape: tuple[int, ...], *arrays: Array) -> Array:
    """A function of matrices over stacks of them, into a result of ``shape``."""
    first = arrays[0]
    if first.ndim == 2:
        return function(*arrays)
    result = np.empty(shape, np.result_type(*arrays))
    for index in np.ndindex(first.shape[:-2]):
        result[index] = function(*(a[index] for a in arrays))
    return result


def _distinct(a: Array) -> Array:
    """A stack without its copies: batch axes of stride 0 with extent 1 (broadcast matrices)."""
    if a.ndim == 2 or not a.size or 0 not in a.strides[:-2]:
        return a
    return a[tuple(slice(1 if stride == 0 else None) for stride in a.strides[:-2])]


def _once(function: Callable[..., Results]) -> Callable[..., Results]:
    """A function of one stack of matrices, computed once for those that are copies."""

    def apply(a: Array, *params: Any) -> Results:
        few = _distinct(a)
        if few.shape == a.shape:
            return function(a, *params)
        batch, cut = a.shape[:-2], a.ndim - 2
        return tuple(
            np.broadcast_to(r, (*batch, *r.shape[cut:])).copy() for r in function(few, *params)
        )

    return apply


# -- linear algebra ---------------------------------------------------------------------------
@_kernel("inv", "inverse")
@_once
def inv(a: Array) -> Results:
    return (np.linalg.inv(a),)


@_kernel("solve")
def solve(a: Array, b: Array) -> Results:
    few = _distinct(a)
    if few.ndim > 2 and few.size and few.size == few[(0,) * (few.ndim - 2)].size:
        matrix = few[(0,) * (few.ndim - 2)]  # one matrix for all: one factorization
        columns = np.moveaxis(b, -2, 0)
        x = np.linalg.solve(matrix, columns.reshape(len(matrix), -1)).reshape(columns.shape)
        return (np.ascontiguousarray(np.moveaxis(x, 0, -2)),)
    return (np.linalg.solve(a, b),)


@_kernel("solve_triangular")
def solve_triangular(t: Array, b: Array, lower: bool, unit: bool) -> Results:
    if b.size == 0:
        return (np.zeros(b.shape, np.result_type(t, b)),)

    def one(t: Array, b: Array) -> Array:
        return scipy.linalg.solve_triangular(
            t, b, lower=lower, unit_diagonal=unit, check_finite=False
        )

    return (_batched(one, b.shape, t, b),)


@_kernel("triangular_inverse")
@_once
def triangular_inverse(t: Array, lower: bool, unit: bool) -> Results:
    eye = np.broadcast_to(np.eye(t.shape[-1], dtype=t.dtype), t.shape)
    return solve_triangular(t, eye, lower, unit)


@_kernel("det")
@_once
def det(a: Array) -> Results:
    return (np.linalg.det(a),)


@_kernel("cofactor")
@_once
def cofactor(a: Array) -> Results:
    """det A · A⁻ᵀ; where A is singular from A = U diag(s) Vᴴ, as
    det U · det Vᴴ · conj(U) diag(Π s[m], m ≠ i) conj(Vᴴ)."""
    try:
        inverse = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        inverse = None
    if inverse is not None and np.isfinite(inverse).all():
        return (np.linalg.det(a)[..., None, None] * np.swapaxes(inverse, -1, -2),)
    u, s, vh = np.linalg.svd(a)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), s.dtype.type(1), s[..., None, :]).prod(axis=-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    left = np.conj(u) * (sign[..., None] * others)[..., None, :]
    return (left @ np.conj(vh),)


@_kernel("slogdet")
@_once
def slogdet(a: Array) -> Results:
    return tuple(np.linalg.slogdet(a))


@_kernel("cholesky")
@_once
def cholesky(a: Array) -> Results:
    return (np.linalg.cholesky(a),)


@_kernel("eigh")
@_once
def eigh(a: Array, triangle: Triangle) -> Results:
    return tuple(np.linalg.eigh(a, UPLO=triangle))


@_kernel("eigvalsh")
@_once
def eigvalsh(a: Array, triangle: Triangle) -> Results:
    return (np.linalg.eigvalsh(a, UPLO=triangle),)


@_kernel("svd")
@_once
def svd(a: Array) -> Results:
    return tuple(np.linalg.svd(a, full_matrices=False))


@_kernel("svdvals")
@_once
def svdvals(a: Array) -> Results:
    return (np.linalg.svd(a, compute_uv=False),)


@_kernel("qr")
@_once
def qr(a: Array) -> Results:
    return tuple(np.linalg.qr(a))


@_kernel("pinv")
@_once
def pinv(a: Array, rcond: float | None) -> Results:
    return (np.linalg.pinv(a) if rcond is None else np.linalg.pinv(a, rcond),)


@_kernel("expm")
@_once
def expm(a: Array) -> Results:
    if a.size == 0:
        return (np.zeros(a.shape, a.dtype),)
    return (np.asarray(scipy.linalg.expm(a), a.dtype),)


@_kernel("expm_jacobian")
@_once
def expm_jacobian(a: Array) -> Results:
    """Column by column: the upper right block of exp [[A, E_kl], [0, A]]."""
    n = a.shape[-1]
    blocks = np.zeros((*a.shape[:-2], n, n, 2 * n, 2 * n), a.dtype)
    blocks[..., :n, :n] = a[..., None, None, :, :]
    blocks[..., n:, n:] = a[..., None, None, :, :]
    k, l = np.indices((n, n))
    blocks[..., k, l, k, n + l] = 1
    corner = expm(blocks)[0][..., :n, n:]
    return (np.moveaxis(corner, (-4, -3), (-2, -1)).copy(),)


# -- products and recurrences -----------------------------------------------------------------
@_kernel("segment_products")
def segment_products(a: Array) -> Results:
    m = a.shape[-1]
    below = np.tri(m, k=-1, dtype=bool)
    steps = np.where(below, a[..., :, None], a.dtype.type(1))
    return (np.where(np.tri(m, dtype=bool), np.cumprod(steps, axis=-2), a.dtype.type(0)),)


@_kernel("recurrence")
def recurrence(a: Array, b: Array, reverse: bool) -> Results:
    """Row by row in LAPACK (a bidiagonal system) where rows are few, else step by step."""
    m = b.shape[-1]
    dtype = np.result_type(a, b)
    y = np.array(b, dtype)
    if y.size == 0 or m == 1:
        return (y,)
    rows = y.size // m
    if rows < m // 16:
        banded: Any = scipy.linalg.get_lapack_funcs("tbtrs", (y,))
        flat_a, flat_y = np.ascontiguousarray(a).reshape(rows, m), y.reshape(rows, m)
        band = np.ones((2, m), dtype)
        for row in range(rows):
            band[1, :-1] = -flat_a[row, 1:]
            options = {"uplo": "L", "trans": "T" if reverse else "N", "diag": "U"}
            x, info = banded(band, flat_y[row][:, None], **options)
            assert info == 0, info
            flat_y[row] = x[:, 0]
        return (y,)
    if reverse:
        for i in range(m - 2, -1, -1):
            y[..., i] += a[..., i + 1] * y[..., i + 1]
    else:
        for i in range(1, m):
            y[..., i] += a[..., i] * y[..., i - 1]
    return (y,)


@_kernel("cumprod")
def cumprod(x: Array) -> Results:
    return (np.cumprod(x, axis=-1, dtype=x.dtype),)


@_kernel("other_products")
def other_products(x: Array) -> Results:
    """What is before times what is after: no division, so zeros do no harm."""
    before, after = np.ones_like(x), np.ones_like(x)
    np.cumprod(x[..., :-1], axis=-1, out=before[..., 1:])
    np.cumprod(x[..., :0:-1], axis=-1, out=after[..., -2::-1])
    return (before * after,)


def _last(k: int) -> tuple[int, ...]:
    return tuple(range(-k, 0))


@_kernel("prod")
def prod(x: Array, k: int) -> Results:
    return (np.prod(x, axis=_last(k), dtype=x.dtype),)


# -- extrema, tests, orders -------------------------------------------------------------------
@_kernel("amax")
def amax(x: Array, k: int) -> Results:
    return (np.max(x, axis=_last(k)),)


@_kernel("amin")
def amin(x: Array, k: int) -> Results:
    return (np.min(x, axis=_last(k)),)


@_kernel("any")
def any_(x: Array, k: int) -> Results:
    return (np.any(x, axis=_last(k)),)


@_kernel("all")
def all_(x: Array, k: int) -> Results:
    return (np.all(x, axis=_last(k)),)


@_kernel("argmax")
def argmax(x: Array) -> Results:
    return (np.argmax(x, axis=-1),)


@_kernel("argmin")
def argmin(x: Array) -> Results:
    return (np.argmin(x, axis=-1),)


@_kernel("argsort")
def argsort(x: Array) -> Results:
    return (np.argsort(x, axis=-1, kind="stable"),)


@_kernel("nonzero")
def nonzero(mask: Array) -> Results:
    return np.nonzero(mask)


@_kernel("last_writer")
def last_writer(*args: Array) -> Results:
    """True where no later entry (in C order of the core axes) names the same element."""
    tables, core = args, args[0].ndim
    if isinstance(args[-1], int):
        tables, core = args[:-1], args[-1]
    shape = tables[0].shape
    cut = len(shape) - core
    places = np.stack([np.reshape(t, (*shape[:cut], -1)) for t in tables], axis=-1)
    winners = np.zeros(places.shape[:-1], bool)
    for index in np.ndindex(shape[:cut]):
        rows = places[index]
        _, last = np.unique(rows[::-1], axis=0, return_index=True)
        winners[index][len(rows) - 1 - last] = True
    return (winners.reshape(shape),)


# -- programs inside a node ---------------------------------------------------------------------
def _program(body: Body) -> Callable[..., Results]:
    """A body as a function of all its leaves' values."""
    from .run import program_for  # programs are made of these kernels

    program = program_for(body.outs)
    places = [leaf.slot for leaf in program.plan.leaves]
    return lambda values: program(*[values[k] for k in places])


@lru_cache(maxsize=256)
def _loop(body: Body, length: int, carries: int, rows: int, reverse: bool) -> Any:
    """A scan as a NumPy function: it is a loop in a program's source, not a kernel of its own."""
    from .numpy_backend import NumpyProgram
    from .plan import make_plan

    def argument(leaf: Leaf) -> Leaf:
        stacked = carries <= leaf.slot < carries + rows
        return Leaf(leaf.slot, (length, *leaf.shape), leaf.dtype) if stacked else leaf

    params = (body, length, carries, rows, reverse)
    program = NumpyProgram(make_plan(scans("scan", [*map(argument, body.leaves)], params)))
    return program.function


@_kernel("scan")
def scan(*args: Any) -> Results:
    *arrays, body, length, carries, rows, reverse = args
    return tuple(map(np.asarray, _loop(body, length, carries, rows, reverse)(*arrays)))


@_kernel("while")
def while_(*args: Any) -> Results:
    *arrays, test, body = args
    go_on, run = _program(test), _program(body)
    carries = len(body.outs)
    state, captured = list(arrays[:carries]), arrays[carries:]
    while go_on([*state, *captured])[0]:
        state = list(run([*state, *captured]))
    return tuple(map(np.array, state))


@_kernel("cond")
def cond(predicate: Array, *args: Any) -> Results:
    *operands, first, second = args
    return _program(first if predicate else second)(operands)


@_kernel("apply")
def apply(*args: Any) -> Results:
    *operands, body = args
    return _program(body)(operands)


_missing = CALL_OPS.keys() - CALL_KERNELS.keys()
if _missing:
    raise ImportError(f"no implementation is stated for the calls {sorted(_missing)}")
