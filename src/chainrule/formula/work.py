"""A product under construction: factors read through each other, labels numbered at the end."""

from __future__ import annotations

from ..expr.extents import ONE, Extent
from .quantity import Factor, Form, Index, Num, Prod, Quantity, Shape, labels_in, map_labels

__all__ = ["Work", "distinct", "is_plain", "spans"]


class Work:
    """A product under construction."""

    __slots__ = ("coef", "constraints", "extents", "factors", "out", "shape")

    def __init__(
        self,
        coef: Extent,
        extents: dict[int, Extent],
        factors: list[Factor],
        out: list[Index],
        constraints: list[Index],
        shape: Shape,
    ) -> None:
        self.coef = coef
        self.extents = extents
        self.factors = factors
        self.out = out
        self.constraints = constraints
        self.shape = shape

    def inline(self, position: int) -> bool:
        """Read a factor that is a product through itself, where its axes are bare labels."""
        inner, subs = self.factors[position]
        assert isinstance(inner, Prod)
        start = max(self.extents, default=-1) + 1
        mapping: dict[int, Index] = {}
        equal: dict[int, Index] = {}
        for axis, sub in zip(inner.out, subs, strict=True):
            if not isinstance(axis, int):
                if axis != sub:
                    return False
            elif axis not in mapping:
                mapping[axis] = sub
            elif mapping[axis] != sub:
                first = mapping[axis]
                if not isinstance(first, int) or not isinstance(sub, int):
                    return False
                equal[sub] = first
        for label, extent in enumerate(inner.extents):
            if label not in mapping:
                mapping[label] = start
                self.extents[start] = extent
                start += 1
        self.factors[position : position + 1] = [
            (q, tuple(map_labels(s, mapping) for s in ss)) for q, ss in inner.factors
        ]
        self.constraints.extend(map_labels(s, mapping) for s in inner.constraints)
        self.coef = self.coef * inner.coef
        if equal:
            self.rename(equal)
        return True

    def rename(self, mapping: dict[int, Index]) -> None:
        """Replace labels everywhere."""
        self.factors = [(q, tuple(map_labels(s, mapping) for s in ss)) for q, ss in self.factors]
        self.out = [map_labels(s, mapping) for s in self.out]
        self.constraints = [map_labels(s, mapping) for s in self.constraints]
        for label in mapping:
            self.extents.pop(label, None)

    def straighten(self) -> None:
        """Labels that run backwards run forwards: ``Σ_k G[n+k] w[K−1−k]`` reads ``w[k]``."""
        read = [s for _, subs in self.factors for s in subs]
        for label in list(self.extents):
            backwards = Form(self.extents[label] - ONE, ((-ONE, label),))
            if backwards in read and label not in (*read, *self.out):
                turned: dict[int, Index] = {label: backwards}
                self.factors = [
                    (q, tuple(map_labels(s, turned) for s in subs)) for q, subs in self.factors
                ]
                self.out = [map_labels(s, turned) for s in self.out]
                self.constraints = [map_labels(s, turned) for s in self.constraints]

    def summed(self) -> set[int]:
        """The labels that are summed over."""
        kept: dict[int, None] = {}
        for sub in self.out:
            kept.update(labels_in(sub))
        return {k for k in self.extents if k not in kept}

    def places(self, label: int) -> list[int]:
        """The factors in which a label occurs; -1 stands for output and constraints."""
        found = [
            i
            for i, (_, subs) in enumerate(self.factors)
            if any(label in labels_in(s) for s in subs)
        ]
        if any(label in labels_in(s) for s in (*self.out, *self.constraints)):
            found.append(-1)
        return found

    def finish(self) -> Quantity:
        """The interned quantity: labels numbered in order of appearance."""
        order: dict[int, None] = {}
        for sub in self.out:
            order.update(labels_in(sub))
        for _, subs in self.factors:
            for sub in subs:
                order.update(labels_in(sub))
        for sub in self.constraints:
            order.update(labels_in(sub))
        coef = self.coef
        for label, extent in self.extents.items():
            if label not in order:
                coef = coef * extent
        number: dict[int, Index] = {label: i for i, label in enumerate(order)}
        out = tuple(map_labels(s, number) for s in self.out)
        factors = tuple((q, tuple(map_labels(s, number) for s in ss)) for q, ss in self.factors)
        constraints = tuple(map_labels(s, number) for s in self.constraints)
        extents = tuple(self.extents[label] for label in order)
        if not factors and not constraints and not out:
            return Num(coef)
        if len(factors) == 1 and coef == ONE and not constraints:
            q, subs = factors[0]
            whole = all(
                (extents[s] if isinstance(s, int) else ONE) == self.shape[k]
                for k, s in enumerate(out)
            )
            if subs == out and q.shape == self.shape and whole and distinct(out):
                return q
        return Prod(self.shape, coef, extents, factors, out, constraints)


def distinct(out: tuple[Index, ...]) -> bool:
    """Whether every index is a constant or a label of its own."""
    bare = [s for s in out if isinstance(s, int)]
    fixed = all(isinstance(s, int) or not s.parts for s in out)
    return fixed and len(set(bare)) == len(bare)


def spans(part: Prod) -> bool:
    """Whether the output's labels run over its whole axes (none is a window, a stride …)."""
    return all(
        part.extents[s] == part.shape[axis]
        if isinstance(s, int)
        else not s.parts and part.shape[axis] == ONE
        for axis, s in enumerate(part.out)
    )


def is_plain(part: Prod) -> bool:
    """Whether a product is nothing but its factors: no number, no condition, no sum."""
    return part.coef == ONE and not part.constraints and not part.summed
