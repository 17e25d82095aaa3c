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
    "next_uid",
    "plain_scalar",
    "scalar_key",
]

Scalar: TypeAlias = bool | int | float | complex
Dtype: TypeAlias = "np.dtype[Any]"
Factor: TypeAlias = "tuple[Node, tuple[Sub, ...]]"

Key: TypeAlias = "tuple[Any, ...]"


class _Reference(weakref.ref["Node"]):
    """A weak reference that knows its key."""

    __slots__ = ("key",)
    key: Key


_interned: dict[Key, _Reference] = {}
_uids = itertools.count()


def next_uid() -> int:
    """A number below that of every node made from now on."""
    return next(_uids)


def _forget(reference: Any, table: dict[Key, _Reference] = _interned) -> None:
    key = reference.key
    if table.get(key) is reference:
        del table[key]


# What is found under a key; each ``__new__`` below asks it first: ``_find(key, _nothing)()`` is the
# living node of this structure, or None.
_find = _interned.get
_new = object.__new__


def _nothing() -> None:
    """Stands for a reference where there is none."""


def _intern(key: Key, node: Node) -> Any:
    """The node, or the equal one that another thread has made in the meantime."""
    node.uid = next(_uids)
    reference = _Reference(node, _forget)
    reference.key = key
    while True:
        held = _interned.setdefault(key, reference)
        if held is reference:
            return node
        other = held()
        if other is not None:
            return other
        _forget(held)


def scalar_key(value: Scalar) -> Any:
    """A key that tells ``0.0``, ``-0.0``, ``0``, ``False`` and NaNs apart by type and bits."""
    kind = type(value)
    if kind is int:
        return value
    if kind is float and value and value == value:
        return float, value  # neither a zero nor a NaN: the value says it all
    if isinstance(value, float):
        return float, struct.pack("<d", value)
    if isinstance(value, complex):
        return complex, struct.pack("<dd", value.real, value.imag)
    return type(value), value


def _params_key(params: tuple[Any, ...]) -> Key:
    """Parameters told apart by type and bits, too."""
    return tuple(
        _params_key(p)
        if isinstance(p, tuple)
        else scalar_key(p)
        if isinstance(p, bool | int | float | complex)
        else p
        for p in params
    )


_SCALAR_DTYPES = {kind: np.dtype(kind) for kind in (bool, int, float, complex)}


def plain_scalar(value: Any) -> Scalar:
    """A Python scalar: NumPy's own are not weak in promotion and would change dtypes."""
    if type(value) in (int, float, complex, bool):
        return value  # type: ignore[no-any-return]
    return value.item() if isinstance(value, np.generic) else value  # type: ignore[no-any-return]


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

    def __repr__(self) -> str:
        return f"<{self.kind} {self.uid}: {self.dtype}{list(self.shape)}>"


class Leaf(Node):
    """A placeholder.  ``slot`` tells leaves of one trace (and of nested traces) apart."""

    __slots__ = ("slot",)
    kind = "leaf"
    slot: int

    def __new__(cls, slot: int, shape: tuple[int, ...], dtype: Dtype) -> Leaf:
        key = (cls, slot, shape, dtype)
        found: Any = _find(key, _nothing)()
        if found is not None:
            return found  # type: ignore[no-any-return]
        found = _new(cls)
        found.shape = shape
        found.dtype = dtype
        found.children = ()
        found.slot = slot
        return _intern(key, found)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return Leaf, (self.slot, self.shape, self.dtype)


class Const(Node):
    """A Python scalar, 0-d.  Its ``dtype`` is what NumPy would give it alone."""

    __slots__ = ("value",)
    kind = "const"
    value: Scalar

    def __new__(cls, value: Scalar) -> Const:
        if type(value) is not float:
            value = plain_scalar(value)
        key = (cls, scalar_key(value))
        found: Any = _find(key, _nothing)()
        if found is not None:
            return found  # type: ignore[no-any-return]
        found = _new(cls)
        found.shape = ()
        dtype = _SCALAR_DTYPES.get(type(value))
        found.dtype = np.dtype(type(value)) if dtype is None else dtype
        found.children = ()
        found.value = value
        return _intern(key, found)  # type: ignore[no-any-return]


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
        found: Any = _find(key, _nothing)()
        if found is not None:
            return found  # type: ignore[no-any-return]
        found = _new(cls)
        kids: dict[Node, None] = {}
        held: list[tuple[Sub, ...]] = []
        for node, subs in factors:
            kids[node] = None
            held.append(subs)
        for subs in (*held, out, constraints):
            for sub in subs:
                if type(sub) is not int and not isinstance(sub, int) and sub.parts:
                    kids.update((look.table, None) for look in looks_of(sub))
        found.shape = shape
        found.dtype = dtype
        found.children = tuple(kids)
        found.coef = coef
        found.extents = extents
        found.factors = factors
        found.out = out
        found.constraints = constraints
        return _intern(key, found)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        fixed = self.shape, self.dtype, self.coef, self.extents
        return Term, (*fixed, self.factors, self.out, self.constraints)


class Sum(Node):
    """``Σ coef·node``, added from left to right."""

    __slots__ = ("parts",)
    kind = "sum"
    parts: tuple[tuple[Scalar, Node], ...]

    def __new__(
        cls, shape: tuple[int, ...], dtype: Dtype, parts: tuple[tuple[Scalar, Node], ...]
    ) -> Sum:
        pairs: Key = parts
        for coef, _ in parts:
            if type(coef) is not int:  # which is its own key
                pairs = tuple([(scalar_key(c), n) for c, n in parts])
                break
        key = (cls, shape, dtype, pairs)
        found: Any = _find(key, _nothing)()
        if found is not None:
            return found  # type: ignore[no-any-return]
        found = _new(cls)
        found.shape = shape
        found.dtype = dtype
        found.children = tuple(dict.fromkeys([n for _, n in parts]))
        found.parts = parts
        return _intern(key, found)  # type: ignore[no-any-return]


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
        key = (cls, op, shape, dtype, args, params and _params_key(params))
        found: Any = _find(key, _nothing)()
        if found is not None:
            return found  # type: ignore[no-any-return]
        found = _new(cls)
        found.shape = shape
        found.dtype = dtype
        found.children = args if len(args) == 1 else tuple(dict.fromkeys(args))
        found.op = op
        found.args = args
        found.params = params
        return _intern(key, found)  # type: ignore[no-any-return]


class Box(Node):
    """The value of another node, opaque to rewrites."""

    __slots__ = ("node",)
    kind = "box"
    node: Node

    def __new__(cls, node: Node) -> Box:
        key = (cls, node)
        found: Any = _find(key, _nothing)()
        if found is not None:
            return found  # type: ignore[no-any-return]
        found = _new(cls)
        found.shape = node.shape
        found.dtype = node.dtype
        found.children = (node,)
        found.node = node
        return _intern(key, found)  # type: ignore[no-any-return]


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
        key = (cls, op, shape, dtype, args, params and _params_key(params), index)
        found: Any = _find(key, _nothing)()
        if found is not None:
            return found  # type: ignore[no-any-return]
        found = _new(cls)
        found.shape = shape
        found.dtype = dtype
        found.children = args if len(args) == 1 else tuple(dict.fromkeys(args))
        found.op = op
        found.args = args
        found.params = params
        found.index = index
        return _intern(key, found)  # type: ignore[no-any-return]


def children(node: Node) -> tuple[Node, ...]:
    """The nodes a node is computed from (tables of its subscripts included)."""
    return node.children
