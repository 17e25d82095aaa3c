"""A Jacobian as a SciPy CSR array, straight from its terms: no dense array, no coloring.

A term gives one entry for every point of the box of its output labels.  Where subscripts tell
the order of columns, entries are written in place (:mod:`chainrule.jacobian.grids`); elsewhere
coordinates are sorted (``_sorted``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse

from ..expr.draft import Draft
from ..expr.nodes import Node, Term
from ..expr.subs import bounds, labels_of, parts_of, ravel
from ..lower.kernels import index_grid
from ..lower.run import Cache
from .grids import Arrangement, Source, apart, arranged, written
from .memory import check_size
from .pieces import Array, Piece, linear
from .values import continues, value_of

if TYPE_CHECKING:
    from .object import Jacobian

__all__ = ["clear", "csr", "entries", "terms_with_numbers"]

_REMEDY = "J @ v, u @ J, J.to_linear_operator() (nothing is enumerated), or max_bytes=… to insist"


def terms_with_numbers(jacobian: Jacobian, name: str) -> tuple[list[Term], dict[Node, Any]]:
    """The terms and the arrays of their leaves; TypeError where these are traced."""
    terms, bindings = jacobian._bound()
    if any(continues(value) for value in bindings.values()):
        raise TypeError(
            f"{name} needs numbers, but this Jacobian was computed inside a traced function and "
            "depends on its arguments; return the Jacobian from the function and export it "
            "outside, or use J @ v, u @ J, J.to_dense() inside"
        )
    return terms, bindings


def entries(terms: Sequence[Term]) -> int:
    """The number of points that the terms enumerate."""
    return sum(prod(_box(term)) for term in terms)


def csr(jacobian: Jacobian, max_bytes: int | None = None) -> scipy.sparse.csr_array[Any]:
    """See :meth:`chainrule.Jacobian.to_sparse`."""
    terms, bindings = terms_with_numbers(jacobian, "J.to_sparse()")
    shape = prod(jacobian.out_shape), prod(jacobian.in_shape)
    denominator = jacobian.layout == "denominator"
    boxes = {term: _box(term) for term in terms}
    count = sum(map(prod, boxes.values()))
    index = np.dtype(np.int32 if max(*shape, count) < 2**31 else np.int64)
    rows = shape[1] if denominator else shape[0]
    check_size(
        count * (jacobian.dtype.itemsize + index.itemsize) + (rows + 1) * index.itemsize,
        f"a sparse Jacobian of shape {jacobian.shape} ({jacobian.dtype}) with {count:,} entries",
        max_bytes,
        _REMEDY,
    )
    if denominator:
        shape = shape[::-1]
    terms = [term for term in terms if prod(boxes[term])]
    if not terms:
        return scipy.sparse.csr_array(shape, dtype=jacobian.dtype)
    sources = [
        Source(_values(t, boxes[t], bindings), boxes[t], _mask(t, boxes[t], bindings))
        for t in terms
    ]
    key = tuple(terms), jacobian.out_shape, jacobian.in_shape, denominator
    plan = _plans.get(key)
    if plan is None:
        plan = _planned(*key)
        _plans.put(key, plan)
    pieces, arrangement, transposed = plan
    if arrangement is None:
        return _sorted(pieces, sources, shape, jacobian.dtype, index, bindings)
    if transposed:
        made = written(arrangement, sources, shape[::-1], jacobian.dtype, index, bindings)
        return made.T.tocsr()
    return written(arrangement, sources, shape, jacobian.dtype, index, bindings)


# how to write the entries of terms: it depends on their subscripts alone
_Key: TypeAlias = tuple[tuple[Term, ...], tuple[int, ...], tuple[int, ...], bool]
_Plan: TypeAlias = tuple[list[Piece], Arrangement | None, bool]
_plans: Cache[_Key, _Plan] = Cache(64)


def clear() -> None:
    """Forget all plans."""
    _plans.clear()


def _planned(
    terms: tuple[Term, ...],
    out_shape: tuple[int, ...],
    in_shape: tuple[int, ...],
    denominator: bool,
) -> _Plan:
    """Pieces in order of the terms, where their entries go if known, whether transposed."""
    n_out = len(out_shape)
    pieces = []
    for source, term in enumerate(terms):
        box = _box(term)
        row = ravel(term.out[:n_out], out_shape)
        column = ravel(term.out[n_out:], in_shape)
        masked = any(all(k < len(box) for k in labels_of(s)) for s in term.constraints)
        pieces.append(Piece(row, column, box, source, masked))
    shape = prod(out_shape), prod(in_shape)
    if denominator:
        shape = shape[::-1]
        pieces = [p.turned() for p in pieces]
    split = [part for piece in pieces for part in linear(piece)]
    for form, transposed in ((split, False), ([p.turned() for p in split], True)):
        extent = shape[::-1] if transposed else shape
        for attempt in (form, apart(form, extent)):
            arrangement = arranged(attempt, extent)
            if arrangement is not None:
                return pieces, arrangement, transposed
    return pieces, None, False


# -- values -------------------------------------------------------------------------------------
def _box(term: Term) -> tuple[int, ...]:
    """The extents of the labels of the output: those come first."""
    found: set[int] = set()
    for sub in term.out:
        found.update(labels_of(sub))
    assert found == set(range(len(found)))
    return term.extents[: len(found)]


def _values(term: Term, box: tuple[int, ...], bindings: Mapping[Node, Any]) -> Any:
    """The product of the factors over the output labels, summed labels contracted."""
    if len(term.extents) == len(box):
        direct = _viewed(term, bindings)
        if direct is not None:
            return direct
    inner = [s for s in term.constraints if any(k >= len(box) for k in labels_of(s))]
    if any(not isinstance(s, int) for _, subs in term.factors for s in subs):
        inner = list(term.constraints)  # they keep the factors' subscripts in bounds
    used: set[int] = set()
    for sub in (*(s for _, subs in term.factors for s in subs), *inner):
        used.update(labels_of(sub))
    used.update(range(len(box), len(term.extents)))
    present = [k for k in range(len(box)) if k in used]
    node = Draft(
        tuple(box[k] for k in present),
        term.dtype,
        term.coef,
        {k: term.extents[k] for k in used},
        term.factors,
        present,
        inner,
    ).finish()
    spread = tuple(e if k in used else 1 for k, e in enumerate(box))
    return np.reshape(value_of(node, bindings), spread)


def _viewed(term: Term, bindings: Mapping[Node, Any]) -> Any:
    """As ``_values`` where every factor is read by slices; None elsewhere."""
    extents = dict(enumerate(term.extents))
    total: Any = None
    for node, subs in term.factors:
        if node.dtype.kind == "b":
            return None
        array = bindings[node]
        index: list[Any] = []
        labels: list[int] = []
        for sub, extent in zip(subs, node.shape, strict=True):
            constant, parts = parts_of(sub)
            low, high = bounds(sub, extents)
            if low < 0 or high >= extent or len(parts) > 1:
                return None
            if not parts:
                index.append(constant)
                continue
            ((step, label),) = parts
            if not isinstance(label, int) or step < 0 or label in labels:
                return None
            index.append(slice(constant, constant + step * (extents[label] - 1) + 1, step))
            labels.append(label)
        view = np.asarray(array)[tuple(index)]
        order = sorted(range(len(labels)), key=labels.__getitem__)
        shape = [1] * len(term.extents)
        for label in labels:
            shape[label] = extents[label]
        view = view.transpose(order).reshape(shape)
        total = view if total is None else total * view
    if total is None:
        return np.asarray(term.coef, term.dtype)
    return total if term.coef == 1 else total * term.coef


def _mask(term: Term, box: tuple[int, ...], bindings: Mapping[Node, Any]) -> Array | None:
    """Where the constraints on output labels hold; None for everywhere."""
    found: Array | None = None
    labels = range(len(box))
    for sub in term.constraints:
        if all(k < len(box) for k in labels_of(sub)):
            holds = index_grid(sub, labels, box, True, None, bindings)
            found = holds if found is None else found & holds
    return found


# -- coordinates, sorted ------------------------------------------------------------------------
def _sorted(
    pieces: Sequence[Piece],
    sources: Sequence[Source],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    index: np.dtype[Any],
    tables: Mapping[Node, Any],
) -> scipy.sparse.csr_array[Any]:
    count = sum(prod(p.extents) for p in pieces)
    rows, columns = np.empty(count, index), np.empty(count, index)
    data = np.empty(count, dtype)
    used = 0
    for piece, source in zip(pieces, sources, strict=True):
        values, mask = source.over_box, source.mask
        labels = range(len(piece.extents))
        found = [
            index_grid(sub, labels, piece.extents, False, None, tables)
            for sub in (piece.row, piece.column)
        ]
        if mask is None:
            size = prod(piece.extents)
            for target, given in zip((rows, columns, data), (*found, values), strict=True):
                target[used : used + size].reshape(piece.extents)[...] = given
        else:
            size = int(np.count_nonzero(mask))
            for target, given in zip((rows, columns, data), (*found, values), strict=True):
                target[used : used + size] = given[mask]
        used += size
    made = scipy.sparse.coo_array((data[:used], (rows[:used], columns[:used])), shape=shape).tocsr()
    made.sum_duplicates()
    return made
