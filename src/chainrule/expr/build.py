"""Constructors for the common nodes, with shapes and dtypes worked out.

They keep the primal program as written: no constructor here reorders or merges arithmetic; only
views of views (no arithmetic at all) become one view.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .draft import Draft, tidy_coef, zeros
from .nodes import Const, Factor, Map, Node, Scalar, Sum, Term
from .ops import join_dtypes, result_dtype
from .subs import Div, Look, Mod, Sub, affine, const, labels_of, parts_of, unravel

__all__ = [
    "broadcast",
    "cast",
    "common_shape",
    "contraction",
    "dtype_of",
    "einsum",
    "filled",
    "gather_look",
    "indicator",
    "injective",
    "is_ramp",
    "is_view",
    "is_zero",
    "linear",
    "map_",
    "ones",
    "permute",
    "product",
    "ramp",
    "reshape",
    "summed",
    "view",
    "written_labels",
    "zeros",
]


def is_zero(node: Node) -> bool:
    """Whether the node is the empty sum."""
    return isinstance(node, Sum) and not node.parts


def dtype_of(node: Node) -> np.dtype[Any] | type:
    """The dtype for promotion: the Python type of a Const (weak), else the dtype."""
    return type(node.value) if isinstance(node, Const) else node.dtype


def common_shape(nodes: Sequence[Node]) -> tuple[int, ...]:
    """The one shape of the operands of a Map or Sum (Const operands do not count)."""
    for node in nodes:
        if not isinstance(node, Const):
            return node.shape
    return ()


def cast(node: Node, dtype: np.dtype[Any]) -> Node:
    """The node in another dtype (the real part, where complex becomes real)."""
    if node.dtype == dtype and not isinstance(node, Const):
        return node
    if is_zero(node):
        return zeros(node.shape, dtype)
    if node.dtype.kind == "c" and dtype.kind == "f":
        node = map_("real", node)
        if node.dtype == dtype:
            return node
    return Map("astype", node.shape, dtype, (node,), (dtype.str,))


def map_(op: str, *args: Node, params: tuple[Any, ...] = (), dtype: Any = None) -> Node:
    """An elementwise function of nodes of one shape (or Const)."""
    if dtype is None:
        dtype = result_dtype(op, [dtype_of(a) for a in args], params)
    return Map(op, common_shape(args), dtype, args, params)


def linear(*parts: tuple[Scalar, Node], dtype: np.dtype[Any] | None = None) -> Node:
    """``Σ coef·node`` as written."""
    nodes = [node for _, node in parts]
    shape = common_shape(nodes)
    if dtype is None:
        dtype = join_dtypes([dtype_of(n) for n in nodes])
    return Sum(shape, dtype, tuple((tidy_coef(c), n) for c, n in parts))


def contraction(
    coef: Scalar, factors: Sequence[Factor], out: Sequence[int], dtype: np.dtype[Any] | None = None
) -> Node:
    """A product of factors under bare labels, summed over labels missing in ``out``."""
    extents: dict[int, int] = {}
    for node, subs in factors:
        for axis, sub in enumerate(subs):
            if isinstance(sub, int):
                extents[sub] = node.shape[axis]
    if dtype is None:
        dtype = join_dtypes([dtype_of(n) for n, _ in factors])
    shape = tuple(extents[label] for label in out)
    return Draft(shape, dtype, coef, extents, factors, out).finish()


_LABELS: list[tuple[int, ...]] = [tuple(range(n)) for n in range(65)]


def product(*nodes: Node, coef: Scalar = 1, dtype: np.dtype[Any] | None = None) -> Node:
    """The elementwise product of nodes of one shape."""
    shape = common_shape(nodes)
    labels = _LABELS[len(shape)]
    if dtype is None:
        dtype = join_dtypes([dtype_of(n) for n in nodes])
    if 1 not in shape and 0 not in shape and not any(map(_special, nodes)):
        if type(coef) is not int:
            coef = tidy_coef(coef)
        if (coef != 1 or len(nodes) > 1) and (coef != 0 or type(coef) is not int):
            pairs = tuple([(n, labels) for n in nodes])
            return Term(shape, dtype, coef if dtype.kind != "b" else 1, shape, pairs, labels)
    factors: list[Factor] = [(n, () if isinstance(n, Const) else labels) for n in nodes]
    return Draft(shape, dtype, coef, dict(enumerate(shape)), factors, labels).finish()


def _special(node: Node) -> bool:
    """Whether a product absorbs the node: a scalar or zero."""
    return isinstance(node, Const) or (isinstance(node, Sum) and not node.parts)


def summed(node: Node, axes: Sequence[int], dtype: np.dtype[Any] | None = None) -> Node:
    """The sum over axes (which disappear)."""
    labels = tuple(range(node.ndim))
    out = [label for label in labels if label not in axes]
    shape = tuple(node.shape[label] for label in out)
    kind = dtype or node.dtype
    return Draft(shape, kind, 1, dict(enumerate(node.shape)), [(node, labels)], out).finish()


def is_view(node: Node) -> bool:
    """Whether a node only rearranges: one factor, no coefficient, every label kept apart."""
    if not isinstance(node, Term) or len(node.factors) != 1 or node.coef != 1:
        return False
    return node.factors[0][0].dtype == node.dtype and injective(node)


def injective(node: Term) -> bool:
    """Whether every point of the label box writes its own element of the output."""
    if not node.constraints and node.out == _LABELS[min(len(node.extents), 64)]:
        return True
    return not node.constraints and len(written_labels(node) or ()) == len(node.extents)


def written_labels(node: Term) -> set[int] | None:
    """The labels in the output if each of their points writes its own element, else None."""
    wanted: set[int] = set()
    for sub in node.out:
        wanted.update(labels_of(sub))
    seen: set[int] = set()
    extents = dict(enumerate(node.extents))
    for axis, sub in enumerate(node.out):
        if isinstance(sub, int):
            seen.add(sub)
            continue
        _, parts = parts_of(sub)
        keys = [key for _, key in parts]
        if len(keys) == 1 and isinstance(keys[0], int):
            seen.add(keys[0])
        elif all(isinstance(key, int) for key in keys):
            radix = 1
            digits = sorted((abs(c), key) for c, key in parts if isinstance(key, int))
            for coef, key in digits:
                if coef < radix:
                    return None
                radix = coef * node.extents[key]
            seen.update(key for _, key in digits)
        elif len(parts) == 1 and isinstance(keys[0], Mod):
            _, inner = parts_of(keys[0].sub)
            if (  # the label's values are distinct modulo n
                len(inner) == 1
                and isinstance(digit := inner[0][1], int)
                and abs(inner[0][0]) == 1
                and extents[digit] <= keys[0].n
            ):
                seen.add(digit)
        elif len(parts) == 1 and isinstance(keys[0], Div):
            inner_label = keys[0].sub
            if isinstance(inner_label, int):
                for end in range(axis + 2, len(node.out) + 1):
                    block = node.shape[axis:end]
                    if prod(block) == extents[inner_label]:
                        if list(node.out[axis:end]) == unravel(inner_label, block, extents):
                            seen.add(inner_label)
                        break
    return wanted if seen == wanted else None


def view(
    node: Node,
    extents: dict[int, int],
    subs: Sequence[Sub],
    out: Sequence[Sub],
    shape: tuple[int, ...],
    constraints: Sequence[Sub] = (),
) -> Node:
    """``out[out] = node[subs]``; a view of a view is one view."""
    factors = [(node, tuple(subs))]
    if is_view(node):
        trial = Draft(shape, node.dtype, 1, dict(extents), factors, out, constraints)
        trial.inline(0)
        merged = trial.finish()
        if not isinstance(merged, Term):
            return merged
        if is_view(merged):
            inner, read = merged.factors[0]
            whole = read == merged.out and inner.shape == shape
            return inner if whole and prod(merged.extents) == prod(shape) else merged
    return Draft(shape, node.dtype, 1, dict(extents), factors, out, constraints).finish()


def permute(node: Node, axes: Sequence[int]) -> Node:
    """``np.transpose(node, axes)``."""
    labels = tuple(range(node.ndim))
    return view(
        node,
        dict(enumerate(node.shape)),
        labels,
        [labels[a] for a in axes],
        tuple(node.shape[a] for a in axes),
    )


def broadcast(node: Node, shape: tuple[int, ...]) -> Node:
    """``np.broadcast_to(node, shape)``; the shapes must be compatible."""
    if node.shape == shape:
        return node
    offset = len(shape) - node.ndim
    subs = [
        offset + axis if extent == shape[offset + axis] else const(0)
        for axis, extent in enumerate(node.shape)
    ]
    return view(node, dict(enumerate(shape)), subs, range(len(shape)), shape)


def filled(value: Scalar, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Node:
    """An array of one Python scalar; zero is the empty sum."""
    if value == 0 and not str(value).startswith("-"):
        return zeros(shape, dtype)
    labels = range(len(shape))
    return Draft(shape, dtype, value, dict(enumerate(shape)), [], labels).finish()


def ones(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Node:
    """An array of ones: the term without factors."""
    return filled(1, shape, dtype)


def indicator(
    shape: tuple[int, ...], extents: dict[int, int], out: Sequence[Sub], constraints: Sequence[Sub]
) -> Node:
    """Boolean array, True at the points that ``out`` reaches."""
    return Draft(shape, np.dtype(bool), 1, dict(extents), [], out, constraints).finish()


def ramp(n: int) -> Term:
    """``(0, …, n − 1)``: of each place, how many are before it."""
    before = affine(-1, [(1, 0), (-1, 1)])
    return Term((n,), np.dtype(float), 1, (n, n), (), (0,), (before,))


def is_ramp(node: Node) -> bool:
    """Whether a node is one that :func:`ramp` gives."""
    return isinstance(node, Term) and node.ndim == 1 and node is ramp(node.shape[0])


def einsum(
    coef: Scalar,
    operands: Sequence[tuple[Node, Sequence[int]]],
    out: Sequence[int],
    dtype: np.dtype[Any] | None = None,
) -> Node:
    """NumPy's einsum over integer labels (extent 1 broadcasts; labels may repeat)."""
    extents: dict[int, int] = {}
    for node, labels in operands:
        for label, extent in zip(labels, node.shape, strict=True):
            known = extents.get(label)
            if known is None or known == 1 or extent == 0:
                extents[label] = extent
    factors: list[Factor] = []
    for node, labels in operands:
        subs: list[Sub] = [
            label if extent == extents[label] else const(0)
            for label, extent in zip(labels, node.shape, strict=True)
        ]
        factors.append((node, tuple(subs)))
    if dtype is None:
        dtype = join_dtypes([dtype_of(n) for n, _ in operands])
    shape = tuple(extents[label] for label in out)
    return Draft(shape, dtype, coef, extents, factors, out).finish()


