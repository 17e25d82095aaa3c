"""Steps of a plan to loop nests and products over buffers.

Steps with the same loops share a nest where what they read is ready: then a value goes from step to
step in a register, and is stored only if somebody else reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ...expr.subs import Div, Key, Mod, Sub, parts_of
from .. import kernels
from ..steps import (
    CallStep,
    Combine,
    Contract,
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
from .callback import Callback
from .fusion import Item, fused, meets_again
from .layout import DTYPES, Access, Array, Buffer, Unsupported, contiguous_strides, kind_of
from .loops import identity_of
from .matmul import BLAS_FROM, Product, blas_ready, merged
from .nest import Apply, Constant, Fold, How, Indexed, Load, Nest, Store, prepared, pruned
from .scalar import COMPARISONS, LOGICAL

__all__ = ["Item", "Lowered", "lower"]

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
        return list(found)


def lower(plan: Plan) -> Lowered:
    """The nests and products of a plan; Unsupported names the first step without native form."""
    return _Lowering(plan).run()


class _Lowering:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.items: list[Item] = []
        self.arrays: dict[int, Array] = {}
        self.calls: dict[int, Callback | Array] = {}
        self.written: dict[Buffer, int] = {}  # the last item that writes it
        self.held: dict[Buffer, tuple[int, int, Access]] = {}  # item, node, where it goes
        self.read: set[Buffer] = set()  # by items other than the writer's own registers
        self.pinned: set[Buffer] = set()  # seen by callbacks, so in the program's own memory
        self.constants: dict[Any, Array] = {}

    def run(self) -> Lowered:
        plan = self.plan
        inputs = []
        for leaf, value in zip(plan.leaves, plan.inputs, strict=True):
            if leaf.size == 0:
                raise Unsupported("empty arrays")
            buffer = Buffer(kind_of(leaf.dtype), leaf.size, "input")
            self.arrays[value] = Array(buffer, leaf.shape, contiguous_strides(leaf.shape))
            inputs.append(self.arrays[value])
        for step in plan.steps:
            method: Callable[[Any], None] = getattr(
                self, "_" + type(step).__name__.lower(), self._no
            )
            method(step)
        outputs = self._outputs()
        return Lowered(inputs, outputs, self._finished())

    def _no(self, step: Step) -> None:
        raise Unsupported(type(step).__name__)

    # -- buffers and nests --------------------------------------------------------------------
    def _fresh(self, shape: Sequence[int], kind: str) -> Array:
        size = prod(shape)
        if size == 0:
            raise Unsupported("empty arrays")
        return Array(Buffer(kind, size, "temp"), tuple(shape), contiguous_strides(shape))

    def _nest(self, shape: Sequence[int], operands: Sequence[Array]) -> int:
        """The number of a nest over ``shape`` in which all operands are ready."""
        loops = tuple(e for e in shape if e != 1)
        first = 0
        for array in operands:
            writer = self.written.get(array.buffer)
            if writer is None:
                continue
            held = self.held.get(array.buffer)
            item = self.items[writer]
            same = (
                held is not None
                and isinstance(item, Nest)
                and item.shape == loops
                and held[2] == array.access(shape)
            )
            first = max(first, writer if same else writer + 1)
        for number in range(max(first, len(self.items) - 24), len(self.items)):
            item = self.items[number]
            if (
                isinstance(item, Nest)
                and item.shape == loops
                and not (item.serial or _indexed(item))
            ):
                return number
        return self._append(Nest(loops))

    def _append(self, item: Item) -> int:
        self.items.append(item)
        return len(self.items) - 1

    def _load(self, number: int, array: Array, shape: Sequence[int]) -> int:
        """The node of an operand in a nest."""
        nest = self.items[number]
        assert isinstance(nest, Nest)
        access = array.access(shape)
        held = self.held.get(array.buffer)
        if held is not None and held[0] == number and held[2] == access:
            return held[1]
        self.read.add(array.buffer)
        return nest.add(Load(access, array.kind))

    def _store(self, number: int, node: int, array: Array, shape: Sequence[int]) -> None:
        nest = self.items[number]
        assert isinstance(nest, Nest)
        access = array.access(shape)
        nest.sinks.append(Store(node, access))
        self.written[array.buffer] = number
        self.held[array.buffer] = (number, node, access)

    def _pointwise(
        self,
        shape: Sequence[int],
        kind: str,
        operands: Sequence[Array],
        compute: Callable[[Nest, list[int]], int],
    ) -> Array:
        """A fresh array whose elements ``compute`` gives from the operands' nodes."""
        number = self._nest(shape, operands)
        nest = self.items[number]
        assert isinstance(nest, Nest)
        nodes = [self._load(number, a, shape) for a in operands]
        target = self._fresh(shape, kind)
        self._store(number, compute(nest, nodes), target, shape)
        return target

    def _copy(self, array: Array) -> Array:
        """The elements in C order in a buffer of their own."""
        return self._pointwise(array.shape, array.kind, [array], lambda _, nodes: nodes[0])

    def _fold(self, array: Array, axes: Sequence[int], how: How) -> Array:
        shape = array.shape
        kept = [e for i, e in enumerate(shape) if i not in axes]
        target = self._fresh(kept, array.kind)
        inner = iter(target.strides)
        strides = tuple(0 if i in axes else next(inner) for i in range(len(shape)))
        number = self._nest(shape, [array])
        nest = self.items[number]
        assert isinstance(nest, Nest)
        node = self._load(number, array, shape)
        into = Array(target.buffer, shape, strides).access(shape)
        nest.sinks.append(Fold(node, into, how))
        self.written[target.buffer] = number
        return target

    def _constant(self, key: Any, value: Any) -> Array:
        found = self.constants.get(key)
        if found is None:
            data = np.array(value, order="C")
            buffer = Buffer(kind_of(data.dtype), data.size, "const", data=data)
            found = Array(buffer, data.shape, contiguous_strides(data.shape))
            self.constants[key] = found
        return found

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
                made.append(_converted(nest, node, array.kind, kind))
            return made

        return arrays, nodes

    def _common(self, args: Sequence[Any]) -> str:
        """The kind in which NumPy would compare or combine arguments."""
        dtypes = [DTYPES[self.arrays[a.value].kind] if isinstance(a, Ref) else a for a in args]
        return kind_of(np.result_type(*dtypes))

    def _elementwise(self, step: Elementwise) -> None:
        op, args = step.op, step.args
        kind = kind_of(step.dtype)
        if step.params and op != "astype":
            raise Unsupported(f"elementwise {op}")
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
            return _scaled(nest, _converted(nest, loaded[0], array.kind, kind), step.coef, kind)

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

    def _viewed(self, array: Array, ops: Sequence[ViewOp], copies: bool = True) -> Array:
        for op in ops:
            made = array.viewed(op)
            if made is None:
                if not copies:
                    raise Unsupported("writing through a copy")
                made = self._copy(array).viewed(op)
                assert made is not None
            array = made
        return array

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
        node = _converted(nest, self._load(number, value, view.shape), value.kind, view.kind)
        if step.add:
            old = nest.add(Load(view.access(view.shape), view.kind))
            node = nest.add(Apply("add", (old, node), view.kind))
        self._changed(number, buffer)
        nest.sinks.append(Store(node, view.access(view.shape)))
        self.arrays[step.target] = buffer

    def _changed(self, number: int, array: Array) -> None:
        """A buffer written in place: its earlier value is no longer in anyone's registers."""
        self.read.add(array.buffer)
        self.held.pop(array.buffer, None)
        self.written[array.buffer] = number

    # -- indices ------------------------------------------------------------------------------
    def _indexgrid(self, step: IndexGrid) -> None:
        form = (step.labels, step.extents, step.mask, step.below)
        if step.tables or prod(step.extents) > _KEPT_GRID:
            self.arrays[step.target] = self._computed_grid(step)
            return
        grid = np.asarray(kernels.index_grid(step.sub, *form, {}))
        if grid.size == 0:
            raise Unsupported("empty arrays")
        self.arrays[step.target] = self._constant((step.sub, *form), grid)

    def _computed_grid(self, step: IndexGrid) -> Array:
        """A subscript's values over its box, computed when the program runs."""
        shape = step.extents
        values = dict(zip(step.tables, (self.arrays[i] for i in step.inputs), strict=True))
        axis = {label: i for i, label in enumerate(step.labels)}

        def number(value: int) -> Array:
            return self._constant(("number", value), np.array(value, np.int64))

        def binary(op: str, a: Array, b: Array) -> Array:
            return self._pointwise(
                np.broadcast_shapes(a.shape, b.shape),
                "i64",
                [a, b],
                lambda nest, nodes: nest.add(Apply(op, (nodes[0], nodes[1]), "i64")),
            )

        def clipped(a: Array, extent: int) -> Array:
            return binary("minimum", binary("maximum", a, number(0)), number(extent - 1))

        def key_values(key: Key) -> Array:
            if isinstance(key, int):
                extent = shape[axis[key]]
                line = self._constant(("line", extent), np.arange(extent))
                return line.broadcast_axis(axis[key], len(shape))
            if isinstance(key, Mod):
                return binary("remainder", evaluate(key.sub), number(key.n))
            if isinstance(key, Div):
                return binary("floor_divide", evaluate(key.sub), number(key.n))
            table = values[key.table]
            if table.kind != "i64":
                raise Unsupported("tables of other integers")
            # where a constraint fails an index may leave the table: any entry will do
            grids = [clipped(evaluate(s), n) for s, n in zip(key.subs, table.shape, strict=True)]
            return self._gathered(table, grids) if grids else table

        def evaluate(sub: Sub) -> Array:
            constant, parts = parts_of(sub)
            total: Array | None = None
            for coef, key in parts:
                part = key_values(key)
                part = part if coef == 1 else binary("multiply", part, number(coef))
                total = part if total is None else binary("add", total, part)
            if total is None:
                return number(constant)
            return binary("add", total, number(constant)) if constant else total

        grid = evaluate(step.sub)
        if step.mask:
            return self._pointwise(
                shape,
                "i1",
                [grid],
                lambda nest, nodes: nest.add(
                    Apply("greater_equal", (nodes[0], nest.add(Constant(0, "i64"))), "i1")
                ),
            )
        if step.below is not None:
            grid = clipped(grid, step.below)
        return grid.broadcast(shape)

    def _indices(
        self, number: int, view: Array, grids: Sequence[Array], shape: Sequence[int], lead: int
    ) -> tuple[Access, Indexed]:
        """Where a nest over ``shape`` meets a view whose last axes are indexed by grids."""
        strides = (*view.strides[:lead], *(0 for _ in shape[lead:]))
        access = Array(view.buffer, tuple(shape), strides, view.offset).access(shape)
        nodes = [self._load(number, g, shape) for g in grids]
        return access, tuple(zip(nodes, view.strides[lead:], strict=True))

    def _gather(self, step: Gather) -> None:
        source, *grids = (self.arrays[i] for i in step.inputs)
        self.arrays[step.target] = self._gathered(source, grids)

    def _gathered(self, source: Array, grids: Sequence[Array]) -> Array:
        lead = len(source.shape) - len(grids)
        inner = np.broadcast_shapes(*(g.shape for g in grids))
        shape = (*source.shape[:lead], *inner)
        target = self._fresh(shape, source.kind)
        writer = self.written.get(source.buffer, -1)
        number = self._nest(shape, grids)
        if number <= writer:
            number = self._append(Nest(tuple(e for e in shape if e != 1)))
        nest = self.items[number]
        assert isinstance(nest, Nest)
        access, index = self._indices(number, source, grids, shape, lead)
        self.read.add(source.buffer)
        self._store(number, nest.add(Load(access, source.kind, index)), target, shape)
        return target

    def _scatteradd(self, step: ScatterAdd) -> None:
        buffer, value, *grids = (self.arrays[i] for i in step.inputs)
        view = self._viewed(buffer, step.ops, copies=False)
        shape = value.shape
        number = self._append(Nest(tuple(e for e in shape if e != 1)))
        nest = self.items[number]
        assert isinstance(nest, Nest)
        node = _converted(nest, self._load(number, value, shape), value.kind, view.kind)
        access, index = self._indices(number, view, grids, shape, step.lead)
        self._changed(number, buffer)
        nest.sinks.append(Fold(node, access, "sum", index))
        self.arrays[step.target] = buffer

    # -- sums and products --------------------------------------------------------------------
    def _reduce(self, step: Reduce) -> None:
        array = self.arrays[step.inputs[0]]
        if array.kind == "i1" or kind_of(step.dtype) != array.kind:
            raise Unsupported("sums in another dtype")
        self.arrays[step.target] = self._fold(array, step.axes, "sum")

    def _callstep(self, step: CallStep) -> None:
        if step.op == "item":
            self._item(step)
            return
        arrays = [self.arrays[i] for i in step.inputs]
        if step.op in ("amax", "amin") and arrays[0].kind != "i1":
            rank = len(arrays[0].shape)
            how: How = "max" if step.op == "amax" else "min"
            self.calls[step.target] = self._fold(arrays[0], range(rank - step.params[0], rank), how)
            return
        # arrays of the program's own memory: arguments lie elsewhere at every call
        own = [a if a.buffer.role == "temp" else self._copy(a) for a in arrays]
        item = Callback(step.op, step.params, own)
        self._append(item)
        self.read.update(a.buffer for a in own)
        self.pinned.update(a.buffer for a in own)
        self.calls[step.target] = item

    def _item(self, step: CallStep) -> None:
        """One result of a call."""
        made = self.calls[step.inputs[0]]
        if isinstance(made, Array):
            self.arrays[step.target] = made
            return
        found = made.outputs.get(step.index)
        if found is None:
            value = self.plan.values[step.target]
            found = self._fresh(value.shape, kind_of(value.dtype))
            made.outputs[step.index] = found
            self.pinned.add(found.buffer)
            self.written[found.buffer] = self.items.index(made)
        self.arrays[step.target] = found

    def _contract(self, step: Contract) -> None:
        left, right = (self.arrays[i] for i in step.inputs)
        kind = kind_of(np.result_type(DTYPES[left.kind], DTYPES[right.kind]))
        if kind not in ("f64", "f32"):
            raise Unsupported("products of integers")
        sides = [(left, step.left), (right, step.right)]
        out, extents = step.out, step.extents
        if out and out[-1] in step.left and out[-1] not in step.right:
            sides.reverse()
        (a, la), (b, lb) = sides
        summed = [k for k in la if k in lb and k not in out]
        batch = [k for k in out if k in la and k in lb]
        rows = [k for k in out if k in la and k not in lb]
        columns = [k for k in out if k in lb and k not in la]
        if (not rows and not columns) or not summed:
            self.arrays[step.target] = self._small_product(a, la, b, lb, out, extents, kind)
            return
        sizes = [prod(extents[k] for k in group) for group in (rows, columns, summed)]
        large = prod(sizes) >= BLAS_FROM
        if 1 in (sizes[0], sizes[1]) and not large:
            self.arrays[step.target] = self._small_product(a, la, b, lb, out, extents, kind)
            return
        left_matrix = self._matrix(a, la, batch, rows, summed, extents, kind, large)
        right_matrix = self._matrix(b, lb, batch, summed, columns, extents, kind, large, True)
        order = [*batch, *rows, *columns]
        shape = [extents[k] for k in order]
        target = self._fresh(shape, kind)
        count = len(batch)
        into = merged(
            target,
            [
                *([i] for i in range(count)),
                range(count, count + len(rows)),
                range(count + len(rows), len(order)),
            ],
        )
        assert into is not None
        m, n, k = sizes
        if n == 1:
            into = (*into[:-1], 1)
        product = Product(
            tuple(extents[b] for b in batch),
            m,
            n,
            k,
            left_matrix,
            right_matrix,
            Access(target.buffer, 0, into),
        )
        number = self._append(product)
        self.read.update((left_matrix.buffer, right_matrix.buffer))
        self.written[target.buffer] = number
        moved = target.viewed(ViewOp("transpose", tuple(order.index(k) for k in out)))
        assert moved is not None
        self.arrays[step.target] = moved

    def _small_product(
        self,
        a: Array,
        la: Sequence[int],
        b: Array,
        lb: Sequence[int],
        out: Sequence[int],
        extents: dict[int, int],
        kind: str,
    ) -> Array:
        """As one nest: all labels are loops, those not in ``out`` folded."""
        labels = [*out, *(k for k in la if k not in out)]
        for array, held in ((a, la), (b, lb)):  # where a value comes from: it is in a register
            item = self.items[self.written.get(array.buffer, -1)] if self.items else None
            order = [*held, *(k for k in labels if k not in held)]
            loops = tuple(extents[k] for k in order if extents[k] != 1)
            if (
                len(held) == len(labels)
                and array.buffer in self.written
                and isinstance(item, Nest)
                and item.shape == loops
            ):
                labels = order
                break
        shape = [extents[k] for k in labels]
        box = [_under(x, held, labels, extents) for x, held in ((a, la), (b, lb))]
        number = self._nest(shape, box)
        nest = self.items[number]
        assert isinstance(nest, Nest)
        nodes = [_converted(nest, self._load(number, x, shape), x.kind, kind) for x in box]
        node = nest.add(Apply("multiply", (nodes[0], nodes[1]), kind))
        target = self._fresh([extents[k] for k in out], kind)
        stride = dict(zip(out, target.strides, strict=True))
        box_of = Array(target.buffer, tuple(shape), tuple(stride.get(k, 0) for k in labels))
        if len(labels) == len(out):
            self._store(number, node, box_of, shape)
            return target
        into = box_of.access(shape)
        nest.sinks.append(Fold(node, into, "sum"))
        self.written[target.buffer] = number
        return target

    def _matrix(
        self,
        array: Array,
        labels: Sequence[int],
        batch: list[int],
        rows: list[int],
        columns: list[int],
        extents: dict[int, int],
        kind: str,
        large: bool,
        rowwise: bool = False,
    ) -> Access:
        """Strides (batch…, row, column) of an operand, copied where they do not serve.

        A large one must suit BLAS; ``rowwise``, a small one must have neighbours along its rows.
        """
        order = [labels.index(k) for k in (*batch, *rows, *columns)]
        turned = array.viewed(ViewOp("transpose", tuple(order)))
        assert turned is not None
        count = len(batch)
        groups = [
            *([i] for i in range(count)),
            range(count, count + len(rows)),
            range(count + len(rows), len(order)),
        ]
        if turned.kind == kind:
            strides = merged(turned, groups)
            m, n = (prod(extents[k] for k in group) for group in (rows, columns))
            if strides is not None:
                access = Access(turned.buffer, turned.offset, strides)
                if blas_ready(access, m, n) if large else (strides[-1] == 1 or not rowwise):
                    return access
        source = turned

        def compute(nest: Nest, loaded: list[int]) -> int:
            return _converted(nest, loaded[0], source.kind, kind)

        copied = self._pointwise(turned.shape, kind, [turned], compute)
        strides = merged(copied, groups)
        assert strides is not None
        return Access(copied.buffer, 0, (*strides[:-1], strides[-1] or 1))

    # -- results ------------------------------------------------------------------------------
    def _outputs(self) -> list[Array]:
        found = []
        for value in self.plan.outputs:
            array = self.arrays[value]
            if array.buffer.role != "temp" or not array.whole or array.buffer in self.pinned:
                array = self._copy(array)
            array.buffer.role = "output"
            found.append(array)
        return found

    def _finished(self) -> list[Item]:
        """Without stores that nobody reads, folds with what they begin with, long loops cut."""
        result: list[Item] = []
        needed = self.read

        def scratch(kind: str, size: int) -> Buffer:
            return Buffer(kind, size, "temp")

        kept: list[Item] = []
        for item in self.items:
            if isinstance(item, Nest):
                item.sinks = [
                    s
                    for s in item.sinks
                    if s.access.buffer.role == "output" or s.access.buffer in needed
                ]
                if not item.sinks or _begins_with_zeros(item):
                    continue
                item = pruned(item)
            kept.append(item)
        for item in fused(kept):
            if not isinstance(item, Nest):
                result.append(item)
                continue
            for nest in prepared(item, scratch):
                for sink in nest.sinks:
                    if isinstance(sink, Fold) and not sink.index and meets_again(nest, sink):
                        buffer = sink.access.buffer
                        first = Nest((buffer.size,) if buffer.size > 1 else ())
                        value = first.add(Constant(identity_of(sink.how, buffer.kind), buffer.kind))
                        access = Access(buffer, 0, (1,) if buffer.size > 1 else ())
                        first.sinks.append(Store(value, access))
                        result.append(first)
                result.append(nest)
        return result


