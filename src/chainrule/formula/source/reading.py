"""Reading a factor under indices: slices, diagonals, reshapes, else gathers by index arrays."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from ...expr.extents import ONE, ZERO, Extent
from ..masks import apart, sides
from ..quantity import Form, Index, Prod, Quantity, Wrap, labels_in
from .sizes import is_unit, whole
from .syntax import Expr, binary, negated, sliced, subscript, template
from .target import Target
from .values import Array, Operand

__all__ = ["Reader", "digits", "radix"]


def radix(index: Index, extents: Sequence[Extent], whole: Extent) -> list[int] | None:
    """The labels whose mixed-radix digits an index is: ``3a + b`` over a full axis."""
    if isinstance(index, int) or index.const or len(index.parts) < 2:
        return None
    parts = [(c, k) for c, k in index.parts if isinstance(k, int)]
    if len(parts) < len(index.parts):
        return None
    labels: list[int] = []
    stride = ONE
    rest = dict.fromkeys(range(len(parts)))
    while rest:
        found = next((i for i in rest if parts[i][0] == stride), None)
        if found is None:
            return None
        del rest[found]
        labels.append(parts[found][1])
        stride = stride * extents[parts[found][1]]
    return labels[::-1] if stride == whole else None


def _digit(n: Extent | None, step: Extent, label: int) -> Index:
    inner: Index = label
    if step != ONE:
        inner = Form(ZERO, ((ONE, Wrap("div", step, (label,))),))
    if n is None:
        return inner
    return Form(ZERO, ((ONE, Wrap("mod", n, (inner,))),))


def digits(
    subs: Sequence[Index], at: int, shape: Sequence[Extent], extents: Sequence[Extent]
) -> tuple[int, int] | None:
    """(label, number of axes) where axes from ``at`` on are the C-order digits of one label."""
    if isinstance(subs[at], int):
        return None
    labels = list(labels_in(subs[at]))
    if len(labels) != 1:
        return None
    for count in range(len(subs) - at, 1, -1):
        dims = shape[at : at + count]
        step = ONE
        fits = True
        for k in range(count - 1, -1, -1):
            wanted = _digit(None if k == 0 else dims[k], step, labels[0])
            fits = fits and subs[at + k] == wanted
            step = step * dims[k]
        if fits and step == extents[labels[0]]:
            return labels[0], count
    return None


class Reader:
    """Reads values of one product's factors."""

    def __init__(
        self,
        target: Target,
        product: Prod,
        tables: Mapping[Quantity, Expr],
        idents: dict[str, str],
    ) -> None:
        self.target = target
        self.extents = product.extents
        self.guarded = bool(product.constraints)
        self.tables = tables
        self.idents = idents

    def size(self, extent: Extent) -> Expr:
        return whole(extent, self.idents)

    def read(self, value: Array, shape: Sequence[Extent], subs: Sequence[Index]) -> Operand:
        """The operand ``value[subs]``."""
        expr = value.expr
        if value.scalar:
            return Operand(expr, (), scalar=True)
        if list(value.axes) != sorted(value.axes) and any(
            not isinstance(s, int) for s in subs
        ):  # rearrangements below want the axes in order
            order = sorted(value.axes)
            expr = self.target.transposed(expr, [value.axes.index(k) for k in order])
            value = Array(expr, tuple(order))
        dims: list[tuple[Index | None, Extent]] = [
            (None, ONE) if k in value.units else (subs[k], shape[k]) for k in value.axes
        ]
        expr, dims = self._flattened(expr, dims)
        expr, dims = self._split(expr, dims)
        expr, dims = self._sliced(expr, dims)
        if any(s is not None and not isinstance(s, int) for s, _ in dims):
            expr, labels = self._gathered(expr, dims)
        else:
            labels = [s for s, _ in dims if s is None or isinstance(s, int)]
        return Operand(expr, tuple(labels))

    # -- reshapes -----------------------------------------------------------------------------
    def _flattened(
        self, expr: Expr, dims: list[tuple[Index | None, Extent]]
    ) -> tuple[Expr, list[tuple[Index | None, Extent]]]:
        """Axes read at the digits of one label are one axis."""
        position = 0
        while position < len(dims):
            subs = [s if s is not None else Form(ZERO) for s, _ in dims]
            shape = [e for _, e in dims]
            found = digits(subs, position, shape, self.extents)
            if found is not None:
                label, count = found
                whole = self.extents[label]
                dims[position : position + count] = [(label, whole)]
                expr = self.target.reshaped(expr, [self.size(e) for _, e in dims])
            position += 1
        return expr, dims

    def _split(
        self, expr: Expr, dims: list[tuple[Index | None, Extent]]
    ) -> tuple[Expr, list[tuple[Index | None, Extent]]]:
        """An axis read at the mixed radix of several labels is several axes."""
        new: list[tuple[Index | None, Extent]] = []
        for sub, extent in dims:
            labels = radix(sub, self.extents, extent) if sub is not None else None
            new += [(k, self.extents[k]) for k in labels] if labels else [(sub, extent)]
        if len(new) > len(dims):
            expr = self.target.reshaped(expr, [self.size(e) for _, e in new])
        return expr, new

    # -- slices -------------------------------------------------------------------------------
    def _sliced(
        self, expr: Expr, dims: list[tuple[Index | None, Extent]]
    ) -> tuple[Expr, list[tuple[Index | None, Extent]]]:
        items: list[Expr] = []
        left: list[tuple[Index | None, Extent]] = []
        flips: list[int] = []
        for sub, extent in dims:
            item, kept = self._slice(sub, extent)
            if kept is None:
                items.append(item)
                continue
            label, flipped = kept
            if flipped:
                flips.append(len(left))
            items.append(item)
            left.append((label, self.extents[label] if isinstance(label, int) else extent))
        while items and _is_whole(items[-1]):
            items.pop()
        if items:
            expr = subscript(expr, items)
        for axis in flips:
            expr = self.target.flipped(expr, axis)
        return expr, left

    def _slice(
        self, sub: Index | None, extent: Extent
    ) -> tuple[Expr, tuple[Index | None, bool] | None]:
        """What stands in the subscript, and what is left of the axis (nothing, where None)."""
        if sub is None:
            return sliced(), (None, False)
        if isinstance(sub, int):
            stop = None if self.extents[sub] == extent else self.size(self.extents[sub])
            return sliced(None, stop), (sub, False)
        if not sub.parts:
            if is_unit(extent):
                return sliced(), (None, False)
            return self.size(sub.const), None
        if len(sub.parts) > 1 or not isinstance(sub.parts[0][1], int) or self.guarded:
            return sliced(), (sub, False)
        ((coef, label),) = sub.parts
        assert isinstance(label, int)
        count = self.extents[label]
        start, end = sub.const, sub.const + coef * (count - 1)
        flipped = coef.negative
        if flipped:
            start, end, coef = end, start, -coef
        stop_at = end + 1
        slack = (extent - stop_at).number
        step = coef.number
        open_ = slack is not None and step is not None and 0 <= slack < step
        return (
            sliced(
                self.size(start) if start else None,
                None if open_ else self.size(stop_at),
                self.size(coef) if coef != ONE else None,
            ),
            (label, flipped),
        )

    # -- gathers ------------------------------------------------------------------------------
    def _gathered(
        self, expr: Expr, dims: list[tuple[Index | None, Extent]]
    ) -> tuple[Expr, list[int | None]]:
        far = [i for i, (s, _) in enumerate(dims) if s is not None and not isinstance(s, int)]
        near = {s for s, _ in dims if isinstance(s, int)}
        joint = self.labels_of(s for i in far if (s := dims[i][0]) is not None)
        together = far == list(range(far[0], far[-1] + 1))
        if not together or near & set(joint):
            far = [i for i, (s, _) in enumerate(dims) if s is not None]
            far = list(range(far[0], far[-1] + 1))
            joint = self.labels_of(s for i in far if (s := dims[i][0]) is not None)
        items: list[Expr] = []
        labels: list[int | None] = []
        for i, (sub, extent) in enumerate(dims):
            if i in far:
                index = Form(ZERO) if sub is None else sub
                items.append(self.index(index, joint, extent))
                if i == far[0]:
                    labels += joint
            else:
                items.append(sliced())
                assert sub is None or isinstance(sub, int)
                labels.append(sub)
        while items and _is_whole(items[-1]):
            items.pop()
        return subscript(expr, items), labels

    def labels_of(self, subs: Iterable[Index]) -> list[int]:
        """The labels of indices, in order of appearance."""
        found: dict[int, None] = {}
        for sub in subs:
            found.update(labels_in(sub))
        return sorted(found)

    def index(self, sub: Index, joint: Sequence[int], below: Extent | None) -> Expr:
        """The integer array of an index over the box of ``joint`` labels (it broadcasts)."""
        value = self.affine(sub, joint)
        if below is not None and self.guarded and not isinstance(sub, int):
            value = self.target.clipped(value, self.size(below - 1))
        return value

    def affine(self, sub: Index, joint: Sequence[int]) -> Expr:
        """``const + Σ coef·key`` as an array."""
        if isinstance(sub, int):
            return self._label(sub, joint)
        total: Expr | None = None
        parts = sorted(sub.parts, key=lambda part: part[0].negative)
        for coef, key in parts:
            value = self._label(key, joint) if isinstance(key, int) else self._wrap(key, joint)
            size_ = abs(coef)
            if size_ != ONE:
                value = binary(self.size(size_), "*", value)
            if total is None:
                total = negated(value) if coef.negative else value
            else:
                total = binary(total, "-" if coef.negative else "+", value)
        if total is None:
            return self.size(sub.const)
        if sub.const:
            size_ = abs(sub.const)
            total = binary(total, "-" if sub.const.negative else "+", self.size(size_))
        return total

    def _label(self, label: int, joint: Sequence[int]) -> Expr:
        grid = self.target.arange(self.size(self.extents[label]))
        return self.target.expanded(grid, [k == label for k in joint])

    def _wrap(self, key: Wrap, joint: Sequence[int]) -> Expr:
        if key.kind == "look":
            assert key.table is not None
            return self._look(key, joint)
        inner = self.affine(key.subs[0], joint)
        return binary(inner, "%" if key.kind == "mod" else "//", self.size(key.n))

    def _look(self, key: Wrap, joint: Sequence[int]) -> Expr:
        assert key.table is not None
        table = self.tables[key.table]
        labels = [s for s in key.subs if isinstance(s, int)]
        whole = len(labels) == len(key.subs) and all(
            self.extents[s] == e for s, e in zip(labels, key.table.shape, strict=True)
        )
        if whole and labels == [k for k in joint if k in labels]:
            return self.target.expanded(table, [k in labels for k in joint])
        items = [self.index(s, joint, e) for s, e in zip(key.subs, key.table.shape, strict=True)]
        return subscript(table, items) if items else table

    def mask(self, constraint: Index, joint: Sequence[int]) -> Expr:
        """``constraint ≥ 0`` as a comparison without minus signs."""
        assert isinstance(constraint, Form)
        gap = apart(constraint)
        left, right = (self.affine(side, joint) for side in sides(gap or constraint))
        return template("a != b" if gap is not None else "a >= b", a=left, b=right)


def _is_whole(item: Expr) -> bool:
    return isinstance(item, ast.Slice) and item.lower is item.upper is item.step is None
