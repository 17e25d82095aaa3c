"""Elements, rows, columns, slices, the diagonal: each is a Jacobian read at other subscripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..expr.draft import Draft
from ..expr.nodes import Leaf, Node
from ..expr.subs import Look, Sub, affine, const
from ..simplify.network import compress
from ..simplify.sums import accumulate
from ..simplify.terms import derived
from .terms import rebuilt
from .values import value_of

if TYPE_CHECKING:
    from .object import Jacobian

__all__ = ["diagonal", "item"]

_FULL = slice(None)


@dataclass
class _Reading:
    """Subscripts under which a Jacobian is read, over labels of the result."""

    slot: int
    extents: dict[int, int] = field(default_factory=dict)
    tables: dict[Node, Any] = field(default_factory=dict)

    def label(self, extent: int) -> int:
        fresh = len(self.extents)
        self.extents[fresh] = extent
        return fresh

    def table(self, index: np.ndarray[Any, Any], label: int, extent: int) -> Sub:
        leaf = Leaf(self.slot + len(self.tables), index.shape, index.dtype)
        self.tables[leaf] = index
        return affine(0, [(1, Look(leaf, (label,), extent))])


def item(jacobian: Jacobian, key: Any) -> Any:
    """See :meth:`chainrule.Jacobian.__getitem__`."""
    numerator = jacobian.layout == "numerator"
    names = ("output", "input") if numerator else ("input", "output")
    groups = (jacobian.out_shape, jacobian.in_shape)
    first, last = groups if numerator else groups[::-1]
    keys = _grouped(key, first, last)
    reading = _Reading(len(jacobian._values))
    parts = [
        _read(reading, k, shape, name)
        for k, shape, name in zip(keys, (first, last), names, strict=True)
    ]
    (out_subs, out_labels), (in_subs, in_labels) = parts if numerator else parts[::-1]
    labels = (*out_labels, *in_labels)
    shape = tuple(reading.extents[k] for k in labels)
    out_shape, in_shape = shape[: len(out_labels)], shape[len(out_labels) :]
    terms, bindings = jacobian._bound()
    bindings = {**bindings, **reading.tables}
    drafts = []
    for term in terms:
        subs = (*out_subs, *in_subs)
        draft = Draft(shape, term.dtype, 1, dict(reading.extents), [(term, subs)], labels)
        draft.inline(0)
        drafts.append(draft)
    if out_shape and in_shape:
        made = [node for node in (draft.term() for draft in drafts) if node is not None]
        return rebuilt(
            type(jacobian),
            [compress(node) for node in made],
            bindings,
            out_shape,
            in_shape,
            jacobian.dtype,
            jacobian.layout,
        )
    parts_ = [derived(draft) for draft in drafts]
    return value_of(accumulate(parts_, shape, jacobian.dtype), bindings)


def _grouped(key: Any, first: tuple[int, ...], last: tuple[int, ...]) -> tuple[Any, Any]:
    """One index a group, from either reading: by group, or one axis after the other."""
    if not isinstance(key, tuple):
        if key is Ellipsis:
            return _FULL, _FULL
        return (key, _FULL) if first else (_FULL, key)
    if len(key) == 2:
        lone = (not first and not _whole(key[0])) or (not last and not _whole(key[1]))
        if not lone:
            return key[0], key[1]
    elif len(key) < 2:
        return (key, _FULL) if first else (_FULL, key)
    if any(isinstance(k, tuple) for k in key):
        raise IndexError(
            f"{len(key)} indices for a Jacobian with groups {first} and {last}: write one index "
            "(or tuple of indices) a group, J[(i1, i2), (j1, j2)], or one plain index an axis"
        )
    flat = _expanded(key, len(first) + len(last), (*first, *last), "whole")
    return tuple(flat[: len(first)]), tuple(flat[len(first) :])


def _whole(key: Any) -> bool:
    if isinstance(key, tuple):
        return all(_whole(k) for k in key)
    return key is Ellipsis or (isinstance(key, slice) and key == _FULL)


def _expanded(key: Any, ndim: int, shape: tuple[int, ...], name: str) -> list[Any]:
    """One entry an axis: Ellipsis and missing axes become full slices."""
    parts: list[Any] = list(key) if isinstance(key, tuple) else [key]
    for part in parts:
        if part is None:
            raise IndexError(
                "a Jacobian has no new axes (None): its axes belong to its output or its input; "
                "index np.asarray(J)"
            )
    marks = [i for i, k in enumerate(parts) if k is Ellipsis]
    if len(marks) > 1:
        raise IndexError("an index can have only one Ellipsis")
    masks = [np.asarray(k) for k in parts if isinstance(k, list | np.ndarray)]
    used = sum(m.ndim if m.dtype.kind == "b" else 1 for m in masks)
    used += len(parts) - len(marks) - len(masks)
    if used > ndim:
        if parts == [_FULL] or parts == []:
            return []
        raise IndexError(
            f"too many indices for the {name} group, which has shape {shape}: {used} were given"
        )
    fill = [_FULL] * (ndim - used)
    at = marks[0] if marks else len(parts)
    parts[at : at + len(marks)] = fill
    opened: list[Any] = []
    for part in parts:
        if isinstance(part, list | np.ndarray):
            array = np.asarray(part)
            if array.dtype.kind == "b":
                axes = shape[len(opened) : len(opened) + array.ndim]
                if array.shape != axes:
                    raise IndexError(
                        f"a boolean index of shape {array.shape} does not fit axes of shape {axes} "
                        f"of the {name} group {shape}"
                    )
                opened.extend(np.nonzero(array))
                continue
            part = array
        opened.append(part)
    return opened


def _read(
    reading: _Reading, key: Any, shape: tuple[int, ...], name: str
) -> tuple[list[Sub], list[int]]:
    """Subscripts for the axes of one group, and the labels of the result's axes."""
    parts = _expanded(key, len(shape), shape, name)
    subs: list[Sub] = []
    labels: list[int] = []
    advanced = [i for i, k in enumerate(parts) if isinstance(k, np.ndarray) and k.ndim > 0]
    integers = [i for i, k in enumerate(parts) if not isinstance(k, slice)]
    shared: int | None = None
    length = 0
    if advanced:
        sizes = {parts[i].shape for i in advanced}
        if len(sizes) != 1 or parts[advanced[0]].ndim != 1:
            raise IndexError(
                f"index arrays of shapes {sorted(sizes)} for the {name} group: only "
                "one-dimensional arrays of one length are supported; index np.asarray(J)"
            )
        length = parts[advanced[0]].shape[0]
        shared = reading.label(length)
        if integers != list(range(integers[0], integers[-1] + 1)):
            labels.append(shared)  # as in NumPy: in front where index arrays are apart
    for axis, (part, extent) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, slice):
            start, stop, step = part.indices(extent)
            label = reading.label(len(range(start, stop, step)))
            subs.append(affine(start, [(step, label)]))
            labels.append(label)
        elif axis in advanced:
            assert shared is not None
            index = _checked(part, axis, extent, name)
            subs.append(reading.table(index, shared, extent) if extent > 1 else const(0))
            if shared not in labels:
                labels.append(shared)
        else:
            subs.append(const(_integer(part, axis, extent, name)))
            if shared is not None and shared not in labels:
                labels.append(shared)
    return subs, labels


