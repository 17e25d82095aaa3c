"""Expressions to steps: the nodes of a graph in order, sums into buffers, results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..expr.bodies import Body
from ..expr.calls import call
from ..expr.nodes import Box, Call, Const, Leaf, Map, Node, Scalar, Sum, Term
from ..expr.ops import OPS, join_dtypes, result_dtype
from ..expr.subs import bounds
from ..expr.walk import topological
from .access import write, writes_part
from .emitter import Emitter
from .flops import call_flops
from .product import elementwise, product
from .steps import CallStep, Combine, Elementwise, Plan, Ref, ViewOp

__all__ = ["make_plan"]

# Elementwise functions whose result may be a view of the operand.
_VIEWING = frozenset({"real", "imag"})
_BOOL = np.dtype(bool)


def make_plan(outputs: Sequence[Node]) -> Plan:
    """The plan of a list of nodes."""
    return _Planner(outputs).run()


class _Planner(Emitter):
    def __init__(self, outputs: Sequence[Node]) -> None:
        super().__init__()
        self.outputs = list(outputs)
        self.order = topological(outputs)
        self.uses: Counter[Node] = Counter(self.outputs)
        for node in self.order:
            for operand in _operands(node):
                self.uses[operand] += 1
        self.calls: dict[tuple[Any, ...], int] = {}
        self.scans = self._scans()

    def run(self) -> Plan:
        leaves = [n for n in self.order if isinstance(n, Leaf)]
        leaves.sort(key=lambda leaf: leaf.slot)
        inputs = []
        for leaf in leaves:
            self.number[leaf] = self.new(leaf.shape, leaf.dtype, owned=False)
            inputs.append(self.number[leaf])
        deferred = self._deferred()
        for node in self.order:
            if node not in self.number and node not in deferred and not isinstance(node, Const):
                self.number[node] = self._lower(node)
        results, copies, seen = [], [], set()
        for node in self.outputs:
            number = self.value_of(node)
            value = self.values[number]
            base = self.values[value.root]
            copies.append(value.spread or not base.owned or value.root in seen)
            seen.add(value.root)
            results.append(number)
        return Plan(leaves, inputs, self.steps, results, copies, self.values)

    def _deferred(self) -> set[Node]:
        """Terms that only write a part of a sum: they are added into its buffer."""
        found: set[Node] = set()
        for node in self.order:
            if isinstance(node, Sum) and len(node.parts) > 1:
                for coef, part in node.parts:
                    if (
                        isinstance(part, Term)
                        and self.uses[part] == 1
                        and part.dtype == node.dtype != _BOOL
                        and (coef in (1, -1) or node.dtype.kind in "fc")
                        and writes_part(part)
                    ):
                        found.add(part)
        return found

    def _arg(self, node: Node) -> Any:
        return node.value if isinstance(node, Const) else Ref(self.number[node])

    def _lower(self, node: Node) -> int:
        if isinstance(node, Term):
            found = elementwise(self, node)
            if found is not None:
                return found
            value, labels = product(self, node, node.coef)
            return write(self, node, value, labels, None)
        if isinstance(node, Sum):
            return self._sum(node)
        if isinstance(node, Map):
            return self._map(node)
        if isinstance(node, Call):
            return self._call(node)
        assert isinstance(node, Box)
        return self.value_of(node.node)

    def _map(self, node: Map) -> int:
        if node.op == "stop":
            return self.value_of(node.args[0])
        if node.op == "astype" and not isinstance(node.args[0], Const):
            return self.cast(self.value_of(node.args[0]), node.dtype)
        args = tuple(self._arg(a) for a in node.args)
        inputs = tuple(a.value for a in args if isinstance(a, Ref))
        dtypes = [type(a.value) if isinstance(a, Const) else a.dtype for a in node.args]
        natural = result_dtype(node.op, dtypes, node.params)
        within = inputs[0] if node.op in _VIEWING and inputs else None
        return self.cast(
            self.emit(
                Elementwise(
                    self.new(node.shape, natural, within=within),
                    inputs,
                    op=node.op,
                    args=args,
                    params=node.params,
                    dtype=natural.str,
                    flops=OPS[node.op].flops * node.size,
                )
            ),
            node.dtype,
        )

    def _scans(self) -> dict[Any, dict[Node, int]]:
        """Scans that carry the same through the same rounds: one loop gives all their rows.

        By what they have in common, the rows that are read and their number among the results.
        """
        found: dict[Any, dict[Node, int]] = {}
        for node in self.order:
            if isinstance(node, Call) and node.op == "scan":
                body, _, carries, _, _ = node.params
                rows = found.setdefault(_loop(node), {})
                if node.index >= carries:
                    rows.setdefault(body.outs[node.index], carries + len(rows))
        return found

    def _joint(self, node: Call) -> Call:
        """The scan as one of those that share its loop, without rows that nobody reads."""
        body, length, carries, rows, reverse = node.params
        read = self.scans[_loop(node)]
        joint = Body(body.leaves, (*body.outs[:carries], *read))
        index = node.index if node.index < carries else read[body.outs[node.index]]
        return call("scan", *node.args, params=(joint, length, carries, rows, reverse), index=index)

    def _call(self, node: Call) -> int:
        if node.op == "scan":
            node = self._joint(node)
        key = (node.op, node.args, node.params)
        args = tuple(self.value_of(a) for a in node.args)
        if key not in self.calls:
            self.calls[key] = self.emit(
                CallStep(
                    self.new((), np.dtype(object), owned=True),
                    args,
                    op=node.op,
                    params=node.params,
                    flops=call_flops(node),
                )
            )
        item = (*key, node.index)  # rows of scans that share a loop may be one result
        if item not in self.calls:
            target = self.new(node.shape, node.dtype)
            step = CallStep(target, (self.calls[key],), op="item", index=node.index)
            self.calls[item] = self.emit(step)
        return self.calls[item]

    # -- sums ---------------------------------------------------------------------------------
    def _sum(self, node: Sum) -> int:
        later = [(c, n) for c, n in node.parts if isinstance(n, Term) and n not in self.number]
        if not node.parts:
            return self.fill(node.shape, 0, node.dtype)
        if not later:
            return self._combine(node.parts, node)
        now = [(c, n) for c, n in node.parts if not isinstance(n, Term) or n in self.number]
        if now:
            base = self._combine(now, node)
            base = self.view(base, [ViewOp("contiguous", ())], node.shape)
        else:
            base = self.fill(node.shape, 0, node.dtype)
        ranges: list[list[tuple[int, int]]] = []
        for coef, part in later:
            assert isinstance(part, Term)
            value, labels = product(self, part, part.coef * coef)
            ranges.append(_ranges(part))
            adds = bool(now) or not all(_apart(ranges[-1], other) for other in ranges[:-1])
            base = write(self, part, value, labels, base, add=adds)
        return base

    def _combine(self, parts: Sequence[tuple[Scalar, Node]], node: Sum) -> int:
        args = tuple(self._arg(n) for _, n in parts)
        dtypes = [type(n.value) if isinstance(n, Const) else n.dtype for _, n in parts]
        natural = join_dtypes([*dtypes, *(type(c) for c, _ in parts if c not in (1, -1))])
        if natural != node.dtype or (_BOOL in dtypes and natural != _BOOL):
            args = tuple(
                Ref(self.cast(a.value, node.dtype)) if isinstance(a, Ref) else a for a in args
            )
            natural = join_dtypes(
                [node.dtype if isinstance(a, Ref) else type(a) for a in args]
                + [type(c) for c, _ in parts if c not in (1, -1)]
            )
        # what is scaled, and a first part that is negated, takes an operation of its own
        scaled = sum(1 for c, _ in parts if c not in (1, -1)) + (parts[0][0] == -1)
        value = self.emit(
            Combine(
                self.new(node.shape, natural),
                tuple(a.value for a in args if isinstance(a, Ref)),
                coefs=tuple(c for c, _ in parts),
                args=args,
                dtype=natural.str,
                flops=(len(parts) - 1 + scaled) * node.size,
            )
        )
        return self.cast(value, node.dtype)


def _loop(node: Call) -> tuple[Any, ...]:
    """What scans have in common that differ in their rows alone."""
    body, length, carries, rows, reverse = node.params
    return node.args, body.leaves, body.outs[:carries], length, rows, reverse


def _operands(node: Node) -> Sequence[Node]:
    """Children with multiplicity."""
    if isinstance(node, Map | Call):
        return node.args
    if isinstance(node, Sum):
        return [n for _, n in node.parts]
    return node.children


def _ranges(part: Term) -> list[tuple[int, int]]:
    """What a term writes lies within these bounds of each axis."""
    extents = dict(enumerate(part.extents))
    return [bounds(sub, extents) for sub in part.out]


def _apart(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> bool:
    """Whether two boxes do not meet: what one holds is still zero where the other is written."""
    return any(a[1] < b[0] or b[1] < a[0] for a, b in zip(one, other, strict=True))
