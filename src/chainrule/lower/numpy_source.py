"""Single steps of a plan as Python source over NumPy."""

from __future__ import annotations

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

__all__ = ["Names", "StepSource", "product_layout", "rearranged", "takes_out"]

# Index arrays up to so many elements are kept with the program, larger ones made at each run.
_KEPT_GRID = 1 << 20
# Elements of a product up to which np.dot takes less time than np.matmul.
_SMALL_PRODUCT = 1 << 14
# Elements with operators: on NumPy's scalars they cost a tenth of a ufunc and round as it does.
_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


class Names:
    """The globals of a program under construction, and names that are not taken yet."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {"np": np, "k": kernels}
        self._scopes = 0

    def bind(self, value: Any) -> str:
        """The name of a constant."""
        name = f"c{len(self.bound)}"
        self.bound[name] = value
        return name

    def prefix(self) -> str:
        """What the values of one more plan are called by, before their number."""
        self._scopes += 1
        return "v" if self._scopes == 1 else f"v{self._scopes}_"


def takes_out(plan: Plan, step: Step) -> bool:
    """Whether the result can be written into a buffer in C order that is there already."""
    value = plan.values[step.target]
    if not value.shape or not all(value.shape):
        return False
    if isinstance(step, Elementwise):
        return isinstance(ELEMENTWISE.get(step.op), np.ufunc) and not step.params
    if isinstance(step, Contract):
        return value.dtype.kind in "fc" and all(
            plan.values[i].dtype == value.dtype for i in step.inputs
        )
    if isinstance(step, Combine):
        return any(isinstance(a, Ref) for a in step.args)
    return isinstance(step, Scale | Reduce)


class StepSource:
    """Source of the steps of one plan; value ``n`` is the variable ``prefix + n``."""

    def __init__(self, plan: Plan, names: Names) -> None:
        self.plan = plan
        self.names = names
        self.prefix = names.prefix()
        self.weak = set(plan.inputs)  # values that may be Python's numbers
        self.nested: dict[int, str] = {}  # values that stand where they are used

    def name(self, value: int) -> str:
        """The variable of a value, or what stands in its place."""
        text = self.nested.get(value)
        return f"{self.prefix}{value}" if text is None else text

    def lines(self, step: Step, out: str | None = None) -> list[str]:
        """Statements; with ``out`` the result goes into that buffer and no variable is bound.

        Only for steps that :func:`takes_out` allows; a contraction's buffer has the shape of
        :func:`product_layout`.
        """
        method: Callable[..., str | list[str]] = getattr(self, "_" + type(step).__name__.lower())
        text = method(step, out) if out is not None else method(step)
        if isinstance(text, list):
            return text
        if out is not None:
            return [text]
        return [f"{self.name(step.target)} = {text}"]

    # -- pieces of source ---------------------------------------------------------------------
    def _const(self, value: Any) -> str:
        if isinstance(value, bool | int):
            return repr(value)
        if isinstance(value, float) and math.isfinite(value):
            return repr(value)
        return self.names.bind(value)

    def _arg(self, arg: Any) -> str:
        return self.name(arg.value) if isinstance(arg, Ref) else self._const(arg)

    def _scalar(self, step: Step, args: Sequence[Any]) -> bool:
        """Whether operands and result are single real numbers of one dtype, NumPy's own."""
        values = self.plan.values
        target = values[step.target]
        numbers = {a.value for a in args if isinstance(a, Ref)}
        found = [values[n] for n in numbers]
        return (
            target.shape == ()
            and target.dtype.kind == "f"
            and not numbers <= self.weak
            and all(v.shape == () and v.dtype == target.dtype for v in found)
        )

    def viewed(self, name: str, ops: Sequence[ViewOp]) -> str:
        """A value under rearrangements."""
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
    def _view(self, step: View) -> str:
        return self.viewed(self.name(step.inputs[0]), step.ops)

    def _fill(self, step: Fill) -> str:
        if step.shape == ():
            scalar = np.dtype(step.dtype).type(step.value)
            return f"{self.names.bind(np.array(scalar))}.copy()"
        if step.value == 0:
            return f"np.zeros({step.shape}, {_dtype(step.dtype)})"
        return f"np.full({step.shape}, {self._const(step.value)}, {_dtype(step.dtype)})"

    def _indexgrid(self, step: IndexGrid) -> str:
        tables = dict(zip(step.tables, step.inputs, strict=True))
        form = (step.labels, step.extents, step.mask, step.below)
        if not tables and math.prod(step.extents) <= _KEPT_GRID:
            return self.names.bind(kernels.index_grid(step.sub, *form, {}))
        values = ", ".join(f"{self.names.bind(t)}: {self.name(v)}" for t, v in tables.items())
        arguments = ", ".join(map(repr, form))
        return f"k.index_grid({self.names.bind(step.sub)}, {arguments}, {{{values}}})"

    def _gather(self, step: Gather) -> str:
        index = ", ".join(self.name(i) for i in step.inputs[1:])
        return f"{self.name(step.inputs[0])}[..., {index}]"

    def _reduce(self, step: Reduce, out: str | None = None) -> str:
        source = self.name(step.inputs[0])
        return f"np.add.reduce({source}, {step.axes}, {_dtype(step.dtype)}{_into(out)})"

    def _cumulate(self, step: Cumulate) -> str:
        source = self.name(step.inputs[0])
        along = f"{step.axis}, {_dtype(step.dtype)}"
        if step.reverse:
            flip = ", ".join([":"] * step.axis + ["::-1"])
            return f"np.add.accumulate({source}[{flip}], {along})[{flip}]"
        return f"np.add.accumulate({source}, {along})"

    def _scale(self, step: Scale, out: str | None = None) -> str:
        source = self.name(step.inputs[0])
        if step.coef == -1:
            return f"np.negative({source}{_into(out)})"
        coef = self._const(step.coef)
        if self._scalar(step, [Ref(step.inputs[0])]):
            return f"{source} * {coef}"
        return f"np.multiply({source}, {coef}{_into(out)})"

    def _select(self, step: Select) -> str:
        mask, value = step.inputs
        return f"np.where({self.name(mask)}, {self.name(value)}, 0)"

    def _elementwise(self, step: Elementwise, out: str | None = None) -> str:
        args = ", ".join(self._arg(a) for a in step.args)
        if step.op == "astype":
            return f"np.asarray({args}).astype({_dtype(step.dtype)})"
        function = ELEMENTWISE[step.op]
        if step.params:
            text = f"{self.names.bind(function)}({args}, {', '.join(map(repr, step.params))})"
            return f"np.asarray({text}, {_dtype(step.dtype)})"
        if step.op in _OPERATORS and self._scalar(step, step.args):
            first, second = (self._arg(a) for a in step.args)
            return f"{first} {_OPERATORS[step.op]} {second}"
        if getattr(np, step.op, None) is function:
            named = step.op in ("maximum", "minimum")  # NumPy wants it so
            into = f", out={out}" if named and out is not None else _into(out)
            return f"np.{step.op}({args}{into})"
        self.names.bound[step.op] = function
        if out is not None:
            return f"{step.op}({args}, {out})"
        return f"np.asarray({step.op}({args}), {_dtype(step.dtype)})"

    def _combine(self, step: Combine, out: str | None = None) -> list[str]:
        """From left to right; a long sum takes several statements."""
        target = self.name(step.target)
        operators = self._scalar(step, step.args)
        whole = False  # whether the sum so far has the shape and dtype of the result
        text = ""
        lines = []
        for number, (coef, arg) in enumerate(zip(step.coefs, step.args, strict=True)):
            if number and number % 16 == 0:
                lines.append(text if out is not None else f"{target} = {text}")
                text = target if out is None else out
            value = self._arg(arg)
            whole = whole or isinstance(arg, Ref)
            into = _into(out) if whole else ""
            if coef not in (1, -1):
                scaled = self._const(coef)
                mine = into if not text else ""
                value = (
                    f"{value} * {scaled}" if operators else f"np.multiply({value}, {scaled}{mine})"
                )
            if not text:
                text = f"np.negative({value}{into})" if coef == -1 else value
            elif operators:
                text = f"({text}) {'-' if coef == -1 else '+'} {value}"
            else:
                text = f"np.{'subtract' if coef == -1 else 'add'}({text}, {value}{into})"
        if len(step.args) == 1 and step.coefs[0] == 1:
            text = f"np.array({text})" if out is None else f"np.copyto({out}, {text})"
        return [*lines, text if out is not None else f"{target} = {text}"]

    def _place(self, step: Place) -> list[str]:
        buffer, value = map(self.name, step.inputs)
        target = self.viewed(buffer, step.ops)
        if step.loops:
            return [f"k.overlap_add({target}, {value}, {step.loops})"]
        whole = "" if target.endswith("]") else "[...]"
        return [f"{target}{whole} {'+=' if step.add else '='} {value}"]

    def _scatteradd(self, step: ScatterAdd) -> list[str]:
        buffer, value, *index = map(self.name, step.inputs)
        target = self.viewed(buffer, step.ops)
        grids = "".join(f"{i}, " for i in index)
        return [f"k.scatter_add({target}, ({grids}), {value}, {step.lead})"]

    def _callstep(self, step: CallStep) -> str | list[str]:
        if step.op == "item":
            return f"{self.name(step.inputs[0])}[{step.index}]"
        function = self.names.bind(CALL_KERNELS[step.op])
        args = ", ".join(map(self.name, step.inputs))
        params = "".join(
            f", {p!r}" if isinstance(p, bool | int | str) else f", {self.names.bind(p)}"
            for p in step.params
        )
        return f"{function}({args}{params})"

    def _contract(self, step: Contract, out: str | None = None) -> str:
        a, b = map(self.name, step.inputs)
        return _product_source(step, a, b, self.plan.values[step.target].dtype.kind in "fc", out)