def _begins_with_zeros(nest: Nest) -> bool:
    """Whether a nest only fills a result with zeros: then the result is asked for zeroed."""
    if len(nest.sinks) != 1 or not isinstance(sink := nest.sinks[0], Store):
        return False
    node, buffer = nest.nodes[sink.node], sink.access.buffer
    if buffer.role != "output" or not isinstance(node, Constant) or node.value != 0:
        return False
    if np.signbit(node.value) or nest.size != buffer.size:
        return False
    buffer.zeroed = True
    return True


def _indexed(nest: Nest) -> bool:
    return any(isinstance(s, Fold) and s.index for s in nest.sinks)


def _under(
    array: Array, labels: Sequence[int], order: Sequence[int], extents: dict[int, int]
) -> Array:
    """An array as a view over a box of labels (stride 0 along those that it lacks)."""
    stride = dict(zip(labels, array.strides, strict=True))
    shape = tuple(extents[k] for k in order)
    return Array(array.buffer, shape, tuple(stride.get(k, 0) for k in order), array.offset)


def _converted(nest: Nest, node: int, kind: str, wanted: str) -> int:
    return node if kind == wanted else nest.add(Apply("convert", (node,), wanted))


def _scaled(nest: Nest, node: int, coef: Any, kind: str) -> int:
    if isinstance(coef, complex):
        raise Unsupported("complex numbers")
    if coef == 1:
        return node
    if coef == -1:
        return nest.add(Apply("negative", (node,), kind))
    return nest.add(Apply("multiply", (node, nest.add(Constant(coef, kind))), kind))
