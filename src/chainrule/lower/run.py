"""Running nodes: programs are kept by the nodes they compute (least recently used go first)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..expr.nodes import Leaf, Node
from ..expr.walk import substitute_nodes, topological
from .numpy_backend import NumpyProgram
from .plan import make_plan

__all__ = ["Cache", "clear", "evaluate", "evaluate_given", "program_for"]

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """A bounded mapping, least recently used out first; safe under threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            value = self._items.get(key)
            if value is not None:
                self._items.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self.size:
                self._items.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._items.clear()


_programs: Cache[tuple[Node, ...], NumpyProgram] = Cache(512)


def clear() -> None:
    """Forget all programs."""
    _programs.clear()


def program_for(outputs: Sequence[Node]) -> NumpyProgram:
    """The program that computes ``outputs``."""
    key = tuple(outputs)
    program = _programs.get(key)
    if program is None:
        program = NumpyProgram(make_plan(outputs))
        _programs.put(key, program)
    return program


def evaluate(outputs: Sequence[Node], bindings: Mapping[Any, Any]) -> list[Any]:
    """Values of ``outputs`` under values of the leaves."""
    if not outputs:
        return []
    program = program_for(outputs)
    return list(program(*[_array(bindings[leaf], leaf) for leaf in program.plan.leaves]))


def _array(value: Any, leaf: Leaf) -> Any:
    """A value for a leaf: Python scalars would be weak where the leaf is not."""
    weak = type(value) in (float, int, complex, bool)
    return np.asarray(value, leaf.dtype) if weak else value


def evaluate_given(outputs: Sequence[Node], known: Mapping[Node, Any]) -> list[Any]:
    """Values of ``outputs`` where values of some inner nodes are known already (not cached)."""
    inner = {n: v for n, v in known.items() if not isinstance(n, Leaf)}
    if not inner:
        return evaluate(outputs, known)
    slot = 1 + max((n.slot for n in known if isinstance(n, Leaf)), default=-1)
    stand_in: dict[Node, Node] = {}
    values: dict[Node, Any] = {}
    reached = topological(outputs, stop=inner.__contains__)
    for node in reached:
        if node in inner:
            leaf = Leaf(slot + len(stand_in), node.shape, node.dtype)
            stand_in[node] = leaf
            values[leaf] = inner[node]
    program = NumpyProgram(make_plan(substitute_nodes(list(outputs), stand_in)))
    leaves = program.plan.leaves
    return list(program(*[values[n] if n in values else known[n] for n in leaves]))
