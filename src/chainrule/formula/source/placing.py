"""A product's value put where its quantity has it: views, reshapes, padding, else scatters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...expr.extents import ONE, Extent
from ..quantity import Index, Prod, Quantity
from .body import Body
from .reading import Reader, digits, radix
from .sizes import is_unit, whole
from .syntax import Expr, literal, name, subscript
from .target import Target
from .values import Array, Operand, aligned

__all__ = ["Placing"]


class Placing:
    """Takes values over a product's labels to arrays over the quantity's axes."""

    def __init__(self, target: Target, body: Body, idents: dict[str, str]) -> None:
        self.target = target
        self.body = body
        self.idents = idents
        #: variables that were made to add into
        self.scatters: set[str] = set()
        #: (axis, first place, place after the last, value) of what only fills a part of an axis
        self.pieces: dict[Quantity, tuple[int, Extent, Extent, Expr]] = {}

    def size(self, extent: Extent) -> Expr:
        return whole(extent, self.idents)

    def written(self, q: Prod, reader: Reader, value: Operand) -> Array:
        """The value as the quantity's: views where the output's axes are labels, else scatters."""
        if all(
            (q.extents[s] == q.shape[k]) if isinstance(s, int) else _is_unit_index(s, q.shape[k])
            for k, s in enumerate(q.out)
        ):
            return self._placed(q, value)
        reshaped = self._reshaped(q, value)
        if reshaped is not None:
            return reshaped
        padded = self._padded(q, value)
        if padded is not None:
            return padded
        return self._scattered(q, reader, value)

    def _placed(self, q: Prod, value: Operand) -> Array:
        position = {s: k for k, s in enumerate(q.out) if isinstance(s, int)}
        axes = [position[k] if k is not None else None for k in value.labels]
        if None in axes:
            filled = _between(axes, q.ndim)
            if filled is None:
                return self._placed(q, value.squeezed())
            units = frozenset(
                k
                for k, a in zip(filled, axes, strict=True)
                if a is None and not is_unit(q.shape[k])
            )
            return Array(value.expr, tuple(filled), value.scalar, units)
        return Array(value.expr, tuple(k for k in axes if k is not None), value.scalar)

    def _whole_box(self, q: Prod, value: Operand, order: Sequence[int]) -> Expr:
        """The value over the whole box of labels, broadcast where it lacks one."""
        value = value.squeezed()
        expr = aligned(self.target, value, order)
        if set(order) <= value.known:
            return expr
        shape = [self.size(q.extents[k]) for k in order]
        if value.scalar:
            return self.target.full(shape, value.expr)
        return self.target.broadcast(expr, shape)

    def _reshaped(self, q: Prod, value: Operand) -> Array | None:
        """Output axes that are digits of a label, or the mixed radix of several."""
        order: list[int] = []
        k = 0
        while k < q.ndim:
            sub = q.out[k]
            if isinstance(sub, int) and q.extents[sub] == q.shape[k]:
                order.append(sub)
            elif not isinstance(sub, int) and not sub.parts and is_unit(q.shape[k]):
                pass
            elif (labels := radix(sub, q.extents, q.shape[k])) is not None:
                order += labels
            elif (found := digits(q.out, k, q.shape, q.extents)) is not None:
                order.append(found[0])
                k += found[1] - 1
            else:
                return None
            k += 1
        if len(set(order)) < len(order):
            return None
        expr = self._whole_box(q, value, order)
        shape = [self.size(e) for e in q.shape]
        return Array(self.target.reshaped(expr, shape), tuple(range(q.ndim)))

    def _padded(self, q: Prod, value: Operand) -> Array | None:
        """Output axes that are windows (a label and a shift) or one place of an axis."""
        if q.constraints:
            return None
        order: list[int] = []
        widths: list[tuple[Expr, Expr]] = []
        spans: list[tuple[Extent, Extent]] = []
        places: list[int] = []
        flips: list[int] = []
        for k, sub in enumerate(q.out):
            shift, label = (Extent({}), sub) if isinstance(sub, int) else (sub.const, -1)
            if not isinstance(sub, int) and sub.parts:
                coef, key = sub.parts[0]
                if len(sub.parts) > 1 or not isinstance(key, int):
                    return None
                label = key
                if coef == -ONE:
                    shift = shift - q.extents[label] + 1
                    flips.append(k)
                elif coef != ONE:
                    return None
            count = q.extents[label] if label >= 0 else ONE
            if label < 0:
                places.append(k)
            else:
                order.append(label)
            spans.append((shift, count))
            widths.append((self.size(shift), self.size(q.shape[k] - shift - count)))
        if len(set(order)) < len(order):
            return None
        expr = self._whole_box(q, value, order)
        if value.scalar and not order:
            expr = self.target.full([literal(1)] * q.ndim, expr)
        elif places:
            items = [literal(None) if k in places else None for k in range(q.ndim)]
            expr = self.target.expanded(expr, [i is None for i in items])
            lead = 0
            while lead in places:
                lead += 1
            if lead:
                expr = subscript(expr, [literal(None)] * lead + ([name("...")] if order else []))
        for k in flips:
            expr = self.target.flipped(expr, k)
        ends = [
            (k, start, start + count)
            for k, (start, count) in enumerate(spans)
            if start or start + count != q.shape[k]
        ]
        if len(ends) == 1:
            self.pieces[q] = (*ends[0], expr)
        return Array(self.target.padded(expr, widths), tuple(range(q.ndim)))

    def _scattered(self, q: Prod, reader: Reader, value: Operand) -> Array:
        order = reader.labels_of(q.out)
        if value.boolean:
            value = replace(value, expr=self.target.as_float(value.expr), boolean=False)
        expr = self._whole_box(q, value, order)
        if value.scalar and not order:
            expr = self.target.element(expr)
        index = [reader.index(s, order, e) for s, e in zip(q.out, q.shape, strict=True)]
        shape = [self.size(e) for e in q.shape]
        zeros, update = self.target.scattered(shape, index, expr)
        axes = tuple(range(q.ndim))
        if update is None:
            return Array(zeros, axes)
        held = self.body.fresh("t")
        self.scatters.add(held)
        self.body.assign(held, zeros)
        self.body.do(update(held), held)
        return Array(name(held), axes)


def _between(axes: Sequence[int | None], rank: int) -> list[int] | None:
    """Axes with the places of unit dimensions filled in, the order kept; None where it cannot."""
    taken = {k for k in axes if k is not None}
    filled: list[int] = []
    for i, axis in enumerate(axes):
        if axis is None:
            low = filled[-1] if filled else -1
            high = next((k for k in axes[i:] if k is not None), rank)
            axis = next((k for k in range(low + 1, high) if k not in taken), None)
            if axis is None:
                return None
            taken.add(axis)
        filled.append(axis)
    return filled


def _is_unit_index(sub: Index, extent: Extent) -> bool:
    return not isinstance(sub, int) and not sub.parts and is_unit(extent)
