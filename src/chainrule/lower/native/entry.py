"""The function that Python calls, in machine code: it checks its arguments, makes the results and
runs the program between.

It reads CPython's and NumPy's own structures (``layout_holds`` compares their layout with this
process first).  It returns None where an argument is not what the program was made for.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

__all__ = ["API", "Captured", "Dict", "Leaf", "Row", "Same", "Tree", "emit_entry", "layout_holds"]

#: Frame slots before the buffers: addresses that code needs and must not hold itself.
API = (
    "PyArray_Type",
    "PyArray_Empty",
    "PyArray_Zeros",
    "PyArray_Return",
    "PyTuple_Type",
    "PyList_Type",
    "PyDict_Type",
    "PyFloat_Type",
    "None",
    "PyTuple_New",
    "PyList_New",
    "PyDict_New",
    "PyDict_GetItem",
    "PyDict_SetItem",
    "PyObject_CallNoArgs",
    "Py_IncRef",
    "Py_DecRef",
    "PyErr_CheckSignals",
    "threads",
    "busy",
    "sgemm",
    "dgemm",
)
_SLOT = {name: number for number, name in enumerate(API)}

# NumPy's table of functions: positions are part of its stable interface
_NUMPY_API = {"PyArray_Type": 2, "PyArray_Return": 76, "PyArray_Zeros": 183, "PyArray_Empty": 184}
# offsets of PyArrayObject's fields, of PyObject's, PyVarObject's, PyListObject's, PyFloatObject's
_DATA, _ND, _DIMS, _DESCR, _FLAGS = 16, 24, 32, 56, 64
_BYTE_ORDER, _TYPE_NUMBER = 26, 28  # of PyArray_Descr
_TYPE, _SIZE, _ITEMS, _LIST_ITEMS, _FLOAT = 8, 16, 24, 24, 16
BYTES_HEADER = 32
_WANTED_FLAGS = 0x101  # C order, aligned


# -- what goes in and comes out -----------------------------------------------------------------
@dataclass(frozen=True)
class Leaf:
    """An array (or a Python float) and the number of the program's input or output that it is.

    None where the program does not read it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    number: int | None
    weak: bool = False  # a Python float


@dataclass(frozen=True)
class Same:
    """An object that must be this one (None, True, False)."""

    value: Any


@dataclass(frozen=True)
class Row:
    """A tuple or a list."""

    kind: type
    items: tuple[Tree, ...]


@dataclass(frozen=True)
class Dict:
    keys: tuple[Any, ...]
    items: tuple[Tree, ...]


Tree: TypeAlias = "Leaf | Same | Row | Dict"


@dataclass(frozen=True)
class Captured:
    """An array that the program reads by reference, beside its arguments."""

    array: Any
    leaf: Leaf