def _digits(old: Sequence[int], new: Sequence[int]) -> list[int] | None:
    """Extents of the common mixed-radix refinement of two shapes of one size, or None."""
    result: list[int] = []
    stack_old, stack_new = list(old), list(new)
    a = stack_old.pop() if stack_old else 1
    b = stack_new.pop() if stack_new else 1
    while True:
        while a == 1 and stack_old:
            a = stack_old.pop()
        while b == 1 and stack_new:
            b = stack_new.pop()
        if a == 1 and b == 1:
            return result[::-1]
        small, large = min(a, b), max(a, b)
        if small == 1 or large % small:
            return None
        result.append(small)
        a, b = a // small, b // small


def _grouped(shape: Sequence[int], digits: Sequence[int], labels: Sequence[int]) -> list[Sub]:
    """One subscript an axis: the mixed radix of the digits that make up the axis."""
    subs: list[Sub] = []
    position = len(digits)
    for extent in reversed(shape):
        parts: list[tuple[int, int]] = []
        radix = 1
        while radix < extent:
            position -= 1
            parts.append((radix, labels[position]))
            radix *= digits[position]
        subs.append(affine(0, [(c, k) for c, k in parts]))
    return subs[::-1]


def _blocks(
    old: tuple[int, ...], new: tuple[int, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut two shapes of one size into the finest consecutive groups of equal product."""
    i = j = 0
    groups = []
    while i < len(old) or j < len(new):
        i0, j0 = i, j
        a = b = 1
        if i < len(old):
            a, i = old[i], i + 1
        if j < len(new):
            b, j = new[j], j + 1
        while a != b:
            if a < b:
                a, i = a * old[i], i + 1
            else:
                b, j = b * new[j], j + 1
        groups.append((old[i0:i], new[j0:j]))
    return groups


def reshape(node: Node, shape: tuple[int, ...]) -> Node:
    """``np.reshape`` in C order; ``shape`` is complete and of the right size."""
    if shape == node.shape:
        return node
    if prod(shape) == 0:
        return zeros(shape, node.dtype)
    extents: dict[int, int] = {}
    subs: list[Sub] = []
    out: list[Sub] = []
    old = tuple(e for e in node.shape if e != 1)
    new = tuple(e for e in shape if e != 1)
    for group_old, group_new in _blocks(old, new):
        digits = _digits(group_old, group_new)
        start = len(extents)
        if digits is not None:
            labels = range(start, start + len(digits))
            extents.update(zip(labels, digits, strict=True))
            subs += _grouped(group_old, digits, labels)
            out += _grouped(group_new, digits, labels)
        else:
            extents[start] = prod(group_old)
            subs += unravel(start, group_old, extents)
            out += unravel(start, group_new, extents)
    return view(node, extents, _with_units(subs, node.shape), _with_units(out, shape), shape)


def _with_units(subs: list[Sub], shape: tuple[int, ...]) -> list[Sub]:
    rest = iter(subs)
    return [const(0) if extent == 1 else next(rest) for extent in shape]


def gather_look(table: Node, subs: Sequence[Sub], extent: int) -> Sub:
    """The subscript ``table[subs]`` for an axis of ``extent``."""
    return affine(0, [(1, Look(table, tuple(subs), extent))])
