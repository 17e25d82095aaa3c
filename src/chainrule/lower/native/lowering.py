"""Steps of a plan to loop nests and products over buffers.

Steps with the same loops share a nest where what they read is ready: then a value goes from step to
step in a register, and is stored only if somebody else reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ...expr.calls import BODIED
from ..calls import CALL_KERNELS
from ..elementwise import ELEMENTWISE
from ..steps import (
    CallStep,
    Combine,
    Cumulate,
    Elementwise,
    Fill,
    Gather,
    Place,
    Plan,
    Reduce,
    Ref,
    Scale,
    Select,
    Step,
    View,
    ViewOp,
)
from .assembly import converted
from .blocks import Region
from .bodies import Bodies
from .callback import Callback
from .contraction import Contractions
from .fusion import Item
from .indices import Indices
from .layout import (
    DTYPES,
    NARROW,
    Array,
    Buffer,
    Unsupported,
    contiguous_strides,
    kind_of,
    stored_kind,
)
from .nest import Apply, Constant, How, Load, Nest, Store
from .scalar import COMPARISONS, LOGICAL, has_form

__all__ = ["Item", "Lowered", "lower"]

#: Native code takes a millisecond a step to make: longer programs stay on NumPy.
MOST_STEPS = 30_000

# grids up to so many elements become constants of the program
_KEPT_GRID = 1 << 20


class Lowered:
    """What remains to be written as code: items in order, over buffers."""

    def __init__(self, inputs: list[Array], outputs: list[Array], items: list[Item]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.items = items

    @property
    def buffers(self) -> list[Buffer]:
        """All buffers, in order of first appearance."""
        found: dict[Buffer, None] = {}
        for array in (*self.inputs, *self.outputs):
            found[array.buffer] = None
        for item in self.items:
            for access in item.accesses:
                found[access.buffer] = None
            if isinstance(item, Region):
                found.update(dict.fromkeys(item.inside))
        return list(found)


def lower(plan: Plan, bodies: bool = True, given: Iterable[int] = ()) -> Lowered:
    """The nests and products of a plan; Unsupported names the first step without native form.

    Without ``bodies`` NumPy runs programs inside of the plan.  ``given``: outputs that an argument
    may give its memory for.
    """
    lowering = _Lowering(plan)
    lowering.bodies = bodies
    return lowering.run(given)


class _Lowering(Indices, Contractions, Bodies):
    """One method a kind of step."""

    def run(self, given: Iterable[int]) -> Lowered:
        plan = self.plan
        inputs = []
        for leaf, value in zip(plan.leaves, plan.inputs, strict=True):
            if leaf.size == 0:
                raise Unsupported("empty arrays")
            buffer = Buffer(stored_kind(leaf.dtype), leaf.size, "input")
            self.arrays[value] = Array(buffer, leaf.shape, contiguous_strides(leaf.shape))
            inputs.append(self.arrays[value])
        self._steps()
        outputs = self._outputs("output")
        self.given.update(outputs[k].buffer for k in given)
        return Lowered(inputs, outputs, self._finished())

    def _steps(self) -> None:
        if len(self.plan.steps) > MOST_STEPS:
            raise Unsupported(
                f"a program of {len(self.plan.steps)} steps (the most is {MOST_STEPS})"
            )
        for step in self.plan.steps:
            dtype = self.plan.values[step.target].dtype
            if dtype.str in NARROW and not isinstance(step, View | Gather):
                raise Unsupported(f"dtype {dtype}")  # arithmetic that wraps around
            method: Callable[[Any], None] = getattr(
                self, "_" + type(step).__name__.lower(), self._no
            )
            method(step)

    def _no(self, step: Step) -> None:
        raise Unsupported(type(step).__name__)

    # -- elementwise --------------------------------------------------------------------------
    def _operands(
        self, args: Sequence[Any], kinds: Sequence[str]
    ) -> tuple[list[Array], Callable[[Nest, list[int]], list[int]]]:
        """Arrays among the arguments, and how nodes of all arguments follow from theirs."""
        arrays = [self.arrays[a.value] for a in args if isinstance(a, Ref)]

        def nodes(nest: Nest, loaded: list[int]) -> list[int]:
            stream = iter(zip(arrays, loaded, strict=True))
            made = []
            for arg, kind in zip(args, kinds, strict=True):
                if not isinstance(arg, Ref):
                    if isinstance(arg, complex):
                        raise Unsupported("complex numbers")
                    made.append(nest.add(Constant(arg, kind)))
                    continue
                array, node = next(stream)
                made.append(converted(nest, node, array.kind, kind))
            return made

        return arrays, nodes

    def _common(self, args: Sequence[Any]) -> str:
        """The kind in which NumPy would compare or combine arguments."""
        dtypes = [DTYPES[self.arrays[a.value].kind] if isinstance(a, Ref) else a for a in args]
        return kind_of(np.result_type(*dtypes))

    def _elementwise(self, step: Elementwise) -> None:
        op, args = step.op, step.args
        kind = kind_of(step.dtype)
        if op == "astype":
            kinds = [kind]
        elif op in COMPARISONS:
            kinds = [self._common(args)] * 2
        elif op in LOGICAL:
            kinds = ["i1"] * len(args)
        elif op == "where":
            kinds = ["i1", kind, kind]
        elif kind == "i1" and op != "multiply":
            kinds = [self._common(args)] * len(args)
        else:
            kinds = [kind] * len(args)
        if (step.params and op != "astype") or not has_form(op, kinds[-1]):
            self._ufunc(step)
            return
        arrays, nodes = self._operands(args, kinds)
        shape = np.broadcast_shapes(*(a.shape for a in arrays))

        def compute(nest: Nest, loaded: list[int]) -> int:
            made = nodes(nest, loaded)
            if op == "astype":
                return made[0]
            if op == "power" and args[1] == 2:
                return nest.add(Apply("square", (made[0],), kind))
            return nest.add(Apply(op, tuple(made), kind))

        self.arrays[step.target] = self._pointwise(shape, kind, arrays, compute)

    def _ufunc(self, step: Elementwise) -> None:
        """An elementwise function that NumPy or SciPy runs."""
        function = ELEMENTWISE[step.op]
        given = step.args

        def kernel(*arrays: Any) -> tuple[Any]:
            stream = iter(arrays)
            values = [next(stream) if isinstance(a, Ref) else a for a in given]
            with np.errstate(all="ignore"):
                return (function(*values, *step.params),)

        item = self._called(kernel, [self.arrays[a.value] for a in given if isinstance(a, Ref)])
        self.arrays[step.target] = self._result(item, 0, step.target)

    def _combine(self, step: Combine) -> None:
        kind = kind_of(step.dtype)
        if kind == "i1":
            raise Unsupported("sums of booleans")
        arrays, nodes = self._operands(step.args, [kind] * len(step.args))
        shape = np.broadcast_shapes(*(a.shape for a in arrays))

        def compute(nest: Nest, loaded: list[int]) -> int:
            total: int | None = None
            for coef, node in zip(step.coefs, nodes(nest, loaded), strict=True):
                if coef == -1 and total is not None:
                    total = nest.add(Apply("subtract", (total, node), kind))
                    continue
                part = _scaled(nest, node, coef, kind)
                total = part if total is None else nest.add(Apply("add", (total, part), kind))
            assert total is not None
            return total

        self.arrays[step.target] = self._pointwise(shape, kind, arrays, compute)

    def _scale(self, step: Scale) -> None:
        array = self.arrays[step.inputs[0]]
        kind = kind_of(np.result_type(DTYPES[array.kind], step.coef))

        def compute(nest: Nest, loaded: list[int]) -> int:
            return _scaled(nest, converted(nest, loaded[0], array.kind, kind), step.coef, kind)

        self.arrays[step.target] = self._pointwise(array.shape, kind, [array], compute)

    def _select(self, step: Select) -> None:
        mask, value = (self.arrays[i] for i in step.inputs)
        shape = np.broadcast_shapes(mask.shape, value.shape)

        def compute(nest: Nest, loaded: list[int]) -> int:
            zero = nest.add(Constant(0, value.kind))
            return nest.add(Apply("where", (loaded[0], loaded[1], zero), value.kind))

        self.arrays[step.target] = self._pointwise(shape, value.kind, [mask, value], compute)

    # -- rearranging --------------------------------------------------------------------------
    def _view(self, step: View) -> None:
        self.arrays[step.target] = self._viewed(self.arrays[step.inputs[0]], step.ops)

    def _fill(self, step: Fill) -> None:
        kind = kind_of(step.dtype)
        if isinstance(step.value, complex):
            raise Unsupported("complex numbers")
        target = self._fresh(step.shape, kind)
        number = self._append(Nest(tuple(e for e in step.shape if e != 1)))
        nest = self.items[number]
        assert isinstance(nest, Nest)
        self._store(number, nest.add(Constant(step.value, kind)), target, step.shape)
        self.arrays[step.target] = target

    def _place(self, step: Place) -> None:
        buffer, value = (self.arrays[i] for i in step.inputs)
        view = self._viewed(buffer, step.ops, copies=False)
        surplus = len(value.shape) - len(view.shape)  # axes of extent 1 in front
        if surplus > 0:
            value = self._viewed(value, [ViewOp("index", (0,) * surplus)])
        value = value.broadcast(view.shape)
        if step.loops:  # elements coincide along these axes: they come first, one after the other
            rest = [i for i in range(len(view.shape)) if i not in step.loops]
            turn = [ViewOp("transpose", (*step.loops, *rest))]
            view, value = self._viewed(view, turn), self._viewed(value, turn)
        number = self._append(Nest(tuple(e for e in view.shape if e != 1)))
        nest = self.items[number]
        assert isinstance(nest, Nest)
        nest.serial = bool(step.loops)
        nest.inner = any(e != 1 for e in view.shape[len(step.loops) :])
        node = converted(nest, self._load(number, value, view.shape), value.kind, view.kind)
        if step.add:
            old = nest.add(Load(view.access(view.shape), view.kind))
            node = nest.add(Apply("add", (old, node), view.kind))
        self._changed(number, buffer)
        nest.sinks.append(Store(node, view.access(view.shape)))
        self.arrays[step.target] = buffer

    # -- sums and calls -----------------------------------------------------------------------
    def _reduce(self, step: Reduce) -> None:
        array = self.arrays[step.inputs[0]]
        if array.kind == "i1" or kind_of(step.dtype) != array.kind:
            raise Unsupported("sums in another dtype")
        self.arrays[step.target] = self._fold(array, step.axes, "sum")

    def _cumulate(self, step: Cumulate) -> None:
        """The first row, then each from the one before."""
        array, axis = self.arrays[step.inputs[0]], step.axis
        target = self._fresh(array.shape, kind_of(step.dtype))
        order = (axis, *(i for i in range(len(array.shape)) if i != axis))
        source, into = (
            self._viewed(a, [ViewOp("transpose", order)], copies=False) for a in (array, target)
        )
        if step.reverse:
            turn = [ViewOp("index", (slice(None, None, -1),))]
            source, into = (self._viewed(a, turn, copies=False) for a in (source, into))

        def rows(a: Array, start: int, stop: int) -> Array:
            return self._viewed(a, [ViewOp("index", (slice(start, stop),))], copies=False)

        n = into.shape[0]
        for start in range(min(n, 2)):
            wanted = rows(into, start, n if start else 1)
            number = self._append(Nest(tuple(e for e in wanted.shape if e != 1)))
            nest = self.items[number]
            assert isinstance(nest, Nest)
            nest.serial = bool(start)
            nest.inner = any(e != 1 for e in wanted.shape[1:])
            one = self._load(number, rows(source, start, n if start else 1), wanted.shape)
            node = converted(nest, one, array.kind, target.kind)
            if start:
                before = rows(into, 0, n - 1).access(wanted.shape)
                node = nest.add(
                    Apply("add", (nest.add(Load(before, target.kind)), node), target.kind)
                )
            self._changed(number, target)
            nest.sinks.append(Store(node, wanted.access(wanted.shape)))
        self.arrays[step.target] = target

    def _called(self, kernel: Callable[..., Sequence[Any]], arrays: Sequence[Array]) -> Callback:
        """A function of NumPy's that is called back."""
        # arrays of the program's own memory: arguments lie elsewhere at every call
        own = [a if a.buffer.role == "temp" else self._copy(a) for a in arrays]
        item = Callback(kernel, own)
        self._append(item)
        self.read.update(a.buffer for a in own)
        self.pinned.update(a.buffer for a in own)
        return item

    def _result(self, item: Callback, index: int, target: int) -> Array:
        """A result of what is called back."""
        found = item.outputs.get(index)
        if found is None:
            value = self.plan.values[target]
            found = item.outputs[index] = self._fresh(value.shape, kind_of(value.dtype))
            self.pinned.add(found.buffer)
            self.written[found.buffer] = self.items.index(item)
        return found

    def _callstep(self, step: CallStep) -> None:
        if step.op == "item":
            self._item(step)
            return
        arrays = [self.arrays[i] for i in step.inputs]
        if step.op in ("amax", "amin") and arrays[0].kind != "i1":
            rank = len(arrays[0].shape)
            how: How = "max" if step.op == "amax" else "min"
            folded = self._fold(arrays[0], range(rank - step.params[0], rank), how)
            self.calls[step.target] = {0: folded}
            return
        if step.op in BODIED and self.bodies:
            with suppress(Unsupported):  # NumPy runs it
                self.calls[step.target] = self._bodied(step)
                return
        kernel, params = CALL_KERNELS[step.op], step.params
        self.calls[step.target] = self._called(lambda *args: kernel(*args, *params), arrays)

    def _item(self, step: CallStep) -> None:
        """One result of a call."""
        made = self.calls[step.inputs[0]]
        if isinstance(made, dict):
            self.arrays[step.target] = made[step.index]
            return
        self.arrays[step.target] = self._result(made, step.index, step.target)

    # -- results ------------------------------------------------------------------------------
    def _outputs(self, role: str) -> list[Array]:
        found = []
        for value in self.plan.outputs:
            array = self.arrays[value]
            if self.plan.values[value].dtype.str in NARROW:
                raise Unsupported(f"a result of dtype {self.plan.values[value].dtype}")
            own = array.buffer.role == "temp" and array.buffer not in self.known
            if not own or not array.whole or array.buffer in self.pinned:
                array = self._copy(array)
            array.buffer.role = role
            found.append(array)
        return found


def _scaled(nest: Nest, node: int, coef: Any, kind: str) -> int:
    if isinstance(coef, complex):
        raise Unsupported("complex numbers")
    if coef == 1:
        return node
    if coef == -1:
        return nest.add(Apply("negative", (node,), kind))
    return nest.add(Apply("multiply", (node, nest.add(Constant(coef, kind))), kind))
