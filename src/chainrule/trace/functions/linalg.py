"""``numpy.linalg`` on traced arrays, and what ``chainrule.scipy.linalg`` shares with it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import TraceError, located
from ...expr.build import broadcast, cast, map_, permute, reshape
from ...expr.calls import call
from ...expr.nodes import Node
from ..array import TracedArray, traced
from .common import axes_of, axis_of, implements, node_array

__all__ = ["cholesky_factor", "inexact", "solution", "square", "triangular_solution"]

LinAlgError = np.linalg.LinAlgError
_SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))
_EighResult: Any = type(np.linalg.eigh(np.eye(1)))
_SVDResult: Any = type(np.linalg.svd(np.eye(1)))
_QRResult: Any = type(np.linalg.qr(np.eye(1)))


# -- arguments --------------------------------------------------------------------------------
def inexact(*values: Any) -> list[Node]:
    """Nodes of array arguments in their common inexact dtype (integers become float64)."""
    nodes = [node_array(v) for v in values]
    dtypes = [n.dtype if n.dtype.kind in "fc" else np.dtype(float) for n in nodes]
    for dtype in dtypes:
        if dtype.itemsize < 4:
            raise TypeError(f"array type {dtype.name} is unsupported in linalg")
    common = np.result_type(*dtypes)
    return [cast(n, common) for n in nodes]


def stacked(node: Node) -> Node:
    """The node, checked to have two axes or more."""
    if node.ndim < 2:
        raise LinAlgError(
            f"{node.ndim}-dimensional array given. Array must be at least two-dimensional"
        )
    return node


def square(node: Node) -> Node:
    """The node, checked to be a stack of square matrices."""
    m, n = stacked(node).shape[-2:]
    if m != n:
        raise LinAlgError(f"Last 2 dimensions of the array must be square, not of shape {(m, n)}")
    return node


def _swapped(node: Node) -> Node:
    return permute(node, [*range(node.ndim - 2), node.ndim - 1, node.ndim - 2])


def _adjoint(node: Node) -> Node:
    swapped = _swapped(node)
    return map_("conj", swapped) if node.dtype.kind == "c" else swapped


def _matched(name: str, a: Node, b: Node) -> tuple[Node, Node]:
    """A (…, n, n) and B (…, n, k) with their leading axes broadcast to one shape."""
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"{name}: Input operand 1 has a mismatch in its core dimension 0, with gufunc "
            f"signature (m,m),(m,n)->(m,n) (size {b.shape[-2]} is different from {a.shape[-1]}); "
            f"the shapes are {a.shape} and {b.shape}"
        )
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return broadcast(a, (*batch, *a.shape[-2:])), broadcast(b, (*batch, *b.shape[-2:]))


def _on_columns(name: str, a: Node, b: Node, vector: bool, params: tuple[Any, ...] = ()) -> Node:
    """A call on (A, B), where B may be one vector."""
    if vector:
        b = reshape(b, (*b.shape, 1))
    a, b = _matched(name, a, b)
    result: Node = call(name, a, b, params=params)
    return reshape(result, result.shape[:-1]) if vector else result


# -- solving ----------------------------------------------------------------------------------
def solution(a: Any, b: Any) -> TracedArray:
    """A⁻¹ b; b is a vector where it has one axis, else a stack of matrices."""
    left, right = inexact(a, b)
    square(left)
    if right.ndim == 0:
        raise ValueError("solve: Input operand 1 does not have enough dimensions (0)")
    return traced(_on_columns("solve", left, right, right.ndim == 1))


def triangular_solution(a: Any, b: Any, lower: bool, trans: Any, unit: bool) -> TracedArray:
    """T⁻¹ b, T⁻ᵀ b or T⁻ᴴ b for one triangle of a."""
    left, right = inexact(a, b)
    square(left)
    if right.ndim == 0 or left.shape[-1] != right.shape[0 if right.ndim == 1 else -2]:
        raise ValueError(f"shapes of a {left.shape} and b {right.shape} are incompatible")
    kinds: dict[Any, int] = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}
    kind = kinds[trans]
    if kind:
        left = _adjoint(left) if kind == 2 else _swapped(left)
    params = (bool(lower) != (kind > 0), bool(unit))
    return traced(_on_columns("solve_triangular", left, right, right.ndim == 1, params))


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    return solution(a, b)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    (node,) = inexact(a)
    return traced(call("inv", square(node)))


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = np.shape(a)
    rows = int(np.prod(shape[ind:], dtype=int))
    return inv(np.reshape(a, (-1, rows))).reshape(shape[ind:] + shape[:ind])


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    if axes is not None:
        moved = [axis_of(i, np.ndim(a)) for i in axes]
        a = np.transpose(a, [i for i in range(np.ndim(a)) if i not in moved] + moved)
    shape = np.shape(a)[np.ndim(b) :]
    size = int(np.prod(shape, dtype=int))
    if np.size(a) != size**2:
        raise LinAlgError(
            "Input arrays must satisfy the requirement "
            "prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    return solution(np.reshape(a, (size, size)), np.ravel(b)).reshape(shape)


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if hermitian or isinstance(rcond, TracedArray) or np.ndim(rcond if rtol is None else rtol):
        raise TraceError(
            located("np.linalg.pinv is traced without hermitian=, with a scalar rcond", "omit it")
        )
    (node,) = inexact(a)
    cutoff = rcond if rtol is None or rtol is np._NoValue else rtol
    cutoff = None if cutoff is None or cutoff is np._NoValue else float(cutoff)
    return traced(call("pinv", stacked(node), params=(cutoff,)))


@implements(np.linalg.lstsq, np.linalg.eig, np.linalg.eigvals, np.linalg.matrix_rank)
def _unsupported(*args: Any, **kwargs: Any) -> Any:
    raise TraceError(
        located(
            "np.linalg.lstsq, eig, eigvals and matrix_rank are not traced: the shape or dtype of "
            "their results depends on values",
            "solve with np.linalg.solve(A.T @ A, A.T @ b), np.linalg.qr or np.linalg.pinv; "
            "eigenvalues of symmetric matrices with np.linalg.eigh",
        )
    )


# -- determinants -----------------------------------------------------------------------------
@implements(np.linalg.det)
def det(a: Any) -> Any:
    (node,) = inexact(a)
    return traced(call("det", square(node)))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    (node,) = inexact(a)
    square(node)
    return _SlogdetResult(*(traced(call("slogdet", node, index=k)) for k in range(2)))


# -- factorizations ---------------------------------------------------------------------------
def cholesky_factor(a: Any, upper: bool) -> Node:
    """L with A = L Lᴴ, or U with A = Uᴴ U; reads the triangle of its name.

    The derivative is that of the factor of (A + Aᴴ)/2: gradients are symmetric.
    """
    (node,) = inexact(a)
    square(node)
    return _adjoint(call("cholesky", _adjoint(node))) if upper else call("cholesky", node)


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    return traced(cholesky_factor(a, upper))


def _triangle(UPLO: str) -> tuple[str]:
    name = UPLO.upper()
    if name not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return (name,)


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues and vectors; the derivative is that at (A + Aᴴ)/2, for distinct eigenvalues."""
    (node,) = inexact(a)
    params = _triangle(UPLO)
    square(node)
    return _EighResult(*(traced(call("eigh", node, params=params, index=k)) for k in range(2)))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    (node,) = inexact(a)
    return traced(call("eigvalsh", square(node), params=_triangle(UPLO)))


