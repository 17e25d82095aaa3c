"""Sets of integer points as loop nests: labels, affine columns, constraints.

A set of points is given by columns (a subscript each).  :func:`fit` finds labels that run from 0
and write every column as an affine form of them, such that the points are exactly the label box,
or the part of it in which some affine forms are not negative (a triangle, a padded window) or not 0
(all but a diagonal).  A column may also be an affine form ``mod`` or ``div`` a number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Any, Literal

import numpy as np

__all__ = [
    "Form",
    "Nest",
    "Unfit",
    "affine_columns",
    "basis_of",
    "fit",
    "fit_several",
    "normalized",
]

Points = Any  # an integer array, one row a point

_MAX_GRID = 400_000
_MAX_BASES = 300
_MAX_PARTS = 9
_MAX_LABELS = 4


class Unfit(ValueError):
    """No loop nest of affine subscripts has these points."""


@dataclass(frozen=True)
class Form:
    """``const + Σ coefs[k]·label k``, or that ``mod`` or ``div`` a number."""

    const: int
    coefs: tuple[int, ...]
    wrap: tuple[Literal["mod", "div"], int] | None = None

    def of(self, labels: Points) -> Any:
        """Its values at rows of labels."""
        inner = labels @ np.array(self.coefs, int) + self.const if self.coefs else self.const
        if self.wrap is None:
            return inner
        how, n = self.wrap
        return inner % n if how == "mod" else inner // n

    def reach(self, extents: Sequence[int]) -> tuple[int, int]:
        """Its least and its largest value over a box of labels (of ``mod`` bounds of them)."""
        steps = [c * (e - 1) for c, e in zip(self.coefs, extents, strict=True)]
        low = self.const + sum(s for s in steps if s < 0)
        high = self.const + sum(s for s in steps if s > 0)
        if self.wrap is None:
            return low, high
        how, n = self.wrap
        return (0, n - 1) if how == "mod" else (low // n, high // n)

    def moved(self, order: Sequence[int]) -> Form:
        """The same form after label ``order[k]`` has become label k."""
        return replace(self, coefs=tuple(self.coefs[k] for k in order))


@dataclass(frozen=True)
class Nest:
    """Labels (their extents), a form for every column, forms nowhere negative, or nowhere 0."""

    extents: tuple[int, ...]
    columns: tuple[Form, ...]
    constraints: tuple[Form, ...] = ()
    apart: tuple[Form, ...] = ()

    def inside(self, grid: Points) -> Any:
        """Which rows of labels are points."""
        found = np.ones(len(grid), bool)
        for form in self.constraints:
            found &= form.of(grid) >= 0
        for form in self.apart:
            found &= form.of(grid) != 0
        return found


def normalized(column: Any) -> tuple[Any, int, int]:
    """A column as ``start + step·label``: the label's values, start and step."""
    start = int(column.min())
    shifted = column - start
    step = int(np.gcd.reduce(shifted)) or 1
    return shifted // step, start, step


def affine_columns(labels: Points, columns: Points) -> list[Form] | None:
    """Each column as an integer affine form of the labels, None where one is not."""
    count, width = labels.shape
    system = np.column_stack([np.ones(count, int), labels])
    solution, *_ = np.linalg.lstsq(system.astype(float), columns.astype(float), rcond=None)
    whole = np.rint(solution).astype(int)
    if not np.array_equal(system @ whole, columns):
        return None
    return [
        Form(int(whole[0, k]), tuple(int(whole[1 + j, k]) for j in range(width)))
        for k in range(columns.shape[1])
    ]


def basis_of(points: Points, columns: Sequence[int]) -> list[int]:
    """The first of ``columns`` that no earlier ones give as an affine form."""
    chosen: list[int] = []
    rank = 0
    for k in columns:
        trial = points[:, [*chosen, k]]
        found = int(np.linalg.matrix_rank((trial - trial[0]).astype(float)))
        if found > rank:
            chosen.append(k)
            rank = found
    return chosen


