"""Functions written element by element: traced at small sizes and re-rolled into tensors.

A loop over named extents runs at some size while it is traced, and its body is traced at every
turn.  So such functions are traced at small sizes, and what they compute is re-rolled
(:mod:`chainrule.simplify.reroll`) before anything else is done with it.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from .. import numpy as cnp
from ..expr.nodes import Node, Scalar
from ..formula.symbolic import FormulaError
from ..simplify.reroll import rerolled
from ..trace.array import is_traced, traced
from ..trace.session import require_session
from .counters import COUNTS, SHIFT, Counted, CountedRange, counted, counter_tuples, counting

__all__ = [
    "EVEN_AND_ODD",
    "PLANS",
    "POOLS",
    "LoopError",
    "LoopPlan",
    "rebound",
    "refers_to_arrays",
    "rolled",
]


class LoopError(FormulaError):
    """A loop over elements that is no tensor expression; says which pattern stands in the way.

    ``elements`` tells how many elements the function reads one by one, ``carried`` that a loop
    carries a value from step to step.
    """

    def __init__(self, message: str, elements: int = 1, carried: bool = False) -> None:
        super().__init__(message)
        self.elements = elements
        self.carried = carried


#: Two small sizes for each name.  No difference of two sizes of a name is that of another name.
PLANS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((4, 10), (3, 5), (5, 6), (2, 4), (7, 13), (6, 14), (8, 15)),
    ((5, 10), (6, 9), (3, 4), (2, 4), (7, 13), (6, 14), (8, 15)),
    ((3, 5), (4, 7), (6, 7), (5, 9), (7, 13), (6, 14), (8, 15)),
    ((4, 10), (6, 8), (8, 18), (10, 14)),  # halves
    ((5, 9), (7, 13), (3, 5), (11, 17)),
    ((7, 12), (8, 14), (9, 16)),  # shifts around an axis
)

#: Sizes at which formulas of loops are checked: kernels are smaller than what they run over.
POOLS = ((4, 3, 2, 3, 2, 2), (5, 4, 3, 2, 3, 2), (3, 2, 4, 2, 3, 2), (2, 3, 2, 4, 3, 2))
#: The same for shapes with halves: all even, or all odd.
EVEN_AND_ODD = ((4, 2, 4, 2, 2, 4), (4, 6, 2, 2, 4, 2), (5, 3, 3, 5, 3, 3), (3, 7, 5, 3, 3, 5))


@dataclass(frozen=True)
class LoopPlan:
    """How loops are traced: at which sizes; whether the arrays that they capture are traced, too;
    whether counters that are used as numbers are known as such."""

    pairs: tuple[tuple[int, int], ...]
    arrays: bool
    counting: bool = True

    def sizes(self, names: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Two small sizes for each name."""
        if len(names) > len(self.pairs):
            raise LoopError(
                f"{len(names)} named extents are too many in loops; at most {len(self.pairs)}"
            )
        return (
            {n: pair[0] for n, pair in zip(names, self.pairs, strict=False)},
            {n: pair[1] for n, pair in zip(names, self.pairs, strict=False)},
        )


def rolled(nodes: Sequence[Node], captured: Mapping[Node, Any]) -> list[Node]:
    """Nodes with loops over elements as terms with labels; raises PatternError."""
    numbers: dict[Node, Scalar] = {
        leaf: np.asarray(value).item() for leaf, value in captured.items() if not leaf.shape
    }
    counts = {leaf: SHIFT for leaf, value in captured.items() if value is COUNTS}
    return rerolled(nodes, numbers, counts)


