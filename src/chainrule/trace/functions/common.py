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
    "axes_of",
    "axis_of",
    "broadcast_nodes",
    "existing",
    "implements",
    "joined_shape",
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


def operands(*values: Any) -> tuple[list[Node], list[Any], bool]:
    """Nodes of operands, their dtypes for promotion (Python types for weak ones), and whether the
    result is weak: all operands are Python scalars or made of them.
    """
    nodes: list[Node] = []
    kinds: list[Any] = []
    weak = True
    for value in values:
        if type(value) is TracedArray:
            node = value.node
            kind: Any = node.dtype
            if value.weak:
                kind = complex if kind.kind == "c" else float
            else:
                weak = False
        else:
            node = as_node(value)
            kind = weak_dtype(value, node)
            weak = weak and isinstance(kind, type)
        nodes.append(node)
        kinds.append(kind)
    return nodes, kinds, weak


def broadcast_nodes(nodes: Sequence[Node]) -> list[Node]:
    """The nodes at their common shape; Const stays."""
    shapes = [n.shape for n in nodes if type(n) is not Const]
    first = shapes[0] if shapes else ()
    if shapes.count(first) == len(shapes):
        return list(nodes)
    shape = joined_shape(*shapes)
    return [n if isinstance(n, Const) else broadcast(n, shape) for n in nodes]


@lru_cache(maxsize=4096)
def joined_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """``np.broadcast_shapes``, remembered."""
    return np.broadcast_shapes(*shapes)


def promoted(function: Any, values: Sequence[Any]) -> tuple[list[Node], Any, bool]:
    """Operands of a ufunc, broadcast, weak ones cast; the result's dtype as NumPy has it; and
    whether the result is weak.
    """
    nodes, kinds, weak = operands(*values)
    if weak and all(isinstance(n, Const) for n in nodes):
        nodes = [node_array(v) for v in values]
        kinds = [n.dtype for n in nodes]
        weak = False
    resolved = _resolved(function, tuple(kinds))
    for i, kind in enumerate(kinds):
        if type(kind) is type and type(nodes[i]) is not Const:
            nodes[i] = cast(nodes[i], resolved[i])
    shape: Any = None
    for node in nodes:
        if type(node) is not Const:
            if shape is None:
                shape = node.shape
            elif node.shape != shape:
                nodes = broadcast_nodes(nodes)
                break
    return nodes, resolved[len(nodes)], weak


@lru_cache(maxsize=4096)
def _resolved(function: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dtypes of a ufunc's operands and results."""
    loop = [np.dtype(bool) if k is bool else k for k in kinds]
    found: tuple[Any, ...] = function.resolve_dtypes((*loop, *[None] * function.nout))
    return found


def accumulator_dtype(function: Any, node: Node, dtype: Any) -> np.dtype[Any]:
    """The dtype in which NumPy's sum or product runs: small integers become the platform's."""
    if dtype is None and node.dtype.kind in "fc":
        return node.dtype
    return _accumulated(function, node.dtype, None if dtype is None else np.dtype(dtype))


@lru_cache(maxsize=1024)
def _accumulated(
    function: Any, given: np.dtype[Any], wanted: np.dtype[Any] | None
) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.asarray(function(np.ones(1, given), dtype=wanted)).dtype
    return kind


def axis_of(axis: Any, ndim: int) -> int:
    """One axis, made non-negative; raises NumPy's AxisError."""
    return int(np.lib.array_utils.normalize_axis_index(int(axis), ndim))


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes of a reduction: None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    if type(axis) is tuple and all(type(i) is int for i in axis):
        return _axes_of(axis, ndim)
    return tuple(np.lib.array_utils.normalize_axis_tuple(axis, ndim))


@lru_cache(maxsize=1024)
def _axes_of(axis: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return tuple(np.lib.array_utils.normalize_axis_tuple(axis, ndim))
