"""Calls with a program inside, lowered into the same function: loops, branches, parts.

A body goes through the same pipeline as the program around it.  What it captures it reads where it
lies; what does not change from round to round is computed once, before the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ...expr.bodies import Body
from ...expr.nodes import Leaf, Node
from ...expr.walk import leaves as leaves_of
from ..plan import make_plan
from ..steps import CallStep, Plan
from .assembly import Assembly
from .blocks import Block, Carry, Choice, Cursor, Part, Region, Rounds, While
from .callback import Callback
from .fusion import Item, writes
from .layout import Access, Array, Buffer, Unsupported, contiguous_strides, kind_of
from .matmul import Product
from .nest import Load, Nest, Store

__all__ = ["Bodies"]

Results: TypeAlias = "dict[int, Array]"


class Bodies(Assembly):
    """The steps of a plan that hold a program.

    ``moving``: this plan is a body that runs again and again; steps whose operands stay the same
    keep to loop nests of their own, which leave the loop.
    """

    def __init__(self, plan: Plan, moving: bool = False) -> None:
        super().__init__(plan)
        self.moving = moving
        self.bodies = True  # whether bodies are lowered
        self._stays: dict[int, bool] = {}  # by item: whether it is the same in every round
        self._asked: dict[int, set[int]] | None = None

    def _steps(self) -> None:
        """Lower the steps of the plan, whose leaves have arrays."""
        raise NotImplementedError

    def _outputs(self, role: str) -> list[Array]:
        """The plan's results, each the whole of a buffer of its own."""
        raise NotImplementedError

    # -- what stays the same ------------------------------------------------------------------
    def _nest(self, shape: Sequence[int], operands: Sequence[Array]) -> int:
        number = super()._nest(shape, operands)
        if self.moving:
            self._stays.setdefault(number, all(self._fixed(a.buffer) for a in operands))
        return number

    def _joins(self, number: int, operands: Sequence[Array]) -> bool:
        if not self.moving:
            return super()._joins(number, operands)
        return self._stays.get(number) == all(self._fixed(a.buffer) for a in operands)

    def _append(self, item: Item) -> int:
        number = super()._append(item)
        if self.moving and isinstance(item, Product):
            self._stays[number] = self._fixed(item.a.buffer) and self._fixed(item.b.buffer)
        return number

    def _fixed(self, buffer: Buffer) -> bool:
        writer = self.written.get(buffer)
        if writer is not None:
            return self._stays.get(writer, False)
        return buffer in self.known or buffer.role == "const"

    # -- one body -----------------------------------------------------------------------------
    def _inner(
        self,
        outs: Sequence[Node],
        given: Mapping[Leaf, Array],
        known: set[Buffer],
        moving: bool,
    ) -> tuple[Bodies, list[Array]]:
        """The lowering of a body's results over its leaves' arrays, and the results' places.

        ``known``: the buffers among them that belong to the program around.
        """
        inner = type(self)(make_plan(outs), moving)
        inner.constants = self.constants
        inner.known = known
        for leaf, value in zip(inner.plan.leaves, inner.plan.inputs, strict=True):
            array = given[leaf]
            if array.kind != kind_of(leaf.dtype) or array.shape != leaf.shape:
                raise Unsupported("a body's argument of another shape or dtype")
            inner.arrays[value] = array
        inner._steps()
        results = inner._outputs("cursor")
        for node, array in zip(outs, results, strict=True):
            if array.kind != kind_of(node.dtype) or array.shape != node.shape:
                raise Unsupported("a body's result of another shape or dtype")
        inner.read.update(a.buffer for a in results)
        return inner, results

    def _block(self, inner: Bodies, cursors: Sequence[Cursor], calls: bool = True) -> Block:
        """The block of a lowered body; what stays the same goes before it (``calls`` too)."""
        if inner.moving:
            leaving, inner.items = _parted(inner.items, inner.known, calls)
            for item in leaving:
                number = self._append(item)
                buffers = {access.buffer for access in item.accesses}
                self.read.update(buffers)
                inner.known.update(buffers)
                self.written.update(dict.fromkeys(writes(item), number))
        self.pinned.update(inner.pinned)
        return Block(inner._finished(), cursors, inner.known)

    def _placed(self, region: Region) -> None:
        """The region as the next item."""
        number = self._append(region)
        self.read.update(access.buffer for access in region.accesses)
        for buffer in region.results:
            self.held.pop(buffer, None)
            self.written[buffer] = number

    def _given(
        self, leaves: Sequence[Leaf], arrays: Sequence[Array]
    ) -> tuple[dict[Leaf, Array], set[Buffer]]:
        """Arrays that a body reads where they lie, and their buffers."""
        for leaf in leaves:
            if leaf.size == 0:
                raise Unsupported("empty arrays")
        return dict(zip(leaves, arrays, strict=True)), {a.buffer for a in arrays}

    # -- calls --------------------------------------------------------------------------------
    def _bodied(self, step: CallStep) -> Results:
        """The results of a call, by number; Unsupported (nothing done) where NumPy must run."""
        arrays = [self.arrays[i] for i in step.inputs]
        used = self._used(step.target)
        if step.op == "scan":
            return self._scan(step.params, arrays, used)
        if step.op == "while":
            return self._while(step.params, arrays, used)
        return self._branches(step.params, arrays, used)

    def _used(self, call: int) -> set[int]:
        """The numbers of a call's results that are used."""
        if self._asked is None:
            self._asked = {}
            for step in self.plan.steps:
                if isinstance(step, CallStep) and step.op == "item":
                    self._asked.setdefault(step.inputs[0], set()).add(step.index)
        return self._asked.get(call, set())

    def _scan(self, params: tuple[Any, ...], arrays: list[Array], used: set[int]) -> Results:
        body, length, count, rows, reverse = params
        if length == 0:
            raise Unsupported("a loop without rounds")
        numbers = _living(body, count, used)
        given, known = self._given(body.leaves[count + rows :], arrays[count + rows :])
        given |= {leaf: _cursor(leaf) for leaf in body.leaves[:count]}
        cursors = []
        for leaf, array in zip(
            body.leaves[count : count + rows], arrays[count : count + rows], strict=True
        ):
            buffer, step = array.buffer, array.strides[0]
            if step and length > 1:
                buffer = Buffer(array.kind, buffer.size, "cursor")
                cursors.append(Cursor(buffer, array.buffer, step))
            else:
                known.add(buffer)
            given[leaf] = Array(buffer, array.shape[1:], array.strides[1:], array.offset)
        stacked = _stacked(body, count, numbers)
        numbers = [k for k in numbers if k not in stacked or stacked[k] == k]
        inner, outs = self._inner([body.outs[k] for k in numbers], given, known, length > 1)
        results: Results = {}
        carries = []
        changed = []
        for k, out in zip(numbers, outs, strict=True):
            if k >= count:
                results[k] = self._fresh((length, *out.shape), out.kind)
                cursors.append(Cursor(out.buffer, results[k].buffer, out.size))
                changed.append(results[k].buffer)
                continue
            enters = given[body.leaves[k]].buffer
            if k not in stacked:
                start, other = self._turns(arrays[k])
                carries.append(Carry(enters, out.buffer, start.buffer, other.buffer))
                results[k] = other if length % 2 else start
                changed += [start.buffer, other.buffer]
                continue
            before, after, results[k] = self._stack(arrays[k], length, reverse)
            cursors.append(Cursor(enters, before.buffer, out.size, before.offset))
            cursors.append(Cursor(out.buffer, after.buffer, out.size, after.offset))
            changed.append(before.buffer)
            for number, carry in stacked.items():
                if carry == k != number:
                    results[number] = before if body.outs[number] is body.leaves[k] else after
        self._placed(Rounds([self._block(inner, cursors)], changed, length, reverse, carries))
        return results

    def _turns(self, array: Array) -> tuple[Array, Array]:
        """Two pieces that take turns in holding a carry; it begins in the first."""
        start = self._copy(array)
        self._changed(self.written[start.buffer], start)
        return start, self._fresh(array.shape, array.kind)

    def _stack(self, array: Array, length: int, reverse: bool) -> tuple[Array, Array, Array]:
        """What a carry is before and after each round, and at last, in rows of one buffer."""
        stack = self._fresh((length + 1, *array.shape), array.kind)
        size, shape = array.size, (length, *array.shape)

        def row(number: int) -> Array:
            return Array(stack.buffer, array.shape, stack.strides[1:], number * size)

        begin, end = row(length if reverse else 0), row(0 if reverse else length)
        number = self._nest(array.shape, [array])
        nest = self.items[number]
        assert isinstance(nest, Nest)
        node = self._load(number, array, array.shape)
        nest.sinks.append(Store(node, begin.access(array.shape)))
        self._changed(number, stack)
        earlier = Array(stack.buffer, shape, stack.strides, 0)
        later = Array(stack.buffer, shape, stack.strides, size)
        return (later, earlier, end) if reverse else (earlier, later, end)

    def _while(self, params: tuple[Any, ...], arrays: list[Array], used: set[int]) -> Results:
        test, body = params
        count = len(body.outs)
        tested = set(leaves_of(test.outs))
        numbers = _living(body, count, used | {k for k in range(count) if body.leaves[k] in tested})
        given, known = self._given(body.leaves[count:], arrays[count:])
        given |= {leaf: _cursor(leaf) for leaf in body.leaves[:count]}
        asks, (answer,) = self._inner(test.outs, given, set(known), True)
        inner, outs = self._inner([body.outs[k] for k in numbers], given, known, True)
        flag = self._fresh((), "i1")
        results: Results = {}
        carries = []
        copies: list[Item] = []
        for k, out in zip(numbers, outs, strict=True):
            start, other = self._turns(arrays[k])
            enters = given[body.leaves[k]]
            carries.append(Carry(enters.buffer, out.buffer, start.buffer, other.buffer))
            results[k] = self._fresh(out.shape, out.kind)
            copies.append(_copied(enters, results[k]))
        before = self._block(asks, [Cursor(answer.buffer, flag.buffer)], calls=False)
        block = self._block(inner, [], calls=False)
        after = Block(copies, [], {a.buffer for a in (*given.values(), *results.values())})
        changed = [b for c in carries for b in (c.start, c.other)]
        changed += [flag.buffer, *(r.buffer for r in results.values())]
        self._placed(While([before, block, after], changed, flag.buffer, carries))
        return results

    def _branches(self, params: tuple[Any, ...], arrays: list[Array], used: set[int]) -> Results:
        """Of cond (a flag, two bodies) and apply (one body)."""
        lead = len(params) - 1
        flags, operands = arrays[:lead], arrays[lead:]
        numbers = sorted(used)
        made = []
        for body in params:
            given, known = self._given(body.leaves, operands)
            made.append(self._inner([body.outs[k] for k in numbers], given, known, False))
        results = {
            k: self._fresh(n.shape, n.kind) for k, n in zip(numbers, made[0][1], strict=True)
        }
        changed = [r.buffer for r in results.values()]
        blocks = []
        for inner, outs in made:
            pairs = zip(outs, changed, strict=True)
            blocks.append(self._block(inner, [Cursor(o.buffer, b) for o, b in pairs]))
        if not flags:
            self._placed(Part(blocks, changed))
            return results
        flag = self._copy(flags[0])
        self._placed(Choice(blocks, changed, flag.buffer))
        return results


