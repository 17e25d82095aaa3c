"""Whether a result may be made in the memory of an argument that the program reads."""

from __future__ import annotations

from collections.abc import Sequence

from .fusion import Group, Item
from .layout import Access, Buffer
from .nest import Load, Nest, Store

__all__ = ["reads_first"]


def reads_first(items: Sequence[Item], source: Buffer, target: Buffer) -> bool:
    """Whether ``target`` may lie where ``source`` does: each element is read before it is written.

    A loop nest may read an element at the very point at which it stores there; what any other item
    reads must not have been written by then.
    """
    if target.zeroed:
        return source.first < 0  # the zeros come before everything
    written: list[tuple[int, int]] = []
    for item in items:
        parts = list(item.nests) if isinstance(item, Group) else [item]
        reading = [n for n in parts if _meets(n, source)]
        writing = [n for n in parts if _meets(n, target)]
        for part in reading:
            low, high = _reach(part, source)
            if any(low <= end and start <= high for start, end in written):
                return False
        if reading and writing:
            together = len(parts) == 1 or (len(reading) == 1 and reading == writing)
            if not together or not _pointwise(reading[0], source, target):
                return False
        written += [_reach(part, target) for part in writing]
    return True


def _meets(item: Item, buffer: Buffer) -> bool:
    return any(access.buffer is buffer for access in item.accesses)


def _reach(item: Item, buffer: Buffer) -> tuple[int, int]:
    """The first and the last element of a buffer that an item may meet."""
    if not isinstance(item, Nest) or any(isinstance(n, Load) and n.index for n in item.nodes):
        return 0, buffer.size
    low, high = buffer.size, 0
    for access in item.accesses:
        if access.buffer is buffer:
            steps = [(e - 1) * s for e, s in zip(item.shape, access.strides, strict=True)]
            low = min(low, access.offset + sum(s for s in steps if s < 0))
            high = max(high, access.offset + sum(s for s in steps if s > 0))
    return low, high


def _pointwise(nest: Item, source: Buffer, target: Buffer) -> bool:
    """Whether a nest reads the source only where, and when, it stores the target."""
    if not isinstance(nest, Nest) or nest.serial:
        return False
    sinks = [s for s in nest.sinks if s.access.buffer is target]
    if len(sinks) != 1 or not isinstance(sinks[0], Store):
        return False
    written = sinks[0].access
    loads = [n for n in nest.nodes if isinstance(n, Load) and n.access.buffer in (source, target)]
    return _apart(written, nest.shape) and all(
        not n.index
        and n.access.buffer is source
        and (n.access.offset, n.access.strides) == (written.offset, written.strides)
        for n in loads
    )


def _apart(access: Access, shape: Sequence[int]) -> bool:
    """Whether every point meets an element of its own."""
    reach = 1
    for stride, extent in sorted(zip(access.strides, shape, strict=True)):
        if extent > 1:
            if stride < reach:
                return False
            reach = stride * (extent - 1) + reach
    return True
