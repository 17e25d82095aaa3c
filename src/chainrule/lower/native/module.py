"""The text of a whole program: one function an item, and functions that call them in order.

Loops over rounds and branches (:mod:`.blocks`) are functions too: they write into the frame where
the cursors of a round point, and call the items of their block.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from .blocks import Block, Carry, Choice, Part, Region, Rounds, While
from .callback import Callback
from .code import Target
from .entry import API
from .fusion import Group, Item, emit_group
from .layout import WIDTHS, Buffer
from .loops import emit_nest
from .lowering import Lowered
from .matmul import emit_product
from .memory import Memory
from .nest import Nest, Store
from .shared import many

__all__ = ["emit_module"]

#: Nanoseconds of work from which a loop nest is worth several cores.
PARALLEL_FROM = 100_000
#: Characters of a text. LLVM takes a few tenths of a second, for which an ending interpreter waits.
LONGEST_UNIT = 100_000
#: Rounds after which a loop asks whether the user has interrupted it (a power of two).
ASKED_EVERY = 4096

_HEADS = re.compile(
    r"^define (?:internal )?(?P<result>[^@]*) @(?P<name>[\w.]+)\((?P<arguments>[^)]*)\)",
    re.MULTILINE,
)
_NAMES = re.compile(r"@([\w.]+)")

_RUNTIME = """
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)

; a job: function, frame, count, chunk, next index
define internal ptr @worker(ptr %job) {
entry:
  %f = load ptr, ptr %job, align 8
  %pframe = getelementptr i8, ptr %job, i64 8
  %frame = load ptr, ptr %pframe, align 8
  %pcount = getelementptr i8, ptr %job, i64 16
  %count = load i64, ptr %pcount, align 8
  %pchunk = getelementptr i8, ptr %job, i64 24
  %chunk = load i64, ptr %pchunk, align 8
  %pnext = getelementptr i8, ptr %job, i64 32
  br label %take
take:
  %lo = atomicrmw add ptr %pnext, i64 %chunk seq_cst
  %more = icmp slt i64 %lo, %count
  br i1 %more, label %work, label %done
work:
  %end = add i64 %lo, %chunk
  %over = icmp sgt i64 %end, %count
  %hi = select i1 %over, i64 %count, i64 %end
  call void %f(ptr %frame, i64 %lo, i64 %hi)
  br label %take
done:
  ret ptr null
}