def _dtype(dtype: str) -> str:
    return f'"{dtype}"'


def _into(out: str | None) -> str:
    return "" if out is None else f", {out}"


def _index(item: Any) -> str:
    if item is None:
        return "None"
    if isinstance(item, slice):
        text = f"{'' if item.start in (None, 0) and not (item.step or 1) < 0 else item.start}:"
        text += "" if item.stop is None else str(item.stop)
        return text + ("" if item.step in (None, 1) else f":{item.step}")
    return str(item)


def _grouped(step: Contract) -> tuple[list[int], list[int], list[int], list[int]]:
    """The labels of a contraction: batch, of the left alone, of the right alone, summed."""
    left, right, out = step.left, step.right, step.out
    batch = [k for k in out if k in left and k in right]
    free_l = [k for k in out if k in left and k not in right]
    free_r = [k for k in out if k in right and k not in left]
    return batch, free_l, free_r, [k for k in left if k in right and k not in out]


def _by_einsum(step: Contract) -> bool:
    batch, free_l, free_r, summed = _grouped(step)
    return bool(batch) and (not (free_l or free_r) or len(summed) != 1)


def _turned(step: Contract) -> bool:
    """Whether the right operand comes first."""
    _, free_l, free_r, _ = _grouped(step)
    return bool(free_l and free_r and step.out[-1] in free_l)


