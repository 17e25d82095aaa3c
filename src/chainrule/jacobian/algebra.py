"""Products, sums and multiples of Jacobians: each joins terms and gives terms.

A dense or sparse matrix enters as a term, too (``leaf[a,b]``, or ``data[e]`` written at
``rows[e], columns[e]``), so that one set of operations serves all operands.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse

from ..chain.network import conjugated
from ..expr.build import injective, map_
from ..expr.draft import Draft
from ..expr.nodes import Node, Term
from ..expr.subs import Sub, const, labels_of, looks_of
from ..simplify.network import compress
from ..simplify.sums import accumulate
from ..simplify.terms import derived
from .matrices import from_matrix
from .memory import check_size
from .sparse import csr, entries
from .terms import both_bound, differing, rebuilt, scaled, with_out
from .values import bound_operand, continues, value_of

if TYPE_CHECKING:
    from .object import Jacobian

__all__ = [
    "absolute",
    "compose",
    "conjugate",
    "contract",
    "norm",
    "plus",
    "sparse_factor",
    "times",
    "transposed",
]


# -- products -----------------------------------------------------------------------------------
def contract(jacobian: Jacobian, value: Any, group: Literal["out", "in"]) -> Any:
    """Contract a tensor with all axes of one group."""
    terms, bindings = jacobian._bound()
    node, bindings = bound_operand(value, len(jacobian._values), bindings)
    n_out = len(jacobian.out_shape)
    labels = tuple(range(jacobian.ndim))
    mine = labels[:n_out] if group == "out" else labels[n_out:]
    rest = labels[n_out:] if group == "out" else labels[:n_out]
    shape = jacobian.in_shape if group == "out" else jacobian.out_shape
    dtype = np.result_type(jacobian.dtype, node.dtype)
    extents = dict(enumerate(jacobian.out_shape + jacobian.in_shape))
    parts = []
    for term in terms:
        kind = np.result_type(term.dtype, node.dtype)
        draft = Draft(shape, kind, 1, dict(extents), [(term, labels), (node, mine)], rest)
        draft.inline(0)
        parts.append(derived(draft))
    return value_of(accumulate(parts, shape, dtype), bindings)


def compose(outer: Jacobian, inner: Jacobian) -> Jacobian:
    """The chain rule: ``outer`` after ``inner``, whose shapes fit."""
    mine, theirs, bindings = both_bound(outer, inner)
    n_out, n_mid, n_in = len(outer.out_shape), len(outer.in_shape), len(inner.in_shape)
    labels = tuple(range(n_out + n_mid + n_in))
    shape = outer.out_shape + inner.in_shape
    dtype = np.result_type(outer.dtype, inner.dtype)
    extents = dict(enumerate(outer.out_shape + outer.in_shape + inner.in_shape))
    out = (*labels[:n_out], *labels[n_out + n_mid :])
    made = []
    for a in mine:
        for b in theirs:
            factors: list[Any] = [(a, labels[: n_out + n_mid]), (b, labels[n_out:])]
            draft = Draft(shape, dtype, 1, dict(extents), factors, out)
            draft.inline(1)
            draft.inline(0)
            node = draft.term()
            if node is not None:
                made.append(compress(node))
    if _tables_meet(made, [*mine, *theirs]) and not _traced(bindings):
        # rows found by one table meet columns found by another: SciPy matches them by hashing
        numerator = [j.with_layout("numerator").to_sparse() for j in (outer, inner)]
        product = from_matrix(
            type(outer), numerator[0] @ numerator[1], outer.out_shape, inner.in_shape
        )
        return product.with_layout(outer.layout)
    return rebuilt(
        type(outer),
        made,
        bindings,
        outer.out_shape,
        inner.in_shape,
        dtype,
        outer.layout,
    )


def _tables_meet(made: list[Term], before: list[Term]) -> bool:
    """Whether an equation between look-ups was left as a constraint."""

    def looks(terms: list[Term]) -> int:
        return max((sum(bool(looks_of(s)) for s in t.constraints) for t in terms), default=0)

    return looks(made) > 2 * looks(before)


def _traced(bindings: dict[Node, Any]) -> bool:
    return any(continues(value) for value in bindings.values())


def sparse_factor(jacobian: Jacobian, matrix: Any, side: Literal["left", "right"]) -> Jacobian:
    """A SciPy matrix as the map that ``matrix @ J`` or ``J @ matrix`` composes J with.

    It is matched with the linearized group (C order) that it meets; its other axis is one axis.
    """
    numerator = jacobian.layout == "numerator"
    first = jacobian.out_shape if numerator else jacobian.in_shape
    last = jacobian.in_shape if numerator else jacobian.out_shape
    kind = type(jacobian)
    rows, columns = matrix.shape
    meets, shape, size = (first, (rows,), columns) if side == "left" else (last, (columns,), rows)
    if size != prod(meets):
        text = "S @ J" if side == "left" else "J @ S"
        raise ValueError(
            f"{text}: a sparse matrix of shape {matrix.shape} meets axes of shape {meets}, "
            f"{prod(meets)} elements, with its axis {1 if side == 'left' else 0} of {size}; this "
            f"Jacobian has out_shape {jacobian.out_shape} and in_shape {jacobian.in_shape} "
            f"({jacobian.layout} layout)"
        )
    # matrices read (first group, last group) in either layout
    outer, inner = (shape, meets) if side == "left" else (meets, shape)
    if not numerator:
        outer, inner = inner, outer
    return from_matrix(kind, matrix, outer, inner, layout=jacobian.layout)


# -- sums ---------------------------------------------------------------------------------------
def plus(left: Jacobian, right: Any, sign: int) -> Jacobian:
    """``left + sign * right``; right a Jacobian, an array of J's shape, or a sparse matrix."""
    other = _summand(left, right)
    if left.layout != other.layout:
        raise ValueError(f"J + K: layouts differ ({left.layout}, {other.layout}); use with_layout")
    if (left.out_shape, left.in_shape) != (other.out_shape, other.in_shape):
        raise ValueError(
            f"J + K: J maps {left.in_shape} to {left.out_shape}, K {other.in_shape} to "
            f"{other.out_shape} ({differing(left.shape, other.shape)})"
        )
    mine, theirs, bindings = both_bound(left, other)
    dtype = np.result_type(left.dtype, other.dtype)
    terms = [*(scaled(t, 1, dtype) for t in mine), *(scaled(t, sign, dtype) for t in theirs)]
    return rebuilt(type(left), terms, bindings, left.out_shape, left.in_shape, dtype, left.layout)


