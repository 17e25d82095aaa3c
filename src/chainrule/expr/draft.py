"""Terms under construction: reading one term through another, solving for labels, normal form.

A :class:`Draft` is a mutable term.  ``inline`` replaces a factor that is itself a term by that
term's own factors: the axes of the inner term are matched with the subscripts under which it is
read, one equation an axis, and each equation is solved for a label (:meth:`Draft.unify`).  That
single operation is matrix-vector product, chain rule, indexing, diagonal and transposition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .nodes import Const, Factor, Map, Node, Scalar, Sum, Term
from .subs import (
    Mod,
    Sub,
    affine,
    bounds,
    const,
    const_value,
    divided,
    labels_of,
    modulo,
    parts_of,
    relabel,
    scale,
    substitute,
    subtract,
)

__all__ = ["Draft", "draft_of", "opened", "tidy_coef", "zeros"]


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Sum:
    """The zero node: an empty sum."""
    return Sum(shape, dtype, ())


def tidy_coef(coef: Scalar) -> Scalar:
    """Integral floats as ints, so that equal terms are the same node; ``-0.0`` stays."""
    if isinstance(coef, float) and coef.is_integer() and abs(coef) < 2**53 and coef != 0:
        return int(coef)
    if isinstance(coef, complex) and coef.imag == 0 and coef.real != 0:
        return tidy_coef(coef.real)
    return coef


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
            if (
                coef == 1
                and one.const == 0
                and len(inner) == 1
                and isinstance(inner[0][1], int)
                and abs(inner[0][0]) == 1
                and ext[inner[0][1]] == key.n
                and inner[0][1] not in taken
            ):
                sign, label = inner[0]
                value = modulo(scale(other, sign, -sign * c), key.n, ext)
                low, high = bounds(other, ext)
                if low >= 0 and high < key.n and isinstance(label, int):
                    self._bind(label, value, pending)
                    return True
            return False
        if len(one.parts) < 2 or any(not isinstance(key, int) for _, key in one.parts):
            return False
        digits = sorted(((c, k) for c, k in one.parts if isinstance(k, int)), reverse=True)
        radix = 1
        for coef, label in reversed(digits):
            if coef != radix or label in taken:
                return False
            radix *= ext[label]
        shifted = scale(other, 1, -one.const)
        low, high = bounds(shifted, ext)
        if low < 0 or high >= radix:
            return False
        for coef, label in digits:
            value = modulo(divided(shifted, coef, ext), ext[label], ext)
            self._bind(label, value, pending)
        return True

    # -- inlining -----------------------------------------------------------------------------
    def inline(self, position: int, term: Term | None = None) -> None:
        """Read factor ``position``, a term (or ``term`` in its place), through itself."""
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
        self.solve([(relabel(o, fresh), s) for o, s in zip(inner.out, subs, strict=True)])

    # -- normal form --------------------------------------------------------------------------
    def tighten(self) -> None:
        """Drop constraints that always hold; turn those on one label into a smaller range."""
        tried: set[Sub] = set()
        while self.constraints and not self.zero and self._tighten_once(tried):
            pass

    def _tighten_once(self, tried: set[Sub]) -> bool:
        kept: list[Sub] = []
        for sub in dict.fromkeys(self.constraints):
            low, high = bounds(sub, self.extents)
            if high < 0:
                self.zero = True
                return False
            if low < 0:
                kept.append(sub)
        self.constraints = kept
        for sub in kept:
            c, parts = parts_of(sub)
            if len(parts) == 1 and isinstance(parts[0][1], int):
                k, label = parts[0]
                extent = self.extents[label]
                first = max(0, -(c // k)) if k > 0 else 0
                last = extent - 1 if k > 0 else min(extent - 1, c // -k)
                if last < first:
                    self.zero = True
                    return False
                self.constraints = [s for s in kept if s != sub]
                self.extents[label] = last - first + 1
                if first:
                    self.replace({label: affine(first, [(1, label)])})
                elif last < extent - 1:
                    self.replace({label: label})  # a smaller range may simplify mod and div
                return True
            opposite = scale(sub, -1)
            if sub not in tried and (bounds(sub, self.extents)[1] == 0 or opposite in kept):
                tried.update((sub, opposite))
                self.constraints = [s for s in kept if s not in (sub, opposite)]
                self.solve([(sub, const(0))])
                return True
        return False

    def finish(self) -> Node:
        """The interned node in normal form: ranges tight, labels numbered, unit labels gone."""
        if 0 in self.shape:
            return zeros(self.shape, self.dtype)
        if self.constraints:
            self.tighten()
        if self.zero or any(isinstance(n, Sum) and not n.parts for n, _ in self.factors):
            return zeros(self.shape, self.dtype)
        unit = {label: const(0) for label, extent in self.extents.items() if extent == 1}
        if unit:
            for label in unit:
                del self.extents[label]
            self.replace(dict(unit))
        if any(extent <= 0 for extent in self.extents.values()):
            return zeros(self.shape, self.dtype)
        coef = self.coef
        factors = []
        for node, subs in self.factors:
            if isinstance(node, Const):
                coef = coef * node.value
            else:
                factors.append((node, subs))
        coef = tidy_coef(coef)
        if coef == 0 and isinstance(coef, int | bool):
            return zeros(self.shape, self.dtype)
        order: dict[int, None] = {}
        for sub in self.out:
            order.update(labels_of(sub))
        for _, subs in factors:
            for sub in subs:
                order.update(labels_of(sub))
        for sub in self.constraints:
            order.update(labels_of(sub))
        for label, extent in self.extents.items():
            if label not in order:
                coef = coef * extent
        number = {label: i for i, label in enumerate(order)}
        out = tuple(relabel(s, number) for s in self.out)
        extents = tuple(self.extents[label] for label in order)
        kept = tuple((n, tuple(relabel(s, number) for s in subs)) for n, subs in factors)
        if (
            coef == 1
            and len(kept) == 1
            and not self.constraints
            and _is_identity(kept[0], out, self.shape, extents)
        ):
            node = kept[0][0]
            return node if node.dtype == self.dtype else _cast(node, self.dtype)
        constraints = tuple(sorted({relabel(s, number) for s in self.constraints}, key=repr))
        return Term(self.shape, self.dtype, coef, extents, kept, out, constraints)


def _is_identity(
    factor: Factor, out: Sequence[Sub], shape: tuple[int, ...], extents: tuple[int, ...]
) -> bool:
    node, subs = factor
    if node.shape != shape or subs != tuple(out):
        return False
    seen = set()
    for axis, sub in enumerate(out):
        if isinstance(sub, int):
            if sub in seen or extents[sub] != shape[axis]:
                return False
            seen.add(sub)
        elif const_value(sub) is None or shape[axis] != 1:
            return False
    return True


def _cast(node: Node, dtype: np.dtype[Any]) -> Node:
    return Map("astype", node.shape, dtype, (node,), (dtype.str,))


def draft_of(node: Node) -> Draft:
    """A draft that reads ``node`` whole: one factor under its own labels."""
    labels = tuple(range(node.ndim))
    return Draft(
        node.shape, node.dtype, 1, dict(enumerate(node.shape)), [(node, labels)], labels
    )


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


