"""Reading and writing by index: slices are affine subscripts, integer arrays are tables."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TraceError, located, user_line
from ...expr.build import broadcast, cast, gather_look, indicator, map_, summed, view, zeros
from ...expr.draft import Draft
from ...expr.nodes import Call, Const, Factor, Leaf, Node, Sum, Term
from ...expr.subs import Sub, affine, const, looks_of
from ..array import OPERATORS, TracedArray, as_node, is_traced, traced
from ..session import require_session
from .common import axis_of, implements, node_array

__all__ = ["Region", "region_of"]


@dataclass
class Region:
    """A part of an array under subscripts: ``part[out] = whole[subs]``."""

    shape: tuple[int, ...]
    extents: dict[int, int]
    subs: list[Sub]
    out: list[Sub]
    tables: list[Node]

    @property
    def basic(self) -> bool:
        return not self.tables


def region_of(key: Any, shape: tuple[int, ...]) -> Region:
    """What ``a[key]`` means for an array of ``shape``, by NumPy's rules."""
    items = _expanded(key if isinstance(key, tuple) else (key,), shape)
    if any(isinstance(item, _Table) for item in items):
        items = [
            _Table(as_node(np.asarray(item))) if isinstance(item, int) else item for item in items
        ]
    tables = [item for item in items if isinstance(item, _Table)]
    joint = np.broadcast_shapes(*(t.node.shape for t in tables)) if tables else ()
    extents: dict[int, int] = {}
    table_labels = list(range(len(joint)))
    extents.update(enumerate(joint))
    out: list[Sub] = []
    shape_out: list[int] = []
    subs: list[Sub] = []
    place: int | None = None
    apart = False
    axis = 0
    previous_table = False
    for item in items:
        if item is None:
            out.append(const(0))
            shape_out.append(1)
            previous_table = False
            continue
        extent = shape[axis]
        if isinstance(item, _Table):
            if place is None:
                place = len(out)
            elif not previous_table:
                apart = True
            offset = len(joint) - item.node.ndim
            inner = [
                table_labels[offset + i] if e == joint[offset + i] else const(0)
                for i, e in enumerate(item.node.shape)
            ]
            subs.append(gather_look(_wrapped(item.node, extent, axis), inner, extent))
            previous_table = True
            axis += 1
            continue
        previous_table = False
        if isinstance(item, int):
            subs.append(const(item))
        else:
            start, _, step, count = item
            label = len(extents)
            extents[label] = count
            subs.append(affine(start, [(step, label)]))
            out.append(label)
            shape_out.append(count)
        axis += 1
    if tables:
        at = 0 if apart or place is None else place
        out[at:at] = table_labels
        shape_out[at:at] = list(joint)
    return Region(tuple(shape_out), extents, subs, out, [t.node for t in tables])


@dataclass
class _Table:
    node: Node


def _expanded(key: tuple[Any, ...], shape: tuple[int, ...]) -> list[Any]:
    """One item an axis: int, (start, stop, step, count), None or a table; no ellipsis left."""
    used = 0
    for item in key:
        if item is None or item is Ellipsis:
            continue
        mask = _mask_rank(item)
        used += mask if mask is not None else 1
    if used > len(shape):
        raise IndexError(
            f"too many indices for array: array is {len(shape)}-dimensional, but {used} were "
            "indexed"
        )
    dots = sum(item is Ellipsis for item in key)
    if dots > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if not dots:
        key = (*key, Ellipsis)
    items: list[Any] = []
    axis = 0
    for item in key:
        if item is None:
            items.append(None)
        elif item is Ellipsis:
            for _ in range(len(shape) - used):
                items.append((0, shape[axis], 1, shape[axis]))
                axis += 1
        elif isinstance(item, slice):
            start, stop, step = _slice_indices(item, shape[axis])
            items.append((start, stop, step, len(range(start, stop, step))))
            axis += 1
        elif _mask_rank(item) is not None:
            rank = _mask_rank(item) or 0
            items.extend(_Table(t) for t in _where_true(item, shape[axis : axis + rank], axis))
            axis += rank
        elif isinstance(item, int | np.integer) and not isinstance(item, bool):
            items.append(_checked(int(item), shape[axis], axis))
            axis += 1
        elif not isinstance(item, TracedArray) and hasattr(
            item, "as_traced"
        ):  # a number that knows where it comes from
            items.append(_checked(operator.index(item), shape[axis], axis))
            axis += 1
        else:
            items.append(_Table(_integers(item)))
            axis += 1
    return items


