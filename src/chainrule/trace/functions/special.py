"""SciPy's special functions: what :mod:`chainrule.scipy.special` calls for traced arguments, and
ufuncs that are written in terms of others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.special as sp

from ...errors import TraceError, located
from ...expr.build import cast, map_
from ...expr.nodes import Node
from ..array import UFUNCS, TracedArray, is_traced, traced
from .common import axes_of, node_array, ufunc
from .elementwise import elementwise

__all__ = ["log_softmax", "logsumexp", "multigammaln", "polygamma", "softmax"]


def _inexact(value: Any) -> Node:
    node = node_array(value)
    return node if node.dtype.kind in "fc" else cast(node, np.dtype(float))


# -- sums of exponentials ---------------------------------------------------------------------
def _shift(x: Any, axis: Any) -> TracedArray:
    """The largest (real part) along the axes, kept, without derivative; 0 where it is infinite.

    What is built on it does not depend on the shift, so its derivative is not missing.
    """
    largest = np.max(np.real(x), axis=axis, keepdims=True)
    safe: Any = np.where(np.isfinite(largest), largest, 0)
    return traced(map_("stop", cast(safe.node, np.real(x).dtype)))


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """``log Σ b exp a`` over ``axis``, for any size of ``a``."""
    x: Any = traced(_inexact(a))
    if b is None:
        shift = _shift(x, axis)
        total = np.sum(np.exp(x - shift), axis=axis, keepdims=True)
    else:
        x, b = np.broadcast_arrays(x, b)
        unused = np.equal(b, 0)
        shift = _shift(np.where(unused, -np.inf, x), axis)
        # elements of weight 0 count for nothing, however large they are
        x = np.where(np.logical_and(unused, np.greater(np.real(x), shift)), shift, x)
        total = np.sum(b * np.exp(x - shift), axis=axis, keepdims=True)
    sign = None
    if return_sign:
        sign = np.sign(total)
        total = np.abs(total)
    result = np.log(total) + shift
    results = [r for r in (result, sign) if r is not None]
    if not keepdims:
        axes = axes_of(axis, x.ndim)
        results = [np.squeeze(r, axis=axes) for r in results]
    return tuple(results) if return_sign else results[0]


def softmax(x: Any, axis: Any = None) -> Any:
    """``exp x / Σ exp x`` along ``axis``."""
    x = traced(_inexact(x))
    raised = np.exp(x - _shift(x, axis))
    return raised / np.sum(raised, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """``x - log Σ exp x`` along ``axis``."""
    x = traced(_inexact(x))
    shifted = x - _shift(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


# -- gamma functions --------------------------------------------------------------------------
def multigammaln(a: Any, d: Any) -> Any:
    """``log Γ_d(a) = d(d-1)/4 log π + Σ_j log Γ(a - j/2)`` for ``j < d``; ``a > (d-1)/2``."""
    if not isinstance(d, int | float | np.number) or d != math.floor(d) or d < 1:
        raise ValueError("d should be a positive integer (dimension)")
    x: Any = traced(_inexact(a))
    # from SciPy 1.17 on the result is float64, whatever the argument
    dtype = np.asarray(sp.multigammaln(np.full((), float(d), x.dtype), int(d))).dtype
    total: Any = sp.gammaln(x)
    for j in range(1, int(d)):
        total = total + sp.gammaln(x - j / 2.0)
    return d * (d - 1) * 0.25 * math.log(math.pi) + total.astype(dtype)


def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of ``digamma``, for one non-negative integer n."""
    if isinstance(n, TracedArray) or np.ndim(n) or int(n) != n or n < 0:
        raise TraceError(
            located("polygamma is traced for one non-negative integer n", "pass a Python int")
        )
    node = _inexact(x)
    if n == 0:
        return sp.digamma(traced(node))
    return traced(map_("polygamma", node, params=(int(n),)))


# -- ufuncs in terms of others ----------------------------------------------------------------
@ufunc(sp.entr)
def entr(x: Any) -> Any:
    return np.where(x < 0, -np.inf, -sp.xlogy(x, x))


@ufunc(sp.rel_entr)
def rel_entr(x: Any, y: Any) -> Any:
    return sp.xlogy(x, x / y)


@ufunc(sp.kl_div)
def kl_div(x: Any, y: Any) -> Any:
    return sp.xlogy(x, x / y) - x + y


@ufunc(sp.ndtr)
def ndtr(x: Any) -> Any:
    return 0.5 * sp.erfc(x * -math.sqrt(0.5))


@ufunc(sp.ndtri)
def ndtri(p: Any) -> Any:
    return math.sqrt(2.0) * sp.erfinv(2 * p - 1)


@ufunc(sp.i0)
def i0(x: Any) -> Any:
    return sp.i0e(x) * np.exp(np.abs(x))


@ufunc(sp.i1)
def i1(x: Any) -> Any:
    return sp.i1e(x) * np.exp(np.abs(x))


@ufunc(sp.betaln)
def betaln(a: Any, b: Any) -> Any:
    return sp.gammaln(a) + sp.gammaln(b) - sp.gammaln(a + b)


def _incomplete(op: str, function: Any) -> Any:
    """A function of an order, by which it has no derivative: plain ones are put under ``stop``."""
    applied = elementwise(op, function)

    def implementation(a: Any, x: Any) -> Any:
        if not is_traced(a):
            a = traced(map_("stop", node_array(a)), weak=isinstance(a, int | float))
        return applied(a, x)

    return implementation


UFUNCS[sp.gammainc] = _incomplete("gammainc", sp.gammainc)
UFUNCS[sp.gammaincc] = _incomplete("gammaincc", sp.gammaincc)


@ufunc(sp.exp10)
def exp10(x: Any) -> Any:
    return np.power(10.0, x)


@ufunc(sp.cosm1)
def cosm1(x: Any) -> Any:
    return -2.0 * np.square(np.sin(0.5 * x))


@ufunc(sp.boxcox)
def boxcox(x: Any, lmbda: Any) -> Any:
    return np.log(x) * sp.exprel(lmbda * np.log(x))


@ufunc(sp.boxcox1p)
def boxcox1p(x: Any, lmbda: Any) -> Any:
    return np.log1p(x) * sp.exprel(lmbda * np.log1p(x))


@ufunc(sp.huber)
def huber(delta: Any, r: Any) -> Any:
    size = np.abs(r)
    return np.where(size <= delta, 0.5 * np.square(r), delta * (size - 0.5 * delta))


@ufunc(sp.pseudo_huber)
def pseudo_huber(delta: Any, r: Any) -> Any:
    return np.square(delta) * (np.sqrt(1 + np.square(r / delta)) - 1)