def _bases(points: Points) -> Iterator[tuple[int, ...]]:
    """Sets of columns that determine all others, the first columns first."""
    width = points.shape[1]
    shifted = points - points[0]
    rank = int(np.linalg.matrix_rank(shifted.astype(float))) if len(points) > 1 else 0
    kept: list[int] = []
    seen: list[Any] = []
    for k in range(width):
        column = shifted[:, k]
        if column.any() and not any(
            np.array_equal(column, other) or np.array_equal(column, -other) for other in seen
        ):
            kept.append(k)
            seen.append(column)
    for choice in itertools.islice(itertools.combinations(kept, rank), _MAX_BASES):
        if int(np.linalg.matrix_rank(shifted[:, choice].astype(float))) == rank:
            yield choice


def fit(
    points: Points,
    domain: Points,
    shape: Sequence[int],
    limits: Sequence[int] = (),
    apart: Sequence[tuple[int, int]] = (),
) -> Nest:
    """The simplest loop nest whose points are these (distinct rows).

    The first columns lie in a box of ``shape``, and of that only the rows of ``domain`` count: what
    the nest does for others does not matter, but none may be outside of the box.  ``limits`` are
    the extents of the columns' axes: labels under constraints run over whole axes where they can.
    ``apart`` are pairs of columns that are nowhere equal.
    """
    best: tuple[tuple[int, int], Nest] | None = None
    width = points.shape[1]
    points = np.column_stack([points, *_starts(points, len(shape))])
    for choice in _bases(points):
        nest = _nest(points, choice, domain, shape, apart)
        if nest is None:
            continue
        backward = sum(c < 0 for form in nest.columns for c in form.coefs)
        if not nest.constraints and not backward:
            nest = replace(nest, columns=nest.columns[:width])
            if not nest.apart and len(domain) == prod(shape):
                return nest
            return _widened(nest, len(points), domain, shape, limits or shape)
        cost = len(nest.constraints), backward
        if best is None or cost < best[0]:
            best = cost, nest
    if best is None:
        raise Unfit
    nest = replace(best[1], columns=best[1].columns[:width])
    return _widened(nest, len(points), domain, shape, limits or shape)


def _widened(
    nest: Nest, count: int, domain: Points, shape: Sequence[int], limits: Sequence[int]
) -> Nest:
    """The same points, with labels that run over whole axes as far as constraints allow that.

    ``j > i`` then is a triangle of the whole matrix, and no part of a window of it.
    """
    for column, limit in zip(nest.columns, limits, strict=False):
        moved = [k for k, c in enumerate(column.coefs) if c]
        if len(moved) != 1 or column.coefs[moved[0]] != 1 or column.wrap is not None:
            continue
        (label,) = moved
        if column.const < 0 or (column.const == 0 and nest.extents[label] >= limit):
            continue
        extents = tuple(limit if k == label else e for k, e in enumerate(nest.extents))
        shift = column.const

        def behind(form: Form, label: int = label, shift: int = shift) -> Form:
            return replace(form, const=form.const - shift * form.coefs[label])

        wider = Nest(
            extents,
            tuple(map(behind, nest.columns)),
            tuple(map(behind, nest.constraints)),
            tuple(map(behind, nest.apart)),
        )
        if prod(extents) > _MAX_GRID:
            continue
        grid = np.indices(extents).reshape(len(extents), -1).T
        grid = grid[wider.inside(grid)]
        places = [form.of(grid) for form in wider.columns]
        inside = all(
            bool(((place >= 0) & (place < n)).all())
            for place, n in zip(places, limits, strict=False)
        )
        if inside and int(_counts(grid, wider.columns[: len(shape)], domain, shape).sum()) == count:
            nest = wider
    return nest


def fit_several(
    points: Points, domain: Points, shape: Sequence[int], limits: Sequence[int]
) -> list[Nest] | None:
    """One nest, or where the points are no loop nest a few of them; None where there are none."""
    try:
        return [fit(points, domain, shape, limits)]
    except Unfit:
        pass
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(points.shape[1]), 2)
        if _misses(points[:, a] - points[:, b])
    ]
    for apart in (*([pair] for pair in pairs), pairs if len(pairs) > 1 else []):
        if apart:
            try:
                return [fit(points, domain, shape, limits, apart)]
            except Unfit:
                continue
    wrapped = _wrapped(points, limits)
    if wrapped is not None:
        return [wrapped]
    for parts in _parts(points, len(shape), limits):
        try:
            nests = [_whole_or_wrapped(part, domain, shape, limits) for part in parts]
        except Unfit:
            continue
        if all(len(nest.constraints) < 2 for nest in nests):  # a few points are in any polygon
            return nests
    return None