def _integer(part: Any, axis: int, extent: int, name: str) -> int:
    try:
        index = int(part.__index__())
    except (AttributeError, TypeError):
        raise IndexError(
            f"{name} index {part!r} of type {type(part).__name__}: a Jacobian takes integers, "
            "slices, one-dimensional index arrays and Ellipsis, a tuple of them for each group"
        ) from None
    if not -extent <= index < extent:
        raise IndexError(f"{name} index {index} is out of bounds for axis {axis} of size {extent}")
    return index % extent


def _checked(index: np.ndarray[Any, Any], axis: int, extent: int, name: str) -> Any:
    if index.dtype.kind not in "iu" and index.size:
        raise IndexError(f"{name} index array of dtype {index.dtype}: use integers or booleans")
    low, high = (int(index.min()), int(index.max())) if index.size else (0, 0)
    if index.size and (low < -extent or high >= extent):
        wrong = low if low < -extent else high
        raise IndexError(f"{name} index {wrong} is out of bounds for axis {axis} of size {extent}")
    index = index.astype(np.intp)
    return np.where(index < 0, index + extent, index)


def diagonal(jacobian: Jacobian, shape: Sequence[int]) -> Any:
    """``Σ`` of the elements J[i, i] over the axes that are not in ``shape`` (a lead of out)."""
    if jacobian.out_shape != jacobian.in_shape:
        raise ValueError(
            f"the diagonal needs equal groups, not out_shape {jacobian.out_shape} and in_shape "
            f"{jacobian.in_shape}"
        )
    shape = tuple(shape)
    terms, bindings = jacobian._bound()
    labels = tuple(range(len(jacobian.out_shape)))
    extents = dict(enumerate(jacobian.out_shape))
    parts = []
    for term in terms:
        read = [(term, labels + labels)]
        draft = Draft(shape, term.dtype, 1, dict(extents), read, labels[: len(shape)])
        draft.inline(0)
        parts.append(derived(draft))
    return value_of(accumulate(parts, shape, jacobian.dtype), bindings)
