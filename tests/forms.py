"""One derivative by every road, which have to agree."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr


def dense_jacobian(f: Any, x: Any) -> Any:
    """The dense Jacobian of an array function of one array, equal by jvp, vjp and jacobian."""
    x = np.asarray(x)
    y, pullback = cr.vjp(f, x)
    out = np.shape(y)
    columns, rows = np.zeros(out + x.shape), np.zeros(out + x.shape)
    for j in np.ndindex(x.shape):
        tangent = np.zeros_like(x)
        tangent[j] = 1
        columns[(..., *j)] = cr.jvp(f, (x,), (tangent,))[1]
    for i in np.ndindex(out):
        cotangent = np.zeros(out, np.asarray(y).dtype)
        cotangent[i] = 1
        rows[i] = pullback(cotangent)[0]
    whole = np.asarray(cr.jacobian(f)(x))
    np.testing.assert_allclose(rows, columns, rtol=1e-12, atol=1e-300, err_msg="vjp against jvp")
    np.testing.assert_allclose(whole, columns, rtol=1e-12, atol=1e-300, err_msg="jacobian")
    return whole


def slopes(f: Any, x: Any) -> Any:
    """The derivative of an elementwise function: the diagonal of its Jacobian, all else zero."""
    dense = dense_jacobian(f, x)
    diagonal = np.diagonal(dense)
    np.testing.assert_array_equal(dense, np.diag(diagonal))
    return diagonal


def defined(code: str, name: str) -> Any:
    """The function of a name that some source code defines."""
    space: dict[str, Any] = {}
    exec(code, space)
    return space[name]
