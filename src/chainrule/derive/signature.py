"""What is known of a function's arguments before it is traced: names, trees, shapes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..formula.shapes import Dims, named_extents, rebuild, walk, whole_numbers
from .annotations import shape_of_annotation

__all__ = ["Signature", "function_name", "read_signature", "symmetric_leaves", "wanted_leaves"]


@dataclass
class Signature:
    """What is known of the arguments before tracing."""

    function: Callable[..., Any]
    trees: dict[str, Any]
    constants: dict[str, Any]
    paths: list[str]
    dims: list[Dims]
    names: list[str]
    integers: dict[int, Any]  # leaves of whole numbers, with the array that was given (or None)
    falling: bool = False  # whether the later names get the smaller sizes
    symmetric: frozenset[int] = frozenset()  # leaves that are symmetric matrices

    def call(self, values: Sequence[Any], function: Callable[..., Any] | None = None) -> Any:
        """The function (or a copy of it) at values of the leaves, one a path."""
        stream = iter(values)
        given = {name: rebuild(tree, stream) for name, tree in self.trees.items()}
        bound = inspect.signature(self.function).bind_partial()
        bound.arguments.update(given)
        return (function or self.function)(*bound.args, **bound.kwargs)

    def sizes(self, dims: Dims, names: Mapping[str, int]) -> tuple[int, ...]:
        """A shape at sizes of the names."""
        return tuple(names[e] if isinstance(e, str) else e for e in dims)

    @property
    def growing(self) -> list[str]:
        """The names in the order in which their sizes grow."""
        return self.names[::-1] if self.falling else self.names

    def dtype(self, position: int) -> np.dtype[Any]:
        """What a leaf is traced as."""
        if position not in self.integers:
            return np.dtype(float)
        array = self.integers[position]
        return np.dtype(int) if array is None else np.asarray(array).dtype

    @property
    def numbers(self) -> list[int]:
        """The extents that are given as numbers."""
        return [e for dims in self.dims for e in dims if not isinstance(e, str)]


def read_signature(f: Callable[..., Any], shapes: Mapping[str, Any]) -> Signature:
    """The arguments of a function: shapes as given, else as annotated; defaults are constants."""
    parameters = inspect.signature(f).parameters
    unknown = [name for name in shapes if name not in parameters]
    if unknown:
        raise TypeError(
            f"{function_name(f)} has no parameter {unknown[0]!r}; it has {', '.join(parameters)}"
        )
    trees: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in shapes:
            trees[name] = shapes[name]
        elif parameter.default is not parameter.empty:
            constants[name] = parameter.default
        elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            trees[name] = shape_of_annotation(f, name)
            if trees[name] is None:
                raise TypeError(
                    f"give the shape of {name!r}, for example {name}='N D' (or annotate it: "
                    f'{name}: Float[Array, "N D"])'
                )
    leaves_ = [leaf for name, tree in trees.items() for leaf in walk(tree, name)]
    dims = [d for _, d in leaves_]
    names = named_extents(dims)
    kinds = [kind for tree in trees.values() for kind in whole_numbers(tree)]
    integers = {k: array for k, (whole, array) in enumerate(kinds) if whole}
    return Signature(f, trees, constants, [p for p, _ in leaves_], dims, names, integers)


def wanted_leaves(signature: Signature, wrt: str | Sequence[str] | None) -> list[int]:
    """The leaves to differentiate by: all that hold real numbers, or those under ``wrt``."""
    if wrt is None:
        return [k for k in range(len(signature.paths)) if k not in signature.integers]
    names = [wrt] if isinstance(wrt, str) else list(wrt)
    for name in names:
        if not any(_under(path, name) for path in signature.paths):
            raise TypeError(f"wrt={name!r}; the arguments are {', '.join(signature.paths)}")
    found = [
        k for k, path in enumerate(signature.paths) if any(_under(path, name) for name in names)
    ]
    for k in found:
        if k in signature.integers:
            raise TypeError(f"{signature.paths[k]} holds whole numbers: there is no derivative")
    return found


def symmetric_leaves(signature: Signature, names: str | Sequence[str]) -> frozenset[int]:
    """The leaves that run over symmetric matrices only.  Raises TypeError, ValueError."""
    if isinstance(names, bool):
        raise TypeError("symmetric gives the names of arguments, such as symmetric='K'")
    found: set[int] = set()
    for name in [names] if isinstance(names, str) else names:
        under = [k for k, path in enumerate(signature.paths) if _under(path, name)]
        if not under:
            raise TypeError(f"symmetric={name!r}; the arguments are {', '.join(signature.paths)}")
        for k in under:
            dims = signature.dims[k]
            if len(dims) != 2 or dims[0] != dims[1] or k in signature.integers:
                shape = ", ".join(map(str, dims))
                raise ValueError(
                    f"symmetric={name!r}: {signature.paths[k]} has the shape ({shape}), which is "
                    "no square matrix of real numbers"
                )
        found.update(under)
    return frozenset(found)


def _under(path: str, name: str) -> bool:
    return path == name or path.startswith((name + ".", name + "["))


def function_name(f: Callable[..., Any]) -> str:
    """How a function is called in texts."""
    return getattr(f, "__name__", type(f).__name__)
