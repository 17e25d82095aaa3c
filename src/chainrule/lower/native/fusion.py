"""Neighbouring loop nests under one outermost loop: what flows between them stays in cache.

A group runs strip by strip: some rounds of the outermost loop of its first nest, the same rounds of
the second, and so on.  A temporary that lives in the group alone shrinks to a strip for each chunk
of the loop.  The number of chunks does not depend on the number of cores, so results do not either.

Where the loops beneath are too short for vectors (points with three coordinates), vectors run along
the rounds of a strip: *narrow* nests.  What only they meet lies there one element after the other,
each of all rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import gcd
from typing import TypeAlias

from .blocks import Region
from .callback import Callback
from .code import Target
from .layout import WIDTHS, Access, Buffer
from .loops import Moved, emit_nest, identity_of
from .matmul import Product
from .nest import Constant, Fold, Load, Nest, Store, beneath
from .tiles import Turned, tiled

__all__ = ["Group", "Item", "emit_group", "fused", "meets_again", "writes"]

#: Chunks of the outermost loop: cores take them one after the other.
CHUNKS = 16
#: Bytes of temporaries from which fusion is worth while: less stays in cache anyway.
WORTH = 1 << 18
#: Bytes of temporaries that a strip may hold.
STRIP = 1 << 15
#: Innermost loops shorter than this leave vectors half empty.
NARROW = 8
#: A strip of a group with narrow nests has a multiple of so many rounds, and is longer: each of its
#: many short loops takes some time to begin.
VECTORS = 16
LONGER = 4
_MOST_NESTS = 32
_MOST_POSTPONED = 8
#: Longer loops add single numbers in blocks of their own, which is more accurate.
_LONGEST_SUM = 1 << 16


@dataclass(eq=False, slots=True)
class Group:
    """Nests whose outermost loops run together, ``strip`` rounds at a time.

    ``sliced``: temporaries of which each chunk holds one strip, and the elements of a round;
    ``columns``: those among them that hold each element of all rounds together; ``private``: sums
    over the outermost loop, one for each chunk, and their sizes.  ``whole``: the nests over all
    rounds of a strip, and which of their loops these are; empty where no nest is narrow.
    """

    extent: int
    nests: list[Nest]
    chunk: int
    strip: int
    sliced: dict[Buffer, int] = field(default_factory=dict)
    columns: set[Buffer] = field(default_factory=set)
    private: dict[Buffer, int] = field(default_factory=dict)
    whole: list[tuple[Nest, int]] = field(default_factory=list)

    @property
    def accesses(self) -> list[Access]:
        """Of all nests."""
        return [a for nest in self.nests for a in nest.accesses]

    @property
    def work(self) -> float:
        """Roughly the nanoseconds that one core takes."""
        return sum(nest.work for nest in self.nests)


Item: TypeAlias = Nest | Product | Callback | Group | Region


def fused(items: Sequence[Item]) -> list[Item]:
    """The items, some of them as groups (with nests before and after that begin and end sums)."""
    used: dict[Buffer, set[int]] = {}
    for item in items:
        for access in item.accesses:
            used.setdefault(access.buffer, set()).add(id(item))
    queue = list(items)
    result: list[Item] = []
    while queue:
        item = queue.pop(0)
        if not isinstance(item, Nest) or not _can_begin(item):
            result.append(item)
            continue
        found = _gathered_from(item, queue)
        if found is None:
            result.append(item)
            continue
        members, before, rest = found
        made = _made(members, used)
        if made is None:
            result.append(item)
            continue
        group, first, last = made
        result.extend([*before, *first, group, *last])
        queue = rest
    return result


def meets_again(nest: Nest, fold: Fold) -> bool:
    """Whether memory is read before it is written: not if one innermost loop makes each sum."""
    if not nest.shape or fold.access.strides[-1] != 0:
        return True
    return any(s == 0 for s in fold.access.strides[:-1])


# -- which nests --------------------------------------------------------------------------------
def _can_begin(nest: Nest) -> bool:
    return _can_join(nest) and len(nest.shape) > 1 and nest.shape[0] >= 2 * CHUNKS


def _can_join(nest: Nest) -> bool:
    return not nest.serial and not any(isinstance(s, Fold) and s.index for s in nest.sinks)


def _gathered_from(
    start: Nest, queue: Sequence[Item]
) -> tuple[list[Nest], list[Item], list[Item]] | None:
    """Nests with ``start``'s outermost loop first; what goes before them; what comes after."""
    extent = start.shape[0]
    members = [start]
    before: list[Item] = []
    after: list[Item] = []
    if not _fits(members):
        return None
    position = 0
    for item in queue:
        if len(members) >= _MOST_NESTS or len(after) > _MOST_POSTPONED:
            break
        if not isinstance(item, Nest | Product):
            break
        position += 1
        free = not any(_conflict(item, other) for other in after)
        joined = _joined(members, item, extent) if free and isinstance(item, Nest) else None
        if joined is not None:
            members.append(joined)
        elif free and not any(_conflict(item, member) for member in members):
            if isinstance(item, Nest) and item.size > start.size:
                position -= 1
                break  # it may begin a group of its own
            before.append(item)
        else:
            after.append(item)
    if len(members) == 1:
        return None
    return members, before, [*after, *queue[position:]]


