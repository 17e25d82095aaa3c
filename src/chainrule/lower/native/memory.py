"""The memory of one program: temporaries in one piece that is used again, constants."""

from __future__ import annotations

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
    live: list[tuple[int, int, int]] = []  # (start, end, last item), sorted by start
    temps = sorted((b for b in buffers if b.role == "temp"), key=lambda b: b.first)
    for buffer in temps:
        live = [x for x in live if x[2] >= buffer.first]
        need = -(-buffer.nbytes // _ALIGN) * _ALIGN
        start = 0
        for low, high, _ in live:
            if low - start >= need:
                break
            start = max(start, high)
        places[buffer] = start
        live.append((start, start + need, buffer.last))
        live.sort()
        total = max(total, start + need)
    return total, places
