"""Scalars of one kind as an array: which labels tell them apart, and how the array is computed.

Kinds are taken parts before wholes, so that every part already is an element of an array: its
*columns* are the subscripts there.  The columns of all members of a kind are fitted by labels
(:mod:`.lattice`), which become the axes of the new array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...expr.build import linear, ramp, view
from ...expr.calls import call
from ...expr.draft import Draft, zeros
from ...expr.nodes import Box, Const, Map, Node, Scalar
from ...expr.subs import Div, Look, Mod, Sub, affine
from .elements import PatternError
from .lattice import Form, Nest, Unfit, affine_columns, basis_of, fit, fit_several, normalized
from .scalars import Atom, Factor, Linear, Product

__all__ = ["Groups"]

_Index = tuple[int, ...]
_MOST = 20_000  # elements of an array that is wider than what is read from it


class _Cluster:
    """Products of one kind: their nest, whose first columns are the output's subscripts."""

    __slots__ = ("coef", "nest", "product")

    def __init__(self, coef: Scalar, product: Product, nest: Nest) -> None:
        self.coef = coef
        self.product = product
        self.nest = nest


class _Group:
    """The members of one kind, each with its index into the array that they form."""

    def __init__(self, sample: Factor) -> None:
        self.sample = sample
        self.index: dict[Factor, _Index] = {}
        self.extents: tuple[int, ...] = ()
        self.forms: list[Form] = []  # of a map: columns of its arguments
        self.clusters: list[_Cluster] = []  # of a sum, a reduction
        self.order: list[int] | None = None  # which label each axis is
        self.node: Node | None = None

    @property
    def axes(self) -> list[int]:
        return self.order if self.order is not None else list(range(len(self.extents)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.extents[k] for k in self.axes)


class Groups:
    """Arrays for all kinds of scalars under some roots."""

    def __init__(self, counts: Mapping[Node, int]) -> None:
        self.counts = counts
        self.groups: dict[int, _Group] = {}
        self._sums: set[tuple[int, int]] = set()

    def enter(self, roots: Iterable[Linear]) -> None:
        """Find the arrays of everything that roots are sums of."""
        for kind, members in self._members(list(roots)):
            self.groups[kind] = self._group(members)

    def _members(self, roots: Sequence[Linear]) -> list[tuple[int, list[Factor]]]:
        """All factors and arguments under roots, by kind, parts before wholes."""
        atoms: dict[Atom, None] = {}
        done: set[Factor] = set(roots)
        stack: list[Factor] = list(reversed(roots))
        while stack:
            factor = stack.pop()
            if isinstance(factor, Atom):
                atoms[factor] = None
                for position, arg in enumerate(factor.args):
                    if arg.value is None and arg.atom is None:
                        self._sums.add(_place(factor, position))
                inner: list[Factor] = list(factor.args)
            else:
                inner = [f for _, p in factor.parts for f in p]
            fresh = [f for f in inner if f not in done]
            done.update(fresh)
            stack.extend(reversed(fresh))
        found: dict[int, dict[Factor, None]] = {}
        for root in roots:
            for factor in (f for _, p in root.parts for f in p):
                found.setdefault(factor.kind, {})[factor] = None
        for factor in done:
            if isinstance(factor, Linear) and factor.value is None:
                for inner_factor in (f for _, p in factor.parts for f in p):
                    found.setdefault(inner_factor.kind, {})[inner_factor] = None
        for atom in atoms:
            for argument in self.arguments(atom):
                found.setdefault(argument.kind, {})[argument] = None
        return [
            (kind, members)
            for kind in sorted(found)
            if not _is_read(next(iter(members := list(found[kind]))))
        ]

    def arguments(self, atom: Atom) -> list[Factor]:
        """The arguments that are no numbers: as sums where some of the kind are sums."""
        return [
            arg if _place(atom, position) in self._sums else arg.atom or arg
            for position, arg in enumerate(atom.args)
            if arg.value is None
        ]

    # -- columns ------------------------------------------------------------------------------
    def columns(self, factor: Factor) -> _Index:
        """The subscripts under which a scalar is found in its array (tables' ones included)."""
        if isinstance(factor, Atom) and factor.op == "read":
            at = tuple(s for s in factor.data[1] if s >= 0)
            return at + self.product(self.arguments(factor))
        return self.groups[factor.kind].index[factor]

    def product(self, product: Iterable[Factor]) -> _Index:
        """The columns of a product."""
        return tuple(c for factor in product for c in self.columns(factor))

    # -- finding labels -----------------------------------------------------------------------
    def _group(self, members: list[Factor]) -> _Group:
        group = _Group(members[0])
        try:
            if isinstance(members[0], Linear):
                self._of_sums(group, members)
            elif members[0].op == "cumprod":
                self._of_running(group, members)
            elif members[0].op == "reduce":
                self._of_reductions(group, members)
            else:
                self._of_maps(group, members)
        except Unfit:
            raise PatternError(_STANDS.format(what=_named(members[0])), _origins(members)) from None
        return group

    def _of_running(self, group: _Group, members: list[Factor]) -> None:
        """Running products: each is found by its last factor, the last axis runs."""
        chains = [self.arguments(m) for m in members if isinstance(m, Atom)]
        points = np.array([self.columns(chain[-1]) for chain in chains], int)
        labels = self._labels(group, points, basis_of(points, range(points.shape[1])))
        forms = affine_columns(labels, points)
        steps = np.array([len(chain) - 1 for chain in chains])
        last = [k for k in range(labels.shape[1]) if np.array_equal(labels[:, k], steps)]
        if forms is None or len(last) != 1 or prod(group.extents) != len(members):
            raise Unfit
        group.forms = forms
        group.order = [k for k in range(labels.shape[1]) if k != last[0]] + last
        group.index = {m: tuple(row) for m, row in zip(members, labels.tolist(), strict=True)}

    def _of_maps(self, group: _Group, members: list[Factor]) -> None:
        rows = [self.product(self.arguments(m)) for m in members if isinstance(m, Atom)]
        points = np.array(rows, int).reshape(len(rows), -1)
        sample = members[0]
        assert isinstance(sample, Atom)
        limits = [n for a in self.arguments(sample) for n in self._limits(a)]
        basis = basis_of(points, range(points.shape[1]))
        for wide in (limits, []):
            labels = self._labels(group, points, basis, wide)
            forms = affine_columns(labels, points)
            if forms is None:
                raise Unfit
            group.forms = forms
            group.index = {m: tuple(row) for m, row in zip(members, labels.tolist(), strict=True)}
            if self._within(group, limits):
                return
        raise Unfit

    def _within(self, group: _Group, limits: Sequence[int]) -> bool:
        """The box of the labels may hold more than the members: no argument may be outside."""
        for form, limit in zip(group.forms, limits, strict=True):
            low, high = form.reach(group.extents)
            if low < 0 or high >= limit:
                return False
        return True

    def _limits(self, factor: Factor) -> tuple[int, ...]:
        if isinstance(factor, Atom) and factor.op == "read":
            node, at = factor.data
            own = tuple(e for e, s in zip(node.shape, at, strict=True) if s >= 0)
            return own + tuple(n for t in self.arguments(factor) for n in self._limits(t))
        return self.groups[factor.kind].extents

    @staticmethod
    def _labels(
        group: _Group, points: Any, basis: Sequence[int], limits: Sequence[int | None] = ()
    ) -> Any:
        """Labels that run from 0, and their extents; of a triangle up to the columns' limits."""
        labels = np.zeros((len(points), len(basis)), int)
        starts: list[int | None] = []
        for position, k in enumerate(basis):
            labels[:, position], start, step = normalized(points[:, k])
            starts.append(start if step == 1 else None)
        extents = [int(e) + 1 for e in labels.max(axis=0)] if len(basis) else []
        if limits and len(np.unique(labels, axis=0)) < prod(extents):
            for position, (k, first) in enumerate(zip(basis, starts, strict=True)):
                limit = limits[k]
                if first is not None and limit is not None and prod(extents) * limit < _MOST:
                    labels[:, position] += first
                    extents[position] = limit
        group.extents = tuple(extents)
        return labels

    def _of_sums(self, group: _Group, members: list[Factor]) -> None:
        sums = [m for m in members if isinstance(m, Linear)]
        labels = self._members_labels(group, [_by_kind(m) for m in sums])
        group.index = {m: tuple(row) for m, row in zip(sums, labels.tolist(), strict=True)}
        group.clusters = self.clusters([(group.index[m], m) for m in sums], group.extents)

    def _of_reductions(self, group: _Group, members: list[Factor]) -> None:
        atoms = [m for m in members if isinstance(m, Atom)]
        if any(len({a.kind for a in m.args}) > 1 for m in atoms):
            raise Unfit
        sets: list[dict[Any, list[Product]]] = [
            {m.data: [(a,) for a in self.arguments(m)]} for m in atoms
        ]
        labels = self._members_labels(group, sets)
        group.index = {m: tuple(row) for m, row in zip(atoms, labels.tolist(), strict=True)}
        rows = [(*group.index[m], *self.columns(a)) for m in atoms for a in self.arguments(m)]
        nest = fit(np.array(rows, int).reshape(len(rows), -1), labels, group.extents)
        if nest.constraints:
            raise Unfit
        group.clusters = [_Cluster(1, (self.arguments(atoms[0])[0],), nest)]

    def _members_labels(self, group: _Group, sets: list[dict[Any, list[Product]]]) -> Any:
        """Labels that tell sums apart: what is the same within each, else the ends of ranges."""
        fixed: list[Any] = []
        limits: list[int | None] = []
        ends: list[Any] = []
        for kind in dict.fromkeys(k for one in sets for k in one):
            tables = [
                np.array([self.product(p) for p in one[kind]], int) if kind in one else None
                for one in sets
            ]
            width = next(t.shape[1] for t in tables if t is not None)
            if any(t is None for t in tables):
                continue
            columns = [[t[:, k] for t in tables if t is not None] for k in range(width)]
            sample = next(one[kind][0] for one in sets if kind in one)
            reach = [n for factor in sample for n in self._limits(factor)]
            moving = []
            for column, limit in zip(columns, reach, strict=True):
                low = np.array([c.min() for c in column])
                high = np.array([c.max() for c in column])
                if (low == high).all():
                    fixed.append(low)
                    limits.append(limit)
                else:
                    moving.append(column)
                    ends.extend((high, low))
            for a in range(len(moving)):
                for b in range(a):
                    for sign in (-1, 1):
                        mix = [x + sign * y for x, y in zip(moving[b], moving[a], strict=True)]
                        if all((m == m[0]).all() for m in mix):
                            fixed.append(np.array([m[0] for m in mix]))
                            limits.append(None)
        points = np.zeros((len(sets), len(fixed) + len(ends)), int)
        for k, column in enumerate([*fixed, *ends]):
            points[:, k] = column
        basis = basis_of(points, range(len(fixed)))
        if len(np.unique(points[:, basis], axis=0)) < len(sets):
            basis = basis_of(points, range(points.shape[1]))
            if len(np.unique(points[:, basis], axis=0)) < len(sets):
                raise Unfit
        return self._labels(group, points, basis, [*limits, *[None] * len(ends)])

    def clusters(
        self, sums: Sequence[tuple[_Index, Linear]], shape: tuple[int, ...]
    ) -> list[_Cluster]:
        """Sums at places of an array of ``shape`` as loop nests, one for a kind of product."""
        rows: dict[Any, list[_Index]] = {}
        samples: dict[Any, tuple[Scalar, Product]] = {}
        for place, total in sums:
            for coef, product in total.parts:
                key = (coef, tuple(f.kind for f in product))
                samples.setdefault(key, (coef, product))
                rows.setdefault(key, []).append((*place, *self.product(product)))
        domain = np.array([place for place, _ in sums], int).reshape(len(sums), -1)
        found: list[_Cluster] = []
        for key, points in rows.items():
            coef, product = samples[key]
            distinct = np.unique(np.array(points, int).reshape(len(points), -1), axis=0)
            if len(distinct) < len(points):
                raise Unfit
            limits = [*shape, *(n for factor in product for n in self._limits(factor))]
            nests = fit_several(distinct, domain, shape, limits)
            if nests is None:
                raise PatternError(_STANDS.format(what=_named(product)), _origins(product))
            found.extend(_Cluster(coef, product, nest) for nest in nests)
        return found

    # -- the order of axes --------------------------------------------------------------------
    def arrange(self, tops: Sequence[list[_Cluster]]) -> None:
        """Axes in the order in which the outermost user of an array runs over them."""
        for clusters in tops:
            for cluster in clusters:
                self._arrange_product(cluster.product, cluster.nest, range(99))
        for kind in sorted(self.groups, reverse=True):
            group = self.groups[kind]
            for cluster in group.clusters:
                width = len(group.extents)
                own = cluster.nest.columns[:width]
                rank = _ranks(len(cluster.nest.extents), [own[k] for k in group.axes])
                self._arrange_product(cluster.product, cluster.nest, rank, width)
            if group.forms:
                assert isinstance(group.sample, Atom)
                rank = _ranks(len(group.extents), None, group.axes)
                count = 1 if group.sample.op == "cumprod" else None
                self._arrange_factors(self.arguments(group.sample)[:count], group.forms, rank)

    def _arrange_product(
        self, product: Product, nest: Nest, rank: Sequence[int], width: int | None = None
    ) -> None:
        if width is None:
            width = len(nest.columns) - len(self.product(product))
            rank = _ranks(len(nest.extents), nest.columns[:width])
        self._arrange_factors(product, nest.columns[width:], rank)

    def _arrange_factors(
        self, factors: Sequence[Factor], forms: Sequence[Form], rank: Sequence[int]
    ) -> None:
        at = 0
        for factor in factors:
            count = len(self.columns(factor))
            own = forms[at : at + count]
            at += count
            if isinstance(factor, Atom) and factor.op == "read":
                start = sum(s >= 0 for s in factor.data[1])
                self._arrange_factors(self.arguments(factor), own[start:], rank)
                continue
            group = self.groups[factor.kind]
            if group.order is None:
                first = [
                    min((rank[j] for j, c in enumerate(f.coefs) if c), default=-1) for f in own
                ]
                group.order = sorted(range(count), key=lambda k: first[k])

    # -- nodes --------------------------------------------------------------------------------
    def build(self) -> None:
        """The node of every group, parts first."""
        for kind in sorted(self.groups):
            group = self.groups[kind]
            if group.node is None:
                group.node = self._node(group)

    def _node(self, group: _Group) -> Node:
        sample = group.sample
        if isinstance(sample, Linear):
            return self.total(group.clusters, group.axes, group.shape, sample.dtype)
        if sample.op == "reduce":
            return self._reduction(group, sample)
        forms = [f.moved(group.axes) for f in group.forms]
        if sample.op == "cumprod":
            node, subs = self._read(self.arguments(sample)[0], forms, group.shape)
            labels = range(len(group.shape))
            array = view(node, dict(enumerate(group.shape)), subs, labels, group.shape)
            return call("cumprod", array)
        args: list[Node] = []
        at = 0
        factors = iter(self.arguments(sample))
        for arg in sample.args:
            if arg.value is not None:
                args.append(Const(arg.value))
                continue
            factor = next(factors)
            count = len(self.columns(factor))
            node, subs = self._read(factor, forms[at : at + count], group.shape)
            at += count
            labels = range(len(group.shape))
            args.append(view(node, dict(enumerate(group.shape)), subs, labels, group.shape))
        op, params = sample.data
        return Map(op, group.shape, sample.dtype, tuple(args), params)

    def _read(
        self, factor: Factor, forms: Sequence[Form], extents: Sequence[int]
    ) -> tuple[Node, tuple[Sub, ...]]:
        """A factor of a term: the array and its subscripts, given the forms of its columns."""
        if not isinstance(factor, Atom) or factor.op != "read":
            group = self.groups[factor.kind]
            assert group.node is not None
            return group.node, tuple(_sub(forms[k]) for k in group.axes)
        node, at = factor.data
        if node in self.counts:
            return _counted(forms[0], self.counts[node], extents)
        rest = iter(forms)
        direct = [_sub(next(rest)) if s >= 0 else s for s in at]
        tables = iter(self.arguments(factor))
        subs: list[Sub] = []
        for s, place in zip(direct, at, strict=True):
            if place >= 0:
                subs.append(s)
                continue
            inner = next(tables)
            looked = [next(rest) for _ in self.columns(inner)]
            array, under = self._read(inner, looked, extents)
            subs.append(affine(0, [(1, Look(array, under, -1 - place))]))
        return node, tuple(subs)

    def total(
        self,
        clusters: Sequence[_Cluster],
        axes: Sequence[int],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> Node:
        """The sum of clusters; axis k of the output has the subscript of column ``axes[k]``."""
        terms: list[Node] = []
        for cluster in clusters:
            nest = cluster.nest
            width = len(nest.columns) - len(self.product(cluster.product))
            out = [_sub(nest.columns[k]) for k in axes]
            factors = []
            at = width
            for factor in cluster.product:
                count = len(self.columns(factor))
                own = nest.columns[at : at + count]
                factors.append(self._read(factor, own, nest.extents))
                at += count
            constraints = [_sub(c) for c in nest.constraints]
            constraints += [_apart(form, nest.extents) for form in nest.apart]
            extents = dict(enumerate(nest.extents))
            terms.append(
                Draft(shape, dtype, cluster.coef, extents, factors, out, constraints).finish()
            )
        if not terms:
            return zeros(shape, dtype)
        if len(terms) == 1:
            return terms[0]
        return linear(*((1, t) for t in terms), dtype=dtype)

    def _reduction(self, group: _Group, sample: Atom) -> Node:
        (cluster,) = group.clusters
        nest = cluster.nest
        width = len(group.extents)
        own = nest.columns[:width]
        leading: list[int] = []
        for k in group.axes:  # a label of the nest for each axis of the group
            label = [j for j, c in enumerate(own[k].coefs) if c]
            if len(label) != 1 or own[k] != Form(0, _unit(len(own[k].coefs), label[0])):
                raise PatternError(_STANDS.format(what=_named(sample)), [sample.origin])
            leading.append(label[0])
        if any(nest.extents[j] != e for j, e in zip(leading, group.shape, strict=True)):
            raise PatternError(_STANDS.format(what=_named(sample)), [sample.origin])
        inner = [j for j in range(len(nest.extents)) if j not in leading]
        order = [*leading, *inner]
        shape = tuple(nest.extents[j] for j in order)
        forms = [f.moved(order) for f in nest.columns[width:]]
        node, subs = self._read(cluster.product[0], forms, shape)
        array = view(node, dict(enumerate(shape)), subs, range(len(shape)), shape)
        return call(sample.data, array, params=(len(inner),))


def _ranks(
    count: int, forms: Sequence[Form] | None, axes: Sequence[int] | None = None
) -> list[int]:
    """The position of each label in the order of the output."""
    order: list[int] = list(axes or ())
    for form in forms or ():
        order.extend(j for j, c in enumerate(form.coefs) if c and j not in order)
    order.extend(j for j in range(count) if j not in order)
    return [order.index(j) for j in range(count)]


def _counted(form: Form, zero: int, extents: Sequence[int]) -> tuple[Node, tuple[Sub, ...]]:
    """An element of an array of counts, read from the shortest ramp that holds it."""
    if form.wrap is not None:
        raise PatternError("a number is made of a loop counter by % or //")
    low, high = (end - zero for end in form.reach(extents))
    counts: Node = Box(ramp(high - min(low, 0) + 1))
    if low < 0:
        counts = linear((1, counts), (low, Const(1)))
    return counts, (_sub(Form(form.const - zero - min(low, 0), form.coefs)),)


def _unit(count: int, k: int) -> tuple[int, ...]:
    return tuple(int(j == k) for j in range(count))


def _apart(form: Form, extents: Sequence[int]) -> Sub:
    """A subscript that is negative where a form is 0, and only there."""
    low, high = form.reach(extents)
    n = high + 1 if high == -low else high - low + 1
    return affine(-1, [(1, Mod(n, _sub(form)))])


def _sub(form: Form) -> Sub:
    inner = affine(form.const, [(c, k) for k, c in enumerate(form.coefs)])
    if form.wrap is None:
        return inner
    how, n = form.wrap
    return affine(0, [(1, Mod(n, inner) if how == "mod" else Div(n, inner))])


def _by_kind(total: Linear) -> dict[Any, list[Product]]:
    found: dict[Any, list[Product]] = {}
    for coef, product in total.parts:
        found.setdefault((coef, tuple(f.kind for f in product)), []).append(product)
    return found


def _place(atom: Atom, position: int) -> tuple[int, int]:
    """An argument's place; the members of a reduction are all at one."""
    return atom.kind, 0 if atom.op in ("reduce", "cumprod") else position


def _is_read(factor: Factor) -> bool:
    return isinstance(factor, Atom) and factor.op == "read"


_STANDS = (
    "the elements of {what} are at subscripts that are no affine functions of loop counters over a "
    "box or a triangle"
)


def _named(what: Any) -> str:
    if isinstance(what, Linear):
        return "a sum"
    if isinstance(what, Atom):
        return f"{what.data[0] if what.op == 'map' else what.data}(…)"
    return "a product" if len(what) > 1 else "an array"


def _origins(factors: Iterable[Factor]) -> list[Node]:
    return [f.origin for f in factors]