define internal void @parallel(ptr %f, ptr %frame, i64 %count, i64 %chunk, i64 %threads) {
entry:
  %job = alloca [5 x i64], align 8
  %ids = alloca [64 x i64], align 8
  store ptr %f, ptr %job, align 8
  %pframe = getelementptr i8, ptr %job, i64 8
  store ptr %frame, ptr %pframe, align 8
  %pcount = getelementptr i8, ptr %job, i64 16
  store i64 %count, ptr %pcount, align 8
  %pchunk = getelementptr i8, ptr %job, i64 24
  store i64 %chunk, ptr %pchunk, align 8
  %pnext = getelementptr i8, ptr %job, i64 32
  store i64 0, ptr %pnext, align 8
  br label %start
start:
  %k = phi i64 [ 1, %entry ], [ %knext, %started ]
  %again = icmp slt i64 %k, %threads
  br i1 %again, label %create, label %run
create:
  %slot = getelementptr i64, ptr %ids, i64 %k
  %failed = call i32 @pthread_create(ptr %slot, ptr null, ptr @worker, ptr %job)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %started, label %run
started:
  %knext = add i64 %k, 1
  br label %start
run:
  %mine = call ptr @worker(ptr %job)
  br label %join
join:
  %j = phi i64 [ 1, %run ], [ %jnext, %wait ]
  %left = icmp slt i64 %j, %k
  br i1 %left, label %wait, label %end
wait:
  %pid = getelementptr i64, ptr %ids, i64 %j
  %id = load i64, ptr %pid, align 8
  %ignored = call i32 @pthread_join(i64 %id, ptr null)
  %jnext = add i64 %j, 1
  br label %join
end:
  ret void
}
"""


def emit_module(
    lowered: Lowered, target: Target, memory: Memory, objects: list[Any], first_object: int
) -> list[str]:
    """All functions, and last ``@main(frame)`` that calls them in order (1: a Python error is set).

    One text, or for a long program several, which are compiled one by one.  What is called back
    joins ``objects``, whose slots begin at ``first_object``.
    """
    target = replace(target, calls=many(_nests(lowered.items)))
    module = _Module(target, memory, objects, first_object)
    main = _function("main", module.calls(lowered.items, "step"))
    own = [text for text in module.declared.values() if text.startswith("define")]
    if module.runtime:
        own.append(_RUNTIME)
    return _units([*own, *module.functions, main], list(module.declared.values()))


def _units(functions: Sequence[str], declared: Sequence[str]) -> list[str]:
    """Functions in texts of bounded length; what one takes from another is declared there."""
    head = [
        '!0 = !{!"branch_weights", i32 1, i32 1000}',
        *(text for text in declared if text.startswith("declare")),
    ]
    if sum(map(len, functions)) <= LONGEST_UNIT:
        return ["\n".join([*head, *functions])]
    parts: list[list[str]] = [[]]
    length = 0
    for text in functions:
        if length + len(text) > LONGEST_UNIT and parts[-1]:
            parts.append([])
            length = 0
        parts[-1].append(text)
        length += len(text)
    known: dict[str, str] = {}
    for text in functions:
        for match in _HEADS.finditer(text):
            known[match["name"]] = (
                f"declare {match['result']} @{match['name']}({match['arguments']})"
            )
    made = []
    for part in parts:
        text = "\n".join(part).replace("define internal ", "define ")
        here = {match["name"] for match in _HEADS.finditer(text)}
        used = dict.fromkeys(_NAMES.findall(text))
        made.append(
            "\n".join([*head, *(known[n] for n in used if n in known and n not in here), text])
        )
    return made


def _nests(items: Sequence[Item]) -> Iterator[Nest]:
    """All nests, of groups and blocks too."""
    for item in items:
        if isinstance(item, Nest):
            yield item
        elif isinstance(item, Group):
            yield from item.nests
        elif isinstance(item, Region):
            for block in item.blocks:
                yield from _nests(block.items)


def _function(name: str, lines: Sequence[str]) -> str:
    """``i32 name(frame)``: 0, or 1 from the block ``failed``."""
    head = [f"define internal i32 @{name}(ptr %frame) {{", "entry:", *_slot("threads", "i64")]
    return "\n".join([*head, *lines, "  ret i32 0", "failed:", "  ret i32 1", "}\n"])


def _slot(name: str, kind: str = "ptr") -> list[str]:
    """``%name`` from the frame's slot of that name."""
    place = 8 * API.index(name)
    return [
        f"  %{name}.at = getelementptr i8, ptr %frame, i64 {place}",
        f"  %{name} = load {kind}, ptr %{name}.at, align 8",
    ]


