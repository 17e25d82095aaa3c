"""Copies of temporaries into larger arrays vanish: who makes a value writes it where it belongs.

A cotangent that is put together of parts is zeros into which each part is written or added.  Where
a part is a temporary that nobody else reads, and nobody else meets its place in between, the nest
that makes it does the writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .layout import Access, Buffer
from .nest import Apply, Constant, Load, Nest, Store

__all__ = ["apart", "forwarded"]


def apart(one: Sequence[int], first: Access, other: Sequence[int], second: Access) -> bool:
    """Whether accesses of two nests over these shapes never meet the same element."""
    low, high = _range(one, first)
    begin, end = _range(other, second)
    if high < begin or end < low:
        return True
    # otherwise by what is left over of the largest step that both have in common
    steps = {abs(s) for s in (*first.strides, *second.strides) if s}
    for step in sorted(steps, reverse=True):
        places = [_left_over(shape, a, step) for shape, a in ((one, first), (other, second))]
        if None not in places:
            (a, b), (c, d) = [p for p in places if p is not None]
            if b < c or d < a:
                return True
    return False


def _range(shape: Sequence[int], access: Access) -> tuple[int, int]:
    low = high = access.offset
    for extent, stride in zip(shape, access.strides, strict=True):
        low, high = low + min(0, (extent - 1) * stride), high + max(0, (extent - 1) * stride)
    return low, high


def _left_over(shape: Sequence[int], access: Access, step: int) -> tuple[int, int] | None:
    """The range of places modulo ``step``; None where it runs over the end."""
    low = high = access.offset
    for extent, stride in zip(shape, access.strides, strict=True):
        if stride % step:
            low, high = low + min(0, (extent - 1) * stride), high + max(0, (extent - 1) * stride)
    return (low % step, high % step) if low // step == high // step else None


@dataclass(frozen=True, slots=True)
class _Move:
    """A nest that only moves (or adds) a temporary to another place."""

    source: Access
    target: Access
    add: bool


def forwarded(items: Sequence[Any]) -> list[Any]:
    """The items without such copies."""
    result = list(items)
    users: dict[Buffer, list[Any]] = {}
    for item in result:
        for buffer in {a.buffer for a in item.accesses}:
            users.setdefault(buffer, []).append(item)
    for item in list(result):
        move = _move(item)
        if move is None or move.source.buffer.role != "temp":
            continue
        makers = [m for m in users[move.source.buffer] if m is not item]
        if len(makers) != 1 or not isinstance(makers[0], Nest) or makers[0].serial:
            continue
        maker = makers[0]
        first, last = result.index(maker), result.index(item)
        written = _written(maker, item, move)
        if first > last or written is None:
            continue
        target = move.target.buffer
        begin = _free(result, first, last, written, maker.shape)
        if begin is None:
            continue
        if begin > first:  # the zeros come first
            result.insert(first, result.pop(begin))
        result.remove(item)
        users[target] = [u for u in users[target] if u is not item]
        if maker not in users[target]:
            users[target].append(maker)
        _redirect(maker, move, written)
    return result


def _move(item: Any) -> _Move | None:
    if not isinstance(item, Nest) or item.serial or len(item.sinks) != 1:
        return None
    sink = item.sinks[0]
    if not isinstance(sink, Store):
        return None
    loads = [n for n in item.nodes if isinstance(n, Load) and not n.index]
    moved = [n for n in loads if n.access != sink.access]
    if len(moved) != 1 or moved[0].access.buffer is sink.access.buffer:
        return None
    value = item.nodes[sink.node]
    if len(item.nodes) == 1:
        return _Move(moved[0].access, sink.access, False)
    adds = isinstance(value, Apply) and value.op == "add" and len(item.nodes) == 3
    return _Move(moved[0].access, sink.access, True) if adds and len(loads) == 2 else None


def _written(maker: Nest, item: Nest, move: _Move) -> Access | None:
    """Where the maker would write: each of its loops by the target's stride; None if none fits."""
    sinks = [s for s in maker.sinks if s.access.buffer is move.source.buffer]
    reads = [n for n in maker.nodes if isinstance(n, Load)]
    if len(sinks) != 1 or not isinstance(sinks[0], Store):
        return None
    if any(n.access.buffer is move.source.buffer for n in reads):
        return None
    made = sinks[0].access
    if made.offset != move.source.offset or maker.size != item.size or not all(made.strides):
        return None
    wanted = {s: k for k, s in enumerate(made.strides)}
    if len(wanted) != len(made.strides):
        return None
    found: dict[int, int] = {}
    for extent, step, into in zip(
        item.shape, move.source.strides, move.target.strides, strict=True
    ):
        rest, within = extent, 1
        while rest > 1:
            loop = wanted.get(step * within)
            if loop is None or loop in found or rest % maker.shape[loop]:
                return None
            found[loop] = into * within
            rest //= maker.shape[loop]
            within *= maker.shape[loop]
    if len(found) != len(maker.shape):
        return None
    strides = tuple(found[k] for k in range(len(maker.shape)))
    return Access(move.target.buffer, move.target.offset, strides)


def _free(
    items: Sequence[Any], first: int, last: int, written: Access, shape: Sequence[int]
) -> int | None:
    """None if somebody meets that place between two items.

    Otherwise the number of the item in between that fills the target first, or ``first``.
    """
    target = written.buffer
    begin = first
    for number in range(first, last):
        item = items[number]
        meets = [a for a in item.accesses if a.buffer is target]
        if not meets:
            continue
        if not isinstance(item, Nest):
            return None
        if number > first and _fills(item, target):
            if any(a.buffer is target for other in items[:number] for a in other.accesses):
                return None
            begin = number
            continue
        points = [*(n for n in item.nodes if isinstance(n, Load)), *item.sinks]
        if any(getattr(p, "index", ()) for p in points if p.access.buffer is target):
            return None
        if not all(apart(shape, written, item.shape, a) for a in meets):
            return None
    return begin


def _fills(item: Nest, target: Buffer) -> bool:
    """Whether a nest does nothing but fill a whole buffer with a constant."""
    return (
        len(item.nodes) == len(item.sinks) == 1
        and isinstance(item.nodes[0], Constant)
        and item.sinks[0].access.buffer is target
        and item.size == target.size
    )


def _redirect(maker: Nest, move: _Move, written: Access) -> None:
    for position, sink in enumerate(maker.sinks):
        if sink.access.buffer is move.source.buffer:
            node = sink.node
            if move.add:
                kind = maker.nodes[node].kind
                old = maker.add(Load(written, kind))
                node = maker.add(Apply("add", (old, node), kind))
            maker.sinks[position] = replace(sink, node=node, access=written)