def _summand(left: Jacobian, right: Any) -> Jacobian:
    kind = type(left)
    if isinstance(right, kind):
        return right
    if scipy.sparse.issparse(right):
        return from_matrix(kind, right, left.out_shape, left.in_shape, layout=left.layout)
    shape = np.shape(right)
    if shape != left.shape:
        raise ValueError(
            f"J + A: an array of shape {shape} meets a Jacobian of shape {left.shape} "
            f"({differing(shape, left.shape)}); only an "
            "array of the same shape, a SciPy sparse array of the linearized shape, or a Jacobian "
            "can be added (for a multiple of the identity: J + c * Jacobian.identity(shape))"
        )
    array = right if continues(right) else np.asarray(right)
    if left.layout == "denominator":
        n_in = len(left.in_shape)
        array = np.transpose(array, [*range(n_in, left.ndim), *range(n_in)])
    return kind._dense(array, left.out_shape, left.in_shape, left.layout)


# -- elementwise --------------------------------------------------------------------------------
def times(jacobian: Jacobian, factor: Any) -> Jacobian:
    """The elementwise product with a number, an array that broadcasts, or another Jacobian."""
    kind = type(jacobian)
    if isinstance(factor, int | float | complex | np.number | np.bool_):
        number = factor.item() if isinstance(factor, np.generic) else factor
        dtype = np.result_type(jacobian.dtype, factor)
        terms = [scaled(t, number, dtype) for t in jacobian._terms] if number else []
        return kind(
            terms,
            jacobian._source,
            jacobian.out_shape,
            jacobian.in_shape,
            dtype,
            jacobian.layout,
        )
    mine, bindings = jacobian._bound()
    labels = tuple(range(jacobian.ndim))
    n_out = len(jacobian.out_shape)
    shown = labels if jacobian.layout == "numerator" else (*labels[n_out:], *labels[:n_out])
    factors: list[tuple[Node, tuple[Sub, ...]]]
    if isinstance(factor, kind):
        if (factor.shape, factor.layout) != (jacobian.shape, jacobian.layout):
            raise ValueError(
                f"J * K: J of shape {jacobian.shape} ({jacobian.layout} layout) meets K of shape "
                f"{factor.shape} ({factor.layout} layout): "
                + differing(jacobian.shape, factor.shape)
            )
        mine, theirs, bindings = both_bound(jacobian, factor)
        factors = [(t, labels) for t in theirs]
    else:
        array = factor if continues(factor) else np.asarray(factor)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"a Jacobian cannot be multiplied by {type(factor).__name__}")
        subs = _broadcast_subs(array.shape, jacobian.shape, shown)
        leaf, bindings = bound_operand(array, len(jacobian._values), bindings)
        factors = [(leaf, subs)]
    dtype = np.result_type(jacobian.dtype, factor.dtype if isinstance(factor, kind) else leaf.dtype)
    shape = jacobian.out_shape + jacobian.in_shape
    made = []
    for term in mine:
        for node, subs in factors:
            pair: list[Any] = [(term, labels), (node, subs)]
            draft = Draft(shape, dtype, 1, dict(enumerate(shape)), pair, labels)
            if isinstance(node, Term):
                draft.inline(1)
            draft.inline(0)
            product = draft.term()
            if product is not None:
                made.append(compress(product))
    return rebuilt(
        kind, made, bindings, jacobian.out_shape, jacobian.in_shape, dtype, jacobian.layout
    )