def _joined(members: Sequence[Nest], nest: Nest, extent: int) -> Nest | None:
    """The nest with a loop outermost under which it may join; None if there is none."""
    if not _can_join(nest):
        return None
    for axis, length in enumerate(nest.shape):
        if length == extent:
            turned = _outermost(nest, axis)
            if _fits([*members, turned]):
                return turned
    return None


def _outermost(nest: Nest, axis: int) -> Nest:
    if axis == 0:
        return nest
    order = [axis, *(i for i in range(len(nest.shape)) if i != axis)]
    return nest.mapped(
        [nest.shape[i] for i in order],
        lambda a: Access(a.buffer, a.offset, tuple(a.strides[i] for i in order)),
    )


def _fits(nests: Sequence[Nest]) -> bool:
    """Whether rounds of the outermost loops are independent but for sums that nobody reads."""
    met: dict[Buffer, list[tuple[int, int] | None]] = {}  # per access: stride and slice
    accesses: dict[Buffer, list[Access]] = {}
    written: set[Buffer] = set()
    looked: set[Buffer] = set()
    sums: list[Buffer] = []
    for nest in nests:
        for node in nest.nodes:
            if isinstance(node, Load):
                place = None if node.index else _round(nest, node.access)
                met.setdefault(node.access.buffer, []).append(place)
                accesses.setdefault(node.access.buffer, []).append(node.access)
                looked.update({node.access.buffer} if node.index else ())
        for sink in nest.sinks:
            buffer = sink.access.buffer
            written.add(buffer)
            if sink.access.strides[0] == 0:
                if isinstance(sink, Store) or 2 * CHUNKS * buffer.size > max(nest.size, 2 * CHUNKS):
                    return False
                if len(nest.shape) == 1 and nest.shape[0] > _LONGEST_SUM:
                    return False
                sums.append(buffer)
            met.setdefault(buffer, []).append(_round(nest, sink.access))
            accesses.setdefault(buffer, []).append(sink.access)
    if any(len(met[buffer]) > 1 for buffer in sums):
        return False
    for buffer in written.difference(sums):
        places = set(met[buffer])
        if len(places) == 1 and None not in places:
            continue
        if buffer in looked or not _in_columns(accesses[buffer], nests[0].shape[0]):
            return False
    return True


def _in_columns(accesses: Sequence[Access], extent: int) -> bool:
    """Whether each round has places of its own by what is left over of some step."""
    first = accesses[0]
    step = first.strides[0]
    if step <= 0 or any(a.strides[0] != step for a in accesses):
        return False
    common = gcd(
        *(s for a in accesses for s in a.strides[1:]), *(a.offset - first.offset for a in accesses)
    )
    return common == 0 or common >= step * extent


