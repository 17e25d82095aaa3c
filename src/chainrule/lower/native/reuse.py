"""Results computed where an operand lies that nobody reads afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .blocks import Region
from .callback import Callback
from .fusion import Group, Item
from .layout import Access, Buffer
from .matmul import Product
from .nest import Load, Nest, Store

__all__ = ["in_place"]


def in_place(items: Sequence[Item], kept: set[Buffer]) -> None:
    """Give an operand that ends where a result of its size begins the result's memory.

    Both are met element by element in the same nest, at the same places.  Buffers in ``kept``,
    which others know, stay.
    """
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    fixed = set(kept)
    for number, item in enumerate(items):
        for access in item.accesses:
            first.setdefault(access.buffer, number)
            last[access.buffer] = number
        if isinstance(item, Group):
            fixed.update(item.sliced, item.private)
        elif isinstance(item, Callback | Region):
            fixed.update(a.buffer for a in item.accesses)
    for number in range(len(items) - 1, -1, -1):
        item = items[number]
        if not isinstance(item, Nest) or item.serial:
            continue
        for sink in item.sinks:
            made = sink.access.buffer
            if not isinstance(sink, Store) or made in fixed or made.zeroed or first[made] < number:
                continue
            if made.role not in ("temp", "output"):
                continue
            operand = _operand(item, sink, fixed)
            if operand is None or last[operand] > number:
                continue
            for other in items[first[operand] : number + 1]:
                _rename(other, operand, made)
            first[made] = first.pop(operand)
            del last[operand]


def _operand(nest: Nest, sink: Store, fixed: set[Buffer]) -> Buffer | None:
    """A temporary that is read only where ``sink`` writes."""
    made = sink.access.buffer
    if any(s == 0 for s in sink.access.strides):
        return None
    if sum(a.buffer is made for a in nest.accesses) > 1:
        return None
    loads = [node for node in nest.nodes if isinstance(node, Load)]
    looked = {node.access.buffer for node in loads if node.index}
    for node in loads:
        buffer = node.access.buffer
        if (
            buffer.role == "temp"
            and buffer not in fixed
            and (buffer.kind, buffer.size) == (made.kind, made.size)
            and all(
                a.strides == sink.access.strides and a.offset == sink.access.offset
                for a in nest.accesses
                if a.buffer is buffer
            )
            and buffer not in looked
        ):
            return buffer
    return None


def _rename(item: Item, old: Buffer, new: Buffer) -> None:
    def moved(access: Access) -> Access:
        return replace(access, buffer=new) if access.buffer is old else access

    if isinstance(item, Product):
        item.a, item.b, item.c = moved(item.a), moved(item.b), moved(item.c)
    elif isinstance(item, Group):
        for nest in (*item.nests, *(nest for nest, _ in item.whole)):
            _rename(nest, old, new)
    elif isinstance(item, Nest):
        item.nodes = [
            replace(n, access=moved(n.access)) if isinstance(n, Load) else n for n in item.nodes
        ]
        item.sinks = [replace(s, access=moved(s.access)) for s in item.sinks]
        item.known = {}
