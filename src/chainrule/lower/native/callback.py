"""Steps without a native form: the native program calls NumPy's kernels back for them.

Their operands and results live in the program's own memory, under arrays that are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .layout import Access, Array

__all__ = ["Callback"]


@dataclass(eq=False, slots=True)
class Callback:
    """A function of arrays that gives several; ``outputs`` are the results that are used."""

    kernel: Callable[..., Sequence[Any]]
    inputs: list[Array]
    outputs: dict[int, Array] = field(default_factory=dict)

    @property
    def accesses(self) -> list[Access]:
        """Of all operands and results."""
        return [Access(a.buffer, 0, ()) for a in (*self.inputs, *self.outputs.values())]

    def bound(self, view: Callable[[Array], Any]) -> Callable[[], None]:
        """What the program calls, over the arrays that ``view`` makes."""
        kernel = self.kernel
        inputs = [view(a) for a in self.inputs]
        outputs = [(index, view(a)) for index, a in self.outputs.items()]

        def run() -> None:
            results = kernel(*inputs)
            for index, target in outputs:
                target[...] = results[index]

        return run