def product_layout(step: Contract) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """What a contraction computes: its shape, the shape with axes apart, axes in the result."""
    extents = step.extents
    if _by_einsum(step):
        shape = tuple(extents[k] for k in step.out)
        return shape, shape, tuple(range(len(shape)))
    batch, free_l, free_r, _ = _grouped(step)
    if _turned(step):
        free_l, free_r = free_r, free_l
    natural = [*batch, *free_l, *free_r]
    computed = [extents[k] for k in batch]
    if free_l or batch:
        computed.append(math.prod(extents[k] for k in free_l))
    if free_r or batch:
        computed.append(math.prod(extents[k] for k in free_r))
    apart = tuple(extents[k] for k in natural)
    return tuple(computed), apart, tuple(natural.index(k) for k in step.out)


def rearranged(step: Contract, text: str) -> str:
    """What a contraction computes as its result."""
    computed, apart, axes = product_layout(step)
    if computed != apart:
        text = f"{text}.reshape({apart})"
    if axes != tuple(range(len(axes))):
        text = f"{text}.transpose({', '.join(map(str, axes))})"
    return text


def _product_source(step: Contract, a: str, b: str, inexact: bool, out: str | None) -> str:
    """A contraction of two values as ``np.matmul`` over views, or einsum where that would copy."""
    if _by_einsum(step):
        return _einsum_source(step, a, b, out)
    left, right, extents = step.left, step.right, step.extents
    batch, free_l, free_r, summed = _grouped(step)
    if _turned(step):
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
    # the same BLAS routines with less ado, but the result is filled with zeros before
    size = math.prod(extents[k] for k in (*free_l, *free_r))
    function = "np.matmul" if batch or not inexact or size > _SMALL_PRODUCT else "np.dot"
    text = f"{function}({x}, {y}{_into(out)})"
    return rearranged(step, text) if out is None else text


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


def _einsum_source(step: Contract, a: str, b: str, out: str | None) -> str:
    symbols = {k: chr(97 + i) for i, k in enumerate(step.extents)}
    left, right, into = (
        "".join(symbols[k] for k in ks) for ks in (step.left, step.right, step.out)
    )
    given = "" if out is None else f", out={out}"
    return f'np.einsum("{left},{right}->{into}", {a}, {b}{given})'