@implements(np.linalg.svd)
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    (node,) = inexact(a)
    stacked(node)
    if not compute_uv:
        return traced(call("svdvals", node))
    if full_matrices and node.shape[-1] != node.shape[-2]:
        raise TraceError(
            located(
                "np.linalg.svd with full_matrices=True has no derivative for this shape: the "
                "extra singular vectors are not unique",
                "use full_matrices=False",
            )
        )
    return _SVDResult(*(traced(call("svd", node, index=k)) for k in range(3)))


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    return svd(x, compute_uv=False)


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    (node,) = inexact(a)
    m, n = stacked(node).shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and m == n):
        raise TraceError(located(f"np.linalg.qr with mode={mode!r} is not traced", "omit mode="))
    if m < n:
        raise TraceError(
            located(
                f"np.linalg.qr of a matrix with more columns than rows {(m, n)} is not traced",
                "factor the square part, q, r = np.linalg.qr(a[:, :m]), and use q.T @ a",
            )
        )
    q, r = (traced(call("qr", node, index=k)) for k in range(2))
    return r if mode == "r" else _QRResult(q, r)


# -- powers and products ----------------------------------------------------------------------
@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    """By repeated squaring, in NumPy's order."""
    node = square(node_array(a))
    value: Any = traced(node)
    n = operator.index(n)
    if n == 0:
        return traced(
            node_array(np.broadcast_to(np.eye(node.shape[-1], dtype=node.dtype), node.shape))
        )
    if n < 0:
        value, n = inv(value), -n
    if n == 1:
        return value
    if n == 3:
        return np.matmul(np.matmul(value, value), value)
    result: Any = None
    power: Any = None
    while n > 0:
        power = value if power is None else np.matmul(power, power)
        n, bit = divmod(n, 2)
        if bit:
            result = power if result is None else np.matmul(result, power)
    return result


