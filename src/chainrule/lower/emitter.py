"""Values and steps of a plan under construction, with the small steps every lowering needs."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ..expr.nodes import Const, Node, Scalar
from ..expr.subs import Sub, looks_of
from .steps import (
    Elementwise,
    Fill,
    IndexGrid,
    Reduce,
    Ref,
    Scale,
    Select,
    Step,
    Value,
    View,
    ViewOp,
)

__all__ = ["Emitter", "Labels", "Operand", "promoted"]

Labels: TypeAlias = tuple[int, ...]
Operand: TypeAlias = tuple[int, Labels]  # a value's number and the label of each of its axes
Dtype: TypeAlias = "np.dtype[Any]"

# Views after which elements share memory among themselves.
_SPREADING = frozenset({"broadcast", "window"})


@lru_cache(maxsize=4096)
def promoted(*dtypes: Dtype) -> Dtype:
    """NumPy's common dtype, remembered."""
    return np.result_type(*dtypes)


class Emitter:
    """Collects steps; every method returns the number of a value."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self.number: dict[Node, int] = {}
        self.grids: dict[tuple[Any, ...], int] = {}

    def new(
        self, shape: tuple[int, ...], dtype: Dtype, owned: bool = True, within: int | None = None
    ) -> int:
        """A new value; ``within`` is the value whose memory it shares."""
        number = len(self.values)
        if within is None:
            self.values.append(Value(shape, dtype, number, owned))
        else:
            base = self.values[within]
            self.values.append(Value(shape, dtype, base.root, base.owned))
            self.values[number].spread = base.spread
        return number

    def emit(self, step: Step) -> int:
        self.steps.append(step)
        return step.target

    def dtype(self, value: int) -> Dtype:
        return self.values[value].dtype

    def shape(self, value: int) -> tuple[int, ...]:
        return self.values[value].shape

    def size(self, value: int) -> int:
        return self.values[value].size

    def value_of(self, node: Node) -> int:
        """The node's value; a Python scalar becomes a 0-d array."""
        if isinstance(node, Const):
            return self.fill((), node.value, node.dtype)
        return self.number[node]

    # -- rearranging --------------------------------------------------------------------------
    def view(self, value: int, ops: list[ViewOp], shape: tuple[int, ...]) -> int:
        if not ops:
            return value
        target = self.new(shape, self.dtype(value), within=value)
        if any(op.name in _SPREADING for op in ops):
            self.values[target].spread = True
        return self.emit(View(target, (value,), ops=tuple(ops)))

    def aligned(self, value: int, labels: Labels, target: Labels) -> int:
        """A view with the axes of ``target``, extent 1 where the value lacks the label.

        Leading axes that are lacking are left out: NumPy broadcasts them.
        """
        if labels == target:
            return value
        sizes = dict(zip(labels, self.shape(value), strict=True))
        present = tuple(k for k in target if k in sizes)
        assert len(present) == len(labels), (labels, target)
        ops: list[ViewOp] = []
        if present != labels:
            ops.append(ViewOp("transpose", tuple(labels.index(k) for k in present)))
        start = next((i for i, k in enumerate(target) if k in sizes), len(target))
        inner = target[start:]
        if len(inner) > len(present):
            ops.append(ViewOp("index", tuple(slice(None) if k in sizes else None for k in inner)))
        return self.view(value, ops, tuple(sizes.get(k, 1) for k in inner))

    # -- elementwise --------------------------------------------------------------------------
    def cast(self, value: int, dtype: Dtype) -> int:
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

    def binary(self, op: str, left: int, right: int, shape: tuple[int, ...], dtype: Dtype) -> int:
        return self.emit(
            Elementwise(
                self.new(shape, dtype),
                (left, right),
                op=op,
                args=(Ref(left), Ref(right)),
                dtype=dtype.str,
                flops=prod(shape),
            )
        )

    def select(self, mask: int, value: int, shape: tuple[int, ...]) -> int:
        """``where(mask, value, 0)``."""
        if self.dtype(value).kind == "b":
            return self.binary("logical_and", mask, value, shape, self.dtype(value))
        target = self.new(shape, self.dtype(value))
        return self.emit(Select(target, (mask, value), flops=prod(shape)))

    def scale(self, value: int, coef: Scalar) -> int:
        known = self.values[value]
        dtype = np.dtype(np.result_type(known.dtype, coef))
        target = self.new(known.shape, dtype)
        return self.emit(Scale(target, (value,), coef=coef, flops=known.size))

    def reduce(self, value: int, axes: tuple[int, ...]) -> int:
        """The sum over axes, in the value's own dtype."""
        known = self.values[value]
        shape = tuple(e for axis, e in enumerate(known.shape) if axis not in axes)
        target = self.new(shape, known.dtype)
        return self.emit(
            Reduce(target, (value,), axes=axes, dtype=known.dtype.str, flops=known.size)
        )

    def fill(self, shape: tuple[int, ...], value: Scalar, dtype: Dtype) -> int:
        return self.emit(
            Fill(self.new(shape, dtype), (), shape=shape, value=value, dtype=dtype.str)
        )

    # -- subscripts ---------------------------------------------------------------------------
    def grid(
        self,
        sub: Sub,
        labels: Labels,
        extents: dict[int, int],
        mask: bool = False,
        below: int | None = None,
    ) -> int:
        """A subscript's values over a box of labels (``mask``: whether they are ≥ 0).

        ``below`` clips the values into ``[0, below)``.
        """
        shape = tuple(extents[k] for k in labels)
        key = (sub, labels, shape, mask, below)
        found = self.grids.get(key)
        if found is None:
            tables = tuple(dict.fromkeys(look.table for look in looks_of(sub)))
            found = self.emit(
                IndexGrid(
                    self.new(shape, np.dtype(bool if mask else np.intp), owned=False),
                    tuple(self.number[t] for t in tables),
                    sub=sub,
                    labels=labels,
                    extents=shape,
                    tables=tables,
                    mask=mask,
                    below=below,
                )
            )
            self.grids[key] = found
        return found
