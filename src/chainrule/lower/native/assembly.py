"""Buffers and loop nests under construction: where values live, and which nest computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..steps import Plan, ViewOp
from .callback import Callback
from .forwarding import forwarded
from .fusion import Item, fused, meets_again
from .layout import WIDTHS, Access, Array, Buffer, Unsupported, contiguous_strides, kind_of
from .loops import identity_of
from .nest import Apply, Constant, Fold, How, Load, Nest, Store, prepared, pruned
from .reuse import in_place
from .shared import LONG

__all__ = ["Assembly", "converted"]

#: A nest that has so many nodes takes no further ones: LLVM's time grows faster than a function.
MOST_NODES = 160
LONG_COUNTS = 10

# What is computed again rather than read from an array that is so many times larger (or, by one
# operation, from one such array).
_SIMPLE = frozenset({"add", "subtract", "multiply", "negative", "where", "convert"})
_SMALLER, _FEW, _ONE = 4, 5, 3


class Assembly:
    """Items in order, and what is known of every value of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.items: list[Item] = []
        self.arrays: dict[int, Array] = {}
        self.calls: dict[int, Callback | dict[int, Array]] = {}
        self.written: dict[Buffer, int] = {}  # the last item that writes it
        self.held: dict[Buffer, tuple[int, int, Access]] = {}  # item, node, where it goes
        self.read: set[Buffer] = set()  # by items other than the writer's own registers
        self.given: set[Buffer] = set()  # results where an argument lies: nothing else does
        self.pinned: set[Buffer] = set()  # seen by callbacks, so in the program's own memory
        self.constants: dict[Any, Array] = {}
        self._weights: dict[int, tuple[int, int, int]] = {}  # by item: nodes, sinks, their weight
        self.known: set[Buffer] = set()  # of the program around, where the plan is a body

    # -- buffers and nests --------------------------------------------------------------------
    def _fresh(self, shape: Sequence[int], kind: str) -> Array:
        size = prod(shape)
        if size == 0:
            raise Unsupported("empty arrays")
        return Array(Buffer(kind, size, "temp"), tuple(shape), contiguous_strides(shape))

    def _nest(self, shape: Sequence[int], operands: Sequence[Array]) -> int:
        """The number of a nest over ``shape`` in which all operands are ready."""
        loops = tuple(e for e in shape if e != 1)
        first = 0
        for array in operands:
            writer = self.written.get(array.buffer)
            if writer is None:
                continue
            held = self.held.get(array.buffer)
            item = self.items[writer]
            same = (
                held is not None
                and isinstance(item, Nest)
                and item.shape == loops
                and held[2] == array.access(shape)
            )
            first = max(first, writer if same else writer + 1)
        for number in range(max(first, len(self.items) - 24), len(self.items)):
            item = self.items[number]
            if (
                isinstance(item, Nest)
                and item.shape == loops
                and self._open(number, item)
                and self._joins(number, operands)
            ):
                return number
        return self._append(Nest(loops))

    def _open(self, number: int, nest: Nest) -> bool:
        """Whether a nest takes further steps: rounds in any order, and not too long already."""
        nodes, sinks, weight = self._weights.get(number, (0, 0, 0))
        for node in nest.nodes[nodes:]:
            weight += LONG_COUNTS if isinstance(node, Apply) and node.op in LONG else 1
        for sink in nest.sinks[sinks:]:
            weight += MOST_NODES if isinstance(sink, Fold) and sink.index else 0
        self._weights[number] = len(nest.nodes), len(nest.sinks), weight
        return weight < MOST_NODES and not nest.serial

    def _joins(self, number: int, operands: Sequence[Array]) -> bool:
        """Whether a step may join a nest of its loops that its operands allow."""
        return True

    def _append(self, item: Item) -> int:
        self.items.append(item)
        return len(self.items) - 1

    def _load(self, number: int, array: Array, shape: Sequence[int]) -> int:
        """The node of an operand in a nest."""
        nest = self.items[number]
        assert isinstance(nest, Nest)
        access = array.access(shape)
        held = self.held.get(array.buffer)
        if held is not None and held[0] == number and held[2] == access:
            return held[1]
        if held is not None and held[0] < number:
            again = self._again(nest, access, held)
            if again is not None:
                return again
        self.read.add(array.buffer)
        return nest.add(Load(access, array.kind))

    def _again(self, nest: Nest, access: Access, held: tuple[int, int, Access]) -> int | None:
        """The node of a value computed anew: simple, from operands that are much smaller."""
        at, number, place = held
        maker = self.items[at]
        if not isinstance(maker, Nest) or maker.serial or place.offset != access.offset:
            return None
        loops = _matched(maker.shape, place, nest.shape, access)
        if loops is None:
            return None
        needed, pending = {number}, [number]
        while pending:
            node = maker.nodes[pending.pop()]
            if isinstance(node, Apply):
                if node.op not in _SIMPLE:
                    return None
                pending.extend(set(node.args) - needed)
                needed.update(node.args)
        points = [maker.nodes[k] for k in sorted(needed)]
        loads = [n for n in points if isinstance(n, Load)]
        if len(points) > _FEW or not all(self._lasts(n, at) for n in loads):
            return None
        bound = maker.size * WIDTHS[place.buffer.kind] / _SMALLER
        if len(points) <= _ONE:
            bound *= _SMALLER + 1
        if sum(n.access.buffer.nbytes for n in loads) > bound:
            return None
        made: dict[int, int] = {}
        for k in sorted(needed):
            node = maker.nodes[k]
            if isinstance(node, Load):
                self.read.add(node.access.buffer)
                strides = tuple(0 if j is None else node.access.strides[j] for j in loops)
                node = replace(node, access=replace(node.access, strides=strides))
            elif isinstance(node, Apply):
                node = replace(node, args=tuple(made[a] for a in node.args))
            made[k] = nest.add(node)
        return made[number]

    def _lasts(self, load: Load, at: int) -> bool:
        """Whether what a nest read is still there."""
        return not load.index and self.written.get(load.access.buffer, -1) < at

    def _store(self, number: int, node: int, array: Array, shape: Sequence[int]) -> None:
        nest = self.items[number]
        assert isinstance(nest, Nest)
        access = array.access(shape)
        nest.sinks.append(Store(node, access))
        self.written[array.buffer] = number
        self.held[array.buffer] = (number, node, access)

    def _pointwise(
        self,
        shape: Sequence[int],
        kind: str,
        operands: Sequence[Array],
        compute: Callable[[Nest, list[int]], int],
    ) -> Array:
        """A fresh array whose elements ``compute`` gives from the operands' nodes."""
        number = self._nest(shape, operands)
        nest = self.items[number]
        assert isinstance(nest, Nest)
        nodes = [self._load(number, a, shape) for a in operands]
        target = self._fresh(shape, kind)
        self._store(number, compute(nest, nodes), target, shape)
        return target

    def _copy(self, array: Array) -> Array:
        """The elements in C order in a buffer of their own."""
        return self._pointwise(array.shape, array.kind, [array], lambda _, nodes: nodes[0])

    def _fold(self, array: Array, axes: Sequence[int], how: How) -> Array:
        shape = array.shape
        kept = [e for i, e in enumerate(shape) if i not in axes]
        target = self._fresh(kept, array.kind)
        inner = iter(target.strides)
        strides = tuple(0 if i in axes else next(inner) for i in range(len(shape)))
        number = self._nest(shape, [array])
        nest = self.items[number]
        assert isinstance(nest, Nest)
        node = self._load(number, array, shape)
        into = Array(target.buffer, shape, strides).access(shape)
        nest.sinks.append(Fold(node, into, how))
        self.written[target.buffer] = number
        return target

    def _constant(self, key: Any, value: Any) -> Array:
        found = self.constants.get(key)
        if found is None:
            data = np.array(value, order="C")
            buffer = Buffer(kind_of(data.dtype), data.size, "const", data=data)
            found = Array(buffer, data.shape, contiguous_strides(data.shape))
            self.constants[key] = found
        return found

    def _viewed(self, array: Array, ops: Sequence[ViewOp], copies: bool = True) -> Array:
        for op in ops:
            made = array.viewed(op)
            if made is None:
                if not copies:
                    raise Unsupported("writing through a copy")
                made = self._copy(array).viewed(op)
                assert made is not None
            array = made
        return array

    def _changed(self, number: int, array: Array) -> None:
        """A buffer written in place: its earlier value is no longer in anyone's registers."""
        self.read.add(array.buffer)
        self.held.pop(array.buffer, None)
        self.written[array.buffer] = number

    # -- what remains ------------------------------------------------------------------------
    def _finished(self) -> list[Item]:
        """Without stores that nobody reads, folds with what they begin with, long loops cut."""
        result: list[Item] = []
        needed = self.read

        def scratch(kind: str, size: int) -> Buffer:
            return Buffer(kind, size, "temp")

        kept: list[Item] = []
        for item in self.items:
            if isinstance(item, Nest):
                item.sinks = [
                    s
                    for s in item.sinks
                    if s.access.buffer.role == "output" or s.access.buffer in needed
                ]
                if not item.sinks or _begins_with_zeros(item):
                    continue
                item = pruned(item)
            kept.append(item)
        whole = fused(forwarded(kept))
        in_place(whole, self.pinned | self.known | self.given)
        for item in whole:
            if not isinstance(item, Nest):
                result.append(item)
                continue
            for nest in prepared(item, scratch):
                for sink in nest.sinks:
                    if isinstance(sink, Fold) and not sink.index and meets_again(nest, sink):
                        buffer = sink.access.buffer
                        first = Nest((buffer.size,) if buffer.size > 1 else ())
                        value = first.add(Constant(identity_of(sink.how, buffer.kind), buffer.kind))
                        access = Access(buffer, 0, (1,) if buffer.size > 1 else ())
                        first.sinks.append(Store(value, access))
                        result.append(first)
                result.append(nest)
        return result


