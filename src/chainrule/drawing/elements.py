"""The same computation, element by element: every element of every array is a node of its own.

The result is a computation again, over numbers, so it is drawn as any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ..expr.nodes import Box, Call, Const, Leaf, Map, Node, Scalar, Sum, Term
from ..expr.subs import Div, Key, Look, Mod, Sub
from ..expr.walk import dependents, topological
from ..lower.run import evaluate
from .computation import Computation, Root

__all__ = ["by_element"]

Elements: TypeAlias = "np.ndarray[Any, Any]"

_POINTS = 20_000
_TOO_MANY = (
    "level='scalar' would take apart {kind} of {points:,} points (at most {limit:,}): give smaller "
    "shapes, for example '2 3', or draw it with level='tensor'"
)
_UNKNOWN = (
    "level='scalar' cannot draw an index that is itself computed from the arguments: which "
    "elements it reads is not known; use level='tensor'"
)


def by_element(of: Computation) -> Computation:
    """A computation over single elements, named ``w₁₂`` (from 1 on)."""
    return _Expansion(of).run()


class _Expansion:
    def __init__(self, of: Computation) -> None:
        self.of = of
        self.known: dict[Node, Elements] = {}
        self.leaves: dict[Node, Any] = {}
        self.labels: dict[Node, str] = {}

    def run(self) -> Computation:
        of = self.of
        order = topological([root.node for root in of.roots])
        self._constants(order)
        for node in order:
            if node in self.known:
                continue
            self.known[node] = found = self._elements(node)
            if node in of.labels:
                for place, element in _places(found):
                    if element.children:
                        self.labels.setdefault(element, of.labels[node] + subscript(place, node))
        roots = [
            Root(element, root.name + subscript(place, root.node), root.kind)
            for root in of.roots
            for place, element in _places(self.known[root.node])
        ]
        backward = {
            element
            for node in of.backward
            if node in self.known
            for _, element in _places(self.known[node])
        }
        for node, elements in self.known.items():
            if node not in of.backward:
                backward -= {element for _, element in _places(elements)}
        nodes = topological([root.node for root in roots])
        return Computation(
            of.title,
            roots,
            {leaf: name for leaf, name in self.leaves.items() if leaf in set(nodes)},
            self.labels,
            {node: node for node in nodes},
            backward=backward,
        )

    def _constants(self, order: list[Node]) -> None:
        """What does not depend on the arguments is a number an element."""
        inputs = [leaf for leaf in self.of.leaves if leaf not in self.of.arrays[0]]
        varying = dependents(order, inputs)
        fixed = [node for node in order if node not in varying]
        for node in fixed:
            self._limit(node, node.size)
        values = evaluate(fixed, self.of.arrays[0])
        for node, value in zip(fixed, values, strict=True):
            self.known[node] = found = np.empty(node.shape, object)
            for place in np.ndindex(*node.shape):
                found[place] = Const(np.asarray(value)[place].item())

    def _elements(self, node: Node) -> Elements:
        self._limit(node, node.size)
        if isinstance(node, Leaf):
            return self._leaf(node)
        if isinstance(node, Box):
            return self.known[node.node]
        if isinstance(node, Term):
            return self._term(node)
        found = np.empty(node.shape, object)
        for place in np.ndindex(*node.shape):
            found[place] = self._one(node, place)
        return found

    def _one(self, node: Node, place: tuple[int, ...]) -> Node:
        """One element of an elementwise node, or of a call."""
        if isinstance(node, Const):
            return node
        if isinstance(node, Map):
            args = tuple(self._read(a, place) for a in node.args)
            return Map(node.op, (), node.dtype, args, node.params)
        if isinstance(node, Sum):
            return _sum(((c, self._read(n, place)) for c, n in node.parts), node.dtype)
        assert isinstance(node, Call)
        args = tuple(element for a in node.args for _, element in _places(self.known[a]))
        return Call(node.op, (), node.dtype, args, (node.params, place), node.index)

    def _read(self, node: Node, place: tuple[int, ...]) -> Node:
        found: Node = self.known[node][place if node.ndim else ()]
        return found

    def _leaf(self, node: Leaf) -> Elements:
        found = np.empty(node.shape, object)
        name, kind = self.of.leaves[node]
        for place in np.ndindex(*node.shape):
            found[place] = leaf = Leaf(len(self.leaves), (), node.dtype)
            self.leaves[leaf] = (name + subscript(place, node), kind)
        return found

    def _term(self, node: Term) -> Elements:
        self._limit(node, prod(node.extents))
        parts: dict[tuple[int, ...], list[tuple[Scalar, Node]]] = {}
        for point in itertools.product(*map(range, node.extents)):
            at = self._at(point)
            if any(at(c) < 0 for c in node.constraints):
                continue
            factors = [self.known[n][tuple(map(at, subs))] for n, subs in node.factors]
            made = _product(node.coef, factors, node.dtype)
            if made is not None:
                parts.setdefault(tuple(map(at, node.out)), []).append(made)
        found = np.empty(node.shape, object)
        for place in np.ndindex(*node.shape):
            found[place] = _sum(parts.get(place, []), node.dtype)
        return found

    def _at(self, point: tuple[int, ...]) -> Callable[[Sub], int]:
        """Subscripts at a point of the label box."""

        def key(k: Key) -> int:
            if isinstance(k, int):
                return point[k]
            if isinstance(k, Mod):
                return sub(k.sub) % k.n
            if isinstance(k, Div):
                return sub(k.sub) // k.n
            assert isinstance(k, Look)
            entry = self.known[k.table][tuple(map(sub, k.subs))]
            if not isinstance(entry, Const):
                raise ValueError(_UNKNOWN)
            return int(entry.value.real) % k.n

        def sub(s: Sub) -> int:
            if isinstance(s, int):
                return point[s]
            return s.const + sum(c * key(k) for c, k in s.parts)

        return sub

    def _limit(self, node: Node, points: int) -> None:
        if points > _POINTS:
            kind = f"a {node.kind} of shape {node.shape}"
            raise ValueError(_TOO_MANY.format(kind=kind, points=points, limit=_POINTS))


def _places(elements: Elements) -> Iterator[tuple[tuple[int, ...], Node]]:
    for place in np.ndindex(*elements.shape):
        node: Any = elements[place]
        yield place, node


def _product(coef: Scalar, factors: list[Node], dtype: Any) -> tuple[Scalar, Node] | None:
    """A number times a product of elements; None where it is zero."""
    kept: list[Node] = []
    for factor in factors:
        if isinstance(factor, Const):
            if not factor.value:
                return None
            coef = coef * factor.value
        elif isinstance(factor, Sum) and not factor.parts:
            return None
        elif isinstance(factor, Sum) and len(factor.parts) == 1:
            coef = coef * factor.parts[0][0]
            kept.append(factor.parts[0][1])
        else:
            kept.append(factor)
    if not kept:
        return coef, Const(1)
    if len(kept) == 1:
        return coef, kept[0]
    return coef, Term((), dtype, 1, (), tuple((n, ()) for n in kept), ())


def _sum(parts: Iterable[tuple[Scalar, Node]], dtype: Any) -> Node:
    """A sum of elements without zeros; a single one is itself."""
    kept = [
        (c, n)
        for c, n in parts
        if not (isinstance(n, Sum) and not n.parts) and not (isinstance(n, Const) and not n.value)
    ]
    if len(kept) == 1 and (kept[0][0] == 1 or isinstance(kept[0][1], Const)):
        (coef, node) = kept[0]
        return Const(coef * node.value) if isinstance(node, Const) else node
    return Sum((), dtype, tuple(kept))


_DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def subscript(place: tuple[int, ...], node: Node) -> str:
    """``₁₂``, counted from 1 as on paper; ``₁,₁₂`` where an axis has ten elements or more."""
    numbers = [str(i + 1) for i in place]
    return ("," if max(node.shape, default=0) > 9 else "").join(numbers).translate(_DIGITS)