# -- what a function sees ------------------------------------------------------------------------
_MATH = {
    name: getattr(np, {"fabs": "fabs", "pow": "power"}.get(name, name))
    for name in (
        *("exp", "log", "log1p", "expm1", "log2", "log10", "sqrt", "cbrt", "sin", "cos", "tan"),
        *("sinh", "cosh", "tanh", "fabs", "floor", "ceil", "pow", "hypot", "exp2"),
    )
} | {
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


def _chosen(plain: Callable[..., Any], dispatched: Callable[..., Any]) -> Callable[..., Any]:
    """``plain``, or where an argument is traced ``dispatched``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(a, Counted) for a in args):
            return counted(plain, dispatched, *args)
        return (dispatched if any(map(is_traced, args)) else plain)(*args, **kwargs)

    return call


def _with_lists(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function that takes lists of traced numbers as arrays, and counters."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs and any(isinstance(a, Counted) for a in args):
            return counted(function, function, *args)
        return function(*map(_as_array, args), **kwargs)

    for name in ("accumulate", "at", "outer", "reduce", "reduceat"):  # of a ufunc
        if hasattr(function, name):
            setattr(call, name, getattr(function, name))
    return call


def _as_array(value: Any) -> Any:
    if type(value) is list and value and any(is_traced(v) or type(v) is list for v in value):
        return cnp.asarray(value)
    return value


class _Module:
    """A module in which some names mean something else."""

    def __init__(self, module: ModuleType, other: Callable[[str], Any]) -> None:
        self._module = module
        self._other = other

    def __getattr__(self, name: str) -> Any:
        found = self._other(name)
        if found is None:
            found = getattr(self._module, name)
        self.__dict__[name] = found
        return found


def _of_numpy(name: str) -> Any:
    found = getattr(cnp, name)
    if name == "ndindex":
        return counter_tuples
    if name in cnp.__all__ or not callable(found) or isinstance(found, type):
        return found
    return found if name in ("stack", "concatenate") else _with_lists(found)


def _of_math(name: str) -> Any:
    found = _MATH.get(name)
    return None if found is None else _chosen(getattr(math, name), found)


_NUMPY = _Module(np, _of_numpy)
_MATHS = _Module(math, _of_math)


def _extreme(plain: Callable[..., Any], pair: Any) -> Callable[..., Any]:
    """``max`` and ``min``, of traced numbers without a branch."""

    def call(*args: Any, **kwargs: Any) -> Any:
        items = list(args[0]) if len(args) == 1 else list(args)
        if kwargs or not any(map(is_traced, items)):
            return plain(items, **kwargs) if len(args) == 1 else plain(*args, **kwargs)
        result = items[0]
        for item in items[1:]:
            result = pair(result, item)
        return result

    return call


_BUILTINS = {
    "max": _extreme(max, np.maximum),
    "min": _extreme(min, np.minimum),
    "float": lambda *args: (
        args[0] if args and (is_traced(args[0]) or isinstance(args[0], Counted)) else float(*args)
    ),
}
_COUNTING = {"range": CountedRange, "enumerate": counting}


def rebound(
    f: Callable[..., Any], arrays: bool = False, counting: bool = False
) -> Callable[..., Any]:
    """A copy of ``f`` in which plain loops over elements can be traced.

    It sees :mod:`chainrule.numpy` for NumPy (arrays that traced values can be written into), and
    ``math`` and the built-in ``max``, ``min``, ``float`` also take traced numbers.  With ``arrays``
    (while tracing) the arrays that it captures are traced, so that what is read from them at an
    index is known by that index, and with ``counting`` the numbers of ``range`` are counters
    (:mod:`.counters`).  Functions of the same module that it calls are copied, too.
    """
    return _Copier(arrays, counting).function(f) if isinstance(f, FunctionType) else f


def refers_to_arrays(f: Callable[..., Any]) -> bool:
    """Whether a function, or one of its module that it calls, refers to arrays."""
    copier = _Copier(False, False)
    if isinstance(f, FunctionType):
        copier.function(f)
    return copier.met


class _Copier:
    """Copies functions.  ``met`` tells whether they refer to arrays."""

    def __init__(self, arrays: bool, counting: bool) -> None:
        self.arrays = arrays
        self.builtins = _BUILTINS | _COUNTING if counting else _BUILTINS
        self.met = False
        self.copies: dict[FunctionType, FunctionType] = {}
        self.spaces: dict[int, dict[str, Any]] = {}

    def function(self, f: FunctionType) -> FunctionType:
        found = self.copies.get(f)
        if found is not None:
            return found
        space = self.spaces.get(id(f.__globals__))
        if space is None:
            space = self.spaces[id(f.__globals__)] = dict(f.__globals__)
        cells = tuple(CellType() for _ in f.__closure__ or ())
        copy = FunctionType(f.__code__, space, f.__name__, f.__defaults__, cells or None)
        self.copies[f] = copy
        copy.__kwdefaults__ = f.__kwdefaults__
        copy.__dict__.update({k: v for k, v in f.__dict__.items() if k != "__wrapped__"})
        copy.__doc__, copy.__annotations__ = f.__doc__, f.__annotations__
        copy.__module__, copy.__qualname__ = f.__module__, f.__qualname__
        if f.__defaults__ is not None:
            copy.__defaults__ = tuple(self.value(v, f) for v in f.__defaults__)
        for cell, old in zip(cells, f.__closure__ or (), strict=True):
            try:
                cell.cell_contents = self.value(old.cell_contents, f)
            except ValueError:  # not yet assigned
                continue
        for name in _names(f.__code__):
            if name in f.__globals__:
                space[name] = self.value(f.__globals__[name], f)
            elif name in self.builtins and hasattr(builtins, name):
                space[name] = self.builtins[name]
        return copy

    def value(self, value: Any, user: FunctionType) -> Any:
        """What stands for a value that a function refers to."""
        if value is np or value is cnp:
            return _NUMPY
        if value is math:
            return _MATHS
        if isinstance(value, FunctionType) and value.__module__ == user.__module__:
            return self.function(value)
        if isinstance(value, np.ndarray) and value.ndim:
            self.met = True
            if not self.arrays:
                return value
            return traced(require_session().capture(value))
        if callable(value) and getattr(value, "__name__", None):
            name = value.__name__
            if name in cnp.__all__ and value is getattr(np, name, None):
                return getattr(cnp, name)
            if name in _MATH and value is getattr(math, name, None):
                return _of_math(name)
        return value


def _names(code: CodeType) -> set[str]:
    """The global names of a function and of those defined in it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found