def _cheapest_order(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to split each run of a chain of matrices (Cormen et al., ch. 15.2)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            prices = [
                cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            ]
            best = min(range(len(prices)), key=prices.__getitem__)
            cost[i, j], split[i, j] = prices[best], i + best
    return split


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    arrays = list(arrays)
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    first, last = np.ndim(arrays[0]) == 1, np.ndim(arrays[-1]) == 1
    if first:
        arrays[0] = np.reshape(arrays[0], (1, -1))
    if last:
        arrays[-1] = np.reshape(arrays[-1], (-1, 1))
    if any(np.ndim(a) != 2 for a in arrays):
        raise LinAlgError("multi_dot takes two-dimensional arrays, and vectors at its ends")
    split = _cheapest_order([np.shape(arrays[0])[0], *(np.shape(a)[1] for a in arrays)])

    def chain(i: int, j: int) -> Any:
        if i == j:
            return arrays[i]
        return np.matmul(chain(i, split[i, j]), chain(split[i, j] + 1, j))

    result = chain(0, len(arrays) - 1)
    return np.reshape(result, np.shape(result)[int(first) : 2 - int(last)])


# -- norms ------------------------------------------------------------------------------------
def _root(x: Any) -> Any:
    return traced(map_("root", x.node))


def _squares(x: Any) -> Any:
    if x.dtype.kind == "c":
        return np.square(np.real(x)) + np.square(np.imag(x))
    return np.multiply(x, x)


def _vector_norm(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    where = {"axis": axis, "keepdims": keepdims}
    if isinstance(order, str):
        raise ValueError(f"Invalid norm order '{order}' for vectors")
    if order is None or order == 2:
        return _root(np.sum(_squares(x), **where))
    if order == np.inf:
        if np.size(x) == 0:
            return np.max(np.abs(x), **where, initial=0)
        return np.max(np.abs(x), **where)
    if order == -np.inf:
        return np.min(np.abs(x), **where)
    if order == 0:
        return np.sum(np.not_equal(x, 0).astype(np.real(x).dtype), **where)
    if order == 1:
        return np.sum(np.abs(x), **where)
    total = np.sum(np.abs(x) ** order, **where)
    # a power of 0 is 0 (or inf) with derivative 0, as for the other norms
    zero = np.equal(total, 0)
    exponent = np.reciprocal(order, dtype=total.dtype).item()
    at_zero = 0.0 if exponent > 0 else np.inf
    return np.where(zero, at_zero, np.where(zero, 1, total) ** exponent).astype(total.dtype)


def _matrix_norm(x: Any, order: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    row, column = (axis_of(i, np.ndim(x)) for i in axes)
    if row == column:
        raise ValueError("Duplicate axes given.")
    if order in (None, "fro", "f"):
        result = _root(np.sum(_squares(x), axis=(row, column)))
    elif order in (1, -1, np.inf, -np.inf):
        over, then = (row, column) if abs(order) == 1 else (column, row)
        sums = np.sum(np.abs(x), axis=over)
        then -= then > over
        result = np.max(sums, axis=then) if order > 0 else np.min(sums, axis=then)
    elif order in (2, -2, "nuc"):
        values = svd(np.moveaxis(x, (row, column), (-2, -1)), compute_uv=False)
        if order == "nuc":
            result = np.sum(values, axis=-1)
        else:
            result = np.max(values, axis=-1) if order == 2 else np.min(values, axis=-1)
    else:
        raise ValueError("Invalid norm order for matrices.")
    if keepdims:
        result = np.expand_dims(result, tuple(sorted((row, column))))
    return result


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """All of NumPy's norms; derivatives at 0 are 0, ties of an extremum are shared equally."""
    (node,) = inexact(x)
    value: Any = traced(node)
    if axis is None:
        plain = (
            ord is None or (ord in ("f", "fro") and node.ndim == 2) or (ord == 2 and node.ndim == 1)
        )
        if plain:
            return _vector_norm(value, None, None, keepdims)
        axis = tuple(range(node.ndim))
    elif not isinstance(axis, tuple):
        axis = (operator.index(axis),)
    if len(axis) == 1:
        return _vector_norm(value, ord, axis, keepdims)
    if len(axis) == 2:
        return _matrix_norm(value, ord, axis, keepdims)
    raise ValueError("Improper number of dimensions to norm.")


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    (node,) = inexact(x)
    axes = axes_of(axis, node.ndim)
    return _vector_norm(traced(node), ord, axes, keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    (node,) = inexact(x)
    return _matrix_norm(traced(node), ord, (-2, -1), keepdims)


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    if p in (None, 2, -2):
        values = svd(x, compute_uv=False)
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last
    return norm(x, p, axis=(-2, -1)) * norm(inv(x), p, axis=(-2, -1))


# -- NumPy's array-API names ------------------------------------------------------------------
@implements(np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    return np.matrix_transpose(x)


@implements(np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Any:
    return np.matmul(x1, x2)


@implements(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    return np.outer(x1, x2)


@implements(np.linalg.tensordot)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return np.tensordot(x1, x2, axes=axes)


@implements(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    product: Any = np.vecdot
    return product(x1, x2, axis=axis)


@implements(np.linalg.cross)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return np.cross(x1, x2, axis=axis)


@implements(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return np.diagonal(x, offset, axis1=-2, axis2=-1)


@implements(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return np.trace(x, offset, axis1=-2, axis2=-1, dtype=dtype)
