"""debug_nans: programs whose results hold NaN say which operations made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .steps import CallStep, Elementwise, Plan, Step

__all__ = ["checked", "debug_nans", "debugging"]

_on: ContextVar[bool] = ContextVar("chainrule_debug_nans", default=False)


def debugging() -> bool:
    """Whether results are looked at (:func:`debug_nans`)."""
    return _on.get()


@contextmanager
def debug_nans(enabled: bool = True) -> Iterator[None]:
    """Within this context a NaN in a result raises FloatingPointError.

    The message names the operations whose operands held no NaN and whose results do, in the order
    of the program.  Programs run on NumPy meanwhile.  A NaN that ``np.where`` leaves out is none of
    a result's; NaN among the arguments is said as such.

    >>> import numpy as np, chainrule as cr
    >>> with cr.debug_nans():
    ...     cr.grad(lambda x: np.sum(np.log(x)))(np.array([1.0, 2.0]))
    array([1. , 0.5])
    """
    token = _on.set(enabled)
    try:
        yield
    finally:
        _on.reset(token)


def _nans(value: Any) -> int:
    array = np.asarray(value)
    return int(np.isnan(array).sum()) if array.dtype.kind in "fc" else 0


def checked(plan: Plan, values: Sequence[Any], results: Sequence[Any]) -> None:
    """Raise FloatingPointError where a result holds NaN; ``values`` are the leaves'."""
    wrong = [number for number, result in enumerate(results) if _nans(result)]
    if not wrong:
        return
    arguments = [number for number, value in enumerate(values) if _nans(value)]
    if arguments:
        raise FloatingPointError(
            f"NaN in result {wrong[0]}: input {arguments[0]} of the program (an argument or a "
            "captured array) holds NaN already"
        )
    made = _made_by(plan, values)
    text = "; ".join(made) if made else "an operation that accumulates"
    raise FloatingPointError(f"NaN in result {wrong[0]}, made by: {text}")


def _made_by(plan: Plan, values: Sequence[Any]) -> list[str]:
    """The steps that made NaN of operands without."""
    from .numpy_backend import NumpyProgram

    found: list[str] = []
    bad: set[int] = set()

    def watch(step: Step, value: Any) -> None:
        parts = value if isinstance(value, tuple) else (value,)
        count = sum(_nans(part) for part in parts)
        if not count:
            return
        if not bad.intersection(step.inputs):
            shape = list(np.shape(parts[0]))
            found.append(f"{_name(step)} of shape {shape} ({count} elements)")
        bad.add(step.target)

    NumpyProgram(plan, watch)(*values)
    return found


def _name(step: Step) -> str:
    if isinstance(step, Elementwise | CallStep):
        return step.op
    return {"Contract": "a product", "Reduce": "a sum", "Combine": "a sum"}.get(
        type(step).__name__, type(step).__name__.lower()
    )
