"""Subscripts: affine forms of labels, with ``mod``, ``div`` and table look-ups as further keys.

A label is a small integer.  A subscript is either a bare label (a Python ``int``) or an
:class:`Affine` form ``const + Σ coef·key``, where a key is a label, :class:`Mod`, :class:`Div` or
:class:`Look`.  A constant subscript is an :class:`Affine` without parts.

Every function that simplifies takes the extents of the labels, since ``mod(3, b)`` is ``b`` only
where ``b`` stays below 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .nodes import Node

__all__ = [
    "Affine",
    "Div",
    "Key",
    "Look",
    "Mod",
    "Sub",
    "add",
    "affine",
    "bounds",
    "const",
    "const_value",
    "divided",
    "labels_of",
    "looks_of",
    "modulo",
    "order_of",
    "parts_of",
    "ravel",
    "relabel",
    "scale",
    "substitute",
    "subtract",
    "unravel",
    "unravelled",
]


@dataclass(frozen=True, slots=True)
class Affine:
    """``const + Σ coef·key``; parts are sorted, keys distinct, coefficients nonzero."""

    const: int
    parts: tuple[tuple[int, Key], ...]


@dataclass(frozen=True, slots=True)
class Mod:
    """``sub mod n`` in ``[0, n)``."""

    n: int
    sub: Sub


@dataclass(frozen=True, slots=True)
class Div:
    """``floor(sub / n)``."""

    n: int
    sub: Sub


@dataclass(frozen=True, slots=True)
class Look:
    """Entry ``table[subs]`` of an integer-valued node whose entries lie in ``[0, n)``."""

    table: Node
    subs: tuple[Sub, ...]
    n: int


Sub: TypeAlias = int | Affine
Key: TypeAlias = int | Mod | Div | Look


def _key_order(key: Key) -> tuple[Any, ...]:
    if isinstance(key, int):
        return (0, key)
    if isinstance(key, Look):
        return (3, key.table.uid, tuple(order_of(s) for s in key.subs), key.n)
    return (1 if isinstance(key, Mod) else 2, key.n, order_of(key.sub))


def order_of(sub: Sub) -> tuple[Any, ...]:
    """A sorting key: structural, so that it does not depend on addresses."""
    constant, parts = parts_of(sub)
    return tuple((_key_order(key), coef) for coef, key in parts), constant


def _part_order(part: tuple[int, Key]) -> tuple[Any, ...]:
    return _key_order(part[1])


@lru_cache(maxsize=4096, typed=True)
def const(value: int) -> Affine:
    """The constant subscript."""
    return Affine(value, ())


def const_value(sub: Sub) -> int | None:
    """The value of a constant subscript, else None."""
    if isinstance(sub, Affine) and not sub.parts:
        return sub.const
    return None


def parts_of(sub: Sub) -> tuple[int, tuple[tuple[int, Key], ...]]:
    """``(const, parts)`` of any subscript."""
    if isinstance(sub, int):
        return 0, ((1, sub),)
    return sub.const, sub.parts


def affine(constant: int, parts: Iterable[tuple[int, Key]]) -> Sub:
    """Canonical subscript from a constant and (coefficient, key) pairs."""
    total: dict[Key, int] = {}
    for coef, key in parts:
        total[key] = total.get(key, 0) + coef
    kept = [(coef, key) for key, coef in total.items() if coef]
    if len(kept) > 1:
        kept.sort(key=_part_order)
    elif constant == 0 and kept and kept[0][0] == 1 and isinstance(only := kept[0][1], int):
        return only
    return Affine(constant, tuple(kept))


def scale(sub: Sub, factor: int, shift: int = 0) -> Sub:
    """``factor·sub + shift``."""
    constant, parts = parts_of(sub)
    return affine(factor * constant + shift, [(factor * c, k) for c, k in parts])


def add(left: Sub, right: Sub) -> Sub:
    """``left + right``."""
    c1, p1 = parts_of(left)
    c2, p2 = parts_of(right)
    return affine(c1 + c2, [*p1, *p2])


def subtract(left: Sub, right: Sub) -> Sub:
    """``left - right``."""
    return add(left, scale(right, -1))


def _collect(sub: Sub, found: dict[int, None]) -> None:
    if isinstance(sub, int):
        found[sub] = None
        return
    for _, key in sub.parts:
        if isinstance(key, int):
            found[key] = None
        elif isinstance(key, Look):
            for inner in key.subs:
                _collect(inner, found)
        else:
            _collect(key.sub, found)


def labels_of(sub: Sub) -> dict[int, None]:
    """The labels that occur anywhere in a subscript, in order of appearance."""
    found: dict[int, None] = {}
    _collect(sub, found)
    return found


def looks_of(sub: Sub) -> list[Look]:
    """All table look-ups in a subscript, inner ones included."""
    if isinstance(sub, int):
        return []
    found: list[Look] = []
    for _, key in sub.parts:
        if isinstance(key, Look):
            found.append(key)
            for inner in key.subs:
                found.extend(looks_of(inner))
        elif not isinstance(key, int):
            found.extend(looks_of(key.sub))
    return found


def _key_bounds(key: Key, extents: Mapping[int, int]) -> tuple[int, int]:
    if isinstance(key, int):
        return 0, extents[key] - 1
    if isinstance(key, Mod):
        return 0, key.n - 1
    if isinstance(key, Look):
        return 0, key.n - 1
    low, high = bounds(key.sub, extents)
    return low // key.n, high // key.n


def bounds(sub: Sub, extents: Mapping[int, int]) -> tuple[int, int]:
    """Smallest and largest value (inclusive, by interval arithmetic)."""
    if isinstance(sub, int):
        return 0, extents[sub] - 1
    low = high = sub.const
    for coef, key in sub.parts:
        a, b = _key_bounds(key, extents)
        low += coef * (a if coef > 0 else b)
        high += coef * (b if coef > 0 else a)
    return low, high


def _split_multiples(
    sub: Sub, n: int, extents: Mapping[int, int]
) -> tuple[Sub, list[tuple[int, Key]], int]:
    """Write ``sub = rest + n·(Σ parts + c)``; returns rest, the parts and c."""
    constant, parts = parts_of(sub)
    multiples = [(coef // n, key) for coef, key in parts if coef % n == 0]
    rest = [(coef, key) for coef, key in parts if coef % n]
    whole = 0
    remainder = affine(constant, rest)
    low, _ = bounds(remainder, extents)
    if low < 0 or low >= n:
        whole = low // n
        remainder = affine(constant - whole * n, rest)
    return remainder, multiples, whole


def modulo(sub: Sub, n: int, extents: Mapping[int, int]) -> Sub:
    """``sub mod n``, simplified under the labels' extents."""
    if n == 1:
        return const(0)
    rest, _, _ = _split_multiples(sub, n, extents)
    low, high = bounds(rest, extents)
    if low >= 0 and high < n:
        return rest
    if isinstance(rest, Affine) and len(rest.parts) == 1 and rest.const % n == 0:
        coef, key = rest.parts[0]
        if coef == 1 and isinstance(key, Mod) and key.n % n == 0:
            return modulo(key.sub, n, extents)
        if coef == 1 and isinstance(key, Div):
            # (s // m) mod n == (s mod m·n) // m
            inner = modulo(key.sub, n * key.n, extents)
            if inner != key.sub:
                return divided(inner, key.n, extents)
    constant, parts = parts_of(rest)
    return affine(0, [(1, Mod(n, affine(constant % n, parts)))])


