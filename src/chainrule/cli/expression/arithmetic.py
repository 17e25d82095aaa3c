"""Operators, and bounds on what a few characters can ask for."""

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.cli.expression.vocabulary import SIZES

__all__ = ["BINARY", "COMPARISONS", "UNARY", "guarded", "refused_size"]

_LARGEST = 2**28  # elements
_BITS = 256  # of a whole number


def guarded(value: Any) -> Any:
    """The value, unless it is larger than any formula needs."""
    size = getattr(value, "size", 1)
    if isinstance(size, int) and size > _LARGEST:
        raise ValueError(
            f"this would be an array of {size:,} elements, more than are computed here"
        )
    return value


def refused_size(name: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Raise before a function makes an array that is too large."""
    measure = SIZES.get(name)
    if measure is None:
        if isinstance(getattr(np, name, None), np.ufunc) or name in ("where", "clip"):
            refused_shapes(args)
        return
    positional = [*args, *(keywords[k] for k in ("shape", "num", "n") if k in keywords)]
    try:
        size = measure(*positional)
    except (TypeError, ValueError, AttributeError):
        return  # wrong arguments: the function itself says so
    if size > _LARGEST:
        raise ValueError(f"{name} would make an array of {size:,.0f} elements")


def refused_shapes(values: Sequence[Any]) -> None:
    """Raise before arrays are broadcast with each other to one that is too large."""
    shapes = [value.shape for value in values if getattr(value, "shape", ())]
    if len(shapes) < 2:
        return
    try:
        size = math.prod(np.broadcast_shapes(*shapes))
    except ValueError:
        return  # the operation itself says that they do not fit
    if size > _LARGEST:
        raise ValueError(
            f"this would be an array of {size:,} elements, more than are computed here"
        )


def _number(value: Any) -> Any:
    if isinstance(value, tuple | list | str) or value is None:
        raise TypeError(f"{value!r} is no number or array; use an element of it, such as [0]")
    return value


def _checked(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def run(a: Any, b: Any) -> Any:
        a, b = _number(a), _number(b)
        refused_shapes([a, b])
        return operation(a, b)

    return run


def _matmul(a: Any, b: Any) -> Any:
    a, b = _number(a), _number(b)
    if np.ndim(a) and np.ndim(b) and a.shape[-1] and a.size / a.shape[-1] * b.size > _LARGEST:
        inner = b.shape[-2] if np.ndim(b) > 1 else b.shape[0]
        if a.size / a.shape[-1] * (b.size / max(inner, 1)) > _LARGEST:
            raise ValueError("this product would be too large an array")
    return a @ b


def _power(a: Any, b: Any) -> Any:
    a, b = _number(a), _number(b)
    if isinstance(a, int) and isinstance(b, int) and abs(b) * a.bit_length() > _BITS:
        raise ValueError("this power of whole numbers is too large; write 9.0 for 9")
    return a**b


BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _checked(operator.add),
    ast.Sub: _checked(operator.sub),
    ast.Mult: _checked(operator.mul),
    ast.Div: _checked(operator.truediv),
    ast.FloorDiv: _checked(operator.floordiv),
    ast.Mod: _checked(operator.mod),
    ast.MatMult: _matmul,
    ast.Pow: _power,
    ast.BitAnd: _checked(operator.and_),
    ast.BitOr: _checked(operator.or_),
    ast.BitXor: _checked(operator.xor),
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: lambda a: -_number(a),
    ast.UAdd: lambda a: +_number(a),
    ast.Invert: lambda a: ~_number(a),
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: _checked(operator.eq),
    ast.NotEq: _checked(operator.ne),
    ast.Lt: _checked(operator.lt),
    ast.LtE: _checked(operator.le),
    ast.Gt: _checked(operator.gt),
    ast.GtE: _checked(operator.ge),
}