def _slice_indices(item: slice, extent: int) -> tuple[int, int, int]:
    if any(is_traced(v) for v in (item.start, item.stop, item.step)):
        raise TraceError(
            located(
                "a slice with a traced bound would have a shape that depends on values",
                "use np.where with a mask over np.arange, or an integer bound",
            )
        )
    return item.indices(extent)


def _checked(index: int, extent: int, axis: int) -> int:
    if not -extent <= index < extent:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {extent}")
    return index % extent


def _mask_rank(item: Any) -> int | None:
    if isinstance(item, bool | np.bool_):
        raise TraceError(
            located("an index of True or False adds an axis", "use np.expand_dims, or np.where")
        )
    if isinstance(item, TracedArray | np.ndarray):
        return item.ndim if item.dtype.kind == "b" else None
    if isinstance(item, list) and item and not any(is_traced(v) for v in item):
        array = np.asarray(item)
        return array.ndim if array.dtype.kind == "b" else None
    return None


def _integers(item: Any) -> Node:
    node = as_node(np.asarray(item) if isinstance(item, list) and not item else item)
    if isinstance(node, Const):
        node = as_node(np.asarray(node.value))
    if node.size == 0 and not isinstance(item, TracedArray | np.ndarray):
        node = as_node(np.zeros(node.shape, np.intp))
    if node.dtype.kind not in "iu":
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    return node


def _where_true(mask: Any, shape: tuple[int, ...], axis: int) -> list[Node]:
    """The index tables of a boolean mask; their length is guarded."""
    node = node_array(mask if isinstance(mask, TracedArray) else np.asarray(mask))
    if node.shape != shape:
        raise IndexError(
            f"boolean index of shape {node.shape} does not match the indexed axes {shape} "
            f"(from axis {axis})"
        )
    return nonzero_tables(node)


def nonzero_tables(mask: Node) -> list[Node]:
    """``np.nonzero`` of a boolean node: one integer node an axis, of guarded length."""
    session = require_session()
    count = summed(cast(mask, np.dtype(np.intp)), range(mask.ndim), np.dtype(np.intp))
    value = np.asarray(session.value(count))
    if value.ndim:
        raise TraceError(
            located(
                "a boolean index under vmap selects a different number of elements each time",
                "use np.where(mask, x, 0)",
            )
        )
    length = int(value)
    session.guard(count, length, user_line())
    return [Call("nonzero", (length,), np.dtype(np.intp), (mask,), (), i) for i in range(mask.ndim)]


def _wrapped(table: Node, extent: int, axis: int) -> Node:
    """Indices with negative ones counted from the end; concrete ones are checked now."""
    session = require_session()
    if isinstance(table, Leaf) and table in session.bindings:
        values = session.bindings[table]
        if isinstance(values, np.ndarray | np.generic) and values.size:
            low, high = int(np.min(values)), int(np.max(values))
            if low < -extent or high >= extent:
                bad = low if low < -extent else high
                raise IndexError(f"index {bad} is out of bounds for axis {axis} with size {extent}")
    if isinstance(table, Call) and table.op in ("nonzero", "argsort"):
        return table
    table = cast(table, np.dtype(np.intp))
    shifted = Sum(table.shape, table.dtype, ((1, table), (1, Const(extent))))
    return map_("where", map_("less", table, Const(0)), shifted, table, dtype=table.dtype)


# -- reading ----------------------------------------------------------------------------------
def _read(node: Node, region: Region) -> Node:
    if 0 in region.shape or node.size == 0:
        return zeros(region.shape, node.dtype)
    if (
        region.basic
        and type(node) is not Term
        and type(node) is not Sum
        and region.shape != node.shape
        and 1 not in region.shape
    ):  # nothing to merge, and the labels are numbered by appearance
        read = ((node, tuple(region.subs)),)
        extents = tuple(region.extents.values())
        return Term(region.shape, node.dtype, 1, extents, read, tuple(region.out))
    return view(node, region.extents, region.subs, region.out, region.shape)