def divided(sub: Sub, n: int, extents: Mapping[int, int]) -> Sub:
    """``floor(sub / n)``, simplified under the labels' extents."""
    if n == 1:
        return sub
    rest, multiples, whole = _split_multiples(sub, n, extents)
    low, high = bounds(rest, extents)
    if low >= 0 and high < n:
        return affine(whole, multiples)
    if isinstance(rest, Affine) and len(rest.parts) == 1 and rest.const == 0:
        coef, key = rest.parts[0]
        if coef == 1 and isinstance(key, Div):
            inner = divided(key.sub, n * key.n, extents)
            c, p = parts_of(inner)
            return affine(whole + c, [*multiples, *p])
    return affine(whole, [*multiples, (1, Div(n, rest))])


def _rejoin(constant: int, parts: list[tuple[int, Key]]) -> Sub:
    """Canonical form with ``k·n·div(n, s) + k·mod(n, s)`` written ``k·s``."""
    pairs = {(key.n, key.sub): coef for coef, key in parts if isinstance(key, Mod)}
    if pairs:
        for coef, key in parts:
            if not isinstance(key, Div):
                continue
            for low in _low_digits(key):
                small = pairs.get(low, 0)
                if small and small * key.n == coef:
                    used = (key, Mod(*low))
                    kept = [(c, k) for c, k in parts if k not in used]
                    c0, p0 = parts_of(key.sub)
                    return _rejoin(constant + small * c0, kept + [(small * c, k) for c, k in p0])
    return affine(constant, parts)


