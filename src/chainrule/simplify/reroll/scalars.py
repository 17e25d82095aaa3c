"""Scalars in a form that compares: linear combinations of products of atoms.

A :class:`Linear` is ``Σ coef·Π factors`` over :class:`Atom` and (parenthesised) Linear factors.
Both bear a *kind*, a number that is the same for scalars that differ in their subscripts alone.
Chains of ``s = s + x`` and ``m = max(m, x)`` become one sum, one reduction.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...expr.nodes import Node, Scalar, scalar_key
from .elements import Raw

__all__ = ["Atom", "Factor", "Linear", "Product", "Scalars"]

_EXTREMA = {"maximum": "amax", "minimum": "amin"}
_WORST = {"amax": -np.inf, "amin": np.inf}
_MANY = 5  # so many different factors of one kind are a product over an axis


class Atom:
    """One scalar value that is no sum and no product: ``op`` is read, reduce, cumprod or map."""

    __slots__ = ("args", "data", "dtype", "kind", "op", "origin")

    op: str
    kind: int
    dtype: np.dtype[Any]
    args: tuple[Linear, ...]
    data: Any
    origin: Node


class Linear:
    """``Σ coef·Π factors``; ``value`` is the number where there are no factors."""

    __slots__ = ("dtype", "kind", "origin", "parts")

    dtype: np.dtype[Any]
    kind: int
    parts: tuple[tuple[Scalar, Product], ...]
    origin: Node

    @property
    def value(self) -> Scalar | None:
        """The number that this is, or None."""
        if not self.parts:
            return 0
        if len(self.parts) == 1 and not self.parts[0][1]:
            return self.parts[0][0]
        return None

    @property
    def atom(self) -> Atom | None:
        """The one atom that this is, or None."""
        if len(self.parts) == 1:
            coef, product = self.parts[0]
            if coef == 1 and len(product) == 1 and isinstance(product[0], Atom):
                return product[0]
        return None


Factor: TypeAlias = Atom | Linear
Product: TypeAlias = tuple[Factor, ...]


class Scalars:
    """Linear combinations of raw elements, interned.

    Partial sums that are used once are dissolved into the sum that continues them; with
    ``running`` those that are used elsewhere, too (a cumulative sum needs it).  Opposite addends
    cancel; with ``whole`` they stay, so that ``x[i] − x[j]`` is of one kind on its diagonal, too.
    ``cancelled`` tells whether any did.
    """

    def __init__(self, roots: Iterable[Raw], running: bool = False, whole: bool = False) -> None:
        self.running = running
        self.whole = whole
        self.cancelled = False
        self._kinds: dict[Any, int] = {}
        self._known: dict[Any, Any] = {}
        self._made: dict[Raw, Linear] = {}
        roots = list(dict.fromkeys(roots))
        order = _ordered(roots)
        self._uses = Counter(arg for raw in order for arg in raw.args)
        self._uses.update(roots)
        for raw in order:
            self._made[raw] = self._linear(raw)

    def of(self, raw: Raw) -> Linear:
        """The scalar of a raw element."""
        return self._made[raw]

    def accumulated(self, totals: Any, array: Any) -> Any:
        """Running products along the last axis of an array, if that is what its scalars are."""
        if not self.running or not totals.ndim or totals.shape[-1] < 3:
            return totals
        result = totals.copy()
        for row in np.ndindex(totals.shape[:-1]):
            before: list[Factor] = []
            for place in range(totals.shape[-1]):
                factors = _factors(totals[row][place])
                fresh = [f for f in factors if f not in before]
                alike = len({f.kind for f in factors}) == 1
                if len(fresh) != 1 or len(factors) != place + 1 or not alike:
                    return totals
                before += fresh
                raw = array[row][place]
                args = tuple(self._alone(f, raw) for f in before)
                result[row][place] = self._atom("cumprod", args, "cumprod", args[0].kind, raw)
        return result

    # -- interning ----------------------------------------------------------------------------
    def _enter(self, key: Any, kind: Any, made: Any, origin: Node) -> Any:
        made.kind = self._kinds.setdefault(kind, len(self._kinds))
        made.origin = origin
        self._known[key] = made
        return made

    def _atom(self, op: str, args: tuple[Linear, ...], data: Any, kind: Any, raw: Raw) -> Linear:
        key = (op, args if op != "reduce" else frozenset(args), data, raw.dtype)
        found = self._known.get(key)
        if found is None:
            found = Atom()
            found.op, found.args, found.data, found.dtype = op, args, data, raw.dtype
            self._enter(key, (op, kind, raw.dtype), found, raw.origin)
        return self._sum([(1, (found,))], raw)

    def _sum(self, parts: Iterable[tuple[Scalar, Product]], raw: Raw) -> Linear:
        """A sum of products, equal ones collected."""
        total: dict[tuple[Product, bool], Scalar] = {}
        for coef, product in parts:
            key = product, self.whole and _below(coef)
            before = total.get(key)
            total[key] = coef if before is None else before + coef
            self.cancelled |= before is not None and total[key] == 0
        kept = tuple((c, p) for (p, _), c in total.items() if c != 0)
        if len(kept) == 1 and kept[0][0] == 1 and len(kept[0][1]) == 1:
            (only,) = kept[0][1]
            if isinstance(only, Linear):
                return only
        dtype = raw.dtype
        name = ("linear", dtype, tuple((scalar_key(c), p) for c, p in kept))
        found = self._known.get(name)
        if found is None:
            found = Linear()
            found.parts, found.dtype = kept, dtype
            kinds = frozenset((scalar_key(c), tuple(f.kind for f in p)) for c, p in kept)
            self._enter(name, ("linear", dtype, kinds), found, raw.origin)
        return found

    # -- one element --------------------------------------------------------------------------
    def _linear(self, raw: Raw) -> Linear:
        args = tuple(self._made[a] for a in raw.args)
        if raw.op == "number":
            return self._sum([(raw.data, ())], raw)
        if raw.op == "read":
            node, at = raw.data
            pattern = tuple(min(s, 0) for s in at)
            return self._atom(
                "read", args, raw.data, (node, pattern, tuple(a.kind for a in args)), raw
            )
        if raw.op == "sum":
            return self._added(raw, args)
        if raw.op == "product":
            return self._multiplied(raw.data, args, raw)
        if raw.op == "reduce":
            return self._reduced(raw.data, list(args), raw)
        return self._mapped(raw, args)

    def _added(self, raw: Raw, args: Sequence[Linear]) -> Linear:
        parts: list[tuple[Scalar, Product]] = []
        for position, (coef, one, arg) in enumerate(zip(raw.data, raw.args, args, strict=True)):
            running = self.running and position == 0 and coef == 1
            if len(arg.parts) <= 1 or self._uses[one] == 1 or running:
                parts.extend((coef * c, p) for c, p in arg.parts)
            else:
                parts.append((coef, (arg,)))
        return self._sum(parts, raw)

    def _multiplied(self, coef: Scalar, args: Sequence[Linear], raw: Raw) -> Linear:
        """A product; factors in the order of their kinds, sums in parentheses."""
        flat: list[Factor] = []
        for arg in args:
            if len(arg.parts) == 1:
                c, product = arg.parts[0]
                coef = coef * c
                flat.extend(product)
            elif arg.parts:
                flat.append(arg)
            else:
                return self._sum([], raw)
        flat.sort(key=lambda f: f.kind)
        return self._sum([(coef, self._gathered(flat, raw))], raw)

    def _gathered(self, factors: list[Factor], raw: Raw) -> Product:
        """Many different factors of one kind are one reduction."""
        spread: list[Factor] = []
        for f in factors:
            if isinstance(f, Atom) and f.op == "reduce" and f.data == "prod":
                spread.extend(a.atom or a for a in f.args)
            else:
                spread.append(f)
        spread.sort(key=lambda f: f.kind)
        result: list[Factor] = []
        for _, group in itertools.groupby(spread, key=lambda f: f.kind):
            same = list(group)
            if len(same) == len(set(same)) >= _MANY:
                lone = [self._alone(f, raw) for f in same]
                made = self._reduced("prod", lone, raw).atom
                assert made is not None
                result.append(made)
            else:
                result.extend(same)
        result.sort(key=lambda f: f.kind)
        return tuple(result)

    def _alone(self, factor: Factor, raw: Raw) -> Linear:
        return factor if isinstance(factor, Linear) else self._sum([(1, (factor,))], raw)

    def _reduced(self, op: str, args: list[Linear], raw: Raw) -> Linear:
        args = list(dict.fromkeys(args)) if op != "prod" else args
        if len(args) == 1:
            return args[0]
        kinds = frozenset(a.kind for a in args)
        return self._atom("reduce", tuple(args), op, (op, kinds), raw)

    def _mapped(self, raw: Raw, args: tuple[Linear, ...]) -> Linear:
        op, params = raw.data
        floats = all(a.dtype.kind == "f" for a in args)
        if op == "negative":
            return self._sum([(-c, p) for c, p in args[0].parts], raw)
        if op == "astype" and raw.dtype.kind == "f" and floats:
            return args[0]
        if op == "multiply" and raw.dtype.kind == "f" and floats:
            return self._multiplied(1, args, raw)
        if op in _EXTREMA:
            found = self._extremum(_EXTREMA[op], raw, args)
            if found is not None:
                return found
        kinds = (op, params, tuple(a.kind for a in args))
        return self._atom("map", args, raw.data, kinds, raw)

    def _extremum(self, op: str, raw: Raw, args: tuple[Linear, ...]) -> Linear | None:
        """``max(max(a, b), c)`` as the maximum of a set, where its members are of one kind."""
        members: list[Linear] = []
        for one, arg in zip(raw.args, args, strict=True):
            atom = arg.atom
            if arg.value == _WORST[op]:
                continue
            inner = atom is not None and atom.op == "reduce" and atom.data == op
            if inner and (self._uses[one] == 1 or self.running):
                assert atom is not None
                members.extend(atom.args)
            else:
                members.append(arg)
        members = list(dict.fromkeys(members))
        if len({m.kind for m in members}) > 1 or members[0].value is not None:
            return None
        return self._reduced(op, members, raw)


def _factors(total: Linear) -> list[Factor]:
    """The factors of a plain product, those of a reduction among them."""
    if len(total.parts) != 1 or total.parts[0][0] != 1:
        return [total]
    found: list[Factor] = []
    for factor in total.parts[0][1]:
        if isinstance(factor, Atom) and factor.op == "reduce" and factor.data == "prod":
            found.extend(a.atom or a for a in factor.args)
        else:
            found.append(factor)
    return found


def _below(coef: Scalar) -> bool:
    """Whether a coefficient is the negative one of a pair."""
    return (coef.real, coef.imag) < (0, 0)


def _ordered(roots: Iterable[Raw]) -> list[Raw]:
    """All elements under ``roots``, arguments first."""
    done: set[Raw] = set()
    order: list[Raw] = []
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        raw, expanded = stack.pop()
        if expanded:
            order.append(raw)
        elif raw not in done:
            done.add(raw)
            stack.append((raw, True))
            stack.extend((a, False) for a in reversed(raw.args) if a not in done)
    return order
