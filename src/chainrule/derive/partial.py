"""What can be said where an operation has no closed form: the derivative up to its operand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from ..errors import DerivativeError, TraceError
from ..expr.nodes import Call, Const, Leaf, Node
from ..expr.walk import topological
from ..formula.derivation import Derivation
from ..formula.symbolic import FormulaError
from ..trace.array import TracedArray, traced
from .signature import Signature, wanted_leaves
from .tracing import trace
from .writer import Options, Writer

__all__ = ["UpTo", "with_partial"]

_PROTOCOLS = ("__array_ufunc__", "__array_function__")


class UpTo:
    """A function that returns the operand of the first operation that cannot be traced.

    Or, where all can be, what goes into the first loop that has no reverse derivative.
    """

    partly = True

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = self.function(*args, **kwargs)
        except TraceError as error:
            operand = _operand(error.__traceback__)
            if operand is None:
                raise
            return operand
        into = _into_loop(result)
        if into is None:
            raise TraceError("nothing stands in the way")
        return into


class UpToNode:
    """A function that returns one of the arrays on the way to its result.

    ``position`` is its place in the graph of the result, which is the same at every size as far as
    that array.
    """

    partly = True

    def __init__(self, function: Callable[..., Any], position: int) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.position = position

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.function(*args, **kwargs)
        if not isinstance(result, TracedArray):
            return result
        return traced(topological([result.node])[self.position])


def _into_loop(result: Any) -> TracedArray | None:
    """What a ``while_loop`` on the way to a result starts from."""
    if not isinstance(result, TracedArray):
        return None
    for node in topological([result.node]):
        if isinstance(node, Call) and node.op == "while":
            return next((traced(a) for a in node.args if not _is_given(a)), None)
    return None


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
    error: TraceError | FormulaError,
    signature: Signature,
    wrt: str | Sequence[str] | None,
    options: Options,
) -> TraceError | FormulaError:
    """The error with the closed form up to the operation that it names, where there is one."""
    function: Callable[..., Any] = UpTo(signature.function)
    if isinstance(error, FormulaError):
        found = _translated(error, signature, wanted_leaves(signature, wrt), options)
        if found is None:
            return error
        function = found
    changed = replace(signature, function=function)
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


def _translated(
    error: FormulaError, signature: Signature, wanted: list[int], options: Options
) -> UpToNode | None:
    """The function up to what was translated; the error is given the user's line."""
    if error.node is None:
        return None
    writer = Writer(signature, wanted, options)
    lines: dict[Node, str] = {}
    try:
        one = trace(signature, writer.first, wanted, "gradients", lines=lines)
        writer.write()
    except FormulaError as again:
        refused = again.node
    except (TypeError, ValueError, IndexError):
        return None
    else:
        return None
    order = topological([one.output])
    if refused not in order:
        return None
    users = [refused]
    for node in order:  # up to the first array of the user's
        if not lines.keys().isdisjoint(users):
            break
        if any(child in users for child in node.children):
            users.append(node)
    line = next((lines[node] for node in users if node in lines), None)
    if line is not None and line not in str(error):
        error.args = (f"{error}\n  at {line}", *error.args[1:])
    known = writer.translator.known
    before = [node for node in order if node in known and node.shape and not _is_given(node)]
    nearest = [node for user in users for node in user.children if node in before]
    return UpToNode(signature.function, order.index((nearest or before)[-1])) if before else None


def _is_given(node: Node) -> bool:
    return isinstance(node, Leaf | Const)


def _said(derivation: Derivation) -> str:
    value = derivation.value
    if value.text == value.name:  # its definition is among the derivation's
        return str(derivation)
    return f"{value.left()} = {value.text}\n{derivation}"
