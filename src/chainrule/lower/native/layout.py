"""Values of a plan as places in memory: a buffer, an offset and strides, all known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..steps import ViewOp

__all__ = [
    "DTYPES",
    "KINDS",
    "NARROW",
    "Access",
    "Array",
    "Buffer",
    "NotWorth",
    "Unsupported",
    "contiguous_strides",
    "kind_of",
    "stored_kind",
]

#: Dtypes that native code handles, and what the writer of LLVM's text calls them.
KINDS = {"<f8": "f64", "<f4": "f32", "<i8": "i64", "|b1": "i1"}
DTYPES = {kind: np.dtype(text) for text, kind in KINDS.items()}
#: Integers that arguments may hold: in registers they are i64.  No result is of these dtypes.
NARROW = {"|u1": "u8", "|i1": "s8", "<u2": "u16", "<i2": "i16", "<u4": "u32", "<i4": "i32"}
WIDTHS = {
    "f64": 8, "f32": 4, "i64": 8, "i1": 1,
    "u8": 1, "s8": 1, "u16": 2, "i16": 2, "u32": 4, "i32": 4,
}  # fmt: skip


class Unsupported(Exception):
    """This step has no native form (NumPy runs it)."""


class NotWorth(Exception):
    """Native code would not be faster."""


def kind_of(dtype: Any) -> str:
    """The kind of a dtype; Unsupported for others."""
    found = KINDS.get(np.dtype(dtype).str)
    if found is None:
        raise Unsupported(f"dtype {np.dtype(dtype)}")
    return found


def stored_kind(dtype: Any) -> str:
    """The kind of an argument in memory; Unsupported for other dtypes."""
    return NARROW.get(np.dtype(dtype).str) or kind_of(dtype)


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory of one kind. ``role``: input, temp, output, const or cursor (see :mod:`.blocks`)."""

    kind: str
    size: int
    role: str
    slot: int = -1  # where the running program finds its address
    data: Any = None  # of a constant
    first: int = -1  # the first and the last item that meet it
    last: int = -1
    host: Buffer | None = None  # of a block's temporary: the piece of memory it is a part of,
    place: int = 0  # from which byte on
    zeroed: bool = False  # a result that comes filled with zeros (pages that nobody has touched)

    def meet(self, item: int) -> None:
        """Note that an item (their numbers ascend) reads or writes this buffer."""
        self.first = item if self.first < 0 else self.first
        self.last = item

    @property
    def nbytes(self) -> int:
        return self.size * WIDTHS[self.kind]

    @property
    def loaded(self) -> str:
        """The kind of its elements in registers."""
        return "i64" if self.kind in NARROW.values() else self.kind