def _round(nest: Nest, access: Access) -> tuple[int, int] | None:
    """The outermost stride and in which slice of that length each round stays; None if in none."""
    step = access.strides[0]
    if step <= 0:
        return None
    low = high = access.offset
    for extent, stride in zip(nest.shape[1:], access.strides[1:], strict=True):
        reach = (extent - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
    return (step, low // step) if low // step == high // step else None


def writes(item: Item) -> set[Buffer]:
    """The buffers that an item writes."""
    if isinstance(item, Product):
        return {item.c.buffer}
    if isinstance(item, Callback):
        return {a.buffer for a in item.outputs.values()}
    if isinstance(item, Region):
        return set(item.results)
    nests = item.nests if isinstance(item, Group) else [item]
    return {s.access.buffer for nest in nests for s in nest.sinks}


def _conflict(one: Nest | Product, other: Item) -> bool:
    def meets(item: Item) -> set[Buffer]:
        return {a.buffer for a in item.accesses}

    return not (writes(one).isdisjoint(meets(other)) and writes(other).isdisjoint(meets(one)))


# -- the group ----------------------------------------------------------------------------------
def _made(
    members: Sequence[Nest], used: dict[Buffer, set[int]]
) -> tuple[Group, list[Nest], list[Nest]] | None:
    """The group, nests that begin its sums and nests that end them; None if it is not worth it."""
    extent = members[0].shape[0]
    chunk = -(-extent // CHUNKS)
    rows: dict[Buffer, int] = {}
    counts: dict[Buffer, int] = {}
    sums = {s.access.buffer for n in members for s in n.sinks if s.access.strides[0] == 0}
    for nest in members:
        for buffer in {a.buffer for a in nest.accesses}:
            counts[buffer] = counts.get(buffer, 0) + 1
        for sink in nest.sinks:
            buffer = sink.access.buffer
            if buffer.role == "temp" and buffer not in sums:
                rows[buffer] = sink.access.strides[0]
    # only the group meets it, and its rounds begin with the buffer
    rows = {
        b: row
        for b, row in rows.items()
        if counts[b] == len(used.get(b, ())) and row * extent == b.size
    }
    if not rows or sum(b.nbytes for b in rows) < WORTH:
        return None
    bytes_a_round = sum(row * WIDTHS[b.kind] for b, row in rows.items())
    strip = min(max(STRIP // bytes_a_round, 1), chunk)
    group = Group(extent, [], chunk, strip, rows)
    first: list[Nest] = []
    last: list[Nest] = []
    for member in members:
        nest = beneath(member)
        for position, sink in enumerate(nest.sinks):
            if not isinstance(sink, Fold):
                continue
            if sink.access.strides[0] == 0:
                begin, nest.sinks[position], end = _private(sink, group)
                first.append(begin)
                last.append(end)
            elif meets_again(nest, sink) or (_narrow(nest) and 0 in sink.access.strides):
                group.nests.append(_begun(nest, sink))
        group.nests.append(nest)
    if any(map(_narrow, group.nests)) and chunk >= VECTORS:
        _turn(group)
    first += _with_tiles(group)
    for buffer, row in rows.items():
        buffer.size = CHUNKS * group.strip * row
    return group, first, last


def _with_tiles(group: Group) -> list[Nest]:
    """Short sums of the group side by side; nests that turn operands beforehand."""
    fixed = {*group.sliced, *group.private, *(b for nest in group.nests for b in writes(nest))}
    before: list[Nest] = []
    turned: Turned = {}

    def changed(nest: Nest) -> Nest:
        found = tiled(nest, fixed, 1, turned)
        if found is None:
            return nest
        before.extend(found[0])
        return found[1]

    group.nests = [changed(nest) for nest in group.nests]
    group.whole = [(nest if loop else changed(nest), loop) for nest, loop in group.whole]
    return before


def _narrow(nest: Nest) -> bool:
    return nest.shape[-1] < NARROW


def _turn(group: Group) -> None:
    """Vectors of narrow nests along the rounds of a strip."""
    strips = -(-group.chunk // max(LONGER * group.strip, VECTORS))
    strip = -(-group.chunk // (strips * VECTORS)) * VECTORS
    group.strip, group.chunk = strip, strips * strip
    group.columns = set(group.sliced)
    for nest in group.nests:
        if not _narrow(nest):
            group.columns.difference_update(a.buffer for a in nest.accesses)

    def laid(access: Access) -> Access:
        if access.buffer not in group.columns:
            return access
        strides = (1, *(strip * s for s in access.strides[1:]))
        return Access(access.buffer, strip * access.offset, strides)

    group.nests = [nest.mapped(nest.shape, laid) for nest in group.nests]
    for nest in group.nests:
        loops = [i for i, extent in enumerate(nest.shape) if i and extent != 1]
        order = [*loops, 0] if _narrow(nest) else [0, *loops]
        shape = [strip if i == 0 else nest.shape[i] for i in order]

        def turned(access: Access, order: Sequence[int] = order) -> Access:
            return replace(access, strides=tuple(access.strides[i] for i in order))

        group.whole.append((nest.mapped(shape, turned), order.index(0)))


def _begun(nest: Nest, fold: Fold) -> Nest:
    """What a sum of each round begins with."""
    access = fold.access
    kept = [i for i, s in enumerate(access.strides) if s != 0]
    made = Nest(tuple(nest.shape[i] for i in kept))
    kind = access.buffer.kind
    value = made.add(Constant(identity_of(fold.how, kind), kind))
    strides = tuple(access.strides[i] for i in kept)
    made.sinks.append(Store(value, replace(access, strides=strides)))
    return beneath(made)


def _private(fold: Fold, group: Group) -> tuple[Nest, Fold, Nest]:
    """A sum over the outermost loop, one a chunk: its begin, the sum, the sum of all chunks."""
    target = fold.access.buffer
    kind, size = target.kind, target.size
    cells = Buffer(kind, CHUNKS * size, "temp")
    group.private[cells] = size
    begin = Nest((cells.size,))
    value = begin.add(Constant(identity_of(fold.how, kind), kind))
    begin.sinks.append(Store(value, Access(cells, 0, (1,))))
    inner = (size,) if size > 1 else ()
    end = Nest((CHUNKS, *inner))
    loaded = end.add(Load(Access(cells, 0, (size, *(1 for _ in inner))), kind))
    end.sinks.append(Fold(loaded, Access(target, 0, (0, *(1 for _ in inner))), fold.how))
    return begin, replace(fold, access=replace(fold.access, buffer=cells)), end


# -- code ---------------------------------------------------------------------------------------
def emit_group(group: Group, name: str, target: Target, declared: dict[str, str]) -> str:
    """``void name(ptr frame, i64 lo, i64 hi)``: one chunk, which begins at ``lo``.

    ``void name_all(ptr frame)``: all chunks, one after the other.
    """
    strip = group.strip
    moved: Moved = {b: (("part", n),) for b, n in group.private.items()}
    rounds, whole = dict(moved), dict(moved)
    for buffer, row in group.sliced.items():
        rounds[buffer] = (("shift", row),)
        whole[buffer] = (("part", strip * row),)
        if buffer in group.columns:
            rounds[buffer] = (("shift", 1), ("part", strip * (row - 1)))
    parts = [
        emit_nest(nest, f"{name}_{number}", target, declared, rounds)
        for number, nest in enumerate(group.nests)
    ]
    parts += [
        emit_nest(nest, f"{name}_whole{number}", target, declared, whole, loop)
        for number, (nest, loop) in enumerate(group.whole)
    ]
    values = {"name": name, "chunk": group.chunk, "strip": strip, "extent": group.extent}
    some = _calls(name, len(group.nests))
    body = _EITHER.format(some=some, whole=_calls(f"{name}_whole", len(group.whole)))
    parts.append(_STRIPS.format(body=body if group.whole else some, **values))
    return "\n".join(parts)


def _calls(name: str, count: int) -> str:
    joint = "" if name.endswith("whole") else "_"
    return "\n".join(
        f"  call void @{name}{joint}{number}(ptr %frame, i64 %s, i64 %e, i64 %part, i64 %shift)"
        for number in range(count)
    )


_EITHER = """  br i1 %over, label %some, label %whole
whole:
{whole}
  br label %next
some:
{some}
  br label %next
next:"""

_STRIPS = """define internal void @{name}(ptr %frame, i64 %lo, i64 %hi) {{
entry:
  %part = udiv i64 %lo, {chunk}
  %home = mul i64 %part, {strip}
  br label %head
head:
  %s = phi i64 [ %lo, %entry ], [ %e, %latch ]
  %far = add i64 %s, {strip}
  %over = icmp sgt i64 %far, %hi
  %e = select i1 %over, i64 %hi, i64 %far
  %shift = sub i64 %home, %s
{body}
  br label %latch
latch:
  %more = icmp slt i64 %e, %hi
  br i1 %more, label %head, label %done
done:
  ret void
}}

define internal void @{name}_all(ptr %frame) {{
entry:
  br label %head
head:
  %lo = phi i64 [ 0, %entry ], [ %far, %head ]
  %far = add i64 %lo, {chunk}
  %over = icmp sgt i64 %far, {extent}
  %hi = select i1 %over, i64 {extent}, i64 %far
  call void @{name}(ptr %frame, i64 %lo, i64 %hi)
  %more = icmp slt i64 %far, {extent}
  br i1 %more, label %head, label %done
done:
  ret void
}}
"""
