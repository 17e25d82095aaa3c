"""Reading and writing at positions known only when the program runs: grids, gathers, scatters."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ...expr.subs import Div, Key, Mod, Sub, parts_of
from .. import kernels
from ..steps import Gather, IndexGrid, ScatterAdd
from .assembly import Assembly, converted
from .layout import Access, Array, Unsupported
from .nest import Apply, Constant, Fold, Indexed, Load, Nest

__all__ = ["Indices"]

# grids up to so many elements become constants of the program
_KEPT_GRID = 1 << 20


class Indices(Assembly):
    """The steps of a plan that compute or use indices."""

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
        node = converted(nest, self._load(number, value, shape), value.kind, view.kind)
        access, index = self._indices(number, view, grids, shape, step.lead)
        self._changed(number, buffer)
        nest.sinks.append(Fold(node, access, "sum", index))
        self.arrays[step.target] = buffer
