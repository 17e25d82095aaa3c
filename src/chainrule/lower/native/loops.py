"""Loop nests as LLVM's text: vectors along the innermost loop, its rest under a constant mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from .code import ALIGN, MEMORY, STORED, Code, Target, V
from .layout import NARROW, Access, Buffer, Unsupported
from .masks import skipped
from .nest import Apply, Constant, Fold, Load, Nest, Store
from .scalar import apply
from .shared import LONG, called

__all__ = ["Moved", "emit_nest", "identity_of"]

#: By buffer: pairs of a parameter and the elements that it counts.
Moved: TypeAlias = "dict[Buffer, tuple[tuple[str, int], ...]]"


def identity_of(how: str, kind: str) -> float | int:
    """The value that a fold begins with."""
    if how == "sum":
        return 0
    if kind == "i64":
        return -(2**63) if how == "max" else 2**63 - 1
    return -math.inf if how == "max" else math.inf


def emit_nest(
    nest: Nest,
    name: str,
    target: Target,
    declared: dict[str, str],
    moved: Moved | None = None,
    rounds: int | None = None,
) -> str:
    """``void name(ptr frame, i64 lo, i64 hi)``: the outermost loop from lo to hi.

    A nest without loops, or with one, ignores the bounds.  ``moved``: in a group the function has
    two more parameters, ``part`` and ``shift``; such buffers lie that many times so many elements
    further on.  ``rounds``: the number of a loop that begins at lo; all loops run through.
    """
    return _Emitter(nest, name, target, declared, moved, rounds).text()


#: Nodes up to which a loop handles four registers together instead of two.
_MOST_WIDE = 64


def _lanes(nest: Nest, target: Target) -> int:
    """How many elements a round of the innermost loop handles.

    Functions are long chains of operations: four of them side by side keep the machine busy, two
    do not.  Elements that are met one by one would only make the code longer.
    """
    if not nest.shape or not nest.inner:
        return 1
    kinds = {n.kind for n in nest.nodes} - {"i1"}
    widest = "f64" if kinds & {"f64", "i64"} or not kinds else "f32"
    n, lanes, wide = nest.shape[-1], target.lanes(widest), target.lanes(widest, 4)
    plain = not any(n.index for n in nest.nodes if isinstance(n, Load)) and not any(
        s.index for s in nest.sinks if isinstance(s, Fold)
    )
    together = all(a.strides[-1] in (0, 1) for a in nest.accesses)
    padded = -(-n // wide) * wide <= 1.1 * (-(-n // lanes) * lanes)
    if plain and together and padded and len(nest.nodes) <= _MOST_WIDE:
        lanes = wide
    while lanes // 2 >= n:
        lanes //= 2
    return lanes


class _Emitter:
    def __init__(
        self,
        nest: Nest,
        name: str,
        target: Target,
        declared: dict[str, str],
        moved: Moved | None,
        rounds: int | None,
    ) -> None:
        self.nest = nest
        self.moved = moved
        self.rounds = rounds
        self.name = name
        self.c = Code(target, _lanes(nest, target), declared)
        self.pointers: dict[int, str] = {}
        self.accumulators: dict[int, str] = {}
        self.bases: dict[Access, str] = {}
        self.skips = -1  # a loop that does those rounds only in which the mask is True
        self.mask: Load | None = None

    def text(self) -> str:
        c, nest = self.c, self.nest
        for access in nest.accesses:
            slot = access.buffer.slot
            if slot not in self.pointers:
                place, pointer = c.fresh("s"), c.fresh("b")
                c.line(f"{place} = getelementptr ptr, ptr %frame, i64 {slot}")
                c.line(f"{pointer} = load ptr, ptr {place}, align 8")
                for by, count in (self.moved or {}).get(access.buffer, ()):
                    offset, start = c.fresh(), pointer
                    pointer = c.fresh("b")
                    memory = MEMORY[access.buffer.kind]
                    c.line(f"{offset} = mul i64 %{by}, {count}")
                    c.line(f"{pointer} = getelementptr {memory}, ptr {start}, i64 {offset}")
                self.pointers[slot] = pointer
        for position, sink in enumerate(nest.sinks):
            if self._in_registers(sink):
                name = c.fresh("acc")
                c.line(f"{name} = alloca {c.type(self._kind(sink))}, align 64")
                self.accumulators[position] = name
        found = None if self.nest.tiled else skipped(nest)
        if found is not None:
            self.skips, self.mask = found
        self._outer(0, {a: self._begin(a) for a in nest.accesses})
        c.line("ret void")
        body = "\n".join(c.lines)
        more = "" if self.moved is None else ", i64 %part, i64 %shift"
        head = f"define internal void @{self.name}(ptr %frame, i64 %lo, i64 %hi{more})"
        return f"{head} {{\nentry:\n{body}\n}}\n"

    def _kind(self, sink: Store | Fold) -> str:
        return self.nest.nodes[sink.node].kind

    def _in_registers(self, sink: Store | Fold) -> bool:
        if not isinstance(sink, Fold) or not self.nest.shape or sink.index:
            return False
        return sink.access.strides[-1] == 0

    # -- loops --------------------------------------------------------------------------------
    def _begin(self, access: Access) -> str:
        """Where a nest begins in a buffer."""
        if self.rounds is None or access.buffer in (self.moved or {}):
            return str(access.offset)
        return self._advance(str(access.offset), "%lo", access.strides[self.rounds])

    def _outer(self, depth: int, bases: dict[Access, str]) -> None:
        c, shape = self.c, self.nest.shape
        if not shape:
            self.bases = bases
            self._body(None, None)
            return
        if depth == len(shape) - 1:
            self.bases = bases
            self._inner()
            return
        if self.nest.tiled and depth == len(shape) - 2:
            self._tiles(bases)
            return
        if depth == self.skips:
            self._chosen(depth, bases)
            return
        head, done = c.new_label("head"), c.new_label("done")
        bounded = depth == 0 and self.rounds is None
        start, stop = ("%lo", "%hi") if bounded else ("0", str(shape[depth]))
        before, index, following = c.block, c.fresh("i"), c.fresh("i")
        latch = c.new_label("latch")
        c.line(f"br label %{head}")
        c.label(head)
        c.line(f"{index} = phi i64 [ {start}, %{before} ], [ {following}, %{latch} ]")
        known = c.mark()
        inner = {}
        for access, base in bases.items():
            inner[access] = self._advance(base, index, access.strides[depth])
        self._outer(depth + 1, inner)
        c.line(f"br label %{latch}")
        c.label(latch)
        c.forget(known)
        more = c.fresh()
        c.line(f"{following} = add i64 {index}, 1")
        c.line(f"{more} = icmp slt i64 {following}, {stop}")
        c.line(f"br i1 {more}, label %{head}, label %{done}")
        c.label(done)

    def _chosen(self, depth: int, bases: dict[Access, str]) -> None:
        """A loop over the rounds in which the mask is True: many masks are looked at together."""
        c, extent = self.c, self.nest.shape[depth]
        assert self.mask is not None
        width = min(64, 1 << (extent.bit_length() - 1))
        head, test, take = c.new_label("head"), c.new_label("test"), c.new_label("take")
        latch, done = c.new_label("latch"), c.new_label("done")
        before, start, following = c.block, c.fresh("i"), c.fresh("i")
        c.line(f"br label %{head}")
        c.label(head)
        c.line(f"{start} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
        known = c.mark()
        # the last masks overlap those before, whose bits are taken away
        over, place, early, keep = c.fresh(), c.fresh(), c.fresh(), c.fresh()
        c.line(f"{over} = icmp sgt i64 {start}, {extent - width}")
        c.line(f"{place} = select i1 {over}, i64 {extent - width}, i64 {start}")
        c.line(f"{early} = sub i64 {start}, {place}")
        c.line(f"{keep} = shl i64 -1, {early}")
        at, pointer, bytes_, flags = c.fresh(), c.fresh("p"), c.fresh(), c.fresh()
        base, of = bases[self.mask.access], f"<{width} x i8>"
        c.line(f"{at} = add i64 {base}, {place}")
        c.line(
            f"{pointer} = getelementptr i8, ptr {self.pointers[self.mask.access.buffer.slot]}, "
            f"i64 {at}"
        )
        c.line(f"{bytes_} = load {of}, ptr {pointer}, align 1")
        c.line(f"{flags} = icmp ne {of} {bytes_}, zeroinitializer")
        packed, word = c.fresh(), c.fresh()
        c.line(f"{packed} = bitcast <{width} x i1> {flags} to i{width}")
        if width < 64:
            narrow, packed = packed, c.fresh()
            c.line(f"{packed} = zext i{width} {narrow} to i64")
        c.line(f"{word} = and i64 {packed}, {keep}")
        c.line(f"br label %{test}")
        c.label(test)
        bits, fewer, some, end = c.fresh(), c.fresh(), c.fresh(), c.new_label("end")
        c.line(f"{bits} = phi i64 [ {word}, %{head} ], [ {fewer}, %{end} ]")
        c.line(f"{some} = icmp ne i64 {bits}, 0")
        c.line(f"br i1 {some}, label %{take}, label %{latch}")
        c.label(take)
        c.declared["@llvm.cttz.i64"] = "declare i64 @llvm.cttz.i64(i64, i1)"
        number, index, less = c.fresh(), c.fresh("i"), c.fresh()
        c.line(f"{number} = call i64 @llvm.cttz.i64(i64 {bits}, i1 true)")
        c.line(f"{index} = add i64 {place}, {number}")
        c.line(f"{less} = sub i64 {bits}, 1")
        c.line(f"{fewer} = and i64 {bits}, {less}")
        inner = {a: self._advance(b, index, a.strides[depth]) for a, b in bases.items()}
        self._outer(depth + 1, inner)
        c.line(f"br label %{end}")
        c.label(end)
        c.line(f"br label %{test}")
        c.label(latch)
        c.forget(known)
        more = c.fresh()
        c.line(f"{following} = add i64 {start}, {width}")
        c.line(f"{more} = icmp slt i64 {following}, {extent}")
        c.line(f"br i1 {more}, label %{head}, label %{done}")
        c.label(done)

    def _tiles(self, bases: dict[Access, str]) -> None:
        """Vector after vector of the innermost loop, in each of which the loop before it runs."""
        c, n = self.c, self.nest.shape[-1]
        full, rest = divmod(n, c.lanes)
        known = c.mark()
        if full:
            self._vectors(full, lambda index: self._tile(bases, index, None))
            c.forget(known)
        if rest:
            lanes = c.lanes
            while c.lanes // 2 >= rest:
                c.lanes //= 2
            self._tile(bases, str(full * lanes), rest if rest < c.lanes else None)
            c.lanes = lanes
            c.forget(known)

    def _tile(self, bases: dict[Access, str], index: str, count: int | None) -> None:
        """One vector of each sum, over all rounds of the loop before the innermost one."""
        c, rounds = self.c, self.nest.shape[-2]
        names: dict[int, str] = {}
        for position, sink in enumerate(self.nest.sinks):
            assert isinstance(sink, Fold)
            kind = self._kind(sink)
            names[position] = c.fresh("acc")
            c.lines.insert(0, f"  {names[position]} = alloca {c.type(kind)}, align 64")
            start = c.const(kind, identity_of(sink.how, kind))
            c.line(f"store {c.type(kind)} {start.name}, ptr {names[position]}, align 64")
        together = next(k for k in (4, 3, 2, 1) if rounds % k == 0)
        head, latch, done = c.new_label("sum"), c.new_label("latch"), c.new_label("done")
        before, place, following, more = c.block, c.fresh("r"), c.fresh("r"), c.fresh()
        c.line(f"br label %{head}")
        c.label(head)
        c.line(f"{place} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
        known = c.mark()
        for step in range(together):
            at = place
            if step:
                at = c.fresh()
                c.line(f"{at} = add i64 {place}, {step}")
            self.bases = {a: self._advance(b, at, a.strides[-2]) for a, b in bases.items()}
            values = self._values(index, count)
            for position, sink in enumerate(self.nest.sinks):
                assert isinstance(sink, Fold)
                self._accumulate(sink, values[sink.node], names[position], None)
        c.line(f"br label %{latch}")
        c.label(latch)
        c.forget(known)
        c.line(f"{following} = add i64 {place}, {together}")
        c.line(f"{more} = icmp slt i64 {following}, {rounds}")
        c.line(f"br i1 {more}, label %{head}, label %{done}")
        c.label(done)
        self.bases = bases
        for position, sink in enumerate(self.nest.sinks):
            assert isinstance(sink, Fold)
            kind = self._kind(sink)
            total = V(c.fresh("all"), kind)
            c.line(f"{total.name} = load {c.type(kind)}, ptr {names[position]}, align 64")
            if self._again(sink, self.nest.shape[:-2]):
                old = self._load(sink.access, kind, index, count, fresh=True)
                total = self._folded(sink, old, total)
            self._store(total, sink.access, index, count)

    def _again(self, fold: Fold, outer: tuple[int, ...]) -> bool:
        """Whether outer loops meet the same place again (or rounds of a strip do)."""
        strides = fold.access.strides
        again = any(s == 0 for s in strides[: len(outer)])
        return again or (self.rounds is not None and strides[self.rounds] == 0)

    def _advance(self, base: str, index: str, stride: int) -> str:
        """``base + index·stride``, a scalar."""
        if stride == 0:
            return base
        c = self.c
        if stride != 1:
            scaled = c.fresh()
            c.line(f"{scaled} = mul i64 {index}, {stride}")
            index = scaled
        if base == "0":
            return index
        moved = c.fresh()
        c.line(f"{moved} = add i64 {base}, {index}")
        return moved

    def _vectors(self, count: int, body: Callable[[str], None]) -> None:
        """A loop over so many whole vectors."""
        c = self.c
        head, latch, done = c.new_label("vec"), c.new_label("latch"), c.new_label("done")
        before, index, following, more = c.block, c.fresh("j"), c.fresh("j"), c.fresh()
        c.line(f"br label %{head}")
        c.label(head)
        c.line(f"{index} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]")
        body(index)
        c.line(f"br label %{latch}")
        c.label(latch)
        c.line(f"{following} = add i64 {index}, {c.lanes}")
        c.line(f"{more} = icmp slt i64 {following}, {count * c.lanes}")
        c.line(f"br i1 {more}, label %{head}, label %{done}")
        c.label(done)

    def _inner(self) -> None:
        c, n = self.c, self.nest.shape[-1]
        single = len(self.nest.shape) == 1
        full, rest = divmod(n, c.lanes)
        for position, name in self.accumulators.items():
            sink = self.nest.sinks[position]
            assert isinstance(sink, Fold)
            kind = self._kind(sink)
            start = c.const(kind, identity_of(sink.how, kind))
            c.line(f"store {c.type(kind)} {start.name}, ptr {name}, align 64")
        known = c.mark()
        if full == 1:
            self._body("0", None)
        elif full:
            self._vectors(full, lambda index: self._body(index, None))
        c.forget(known)
        if rest:
            self._body(str(full * c.lanes), rest)
            c.forget(known)
        for position in self.accumulators:
            sink = self.nest.sinks[position]
            assert isinstance(sink, Fold)
            self._finish(sink, self.accumulators[position], single)

    # -- one vector ---------------------------------------------------------------------------
    def _values(self, index: str | None, count: int | None) -> list[V]:
        """Of all nodes at one place of the innermost loop."""
        c = self.c
        values: list[V] = []
        for node in self.nest.nodes:
            if node is self.mask:
                values.append(c.const("i1", True))
            elif isinstance(node, Load) and node.index:
                places = [(values[k], s) for k, s in node.index]
                values.append(self._gather(node, places, index, count))
            elif isinstance(node, Load):
                values.append(self._load(node.access, node.kind, index, count))
            elif isinstance(node, Constant):
                values.append(c.const(node.kind, node.value))
            else:
                values.append(self._apply(node, [values[a] for a in node.args]))
        return values

    def _body(self, index: str | None, count: int | None) -> None:
        """All nodes and sinks at one place of the innermost loop; ``count`` lanes of it exist."""
        values = self._values(index, count)
        for position, sink in enumerate(self.nest.sinks):
            value = values[sink.node]
            if isinstance(sink, Store):
                self._store(value, sink.access, index, count)
            elif sink.index:
                self._scatter(sink, value, [(values[k], s) for k, s in sink.index], index, count)
            elif position in self.accumulators:
                self._accumulate(sink, value, self.accumulators[position], count)
            else:
                old = self._load(sink.access, value.kind, index, count, fresh=True)
                self._store(self._folded(sink, old, value), sink.access, index, count)

    def _apply(self, node: Apply, args: list[V]) -> V:
        c = self.c
        if node.op == "convert":
            return c.convert(args[0], node.kind)
        if node.op == "add":
            return c.add(*args)
        if node.op == "subtract":
            return c.sub(*args)
        if node.op == "where":
            return c.select(*args)
        long = c.target.calls and node.op in LONG and args[0].kind[0] == "f"
        result = called(c, node.op, args) if long else apply(c, node.op, args)
        if result.kind != node.kind:
            raise Unsupported(f"{node.op} gives {result.kind}, not {node.kind}")
        return result

    def _folded(self, fold: Fold, old: V, value: V) -> V:
        if fold.how == "sum":
            return self.c.add(old, value)
        return apply(self.c, "maximum" if fold.how == "max" else "minimum", [old, value])

    def _accumulate(self, fold: Fold, value: V, name: str, count: int | None) -> None:
        c = self.c
        of = c.type(value.kind)
        old = V(c.fresh("old"), value.kind)
        c.line(f"{old.name} = load {of}, ptr {name}, align 64")
        new = self._folded(fold, old, value)
        if count is not None:
            new = c.select(V(c.lane_mask(count), "i1"), new, old)
        c.line(f"store {of} {new.name}, ptr {name}, align 64")

    def _finish(self, fold: Fold, name: str, single: bool) -> None:
        """Lanes of an accumulator folded into one, and into memory."""
        c = self.c
        kind = self._kind(fold)
        of, scalar = c.type(kind), MEMORY[kind]
        total = V(c.fresh("all"), kind)
        c.line(f"{total.name} = load {of}, ptr {name}, align 64")
        width = c.lanes
        known = c.mark()
        while width > 1:
            width //= 2
            order = ", ".join(
                f"i32 {width + k}" if k < width else "i32 poison" for k in range(c.lanes)
            )
            upper = V(c.fresh(), kind)
            c.line(
                f"{upper.name} = shufflevector {of} {total.name}, {of} poison, "
                f"<{c.lanes} x i32> <{order}>"
            )
            total = self._folded(fold, total, upper)
        c.forget(known)
        lanes, c.lanes = c.lanes, 1
        result = total
        if lanes > 1:
            result = V(c.fresh(), kind)
            c.line(f"{result.name} = extractelement {of.replace('poison', '')} {total.name}, i64 0")
        place = self._address(fold.access, None)
        strides = fold.access.strides
        again = any(s == 0 for s in strides[:-1]) and not single
        again = again or (self.rounds is not None and strides[self.rounds] == 0)
        if again:
            old = V(c.fresh(), kind)
            c.line(f"{old.name} = load {scalar}, ptr {place}, align {ALIGN[kind]}")
            result = self._folded(fold, old, result)
        c.line(f"store {scalar} {result.name}, ptr {place}, align {ALIGN[kind]}")
        c.forget(known)
        c.lanes = lanes

    # -- memory -------------------------------------------------------------------------------
    def _address(self, access: Access, index: str | None, lane: int = 0) -> str:
        c = self.c
        stride = access.strides[-1] if access.strides else 0
        place = self.bases[access]
        if index is not None:
            place = self._advance(place, index, stride)
        if lane and stride:
            moved = c.fresh()
            c.line(f"{moved} = add i64 {place}, {lane * stride}")
            place = moved
        pointer = c.fresh("p")
        kind = MEMORY[access.buffer.kind]
        base = self.pointers[access.buffer.slot]
        c.line(f"{pointer} = getelementptr {kind}, ptr {base}, i64 {place}")
        return pointer

    def _moved(self, pointer: str, kind: str, places: list[tuple[V, int]], lane: int) -> str:
        """The pointer advanced by the indices of one lane."""
        c = self.c
        for index, stride in places:
            item, scaled, moved = index.name, c.fresh(), c.fresh("p")
            if c.lanes > 1:
                item = c.fresh()
                c.line(f"{item} = extractelement {c.type('i64')} {index.name}, i64 {lane}")
            c.line(f"{scaled} = mul i64 {item}, {stride}")
            c.line(f"{moved} = getelementptr {MEMORY[kind]}, ptr {pointer}, i64 {scaled}")
            pointer = moved
        return pointer

    def _gather(
        self, node: Load, places: list[tuple[V, int]], index: str | None, count: int | None
    ) -> V:
        c = self.c
        held = node.access.buffer.kind
        stored = STORED.get(held, held)
        memory, align = MEMORY[held], ALIGN[stored]
        of, whole = c.type(stored), c.const(stored, 0).name
        for lane in range(c.lanes if count is None else count):
            pointer = self._address(node.access, index, lane)
            pointer = self._moved(pointer, held, places, lane)
            item = c.fresh()
            c.line(f"{item} = load {memory}, ptr {pointer}, align {align}")
            if c.lanes == 1:
                whole = item
                break
            grown = c.fresh()
            c.line(f"{grown} = insertelement {of} {whole}, {memory} {item}, i64 {lane}")
            whole = grown
        return self._taken(V(whole, stored), held)

    def _taken(self, value: V, held: str) -> V:
        """What memory holds as a value."""
        if held == "i1":
            return self.c.cmp("ne", value, self.c.const("i8", 0))
        return self.c.widened(value, held[0] != "u") if held in NARROW.values() else value

    def _scatter(
        self,
        fold: Fold,
        value: V,
        places: list[tuple[V, int]],
        index: str | None,
        count: int | None,
    ) -> None:
        """Lane after lane, since indices may repeat."""
        c = self.c
        kind = value.kind
        word = "or" if kind == "i1" else "fadd" if kind[0] == "f" else "add"
        if kind == "i1":
            value = c.convert(value, "i8")
        memory, align, of = MEMORY[kind], ALIGN[kind], c.type(value.kind)
        for lane in range(c.lanes if count is None else count):
            pointer = self._moved(self._address(fold.access, index, lane), kind, places, lane)
            item = value.name
            if c.lanes > 1:
                item = c.fresh()
                c.line(f"{item} = extractelement {of} {value.name}, i64 {lane}")
            old, new = c.fresh(), c.fresh()
            c.line(f"{old} = load {memory}, ptr {pointer}, align {align}")
            c.line(f"{new} = {word} {memory} {old}, {item}")
            c.line(f"store {memory} {new}, ptr {pointer}, align {align}")

    def _load(
        self, access: Access, kind: str, index: str | None, count: int | None, fresh: bool = False
    ) -> V:
        c = self.c
        held = access.buffer.kind
        stored = STORED.get(held, held)
        memory, align = MEMORY[held], ALIGN[stored]
        stride = access.strides[-1] if access.strides else 0
        if c.lanes == 1 or stride == 0:
            name = c.fresh("x")
            c.line(f"{name} = load {memory}, ptr {self._address(access, index)}, align {align}")
            value = c.splat(name, stored)
        elif stride == 1:
            value = c.read(self._address(access, index), stored, count)
        else:
            of, whole = c.type(stored), c.const(stored, 1).name
            for lane in range(c.lanes if count is None else count):
                item, grown = c.fresh(), c.fresh()
                pointer = self._address(access, index, lane)
                c.line(f"{item} = load {memory}, ptr {pointer}, align {align}")
                c.line(f"{grown} = insertelement {of} {whole}, {memory} {item}, i64 {lane}")
                whole = grown
            value = V(whole, stored)
        return self._taken(value, held)

    def _store(self, value: V, access: Access, index: str | None, count: int | None) -> None:
        c = self.c
        kind = value.kind
        if kind == "i1":
            value = c.convert(value, "i8")
        memory, align, of = MEMORY[kind], ALIGN[kind], c.type(value.kind)
        stride = access.strides[-1] if access.strides else 0
        if c.lanes == 1:
            pointer = self._address(access, index)
            c.line(f"store {memory} {value.name}, ptr {pointer}, align {align}")
        elif stride == 1:
            c.write(value, self._address(access, index), count)
        else:
            for lane in range(c.lanes if count is None else count):
                item = c.fresh()
                c.line(f"{item} = extractelement {of} {value.name}, i64 {lane}")
                pointer = self._address(access, index, lane)
                c.line(f"store {memory} {item}, ptr {pointer}, align {align}")