# -- does the process look as assumed? ----------------------------------------------------------
@lru_cache(maxsize=1)
def layout_holds() -> bool:
    """Whether CPython's and NumPy's objects lie in memory as this module assumes."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if sysconfig.get_config_var("Py_TRACE_REFS") or not (3, 11) <= sys.version_info[:2] <= (3, 14):
        return False
    sample = np.zeros((3, 5), np.float32)
    at = id(sample)
    word = ctypes.c_uint64.from_address
    dims = word(at + _DIMS).value
    raw = b"chainrule"
    pair, items, number = (sample, None), [raw, sample], 1.5
    return (
        ctypes.c_int.from_address(at + _ND).value == 2
        and word(at + _DATA).value == sample.ctypes.data
        and (word(dims).value, word(dims + 8).value) == (3, 5)
        and word(at + _DESCR).value == id(sample.dtype)
        and ctypes.c_int.from_address(at + _FLAGS).value & _WANTED_FLAGS == _WANTED_FLAGS
        and all(
            ctypes.c_int.from_address(id(d) + _TYPE_NUMBER).value == d.num
            and ctypes.string_at(id(d) + _BYTE_ORDER, 1) == order
            for d, order in (
                (np.dtype("<f4"), b"="),
                (np.dtype(">f8"), b">"),
                (np.dtype("?"), b"|"),
            )
        )
        and word(at + _TYPE).value == id(np.ndarray)
        and _numpy_function(_NUMPY_API["PyArray_Type"]) == id(np.ndarray)
        and word(id(pair) + _SIZE).value == 2
        and word(id(pair) + _ITEMS).value == at
        and word(id(items) + _SIZE).value == 2
        and word(word(id(items) + _LIST_ITEMS).value + 8).value == at
        and word(id({1: 2, 3: 4}) + _SIZE).value == 2
        and ctypes.c_double.from_address(id(number) + _FLOAT).value == 1.5
        and ctypes.string_at(id(raw) + BYTES_HEADER, 9) == raw
    )


def _numpy_function(position: int) -> int:
    capsule = np._core.multiarray._ARRAY_API  # type: ignore[attr-defined]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = pointer(capsule, None)
    return int(ctypes.c_uint64.from_address(table + 8 * position).value)


@lru_cache(maxsize=1)
def api_addresses() -> tuple[int, ...]:
    """Values of the frame's first slots; the thread count is the program's to set."""
    import scipy.linalg.cython_blas as blas

    found = []
    for name in API:
        if name in _NUMPY_API:
            found.append(_numpy_function(_NUMPY_API[name]))
        elif name == "None":
            found.append(id(None))
        elif name in ("threads", "busy"):
            found.append(0)
        elif name in ("sgemm", "dgemm"):
            capsule = vars(blas)["__pyx_capi__"][name]
            label = ctypes.pythonapi.PyCapsule_GetName
            label.restype, label.argtypes = ctypes.c_char_p, [ctypes.py_object]
            pointer = ctypes.pythonapi.PyCapsule_GetPointer
            pointer.restype = ctypes.c_void_p
            pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
            found.append(pointer(capsule, label(capsule)))
        elif name.endswith("_Type"):
            known = {"PyTuple_Type": tuple, "PyList_Type": list, "PyDict_Type": dict}
            found.append(id(known.get(name, float)))
        else:
            address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
            assert address is not None
            found.append(address)
    return tuple(found)


# -- code ---------------------------------------------------------------------------------------
class _Writer:
    def __init__(self, objects: list[Any], first_object: int) -> None:
        self.lines: list[str] = []
        self.objects = objects
        self.first = first_object
        self.count = 0
        self.arrays: list[str] = []  # results made so far, to let go on failure
        self.globals: list[str] = []
        self.slots: list[int] = []  # of inputs, then of outputs

    def fresh(self, stem: str = "e") -> str:
        self.count += 1
        return f"%{stem}{self.count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def set(self, text: str) -> str:
        name = self.fresh()
        self.line(f"{name} = {text}")
        return name

    def field(self, pointer: str, offset: int, kind: str = "ptr") -> str:
        place = self.set(f"getelementptr i8, ptr {pointer}, i64 {offset}") if offset else pointer
        return self.set(f"load {kind}, ptr {place}, align {4 if kind == 'i32' else 8}")

    def slot(self, number: int, kind: str = "ptr") -> str:
        return self.field("%frame", 8 * number, kind)

    def api(self, name: str) -> str:
        return self.slot(_SLOT[name])

    def object(self, value: Any) -> str:
        """The address of an object that the program keeps alive."""
        for number, known in enumerate(self.objects):
            if known is value:
                return self.slot(self.first + number)
        self.objects.append(value)
        return self.slot(self.first + len(self.objects) - 1)

    def require(self, condition: str, otherwise: str = "general") -> None:
        following = f"ok{self.count}"
        self.count += 1
        self.line(f"br i1 {condition}, label %{following}, label %{otherwise}")
        self.lines.append(f"{following}:")

    def equal(self, kind: str, a: str, b: str | int, otherwise: str = "general") -> None:
        self.require(self.set(f"icmp eq {kind} {a}, {b}"), otherwise)

    # -- arguments ----------------------------------------------------------------------------
    def check(self, thing: str, tree: Tree) -> None:
        if isinstance(tree, Leaf):
            self._leaf(thing, tree)
        elif isinstance(tree, Same):
            self.equal("ptr", thing, self.object(tree.value))
        elif isinstance(tree, Row):
            name = "PyTuple_Type" if tree.kind is tuple else "PyList_Type"
            self.equal("ptr", self.field(thing, _TYPE), self.api(name))
            self.equal("i64", self.field(thing, _SIZE, "i64"), len(tree.items))
            base = thing if tree.kind is tuple else self.field(thing, _LIST_ITEMS)
            start = _ITEMS if tree.kind is tuple else 0
            for number, item in enumerate(tree.items):
                self.check(self.field(base, start + 8 * number), item)
        else:
            self.equal("ptr", self.field(thing, _TYPE), self.api("PyDict_Type"))
            self.equal("i64", self.field(thing, _SIZE, "i64"), len(tree.items))
            for key, item in zip(tree.keys, tree.items, strict=True):
                found = self.set(
                    f"call ptr {self.api('PyDict_GetItem')}(ptr {thing}, ptr {self.object(key)})"
                )
                self.require(self.set(f"icmp ne ptr {found}, null"))
                self.check(found, item)

    def _leaf(self, thing: str, leaf: Leaf) -> None:
        if leaf.weak:
            self.equal("ptr", self.field(thing, _TYPE), self.api("PyFloat_Type"))
            self._bind(leaf, self.set(f"getelementptr i8, ptr {thing}, i64 {_FLOAT}"))
            return
        self.equal("ptr", self.field(thing, _TYPE), self.api("PyArray_Type"))
        self.equal("i32", self.field(thing, _ND, "i32"), len(leaf.shape))
        descr = self.field(thing, _DESCR)
        self.equal("i32", self.field(descr, _TYPE_NUMBER, "i32"), np.dtype(leaf.dtype.type).num)
        order = self.set(f"getelementptr i8, ptr {descr}, i64 {_BYTE_ORDER}")
        order = self.set(f"load i8, ptr {order}, align 1")
        self.require(self.set(f"icmp ne i8 {order}, {ord('>')}"))
        flags = self.set(f"and i32 {self.field(thing, _FLAGS, 'i32')}, {_WANTED_FLAGS}")
        self.equal("i32", flags, _WANTED_FLAGS)
        if leaf.shape:
            dims = self.field(thing, _DIMS)
            for axis, extent in enumerate(leaf.shape):
                self.equal("i64", self.field(dims, 8 * axis, "i64"), extent)
        self._bind(leaf, self.field(thing, _DATA))

    def _bind(self, leaf: Leaf, data: str) -> None:
        if leaf.number is not None:
            slot = self.slots[leaf.number]
            place = self.set(f"getelementptr i8, ptr %frame, i64 {8 * slot}")
            self.line(f"store ptr {data}, ptr {place}, align 8")

    # -- results ------------------------------------------------------------------------------
    def allocate(self, leaf: Leaf, zeroed: bool) -> None:
        """A fresh array, bound to the leaf's slot."""
        dtype = self.object(np.dtype(leaf.dtype.type))
        self.line(f"call void {self.api('Py_IncRef')}(ptr {dtype})")  # the call below takes it
        name = f"@dims{self.count}"
        sizes = ", ".join(f"i64 {e}" for e in leaf.shape) or "i64 0"
        rank = max(len(leaf.shape), 1)
        self.globals.append(f"{name} = internal constant [{rank} x i64] [{sizes}]")
        array = self.set(
            f"call ptr {self.api('PyArray_Zeros' if zeroed else 'PyArray_Empty')}"
            f"(i32 {len(leaf.shape)}, ptr {name}, ptr {dtype}, i32 0)"
        )
        self.require(self.set(f"icmp ne ptr {array}, null"), f"failed{len(self.arrays)}")
        self.arrays.append(array)
        self._bind(leaf, self.field(array, _DATA))

    def result(self, tree: Tree, arrays: list[str]) -> str:
        """The tree as an object (a new reference)."""
        if isinstance(tree, Leaf):
            array = arrays.pop(0)
            if tree.shape:
                return array
            return self.set(f"call ptr {self.api('PyArray_Return')}(ptr {array})")
        if isinstance(tree, Same):
            thing = self.object(tree.value)
            self.line(f"call void {self.api('Py_IncRef')}(ptr {thing})")
            return thing
        if isinstance(tree, Row):
            maker = "PyTuple_New" if tree.kind is tuple else "PyList_New"
            made = self.set(f"call ptr {self.api(maker)}(i64 {len(tree.items)})")
            self.require(self.set(f"icmp ne ptr {made}, null"), "nomemory")
            base = made if tree.kind is tuple else self.field(made, _LIST_ITEMS)
            start = _ITEMS if tree.kind is tuple else 0
            for number, item in enumerate(tree.items):
                value = self.result(item, arrays)
                place = self.set(f"getelementptr i8, ptr {base}, i64 {start + 8 * number}")
                self.line(f"store ptr {value}, ptr {place}, align 8")
            return made
        made = self.set(f"call ptr {self.api('PyDict_New')}()")
        self.require(self.set(f"icmp ne ptr {made}, null"), "nomemory")
        for key, item in zip(tree.keys, tree.items, strict=True):
            value = self.result(item, arrays)
            done = self.set(
                f"call i32 {self.api('PyDict_SetItem')}"
                f"(ptr {made}, ptr {self.object(key)}, ptr {value})"
            )
            self.line(f"call void {self.api('Py_DecRef')}(ptr {value})")
            self.require(self.set(f"icmp eq i32 {done}, 0"), "nomemory")
        return made


