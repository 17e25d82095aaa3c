"""The node kinds.  All are immutable and interned: equal structure means the same object.

=======  ==========================================================================================
Leaf     a positional placeholder, bound to a value only when a program runs
Const    a Python scalar (weakly typed, as NumPy treats Python scalars)
Term     a product of factors under subscripts: one loop nest (see :class:`Term`)
Sum      a linear combination of nodes of one shape; the empty sum is zero
Map      an elementwise function of nodes of one shape (Const operands are broadcast)
Box      "this value is computed here": a node that rewrites do not look through
Call     one result of a function without a network form (linalg, special accumulations)
=======  ==========================================================================================

Typing rules: every factor has one subscript an axis, within the axis' extent wherever the
constraints hold; ``out`` has one subscript an axis of ``shape``; Map and Sum operands have the
shape of the result or are Const.
"""

from __future__ import annotations

import itertools
import struct
import weakref
from typing import Any, ClassVar, TypeAlias

import numpy as np

from .subs import Sub, looks_of

__all__ = [
    "Box",
    "Call",
    "Const",
    "Leaf",
    "Map",
    "Node",
    "Scalar",
    "Sum",
    "Term",
    "children",
    "scalar_key",
]

Scalar: TypeAlias = bool | int | float | complex
Dtype: TypeAlias = "np.dtype[Any]"
Factor: TypeAlias = "tuple[Node, tuple[Sub, ...]]"

_interned: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()
_uids = itertools.count()


def scalar_key(value: Scalar) -> tuple[type, Any]:
    """A key that tells ``0.0``, ``-0.0``, ``0``, ``False`` and NaNs apart by type and bits."""
    if isinstance(value, float):
        return float, struct.pack("<d", value)
    if isinstance(value, complex):
        return complex, struct.pack("<dd", value.real, value.imag)
    return type(value), value


class Node:
    """Base of all nodes: ``shape``, ``dtype``, a creation number and the child nodes."""

    __slots__ = ("__weakref__", "children", "dtype", "shape", "uid")
    kind: ClassVar[str] = "node"

    shape: tuple[int, ...]
    dtype: Dtype
    uid: int
    children: tuple[Node, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        total = 1
        for extent in self.shape:
            total *= extent
        return total

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def _setup(self, shape: tuple[int, ...], dtype: Dtype, kids: tuple[Node, ...]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.children = kids
        self.uid = next(_uids)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.uid}: {self.dtype}{list(self.shape)}>"


class Leaf(Node):
    """A placeholder.  ``slot`` tells leaves of one trace (and of nested traces) apart."""

    __slots__ = ("slot",)
    kind = "leaf"
    slot: int

    def __new__(cls, slot: int, shape: tuple[int, ...], dtype: Dtype) -> Leaf:
        key = (cls, slot, shape, dtype)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(shape, dtype, ())
            found.slot = slot
            _interned[key] = found
        return found  # type: ignore[return-value]


class Const(Node):
    """A Python scalar, 0-d.  Its ``dtype`` is what NumPy would give it alone."""

    __slots__ = ("value",)
    kind = "const"
    value: Scalar

    def __new__(cls, value: Scalar) -> Const:
        key = (cls, scalar_key(value))
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup((), np.dtype(type(value)), ())
            found.value = value
            _interned[key] = found
        return found  # type: ignore[return-value]


class Term(Node):
    """One loop nest: ``out[out] += coef · Π node[subs]`` for every point of the label box.

    Labels are ``0 … len(extents)-1`` in order of first appearance in ``out``, the factors, the
    constraints.  Points at which some constraint (a subscript) is negative are skipped.  Boolean
    factors *select*: where one is False the product is 0, whatever the other factors hold.
    """

    __slots__ = ("coef", "constraints", "extents", "factors", "out")
    kind = "term"
    coef: Scalar
    extents: tuple[int, ...]
    factors: tuple[Factor, ...]
    out: tuple[Sub, ...]
    constraints: tuple[Sub, ...]

    def __new__(
        cls,
        shape: tuple[int, ...],
        dtype: Dtype,
        coef: Scalar,
        extents: tuple[int, ...],
        factors: tuple[Factor, ...],
        out: tuple[Sub, ...],
        constraints: tuple[Sub, ...] = (),
    ) -> Term:
        key = (cls, shape, dtype, scalar_key(coef), extents, factors, out, constraints)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            kids = dict.fromkeys(node for node, _ in factors)
            for subs in (*(s for _, s in factors), out, constraints):
                for sub in subs:
                    if not isinstance(sub, int):
                        kids.update(dict.fromkeys(look.table for look in looks_of(sub)))
            found._setup(shape, dtype, tuple(kids))
            found.coef = coef
            found.extents = extents
            found.factors = factors
            found.out = out
            found.constraints = constraints
            _interned[key] = found
        return found  # type: ignore[return-value]


class Sum(Node):
    """``Σ coef·node``, added from left to right."""

    __slots__ = ("parts",)
    kind = "sum"
    parts: tuple[tuple[Scalar, Node], ...]

    def __new__(
        cls, shape: tuple[int, ...], dtype: Dtype, parts: tuple[tuple[Scalar, Node], ...]
    ) -> Sum:
        key = (cls, shape, dtype, tuple((scalar_key(c), n) for c, n in parts))
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(shape, dtype, tuple(dict.fromkeys(n for _, n in parts)))
            found.parts = parts
            _interned[key] = found
        return found  # type: ignore[return-value]


class Map(Node):
    """An elementwise function ``op`` (a name in the table of :mod:`chainrule.expr.ops`)."""

    __slots__ = ("args", "op", "params")
    kind = "map"
    op: str
    args: tuple[Node, ...]
    params: tuple[Any, ...]

    def __new__(
        cls,
        op: str,
        shape: tuple[int, ...],
        dtype: Dtype,
        args: tuple[Node, ...],
        params: tuple[Any, ...] = (),
    ) -> Map:
        key = (cls, op, shape, dtype, args, params)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(shape, dtype, tuple(dict.fromkeys(args)))
            found.op = op
            found.args = args
            found.params = params
            _interned[key] = found
        return found  # type: ignore[return-value]


class Box(Node):
    """The value of another node, opaque to rewrites."""

    __slots__ = ("node",)
    kind = "box"
    node: Node

    def __new__(cls, node: Node) -> Box:
        key = (cls, node)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(node.shape, node.dtype, (node,))
            found.node = node
            _interned[key] = found
        return found  # type: ignore[return-value]


class Call(Node):
    """Result number ``index`` of a primitive without a network form.

    Calls treat leading axes as batch axes: all arguments share the same leading batch shape.
    """

    __slots__ = ("args", "index", "op", "params")
    kind = "call"
    op: str
    args: tuple[Node, ...]
    params: tuple[Any, ...]
    index: int

    def __new__(
        cls,
        op: str,
        shape: tuple[int, ...],
        dtype: Dtype,
        args: tuple[Node, ...],
        params: tuple[Any, ...] = (),
        index: int = 0,
    ) -> Call:
        key = (cls, op, shape, dtype, args, params, index)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(shape, dtype, tuple(dict.fromkeys(args)))
            found.op = op
            found.args = args
            found.params = params
            found.index = index
            _interned[key] = found
        return found  # type: ignore[return-value]


def children(node: Node) -> tuple[Node, ...]:
    """The nodes a node is computed from (tables of its subscripts included)."""
    return node.children