def _matched(
    made: tuple[int, ...], place: Access, wanted: tuple[int, ...], access: Access
) -> list[int | None] | None:
    """For each loop of a reader the maker's loop that it follows; None if they do not match."""
    follows = {step: k for k, step in enumerate(place.strides)}
    if 0 in follows or len(follows) != len(made):
        return None
    loops: list[int | None] = []
    for extent, step in zip(wanted, access.strides, strict=True):
        loop = follows.get(step)
        if step and (loop is None or made[loop] != extent):
            return None
        loops.append(loop if step else None)
    met = [k for k in loops if k is not None]
    return loops if len(set(met)) == len(met) == len(made) else None


def _begins_with_zeros(nest: Nest) -> bool:
    """Whether a nest only fills a result with zeros: then the result is asked for zeroed."""
    if len(nest.sinks) != 1 or not isinstance(sink := nest.sinks[0], Store):
        return False
    node, buffer = nest.nodes[sink.node], sink.access.buffer
    if buffer.role != "output" or not isinstance(node, Constant) or node.value != 0:
        return False
    if np.signbit(node.value) or nest.size != buffer.size:
        return False
    buffer.zeroed = True
    return True


def converted(nest: Nest, node: int, kind: str, wanted: str) -> int:
    return node if kind == wanted else nest.add(Apply("convert", (node,), wanted))
