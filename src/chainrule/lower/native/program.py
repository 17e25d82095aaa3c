"""A plan as one native function: text, memory for what lives between steps, the callable."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...expr.calls import BODIED
from ..steps import CallStep, Plan
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
    leaves_of,
)
from .layout import DTYPES, Array, Buffer, Unsupported
from .lowering import Lowered, lower
from .memory import Memory
from .module import emit_module
from .overlap import reads_first

__all__ = ["NativeProgram"]


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
    outputs (left out: one argument an input, a tuple of the outputs).  ``into``: the last argument
    is the result's tree of arrays to write into.  Raises Unsupported where a step has no native
    form.
    """

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[Tree] | None = None,
        captured: Sequence[Captured] = (),
        result: Tree | None = None,
        into: bool = False,
    ) -> None:
        if arguments is None:
            arguments = [Leaf(n.shape, n.dtype, i) for i, n in enumerate(plan.leaves)]
        leaves = [leaf for tree in arguments for leaf in leaves_of(tree)]
        given = [leaf.gives for leaf in leaves if leaf.gives is not None]
        try:
            text = _Text(plan, given)
        except Unsupported:
            if not any(isinstance(step, CallStep) and step.op in BODIED for step in plan.steps):
                raise
            text = _Text(plan, given, bodies=False)
        lowered, buffers, objects = text.lowered, text.buffers, text.objects
        if result is None:
            result = Row(tuple, tuple(_leaf(a, i) for i, a in enumerate(lowered.outputs)))
        slots = (
            [a.buffer.slot for a in lowered.inputs],
            [a.buffer.slot for a in lowered.outputs],
        )
        zeroed = {k for k, a in enumerate(lowered.outputs) if a.buffer.zeroed}
        first = len(API) + len(buffers)
        #: results that are made beside the argument that gives its memory, and copied
        self.beside = beside = _beside(lowered, leaves)
        entry = emit_entry(
            tuple(arguments), tuple(captured), result, slots, zeroed, objects, first, into, beside
        )
        units = [*text.units[:-1], text.units[-1] + entry]
        self.source = "\n".join(units)
        machine_code = compiled(units, ("entry",))
        self._kept: list[Any] = [objects, captured, machine_code, text.memory, beside]
        placed = {lowered.outputs[k].buffer: a.ctypes.data for k, a in beside.items()}
        frame = _frame(buffers, text.memory, objects, placed)
        code = machine_code.addresses["entry"]
        definition = _MethodDef(b"program", code, _FASTCALL, None)
        self._kept.append(definition)
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.py_object]
        # the third holds what the code needs for as long as the function lives
        self.function = make(ctypes.byref(definition), frame, self._kept)


class _Text:
    """A plan's text; without ``bodies`` NumPy runs the programs inside of it."""

    def __init__(self, plan: Plan, given: Sequence[int], bodies: bool = True) -> None:
        self.lowered = lower(plan, bodies, given)
        self.buffers = self.lowered.buffers
        for number, buffer in enumerate(self.buffers):
            buffer.slot = len(API) + number
        for number, item in enumerate(self.lowered.items):
            for access in item.accesses:
                access.buffer.meet(number)
        self.memory = Memory(self.buffers)
        self.objects: list[Any] = []
        first = len(API) + len(self.buffers)
        self.units = emit_module(self.lowered, machine().target, self.memory, self.objects, first)


def _beside(lowered: Lowered, leaves: Sequence[Leaf]) -> dict[int, Any]:
    """Memory for the results that cannot be made where an argument that gives its own lies."""
    found: dict[int, Any] = {}
    for leaf in leaves:
        if leaf.gives is None:
            continue
        target = lowered.outputs[leaf.gives].buffer
        reads = None if leaf.number is None else lowered.inputs[leaf.number].buffer
        if reads is not None and not reads_first(lowered.items, reads, target):
            found[leaf.gives] = np.empty(leaf.nbytes, np.uint8)
    return found


def _frame(
    buffers: Sequence[Buffer],
    memory: Memory,
    objects: Sequence[Any],
    placed: Mapping[Buffer, int],
) -> bytes:
    """The addresses that the code reads, in a bytes object of the program's own."""
    words = list(api_addresses())
    words[API.index("threads")] = thread_count()
    words.extend(placed.get(buffer) or memory.address(buffer) for buffer in buffers)
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