def _plain_region(key: Any, shape: tuple[int, ...]) -> Region | None:
    """``region_of`` where all indices are Python ints within their axes and slices by ints."""
    items = key if type(key) is tuple else (key,)
    if len(items) > len(shape):
        return None
    extents: dict[int, int] = {}
    subs: list[Sub] = []
    sizes: list[int] = []
    for axis, extent in enumerate(shape):
        start, step, count = 0, 1, extent
        if axis < len(items):
            item = items[axis]
            if type(item) is int:
                if not -extent <= item < extent:
                    return None
                subs.append(const(item % extent))
                continue
            if type(item) is not slice or not _BOUNDS.issuperset(
                (type(item.start), type(item.stop), type(item.step))
            ):
                return None
            start, stop, step = item.indices(extent)
            count = len(range(start, stop, step))
        label = len(extents)
        extents[label] = count
        subs.append(label if start == 0 and step == 1 else affine(start, [(step, label)]))
        sizes.append(count)
    return Region(tuple(sizes), extents, subs, list(range(len(extents))), [])


_BOUNDS = frozenset([int, type(None)])


def getitem(a: TracedArray, key: Any) -> TracedArray:
    region = _plain_region(key, a.shape) or region_of(key, a.shape)
    if not region.shape:
        require_session().count_element()
    if region.basic:
        return a.view_by(
            lambda node: _read(node, region), lambda whole, part: _written(whole, region, part)
        )
    return traced(_read(a.node, region))


# -- writing ----------------------------------------------------------------------------------
def _written(whole: Node, region: Region, part: Node) -> Node:
    """``whole`` with a region replaced; of repeated indices the last one counts."""
    if 0 in region.shape:
        return whole
    inner: tuple[Sub, ...] = tuple(out if isinstance(out, int) else const(0) for out in region.out)
    factors: list[Factor] = [(part, inner)]
    if region.tables:
        winner, subs = _last_writer(region, whole.shape)
        factors.append((winner, subs))
    flags = [f for f in factors if f[0] is not part]
    value = Draft(whole.shape, whole.dtype, 1, dict(region.extents), factors, region.subs).finish()
    if flags:
        mask = Draft(
            whole.shape, np.dtype(bool), 1, dict(region.extents), flags, region.subs
        ).finish()
    else:
        mask = indicator(whole.shape, region.extents, region.subs, [])
    return map_("where", mask, value, whole, dtype=whole.dtype)


def _last_writer(region: Region, shape: tuple[int, ...]) -> tuple[Node, tuple[Sub, ...]]:
    """A mask over the table labels: True where no later entry writes the same element."""
    joint = np.broadcast_shapes(*(t.shape for t in region.tables))
    tables = tuple(broadcast(t, joint) for t in _wrapped_tables(region))
    node = Call("last_writer", joint, np.dtype(bool), tables, (len(joint),))
    return node, tuple(range(len(joint)))


def _wrapped_tables(region: Region) -> list[Node]:
    return [look.table for sub in region.subs for look in looks_of(sub)]


def setitem(a: TracedArray, key: Any, value: Any) -> None:
    if isinstance(value, TracedArray) and a.shares(value) and not _tabled(key):
        region = region_of(key, a.shape)
        if region.basic and value.node is _read(a.node, region):
            return  # ``a[key] += v`` has already written through the view
    mask = key if not isinstance(key, tuple) and _mask_rank(key) is not None else None
    if mask is not None and np.ndim(value) == 0:
        chosen = np.reshape(mask, np.shape(mask) + (1,) * (a.ndim - np.ndim(mask)))
        filled: Any = np.where(chosen, OPERATORS["astype"](value, a.dtype), traced(a.node))
        a.assign(cast(filled.node, a.dtype))
        return
    region = region_of(key, a.shape)
    node = as_node(value)
    if isinstance(node, Const):
        node = as_node(np.asarray(node.value, a.dtype))
    node = _fitted(cast(node, a.dtype), region.shape)
    a.assign(_written(a.node, region, node))


def _tabled(key: Any) -> bool:
    items = key if isinstance(key, tuple) else (key,)
    return any(isinstance(i, list | np.ndarray | TracedArray) for i in items)


