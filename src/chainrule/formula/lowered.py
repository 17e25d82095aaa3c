"""Quantities as nodes again, so that a simplified form can be differentiated.

The derivative of a simplified form is simpler than the derivative of what was run: that of
``Xᵀ (p − y)`` needs neither the logarithms of p nor the exponential that p was made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..expr.build import broadcast, cast, contraction, linear, map_, ramp, summed, view
from ..expr.calls import CALL_OPS, call
from ..expr.draft import Draft, zeros
from ..expr.extents import Extent
from ..expr.nodes import Box, Const, Leaf, Node, Scalar
from ..expr.subs import Key, Look, Sub, affine, const, divided, modulo, parts_of
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity, Ramp, Sym, Wrap, ordered

__all__ = ["Lowering", "NotLowered"]

_FLOAT = np.dtype(float)


class NotLowered(Exception):
    """A quantity that stands for something without a node."""


class Lowering:
    """Nodes of quantities at given sizes; ``leaves`` are the nodes of symbols by name."""

    def __init__(self, leaves: Mapping[str, Leaf], sizes: Mapping[str, int]) -> None:
        self.leaves = leaves
        self.sizes = sizes
        self.known: dict[Quantity, Node] = {}

    def nodes(self, roots: Sequence[Quantity]) -> list[Node]:
        """The nodes of quantities.  Raises NotLowered."""
        for q in ordered(roots):
            if q not in self.known:
                self.known[q] = self._node(q)
        return [self.known[q] for q in roots]

    def _number(self, extent: Extent) -> Scalar:
        value = extent.value(self.sizes)
        return int(value) if float(value).is_integer() else value

    def _whole(self, extent: Extent) -> int:
        return round(extent.value(self.sizes))

    def _shape(self, q: Quantity) -> tuple[int, ...]:
        return tuple(self._whole(e) for e in q.shape)

    def _node(self, q: Quantity) -> Node:
        if isinstance(q, Ramp):
            return Box(ramp(*self._shape(q)))
        if isinstance(q, Sym):
            leaf = self.leaves.get(q.name)
            if leaf is None or leaf.shape != self._shape(q):
                raise NotLowered(q.name)
            return leaf
        if isinstance(q, Num):
            return Const(self._number(q.value))
        if isinstance(q, Add):
            return self._sum(q)
        if isinstance(q, Pow):
            exponent = q.exponent
            power = int(exponent) if exponent.denominator == 1 else float(exponent)
            return map_("power", self._float(q.base), Const(power))
        if isinstance(q, Prod):
            return self._product(q)
        assert isinstance(q, Fun)
        return self._function(q)

    def _float(self, q: Quantity) -> Node:
        node = self.known[q]
        return node if isinstance(node, Const) or node.dtype == _FLOAT else cast(node, _FLOAT)

    def _sum(self, q: Add) -> Node:
        shape = self._shape(q)
        if not q.parts:
            return zeros(shape, _FLOAT)
        parts: list[tuple[Scalar, Node]] = []
        for coef, part in q.parts:
            node = self._float(part)
            if not isinstance(node, Const):
                node = broadcast(node, shape)
            parts.append((self._number(coef), node))
        return linear(*parts, dtype=_FLOAT)

    def _product(self, q: Prod) -> Node:
        extents = {k: self._whole(e) for k, e in enumerate(q.extents)}

        def subs(indices: Sequence[Index]) -> list[Sub]:
            return [self._sub(i, extents) for i in indices]

        factors = [(self._float(f), tuple(subs(indices))) for f, indices in q.factors]
        return Draft(
            self._shape(q),
            _FLOAT,
            self._number(q.coef),
            extents,
            factors,
            subs(q.out),
            subs(q.constraints),
        ).finish()

    def _sub(self, index: Index, extents: dict[int, int]) -> Sub:
        if isinstance(index, int):
            return index
        constant = self._whole(index.const)
        parts: list[tuple[int, Key]] = []
        for extent, key in index.parts:
            coef = self._whole(extent)
            sub = key if isinstance(key, int) else self._wrapped(key, extents)
            shift, inner = parts_of(sub)
            constant += coef * shift
            parts += [(coef * c, k) for c, k in inner]
        return affine(constant, parts)

    def _wrapped(self, key: Wrap, extents: dict[int, int]) -> Sub:
        n = self._whole(key.n)
        subs = tuple(self._sub(s, extents) for s in key.subs)
        if key.kind == "mod":
            return modulo(subs[0], n, extents)
        if key.kind == "div":
            return divided(subs[0], n, extents)
        assert key.table is not None
        table = self.known[key.table]
        if table.dtype.kind not in "iu":
            raise NotLowered("an index that is computed")
        return affine(0, [(1, Look(table, subs, n))])

    def _function(self, q: Fun) -> Node:
        if q.op == "gaps":
            return self._gaps(q)
        if q.op == "softmax" or q.op == "logsumexp":
            return self._exponentials(q)
        if not q.whole:
            shape = self._shape(q)
            given = (self.known[a] for a in q.args)
            args = [n if isinstance(n, Const) else broadcast(n, shape) for n in given]
            return map_(q.op, *args, params=q.params)
        if CALL_OPS.get(q.op) is None:
            raise NotLowered(q.op)
        args = [self._float(a) for a in q.args]
        *params, index = q.params
        if q.op == "solve" and q.args[1].ndim == 1:
            column = _column(args[1])
            solved = call("solve", args[0], column, params=tuple(params), index=index)
            return summed(solved, (1,))
        made = call(q.op, *args, params=tuple(params), index=index)
        if made.shape != self._shape(q):
            raise NotLowered(q.op)
        return made

    def _gaps(self, q: Fun) -> Node:
        """``offdiag(1/u)`` without a division by zero."""
        n = self._shape(q)[0]
        diagonal = view(Const(1), {0: n}, (), (0, 0), (n, n))
        usual = map_("where", diagonal, Const(1), self._float(q.args[0]))
        return map_("where", diagonal, Const(0), map_("power", usual, Const(-1)))

    def _exponentials(self, q: Fun) -> Node:
        """``softmax`` and ``logsumexp`` by exponentials: there is no rounding on paper."""
        (u,) = q.args
        axis = q.params[0]
        e = map_("exp", self._float(u))
        total = summed(e, (axis,))
        if q.op == "logsumexp":
            return map_("log", total)
        labels = tuple(range(u.ndim))
        rest = labels[:axis] + labels[axis + 1 :]
        return contraction(1, [(e, labels), (map_("power", total, Const(-1)), rest)], labels)


def _column(vector: Node) -> Node:
    (n,) = vector.shape
    return view(vector, {0: n}, (0,), (0, const(0)), (n, 1))
