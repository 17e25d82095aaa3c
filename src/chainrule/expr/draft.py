"""Terms under construction: reading one term through another, solving for labels, normal form.

A :class:`Draft` is a mutable term.  ``inline`` replaces a factor that is itself a term by that
term's own factors: the axes of the inner term are matched with the subscripts under which it is
read, one equation an axis, and each equation is solved for a label (:meth:`Draft.unify`).  That
single operation is matrix-vector product, chain rule, indexing, diagonal and transposition.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import normal
from .nodes import Factor, Node, Scalar, Sum, Term
from .normal import tidy_coef, zeros
from .subs import (
    Div,
    Mod,
    Sub,
    affine,
    bounds,
    const,
    divided,
    labels_of,
    modulo,
    parts_of,
    ravel,
    relabel,
    scale,
    substitute,
    subtract,
    unravelled,
)

__all__ = ["Draft", "opened", "tidy_coef", "whole", "zeros"]


class Draft:
    """A term under construction; labels are any distinct integers."""

    __slots__ = ("coef", "constraints", "dtype", "extents", "factors", "out", "shape", "zero")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        coef: Scalar,
        extents: dict[int, int],
        factors: Iterable[Factor],
        out: Iterable[Sub],
        constraints: Iterable[Sub] = (),
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.coef = coef
        self.extents = extents
        self.factors = list(factors)
        self.out = list(out)
        self.constraints = list(constraints)
        self.zero = False

    # -- substitution -------------------------------------------------------------------------
    def replace(self, mapping: dict[int, Sub]) -> None:
        """Replace labels everywhere; ``extents`` must already be those afterwards."""
        ext = self.extents
        touched = mapping.keys()

        def new(sub: Sub) -> Sub:
            if isinstance(sub, int):
                return mapping.get(sub, sub)
            return substitute(sub, mapping, ext) if touched & labels_of(sub).keys() else sub

        self.factors = [(n, tuple(new(s) for s in subs)) for n, subs in self.factors]
        self.out = [new(s) for s in self.out]
        self.constraints = [new(s) for s in self.constraints]

    def within(self, sub: Sub, extent: int) -> None:
        """Constrain ``0 ≤ sub < extent``."""
        low, high = bounds(sub, self.extents)
        if high < 0 or low >= extent:
            self.zero = True
        if low < 0:
            self.constraints.append(sub)
        if high >= extent:
            self.constraints.append(scale(sub, -1, extent - 1))

    # -- solving ------------------------------------------------------------------------------
    def _bind(self, label: int, value: Sub, equations: list[tuple[Sub, Sub]]) -> None:
        extent = self.extents.pop(label)
        mapping = {label: value}
        self.replace(mapping)
        for i, (a, b) in enumerate(equations):
            equations[i] = (
                substitute(a, mapping, self.extents),
                substitute(b, mapping, self.extents),
            )
        self.within(value, extent)

    def solve(self, equations: list[tuple[Sub, Sub]]) -> None:
        """Make every pair of subscripts equal by substituting labels; easy equations first."""
        pending = list(equations)
        while pending and not self.zero:
            pending.sort(key=lambda e: not (isinstance(e[0], int) or isinstance(e[1], int)))
            left, right = pending.pop(0)
            self._unify(left, right, pending)

    def _unify(self, left: Sub, right: Sub, pending: list[tuple[Sub, Sub]]) -> None:
        if left == right:
            return
        ext = self.extents
        if isinstance(left, int) and isinstance(right, int):
            keep, drop = (left, right) if ext[left] <= ext[right] else (right, left)
            self._bind(drop, keep, pending)
            return
        for one, other in ((left, right), (right, left)):
            if isinstance(one, int) and one not in labels_of(other):
                self._bind(one, other, pending)
                return
        for one, other in ((left, right), (right, left)):
            if self._invert(one, other, pending):
                return
        difference = subtract(left, right)
        low, high = bounds(difference, ext)
        if low > 0 or high < 0:
            self.zero = True
            return
        c, parts = parts_of(difference)
        if not parts:
            self.zero = c != 0
            return
        nested: dict[int, None] = {}
        for _, key in parts:
            if not isinstance(key, int):
                nested.update(labels_of(affine(0, [(1, key)])))
        units = [(k, key) for k, key in parts if isinstance(key, int) and key not in nested]
        for coef, label in sorted(units, key=lambda u: (abs(u[0]), -ext[u[1]])):
            rest = [(k, key) for k, key in parts if key != label]
            if all(k % coef == 0 for k, _ in rest):
                if c % coef:
                    self.zero = True
                else:
                    value = affine(-c // coef, [(-k // coef, key) for k, key in rest])
                    self._bind(label, value, pending)
                return
        self.constraints.extend([difference, scale(difference, -1)])

    def _invert(self, one: Sub, other: Sub, pending: list[tuple[Sub, Sub]]) -> bool:
        """Solve ``one = other`` where ``one`` is a roll, a complete mixed radix, or a stride."""
        if isinstance(one, int) or not one.parts:
            return False
        ext = self.extents
        taken = labels_of(other)
        if len(one.parts) == 1 and isinstance(one.parts[0][1], Mod):
            coef, key = one.parts[0]
            assert isinstance(key, Mod)
            c, inner = parts_of(key.sub)
            if coef == 1 and one.const == 0 and len(inner) == 1:
                sign, label = inner[0]
                low, high = bounds(other, ext)
                if (
                    isinstance(label, int)
                    and abs(sign) == 1
                    and ext[label] == key.n
                    and label not in taken
                    and low >= 0
                    and high < key.n
                ):
                    value = modulo(scale(other, sign, -sign * c), key.n, ext)
                    self._bind(label, value, pending)
                    return True
            return False
        if len(one.parts) < 2 or any(not isinstance(key, int) for _, key in one.parts):
            return False
        digits = sorted(((c, k) for c, k in one.parts if isinstance(k, int)), reverse=True)
        radix = 1
        for coef, digit in reversed(digits):
            if coef != radix or digit in taken:
                return False
            radix *= ext[digit]
        shifted = scale(other, 1, -one.const)
        low, high = bounds(shifted, ext)
        if low < 0 or high >= radix:
            return False
        for coef, digit in digits:
            value = modulo(divided(shifted, coef, ext), ext[digit], ext)
            self._bind(digit, value, pending)
        return True

    # -- inlining -----------------------------------------------------------------------------
    def inline(self, position: int, term: Term | None = None) -> None:
        """Read factor ``position``, a term (or ``term`` in its place), through itself."""
        if self.rename(position, term):
            return
        node, subs = self.factors.pop(position)
        inner = term if term is not None else node
        assert isinstance(inner, Term)
        start = max(self.extents, default=-1) + 1
        fresh = range(start, start + len(inner.extents))
        for label, extent in zip(fresh, inner.extents, strict=True):
            self.extents[label] = extent
        if any(e == 0 for e in inner.extents):
            self.zero = True
        self.factors[position:position] = [
            (n, tuple(relabel(s, fresh) for s in ss)) for n, ss in inner.factors
        ]
        self.constraints.extend(relabel(s, fresh) for s in inner.constraints)
        if inner.coef != 1:
            self.coef = self.coef * inner.coef
        self.solve(self._equations(inner.shape, [relabel(o, fresh) for o in inner.out], subs))

    def _equations(
        self, shape: tuple[int, ...], out: list[Sub], subs: Sequence[Sub]
    ) -> list[tuple[Sub, Sub]]:
        """One equation an axis; axes that are the digits of one label give one together."""
        equations: list[tuple[Sub, Sub]] = []
        axis = 0
        while axis < len(out):
            sub = out[axis]
            if not isinstance(sub, int) and any(isinstance(key, Div) for _, key in sub.parts):
                digits = unravelled(shape, out, axis, self.extents)
                if digits is not None:
                    label, count = digits
                    end = axis + count
                    for one, extent in zip(subs[axis:end], shape[axis:end], strict=True):
                        self.within(one, extent)
                    equations.append((label, ravel(subs[axis:end], shape[axis:end])))
                    axis = end
                    continue
            equations.append((sub, subs[axis]))
            axis += 1
        return equations

    def rename(self, position: int, term: Term | None = None) -> bool:
        """``inline`` where each axis is a label of its own, so that nothing is to be solved.

        Adds no constraints but the inner term's; False, with nothing done, for other terms.
        """
        node, subs = self.factors[position]
        inner = term if term is not None else node
        assert isinstance(inner, Term)
        ext = self.extents
        mapping: dict[int, Sub] = {}
        for label, sub in zip(inner.out, subs, strict=True):
            if not isinstance(label, int):
                if label == sub and not label.parts:
                    continue
                return False
            if label in mapping:
                return False
            if isinstance(sub, int):
                if ext[sub] > inner.extents[label]:
                    return False
            else:
                low, high = bounds(sub, ext)
                if low < 0 or high >= inner.extents[label]:
                    return False
            mapping[label] = sub
        if len(mapping) < len(inner.extents):
            fresh = max(ext, default=-1) + 1
            for label, extent in enumerate(inner.extents):
                if label not in mapping:
                    mapping[label] = fresh
                    ext[fresh] = extent
                    fresh += 1

        new = _renamer(mapping, inner.extents, ext)
        self.factors[position : position + 1] = [
            (n, tuple(map(new, ss))) for n, ss in inner.factors
        ]
        self.constraints.extend(map(new, inner.constraints))
        if inner.coef != 1:
            self.coef = self.coef * inner.coef
        return True

    # -- normal form --------------------------------------------------------------------------
    def tighten(self) -> None:
        """Drop constraints that always hold; turn those on one label into a smaller range."""
        normal.tighten(self)

    def finish(self) -> Node:
        """The interned node in normal form: ranges tight, labels numbered, unit labels gone."""
        return normal.finish(self)

    def term(self) -> Term | None:
        """As :meth:`finish`, but always a term: a node by itself is one factor; None for zero."""
        made = self.finish()
        if isinstance(made, Sum) and not made.parts:
            return None
        if isinstance(made, Term) and all(made is not node for node, _ in self.factors):
            return made
        return whole(made)


def whole(node: Node) -> Term:
    """A term that reads a node as it is: one factor, one label an axis."""
    labels = itertools.count()
    subs = tuple(const(0) if extent == 1 else next(labels) for extent in node.shape)
    extents = tuple(extent for extent in node.shape if extent != 1)
    return Term(node.shape, node.dtype, 1, extents, ((node, subs),), subs)


def _renamer(
    mapping: dict[int, Sub], before: Sequence[int], after: dict[int, int]
) -> Callable[[Sub], Sub]:
    """Subscripts under replaced labels; a mere renaming needs no simplification."""
    names = {k: s for k, s in mapping.items() if isinstance(s, int)}
    apart = len(mapping) == len(names) == len(set(names.values()))
    if apart and all(after[s] == before[k] for k, s in names.items()):
        return lambda sub: names[sub] if isinstance(sub, int) else relabel(sub, names)

    def new(sub: Sub) -> Sub:
        if isinstance(sub, int):
            return mapping[sub]
        return substitute(sub, mapping, after) if sub.parts else sub

    return new


def opened(node: Node) -> Draft | None:
    """The draft of a term itself (its loop nest), None for other nodes."""
    if not isinstance(node, Term):
        return None
    return Draft(
        node.shape,
        node.dtype,
        node.coef,
        dict(enumerate(node.extents)),
        node.factors,
        node.out,
        node.constraints,
    )
