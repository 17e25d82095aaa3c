"""What NumPy and SciPy ask of an object that they compute with.

NumPy's functions and ufuncs work by structure where there is a way, else on the dense array;
SciPy's iterative solvers look for ``shape``, ``dtype`` and ``matvec``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .exports import linear_operator

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    from .object import Jacobian

__all__ = ["Protocols"]


class Protocols:
    """The methods behind NumPy's functions and SciPy's operators; a base of Jacobian alone."""

    __array_priority__ = 2000
    _operator: LinearOperator[Any] | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if _asked_by_sparse_product():
            lone = np.empty((), object)
            lone[()] = self
            return lone
        return np.asarray(self.to_dense(), dtype)  # type: ignore[attr-defined]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return numpy_ufunc(self, ufunc, method, inputs, kwargs)  # type: ignore[arg-type]

    def __array_function__(
        self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return numpy_function(self, func, args, kwargs)  # type: ignore[arg-type]

    def _linear_operator(self) -> LinearOperator[Any]:
        if self._operator is None:
            self._operator = linear_operator(self)  # type: ignore[arg-type]
        return self._operator

    def matvec(self, v: Any) -> Any:
        """The linearized J (C order) times a vector: what ``cg``, ``gmres``, ``lsmr`` call."""
        return self._linear_operator().matvec(v)

    def rmatvec(self, u: Any) -> Any:
        """The conjugate transpose of the linearized J times a vector."""
        return self._linear_operator().rmatvec(u)

    def matmat(self, v: Any) -> Any:
        """The linearized J times the columns of a matrix."""
        return self._linear_operator().matmat(v)

    def rmatmat(self, u: Any) -> Any:
        """The conjugate transpose of the linearized J times the columns of a matrix."""
        return self._linear_operator().rmatmat(u)


def numpy_function(jacobian: Jacobian, func: Any, args: Any, kwargs: Any) -> Any:
    """``np.trace``, ``np.linalg.norm``, ``np.linalg.solve`` … by structure; others densely."""
    kind = type(jacobian)
    special = _FUNCTIONS.get(func)
    if special is not None and args and isinstance(args[0], kind) and not kwargs:
        found = special(*args)
        if found is not NotImplemented:
            return found
    elif func is np.dot and len(args) == 2 and not kwargs and jacobian.ndim == 2:
        return args[0] @ args[1]
    return func(*_dense(args, kind), **_dense(kwargs, kind))


def _trace(j: Jacobian, *rest: Any) -> Any:
    return j.trace() if _square(j) and not rest else NotImplemented


def _diagonal(j: Jacobian, *rest: Any) -> Any:
    return j.diagonal() if j.ndim == 2 and _square(j) and not rest else NotImplemented


def _diag(j: Jacobian, *rest: Any) -> Any:
    return _diagonal(j, *rest)


def _norm(j: Jacobian, *rest: Any) -> Any:
    return j.norm() if not rest else NotImplemented


def _transpose(j: Jacobian, *rest: Any) -> Any:
    return j.T if j.ndim == 2 and j.out_shape and j.in_shape and not rest else NotImplemented


def _solve(j: Jacobian, b: Any) -> Any:
    return j.solve(b) if len(j.out_shape) == len(j.in_shape) == 1 else NotImplemented


def _dot(j: Jacobian, v: Any) -> Any:
    return j @ v if j.ndim == 2 and (isinstance(v, type(j)) or np.ndim(v) == 1) else NotImplemented


def _square(j: Jacobian) -> bool:
    return j.out_shape == j.in_shape


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.shape: lambda j: j.shape,
    np.ndim: lambda j: j.ndim,
    np.size: lambda j, *rest: j.size if not rest else NotImplemented,
    np.iscomplexobj: lambda j: j.dtype.kind == "c",
    np.isrealobj: lambda j: j.dtype.kind != "c",
    np.trace: _trace,
    np.diagonal: _diagonal,
    np.diag: _diag,
    np.linalg.norm: _norm,
    np.linalg.solve: _solve,
    np.transpose: _transpose,
    np.dot: _dot,
}

_BINARY: dict[Any, Callable[[Any, Any], Any]] = {
    np.matmul: lambda a, b: a @ b,
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
    np.true_divide: lambda a, b: a / b,
}


def numpy_ufunc(
    jacobian: Jacobian, ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Linear ufuncs and ``np.abs`` by structure; others on dense arrays."""
    kind = type(jacobian)
    if method == "__call__" and not kwargs:
        if ufunc is np.absolute:
            return abs(jacobian)
        if ufunc is np.negative:
            return -jacobian
        if ufunc is np.positive:
            return jacobian
        if ufunc is np.conjugate:
            return jacobian.conj()
        if ufunc in _BINARY:
            left, right = inputs
            if isinstance(left, kind):
                return _BINARY[ufunc](left, right)
            return _REFLECTED[ufunc](right, left)
    return getattr(ufunc, method)(*_dense(inputs, kind), **_dense(kwargs, kind))


# array ∘ J, by J's own reflected operator: the array's would come back here
_REFLECTED: dict[Any, Callable[[Any, Any], Any]] = {
    np.matmul: lambda j, a: j.__rmatmul__(a),
    np.add: lambda j, a: j.__radd__(a),
    np.subtract: lambda j, a: j.__rsub__(a),
    np.multiply: lambda j, a: j.__rmul__(a),
    np.true_divide: lambda j, a: np.true_divide(a, j.to_dense()),
}


def _asked_by_sparse_product() -> bool:
    """Whether SciPy's ``S @ J`` asks for an array of J.

    It does so before it gives J a chance; a 0-d object array makes it return NotImplemented, and
    Python then calls ``J.__rmatmul__``.
    """
    frame = sys._getframe(2)
    inside = frame.f_globals.get("__name__", "").startswith("scipy.sparse.")
    return inside and frame.f_code.co_name in ("_matmul_dispatch", "_rmatmul_dispatch")


def _dense(value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value.to_dense()  # type: ignore[attr-defined]
    if type(value) in (list, tuple):
        return type(value)(_dense(v, kind) for v in value)
    if type(value) is dict:
        return {k: _dense(v, kind) for k, v in value.items()}
    return value
