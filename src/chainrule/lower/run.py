"""Running nodes: programs are kept by the nodes they compute (least recently used go first)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..expr.nodes import Leaf, Node
from ..expr.pausing import collection_paused
from ..expr.walk import substitute_nodes, topological
from .debugging import checked, debugging
from .numpy_backend import NumpyProgram
from .plan import make_plan
from .steps import Plan
from .tiers import Promotion

__all__ = ["Cache", "Program", "clear", "evaluate", "evaluate_given", "program_for"]

#: Runs of one program after which native code is made for it.
HOT = 16

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

    def values(self) -> list[V]:
        """What is held, least recently used first."""
        with self._lock:
            return list(self._items.values())

    def clear(self) -> None:
        with self._lock:
            self._items.clear()


class Program:
    """A plan that runs: on NumPy at once, as native code when it has run often.

    Call it with the leaves' values in the order of ``plan.leaves``.
    """

    __slots__ = ("_numpy", "plan", "promotion")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._numpy = NumpyProgram(plan)
        self.promotion: Promotion[Any] = Promotion(self.promoted, HOT, len(plan.steps))

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        if debugging():
            results = self._numpy.function(*values)
            checked(self.plan, values, results)
            return results
        native = self.promotion.made
        if native is not None:
            found: tuple[Any, ...] | None = native.function(*values)
            if found is None:  # views, Python floats: as arrays in C order they may do
                leaves = self.plan.leaves
                whole = [
                    np.asarray(v, n.dtype, order="C") for v, n in zip(values, leaves, strict=True)
                ]
                found = native.function(*whole)
            if found is not None:
                return found
        else:
            self.promotion.tick()
        return self._numpy.function(*values)

    @property
    def numpy(self) -> Callable[..., tuple[Any, ...]]:
        """The program on NumPy, whatever has been promoted."""
        return self._numpy.function

    @property
    def source(self) -> str:
        """What runs on NumPy, as Python source."""
        return self._numpy.source

    def promoted(self) -> Any:
        """Native code where it may be faster than NumPy; NotWorth elsewhere."""
        if self.plan.products_alone:
            from .native.layout import NotWorth

            raise NotWorth("large products alone, which take as long there")
        return self.native()

    def native(self) -> Any:
        """Native code for the leaves' values, made now if need be; Unsupported where it cannot."""
        if self.promotion.made is None:
            self.promotion.made = self._native()
        return self.promotion.made

    def _native(self) -> Any:
        from .native.program import NativeProgram

        return NativeProgram(self.plan)


_programs: Cache[tuple[Node, ...], Program] = Cache(512)


def clear() -> None:
    """Forget all programs."""
    _programs.clear()


def program_for(outputs: Sequence[Node]) -> Program:
    """The program that computes ``outputs``."""
    key = tuple(outputs)
    program = _programs.get(key)
    if program is None:
        with collection_paused():
            program = Program(make_plan(outputs))
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
