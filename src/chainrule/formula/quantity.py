"""Quantities: what a formula speaks of.  Expressions with named extents and exact coefficients.

They mirror the nodes of :mod:`chainrule.expr.nodes`, for printing only: real algebra holds, so a
division is a power, a square is a power, and coefficients are exact.  Interned, so that equal
structure is the same object.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from ..expr.extents import ONE, ZERO, Extent, extent

__all__ = [
    "Add",
    "Factor",
    "Form",
    "Fun",
    "Index",
    "Num",
    "Pow",
    "Prod",
    "Quantity",
    "Ramp",
    "Sym",
    "Wrap",
    "constant",
    "is_small",
    "is_view",
    "labels_in",
    "map_labels",
    "ordered",
    "zero",
]

Shape: TypeAlias = "tuple[Extent, ...]"
Index: TypeAlias = "int | Form"
Factor: TypeAlias = "tuple[Quantity, tuple[Index, ...]]"

_interned: weakref.WeakValueDictionary[tuple[Any, ...], Quantity] = weakref.WeakValueDictionary()
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class Wrap:
    """A key of a form: ``mod``, ``div`` by ``n``, or a look-up ``table[subs]``."""

    kind: str
    n: Extent
    subs: tuple[Index, ...]
    table: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """The index ``const + Σ coef·key``; a constant one has no parts."""

    const: Extent
    parts: tuple[tuple[Extent, int | Wrap], ...] = ()


def constant(value: int) -> Form:
    """A constant index."""
    return Form(extent(value))


def labels_in(index: Index) -> dict[int, None]:
    """The labels of an index, in order of appearance."""
    if isinstance(index, int):
        return {index: None}
    found: dict[int, None] = {}
    for _, key in index.parts:
        for sub in (key,) if isinstance(key, int) else key.subs:
            found.update(labels_in(sub))
    return found


def map_labels(index: Index, mapping: dict[int, Index]) -> Index:
    """An index with labels replaced by indices."""
    if isinstance(index, int):
        return mapping.get(index, index)
    const = index.const
    total: dict[int | Wrap, Extent] = {}
    for coef, key in index.parts:
        if isinstance(key, int):
            new = mapping.get(key, key)
        else:
            subs = tuple(map_labels(s, mapping) for s in key.subs)
            new = Form(ZERO, ((ONE, Wrap(key.kind, key.n, subs, key.table)),))
        if isinstance(new, int):
            total[new] = total.get(new, ZERO) + coef
        else:
            const = const + coef * new.const
            for inner, part in new.parts:
                total[part] = total.get(part, ZERO) + coef * inner
    parts = tuple((c, k) for k, c in total.items() if c)
    if not const and len(parts) == 1 and parts[0][0] == ONE and isinstance(parts[0][1], int):
        return parts[0][1]
    return Form(const, parts)


class Quantity:
    """Base: a shape of extents, the quantities it is made of, a creation number."""

    __slots__ = ("__weakref__", "children", "shape", "uid")
    shape: Shape
    children: tuple[Quantity, ...]
    uid: int

    def _setup(self, shape: Shape, children: Iterable[Quantity]) -> None:
        self.shape = shape
        self.children = tuple(dict.fromkeys(children))
        self.uid = next(_serial)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uid} [{', '.join(map(str, self.shape))}]>"


class Sym(Quantity):
    """A named array: an argument (of ``symmetric`` matrices), a captured array, the gradient."""

    __slots__ = ("name", "symmetric")
    name: str
    symmetric: bool

    def __new__(cls, name: str, shape: Shape, symmetric: bool = False) -> Sym:
        key = (cls, name, shape, symmetric)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(shape, ())
            found.name = name
            found.symmetric = symmetric
            _interned[key] = found
        return found  # type: ignore[return-value]


class Ramp(Sym):
    """The vector ``(0, 1, …, n − 1)``: what an index is as a number."""

    __slots__ = ()

    def __new__(cls, n: Extent) -> Ramp:
        return super().__new__(cls, f"(0, …, {n - 1})", (n,))  # type: ignore[return-value]


class Num(Quantity):
    """A number or an expression of extents; 0-d."""

    __slots__ = ("value",)
    value: Extent

    def __new__(cls, value: Extent) -> Num:
        key = (cls, value)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup((), ())
            found.value = value
            _interned[key] = found
        return found  # type: ignore[return-value]


class Prod(Quantity):
    """``out[out] += coef·Π factors`` over a box of labels, where the constraints are ≥ 0."""

    __slots__ = ("coef", "constraints", "extents", "factors", "out")
    coef: Extent
    extents: Shape
    factors: tuple[Factor, ...]
    out: tuple[Index, ...]
    constraints: tuple[Index, ...]

    def __new__(
        cls,
        shape: Shape,
        coef: Extent,
        extents: Shape,
        factors: tuple[Factor, ...],
        out: tuple[Index, ...],
        constraints: tuple[Index, ...] = (),
    ) -> Prod:
        key = (cls, shape, coef, extents, factors, out, constraints)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            kids = [q for q, _ in factors]
            for subs in (*(s for _, s in factors), out, constraints):
                for sub in subs:
                    kids.extend(_tables(sub))
            found._setup(shape, kids)
            found.coef = coef
            found.extents = extents
            found.factors = factors
            found.out = out
            found.constraints = constraints
            _interned[key] = found
        return found  # type: ignore[return-value]

    @property
    def summed(self) -> list[int]:
        """The labels that are summed over."""
        kept: dict[int, None] = {}
        for sub in self.out:
            kept.update(labels_in(sub))
        return [k for k in range(len(self.extents)) if k not in kept]


class Add(Quantity):
    """``Σ coef·quantity``; parts of shape () are added to every element.  Empty: zero."""

    __slots__ = ("parts",)
    parts: tuple[tuple[Extent, Quantity], ...]

    def __new__(cls, shape: Shape, parts: tuple[tuple[Extent, Quantity], ...]) -> Add:
        key = (cls, shape, parts)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(shape, (q for _, q in parts))
            found.parts = parts
            _interned[key] = found
        return found  # type: ignore[return-value]


class Pow(Quantity):
    """An elementwise power with a constant exponent."""

    __slots__ = ("base", "exponent")
    base: Quantity
    exponent: Fraction

    def __new__(cls, base: Quantity, exponent: Fraction) -> Pow:
        key = (cls, base, exponent)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(base.shape, (base,))
            found.base = base
            found.exponent = exponent
            _interned[key] = found
        return found  # type: ignore[return-value]


class Fun(Quantity):
    """A function: elementwise (arguments of one shape or 0-d), or ``whole`` (softmax, inv …)."""

    __slots__ = ("args", "op", "params", "whole")
    op: str
    args: tuple[Quantity, ...]
    params: tuple[Any, ...]
    whole: bool

    def __new__(
        cls,
        op: str,
        args: tuple[Quantity, ...],
        shape: Shape,
        params: tuple[Any, ...] = (),
        whole: bool = False,
    ) -> Fun:
        key = (cls, op, args, shape, params, whole)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found._setup(shape, args)
            found.op = op
            found.args = args
            found.params = params
            found.whole = whole
            _interned[key] = found
        return found  # type: ignore[return-value]


def _tables(index: Index) -> list[Quantity]:
    if isinstance(index, int):
        return []
    found: list[Quantity] = []
    for _, key in index.parts:
        if isinstance(key, Wrap):
            if key.table is not None:
                found.append(key.table)
            for sub in key.subs:
                found.extend(_tables(sub))
    return found


def zero(shape: Shape) -> Add:
    """The zero of a shape."""
    return Add(shape, ())


def is_view(q: Quantity) -> bool:
    """Whether a quantity only rearranges or scales another one."""
    return isinstance(q, Prod) and len(q.factors) <= 1 and not q.summed


def is_small(root: Quantity, limit: int) -> bool:
    """Whether there are at most ``limit`` quantities under a root."""
    found = {root}
    stack = [root]
    while stack and len(found) <= limit:
        fresh = [c for c in stack.pop().children if c not in found]
        found.update(fresh)
        stack.extend(fresh)
    return len(found) <= limit


def ordered(roots: Iterable[Quantity]) -> list[Quantity]:
    """All quantities under ``roots``, parts before wholes."""
    done: set[Quantity] = set()
    order: list[Quantity] = []
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.children))
    return order