def _broadcast_subs(
    shape: tuple[int, ...], against: tuple[int, ...], shown: tuple[int, ...]
) -> tuple[Sub, ...]:
    """Subscripts of an array that NumPy would broadcast to a Jacobian's shape."""
    offset = len(against) - len(shape)
    subs: list[Sub] = []
    for axis, extent in enumerate(shape):
        if offset + axis < 0 or extent not in (1, against[offset + axis]):
            break
        subs.append(const(0) if extent == 1 else shown[offset + axis])
    else:
        return tuple(subs)
    raise ValueError(
        f"J * a: an array of shape {shape} does not broadcast to the Jacobian's shape {against} "
        f"(axis {axis} of the array); `*` is elementwise, products with tensors are written J @ v"
    )


def absolute(jacobian: Jacobian) -> Jacobian:
    """The elementwise absolute values."""
    kind = type(jacobian)
    dtype = np.empty(0, jacobian.dtype).real.dtype
    groups = jacobian.out_shape, jacobian.in_shape
    terms, bindings = jacobian._bound()
    if len(terms) <= 1 and all(_apart(t) for t in terms):
        made = [_absolute_term(t, dtype) for t in terms]
        return rebuilt(kind, made, bindings, *groups, dtype, jacobian.layout)
    if not _traced(bindings) and 2 * entries(terms) < jacobian.size:
        matrix = abs(csr(jacobian.with_layout("numerator")))
        return from_matrix(kind, matrix, *groups).with_layout(jacobian.layout)
    dense = np.abs(jacobian.with_layout("numerator").to_dense())
    return kind._dense(dense, *groups, jacobian.layout)


def _written(term: Term) -> set[int]:
    return {k for sub in term.out for k in labels_of(sub)}


def _apart(term: Term) -> bool:
    """Whether every element of the output is written by one point of the output's labels."""
    count = len(_written(term))
    inside = all(k < count for sub in term.constraints for k in labels_of(sub))
    box = term.extents[:count]
    return inside and injective(Term(term.shape, term.dtype, 1, box, (), term.out))


def _absolute_term(term: Term, dtype: np.dtype[Any]) -> Term:
    extents = {k: term.extents[k] for k in sorted(_written(term))}
    if len(extents) == len(term.extents):
        factors = [
            (node if node.dtype.kind == "b" else map_("abs", node), subs)
            for node, subs in term.factors
        ]
        coef = abs(term.coef)
    else:  # a sum: its value first
        used = {k for _, subs in term.factors for s in subs for k in labels_of(s)}
        labels = tuple(k for k in extents if k in used)
        shape = tuple(extents[k] for k in labels)
        size = prod(shape) * term.dtype.itemsize
        check_size(size, f"the summed factor of shape {shape}", None, "abs(J.to_sparse())")
        boxes = dict(enumerate(term.extents))
        node = Draft(shape, term.dtype, term.coef, boxes, term.factors, labels).finish()
        factors = [(map_("abs", node), labels)]
        coef = 1
    made = Draft(term.shape, dtype, coef, extents, factors, term.out, term.constraints).term()
    assert made is not None
    return made


def transposed(jacobian: Jacobian) -> Jacobian:
    """Out and in exchanged, in the same layout."""
    n_out = len(jacobian.out_shape)
    shape = jacobian.in_shape + jacobian.out_shape
    turned = [with_out(t, [*t.out[n_out:], *t.out[:n_out]], shape) for t in jacobian._terms]
    return type(jacobian)(
        turned,
        jacobian._source,
        jacobian.in_shape,
        jacobian.out_shape,
        jacobian.dtype,
        jacobian.layout,
    )


def conjugate(jacobian: Jacobian) -> Jacobian:
    """The complex conjugate, elementwise."""
    if jacobian.dtype.kind != "c":
        return jacobian
    terms, bindings = jacobian._bound()
    groups = jacobian.out_shape, jacobian.in_shape
    made = [conjugated(t) for t in terms]
    return rebuilt(type(jacobian), made, bindings, *groups, jacobian.dtype, jacobian.layout)


# -- norms --------------------------------------------------------------------------------------
def norm(jacobian: Jacobian) -> Any:
    """See :meth:`chainrule.Jacobian.norm`."""
    terms, bindings = jacobian._bound()
    stored = sum(np.size(value) for value in bindings.values())
    if entries(terms) <= 4 * stored + 2**20 and all(
        isinstance(value, np.ndarray | np.generic) for value in bindings.values()
    ):
        return np.linalg.norm(csr(jacobian).data)
    # Σ over pairs of terms of their inner product, contracted factor by factor
    labels = tuple(range(jacobian.ndim))
    extents = dict(enumerate(jacobian.out_shape + jacobian.in_shape))
    parts = []
    for i, first in enumerate(terms):
        for second in terms[i:]:
            dtype = np.result_type(first.dtype, second.dtype)
            coef = 1 if second is first else 2
            factors = [(first, labels), (conjugated(second), labels)]
            draft = Draft((), dtype, coef, dict(extents), factors, ())
            draft.inline(1)
            draft.inline(0)
            parts.append(derived(draft))
    total = value_of(accumulate(parts, (), jacobian.dtype), bindings)
    return np.sqrt(np.maximum(np.real(total), 0))
