"""Shapes as the user writes them: ``"N D"``, ``(64, "D")``, an array, or a tree of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Dims", "named_extents", "parse", "rebuild", "walk", "whole_numbers"]

Dims: TypeAlias = "tuple[int | str, ...]"


def parse(text: object, where: str) -> Dims:
    """One shape as a tuple of numbers and names; ``"int N"`` has the shape of ``"N"``."""
    if isinstance(text, str):
        entries: Sequence[object] = text.replace(",", " ").split()
        entries = entries[1:] if entries[:1] == ["int"] else entries
    elif isinstance(text, bool | float | complex) or text is None:
        if text is None:
            raise TypeError(f"the shape of {where} is None; write '' for a number")
        entries = ()
    elif isinstance(text, int | np.integer):
        entries = (int(text),)
    elif isinstance(text, tuple | list):
        entries = text
    elif hasattr(text, "shape"):
        entries = tuple(text.shape)
    else:
        raise TypeError(
            f"the shape of {where} is {text!r}: write it as 'N D', (64, 'D'), or give an array"
        )
    dims: list[int | str] = []
    for entry in entries:
        if isinstance(entry, int | np.integer) or (isinstance(entry, str) and entry.isdigit()):
            if int(entry) < 1:
                raise ValueError(f"the shape of {where} has the extent {entry}; use at least 1")
            dims.append(int(entry))
        elif isinstance(entry, str) and entry.isidentifier():
            dims.append(entry)
        else:
            raise TypeError(
                f"{entry!r} in the shape of {where} is neither a number nor a name such as N"
            )
    return tuple(dims)


def _is_shape(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(
            isinstance(e, int | np.integer) or (isinstance(e, str) and " " not in e) for e in value
        )
    return not isinstance(value, Mapping)


def walk(tree: Any, path: str) -> Iterator[tuple[str, Dims]]:
    """(path, shape) of every leaf of a tree of shapes, in the tree's order."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from walk(value, f"{path}.{key}")
    elif _is_shape(tree):
        yield path, parse(tree, path)
    else:
        for position, value in enumerate(tree):
            yield from walk(value, f"{path}[{position}]")


def values_of(tree: Any, value: Any) -> Iterator[Any]:
    """The leaves of an argument's value, in the order of :func:`walk` over its tree of shapes."""
    if isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from values_of(inner, value[key])
    elif _is_shape(tree):
        yield value
    else:
        for inner, one in zip(tree, value, strict=True):
            yield from values_of(inner, one)


def whole_numbers(tree: Any) -> Iterator[tuple[bool, Any]]:
    """For every leaf whether it holds whole numbers (``"int N"``, an array), and the array."""
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from whole_numbers(value)
    elif _is_shape(tree):
        dtype = getattr(tree, "dtype", None)
        array = tree if dtype is not None and np.dtype(dtype).kind in "iub" else None
        yield array is not None or (isinstance(tree, str) and tree.split()[:1] == ["int"]), array
    else:
        for value in tree:
            yield from whole_numbers(value)


def rebuild(tree: Any, leaves: Iterator[Any]) -> Any:
    """The tree with the next of ``leaves`` in place of every shape."""
    if isinstance(tree, Mapping):
        return {key: rebuild(value, leaves) for key, value in tree.items()}
    if _is_shape(tree):
        return next(leaves)
    parts = [rebuild(value, leaves) for value in tree]
    if hasattr(tree, "_fields"):
        return type(tree)(*parts)
    return tuple(parts) if isinstance(tree, tuple) else parts


def named_extents(dims: Sequence[Dims]) -> list[str]:
    """The names among extents, in order of appearance."""
    return list(dict.fromkeys(e for shape in dims for e in shape if isinstance(e, str)))
