"""``scipy.linalg`` for traced and for plain arrays: plain arguments give SciPy's plain results.

Options about memory and checking (``overwrite_a``, ``check_finite`` …) are accepted and have no
effect on traced arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as _np
import scipy.linalg as _sl

from ..errors import TraceError as _TraceError
from ..errors import located as _located
from ..expr.calls import call as _call
from ..trace.array import is_traced as _is_traced
from ..trace.array import traced as _as_traced
from ..trace.functions import linalg as _traced

__all__ = [
    "cho_factor",
    "cho_solve",
    "cholesky",
    "det",
    "expm",
    "inv",
    "solve",
    "solve_triangular",
]


def expm(A: Any) -> Any:
    """The matrix exponential of (stacks of) square matrices."""
    if not _is_traced(A):
        return _sl.expm(A)
    (node,) = _traced.inexact(A)
    return _as_traced(_call("expm", _traced.square(node)))


def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """``a⁻¹ b`` for a triangle of ``a``, or with ``trans`` for its transpose (1) or adjoint (2)."""
    if not (_is_traced(a) or _is_traced(b)):
        return _sl.solve_triangular(
            a, b, trans, lower, unit_diagonal, overwrite_b, check_finite=check_finite
        )
    return _traced.triangular_solution(a, b, lower, trans, unit_diagonal)


def cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Any, bool]:
    """``(c, lower)`` for :func:`cho_solve`; the other triangle of a traced ``c`` is zero."""
    if not _is_traced(a):
        return _sl.cho_factor(a, lower, overwrite_a, check_finite)
    return cholesky(a, lower), lower


def cho_solve(
    c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """``A⁻¹ b`` for ``A = c cᴴ`` (lower) or ``cᴴ c``: two triangular solves."""
    c, lower = c_and_lower
    if not (_is_traced(c) or _is_traced(b)):
        return _sl.cho_solve((c, lower), b, overwrite_b, check_finite)
    inner = _traced.triangular_solution(c, b, lower, 0 if lower else 2, False)
    return _traced.triangular_solution(c, inner, lower, 2 if lower else 0, False)


def cholesky(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """The upper factor ``U`` of ``A = Uᴴ U``, or the lower one of ``A = L Lᴴ``."""
    if not _is_traced(a):
        return _sl.cholesky(a, lower, overwrite_a, check_finite)
    return _as_traced(_traced.cholesky_factor(a, not lower))


def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: Any = None,
    transposed: bool = False,
) -> Any:
    """``a⁻¹ b``; ``assume_a`` may be "gen" (the default) or "pos"."""
    if not (_is_traced(a) or _is_traced(b)):
        return _sl.solve(a, b, lower, overwrite_a, overwrite_b, check_finite, assume_a, transposed)
    if assume_a in ("pos", "positive definite"):
        return cho_solve(cho_factor(a, lower), b)
    if assume_a not in (None, "gen", "general"):
        raise _TraceError(
            _located(
                f"solve(assume_a={assume_a!r}) is not traced",
                'leave assume_a away, or use "pos", or solve_triangular',
            )
        )
    if transposed:
        a = _np.matrix_transpose(a)
    return _traced.solution(a, b)


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """``a⁻¹``."""
    if not _is_traced(a):
        return _sl.inv(a, overwrite_a, check_finite)
    return _np.linalg.inv(a)


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinant of ``a``."""
    if not _is_traced(a):
        return _sl.det(a, overwrite_a, check_finite)
    double = _np.result_type(a.dtype, _np.float64)  # SciPy's result is always double
    return _np.linalg.det(a.astype(double))


def __getattr__(name: str) -> Any:
    return getattr(_sl, name)
