"""A plan as one native function: text, memory for what lives between steps, the callable."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

from ..steps import Plan
from .callback import Callback
from .code import Target
from .engine import compiled, machine
from .entry import (
    API,
    BYTES_HEADER,
    Captured,
    Leaf,
    Row,
    Tree,
    api_addresses,
    emit_entry,
)
from .fusion import Group, emit_group
from .layout import DTYPES, Array, Buffer
from .loops import emit_nest
from .lowering import Item, Lowered, lower
from .matmul import emit_product
from .memory import Memory
from .nest import Nest, Store

__all__ = ["NativeProgram"]

#: Nanoseconds of work from which a loop nest is worth several cores.
PARALLEL_FROM = 100_000

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


class _MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_FASTCALL = 0x80


class NativeProgram:
    """``function(*arguments)`` in machine code; None from it means: take the general road.

    ``arguments``, ``result``: trees of :mod:`.entry` over the numbers of the plan's inputs and
    outputs (left out: one argument an input, a tuple of the outputs).  Raises Unsupported where a
    step has no native form.
    """

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[Tree] | None = None,
        captured: Sequence[Captured] = (),
        result: Tree | None = None,
    ) -> None:
        if arguments is None:
            arguments = [Leaf(n.shape, n.dtype, i) for i, n in enumerate(plan.leaves)]
        lowered = lower(plan)
        if result is None:
            leaves = tuple(_leaf(a, i) for i, a in enumerate(lowered.outputs))
            result = Row(tuple, leaves)
        buffers = lowered.buffers
        for number, buffer in enumerate(buffers):
            buffer.slot = len(API) + number
        for number, item in enumerate(lowered.items):
            for access in item.accesses:
                access.buffer.meet(number)
        memory = Memory(buffers)
        objects: list[Any] = []
        body = emit_module(lowered, machine().target, memory, objects, len(API) + len(buffers))
        slots = (
            [a.buffer.slot for a in lowered.inputs],
            [a.buffer.slot for a in lowered.outputs],
        )
        zeroed = {k for k, a in enumerate(lowered.outputs) if a.buffer.zeroed}
        first = len(API) + len(buffers)
        entry = emit_entry(tuple(arguments), tuple(captured), result, slots, zeroed, objects, first)
        self.source = body + entry
        machine_code = compiled(self.source, ("entry",))
        self._kept: list[Any] = [objects, captured, machine_code, memory]
        frame = _frame(buffers, memory, objects)
        code = machine_code.addresses["entry"]
        definition = _MethodDef(b"program", code, _FASTCALL, None)
        self._kept.append(definition)
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.py_object]
        # the third holds what the code needs for as long as the function lives
        self.function = make(ctypes.byref(definition), frame, self._kept)


def _frame(buffers: Sequence[Buffer], memory: Memory, objects: Sequence[Any]) -> bytes:
    """The addresses that the code reads, in a bytes object of the program's own."""
    words = list(api_addresses())
    words[API.index("threads")] = thread_count()
    words.extend(memory.address(buffer) for buffer in buffers)
    words.extend(id(o) for o in objects)
    frame = bytes(8 * len(words))
    table = (ctypes.c_uint64 * len(words))(*words)
    ctypes.memmove(id(frame) + BYTES_HEADER, table, len(frame))
    return frame


def _leaf(array: Array, number: int) -> Leaf:
    return Leaf(array.shape, DTYPES[array.kind], number)


def thread_count() -> int:
    """Cores that native loops may use: CHAINRULE_NUM_THREADS, OMP_NUM_THREADS, else all here."""
    if os.name != "posix":
        return 1
    for name in ("CHAINRULE_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdigit() and int(text) > 0:
            return min(int(text), 64)
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), 64)
    return min(os.cpu_count() or 1, 64)


# -- text ---------------------------------------------------------------------------------------
def emit_module(
    lowered: Lowered, target: Target, memory: Memory, objects: list[Any], first_object: int
) -> str:
    """All functions, and ``@main(frame)`` that calls them in order (1: a Python error is set).

    What is called back joins ``objects``, whose slots begin at ``first_object``.
    """
    declared: dict[str, str] = {}
    functions: list[str] = []
    calls: list[str] = []
    runtime = False
    for number, item in enumerate(lowered.items):
        name = f"step{number}"
        if isinstance(item, Callback):
            calls.extend(_called_back(number, first_object + len(objects)))
            objects.append(item.bound(memory.array))
            continue
        extent = 1
        if isinstance(item, Group):
            functions.append(emit_group(item, name, target, declared))
            if item.work < PARALLEL_FROM or os.name != "posix":
                calls.append(f"  call void @{name}_all(ptr %frame)")
                continue
            runtime = True
            calls.append(
                f"  call void @parallel(ptr @{name}, ptr %frame, i64 {item.extent}, "
                f"i64 {item.chunk}, i64 %threads)"
            )
            continue
        if isinstance(item, Nest):
            functions.append(emit_nest(item, name, target, declared))
            extent = item.shape[0] if item.shape else 1
            if _parallel(item):
                runtime = True
                chunk = max(1, extent // 16)
                calls.append(
                    f"  call void @parallel(ptr @{name}, ptr %frame, i64 {extent}, "
                    f"i64 {chunk}, i64 %threads)"
                )
                continue
        else:
            gemm = API.index("dgemm" if item.kind == "f64" else "sgemm")
            functions.append(emit_product(item, name, target, declared, gemm))
        calls.append(f"  call void @{name}(ptr %frame, i64 0, i64 {extent})")
    head = [
        "define internal i32 @main(ptr %frame) {",
        "entry:",
        f"  %where = getelementptr i8, ptr %frame, i64 {8 * API.index('threads')}",
        "  %threads = load i64, ptr %where, align 8",
    ]
    text = ['!0 = !{!"branch_weights", i32 1, i32 1000}', *declared.values()]
    if runtime:
        text.append(_RUNTIME)
    tail = ["  ret i32 0", "failed:", "  ret i32 1", "}\n"]
    return "\n".join([*text, *functions, *head, *calls, *tail])


def _called_back(number: int, slot: int) -> list[str]:
    """Calls the object in a slot; its result (None) is let go."""
    call, free = (8 * API.index(name) for name in ("PyObject_CallNoArgs", "Py_DecRef"))
    return [
        f"  %c{number}p = getelementptr i8, ptr %frame, i64 {call}",
        f"  %c{number}f = load ptr, ptr %c{number}p, align 8",
        f"  %c{number}q = getelementptr i8, ptr %frame, i64 {8 * slot}",
        f"  %c{number}o = load ptr, ptr %c{number}q, align 8",
        f"  %c{number}r = call ptr %c{number}f(ptr %c{number}o)",
        f"  %c{number}k = icmp ne ptr %c{number}r, null",
        f"  br i1 %c{number}k, label %c{number}ok, label %failed",
        f"c{number}ok:",
        f"  %c{number}d = getelementptr i8, ptr %frame, i64 {free}",
        f"  %c{number}x = load ptr, ptr %c{number}d, align 8",
        f"  call void %c{number}x(ptr %c{number}r)",
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
