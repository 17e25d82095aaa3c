"""What can be said where an operation has no closed form: the derivative up to its operand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from ..errors import DerivativeError, TraceError
from ..expr.nodes import Leaf
from ..formula.derivation import Derivation
from ..trace.array import TracedArray
from .signature import Signature, wanted_leaves
from .writer import Options, Writer

__all__ = ["UpTo", "with_partial"]

_PROTOCOLS = ("__array_ufunc__", "__array_function__")


class UpTo:
    """A function that returns the operand of the first operation that cannot be traced."""

    partly = True

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            self.function(*args, **kwargs)
        except TraceError as error:
            operand = _operand(error.__traceback__)
            if operand is None:
                raise
            return operand
        raise TraceError("nothing stands in the way")


def _operand(traceback: TracebackType | None) -> TracedArray | None:
    """The traced array that the user's operation was applied to."""
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name in _PROTOCOLS and isinstance(
            frame.f_locals.get("self"), TracedArray
        ):
            given = frame.f_locals.get("inputs", frame.f_locals.get("args", ()))
            return next((value for value in given if isinstance(value, TracedArray)), None)
        traceback = traceback.tb_next
    return None


def with_partial(
    error: TraceError, signature: Signature, wrt: str | Sequence[str] | None, options: Options
) -> TraceError:
    """The error with the closed form up to the operation that it names, where there is one."""
    changed = replace(signature, function=UpTo(signature.function))
    try:
        writer = Writer(changed, wanted_leaves(changed, wrt), options)
        derivation = writer.write()
        if isinstance(writer.traces("gradients")[0].output, Leaf):
            return error
        if options.check:
            derivation.check()
    except (TypeError, ValueError, IndexError, DerivativeError):
        return error
    error.partial = derivation
    error.add_note(f"up to there (the attribute partial of this error):\n{_said(derivation)}")
    return error


def _said(derivation: Derivation) -> str:
    value = derivation.value
    return f"{value.left()} = {value.text}\n{derivation}"