def _whole_or_wrapped(
    points: Points, domain: Points, shape: Sequence[int], limits: Sequence[int]
) -> Nest:
    try:
        return fit(points, domain, shape, limits)
    except Unfit:
        found = _wrapped(points, limits)
        if found is None:
            raise
        return found


def _wrapped(points: Points, limits: Sequence[int]) -> Nest | None:
    """A full box of labels under which some columns are ``mod`` or ``div`` a number."""
    width = points.shape[1]
    numbers = sorted({2, 3, 4, *(n for n in limits if n > 1)})
    for size in range(1, min(width, _MAX_LABELS + 1)):
        for choice in itertools.islice(itertools.combinations(range(width), size), _MAX_BASES):
            labels = np.zeros((len(points), size), int)
            for position, k in enumerate(choice):
                labels[:, position], _, _ = normalized(points[:, k])
            extents = tuple(int(e) for e in labels.max(axis=0) + 1)
            if prod(extents) != len(points) or len(np.unique(labels, axis=0)) < len(points):
                continue
            columns = [
                _any_form(labels, points[:, k], extents, numbers, limits[k]) for k in range(width)
            ]
            found = [c for c in columns if c is not None]
            if len(found) == width and any(c.wrap is not None for c in found):
                return Nest(extents, tuple(found))
    return None