def _low_digits(key: Div) -> list[tuple[int, Sub]]:
    """What ``mod(n, s)`` may look like for the ``s`` of ``div(n, s)``."""
    found = [(key.n, key.sub)]
    constant, parts = parts_of(key.sub)
    if constant == 0 and len(parts) == 1 and parts[0][0] == 1:
        inner = parts[0][1]
        if isinstance(inner, Mod) and inner.n % key.n == 0:
            found.append((key.n, inner.sub))
    return found


def substitute(sub: Sub, mapping: Mapping[int, Sub], extents: Mapping[int, int]) -> Sub:
    """Replace labels by subscripts; ``extents`` are those of the labels afterwards."""
    if isinstance(sub, int):
        return mapping.get(sub, sub)
    if not sub.parts:
        return sub
    constant = sub.const
    parts: list[tuple[int, Key]] = []
    for coef, key in sub.parts:
        if isinstance(key, int):
            new: Sub = mapping.get(key, key)
        elif isinstance(key, Look):
            inner = tuple(substitute(s, mapping, extents) for s in key.subs)
            new = Affine(0, ((1, Look(key.table, inner, key.n)),))
        elif isinstance(key, Mod):
            new = modulo(substitute(key.sub, mapping, extents), key.n, extents)
        else:
            new = divided(substitute(key.sub, mapping, extents), key.n, extents)
        c, p = parts_of(new)
        constant += coef * c
        parts.extend((coef * a, k) for a, k in p)
    return _rejoin(constant, parts)


def relabel(sub: Sub, rename: Callable[[int], int] | Sequence[int] | Mapping[int, int]) -> Sub:
    """Rename labels, nothing else (no simplification is needed, order of parts is restored)."""
    get = rename if callable(rename) else rename.__getitem__
    if isinstance(sub, int):
        return get(sub)
    if not sub.parts:
        return sub

    def key(k: Key) -> Key:
        if isinstance(k, int):
            return get(k)
        if isinstance(k, Look):
            return Look(k.table, tuple(relabel(s, get) for s in k.subs), k.n)
        if isinstance(k, Mod):
            return Mod(k.n, relabel(k.sub, get))
        return Div(k.n, relabel(k.sub, get))

    return affine(sub.const, [(c, key(k)) for c, k in sub.parts])


def unravel(label: int, shape: Sequence[int], extents: Mapping[int, int]) -> list[Sub]:
    """The C-order digits of one flat label, one subscript an axis of ``shape``."""
    subs = []
    radix = 1
    for extent in shape:
        radix *= extent
    for extent in shape:
        radix //= extent
        subs.append(modulo(divided(label, radix, extents), extent, extents))
    return subs


def unravelled(
    shape: Sequence[int], subs: Sequence[Sub], axis: int, extents: Mapping[int, int]
) -> tuple[int, int] | None:
    """(label, number of axes) where axes from ``axis`` on are the C-order digits of one label."""
    found = labels_of(subs[axis])
    if len(found) != 1:
        return None
    (label,) = found
    for end in range(axis + 2, len(subs) + 1):
        size = prod(shape[axis:end])
        if size == extents[label]:
            if list(subs[axis:end]) == unravel(label, shape[axis:end], extents):
                return label, end - axis
        elif size > extents[label]:
            return None
    return None


def ravel(subs: Sequence[Sub], shape: Sequence[int]) -> Sub:
    """The flat subscript whose C-order digits are ``subs``."""
    constant = 0
    parts: list[tuple[int, Key]] = []
    radix = 1
    for sub, extent in zip(reversed(subs), reversed(shape), strict=True):
        c, p = parts_of(sub)
        constant += radix * c
        parts.extend((radix * k, key) for k, key in p)
        radix *= extent
    return _rejoin(constant, parts)
