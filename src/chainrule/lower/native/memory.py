"""The memory of one program: temporaries in one piece that is used again, constants."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from .layout import DTYPES, WIDTHS, Array, Buffer, Unsupported

__all__ = ["Memory", "arena"]

_ALIGN = 64
#: A program keeps its memory for as long as it lives; a larger one runs on NumPy.
MAX_BYTES = 1 << 28


class Memory:
    """Temporaries of ``buffers`` (whose first and last use are known) placed and allocated."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._places: dict[Buffer, int]
        total, self._places = arena([b for b in buffers if b.host is None])
        for buffer in buffers:
            if buffer.host is not None:
                self._hosted(buffer)
        if total > MAX_BYTES:
            raise Unsupported(f"{total / 2**20:.0f} MiB of temporaries")
        self._bytes = np.empty(total + _ALIGN, np.uint8)
        self._start = -self._bytes.ctypes.data % _ALIGN
        self._constants = [b.data for b in buffers if b.role == "const"]

    def _hosted(self, buffer: Buffer) -> int:
        """Where a buffer within another lies."""
        found = self._places.get(buffer)
        if found is None:
            assert buffer.host is not None
            found = self._places[buffer] = self._hosted(buffer.host) + buffer.place
        return found

    def address(self, buffer: Buffer) -> int:
        """Where a buffer lies; 0 for arguments, results and cursors: elsewhere each time."""
        if buffer.role == "const":
            return int(buffer.data.ctypes.data)
        if buffer not in self._places:
            return 0
        return int(self._bytes.ctypes.data) + self._start + self._places[buffer]

    def array(self, array: Array) -> Any:
        """A NumPy array over a temporary."""
        width = WIDTHS[array.kind]
        place = self._start + self._places[array.buffer] + array.offset * width
        strides = tuple(s * width for s in array.strides)
        return np.ndarray(array.shape, DTYPES[array.kind], self._bytes.data, place, strides)


def arena(buffers: Sequence[Buffer]) -> tuple[int, dict[Buffer, int]]:
    """Bytes in all, and where each temporary lies: memory is used again when a buffer is dead."""
    places: dict[Buffer, int] = {}
    total = 0
    free: list[tuple[int, int]] = []  # (start, end) of what may be used again, by start
    live: list[tuple[int, int, int]] = []  # a heap of (last item, start, end)
    for buffer in sorted((b for b in buffers if b.role == "temp"), key=lambda b: b.first):
        while live and live[0][0] < buffer.first:
            _, start, end = heapq.heappop(live)
            _let_go(free, start, end)
        need = -(-buffer.nbytes // _ALIGN) * _ALIGN
        for number, (start, end) in enumerate(free):
            if end - start >= need:
                free[number : number + 1] = [(start + need, end)] if end - start > need else []
                break
        else:  # at the end, of which a last free piece is a part
            start = free.pop()[0] if free and free[-1][1] == total else total
            total = start + need
        places[buffer] = start
        heapq.heappush(live, (buffer.last, start, start + need))
    return total, places


def _let_go(free: list[tuple[int, int]], start: int, end: int) -> None:
    """A piece among the free ones, as one with its neighbours."""
    place = bisect.bisect(free, (start, end))
    if place < len(free) and free[place][0] == end:
        end = free.pop(place)[1]
    if place and free[place - 1][1] == start:
        start = free.pop(place - 1)[0]
        place -= 1
    free.insert(place, (start, end))
