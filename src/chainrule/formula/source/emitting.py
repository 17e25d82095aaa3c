"""The text of a module for a program, in one library and one style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from .autograd_style import AutogradModule
from .function_style import FunctionModule
from .jax_target import JaxTarget
from .numpy_target import NumpyTarget
from .program import Program
from .target import Target
from .torch_target import TorchTarget

__all__ = ["BACKENDS", "PARTS", "Backend", "Style", "emit"]

Backend: TypeAlias = Literal["numpy", "jax", "torch"]
Style: TypeAlias = Literal["function", "autograd"]

TARGETS: dict[str, type[Target]] = {
    "numpy": NumpyTarget,
    "jax": JaxTarget,
    "torch": TorchTarget,
}
BACKENDS = tuple(TARGETS)
PARTS = ("forward", "backward", "jacobian", "hessian")


def emit(program: Program, backend: str, style: str, parts: Sequence[str]) -> str:
    """The text of a module.

    Raises SourceError for what the backend cannot do, ValueError for unknown names.
    """
    if backend not in TARGETS:
        raise ValueError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    if style not in ("function", "autograd"):
        raise ValueError(f"unknown style {style!r}; there are function, autograd")
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ValueError(f"parts={tuple(parts)}; there are {', '.join(PARTS)}")
    if style == "autograd" and backend == "numpy":
        raise ValueError('style="autograd" needs backend="jax" or "torch"')
    target = TARGETS[backend]
    if style == "autograd":
        return AutogradModule(program, target).autograd()
    return FunctionModule(program, target).functions(parts)