def _any_form(
    labels: Points, column: Any, extents: Sequence[int], numbers: Sequence[int], limit: int
) -> Form | None:
    """The column as an affine form, or one that ``mod`` or ``div`` wraps."""
    plain = affine_columns(labels, column[:, None])
    if plain is not None:
        return plain[0]
    for coefs in sorted(
        itertools.product((0, 1, -1, 2), repeat=len(extents)),
        key=lambda c: (sum(map(abs, c)), sum(x < 0 for x in c)),
    ):
        inner = labels @ np.array(coefs, int)
        if not any(coefs):
            continue
        for n in dict.fromkeys((limit, *numbers)):
            const = int(column[0] - inner[0]) % n
            if n > 1 and np.array_equal((inner + const) % n, column):
                const -= n if 2 * const > n else 0
                return Form(const, coefs, ("mod", n))
        for n in numbers:
            for const in range(n):
                if np.array_equal((inner + const) // n, column):
                    return Form(const, coefs, ("div", n))
    return None


def _misses(gap: Any) -> bool:
    """Whether a difference is of both signs and nowhere 0."""
    return bool((gap != 0).all() and (gap > 0).any() and (gap < 0).any())


def _parts(points: Points, given: int, limits: Sequence[int]) -> Iterator[list[Points]]:
    """Ways to take points apart: by the sign of a difference, or by what it is (around an axis)."""
    for a, b in itertools.combinations(range(points.shape[1]), 2):
        gap = points[:, a] - points[:, b]
        for first in (gap > 0, gap >= 0):
            if first.any() and not first.all():
                yield [points[first], points[~first]]
    offsets = points[:, given:, None] - points[:, None, :given]
    for matching in itertools.islice(_matchings(points.shape[1] - given, given), _MAX_BASES):
        chosen = offsets[:, range(len(matching)), matching]
        for taken in (chosen, chosen % np.array(limits[given:])):
            kinds, inverse = np.unique(taken, axis=0, return_inverse=True)
            if 1 < len(kinds) <= min(_MAX_PARTS, len(points) // 3):
                parts = [points[inverse.reshape(-1) == k] for k in range(len(kinds))]
                if min(map(len, parts)) * 2 >= max(map(len, parts)) > 1:
                    yield parts


def _matchings(count: int, given: int) -> Iterator[tuple[int, ...]]:
    """For each of ``count`` columns one of those given."""
    return itertools.product(range(given), repeat=count) if given and count else iter(())


def _starts(points: Points, given: int) -> list[Any]:
    """Further columns to take labels from: how far a column is past its first value at a place."""
    if not 0 < given < points.shape[1]:
        return []
    places, inverse = np.unique(points[:, :given], axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    found: list[Any] = []
    for k in range(given, points.shape[1]):
        first = np.full(len(places), np.iinfo(int).max)
        np.minimum.at(first, inverse, points[:, k])
        if (first != first[0]).any() and affine_columns(places, first[:, None]) is not None:
            found.append(points[:, k] - first[inverse])
    return found


def _nest(
    points: Points,
    choice: Sequence[int],
    domain: Points,
    shape: Sequence[int],
    apart: Sequence[tuple[int, int]],
) -> Nest | None:
    labels = np.zeros((len(points), len(choice)), int)
    for position, k in enumerate(choice):
        labels[:, position], _, _ = normalized(points[:, k])
    columns = affine_columns(labels, points)
    if columns is None:
        return None
    extents = tuple(int(e) for e in labels.max(axis=0) + 1) if len(choice) else ()
    gaps = tuple(dict.fromkeys(_difference(columns[a], columns[b]) for a, b in apart))
    if prod(extents) == len(points) and not gaps:
        return Nest(extents, tuple(columns))
    if prod(extents) > _MAX_GRID:
        return None
    grid = np.indices(extents).reshape(len(extents), -1).T
    grid = grid[Nest(extents, (), (), gaps).inside(grid)]
    grid = grid[_counts(grid, columns[: len(shape)], domain, shape)]
    if len(grid) == len(points):
        return Nest(extents, tuple(columns), (), gaps)
    if gaps:
        return None
    bounds = _half_spaces(labels, columns, extents)
    inside = np.array([form.of(grid) >= 0 for form in bounds])
    if int(inside.all(axis=0).sum()) != len(points):
        return None
    needed = list(range(len(bounds)))
    for k in reversed(range(len(bounds))):
        rest = [j for j in needed if j != k]
        if int(inside[rest].all(axis=0).sum()) == len(points):
            needed = rest
    return Nest(extents, tuple(columns), tuple(bounds[k] for k in needed))


def _difference(a: Form, b: Form) -> Form:
    return Form(a.const - b.const, tuple(c - d for c, d in zip(a.coefs, b.coefs, strict=True)))


def _counts(grid: Points, columns: Sequence[Form], domain: Points, shape: Sequence[int]) -> Any:
    """Which points a nest must have or must not have: over the domain, or outside of the box."""
    if not shape:
        return np.ones(len(grid), bool)
    places = np.column_stack([np.broadcast_to(form.of(grid), len(grid)) for form in columns])
    outside = ((places < 0) | (places >= np.array(shape))).any(axis=1)
    known = set(map(tuple, domain.tolist()))
    return outside | np.array([tuple(row) in known for row in places.tolist()], bool)


def _half_spaces(labels: Points, columns: Sequence[Form], extents: Sequence[int]) -> list[Form]:
    """Tight half spaces around points: in the columns' directions, differences, sums."""
    width = len(extents)
    directions: dict[tuple[int, ...], None] = {}
    for a, b in itertools.combinations(range(width), 2):
        for sign in (-1, 1):
            one = [0] * width
            one[a], one[b] = 1, sign
            directions[tuple(one)] = None
    columns = [form for form in columns if form.wrap is None]
    for form in columns:
        directions[form.coefs] = None
    for left, right in itertools.combinations(columns, 2):
        directions[tuple(a - b for a, b in zip(left.coefs, right.coefs, strict=True))] = None
    found: dict[Form, None] = {}
    for direction in directions:
        divisor = gcd(*direction)
        if divisor == 0 or sum(c != 0 for c in direction) < 2:
            continue
        unit = tuple(c // divisor for c in direction)
        values = labels @ np.array(unit, int)
        low, high = int(values.min()), int(values.max())
        found[Form(-low, unit)] = None
        found[Form(high, tuple(-c for c in unit))] = None
    return list(found)
