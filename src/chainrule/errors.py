"""Errors that chainrule raises, and finding the user's line to show in them."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from typing import Any

__all__ = [
    "DerivativeError",
    "EscapedTracerError",
    "TooLargeError",
    "TraceError",
    "located",
    "scipy_caller",
    "user_line",
]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class TraceError(TypeError):
    """Something in the user's function cannot be traced; the message shows line and way out.

    ``partial``: from :func:`chainrule.derive`, the derivation up to the operation, if there is one.
    """

    partial: Any = None


class EscapedTracerError(TraceError):
    """A traced array was used after the function that it belongs to had ended."""


class DerivativeError(AssertionError):
    """A derivative disagrees with its definition; says where and by how much."""


class TooLargeError(MemoryError):
    """A dense result would not fit; says how large it is and what to call instead."""


# frames that stand between the user's line and this package
_OTHERS = ("numpy", "scipy", "optree", "contextlib", "functools")


def user_line() -> str:
    """``file:line: source`` of the innermost frame outside this package (and NumPy's)."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        module = frame.f_globals.get("__name__", "")
        inside = name.startswith(_PACKAGE) or module.split(".")[0] in _OTHERS
        if not inside and not name.startswith("<"):
            text = linecache.getline(name, frame.f_lineno).strip()
            return f'{os.path.basename(name)}:{frame.f_lineno}: "{text}"'
        previous = frame.f_back
        if previous is None:
            break
        frame = previous
    return "<unknown line>"


def scipy_caller() -> tuple[str, str] | None:
    """("special", "logsumexp") where a function of SciPy's that this package has asked for us."""
    frame = sys._getframe(1)
    names: set[str] = set()
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.split(".")[0] == "scipy":
            names.add(frame.f_code.co_name)
            # a decorator's wrapper holds the function that it is about to call
            held = (v for v in frame.f_locals.values() if callable(v))
            names.update(str(getattr(v, "__name__", "")) for v in held)
        elif names and not module.startswith("numpy"):
            break
        previous = frame.f_back
        if previous is None:
            break
        frame = previous
    for room in ("special", "linalg") if names else ():
        ours = importlib.import_module(f"{__name__.rpartition('.')[0]}.scipy.{room}")
        for name in names & set(ours.__all__):
            return room, name
    return None


def located(problem: str, remedy: str) -> str:
    """An error text: the cause, the user's line, the fix."""
    return f"{problem}\n  at {user_line()}\n  instead: {remedy}"
