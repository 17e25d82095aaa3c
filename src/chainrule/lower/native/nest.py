"""Loop nests: what is read, computed and written at every point of a box, before any code.

A nest is rearranged here, as data: loops that run through memory together become one, the innermost
loop is chosen, and long single loops are cut into blocks (whose sums are added afterwards: more
accurate, and the blocks may run on several cores with the same result).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any, Literal, TypeAlias

from ...expr.ops import OPS
from .layout import Access, Buffer

__all__ = ["Apply", "Constant", "Fold", "Load", "Nest", "Store", "beneath", "prepared", "pruned"]

BLOCK = 4096

How: TypeAlias = Literal["sum", "max", "min"]


Indexed: TypeAlias = "tuple[tuple[int, int], ...]"  # (node of an index, stride) pairs


@dataclass(frozen=True, slots=True)
class Load:
    """A read; ``index`` adds positions known only when the program runs."""

    access: Access
    kind: str
    index: Indexed = ()


@dataclass(frozen=True, slots=True)
class Constant:
    value: Any
    kind: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An elementwise function of earlier nodes; "convert" to ``kind``, "add" and "where" too."""

    op: str
    args: tuple[int, ...]
    kind: str


Point: TypeAlias = Load | Constant | Apply


@dataclass(frozen=True, slots=True)
class Store:
    node: int
    access: Access


@dataclass(frozen=True, slots=True)
class Fold:
    """Accumulate into memory, which loops of stride 0 (or an ``index``) meet again and again."""

    node: int
    access: Access
    how: How
    index: Indexed = ()


@dataclass(eq=False, slots=True)
class Nest:
    """A loop nest over ``shape``; nodes refer to earlier ones by number."""

    shape: tuple[int, ...]
    nodes: list[Point] = field(default_factory=list)
    sinks: list[Store | Fold] = field(default_factory=list)
    known: dict[Point, int] = field(default_factory=dict)
    #: Rounds must come one after the other: the nest stays as it is (``inner``: vectors of the
    #: innermost loop are allowed).
    serial: bool = False
    inner: bool = True
    #: The loop before the innermost one runs within each vector (see :mod:`.tiles`).
    tiled: bool = False

    def add(self, point: Point) -> int:
        """The number of a node; equal ones are one."""
        found = self.known.get(point)
        if found is None:
            found = len(self.nodes)
            self.nodes.append(point)
            self.known[point] = found
        return found

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def accesses(self) -> list[Access]:
        """Of all loads and sinks."""
        loads = [n.access for n in self.nodes if isinstance(n, Load)]
        return loads + [s.access for s in self.sinks]

    def mapped(self, shape: Sequence[int], change: Callable[[Access], Access]) -> Nest:
        """The same nest over other loops."""
        nodes: list[Point] = [
            replace(n, access=change(n.access)) if isinstance(n, Load) else n for n in self.nodes
        ]
        sinks: list[Store | Fold] = [replace(s, access=change(s.access)) for s in self.sinks]
        return Nest(tuple(shape), nodes, sinks)

    @property
    def work(self) -> float:
        """Roughly the nanoseconds that one core takes."""
        total = 0.0
        for node in self.nodes:
            if isinstance(node, Apply):
                op = OPS.get(node.op)
                total += 0.1 * (op.flops if op is not None else 1)
            elif isinstance(node, Load):
                total += 0.2
        return (total + 0.2 * len(self.sinks)) * self.size


def prepared(nest: Nest, scratch: Callable[[str, int], Buffer]) -> list[Nest]:
    """The nests that do the work of one, in order; ``scratch`` gives memory of a kind and size."""
    if nest.serial:
        return [nest]
    nest = _collapsed(_ordered(nest))
    folds = [s for s in nest.sinks if isinstance(s, Fold)]
    if any(f.index for f in folds):
        return [nest]  # in order
    if len(nest.shape) != 1 or nest.shape[0] < 2 * BLOCK:
        return [nest]
    n = nest.shape[0]
    blocks, rest = divmod(n, BLOCK)
    cells = {id(f): scratch(_kind(nest, f), blocks + bool(rest)) for f in folds}

    def part(first: int, count: int) -> Nest:
        """``count`` blocks from block ``first`` on (count 0: the rest)."""

        def change(a: Access) -> Access:
            (s,) = a.strides
            start = a.offset + first * BLOCK * s
            return Access(a.buffer, start, (s * BLOCK, s) if count else (s,))

        made = nest.mapped((count, BLOCK) if count else (rest,), change)
        for position, sink in enumerate(nest.sinks):
            if isinstance(sink, Fold):
                cell = Access(cells[id(sink)], first, (1, 0) if count else (0,))
                made.sinks[position] = Fold(sink.node, cell, sink.how)
        return made

    parts = [part(0, blocks)]
    if rest:
        parts.append(part(blocks, 0))
    for fold in folds:
        last = Nest((blocks + bool(rest),))
        if last.shape == (1,):
            last.shape = ()
        strides = (1,) * len(last.shape)
        kind = _kind(nest, fold)
        value = last.add(Load(Access(cells[id(fold)], 0, strides), kind))
        into = Access(fold.access.buffer, fold.access.offset, (0,) * len(strides))
        last.sinks.append(Fold(value, into, fold.how))
        parts.append(last)
    return parts