class _Module:
    """Functions written so far, and what they need."""

    def __init__(
        self, target: Target, memory: Memory, objects: list[Any], first_object: int
    ) -> None:
        self.target = target
        self.memory = memory
        self.objects = objects
        self.first = first_object
        self.declared: dict[str, str] = {}
        self.functions: list[str] = []
        self.runtime = False

    def calls(self, items: Sequence[Item], stem: str) -> list[str]:
        """Lines that run the items, whose functions are written; names begin with ``stem``."""
        return [line for n, item in enumerate(items) for line in self._call(item, f"{stem}{n}")]

    def _call(self, item: Item, name: str) -> list[str]:
        declared, target = self.declared, self.target
        if isinstance(item, Callback):
            slot = self.first + len(self.objects)
            self.objects.append(item.bound(self.memory.array))
            return _called_back(name, slot)
        if isinstance(item, Region):
            self.functions.append(_function(name, _Control(self, name).region(item)))
            return [
                f"  %{name} = call i32 @{name}(ptr %frame)",
                f"  %{name}.ok = icmp eq i32 %{name}, 0",
                f"  br i1 %{name}.ok, label %{name}.on, label %failed",
                f"{name}.on:",
            ]
        if isinstance(item, Group):
            self.functions.append(emit_group(item, name, target, declared))
            if item.work < PARALLEL_FROM or os.name != "posix":
                return [f"  call void @{name}_all(ptr %frame)"]
            return self._in_parallel(name, item.extent, item.chunk)
        if isinstance(item, Nest):
            self.functions.append(emit_nest(item, name, target, declared))
            extent = item.shape[0] if item.shape else 1
            if _parallel(item):
                return self._in_parallel(name, extent, max(1, extent // 16))
            return [f"  call void @{name}(ptr %frame, i64 0, i64 {extent})"]
        gemm = API.index("dgemm" if item.kind == "f64" else "sgemm")
        self.functions.append(emit_product(item, name, target, declared, gemm))
        return [f"  call void @{name}(ptr %frame, i64 0, i64 1)"]

    def _in_parallel(self, name: str, extent: int, chunk: int) -> list[str]:
        self.runtime = True
        return [
            f"  call void @parallel(ptr @{name}, ptr %frame, i64 {extent}, "
            f"i64 {chunk}, i64 %threads)"
        ]


class _Control:
    """The lines of a function that runs blocks."""

    def __init__(self, module: _Module, name: str) -> None:
        self.module = module
        self.name = name
        self.lines: list[str] = []
        self._places: dict[Buffer, str] = {}

    def region(self, item: Region) -> list[str]:
        """The function's lines, without its head and tail."""
        if isinstance(item, Rounds):
            self._rounds(item)
        elif isinstance(item, While):
            self._while(item)
        elif isinstance(item, Choice):
            self._choice(item)
        else:
            assert isinstance(item, Part)
            (block,) = item.blocks
            self._cursors(block)
            self._block(block, "")
        return self.lines

    def _line(self, text: str) -> None:
        self.lines.append("  " + text)

    def _label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def _block(self, block: Block, stem: str) -> None:
        self.lines.extend(self.module.calls(block.items, f"{self.name}{stem}_"))

    # -- the frame ----------------------------------------------------------------------------
    def _place(self, buffer: Buffer) -> str:
        """The frame's place of a buffer's address (made in the first block of the function)."""
        found = self._places.get(buffer)
        if found is None:
            found = self._places[buffer] = f"%place{len(self._places)}"
            self._line(f"{found} = getelementptr ptr, ptr %frame, i64 {buffer.slot}")
        return found

    def _address(self, buffer: Buffer, name: str) -> str:
        self._line(f"%{name} = load ptr, ptr {self._place(buffer)}, align 8")
        return f"%{name}"

    def _cursors(self, block: Block, number: str | None = None) -> None:
        """Point cursors at the round of that number; without one, at those that stay."""
        for position, cursor in enumerate(block.cursors):
            if bool(cursor.step) == (number is None) or cursor.buffer.slot < 0:
                continue
            name = f"cursor{position}"
            if number is None:
                at = self._address(cursor.of, f"{name}.of")
            else:
                width = cursor.step * WIDTHS[cursor.of.kind]
                at = f"%{name}"
                start = cursor.first * WIDTHS[cursor.of.kind]
                self._line(f"{at}.rows = mul i64 {number}, {width}")
                self._line(f"{at}.by = add i64 {at}.rows, {start}")
                self._line(f"{at} = getelementptr i8, ptr {at}.of, i64 {at}.by")
            self._line(f"store ptr {at}, ptr {self._place(cursor.buffer)}, align 8")

    def _bases(self, block: Block) -> None:
        """Before a loop: where moving cursors begin, and all places that the loop writes."""
        for position, cursor in enumerate(block.cursors):
            if cursor.step and cursor.buffer.slot >= 0:
                self._address(cursor.of, f"cursor{position}.of")
                self._place(cursor.buffer)

    def _starts(self, carries: Sequence[Carry]) -> None:
        """Before a loop: the two pieces of each carry."""
        for k, carry in enumerate(carries):
            self._address(carry.start, f"start{k}")
            self._address(carry.other, f"other{k}")
            for buffer in (carry.enters, carry.leaves):
                if buffer.slot >= 0:
                    self._place(buffer)

    def _taking_turns(self, carries: Sequence[Carry]) -> None:
        """At the head of a loop: the pieces that this round reads and writes."""
        for k in range(len(carries)):
            self._line(f"%from{k} = phi ptr [ %start{k}, %before ], [ %to{k}, %latch ]")
            self._line(f"%to{k} = phi ptr [ %other{k}, %before ], [ %from{k}, %latch ]")

    def _turned(self, carries: Sequence[Carry]) -> None:
        for k, carry in enumerate(carries):
            for name, buffer in ((f"%from{k}", carry.enters), (f"%to{k}", carry.leaves)):
                if buffer.slot >= 0:
                    self._line(f"store ptr {name}, ptr {self._place(buffer)}, align 8")

    # -- loops and branches -------------------------------------------------------------------
    def _interrupted(self, round_: str) -> None:
        """Now and then: whether the user has interrupted the program."""
        self.lines.extend(
            [
                f"  %now = and i64 {round_}, {ASKED_EVERY - 1}",
                f"  %ask = icmp eq i64 %now, {ASKED_EVERY - 1}",
                "  br i1 %ask, label %asks, label %latch",
                "asks:",
                *_slot("PyErr_CheckSignals"),
                "  %signal = call i32 %PyErr_CheckSignals()",
                "  %none = icmp eq i32 %signal, 0",
                "  br i1 %none, label %latch, label %failed",
            ]
        )

    def _rounds(self, item: Rounds) -> None:
        (block,) = item.blocks
        self._cursors(block)
        self._bases(block)
        self._starts(item.carries)
        self._line("br label %before")
        self._label("before")
        self._line("br label %head")
        self._label("head")
        self._line("%round = phi i64 [ 0, %before ], [ %following, %latch ]")
        self._taking_turns(item.carries)
        number = "%round"
        if item.reverse:
            number = "%row"
            self._line(f"%row = sub i64 {item.length - 1}, %round")
        self._turned(item.carries)
        self._cursors(block, number)
        self._block(block, "")
        self._line("%following = add i64 %round, 1")
        self._interrupted("%round")
        self._label("latch")
        self._line(f"%more = icmp slt i64 %following, {item.length}")
        self._line("br i1 %more, label %head, label %done")
        self._label("done")

    def _while(self, item: While) -> None:
        test, block, after = item.blocks
        self._cursors(test)
        self._starts(item.carries)
        flag = self._address(item.flag, "flag")
        self._line("br label %before")
        self._label("before")
        self._line("br label %head")
        self._label("head")
        self._line("%round = phi i64 [ 0, %before ], [ %following, %latch ]")
        self._taking_turns(item.carries)
        self._turned(item.carries)
        self._block(test, "t")
        self._line(f"%set = load i8, ptr {flag}, align 1")
        self._line("%goes = icmp ne i8 %set, 0")
        self._line("br i1 %goes, label %again, label %done")
        self._label("again")
        self._block(block, "")
        self._line("%following = add i64 %round, 1")
        self._interrupted("%round")
        self._label("latch")
        self._line("br label %head")
        self._label("done")
        self._block(after, "a")

    def _choice(self, item: Choice) -> None:
        first, second = item.blocks
        flag = self._address(item.flag, "flag")
        self._line(f"%set = load i8, ptr {flag}, align 1")
        self._line("%yes = icmp ne i8 %set, 0")
        self._line("br i1 %yes, label %first, label %second")
        for name, block in (("first", first), ("second", second)):
            self._label(name)
            control = _Control(self.module, self.name + name)
            self.module.functions.append(_function(control.name, control.region(Part([block], []))))
            call = control.name
            self._line(f"%{call} = call i32 @{call}(ptr %frame)")
            self._line(f"%{call}.ok = icmp eq i32 %{call}, 0")
            self._line(f"br i1 %{call}.ok, label %done, label %failed")
        self._label("done")


def _called_back(name: str, slot: int) -> list[str]:
    """Calls the object in a slot; its result (None) is let go."""
    call, free = (8 * API.index(name) for name in ("PyObject_CallNoArgs", "Py_DecRef"))
    return [
        f"  %{name}p = getelementptr i8, ptr %frame, i64 {call}",
        f"  %{name}f = load ptr, ptr %{name}p, align 8",
        f"  %{name}q = getelementptr i8, ptr %frame, i64 {8 * slot}",
        f"  %{name}o = load ptr, ptr %{name}q, align 8",
        f"  %{name}r = call ptr %{name}f(ptr %{name}o)",
        f"  %{name}k = icmp ne ptr %{name}r, null",
        f"  br i1 %{name}k, label %{name}ok, label %failed",
        f"{name}ok:",
        f"  %{name}d = getelementptr i8, ptr %frame, i64 {free}",
        f"  %{name}x = load ptr, ptr %{name}d, align 8",
        f"  call void %{name}x(ptr %{name}r)",
    ]


def _parallel(item: Item) -> bool:
    """Whether rounds of the outermost loop are many, long, and independent of each other."""
    if not isinstance(item, Nest) or len(item.shape) < 2 or item.shape[0] < 8:
        return False
    if item.serial or item.work < PARALLEL_FROM or os.name != "posix":
        return False
    return all(
        isinstance(s, Store) or (s.access.strides[0] != 0 and not s.index) for s in item.sinks
    )
