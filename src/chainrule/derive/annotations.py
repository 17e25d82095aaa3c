"""Shapes in a signature: ``Float[Array, "N D"]`` as in jaxtyping, ``Annotated``, ``float``.

Annotations are read as they stand, also as strings (``from __future__ import annotations``);
jaxtyping need not be installed for those.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

__all__ = ["shape_of_annotation"]

_INTEGERS = re.compile(r"^(Int|UInt|Integer|Bool)\d*$")
_SCALARS = (float, "float")


def shape_of_annotation(f: Callable[..., Any], name: str) -> Any:
    """The shape that a parameter's annotation states, None where it states none.

    Raises TypeError for dimensions that are no shape: ``*batch``, ``...``, ``_``.
    """
    parameter = inspect.signature(f).parameters[name]
    return _shape(parameter.annotation, f, name)


def _shape(annotation: Any, f: Callable[..., Any], name: str) -> Any:
    if annotation is inspect.Parameter.empty:
        return None
    if annotation in _SCALARS:
        return ""
    if isinstance(annotation, str):
        return _of_text(annotation, f, name)
    if typing.is_typeddict(annotation):
        inner = annotation.__annotations__
        found = {key: _shape(part, f, f"{name}.{key}") for key, part in inner.items()}
        return None if any(shape is None for shape in found.values()) else found
    if isinstance(annotation, typing.ForwardRef):
        return _of_text(annotation.__forward_arg__, f, name)
    dims = getattr(annotation, "dim_str", None)
    if isinstance(dims, str):
        kind = str(getattr(annotation, "__name__", "")).partition("[")[0]
        return _dims(dims, name, bool(_INTEGERS.match(kind)))
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, str):
            return _dims(extra, name, False)
        if isinstance(extra, tuple):
            return extra
    return None


def _of_text(text: str, f: Callable[..., Any], name: str) -> Any:
    """The shape in an annotation that is text: parsed, never executed."""
    if text in _SCALARS:
        return ""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
    if isinstance(tree, ast.Name):
        known = getattr(inspect.unwrap(f), "__globals__", {}).get(tree.id)
        return None if known is None or isinstance(known, str) else _shape(known, f, name)
    if not isinstance(tree, ast.Subscript):
        return None
    parts = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
    head = ast.unparse(tree.value).rpartition(".")[2]
    for part in parts[1:]:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            return _dims(part.value, name, bool(_INTEGERS.match(head)))
    return None


def _dims(text: str, name: str, integer: bool) -> str:
    """jaxtyping's dimensions as a shape: ``#N`` is N, ``rows=4`` is 4."""
    found = []
    for dim in text.split():
        entry = dim.lstrip("#?").rpartition("=")[2]
        if not re.fullmatch(r"[A-Za-z]\w*|\d+", entry):
            raise TypeError(
                f"the annotation of {name} has the dimension {dim!r}, which is no number and no "
                f"name such as N: give its shape, for example {name.partition('.')[0]}='N D'"
            )
        found.append(entry)
    return " ".join(["int", *found] if integer else found)
