"""Constructors for the common nodes, with shapes and dtypes worked out.

They keep the primal program as written: no constructor here reorders or merges arithmetic; only
views of views (no arithmetic at all) become one view.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .draft import Draft, tidy_coef, zeros
from .nodes import Const, Factor, Leaf, Map, Node, Scalar, Sum, Term
from .ops import join_dtypes, result_dtype
from .subs import Div, Look, Mod, Sub, affine, const, labels_of, looks_of, parts_of, unravel

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
    if type(coef) is not int:
        coef = tidy_coef(coef)
    if (
        (coef != 1 or len(nodes) > 1)
        and (coef != 0 or type(coef) is not int)
        and 1 not in shape
        and 0 not in shape
        and not any(map(_special, nodes))
    ):
        pairs = tuple([(n, labels) for n in nodes])
        return Term(shape, dtype, coef if dtype.kind != "b" else 1, shape, pairs, labels)
    factors: list[Factor] = [(n, () if isinstance(n, Const) else labels) for n in nodes]
    return Draft(shape, dtype, coef, dict(enumerate(shape)), factors, labels).finish()


def _special(node: Node) -> bool:
    """Whether a product absorbs the node: a scalar or zero."""
    kind = type(node)
    return kind is not Map and kind is not Term and (kind is Const or is_zero(node))


def summed(node: Node, axes: Sequence[int], dtype: np.dtype[Any] | None = None) -> Node:
    """The sum over axes (which disappear)."""
    labels = _LABELS[node.ndim]
    out = [label for label in labels if label not in axes]
    return einsum(1, [(node, labels)], out, node.dtype if dtype is None else dtype)


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
    if constraints or _special(node):
        return _viewed(node, extents, subs, out, shape, constraints)
    inner = node if type(node) is Term and is_view(node) else None
    base = node if inner is None else inner.factors[0][0]
    within = None if inner is None else (inner.extents, inner.factors[0][1], inner.out)
    read, written = tuple(subs), tuple(out)
    if not _plain(read, written) or (within is not None and not _plain(within[1], within[2])):
        return _viewed(node, extents, subs, out, shape, ())
    kind, form = _view_form(
        base.shape, within, node.shape, tuple(extents.items()), read, written, shape
    )
    if form is not None:
        coef, sizes, inside, outside, conditions = form
        factor = (base if kind == "base" else node, inside)
        coef = 1 if node.dtype.kind == "b" else coef
        return Term(shape, node.dtype, coef, sizes, (factor,), outside, conditions)
    return base if kind == "base" else node if kind == "node" else zeros(shape, node.dtype)


def _plain(*groups: tuple[Sub, ...]) -> bool:
    """Whether no subscript looks into a table."""
    for subs in groups:
        for sub in subs:
            if type(sub) is not int and not isinstance(sub, int) and sub.parts and looks_of(sub):
                return False
    return True


@lru_cache(maxsize=8192)
def _view_form(
    base: tuple[int, ...],
    within: tuple[tuple[int, ...], tuple[Sub, ...], tuple[Sub, ...]] | None,
    middle: tuple[int, ...],
    extents: tuple[tuple[int, int], ...],
    subs: tuple[Sub, ...],
    out: tuple[Sub, ...],
    shape: tuple[int, ...],
) -> tuple[str, tuple[Any, ...] | None]:
    """What a view of an array of shape ``middle`` is: worked out once, on stand-ins.

    ``within`` is the view that this array is itself, of one of shape ``base``.  The result is
    "base", "node" or "zero", alone or as the factor of a term in normal form.
    """
    dtype = np.dtype(float)
    leaf = Leaf(-1, base, dtype)
    node: Node = leaf
    if within is not None:
        node = Term(middle, dtype, 1, within[0], ((leaf, within[1]),), within[2])
    made = _viewed(node, dict(extents), subs, out, shape, ())
    if made is leaf:
        return "base", None
    if made is node:
        return "node", None
    if is_zero(made):
        return "zero", None
    assert isinstance(made, Term)
    ((source, read),) = made.factors
    assert source is leaf or source is node
    form = made.coef, made.extents, read, made.out, made.constraints
    return "base" if source is leaf else "node", form


def _viewed(
    node: Node,
    extents: dict[int, int],
    subs: Sequence[Sub],
    out: Sequence[Sub],
    shape: tuple[int, ...],
    constraints: Sequence[Sub],
) -> Node:
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
    nodes = [node for node, _ in operands]
    if dtype is None:
        dtype = join_dtypes([dtype_of(n) for n in nodes])
    shape, extents, read, form = _einsum_form(
        tuple([node.shape for node in nodes]), tuple([tuple(k) for _, k in operands]), tuple(out)
    )
    if form is not None and coef == 1 and dtype.kind != "b" and not any(map(_special, nodes)):
        pairs = tuple(zip(nodes, form[2], strict=True))
        return Term(shape, dtype, form[0], form[1], pairs, form[3])
    factors = zip(nodes, read, strict=True)
    return Draft(shape, dtype, coef, dict(extents), factors, out).finish()


@lru_cache(maxsize=4096)
def _einsum_form(
    shapes: tuple[tuple[int, ...], ...],
    labels: tuple[tuple[int, ...], ...],
    out: tuple[int, ...],
) -> tuple[tuple[int, ...], dict[int, int], tuple[tuple[Sub, ...], ...], tuple[Any, ...] | None]:
    """Shape of the result, extents of the labels, subscripts of the operands; and the term in
    normal form (coefficient, extents, subscripts of the factors, ``out``), if it is one.
    """
    extents: dict[int, int] = {}
    pairs = [*zip(labels, shapes, strict=True)]
    for names, shape in pairs:
        for label, extent in zip(names, shape, strict=True):
            known = extents.get(label)
            if known is None or known == 1 or extent == 0:
                extents[label] = extent
    read: list[tuple[Sub, ...]] = []
    for names, shape in pairs:
        subs: list[Sub] = [
            label if extent == extents[label] else const(0)
            for label, extent in zip(names, shape, strict=True)
        ]
        read.append(tuple(subs))
    shape = tuple(extents[label] for label in out)
    dtype = np.dtype(float)
    leaves = [Leaf(-1 - k, s, dtype) for k, s in enumerate(shapes)]
    made = Draft(shape, dtype, 1, dict(extents), zip(leaves, read, strict=True), out).finish()
    form = None
    if isinstance(made, Term) and [n for n, _ in made.factors] == leaves and not made.constraints:
        form = made.coef, made.extents, tuple(subs for _, subs in made.factors), made.out
    return shape, extents, tuple(read), form


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
    extents, subs, out = _reshaping(node.shape, shape)
    return view(node, dict(extents), subs, out, shape)


@lru_cache(maxsize=4096)
def _reshaping(
    before: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[dict[int, int], list[Sub], list[Sub]]:
    """Extents and subscripts of a reshape in C order."""
    extents: dict[int, int] = {}
    subs: list[Sub] = []
    out: list[Sub] = []
    old = tuple(e for e in before if e != 1)
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
    return extents, _with_units(subs, before), _with_units(out, shape)


def _with_units(subs: list[Sub], shape: tuple[int, ...]) -> list[Sub]:
    rest = iter(subs)
    return [const(0) if extent == 1 else next(rest) for extent in shape]


def gather_look(table: Node, subs: Sequence[Sub], extent: int) -> Sub:
    """The subscript ``table[subs]`` for an axis of ``extent``."""
    return affine(0, [(1, Look(table, tuple(subs), extent))])
