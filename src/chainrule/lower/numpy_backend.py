"""The NumPy backend: a plan becomes one flat Python function, whose source can be read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import kernels
from .calls import CALL_KERNELS
from .elementwise import ELEMENTWISE
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

__all__ = ["NumpyProgram"]

_serial = itertools.count()

# Index arrays up to so many elements are kept with the program, larger ones made at each run.
_KEPT_GRID = 1 << 20


class NumpyProgram:
    """A compiled plan: call it with the leaves' values in the order of ``plan.leaves``.

    ``watch`` is called with every step and its value.
    """

    def __init__(self, plan: Plan, watch: Callable[[Step, Any], None] | None = None) -> None:
        self.plan = plan
        writer = _Writer(plan, watch)
        self.source = writer.source
        code = compile(self.source, f"<chainrule program {next(_serial)}>", "exec")
        namespace = writer.namespace
        exec(code, namespace)
        self.function: Callable[..., tuple[Any, ...]] = namespace["program"]

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        return self.function(*values)


class _Writer:
    def __init__(self, plan: Plan, watch: Callable[[Step, Any], None] | None) -> None:
        self.namespace: dict[str, Any] = {"np": np, "k": kernels}
        self.shapes: dict[int, tuple[int, ...]] = {}
        last = self._last_uses(plan)
        keep = set(plan.outputs) | set(plan.inputs)
        args = ", ".join(f"v{i}" for i in plan.inputs)
        lines = [f"def program({args}):"]
        for number, step in enumerate(plan.steps):
            line = self._line(step)
            if line:
                lines.append("    " + line)
            if watch is not None:
                call = f"{self._bind(watch)}({self._bind(step)}, v{step.target})"
                lines.append(f"    {call}")
            dead = [f"v{v}" for v in last.get(number, ()) if v not in keep]
            if dead:
                lines.append(f"    del {', '.join(dead)}")
        results = []
        for value, copied in zip(plan.outputs, plan.copies, strict=True):
            results.append(f"np.array(v{value})[()]" if copied else f"v{value}[()]")
        lines.append(f"    return ({', '.join(results)}{',' if len(results) == 1 else ''})")
        self.source = "\n".join(lines) + "\n"

    @staticmethod
    def _last_uses(plan: Plan) -> dict[int, list[int]]:
        last: dict[int, int] = {}
        for number, step in enumerate(plan.steps):
            for value in (*step.inputs, step.target):
                last[value] = number
        result: dict[int, list[int]] = {}
        for value, number in last.items():
            result.setdefault(number, []).append(value)
        return result

    # -- pieces of source ---------------------------------------------------------------------
    def _const(self, value: Any) -> str:
        if isinstance(value, bool | int):
            return repr(value)
        if isinstance(value, float) and math.isfinite(value):
            return repr(value)
        return self._bind(value)

    def _bind(self, value: Any) -> str:
        name = f"c{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def _arg(self, arg: Any) -> str:
        return f"v{arg.value}" if isinstance(arg, Ref) else self._const(arg)

    def _dtype(self, dtype: str) -> str:
        return f'"{dtype}"'

    def _viewed(self, name: str, ops: Sequence[ViewOp]) -> str:
        for op in ops:
            if op.name == "transpose":
                name = f"{name}.transpose({', '.join(map(str, op.args))})"
            elif op.name == "reshape":
                name = f"{name}.reshape({op.args})"
            elif op.name == "index":
                name = f"{name}[{', '.join(_index(i) for i in op.args)}]"
            elif op.name == "broadcast":
                name = f"np.broadcast_to({name}, {op.args})"
            elif op.name == "diagonal":
                name = f"k.diagonal({name}, {op.args[0]}, {op.args[1]})"
            elif op.name == "contiguous":
                name = f"np.ascontiguousarray({name})"
            else:
                assert op.name == "window", op
                name = f"k.window({name}, {', '.join(map(repr, op.args))})"
        return name

    # -- steps --------------------------------------------------------------------------------
    def _line(self, step: Step) -> str:
        method = getattr(self, "_" + type(step).__name__.lower())
        text: str = method(step)
        return text

    def _view(self, step: View) -> str:
        return f"v{step.target} = {self._viewed(f'v{step.inputs[0]}', step.ops)}"

    def _fill(self, step: Fill) -> str:
        if step.shape == ():
            scalar = np.dtype(step.dtype).type(step.value)
            return f"v{step.target} = {self._bind(np.array(scalar))}.copy()"
        if step.value == 0:
            return f"v{step.target} = np.zeros({step.shape}, {self._dtype(step.dtype)})"
        value = self._const(step.value)
        return f"v{step.target} = np.full({step.shape}, {value}, {self._dtype(step.dtype)})"

    def _indexgrid(self, step: IndexGrid) -> str:
        tables = dict(zip(step.tables, step.inputs, strict=True))
        form = (step.labels, step.extents, step.mask, step.below)
        if not tables and math.prod(step.extents) <= _KEPT_GRID:
            return f"v{step.target} = {self._bind(kernels.index_grid(step.sub, *form, {}))}"
        values = ", ".join(f"{self._bind(t)}: v{v}" for t, v in tables.items())
        arguments = ", ".join(map(repr, form))
        return f"v{step.target} = k.index_grid({self._bind(step.sub)}, {arguments}, {{{values}}})"

    def _gather(self, step: Gather) -> str:
        index = ", ".join(f"v{i}" for i in step.inputs[1:])
        return f"v{step.target} = v{step.inputs[0]}[..., {index}]"

    def _reduce(self, step: Reduce) -> str:
        dtype = self._dtype(step.dtype)
        return f"v{step.target} = np.add.reduce(v{step.inputs[0]}, {step.axes}, {dtype})"

    def _cumulate(self, step: Cumulate) -> str:
        source = f"v{step.inputs[0]}"
        along = f"{step.axis}, {self._dtype(step.dtype)}"
        if step.reverse:
            flip = ", ".join([":"] * step.axis + ["::-1"])
            return f"v{step.target} = np.add.accumulate({source}[{flip}], {along})[{flip}]"
        return f"v{step.target} = np.add.accumulate({source}, {along})"

    def _scale(self, step: Scale) -> str:
        source = f"v{step.inputs[0]}"
        if step.coef == -1:
            return f"v{step.target} = np.negative({source})"
        return f"v{step.target} = np.multiply({source}, {self._const(step.coef)})"

    def _select(self, step: Select) -> str:
        mask, value = step.inputs
        return f"v{step.target} = np.where(v{mask}, v{value}, 0)"

    def _elementwise(self, step: Elementwise) -> str:
        args = ", ".join(self._arg(a) for a in step.args)
        if step.op == "astype":
            return f"v{step.target} = np.asarray({args}).astype({self._dtype(step.dtype)})"
        function = ELEMENTWISE[step.op]
        if step.params:
            text = f"{self._bind(function)}({args}, {', '.join(map(repr, step.params))})"
            return f"v{step.target} = np.asarray({text}, {self._dtype(step.dtype)})"
        if getattr(np, step.op, None) is function:
            return f"v{step.target} = np.{step.op}({args})"
        self.namespace[step.op] = function
        return f"v{step.target} = np.asarray({step.op}({args}), {self._dtype(step.dtype)})"

    def _combine(self, step: Combine) -> str:
        text = ""
        lines = []
        for number, (coef, arg) in enumerate(zip(step.coefs, step.args, strict=True)):
            if number and number % 16 == 0:  # a long sum takes several statements
                lines.append(f"v{step.target} = {text}")
                text = f"v{step.target}"
            value = self._arg(arg)
            if not text:
                if coef == -1:
                    text = f"np.negative({value})"
                elif coef == 1:
                    text = value
                else:
                    text = f"np.multiply({value}, {self._const(coef)})"
            elif coef == 1:
                text = f"np.add({text}, {value})"
            elif coef == -1:
                text = f"np.subtract({text}, {value})"
            else:
                text = f"np.add({text}, np.multiply({value}, {self._const(coef)}))"
        if len(step.args) == 1 and step.coefs[0] == 1:
            text = f"np.array({text})"
        return "\n    ".join([*lines, f"v{step.target} = {text}"])

    def _place(self, step: Place) -> str:
        buffer, value = step.inputs
        target = self._viewed(f"v{buffer}", step.ops)
        if step.loops:
            return f"k.overlap_add({target}, v{value}, {step.loops})"
        if target.endswith("]"):
            return f"{target} {'+=' if step.add else '='} v{value}"
        return f"{target}[...] {'+=' if step.add else '='} v{value}"

    def _scatteradd(self, step: ScatterAdd) -> str:
        buffer, value, *index = step.inputs
        target = self._viewed(f"v{buffer}", step.ops)
        grids = "".join(f"v{i}, " for i in index)
        return f"k.scatter_add({target}, ({grids}), v{value}, {step.lead})"

    def _callstep(self, step: CallStep) -> str:
        if step.op == "item":
            return f"v{step.target} = v{step.inputs[0]}[{step.index}]"
        function = self._bind(CALL_KERNELS[step.op])
        args = ", ".join(f"v{i}" for i in step.inputs)
        params = "".join(
            f", {p!r}" if isinstance(p, bool | int | str) else f", {self._bind(p)}"
            for p in step.params
        )
        return f"v{step.target} = {function}({args}{params})"

    def _contract(self, step: Contract) -> str:
        return f"v{step.target} = {_product_source(step)}"


def _index(item: Any) -> str:
    if item is None:
        return "None"
    if isinstance(item, slice):
        text = f"{'' if item.start in (None, 0) and not (item.step or 1) < 0 else item.start}:"
        text += "" if item.stop is None else str(item.stop)
        return text + ("" if item.step in (None, 1) else f":{item.step}")
    return str(item)


def _product_source(step: Contract) -> str:
    """A contraction of two values as ``np.matmul`` over views, or einsum where that would copy."""
    left, right, out = step.left, step.right, step.out
    extents = step.extents
    summed = [k for k in left if k in right and k not in out]
    batch = [k for k in out if k in left and k in right]
    free_l = [k for k in out if k in left and k not in right]
    free_r = [k for k in out if k in right and k not in left]
    a, b = f"v{step.inputs[0]}", f"v{step.inputs[1]}"
    if (batch and not free_l and not free_r) or (batch and len(summed) != 1):
        return _einsum_source(step, a, b)
    if out and free_l and free_r and out[-1] in free_l:
        a, b, left, right, free_l, free_r = b, a, right, left, free_r, free_l
        summed = [k for k in left if k in summed]
    if not free_l and not free_r:
        return f"np.dot({_flat(a, left, summed, extents)}, {_flat(b, right, summed, extents)})"
    if not free_l and not batch:
        x = _flat(a, left, summed, extents)
    else:
        x = _matrix(a, left, batch, free_l, summed, extents)
    if not free_r and not batch:
        y = _flat(b, right, summed, extents)
    else:
        y = _matrix(b, right, batch, summed, free_r, extents)
    text = f"np.matmul({x}, {y})"
    natural = [*batch, *free_l, *free_r]
    shape = tuple(extents[k] for k in natural)
    result_shape = [e for e in (*(extents[k] for k in batch),)]
    if free_l or batch:
        result_shape.append(math.prod(extents[k] for k in free_l))
    if free_r or batch:
        result_shape.append(math.prod(extents[k] for k in free_r))
    if tuple(result_shape) != shape:
        text = f"{text}.reshape({shape})"
    if natural != list(out):
        text = f"{text}.transpose({', '.join(str(natural.index(k)) for k in out)})"
    return text


def _matrix(
    name: str,
    labels: Sequence[int],
    batch: list[int],
    rows: list[int],
    columns: list[int],
    extents: dict[int, int],
) -> str:
    """Source of an array of shape (batch…, rows, columns), transposed last where that copies less.

    Where a copy is needed anyway, its innermost loop should be long, and along the last axis.
    """

    def score(last: list[int]) -> int:
        return extents[last[-1]] * (8 if last[-1] == labels[-1] else 1) if last else 0

    upright, turned = [*batch, *rows, *columns], [*batch, *columns, *rows]
    if list(labels) != upright and (list(labels) == turned or score(rows) > score(columns)):
        shape = _joined([batch, columns, rows], extents)
        text = _arranged(name, labels, turned, shape, extents)
        axes = (*range(len(batch)), len(batch) + 1, len(batch))
        return f"{text}.transpose({', '.join(map(str, axes))})" if batch else f"{text}.T"
    return _arranged(name, labels, upright, _joined([batch, rows, columns], extents), extents)


def _joined(groups: list[list[int]], extents: dict[int, int]) -> tuple[int, ...]:
    batch, first, second = groups
    return (
        *(extents[k] for k in batch),
        math.prod(extents[k] for k in first),
        math.prod(extents[k] for k in second),
    )


def _arranged(
    name: str,
    labels: Sequence[int],
    target: Sequence[int],
    shape: tuple[int, ...],
    extents: dict[int, int],
) -> str:
    if list(labels) != list(target):
        if len(labels) == 2:
            name = f"{name}.T"
        else:
            name = f"{name}.transpose({', '.join(str(list(labels).index(k)) for k in target)})"
    if tuple(extents[k] for k in target) != shape:
        name = f"{name}.reshape({shape})"
    return name


def _flat(name: str, labels: Sequence[int], target: Sequence[int], extents: dict[int, int]) -> str:
    return _arranged(name, labels, target, (math.prod(extents[k] for k in target),), extents)


def _einsum_source(step: Contract, a: str, b: str) -> str:
    symbols = {k: chr(97 + i) for i, k in enumerate(step.extents)}
    left, right, out = ("".join(symbols[k] for k in ks) for ks in (step.left, step.right, step.out))
    return f'np.einsum("{left},{right}->{out}", {a}, {b})'
