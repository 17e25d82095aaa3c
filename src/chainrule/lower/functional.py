"""What backends of other array libraries share: plan steps as functions without side effects.

A subclass names its library's operations; this module walks the steps.  Buffers are never written:
a step that adds into one makes the next value of it, at positions worked out beforehand.  Every
result is cast to the dtype that the plan states, since libraries promote differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..expr.nodes import Node
from ..expr.ops import OPS
from ..expr.subs import Div, Key, Mod, Sub, parts_of
from . import kernels
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

__all__ = ["FunctionalProgram"]

Array = Any
Dtype = np.dtype[Any]


class FunctionalProgram:
    """A plan on another library; ``run`` maps that library's arrays to its arrays."""

    name: ClassVar[str]
    elementwise: ClassVar[Mapping[str, Callable[..., Array]]]
    calls: ClassVar[Mapping[str, Callable[..., tuple[Array, ...]]]]

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._check()
        self._constants: dict[tuple[int, Any], Array] = {}
        self._frees = self._last_uses()

    # -- what a library supplies --------------------------------------------------------------
    def constant(self, value: Any) -> Array:
        """A NumPy array as the library's."""
        raise NotImplementedError

    def cast(self, value: Array, dtype: Dtype) -> Array:
        raise NotImplementedError

    def permute(self, value: Array, axes: Sequence[int]) -> Array:
        raise NotImplementedError

    def broadcast(self, value: Array, shape: Sequence[int]) -> Array:
        raise NotImplementedError

    def diagonal(self, value: Array, first: int, second: int) -> Array:
        raise NotImplementedError

    def take(self, value: Array, index: Any, axis: int) -> Array:
        """Elements along an axis; the index is one-dimensional and known beforehand."""
        raise NotImplementedError

    def flip(self, value: Array, axes: Sequence[int]) -> Array:
        raise NotImplementedError

    def full(self, shape: Sequence[int], value: Any, dtype: Dtype) -> Array:
        raise NotImplementedError

    def total(self, value: Array, axes: tuple[int, ...]) -> Array:
        raise NotImplementedError

    def running(self, value: Array, axis: int) -> Array:
        raise NotImplementedError

    def einsum(self, equation: str, left: Array, right: Array) -> Array:
        raise NotImplementedError

    def where(self, mask: Array, value: Array) -> Array:
        """The value where the mask holds, else 0."""
        raise NotImplementedError

    def clip(self, value: Array, high: int) -> Array:
        raise NotImplementedError

    def write(self, flat: Array, at: Array, value: Array, add: bool) -> Array:
        """A flat buffer with values set (or added) at positions."""
        raise NotImplementedError

    def write_slices(self, buffer: Array, index: tuple[Any, ...], value: Array, add: bool) -> Array:
        """A buffer with values set (or added) in slices of positive step."""
        raise NotImplementedError

    # -- running ------------------------------------------------------------------------------
    def _check(self) -> None:
        for step in self.plan.steps:
            if isinstance(step, Elementwise) and step.op != "astype":
                table: Mapping[str, Any] = self.elementwise
            elif isinstance(step, CallStep) and step.op != "item":
                table = self.calls
            else:
                continue
            if step.op not in table:
                raise NotImplementedError(
                    f'{step.op} has no counterpart in the backend "{self.name}"; '
                    'use backend="numpy" for this function'
                )

    def _last_uses(self) -> list[list[int]]:
        last: dict[int, int] = {}
        for number, step in enumerate(self.plan.steps):
            for value in (*step.inputs, step.target):
                last[value] = number
        keep = set(self.plan.outputs)
        frees: list[list[int]] = [[] for _ in self.plan.steps]
        for value, number in last.items():
            if value not in keep:
                frees[number].append(value)
        return frees

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """The plan's results from values of its leaves, NumPy's or the library's."""
        raise NotImplementedError

    def run(self, *values: Array) -> tuple[Array, ...]:
        """All steps, in order."""
        known: dict[int, Array] = dict(zip(self.plan.inputs, values, strict=True))
        for step, free in zip(self.plan.steps, self._frees, strict=True):
            result = self._step(step, known)
            if not isinstance(result, tuple):
                result = self.cast(result, self.plan.values[step.target].dtype)
            known[step.target] = result
            for value in free:
                known.pop(value, None)
        return tuple(known[v] for v in self.plan.outputs)

    def _step(self, step: Step, known: Mapping[int, Array]) -> Any:
        method = getattr(self, "_" + type(step).__name__.lower())
        return method(step, known)

    def _kept(self, step: Step, make: Callable[[], Any], what: str = "") -> Array:
        """A constant of a step, made once."""
        key = (id(step), what)
        if key not in self._constants:
            self._constants[key] = make()
        return self.constant(self._constants[key])

    # -- views --------------------------------------------------------------------------------
    def _view(self, step: View, known: Mapping[int, Array]) -> Array:
        return self._viewed(known[step.inputs[0]], step.ops)

    def _viewed(self, value: Array, ops: Sequence[ViewOp]) -> Array:
        for op in ops:
            if op.name == "transpose":
                value = self.permute(value, op.args)
            elif op.name == "reshape":
                value = value.reshape(tuple(op.args))
            elif op.name == "index":
                value = self._indexed(value, op.args)
            elif op.name == "broadcast":
                value = self.broadcast(value, op.args)
            elif op.name == "diagonal":
                value = self.diagonal(value, *op.args)
            elif op.name == "window":
                value = self._window(value, *op.args)
            elif op.name != "contiguous":
                raise NotImplementedError(f"the view {op.name} in the backend {self.name}")
        return value

    def _indexed(self, value: Array, items: Sequence[Any]) -> Array:
        """Basic indices; steps backward are flips."""
        plain: list[Any] = []
        flips: list[int] = []
        axis = position = 0
        for item in items:
            if item is None:
                plain.append(None)
                position += 1
                continue
            if isinstance(item, slice) and (item.step or 1) < 0:
                run = range(*item.indices(value.shape[axis]))
                item = slice(run[-1], run[0] + 1, -run.step) if len(run) else slice(0, 0)
                flips.append(position)
            plain.append(item)
            axis += 1
            position += isinstance(item, slice)
        value = value[tuple(plain)]
        return self.flip(value, flips) if flips else value

    def _window(
        self, value: Array, axis: int, constant: int, coefs: Sequence[int], counts: Sequence[int]
    ) -> Array:
        """The axis replaced by several: element ``constant + Σ coef·index``."""
        index = np.asarray(constant)
        for coef, count in zip(coefs, counts, strict=True):
            index = index[..., None] + coef * np.arange(count)
        shape = (*value.shape[:axis], *counts, *value.shape[axis + 1 :])
        return self.take(value, index.reshape(-1), axis).reshape(shape)

    # -- indices ------------------------------------------------------------------------------
    def _indexgrid(self, step: IndexGrid, known: Mapping[int, Array]) -> Array:
        if not step.tables:
            form = (step.sub, step.labels, step.extents, step.mask, step.below)
            return self._kept(step, lambda: np.ascontiguousarray(kernels.index_grid(*form, {})))
        tables = {t: known[v] for t, v in zip(step.tables, step.inputs, strict=True)}
        grid = self._subscript(step, step.sub, tables)
        if step.mask:
            grid = grid >= 0
        elif step.below is not None:
            grid = self.clip(grid, step.below - 1)
        return self.broadcast(grid, step.extents)

    def _subscript(self, step: IndexGrid, sub: Sub, tables: Mapping[Node, Array]) -> Array:
        constant, parts = parts_of(sub)
        total: Any = self._kept(step, lambda: np.asarray(0, np.intp), "zero") + constant
        for coef, key in parts:
            total = total + coef * self._key(step, key, tables)
        return total

    def _key(self, step: IndexGrid, key: Key, tables: Mapping[Node, Array]) -> Array:
        if isinstance(key, int):
            axis = step.labels.index(key)
            shape = [1] * len(step.labels)
            shape[axis] = step.extents[axis]
            grid = np.arange(step.extents[axis], dtype=np.intp).reshape(shape)
            return self._kept(step, lambda: grid, str(key))
        if isinstance(key, Mod):
            return self._subscript(step, key.sub, tables) % key.n
        if isinstance(key, Div):
            return self._subscript(step, key.sub, tables) // key.n
        table = tables[key.table]
        index = tuple(
            self.clip(self._subscript(step, s, tables), n - 1)
            for s, n in zip(key.subs, table.shape, strict=True)
        )
        return self.cast(table[index] if index else table, np.dtype(np.intp))

    def _gather(self, step: Gather, known: Mapping[int, Array]) -> Array:
        source, *index = (known[v] for v in step.inputs)
        return source[(..., *index)]

    # -- arithmetic ---------------------------------------------------------------------------
    def _dtype(self, step: Step) -> Dtype:
        return self.plan.values[step.target].dtype

    def _reduce(self, step: Reduce, known: Mapping[int, Array]) -> Array:
        value = known[step.inputs[0]]
        return self.total(value, step.axes) if step.axes else value

    def _cumulate(self, step: Cumulate, known: Mapping[int, Array]) -> Array:
        value = known[step.inputs[0]]
        if not step.reverse:
            return self.running(value, step.axis)
        return self.flip(self.running(self.flip(value, [step.axis]), step.axis), [step.axis])

    def _scale(self, step: Scale, known: Mapping[int, Array]) -> Array:
        return self.cast(known[step.inputs[0]], self._dtype(step)) * step.coef

    def _contract(self, step: Contract, known: Mapping[int, Array]) -> Array:
        symbols = {k: chr(97 + i) for i, k in enumerate(step.extents)}
        left, right, out = (
            "".join(symbols[k] for k in ks) for ks in (step.left, step.right, step.out)
        )
        dtype = self._dtype(step)
        if dtype.kind == "b":
            dtype = np.dtype(np.int64)
        a, b = (self.cast(known[v], dtype) for v in step.inputs)
        result = self.einsum(f"{left},{right}->{out}", a, b)
        return result != 0 if self._dtype(step).kind == "b" else result

    def _select(self, step: Select, known: Mapping[int, Array]) -> Array:
        mask, value = (known[v] for v in step.inputs)
        return self.where(mask, value)

    def _operands(
        self, args: Sequence[Any], known: Mapping[int, Array], dtype: Dtype | None
    ) -> list[Array]:
        """Values and Python scalars as arrays of one dtype."""
        found = []
        for arg in args:
            value = known[arg.value] if isinstance(arg, Ref) else self.constant(np.asarray(arg))
            found.append(value if dtype is None else self.cast(value, dtype))
        return found

    def _elementwise(self, step: Elementwise, known: Mapping[int, Array]) -> Array:
        if step.op == "astype":
            return self._operands(step.args, known, None)[0]
        natural = np.dtype(step.dtype)
        result = OPS[step.op].result
        if result == "select":
            condition = self._operands(step.args[:1], known, np.dtype(bool))
            args = [*condition, *self._operands(step.args[1:], known, natural)]
        elif result in ("bool", "real"):
            args = self._operands(step.args, known, self._common(step, known))
        else:
            args = self._operands(step.args, known, natural)
        found = self.elementwise[step.op](*args, *step.params)
        return self.cast(found, natural)

    def _common(self, step: Elementwise, known: Mapping[int, Array]) -> Dtype:
        """The dtype in which NumPy compares the operands."""
        kinds = [self.plan.values[a.value].dtype if isinstance(a, Ref) else a for a in step.args]
        return np.result_type(*kinds)

    def _combine(self, step: Combine, known: Mapping[int, Array]) -> Array:
        args = self._operands(step.args, known, np.dtype(step.dtype))
        total: Any = None
        for coef, value in zip(step.coefs, args, strict=True):
            if total is None:
                total = value if coef == 1 else -value if coef == -1 else coef * value
            elif coef in (1, -1):
                total = total + value if coef == 1 else total - value
            else:
                total = total + coef * value
        return total

    def _fill(self, step: Fill, known: Mapping[int, Array]) -> Array:
        return self.full(step.shape, step.value, np.dtype(step.dtype))

    # -- writing ------------------------------------------------------------------------------
    def _places(self, shape: Sequence[int], ops: Sequence[ViewOp]) -> Any:
        """The flat positions that a view of a buffer looks at."""
        grid: Any = np.arange(math.prod(shape), dtype=np.intp).reshape(tuple(shape))
        for op in ops:
            if op.name == "transpose":
                grid = grid.transpose(op.args)
            elif op.name == "reshape":
                grid = grid.reshape(op.args)
            elif op.name == "index":
                grid = grid[tuple(op.args)]
            elif op.name == "diagonal":
                grid = kernels.diagonal(grid, *op.args)
            elif op.name == "window":
                grid = kernels.window(grid, *op.args)
            elif op.name == "broadcast":
                grid = np.broadcast_to(grid, op.args)
        return np.ascontiguousarray(grid)

    def _place(self, step: Place, known: Mapping[int, Array]) -> Array:
        buffer, value = (known[v] for v in step.inputs)
        value = self.cast(value, self._dtype(step))
        add = step.add or bool(step.loops)
        if not step.ops:
            value = self.broadcast(value, buffer.shape)
            return buffer + value if add else value
        if len(step.ops) == 1 and step.ops[0].name == "index" and not step.loops:
            items = step.ops[0].args
            if all(
                isinstance(i, int) or (isinstance(i, slice) and (i.step or 1) > 0) for i in items
            ):
                return self.write_slices(buffer, tuple(items), value, add)
        shape = tuple(buffer.shape)
        at = self._kept(step, lambda: self._places(shape, step.ops))
        value = self.broadcast(value, at.shape)
        flat = self.write(buffer.reshape(-1), at.reshape(-1), value.reshape(-1), add)
        return flat.reshape(shape)

    def _scatteradd(self, step: ScatterAdd, known: Mapping[int, Array]) -> Array:
        buffer, value, *index = (known[v] for v in step.inputs)
        value = self.cast(value, self._dtype(step))
        shape = tuple(buffer.shape)
        at = self._kept(step, lambda: self._places(shape, step.ops))
        if index:
            at = at[(..., *index)]
        at = self.broadcast(at, value.shape)
        flat = self.write(buffer.reshape(-1), at.reshape(-1), value.reshape(-1), True)
        return flat.reshape(shape)

    # -- calls --------------------------------------------------------------------------------
    def _callstep(self, step: CallStep, known: Mapping[int, Array]) -> Any:
        if step.op == "item":
            return known[step.inputs[0]][step.index]
        args = [known[v] for v in step.inputs]
        if step.op == "nonzero":
            return self.nonzero(args[0], self._length(step))
        if len(args) > 1 and step.op in ("solve", "solve_triangular", "recurrence"):
            dtype = np.result_type(*(self.plan.values[v].dtype for v in step.inputs))
            args = [self.cast(a, dtype) for a in args]
        return self.calls[step.op](*args, *step.params)

    def _length(self, step: CallStep) -> int:
        """How many elements a call returns, from the step that takes its results apart."""
        for other in self.plan.steps:
            if isinstance(other, CallStep) and other.op == "item" and step.target in other.inputs:
                return int(self.plan.values[other.target].shape[0])
        return 0

    def nonzero(self, mask: Array, count: int) -> tuple[Array, ...]:
        raise NotImplementedError
