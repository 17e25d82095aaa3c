"""Expressions to steps: how a term is read, multiplied, summed and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..expr.build import written_labels
from ..expr.nodes import Box, Call, Const, Leaf, Map, Node, Scalar, Sum, Term
from ..expr.ops import OPS
from ..expr.subs import Sub, labels_of, looks_of, parts_of, unravel
from ..expr.walk import topological
from .flops import call_flops
from .paths import pairwise
from .steps import (
    CallStep,
    Combine,
    Contract,
    Cumulate,
    Elementwise,
    Fill,
    Gather,
    IndexGrid,
    Place,
    Plan,
    Reduce,
    Ref,
    Scale,
    ScatterAdd,
    Select,
    Step,
    View,
    ViewOp,
)

__all__ = ["make_plan"]

Labels = tuple[int, ...]


class _Value:
    """What the planner knows of a value: shape, dtype, whether the program owns its buffer."""

    __slots__ = ("dtype", "owned", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], owned: bool) -> None:
        self.shape = shape
        self.dtype = dtype
        self.owned = owned

    @property
    def size(self) -> int:
        return prod(self.shape)


def make_plan(outputs: Sequence[Node]) -> Plan:
    """The plan of a list of nodes."""
    return _Planner(outputs).run()


class _Planner:
    def __init__(self, outputs: Sequence[Node]) -> None:
        self.outputs = list(outputs)
        self.order = topological(outputs)
        self.uses: Counter[Node] = Counter(self.outputs)
        for node in self.order:
            self.uses.update(_operands(node))
        self.values: list[_Value] = []
        self.steps: list[Step] = []
        self.number: dict[Node, int] = {}
        self.calls: dict[tuple[Any, ...], int] = {}
        self.grids: dict[tuple[Any, ...], int] = {}

    # -- values -------------------------------------------------------------------------------
    def new(self, shape: tuple[int, ...], dtype: np.dtype[Any], owned: bool = True) -> int:
        self.values.append(_Value(shape, dtype, owned))
        return len(self.values) - 1

    def emit(self, step: Step) -> int:
        self.steps.append(step)
        return step.target

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
            value = self._value(node)
            fresh = self.values[value].owned and value not in seen
            seen.add(value)
            results.append(value)
            copies.append(not fresh)
        return Plan(leaves, inputs, self.steps, results, copies)

    def _deferred(self) -> set[Node]:
        """Terms that only write a part of a sum: they are added into its buffer."""
        found: set[Node] = set()
        for node in self.order:
            if isinstance(node, Sum) and len(node.parts) > 1:
                for _, part in node.parts:
                    if isinstance(part, Term) and self.uses[part] == 1 and _writes_part(part):
                        found.add(part)
        return found - set(self.outputs)

    def _value(self, node: Node) -> int:
        if node not in self.number:
            assert isinstance(node, Const)
            return self.emit(
                Fill(
                    self.new((), node.dtype),
                    (),
                    shape=(),
                    value=node.value,
                    dtype=node.dtype.str,
                )
            )
        return self.number[node]

    def _arg(self, node: Node) -> Any:
        return node.value if isinstance(node, Const) else Ref(self.number[node])

    def _lower(self, node: Node) -> int:
        if isinstance(node, Term):
            return self._term(node)
        if isinstance(node, Sum):
            return self._sum(node)
        if isinstance(node, Map):
            return self._map(node)
        if isinstance(node, Call):
            return self._call(node)
        assert isinstance(node, Box)
        return self._value(node.node)

    def _map(self, node: Map) -> int:
        args = tuple(self._arg(a) for a in node.args)
        if node.op == "stop":
            return self._value(node.args[0])
        return self.emit(
            Elementwise(
                self.new(node.shape, node.dtype),
                tuple(a.value for a in args if isinstance(a, Ref)),
                op=node.op,
                args=args,
                params=node.params,
                dtype=node.dtype.str,
                flops=OPS[node.op].flops * node.size,
            )
        )

    def _call(self, node: Call) -> int:
        key = (node.op, node.args, node.params)
        args = tuple(self._value(a) for a in node.args)
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
        target = self.new(node.shape, node.dtype)
        return self.emit(CallStep(target, (self.calls[key],), op="item", index=node.index))

    # -- sums ---------------------------------------------------------------------------------
    def _sum(self, node: Sum) -> int:
        later = [(c, n) for c, n in node.parts if n not in self.number and isinstance(n, Term)]
        now = [(c, n) for c, n in node.parts if (c, n) not in later]
        if not later and now:
            return self._combine(now, node)
        if now:
            base = self._combine(now, node, fresh=True)
        else:
            base = self._fill(node.shape, 0, node.dtype)
        for coef, part in later:
            assert isinstance(part, Term)
            value, labels = self._product(part, part.coef * coef)
            base = self._write(part, value, labels, base, add=True)
        return base

    def _combine(self, parts: list[tuple[Scalar, Node]], node: Sum, fresh: bool = False) -> int:
        args = tuple(self._arg(n) for _, n in parts)
        scaled = sum(1 for c, _ in parts if c not in (1, -1))
        del fresh
        return self.emit(
            Combine(
                self.new(node.shape, node.dtype),
                tuple(a.value for a in args if isinstance(a, Ref)),
                coefs=tuple(c for c, _ in parts),
                args=args,
                dtype=node.dtype.str,
                flops=(len(parts) - 1 + scaled) * node.size,
            )
        )

    def _fill(self, shape: tuple[int, ...], value: Scalar, dtype: np.dtype[Any]) -> int:
        return self.emit(Fill(self.new(shape, dtype), (), shape=shape, value=value, dtype=dtype.str))

    # -- terms --------------------------------------------------------------------------------
    def _term(self, node: Term) -> int:
        value, labels = self._product(node, node.coef)
        return self._write(node, value, labels, None)

    def _product(self, node: Term, coef: Scalar) -> tuple[int, Labels]:
        """The value of the product over the labels that the output needs, and its labels."""
        wanted: dict[int, None] = {}
        for sub in node.out:
            wanted.update(labels_of(sub))
        cumulated = self._cumulative(node, coef, wanted)
        if cumulated is not None:
            return cumulated
        extents = dict(enumerate(node.extents))
        operands = [self._read(n, subs, extents) for n, subs in node.factors]
        masks = [
            (self._grid(sub, tuple(labels_of(sub)), extents, mask=True), tuple(labels_of(sub)))
            for sub in node.constraints
        ]
        has_values = any(self.values[v].dtype.kind != "b" for v, _ in operands)
        if node.dtype.kind != "b":
            masks += [o for o in operands if self.values[o[0]].dtype.kind == "b"]
            operands = [o for o in operands if self.values[o[0]].dtype.kind != "b"]
        if not has_values and (masks or not operands):
            return self._indicator(node, coef, masks + operands, wanted, extents)
        return self._contract_all(operands, masks, tuple(wanted), extents, coef, node.dtype)

    def _indicator(
        self,
        node: Term,
        coef: Scalar,
        masks: list[tuple[int, Labels]],
        wanted: dict[int, None],
        extents: dict[int, int],
    ) -> tuple[int, Labels]:
        """A term without numeric factors: a constant, or the conjunction of masks."""
        if not masks:
            dtype = node.dtype
            return self._fill((), coef if dtype.kind != "b" else bool(coef), dtype), ()
        value, labels = masks[0]
        for other, more in masks[1:]:
            union = tuple(dict.fromkeys([*labels, *more]))
            shape = tuple(extents[k] for k in union)
            a = self._aligned(value, labels, union)
            b = self._aligned(other, more, union)
            value = self.emit(
                Elementwise(
                    self.new(shape, np.dtype(bool)),
                    (a, b),
                    op="logical_and",
                    args=(Ref(a), Ref(b)),
                    dtype="|b1",
                    flops=prod(shape),
                )
            )
            labels = union
        if node.dtype.kind == "b" and all(k in wanted for k in labels):
            return value, labels
        value = self._cast(value, node.dtype if node.dtype.kind != "b" else np.dtype(np.int64))
        result = self._contract_all(
            [(value, labels)], [], tuple(wanted), extents, coef, self.values[value].dtype
        )
        return self._cast(result[0], node.dtype), result[1]

    def _cast(self, value: int, dtype: np.dtype[Any]) -> int:
        known = self.values[value]
        if known.dtype == dtype:
            return value
        return self.emit(
            Elementwise(
                self.new(known.shape, dtype),
                (value,),
                op="astype",
                args=(Ref(value),),
                params=(dtype.str,),
                dtype=dtype.str,
            )
        )

    def _cumulative(
        self, node: Term, coef: Scalar, wanted: dict[int, None]
    ) -> tuple[int, Labels] | None:
        """``Σ_b x[…b…] for a ≥ b`` (or ≤): a cumulative sum along the axis of b."""
        if len(node.constraints) != 1 or len(node.factors) != 1:
            return None
        c, parts = parts_of(node.constraints[0])
        if c != 0 or sorted(k for k, _ in parts) != [-1, 1]:
            return None
        ((_, plus),) = [p for p in parts if p[0] == 1]
        ((_, minus),) = [p for p in parts if p[0] == -1]
        if not isinstance(plus, int) or not isinstance(minus, int):
            return None
        source, subs = node.factors[0]
        if source.dtype.kind == "b":
            return None
        inner: dict[int, None] = {}
        for sub in subs:
            inner.update(labels_of(sub))
        for summed, kept, reverse in ((minus, plus, False), (plus, minus, True)):
            if (
                summed in inner
                and kept not in inner
                and summed not in wanted
                and kept in wanted
                and node.extents[summed] == node.extents[kept]
            ):
                extents = dict(enumerate(node.extents))
                value, labels = self._read(source, subs, extents)
                keep = tuple(k for k in labels if k in wanted or k == summed)
                value, labels = self._contract_all(
                    [(value, labels)], [], keep, extents, coef, node.dtype
                )
                shape = self.values[value].shape
                value = self.emit(
                    Cumulate(
                        self.new(shape, self.values[value].dtype),
                        (value,),
                        axis=labels.index(summed),
                        reverse=reverse,
                        flops=prod(shape),
                    )
                )
                return value, tuple(kept if k == summed else k for k in labels)
        return None

    # -- reading ------------------------------------------------------------------------------
    def _grid(self, sub: Sub, labels: Labels, extents: dict[int, int], mask: bool = False) -> int:
        looks = looks_of(sub)
        tables = tuple(dict.fromkeys(look.table for look in looks))
        key = (sub, labels, tuple(extents[k] for k in labels), mask)
        if key not in self.grids:
            shape = tuple(extents[k] for k in labels)
            self.grids[key] = self.emit(
                IndexGrid(
                    self.new(shape, np.dtype(bool if mask else np.intp)),
                    tuple(self.number[t] for t in tables),
                    sub=sub,
                    labels=labels,
                    extents=shape,
                    tables=tables,
                    mask=mask,
                )
            )
        return self.grids[key]

    def _view(self, value: int, ops: list[ViewOp], shape: tuple[int, ...]) -> int:
        if not ops:
            return value
        known = self.values[value]
        target = self.new(shape, known.dtype, known.owned)
        return self.emit(View(target, (value,), ops=tuple(ops)))

    def _read(
        self, node: Node, subs: tuple[Sub, ...], extents: dict[int, int]
    ) -> tuple[int, Labels]:
        """A factor under its subscripts as a value whose axes are distinct labels."""
        value = self.number[node]
        if (
            subs == tuple(dict.fromkeys(subs))
            and all(isinstance(s, int) for s in subs)
            and all(extents[s] == e for s, e in zip(subs, node.shape, strict=True))  # type: ignore[index]
        ):
            return value, subs  # type: ignore[return-value]
        access = _Access(node.shape, subs, extents)
        value = self._view(value, access.ops, access.shape)
        labels = access.labels
        if access.rest:
            union: dict[int, None] = {}
            for sub in access.rest:
                union.update(labels_of(sub))
            grid_labels = tuple(union)
            grids = [self._grid(sub, grid_labels, extents) for sub in access.rest]
            shape = tuple(extents[k] for k in (*labels, *grid_labels))
            value = self.emit(
                Gather(self.new(shape, self.values[value].dtype), (value, *grids))
            )
            labels = labels + grid_labels
            if len(set(labels)) < len(labels):
                again = _Access(shape, labels, extents)
                value = self._view(value, again.ops, again.shape)
                labels = again.labels
        return value, labels

    # -- multiplying --------------------------------------------------------------------------
    def _aligned(self, value: int, labels: Labels, target: Labels) -> int:
        """A view with the axes of ``target``, extent 1 where the value lacks the label."""
        ops: list[ViewOp] = []
        present = tuple(k for k in target if k in labels)
        if present != labels:
            ops.append(ViewOp("transpose", tuple(labels.index(k) for k in present)))
        shape = [self.values[value].shape[labels.index(k)] for k in present]
        if len(present) < len(target):
            lead = 0
            while lead < len(target) and target[lead] not in labels:
                lead += 1
            if lead + len(present) < len(target):
                picks = tuple(slice(None) if k in labels else None for k in target)
                ops.append(ViewOp("index", picks))
                shape = [
                    self.values[value].shape[labels.index(k)] if k in labels else 1 for k in target
                ]
        return self._view(value, ops, tuple(shape))

    def _contract_all(
        self,
        operands: list[tuple[int, Labels]],
        masks: list[tuple[int, Labels]],
        wanted: Labels,
        extents: dict[int, int],
        coef: Scalar,
        dtype: np.dtype[Any],
    ) -> tuple[int, Labels]:
        keep = set(wanted)
        summing = any(k not in keep for _, labels in operands for k in labels)
        if masks and summing:
            operands, masks = self._mask_factors(operands, masks, extents)
        if coef != 1:
            smallest = min(range(len(operands)), key=lambda i: self.values[operands[i][0]].size)
            size = self.values[operands[smallest][0]].size
            out_size = prod(extents[k] for k in wanted)
            if not masks and size <= out_size:
                value, labels = operands[smallest]
                operands[smallest] = (self._scale(value, coef), labels)
                coef = 1
        present = {k for _, labels in [*operands, *masks] for k in labels}
        order = tuple(k for k in wanted if k in present)
        while len(operands) > 1:
            i, j = pairwise([labels for _, labels in operands], order, extents)
            (a, la), (b, lb) = operands[i], operands[j]
            others = [o for k, o in enumerate(operands) if k not in (i, j)]
            needed = keep.union(*(labels for _, labels in others)) if others else keep
            operands = [*others, self._pair(a, la, b, lb, needed, order, extents)]
        value, labels = operands[0]
        axes = tuple(i for i, k in enumerate(labels) if k not in keep)
        if axes:
            left = tuple(k for k in labels if k in keep)
            shape = tuple(extents[k] for k in left)
            value = self.emit(
                Reduce(
                    self.new(shape, self.values[value].dtype),
                    (value,),
                    axes=axes,
                    flops=self.values[value].size,
                )
            )
            labels = left
        for mask, more in masks:
            union = tuple(k for k in wanted if k in labels or k in more)
            shape = tuple(extents[k] for k in union)
            inputs = (self._aligned(mask, more, union), self._aligned(value, labels, union))
            value = self.emit(
                Select(self.new(shape, self.values[value].dtype), inputs, flops=prod(shape))
            )
            labels = union
        if coef != 1:
            value = self._scale(value, coef)
        return self._cast(value, dtype), labels

    def _mask_factors(
        self,
        operands: list[tuple[int, Labels]],
        masks: list[tuple[int, Labels]],
        extents: dict[int, int],
    ) -> tuple[list[tuple[int, Labels]], list[tuple[int, Labels]]]:
        """Under a sum each mask selects inside one factor that has its labels."""
        operands = list(operands)
        for mask, labels in masks:
            holders = [i for i, (_, ls) in enumerate(operands) if set(labels) <= set(ls)]
            if not holders:
                dtype = self.values[operands[0][0]].dtype
                operands.append((self._cast(mask, dtype), labels))
                continue
            best = min(holders, key=lambda i: self.values[operands[i][0]].size)
            value, ls = operands[best]
            shape = tuple(extents[k] for k in ls)
            inputs = (self._aligned(mask, labels, ls), value)
            selected = self.emit(
                Select(self.new(shape, self.values[value].dtype), inputs, flops=prod(shape))
            )
            operands[best] = (selected, ls)
        return operands, []

    def _scale(self, value: int, coef: Scalar) -> int:
        known = self.values[value]
        dtype = np.result_type(known.dtype, coef) if known.dtype.kind != "b" else np.dtype(type(coef))
        target = self.new(known.shape, dtype)
        return self.emit(Scale(target, (value,), coef=coef, flops=known.size))

    def _pair(
        self,
        a: int,
        la: Labels,
        b: int,
        lb: Labels,
        needed: set[int],
        order: Labels,
        extents: dict[int, int],
    ) -> tuple[int, Labels]:
        a, la = self._presum(a, la, set(lb) | needed, extents)
        b, lb = self._presum(b, lb, set(la) | needed, extents)
        union = tuple(dict.fromkeys([*la, *lb]))
        dtype = np.result_type(self.values[a].dtype, self.values[b].dtype)
        summed = [k for k in union if k not in needed]
        if not summed:
            rank = {k: i for i, k in enumerate(order)}
            target = tuple(sorted(union, key=lambda k: rank.get(k, len(rank) + k)))
            shape = tuple(extents[k] for k in target)
            left, right = self._aligned(a, la, target), self._aligned(b, lb, target)
            value = self.emit(
                Elementwise(
                    self.new(shape, dtype),
                    (left, right),
                    op="multiply",
                    args=(Ref(left), Ref(right)),
                    dtype=dtype.str,
                    flops=prod(shape),
                )
            )
            return value, target
        rank = {k: i for i, k in enumerate(order)}
        out = tuple(
            sorted((k for k in union if k in needed), key=lambda k: rank.get(k, len(rank) + k))
        )
        target_value = self.new(tuple(extents[k] for k in out), dtype)
        value = self.emit(
            Contract(
                target_value,
                (a, b),
                left=la,
                right=lb,
                out=out,
                extents={k: extents[k] for k in union},
                flops=2 * prod(extents[k] for k in union),
            )
        )
        return value, out

    def _presum(
        self, value: int, labels: Labels, needed: set[int], extents: dict[int, int]
    ) -> tuple[int, Labels]:
        axes = tuple(i for i, k in enumerate(labels) if k not in needed)
        if not axes:
            return value, labels
        kept = tuple(k for k in labels if k in needed)
        size = self.values[value].size
        target = self.new(tuple(extents[k] for k in kept), self.values[value].dtype)
        return self.emit(Reduce(target, (value,), axes=axes, flops=size)), kept

    # -- writing ------------------------------------------------------------------------------
    def _write(
        self, node: Term, value: int, labels: Labels, buffer: int | None, add: bool = False
    ) -> int:
        extents = dict(enumerate(node.extents))
        value = self._cast(value, node.dtype) if buffer is None else value
        if buffer is None:
            whole = self._rearranged(node, value, labels, extents)
            if whole is not None:
                return whole
            buffer = self._fill(node.shape, 0, node.dtype)
        access = _Access(node.shape, node.out, extents)
        if not access.rest and written_labels(node) is not None:
            aligned = self._aligned(value, labels, access.labels)
            return self.emit(Place(buffer, (buffer, aligned), ops=tuple(access.ops), add=add))
        union: dict[int, None] = {}
        for sub in node.out:
            union.update(labels_of(sub))
        order = tuple(union)
        shape = tuple(extents[k] for k in order)
        aligned = self._aligned(value, labels, order)
        grids = tuple(self._grid(sub, order, extents) for sub in node.out)
        return self.emit(
            ScatterAdd(buffer, (buffer, aligned, *grids), flops=prod(shape))
        )

    def _rearranged(
        self, node: Term, value: int, labels: Labels, extents: dict[int, int]
    ) -> int | None:
        """The output as a view of the value, where it is written whole: axes, digits, copies."""
        written = written_labels(node)
        if written is None or prod(extents[k] for k in written) != prod(node.shape):
            return None
        order: list[int] = []
        axis = 0
        while axis < len(node.out):
            sub = node.out[axis]
            if isinstance(sub, int):
                order.append(sub)
            elif sub.parts:
                keys = [key for _, key in sub.parts]
                if all(isinstance(k, int) for k in keys):
                    digits = sorted(sub.parts, key=lambda p: -p[0])
                    if sub.const or any(c < 0 for c, _ in digits):
                        return None
                    order.extend(k for _, k in digits if isinstance(k, int))
                else:
                    found = labels_of(sub)
                    if len(found) != 1:
                        return None
                    (label,) = found
                    end = axis + 1
                    while prod(node.shape[axis:end]) < extents[label] and end < len(node.shape):
                        end += 1
                    if list(node.out[axis:end]) != unravel(label, node.shape[axis:end], extents):
                        return None
                    order.append(label)
                    axis = end - 1
            elif node.shape[axis] != 1:
                return None
            axis += 1
        aligned = self._aligned(value, labels, tuple(order))
        shape = tuple(extents[k] for k in order)
        ops = []
        if self.values[aligned].shape != shape:
            ops.append(ViewOp("broadcast", shape))
        if shape != node.shape:
            ops.append(ViewOp("reshape", node.shape))
        result = self._view(aligned, ops, node.shape)
        if ops and ops[0].name == "broadcast":
            self.values[result].owned = False  # copies share memory
        return result


class _Access:
    """View operations that turn an array under subscripts into axes that are distinct labels.

    ``rest`` holds the subscripts that no view can express; their axes come last.
    """

    def __init__(
        self, shape: tuple[int, ...], subs: Sequence[Sub], extents: dict[int, int]
    ) -> None:
        self.ops: list[ViewOp] = []
        self.rest: list[Sub] = []
        index: list[Any] = []
        axes: list[tuple[str, Any]] = []  # what each axis left by the index is
        sizes: list[int] = []
        axis = 0
        while axis < len(subs):
            sub = subs[axis]
            extent = shape[axis]
            constant, parts = parts_of(sub)
            if not parts:
                index.append(constant)
            elif len(parts) == 1 and isinstance(parts[0][1], int):
                coef, label = parts[0]
                count = extents[label]
                index.append(_slice(constant, coef, count, extent))
                axes.append(("label", label))
                sizes.append(count)
            elif all(isinstance(k, int) for _, k in parts):
                digits = sorted(((c, k) for c, k in parts if isinstance(k, int)), reverse=True)
                index.append(slice(None))
                radix = 1
                complete = constant == 0
                for coef, label in reversed(digits):
                    complete = complete and coef == radix
                    radix *= extents[label]
                axes.append(
                    ("digits" if complete and radix == extent else "window", (constant, digits))
                )
                sizes.append(extent)
            else:
                merged = _unravelled(shape, subs, axis, extents)
                if merged is not None:
                    label, count = merged
                    index.extend([slice(None)] * count)
                    axes.append(("merge", (label, count)))
                    sizes.extend(shape[axis : axis + count])
                    axis += count
                    continue
                index.append(slice(None))
                axes.append(("rest", sub))
                sizes.append(extent)
            axis += 1
        if any(i != slice(None) for i in index):
            self.ops.append(ViewOp("index", tuple(index)))
        self._unfold(axes, sizes, extents)

    def _unfold(
        self, axes: list[tuple[str, Any]], sizes: list[int], extents: dict[int, int]
    ) -> None:
        labels: list[Any] = []
        shape: list[int] = []
        position = 0
        reshaped = False
        windows: list[tuple[int, Any]] = []
        for kind, data in axes:
            if kind == "label":
                labels.append(data)
                shape.append(sizes[position])
                position += 1
            elif kind == "digits":
                for _, label in data[1]:
                    labels.append(label)
                    shape.append(extents[label])
                reshaped = True
                position += 1
            elif kind == "merge":
                label, count = data
                labels.append(label)
                shape.append(extents[label])
                reshaped = True
                position += count
            else:
                if kind == "window":
                    windows.append((len(labels), data))
                labels.append((kind, data))
                shape.append(sizes[position])
                position += 1
        if reshaped:
            self.ops.append(ViewOp("reshape", tuple(shape)))
        for place, (constant, digits) in reversed(windows):
            coefs = tuple(c for c, _ in digits)
            counts = tuple(extents[k] for _, k in digits)
            self.ops.append(ViewOp("window", (place, constant, coefs, counts)))
            labels[place : place + 1] = [k for _, k in digits]
            shape[place : place + 1] = counts
        self._diagonals(labels, shape)
        last = [i for i, k in enumerate(labels) if isinstance(k, tuple)]
        if last:
            first = [i for i in range(len(labels)) if i not in last]
            if first + last != list(range(len(labels))):
                self.ops.append(ViewOp("transpose", (*first, *last)))
            self.rest = [labels[i][1] for i in last]
            shape = [shape[i] for i in (*first, *last)]
            labels = [labels[i] for i in first]
        self.labels: Labels = tuple(labels)
        self.shape = tuple(shape)

    def _diagonals(self, labels: list[Any], shape: list[int]) -> None:
        position = 0
        while position < len(labels):
            label = labels[position]
            if isinstance(label, int) and label in labels[:position]:
                first = labels.index(label)
                self.ops.append(ViewOp("diagonal", (first, position)))
                extent = shape[first]
                for i in (position, first):
                    del labels[i], shape[i]
                labels.append(label)
                shape.append(extent)
                position = 0
                continue
            position += 1


def _slice(constant: int, coef: int, count: int, extent: int) -> Any:
    if coef == 1 and constant == 0 and count == extent:
        return slice(None)
    stop: int | None = constant + coef * (count - 1) + (1 if coef > 0 else -1)
    if coef < 0 and stop is not None and stop < 0:
        stop = None
    return slice(constant, stop, coef if coef != 1 else None)


def _unravelled(
    shape: tuple[int, ...], subs: Sequence[Sub], axis: int, extents: dict[int, int]
) -> tuple[int, int] | None:
    """(label, number of axes) where axes from ``axis`` on are the C-order digits of one label."""
    found = labels_of(subs[axis])
    if len(found) != 1:
        return None
    (label,) = found
    for end in range(axis + 2, len(subs) + 1):
        size = prod(shape[axis:end])
        if size == extents[label]:
            if list(subs[axis:end]) == unravel(label, shape[axis:end], extents):
                return label, end - axis
            return None
        if size > extents[label]:
            return None
    return None


def _operands(node: Node) -> list[Node]:
    """Children with multiplicity."""
    if isinstance(node, Map | Call):
        return list(node.args)
    if isinstance(node, Sum):
        return [n for _, n in node.parts]
    return list(node.children)


def _writes_part(node: Term) -> bool:
    """Whether a term writes only a part of its shape (padding, scatter), so zeros are filled."""
    written = written_labels(node)
    return written is None or prod(node.extents[k] for k in written) != prod(node.shape)


