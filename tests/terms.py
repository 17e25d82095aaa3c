"""The literal meaning of an expression in plain Python loops, and random terms to try it on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from chainrule.expr.build import map_
from chainrule.expr.draft import Draft
from chainrule.expr.nodes import Box, Const, Leaf, Map, Node, Sum, Term
from chainrule.expr.subs import Affine, Div, Look, Mod, Sub, affine, bounds, divided, modulo, scale
from chainrule.expr.walk import topological
from chainrule.lower.elementwise import ELEMENTWISE

Bindings = dict[Leaf, Any]


def subscript(
    sub: Sub, point: tuple[int, ...], tables: dict[Node, Any], lenient: bool = False
) -> int:
    """The value of a subscript at one point of the label box."""
    if isinstance(sub, int):
        return point[sub]
    total = sub.const
    for coef, key in sub.parts:
        if isinstance(key, int):
            value = point[key]
        elif isinstance(key, Mod):
            value = subscript(key.sub, point, tables, lenient) % key.n
        elif isinstance(key, Div):
            value = subscript(key.sub, point, tables, lenient) // key.n
        else:
            table = tables[key.table]
            inner = [subscript(s, point, tables, lenient) for s in key.subs]
            if lenient:  # among constraints an index may leave the table where another one fails
                inner = [min(max(i, 0), n - 1) for i, n in zip(inner, table.shape, strict=True)]
            value = int(table[tuple(inner)])
            assert 0 <= value < key.n
        total += coef * value
    return total


def term_value(term: Term, values: dict[Node, Any], instead: tuple[int, Any] | None = None) -> Any:
    """The definition of Term: one loop over the label box.

    ``instead`` (position, array) reads one of the factors elsewhere: a derivative by it.
    """
    boolean = term.dtype.kind == "b"
    result = np.zeros(term.shape, term.dtype)
    for point in itertools.product(*map(range, term.extents)):
        if any(subscript(c, point, values, lenient=True) < 0 for c in term.constraints):
            continue
        product: Any = bool(term.coef) if boolean else term.coef
        chosen = True
        for position, (node, subs) in enumerate(term.factors):
            index = tuple(subscript(s, point, values) for s in subs)
            assert all(0 <= i < n for i, n in zip(index, node.shape, strict=True)), (term, index)
            entry = values[node][index]
            if instead is not None and position == instead[0]:
                entry = instead[1][index]
            if node.dtype.kind != "b":
                product = product * entry
            elif not entry:
                chosen = False
        where = tuple(subscript(s, point, values) for s in term.out)
        assert all(0 <= i < n for i, n in zip(where, term.shape, strict=True)), (term, where)
        if not chosen:
            continue
        result[where] = bool(result[where] or product) if boolean else result[where] + product
    return result


def brute(node: Node, bindings: Bindings) -> Any:
    """The value of any node (without calls), by definition."""
    return all_values(node, bindings)[node]


def all_values(node: Node, bindings: Bindings) -> dict[Node, Any]:
    """The values of a node and of all below it."""
    values: dict[Node, Any] = {leaf: np.asarray(v) for leaf, v in bindings.items()}
    for n in topological([node]):
        if n in values:
            continue
        if isinstance(n, Const):
            values[n] = n.value
        elif isinstance(n, Term):
            values[n] = term_value(n, values)
        elif isinstance(n, Sum):
            total = np.zeros(n.shape, n.dtype)
            for coef, part in n.parts:
                total = (total + coef * values[part]).astype(n.dtype)
            values[n] = total
        elif isinstance(n, Map) and n.op == "astype":
            values[n] = np.asarray(values[n.args[0]]).astype(n.dtype)
        elif isinstance(n, Map):
            values[n] = np.asarray(ELEMENTWISE[n.op](*(values[a] for a in n.args), *n.params))
        else:
            assert isinstance(n, Box)
            values[n] = values[n.node]
    return values


def tangent(node: Node, bindings: Bindings, tangents: Bindings) -> Any:
    """The derivative along ``tangents``, by the product rule in plain loops (Map: tanh alone)."""
    values = all_values(node, bindings)
    known: dict[Node, Any] = dict(tangents)
    for n in topological([node]):
        if n in known:
            continue
        total: Any = np.zeros(n.shape, n.dtype)
        if isinstance(n, Term):
            for position, (factor, _) in enumerate(n.factors):
                if factor.dtype.kind in "fc":
                    total = total + term_value(n, values, (position, known[factor]))
        elif isinstance(n, Sum):
            for coef, part in n.parts:
                total = total + coef * known[part]
        elif isinstance(n, Map):
            assert n.op == "tanh"
            total = (1 - values[n] ** 2) * known[n.args[0]]
        elif isinstance(n, Box):
            total = known[n.node]
        known[n] = total
    return known[node]


class Draw:
    """Random terms over fresh leaves; everything comes from one seed."""

    def __init__(self, seed: int, dtypes: str = "f") -> None:
        self.rng = np.random.default_rng(seed)
        self.bindings: Bindings = {}
        self.dtypes = dtypes

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def leaf(self, shape: tuple[int, ...], kind: str | None = None, top: int = 0) -> Leaf:
        """A leaf with small values (exact under any order of summation)."""
        kind = kind or str(self.rng.choice(list(self.dtypes)))
        values: Any
        if top:
            values = self.rng.integers(0, top, shape)
        elif kind == "b":
            values = self.rng.random(shape) < 0.6
        elif kind == "i":
            values = self.rng.integers(-3, 4, shape)
        elif kind == "c":
            values = self.rng.integers(-3, 4, shape) + 1j * self.rng.integers(-3, 4, shape)
        elif kind == "s":
            values = self.rng.integers(-3, 4, shape).astype(np.float32)
        else:
            values = self.rng.integers(-3, 4, shape).astype(float)
        leaf = Leaf(len(self.bindings), shape, np.asarray(values).dtype)
        self.bindings[leaf] = np.asarray(values)
        return leaf

    def subscript(self, extents: dict[int, int], depth: int = 2) -> Sub:
        """Any subscript over the labels."""
        labels = list(extents)
        if not labels:
            return affine(self.integer(0, 2), [])
        form = self.integer(0, 11)
        one = labels[self.integer(0, len(labels) - 1)]
        if form <= 3 or depth == 0:
            return one
        if form == 4:
            return affine(self.integer(0, 3), [])
        if form == 5:
            return affine(self.integer(-3, 3), [(1, one)])
        if form == 6:
            return affine(self.integer(-2, 4), [(int(self.rng.choice([-2, -1, 2, 3])), one)])
        if form == 7:
            two = labels[self.integer(0, len(labels) - 1)]
            a, b = (int(c) for c in self.rng.choice([-2, -1, 1, 1, 2, 3], 2))
            return affine(self.integer(-3, 3), [(a, one), (b, two)])
        if form == 8:  # complete digits
            two = labels[self.integer(0, len(labels) - 1)]
            return affine(0, [(extents[two], one), (1, two)]) if one != two else one
        inner = self.subscript(extents, depth - 1)
        if form == 9:
            return modulo(scale(inner, 1, self.integer(-2, 2)), self.integer(2, 5), extents)
        if form == 10:
            return divided(inner, self.integer(2, 4), extents)
        low, high = bounds(inner, extents)
        top = self.integer(1, 4)
        table = self.leaf((max(high - low + 1, 1),), "i", top=top)
        return affine(0, [(1, Look(table, (scale(inner, 1, -low),), top))])

    def fitted(
        self, subs: list[Sub], extents: dict[int, int], constraints: list[Sub]
    ) -> tuple[list[Sub], tuple[int, ...]]:
        """The subscripts moved into range, and a shape; some get a smaller axis and constraints."""
        result, shape = [], []
        for sub in subs:
            low, high = bounds(sub, extents)
            sub = scale(sub, 1, -low) if low < 0 else sub
            high = high - low if low < 0 else high
            size = max(high, 0) + 1 + (self.integer(1, 2) if self.chance(0.2) else 0)
            if self.chance(0.15) and size > 2:
                cut, moved = self.integer(0, 1), self.integer(0, 1)
                sub, size = scale(sub, 1, -moved), size - cut
                constraints += [sub, scale(sub, -1, size - 1)]
            result.append(sub)
            shape.append(size)
        return result, tuple(shape)

    def term(self, *inner: Node, most: int = 400, limit: int = 4) -> Node:
        """A random term; ``inner`` nodes are among its factors (read at bare labels)."""
        while True:
            extents = {k: self.integer(1, limit) for k in range(self.integer(0, 4))}
            if self.chance(0.02) and extents:
                extents[0] = 0
            if np.prod([*extents.values()]) > most:
                continue
            constraints: list[Sub] = []
            factors: list[Any] = []
            for node in inner:
                subs = []
                for extent in node.shape:
                    fits = [k for k, e in extents.items() if e == extent]
                    if not fits or self.chance(0.3):
                        fits = [max(extents, default=-1) + 1]
                        extents[fits[0]] = extent
                    k = fits[self.integer(0, len(fits) - 1)]
                    subs.append(self.read(k, extent, extents))
                factors.append((node, tuple(subs)))
            for _ in range(self.integer(0 if inner else 1, 2)):
                raw = [self.subscript(extents) for _ in range(self.integer(0, 3))]
                if any(e == 0 for e in extents.values()):
                    raw = [0] if 0 in extents else []
                    shape: tuple[int, ...] = (0,) * len(raw)
                else:
                    raw, shape = self.fitted(raw, extents, constraints)
                factors.append((self.leaf(shape), tuple(raw)))
            out = [self.subscript(extents) for _ in range(self.integer(0, 3))]
            if any(e == 0 for e in extents.values()):
                out, out_shape = [], ()
            else:
                out, out_shape = self.fitted(out, extents, constraints)
            if self.chance(0.25) and extents and 0 not in extents.values():
                constraints.append(self.subscript(extents, 1))
                if self.chance(0.5):
                    constraints[-1] = scale(constraints[-1], -1, self.integer(0, 3))
            if np.prod(out_shape) > 4 * most or np.prod([*extents.values()]) > 4 * most:
                continue
            dtypes = [n.dtype for n, _ in factors]
            dtype = np.dtype(np.result_type(*dtypes)) if dtypes else np.dtype(float)
            coef: Any = [1, 1, 1, -1, 2, 0.5, -3][self.integer(0, 6)]
            if dtype.kind in "bi":
                coef = 1 if dtype.kind == "b" else [1, -1, 2][self.integer(0, 2)]
            if dtype.kind == "c" and self.chance(0.3):
                coef = 1j
            self.factors = factors
            return Draft(out_shape, dtype, coef, extents, factors, out, constraints).finish()

    def read(self, label: int, extent: int, extents: dict[int, int]) -> Sub:
        """A subscript under which to read an axis of ``extent`` by a label of that extent."""
        form = self.integer(0, 5)
        if form == 0 and extent > 1:
            return modulo(affine(self.integer(-2, 2), [(1, label)]), extent, extents)
        if form == 1:
            return affine(extent - 1, [(-1, label)])
        if form == 2 and extent > 0:
            return affine(self.integer(0, extent - 1), [])
        if form == 3 and extent > 1:
            table = self.leaf((extent,), "i", top=extent)
            return affine(0, [(1, Look(table, (label,), extent))])
        return label


def activated(draw: Draw, node: Node) -> Node:
    """A smooth function of a node, where it is inexact."""
    return map_("tanh", node) if node.dtype.kind == "f" else node


__all__ = ["Affine", "Bindings", "Draw", "activated", "brute", "subscript", "tangent", "term_value"]
