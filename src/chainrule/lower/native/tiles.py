"""Short sums side by side: vectors run along a loop of the result, the sum stays in registers.

A sum over a short innermost loop would end with the lanes of its vector added up, for each element
of the result.  With vectors along another loop nothing is left to add up; small operands that lie
the other way are turned beforehand.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TypeAlias

from .layout import Access, Buffer, contiguous_strides
from .nest import Fold, Load, Nest, Store

__all__ = ["Turned", "tiled"]

#: Longer sums take little time to end, and several partial sums are more accurate.
LONGEST = 64
#: Lanes from which vectors are worth while.
SHORTEST = 8
#: Operands are turned where a nest meets each of their elements so often, at least.
OFTEN = 16


#: Turned copies by what they are copies of: buffer, offset, extents and strides.
Turned: TypeAlias = "dict[tuple[object, ...], Buffer]"


def tiled(
    nest: Nest, fixed: set[Buffer], first: int, turned: Turned
) -> tuple[list[Nest], Nest] | None:
    """Nests that turn operands, and the nest with its sum inside its vectors; None: as it is.

    ``fixed``: buffers that cannot be turned beforehand; loops before ``first`` stay where they are.
    Copies that are in ``turned`` are there already; new ones join it.
    """
    shape, rank = nest.shape, len(nest.shape)
    if nest.serial or rank < first + 2 or not 2 <= shape[-1] <= LONGEST or nest.tiled:
        return None
    if not nest.sinks or any(not isinstance(s, Fold) or s.index for s in nest.sinks):
        return None
    if any(s.access.strides[-1] != 0 for s in nest.sinks):
        return None
    loads = [n for n in nest.nodes if isinstance(n, Load)]
    if any(n.index for n in loads):
        return None
    for lane in range(rank - 2, first - 1, -1):
        if shape[lane] < SHORTEST or any(s.access.strides[lane] != 1 for s in nest.sinks):
            continue
        across = {n.access for n in loads if n.access.strides[lane] not in (0, 1)}
        if all(_turns(nest, a, fixed, first) for a in across):
            return _made(nest, lane, across, turned)
    return None


def _turns(nest: Nest, access: Access, fixed: set[Buffer], first: int) -> bool:
    if any(access.strides[:first]):
        return False
    size = prod(e for e, s in zip(nest.shape, access.strides, strict=True) if s)
    return access.buffer not in fixed and OFTEN * size <= nest.size


def _made(nest: Nest, lane: int, across: set[Access], turned: Turned) -> tuple[list[Nest], Nest]:
    rank = len(nest.shape)
    order = [*(k for k in range(rank) if k != lane), lane]
    copies: list[Nest] = []
    moved: dict[Access, Access] = {}
    for access in sorted(across, key=lambda a: (a.offset, a.strides)):
        kept = [k for k in order if access.strides[k] != 0]
        shape = tuple(nest.shape[k] for k in kept)
        old, new = tuple(access.strides[k] for k in kept), contiguous_strides(shape)
        key = access.buffer, access.offset, shape, old
        target = turned.get(key)
        if target is None:
            kind = access.buffer.loaded
            target = turned[key] = Buffer(kind, prod(shape), "temp")
            copy = Nest(shape)
            node = copy.add(Load(replace(access, strides=old), kind))
            copy.sinks.append(Store(node, Access(target, 0, new)))
            copies.append(copy)
        stride = dict(zip(kept, new, strict=True))
        moved[access] = Access(target, 0, tuple(stride.get(k, 0) for k in range(rank)))

    def change(access: Access) -> Access:
        access = moved.get(access, access)
        return replace(access, strides=tuple(access.strides[k] for k in order))

    made = nest.mapped([nest.shape[k] for k in order], change)
    made.tiled = True
    return copies, made
