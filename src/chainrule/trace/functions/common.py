"""What the function tables share: registration, broadcasting, promotion, axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from ...expr.build import broadcast, cast
from ...expr.nodes import Const, Node
from ..array import FUNCTIONS, METHODS, UFUNCS, TracedArray, as_node

__all__ = [
    "Operand",
    "accumulator_dtype",
    "all_weak",
    "axes_of",
    "axis_of",
    "broadcast_nodes",
    "existing",
    "implements",
    "node_array",
    "operands",
    "promoted",
    "ufunc",
    "weak_dtype",
]

F = TypeVar("F", bound=Callable[..., Any])
Operand = Any


def implements(*functions: Any, method: str | None = None) -> Callable[[F], F]:
    """Register an implementation for NumPy functions, and as a method of the traced array."""

    def register(implementation: F) -> F:
        for function in functions:
            FUNCTIONS[function] = implementation
        if method is not None:
            METHODS[method] = implementation
        return implementation

    return register


def existing(*names: str) -> list[Any]:
    """The NumPy functions of these names that the installed NumPy has."""
    return [getattr(np, name) for name in names if hasattr(np, name)]


def ufunc(*keys: Any) -> Callable[[F], F]:
    """Register an implementation for ufuncs, or for (ufunc, method) pairs."""

    def register(implementation: F) -> F:
        for key in keys:
            UFUNCS[key] = implementation
        return implementation

    return register


def weak_dtype(value: Any, node: Node) -> Any:
    """The dtype for promotion: a Python type for weak scalars."""
    if isinstance(node, Const):
        return type(node.value)
    if isinstance(value, TracedArray) and value.weak:
        return complex if node.dtype.kind == "c" else float
    return node.dtype


def node_array(value: Any) -> Node:
    """The node of an operand that must be an array: Python scalars become 0-d arrays."""
    node = as_node(value)
    if isinstance(node, Const):
        node = as_node(np.asarray(node.value))
    return node


def operands(*values: Any) -> tuple[list[Node], list[Any]]:
    """Nodes of operands and their dtypes for promotion (Python types for weak ones)."""
    nodes = [as_node(v) for v in values]
    return nodes, [weak_dtype(v, n) for v, n in zip(values, nodes, strict=True)]


def broadcast_nodes(nodes: Sequence[Node]) -> list[Node]:
    """The nodes at their common shape; Const stays."""
    shapes = [n.shape for n in nodes if not isinstance(n, Const)]
    first = shapes[0] if shapes else ()
    if all(s == first for s in shapes):
        return list(nodes)
    shape = np.broadcast_shapes(*shapes)
    return [n if isinstance(n, Const) else broadcast(n, shape) for n in nodes]


def promoted(function: Any, values: Sequence[Any]) -> tuple[list[Node], Any]:
    """Operands of a ufunc, broadcast, weak ones cast; and the result's dtype as NumPy has it."""
    nodes, kinds = operands(*values)
    if all(isinstance(n, Const) for n in nodes):
        nodes = [node_array(v) for v in values]
        kinds = [n.dtype for n in nodes]
    resolved = _resolved(function, tuple(kinds))
    for i, (node, kind) in enumerate(zip(nodes, kinds, strict=True)):
        if isinstance(kind, type) and not isinstance(node, Const):
            nodes[i] = cast(node, resolved[i])
    return broadcast_nodes(nodes), resolved[len(nodes)]


@lru_cache(maxsize=4096)
def _resolved(function: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dtypes of a ufunc's operands and results."""
    loop = [np.dtype(bool) if k is bool else k for k in kinds]
    found: tuple[Any, ...] = function.resolve_dtypes((*loop, *[None] * function.nout))
    return found


def all_weak(values: Sequence[Any]) -> bool:
    """Whether the result of an operation on these is weak (Python scalars only)."""
    return any(isinstance(v, TracedArray) for v in values) and all(
        v.weak
        if isinstance(v, TracedArray)
        else isinstance(v, bool | int | float | complex) and not isinstance(v, np.generic)
        for v in values
    )


def accumulator_dtype(function: Any, node: Node, dtype: Any) -> np.dtype[Any]:
    """The dtype in which NumPy's sum or product runs: small integers become the platform's."""
    if dtype is None and node.dtype.kind in "fc":
        return node.dtype
    kind: np.dtype[Any] = np.asarray(function(np.ones(1, node.dtype), dtype=dtype)).dtype
    return kind


def axis_of(axis: Any, ndim: int) -> int:
    """One axis, made non-negative; raises NumPy's AxisError."""
    return int(np.lib.array_utils.normalize_axis_index(int(axis), ndim))


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes of a reduction: None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(np.lib.array_utils.normalize_axis_tuple(axis, ndim))
