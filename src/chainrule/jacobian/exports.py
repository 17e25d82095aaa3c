"""What other libraries take: linear operators and per-example blocks."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..expr.draft import Draft, opened
from ..expr.nodes import Leaf, Node
from ..simplify.sums import accumulate
from ..simplify.terms import derived
from .memory import check_size
from .sparse import terms_with_numbers
from .values import value_of

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    from .object import Jacobian

__all__ = ["blocks", "linear_operator"]


# -- linear operators ---------------------------------------------------------------------------
def linear_operator(jacobian: Jacobian) -> LinearOperator[Any]:
    """See :meth:`chainrule.Jacobian.to_linear_operator`."""
    from scipy.sparse.linalg import LinearOperator  # slow to import, seldom needed

    terms_with_numbers(jacobian, "J.to_linear_operator()")
    forward: Literal["out", "in"] = "in" if jacobian.layout == "numerator" else "out"
    backward: Literal["out", "in"] = "out" if forward == "in" else "in"
    sizes = {"out": prod(jacobian.out_shape), "in": prod(jacobian.in_shape)}
    apply, adjoint = _applied(jacobian, forward), _applied(jacobian, backward)
    return LinearOperator(
        (sizes[backward], sizes[forward]),
        matvec=lambda v: apply(np.reshape(v, -1)),
        rmatvec=lambda v: _conjugate(adjoint(_conjugate(np.reshape(v, -1)))),
        matmat=apply,
        rmatmat=lambda v: _conjugate(adjoint(_conjugate(v))),
        dtype=jacobian.dtype,
    )


def _conjugate(array: Any) -> Any:
    return np.conj(array) if np.iscomplexobj(array) else array


def _applied(jacobian: Jacobian, group: Literal["out", "in"]) -> Callable[[Any], Any]:
    """The product with a vector, or the columns of a matrix, over the axes of one group."""
    terms, bindings = jacobian._bound()
    slot = len(jacobian._values)
    out, into = jacobian.out_shape, jacobian.in_shape
    mine, result = (out, into) if group == "out" else (into, out)
    labels = tuple(range(len(out) + len(into)))
    inner = labels[: len(out)] if group == "out" else labels[len(out) :]
    rest = labels[len(out) :] if group == "out" else labels[: len(out)]
    known: dict[Any, tuple[Leaf, Node]] = {}

    def expression(dtype: np.dtype[Any], more: tuple[int, ...]) -> tuple[Leaf, Node]:
        leaf = Leaf(slot, mine + more, dtype)
        column = tuple(range(len(labels), len(labels) + len(more)))
        extents = dict(enumerate(out + into + more))
        parts = []
        for term in terms:
            kind = np.result_type(term.dtype, dtype)
            factors: list[Any] = [(term, labels), (leaf, inner + column)]
            draft = Draft(result + more, kind, 1, dict(extents), factors, rest + column)
            draft.inline(0)
            parts.append(derived(draft))
        whole = accumulate(parts, result + more, np.result_type(jacobian.dtype, dtype))
        return leaf, whole

    def apply(value: Any) -> Any:
        array = np.asarray(value)
        more = array.shape[1:]
        key = array.dtype, more
        if key not in known:
            if len(known) > 16:
                known.clear()
            known[key] = expression(*key)
        leaf, whole = known[key]
        found = value_of(whole, {**bindings, leaf: array.reshape(mine + more)})
        return np.reshape(found, (prod(result), *more))

    return apply


# -- blocks -------------------------------------------------------------------------------------
def blocks(jacobian: Jacobian, max_bytes: int | None = None) -> Any:
    """See :meth:`chainrule.Jacobian.blocks`."""
    out, into = jacobian.out_shape, jacobian.in_shape
    if not out or not into or out[0] != into[0]:
        raise ValueError(
            f"blocks: out_shape {out} and in_shape {into} do not begin with one batch axis"
        )
    shape = out + into[1:]
    n_out = len(out)
    for term in jacobian._terms:
        if term.out[0] != term.out[n_out]:
            raise ValueError(
                "blocks: example i of the output depends on other examples of the input than i "
                f"(structure {jacobian.structure}: the first axes of the two groups are not one "
                "label in every term); use J.to_sparse() or J.to_dense()"
            )
    check_size(
        prod(shape) * jacobian.dtype.itemsize,
        f"blocks of shape {shape} ({jacobian.dtype})",
        max_bytes,
        "J @ v, u @ J, or max_bytes=… to insist",
    )
    terms, bindings = jacobian._bound()
    parts = []
    for term in terms:
        draft = opened(term)
        assert draft is not None
        draft.out = [*term.out[:n_out], *term.out[n_out + 1 :]]
        draft.shape = shape
        parts.append(derived(draft))
    array = value_of(accumulate(parts, shape, jacobian.dtype), bindings)
    if jacobian.layout == "denominator":
        array = np.transpose(array, (0, *range(n_out, len(shape)), *range(1, n_out)))
    return array