def _cursor(leaf: Leaf) -> Array:
    """A place for a leaf's value, whose address the code around writes."""
    if leaf.size == 0:
        raise Unsupported("empty arrays")
    buffer = Buffer(kind_of(leaf.dtype), leaf.size, "cursor")
    return Array(buffer, leaf.shape, contiguous_strides(leaf.shape))


def _copied(source: Array, target: Array) -> Nest:
    """A nest that copies one whole buffer into another."""
    loops = (source.size,) if source.size > 1 else ()
    strides = (1,) * len(loops)
    nest = Nest(loops)
    node = nest.add(Load(Access(source.buffer, 0, strides), source.kind))
    nest.sinks.append(Store(node, Access(target.buffer, 0, strides)))
    return nest


def _living(body: Body, count: int, used: set[int]) -> list[int]:
    """Numbers of results that are used, or that carry something to one that is."""
    reads = [set(leaves_of([out])) for out in body.outs]
    living = set(used)
    fresh = list(living)
    while fresh:
        read = reads[fresh.pop()]
        more = [k for k in range(count) if k not in living and body.leaves[k] in read]
        living.update(more)
        fresh.extend(more)
    return sorted(living)


def _stacked(body: Body, count: int, numbers: Sequence[int]) -> dict[int, int]:
    """Results that are a carry before (or after) each round, and the carries: they share rows.

    By the result's number; only carries that are asked for as they were before each round.
    """
    place: dict[Node, int] = {leaf: k for k, leaf in enumerate(body.leaves[:count])}
    found = {k: place[body.outs[k]] for k in numbers if k >= count and body.outs[k] in place}
    carries = {k for k in found.values() if body.outs[k] not in place}
    after = {body.outs[k]: k for k in carries}
    result = {k: k for k in carries}
    for k in numbers:
        if k >= count:
            carry = found[k] if k in found else after.get(body.outs[k])
            if carry in carries:
                result[k] = carry
    return result


def _parted(
    items: Sequence[Item], known: set[Buffer], calls: bool
) -> tuple[list[Item], list[Item]]:
    """Items that are the same in every round, and the others."""
    moving: set[Item] = set()
    changed: set[Buffer] = set()
    before = -1
    while before != len(moving):
        before = len(moving)
        for item in items:
            if item in moving:
                continue
            met = {access.buffer for access in item.accesses}
            if (
                (not calls and isinstance(item, Callback | Region))
                or not met.isdisjoint(changed)
                or any(b.role == "cursor" and b not in known for b in met)
            ):
                moving.add(item)
                changed.update(writes(item))
    return [i for i in items if i not in moving], [i for i in items if i in moving]