def beneath(nest: Nest) -> Nest:
    """The nest with the loops beneath its outermost one ordered and joined; there is one at least.

    An outermost loop by itself gets one of a single round.
    """
    if len(nest.shape) == 1:
        return nest.mapped((*nest.shape, 1), lambda a: replace(a, strides=(*a.strides, 0)))
    return _collapsed(_ordered(nest, 1), 1)


def _kind(nest: Nest, sink: Store | Fold) -> str:
    return nest.nodes[sink.node].kind


def _operands(node: Point) -> tuple[int, ...]:
    if isinstance(node, Apply):
        return node.args
    return tuple(k for k, _ in node.index) if isinstance(node, Load) else ()


def pruned(nest: Nest) -> Nest:
    """Without nodes that no sink needs."""
    needed: set[int] = {s.node for s in nest.sinks}
    for sink in nest.sinks:
        if isinstance(sink, Fold):
            needed.update(k for k, _ in sink.index)
    for number in range(len(nest.nodes) - 1, -1, -1):
        node = nest.nodes[number]
        if number in needed:
            needed.update(_operands(node))
    place = {old: new for new, old in enumerate(sorted(needed))}
    nodes: list[Point] = []
    for old in sorted(needed):
        node = nest.nodes[old]
        if isinstance(node, Apply):
            node = replace(node, args=tuple(place[a] for a in node.args))
        elif isinstance(node, Load) and node.index:
            node = replace(node, index=tuple((place[k], s) for k, s in node.index))
        nodes.append(node)
    sinks: list[Store | Fold] = []
    for sink in nest.sinks:
        sink = replace(sink, node=place[sink.node])
        if isinstance(sink, Fold):
            sink = replace(sink, index=tuple((place[k], s) for k, s in sink.index))
        sinks.append(sink)
    return Nest(nest.shape, nodes, sinks, {}, nest.serial, nest.inner)


def _ordered(nest: Nest, first: int = 0) -> Nest:
    """With the loop innermost along which most accesses are contiguous (from ``first`` on)."""
    rank = len(nest.shape)
    if rank < first + 2:
        return nest
    stores = [s.access for s in nest.sinks if isinstance(s, Store)]
    others = [a for a in nest.accesses if a not in stores]

    def score(axis: int) -> float:
        total = 0.0
        for a in others:
            total += {1: 1.0, 0: 0.9}.get(a.strides[axis], -2.0)
        for a in stores:
            total += 1.0 if a.strides[axis] == 1 else -4.0
        return total * min(1.0, nest.shape[axis] / 4)

    inner = max(range(first, rank), key=lambda axis: (score(axis), axis))
    order = [*(i for i in range(rank) if i != inner), inner]
    if order == list(range(rank)):
        return nest

    def change(a: Access) -> Access:
        return Access(a.buffer, a.offset, tuple(a.strides[i] for i in order))

    return nest.mapped([nest.shape[i] for i in order], change)


def _collapsed(nest: Nest, first: int = 0) -> Nest:
    """Neighbouring loops that every access runs through as one are one (from ``first`` on)."""
    groups: list[list[int]] = [[i] for i in range(len(nest.shape))]
    accesses = nest.accesses

    def joins(first: int, second: int) -> bool:
        extent = nest.shape[second]
        return all(a.strides[first] == extent * a.strides[second] for a in accesses)

    merged: list[list[int]] = []
    for group in groups:
        if len(merged) > first and joins(merged[-1][-1], group[0]):
            merged[-1].extend(group)
        else:
            merged.append(group)
    if len(merged) == len(groups):
        return nest
    for one in merged:
        for a, b in pairwise(one):
            assert joins(a, b)

    def change(a: Access) -> Access:
        return Access(a.buffer, a.offset, tuple(a.strides[g[-1]] for g in merged))

    return nest.mapped([prod(nest.shape[i] for i in g) for g in merged], change)
