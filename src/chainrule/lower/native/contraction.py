"""Products summed over labels: matrix products where they are some, else one loop nest."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..steps import Contract, ViewOp
from .assembly import Assembly, converted
from .layout import DTYPES, Access, Array, Unsupported, kind_of
from .matmul import BLAS_FROM, Product, blas_ready, merged
from .nest import Apply, Fold, Nest

__all__ = ["Contractions"]


class Contractions(Assembly):
    """The steps of a plan that contract two values."""

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
        nodes = [converted(nest, self._load(number, x, shape), x.kind, kind) for x in box]
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
            return converted(nest, loaded[0], source.kind, kind)

        copied = self._pointwise(turned.shape, kind, [turned], compute)
        strides = merged(copied, groups)
        assert strides is not None
        return Access(copied.buffer, 0, (*strides[:-1], strides[-1] or 1))


def _under(
    array: Array, labels: Sequence[int], order: Sequence[int], extents: dict[int, int]
) -> Array:
    """An array as a view over a box of labels (stride 0 along those that it lacks)."""
    stride = dict(zip(labels, array.strides, strict=True))
    shape = tuple(extents[k] for k in order)
    return Array(array.buffer, shape, tuple(stride.get(k, 0) for k in order), array.offset)