@dataclass(frozen=True, slots=True)
class Access:
    """How a loop nest meets a buffer: an offset and one stride a loop, in elements."""

    buffer: Buffer
    offset: int
    strides: tuple[int, ...]


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of an array in C order."""
    strides = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


@dataclass(frozen=True, slots=True)
class Array:
    """A view of a buffer."""

    buffer: Buffer
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def kind(self) -> str:
        return self.buffer.loaded

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether elements follow each other in C order (axes of extent 1 do not count)."""
        step = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if extent != 1:
                if stride != step:
                    return False
                step *= extent
        return True

    @property
    def whole(self) -> bool:
        """Whether this is its buffer in C order, all of it."""
        return self.contiguous and self.offset == 0 and self.size == self.buffer.size

    def broadcast(self, shape: Sequence[int]) -> Array:
        if self.shape == shape and 1 not in shape:
            return self
        lead = len(shape) - len(self.shape)
        strides = [0] * lead
        for extent, stride, wanted in zip(self.shape, self.strides, shape[lead:], strict=True):
            assert extent in (1, wanted), (self.shape, shape)
            strides.append(0 if extent == 1 else stride)
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def broadcast_axis(self, axis: int, rank: int) -> Array:
        """A line as that axis of ``rank`` axes, of which the others have extent 1."""
        ((extent,), (stride,)) = self.shape, self.strides
        shape, strides = [1] * rank, [0] * rank
        shape[axis], strides[axis] = extent, stride
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def access(self, shape: Sequence[int]) -> Access:
        """Of a loop nest over ``shape``, in which axes of extent 1 have no loop."""
        full = self.broadcast(shape)
        strides = tuple(s for s, e in zip(full.strides, shape, strict=True) if e != 1)
        return Access(self.buffer, self.offset, strides)

    # -- rearranging --------------------------------------------------------------------------
    def viewed(self, op: ViewOp) -> Array | None:
        """Under one rearrangement; None where a copy is needed first."""
        name, args = op.name, op.args
        if name == "transpose":
            shape = tuple(self.shape[i] for i in args)
            return replace(self, shape=shape, strides=tuple(self.strides[i] for i in args))
        if name == "broadcast":
            return self.broadcast(
                args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
            )
        if name == "reshape":
            return self.reshape(args[0] if len(args) == 1 and isinstance(args[0], tuple) else args)
        if name == "index":
            return self._indexed(args)
        if name == "diagonal":
            return self._diagonal(*args)
        if name == "window":
            return self._window(*args)
        if name == "contiguous":
            return self if self.contiguous else None
        raise Unsupported(f"view {name}")

    def reshape(self, shape: Sequence[int]) -> Array | None:
        """The same elements in C order under another shape; None where strides cannot say it."""
        if self.size == 0 or self.contiguous:
            return replace(self, shape=tuple(shape), strides=contiguous_strides(shape))
        # groups of axes that multiply to the same extent on both sides
        old = [(e, s) for e, s in zip(self.shape, self.strides, strict=True) if e != 1]
        strides: list[int] = []
        position = 0
        pending = [e for e in shape]
        result: list[int] = []
        while pending:
            extent = pending.pop(0)
            if extent == 1:
                result.append(0)
                continue
            group, news = [old[position]], [extent]
            position += 1
            while prod(e for e, _ in group) != prod(news):
                if prod(e for e, _ in group) < prod(news):
                    group.append(old[position])
                    position += 1
                else:
                    following = pending.pop(0)
                    news.append(following)
            for (_, before), (e, s) in pairwise(group):
                if before != e * s:
                    return None
            step = group[-1][1]
            strides = []
            for e in reversed(news):
                strides.append(step if e != 1 else 0)
                step *= e
            result.extend(reversed(strides))
        return replace(self, shape=tuple(shape), strides=tuple(result))

    def _indexed(self, items: Sequence[Any]) -> Array:
        shape: list[int] = []
        strides: list[int] = []
        offset = self.offset
        axis = 0
        for item in items:
            if item is None:
                shape.append(1)
                strides.append(0)
                continue
            extent, stride = self.shape[axis], self.strides[axis]
            axis += 1
            if isinstance(item, slice):
                start, stop, step = item.indices(extent)
                count = len(range(start, stop, step))
                if count:
                    offset += start * stride
                shape.append(count)
                strides.append(step * stride)
            else:
                offset += (int(item) % max(extent, 1)) * stride
        shape.extend(self.shape[axis:])
        strides.extend(self.strides[axis:])
        return replace(self, shape=tuple(shape), strides=tuple(strides), offset=offset)

    def _diagonal(self, first: int, second: int) -> Array:
        keep = [i for i in range(len(self.shape)) if i not in (first, second)]
        extent = min(self.shape[first], self.shape[second])
        shape = (*(self.shape[i] for i in keep), extent)
        along = self.strides[first] + self.strides[second]
        return replace(self, shape=shape, strides=(*(self.strides[i] for i in keep), along))

    def _window(
        self, axis: int, constant: int, coefs: Sequence[int], counts: Sequence[int]
    ) -> Array:
        step = self.strides[axis]
        shape = (*self.shape[:axis], *counts, *self.shape[axis + 1 :])
        inner = tuple(c * step for c in coefs)
        strides = (*self.strides[:axis], *inner, *self.strides[axis + 1 :])
        return replace(self, shape=shape, strides=strides, offset=self.offset + constant * step)
