"""Trees of arguments and results: dicts, lists, tuples, named tuples, dataclasses (by optree)."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import optree

from ..errors import located
from ..trace.array import TracedArray

__all__ = ["NAMESPACE", "Tree", "differentiable_leaf", "flatten", "is_array", "unflatten"]

NAMESPACE = "chainrule"
Tree = Any


@functools.cache
def _register(kind: type) -> None:
    """Dataclasses are nodes: their fields are the children."""
    names = [field.name for field in dataclasses.fields(kind)]

    def take_apart(value: Any) -> tuple[list[Any], None, list[str]]:
        return [getattr(value, name) for name in names], None, names

    def put_together(_: None, children: Any) -> Any:
        result: Any = object.__new__(kind)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(result, name, child)
        return result

    optree.register_pytree_node(kind, take_apart, put_together, namespace=NAMESPACE)  # type: ignore[arg-type]


def _unregistered(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


_PLAIN = frozenset([TracedArray, np.ndarray, np.float64, bool, int, float, complex, str])


def flatten(tree: Tree) -> tuple[list[Any], optree.PyTreeSpec]:
    """Leaves and structure; dataclasses met for the first time are registered."""
    while True:
        leaves, spec = optree.tree_flatten(tree, none_is_leaf=False, namespace=NAMESPACE)
        fresh: set[Any] = {
            type(leaf) for leaf in leaves if type(leaf) not in _PLAIN and _unregistered(leaf)
        }
        if not fresh:
            return leaves, spec
        for kind in fresh:
            _register(kind)


def unflatten(spec: optree.PyTreeSpec, leaves: Any) -> Tree:
    """The tree of a structure and its leaves."""
    return optree.tree_unflatten(spec, leaves)


def paths(spec: optree.PyTreeSpec) -> list[str]:
    """A readable path for every leaf, such as ``[0]['w']``."""
    return ["".join(f"[{entry!r}]" for entry in path) for path in optree.treespec_paths(spec)]


def is_array(value: Any) -> bool:
    """Whether a leaf of a tree is numeric: an array, a NumPy scalar, a number, a traced array."""
    return isinstance(value, TracedArray | np.ndarray | np.generic | int | float | complex)


def differentiable_leaf(value: Any, where: str) -> Any:
    """A primal: a float (or complex) array, scalar or traced array; else a clear error."""
    if isinstance(value, TracedArray | np.ndarray | np.generic):
        kind = value.dtype.kind
    elif isinstance(value, bool | int):
        kind = "i"
    elif isinstance(value, float):
        return np.float64(value)
    elif isinstance(value, complex):
        return np.complex128(value)
    else:
        raise TypeError(
            f"{where} is {type(value).__name__}, which cannot be differentiated: pass a float "
            "array, or a tree (dict, list, tuple, dataclass) of them"
        )
    if kind not in "fc":
        dtype = getattr(value, "dtype", type(value).__name__)
        raise TypeError(
            located(
                f"{where} has dtype {dtype}: derivatives need floats",
                "pass floats, for example x.astype(float) or 3.0 instead of 3",
            )
        )
    if isinstance(value, np.ndarray) and value.dtype.itemsize not in (4, 8, 16):
        raise TypeError(f"{where} has dtype {value.dtype}: use float32, float64 or complex")
    return value
