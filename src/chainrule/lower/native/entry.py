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
from math import prod
from typing import Any, TypeAlias

import numpy as np

from .ranges import Ranges

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
_WRITEABLE = 0x400


# -- what goes in and comes out -----------------------------------------------------------------
@dataclass(frozen=True)
class Leaf:
    """An array (or a Python float) and the number of the program's input or output that it is.

    None where the program does not read it.  ``gives``: the output whose array it becomes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    number: int | None
    weak: bool = False  # a Python float
    gives: int | None = None

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


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
        self.ranges: Ranges | None = None  # of the memory met so far, where some of it is given
        self.given: dict[int, tuple[str, str]] = {}  # outputs whose array and data are given

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
        wanted = _WANTED_FLAGS | (0 if leaf.gives is None else _WRITEABLE)
        flags = self.set(f"and i32 {self.field(thing, _FLAGS, 'i32')}, {wanted}")
        self.equal("i32", flags, wanted)
        if leaf.shape:
            dims = self.field(thing, _DIMS)
            for axis, extent in enumerate(leaf.shape):
                self.equal("i64", self.field(dims, 8 * axis, "i64"), extent)
        data = self.field(thing, _DATA)
        self._bind(leaf, data)
        if self.ranges is not None and (leaf.number is not None or leaf.gives is not None):
            number = self.ranges.place(leaf.nbytes, leaf.gives is not None)
            place = self.set(f"getelementptr i64, ptr %starts, i64 {number}")
            self.line(f"store i64 {self.set(f'ptrtoint ptr {data} to i64')}, ptr {place}, align 8")
        if leaf.gives is not None:
            self.given[leaf.gives] = thing, data

    def _bind(self, leaf: Leaf, data: str) -> None:
        if leaf.number is not None:
            slot = self.slots[leaf.number]
            place = self.set(f"getelementptr i8, ptr %frame, i64 {8 * slot}")
            self.line(f"store ptr {data}, ptr {place}, align 8")

    # -- results ------------------------------------------------------------------------------
    def take(self, leaf: Leaf, aside: bool) -> None:
        """The array that is given for a result, bound unless the result is made ``aside``."""
        assert leaf.number is not None
        array, data = self.given[leaf.number]
        self.line(f"call void {self.api('Py_IncRef')}(ptr {array})")
        self.arrays.append(array)
        if not aside:
            self._bind(leaf, data)

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


def _given(tree: Tree) -> Tree:
    """The tree of a result, each array of which is given."""
    if isinstance(tree, Leaf):
        return Leaf(tree.shape, tree.dtype, tree.number, gives=tree.number)
    if isinstance(tree, Same):
        return tree
    items = tuple(_given(item) for item in tree.items)
    return Row(tree.kind, items) if isinstance(tree, Row) else Dict(tree.keys, items)


def emit_entry(
    arguments: tuple[Tree, ...],
    captured: tuple[Captured, ...],
    result: Tree,
    slots: tuple[list[int], list[int]],
    zeroed: Container[int | None],
    objects: list[Any],
    first_object: int,
    into: bool = False,
    aside: Container[int | None] = (),
) -> str:
    """``@entry(self, args, count)`` around ``@main(frame)``; objects it needs join ``objects``.

    ``slots``: where the frame holds the program's inputs and outputs; ``zeroed``: which outputs
    come filled with zeros.  ``into``: one more argument is the tree of the arrays that results are
    written into; it is returned.  ``aside``: outputs whose memory the frame holds already, copied
    at the end into the array that an argument gives.
    """
    w = _Writer(objects, first_object)
    donated = {leaf.gives for tree in arguments for leaf in leaves_of(tree)} - {None}
    if into or donated:
        w.ranges = Ranges()
    w.slots = slots[0]
    w.line(f"%frame = getelementptr i8, ptr %self, i64 {BYTES_HEADER}")
    w.equal("i64", "%count", len(arguments) + into)
    # a kernel that was called back may let another thread run: its memory is in use
    w.equal("i64", w.slot(_SLOT["busy"], "i64"), 0)
    for position, tree in enumerate(arguments):
        w.check(w.field("%args", 8 * position), tree)
    for item in captured:
        w.check(w.object(item.array), item.leaf)
    w.slots = slots[1]
    results = leaves_of(result)
    target = ""
    if into:
        target = w.field("%args", 8 * len(arguments))
        w.check(target, _given(result))
    if w.ranges is not None:
        w.lines.append(w.ranges.check("general"))
        w.globals += [*w.ranges.constants(), _MEMORY]
    for leaf in results:
        if leaf.number in w.given:
            assert leaf.number is not None
            if not into:
                w.take(leaf, leaf.number in aside)
            if leaf.number in zeroed:
                where = w.slot(slots[1][leaf.number])
                w.line(
                    f"call void @llvm.memset.p0.i64(ptr {where}, i8 0, i64 {leaf.nbytes}, i1 false)"
                )
        else:
            w.allocate(leaf, leaf.number in zeroed)
    busy = w.set(f"getelementptr i8, ptr %frame, i64 {8 * _SLOT['busy']}")
    w.line(f"store i64 1, ptr {busy}, align 8")
    failed = w.set("call i32 @main(ptr %frame)")
    w.line(f"store i64 0, ptr {busy}, align 8")
    w.require(w.set(f"icmp eq i32 {failed}, 0"), f"failed{len(w.arrays)}")
    for leaf in results:
        if leaf.number is not None and leaf.number in aside:
            there, here = w.given[leaf.number][1], w.slot(slots[1][leaf.number])
            w.line(
                f"call void @llvm.memcpy.p0.p0.i64(ptr {there}, ptr {here}, "
                f"i64 {leaf.nbytes}, i1 false)"
            )
    if into:
        w.line(f"call void {w.api('Py_IncRef')}(ptr {target})")
        w.line(f"ret ptr {target}")
    else:
        w.line(f"ret ptr {w.result(result, list(w.arrays))}")
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
    if w.ranges is not None:
        w.lines.insert(0, w.ranges.table())
    body = "\n".join(w.lines)
    return (
        "\n".join(w.globals)
        + f"\ndefine ptr @entry(ptr %self, ptr %args, i64 %count) {{\n{body}\n}}\n"
    )


_MEMORY = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