def leaves_of(tree: Tree) -> list[Leaf]:
    """The leaves of a tree, in order."""
    if isinstance(tree, Leaf):
        return [tree]
    if isinstance(tree, Same):
        return []
    return [leaf for item in tree.items for leaf in leaves_of(item)]


def emit_entry(
    arguments: tuple[Tree, ...],
    captured: tuple[Captured, ...],
    result: Tree,
    slots: tuple[list[int], list[int]],
    zeroed: Container[int | None],
    objects: list[Any],
    first_object: int,
) -> str:
    """``@entry(self, args, count)`` around ``@main(frame)``; objects it needs join ``objects``.

    ``slots``: where the frame holds the program's inputs and outputs; ``zeroed``: which outputs
    come filled with zeros.
    """
    w = _Writer(objects, first_object)
    w.slots = slots[0]
    w.line(f"%frame = getelementptr i8, ptr %self, i64 {BYTES_HEADER}")
    w.equal("i64", "%count", len(arguments))
    # a kernel that was called back may let another thread run: its memory is in use
    w.equal("i64", w.slot(_SLOT["busy"], "i64"), 0)
    for position, tree in enumerate(arguments):
        w.check(w.field("%args", 8 * position), tree)
    for item in captured:
        w.check(w.object(item.array), item.leaf)
    w.slots = slots[1]
    for leaf in leaves_of(result):
        w.allocate(leaf, leaf.number in zeroed)
    busy = w.set(f"getelementptr i8, ptr %frame, i64 {8 * _SLOT['busy']}")
    w.line(f"store i64 1, ptr {busy}, align 8")
    failed = w.set("call i32 @main(ptr %frame)")
    w.line(f"store i64 0, ptr {busy}, align 8")
    w.require(w.set(f"icmp eq i32 {failed}, 0"), f"failed{len(w.arrays)}")
    made = w.result(result, list(w.arrays))
    w.line(f"ret ptr {made}")
    w.lines.append("general:")
    nothing = w.api("None")
    w.line(f"call void {w.api('Py_IncRef')}(ptr {nothing})")
    w.line(f"ret ptr {nothing}")
    for number in range(len(w.arrays), -1, -1):
        w.lines.append(f"failed{number}:")
        for array in w.arrays[:number]:
            w.line(f"call void {w.api('Py_DecRef')}(ptr {array})")
        w.line("ret ptr null")
    w.lines.append("nomemory:")
    w.line("ret ptr null")
    body = "\n".join(w.lines)
    return (
        "\n".join(w.globals)
        + f"\ndefine ptr @entry(ptr %self, ptr %args, i64 %count) {{\n{body}\n}}\n"
    )
