"""Dense arrays, linearized matrices and sparse matrices, to Jacobians and back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from ..expr.draft import Draft
from ..expr.nodes import Leaf
from ..expr.subs import Look, Sub, affine, const
from .memory import check_size
from .values import continues, value_of

if TYPE_CHECKING:
    from .object import Jacobian, Layout, Order

__all__ = ["as_shape", "check_layout", "check_order", "from_matrix", "to_dense", "to_matrix"]

_REMEDY = (
    "J @ v, u @ J, J.T @ u (no dense array is formed), J[i, j], J.to_sparse() where J is sparse, "
    "or max_bytes=… to insist"
)


def check_layout(layout: str) -> None:
    """ValueError for anything but the two layouts."""
    if layout not in ("numerator", "denominator"):
        raise ValueError(f"layout must be 'numerator' or 'denominator', not {layout!r}")


def check_order(order: str) -> None:
    """ValueError for anything but the two orders."""
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape as a tuple; an integer is one axis."""
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(e) for e in shape)


# -- to Jacobians -------------------------------------------------------------------------------
def from_matrix(
    kind: type[Jacobian],
    matrix: Any,
    out_shape: int | Sequence[int],
    in_shape: int | Sequence[int],
    order: Order = "C",
    layout: Layout = "numerator",
) -> Jacobian:
    """See :meth:`chainrule.Jacobian.from_matrix`."""
    check_order(order)
    check_layout(layout)
    out, into = as_shape(out_shape), as_shape(in_shape)
    first, last = (out, into) if layout == "numerator" else (into, out)
    expected = prod(first), prod(last)
    given = np.shape(matrix)
    if len(given) == 1 and given[0] == prod(expected) and 1 in expected:
        given = expected  # a single row or column
    if given != expected:
        axis = "" if len(given) != 2 else f" (axis {0 if given[0] != expected[0] else 1} differs)"
        raise ValueError(
            f"from_matrix: a matrix of shape {np.shape(matrix)} cannot be a map from {into} to "
            f"{out} in {layout} layout, which needs {expected}{axis}"
        )
    if scipy.sparse.issparse(matrix):
        return _from_sparse(kind, matrix, out, into, order, layout)
    array = matrix if continues(matrix) else np.asarray(matrix)
    if order == "F":
        array = np.reshape(array, (*first[::-1], *last[::-1]))
        array = np.transpose(array, _reversed_axes(first, last))
    else:
        array = np.reshape(array, (*first, *last))
    if layout == "denominator":
        n = len(into)
        array = np.transpose(array, [*range(n, array.ndim), *range(n)])
    return kind._dense(array, out, into, layout)


def _reversed_axes(first: Sequence[int], last: Sequence[int]) -> list[int]:
    n = len(first)
    return [*range(n)[::-1], *(n + i for i in range(len(last))[::-1])]


def _from_sparse(
    kind: type[Jacobian],
    matrix: Any,
    out: tuple[int, ...],
    into: tuple[int, ...],
    order: Order,
    layout: Layout,
) -> Jacobian:
    """One term: entry e is written where the tables of its coordinates say."""
    coo = scipy.sparse.coo_array(matrix)
    flat = [np.asarray(c) for c in coo.coords]
    if layout == "denominator":
        flat.reverse()
    entries: Any = coo.data
    values: list[Any] = [entries]
    subs: list[Sub] = []
    for position, shape in zip(flat, (out, into), strict=True):
        for index, extent in zip(
            np.unravel_index(position, shape, order) if shape else (), shape, strict=True
        ):
            if extent == 1:
                subs.append(const(0))
                continue
            table = Leaf(len(values), index.shape, index.dtype)
            values.append(index)
            subs.append(affine(0, [(1, Look(table, (0,), extent))]))
    leaf = Leaf(0, entries.shape, entries.dtype)
    made = Draft(out + into, entries.dtype, 1, {0: len(entries)}, [(leaf, (0,))], subs).term()
    return kind([] if made is None else [made], values, out, into, entries.dtype, layout)


# -- from Jacobians -----------------------------------------------------------------------------
def to_dense(jacobian: Jacobian, max_bytes: int | None = None, copies: int = 1) -> Any:
    """See :meth:`chainrule.Jacobian.to_dense`; ``copies``: how many the caller will hold."""
    check_size(
        copies * jacobian.dense_nbytes,
        f"a dense Jacobian of shape {jacobian.shape} ({jacobian.dtype})"
        + (f", {copies} times," if copies > 1 else ""),
        max_bytes,
        _REMEDY,
    )
    array = value_of(jacobian.node, jacobian._bound()[1])
    if jacobian.layout == "denominator":
        n_out = len(jacobian.out_shape)
        array = np.transpose(array, [*range(n_out, jacobian.ndim), *range(n_out)])
    return array


def to_matrix(jacobian: Jacobian, order: Order = "C", max_bytes: int | None = None) -> Any:
    """See :meth:`chainrule.Jacobian.to_matrix`."""
    check_order(order)
    groups = jacobian.out_shape, jacobian.in_shape
    first, last = groups if jacobian.layout == "numerator" else groups[::-1]
    # reversing the axes of a group of several copies
    copied = order == "F" and max(len(first), len(last)) > 1
    array = to_dense(jacobian, max_bytes, 2 if copied and max_bytes is None else 1)
    if order == "F":
        array = np.transpose(array, _reversed_axes(first, last))
    return np.reshape(array, (prod(first), prod(last)))