def _fitted(node: Node, shape: tuple[int, ...]) -> Node:
    """Broadcast for assignment: leading unit axes of the value may be dropped."""
    while node.ndim > len(shape) and node.shape[0] == 1:
        node = view(
            node,
            {i: e for i, e in enumerate(node.shape) if i},
            [const(0), *range(1, node.ndim)],
            range(1, node.ndim),
            node.shape[1:],
        )
    try:
        fits = np.broadcast_shapes(node.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"could not broadcast input array from shape {node.shape} into shape {shape}"
        )
    return broadcast(node, shape)


def add_at(a: TracedArray, key: Any, value: Any) -> None:
    """``np.add.at(a, key, value)``: repeated indices accumulate."""
    region = region_of(key, a.shape)
    node = as_node(value)
    if isinstance(node, Const):
        node = as_node(np.asarray(node.value, a.dtype))
    part = _fitted(cast(node, a.dtype), region.shape)
    inner = tuple(out if isinstance(out, int) else const(0) for out in region.out)
    whole = a.node
    if 0 in region.shape:
        return
    draft = Draft(whole.shape, whole.dtype, 1, dict(region.extents), [(part, inner)], region.subs)
    a.assign(Sum(whole.shape, whole.dtype, ((1, whole), (1, draft.finish()))))


OPERATORS["getitem"] = getitem
OPERATORS["setitem"] = setitem
OPERATORS["add_at"] = add_at
OPERATORS["astype"] = lambda value, dtype: (
    traced(cast(node_array(value), dtype))
    if isinstance(value, TracedArray)
    else np.asarray(value, dtype)
)


# -- functions --------------------------------------------------------------------------------
@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    a = a if isinstance(a, TracedArray) else traced(node_array(a))
    if axis is None:
        a, axis = np.ravel(a), 0
    position = axis_of(axis, a.ndim)
    if mode != "raise":
        extent = a.shape[position]
        indices = np.clip(indices, 0, extent - 1) if mode == "clip" else np.mod(indices, extent)
    key = indices if isinstance(indices, TracedArray | int) else np.asarray(indices)
    return a[(*(slice(None),) * position, key)]


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    if axis is None:
        arr, axis = np.ravel(arr), 0
    arr = arr if isinstance(arr, TracedArray) else traced(node_array(arr))
    position = axis_of(axis, arr.ndim)
    shape = np.shape(indices)
    key: list[Any] = []
    for i in range(len(shape)):
        if i == position:
            key.append(indices)
        else:
            grid = [1] * len(shape)
            grid[i] = arr.shape[i]
            key.append(np.arange(arr.shape[i]).reshape(grid))
    return arr[tuple(key)]


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    if axis is None:
        a, axis = np.ravel(a), 0
    return np.take(a, np.flatnonzero(condition), axis=axis)


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    options = np.stack(list(choices))
    return np.take_along_axis(options, np.expand_dims(a, 0), axis=0)[0]


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = np.where(condition, choice, result)
    return result


@implements(np.nonzero, method="nonzero")
def nonzero(a: Any) -> Any:
    node = node_array(a)
    if node.dtype.kind != "b":
        node = map_("not_equal", node, Const(0))
    return tuple(traced(t) for t in nonzero_tables(node))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> Any:
    return np.nonzero(np.ravel(a))[0]


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    if axis is None:
        arr, axis = np.ravel(arr), 0
    position = axis_of(axis, arr.ndim)
    keep = np.delete(np.arange(arr.shape[position]), obj)
    return np.take(arr, keep, axis=position)


@implements(np.insert)
def insert(arr: Any, obj: int, values: Any, axis: Any = None) -> Any:
    if axis is None:
        arr, axis = np.ravel(arr), 0
    position = axis_of(axis, arr.ndim)
    lead = (slice(None),) * position
    head, tail = arr[(*lead, slice(None, obj))], arr[(*lead, slice(obj, None))]
    shape = list(arr.shape)
    shape[position] = 1
    return np.concatenate([head, np.broadcast_to(values, tuple(shape)), tail], axis=position)


@implements(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    return np.tril_indices(arr.shape[-2], k, arr.shape[-1])


@implements(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    return np.triu_indices(arr.shape[-2], k, arr.shape[-1])


@implements(np.diag_indices_from)
def diag_indices_from(arr: Any) -> Any:
    return np.diag_indices(arr.shape[0], arr.ndim)


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    n = min(a.shape)
    index = np.arange(n)
    a[(index,) * a.ndim] = val
