"""compile: tracing is skipped when a program for these shapes and branch outcomes is known."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import TraceError
from ..expr.nodes import Leaf, Node
from ..lower.debugging import debugging
from ..lower.libraries import (
    LIBRARIES,
    as_numpy,
    dtype_of,
    is_foreign,
    library_program,
    missing,
)
from ..lower.native.engine import available
from ..lower.run import Cache, Program, program_for
from ..lower.tiers import Promotion
from ..trace.array import TracedArray, traced
from ..trace.session import Guard
from .core import Outputs, level, outputs
from .fastroad import NoRoad, native_function
from .first import _name
from .trees import flatten, unflatten

__all__ = ["Compiled", "compile"]

BACKENDS = ("numpy", "native", *LIBRARIES)
MAX_PATHS = 64
#: Calls of one path after which it becomes native code.
HOT = 2


@dataclass(slots=True)
class _Path:
    """One program: guards and results in one run, valid while the guards keep their outcomes."""

    guards: list[Guard]
    outs: Outputs
    program: Program
    runs: Callable[..., tuple[Any, ...]]
    sources: list[tuple[bool, Any]]  # one entry a program input: (is argument, position or array)
    promotion: Promotion[Any] | None = None
    direct: bool = True  # native code takes the arguments as they come

    def native(self, flat: list[Any], spec: Any) -> Any:
        """Native code for the arguments as they come, or else for the program's inputs."""
        self.direct = not self.guards
        if self.direct:
            try:
                return native_function(self.program, self.sources, flat, spec, self.outs)
            except NoRoad:
                self.direct = False
        return self.program.native()

    def report(self) -> str:
        """What runs the program."""
        if self.promotion is None:
            return 'numpy: backend="numpy"'
        if self.promotion.made is not None or self.program.promotion.made is not None:
            return "native"
        return f"numpy: {self.promotion.reason}"

    def run(self, flat: list[Any]) -> list[Any]:
        values = [flat[source] if given else source for given, source in self.sources]
        if not self.guards:
            return list(self.runs(*values))
        with np.errstate(all="ignore"):
            return list(self.runs(*values))


def compile(f: Callable[..., Any], backend: str | None = None) -> Compiled:
    """A function whose programs are kept: the second call with like arguments traces nothing.

    Programs are kept by the arguments' tree, shapes and dtypes, by the values of arguments that
    are not arrays or floats (ints, strings, booleans), and by the outcomes of branches on traced
    values, which are checked on every call: a new outcome is traced anew.

    Arrays that ``f`` captures are read by reference at every call: changes in place are seen,
    rebinding the name is not.  What plain Python computes while tracing (``2 * A`` for a captured
    plain array ``A``, ``if mask.any():``, random numbers) is frozen in the program.

    ``backend``: None begins on NumPy and goes over to native code (where llvmlite is installed)
    when a program proves hot; "numpy" stays; "native" makes native code at the first call.  Results
    agree to rounding.  Functions with steps that have no native form stay on NumPy;
    :meth:`Compiled.report` says which and why.

    "jax" runs the program as one function under ``jax.jit``, on any device of JAX's, in float64
    where the program is, whatever JAX's default; "torch" runs it on PyTorch.  NumPy arrays in,
    NumPy arrays out; where an argument is an array of the library (on its device), the results
    are, too.  Inside of ``jax.jit`` the program is part of that trace.  Matrices that NumPy refuses
    (singular, not positive definite) give NaN in JAX.

    Raises ValueError for an unknown backend, ImportError where a backend is not installed (it
    names the extra), NotImplementedError for a function that a library does not have.

    >>> import numpy as np, chainrule as cr
    >>> step = cr.compile(cr.grad(lambda x: np.sum(x**2)))
    >>> step(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: this version has {', '.join(BACKENDS)}")
    reason = (
        available() if backend == "native" else missing(backend) if backend in LIBRARIES else None
    )
    if reason is not None:
        raise ImportError(f'backend "{backend}": {reason}')
    return Compiled(f, backend)


class Compiled:
    """The result of :func:`compile`; call it like the function.  ``clear()`` forgets programs."""

    def __init__(self, f: Callable[..., Any], backend: str | None = None) -> None:
        functools.update_wrapper(self, f)
        self._f = f
        self._backend = backend
        self._entries: Cache[Any, list[_Path]] = Cache(256)
        self._fast: Callable[..., Any] | None = None

    def clear(self) -> None:
        """Forget all programs of this function."""
        self._fast = None
        self._entries.clear()

    def report(self) -> list[str]:
        """What runs each program: "native", or "numpy: " and the reason.

        >>> import numpy as np, chainrule as cr
        >>> step = cr.compile(np.sin, backend="numpy")
        >>> y = step(np.ones(3))
        >>> step.report()
        ['numpy: backend="numpy"']
        """
        if self._backend in LIBRARIES:
            return [self._backend for paths in self._entries.values() for _ in paths]
        return [path.report() for paths in self._entries.values() for path in paths]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._fast is not None and not kwargs and not debugging():
            found = self._fast(*args)
            if found is not None:
                return found
        return self._general(args, kwargs)

    def _general(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        flat, spec = flatten((args, kwargs))
        key_parts: list[Any] = [spec]
        for value in flat:
            kind = type(value)
            if kind is np.ndarray:
                key_parts.append((value.shape, value.dtype))
            elif kind is float or kind is complex:
                key_parts.append(kind)
            elif isinstance(value, TracedArray):
                return self._f(*args, **kwargs)  # inside another trace: nothing to keep here
            elif isinstance(value, np.generic | np.ndarray):
                key_parts.append((value.shape, value.dtype))
            elif self._backend in LIBRARIES and is_foreign(value):
                key_parts.append((tuple(value.shape), dtype_of(value)))
            else:
                key_parts.append((kind, value))
        key = tuple(key_parts)
        paths = self._entries.get(key)
        if paths is None:
            paths = []
            self._entries.put(key, paths)
        for path in paths:
            found = self._native(path, args, kwargs) or _try(path, flat)
            if found is not None:
                return found[0]
        if len(paths) >= MAX_PATHS:
            raise TraceError(
                f"{_name(self._f)} has taken {MAX_PATHS} different paths through its branches: "
                "the compiled programs would never end. Use np.where for choices by element, or "
                "call the function without compile"
            )
        path = self._trace(flat, spec)
        paths.insert(0, path)
        found = self._native(path, args, kwargs) or _try(path, flat)
        assert found is not None, "a fresh trace contradicts its own branches"
        return found[0]

    def _native(
        self, path: _Path, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any] | None:
        """The path's result by its native function, where there is one (yet)."""
        promotion = path.promotion
        if promotion is None or debugging():
            return None
        if promotion.made is None:
            if self._backend == "native":
                promotion.work()
            else:
                promotion.tick()
        if promotion.made is None or kwargs or not path.direct:
            return None
        self._fast = promotion.made.function
        found = self._fast(*args)
        return None if found is None else (found,)

    def _trace(self, flat: list[Any], spec: Any) -> _Path:
        random_before = np.random.get_state(legacy=False)
        position: dict[Node, int] = {}
        with level("compile") as (session, opened):
            handles: list[Any] = []
            for number, value in enumerate(flat):
                if isinstance(value, np.ndarray | np.generic | float | complex):
                    weak = not isinstance(value, np.ndarray | np.generic)
                    array = np.asarray(value)
                    leaf = session.new_leaf(array.shape, array.dtype.newbyteorder("="))
                    session.bindings[leaf] = array
                    opened.leaves.append(leaf)
                    position[leaf] = number
                    handles.append(traced(leaf, weak=weak))
                elif self._backend in LIBRARIES and is_foreign(value):
                    leaf = session.new_leaf(tuple(value.shape), dtype_of(value))
                    session.bindings[leaf] = as_numpy(value)
                    opened.leaves.append(leaf)
                    position[leaf] = number
                    handles.append(traced(leaf))
                else:
                    handles.append(value)
            args, kwargs = unflatten(spec, handles)
            outs = outputs(self._f(*args, **kwargs))
            guards = list(session.guards)
        if not _same_state(random_before, np.random.get_state(legacy=False)):
            warnings.warn(
                f"{_name(self._f)} drew from np.random while it was traced: the numbers drawn are "
                "frozen in the compiled program. Pass random arrays as arguments instead",
                stacklevel=4,
            )
        program = program_for([*(g.node for g in guards), *outs.nodes])
        sources: list[tuple[bool, Any]] = []
        for leaf in program.plan.leaves:
            if leaf in position:
                sources.append((True, position[leaf]))
            else:
                sources.append((False, _captured(session.bindings, leaf)))
        runs: Callable[..., tuple[Any, ...]] = program
        if self._backend == "numpy":
            runs = program.numpy
        elif self._backend in LIBRARIES:
            runs = library_program(self._backend, [*(g.node for g in guards), *outs.nodes])
        path = _Path(guards, outs, program, runs, sources)
        if self._backend in (None, "native"):
            path.promotion = Promotion(lambda: path.native(flat, spec), HOT)
        return path


def _captured(bindings: dict[Node, Any], leaf: Leaf) -> Any:
    if leaf not in bindings:
        raise TraceError("a traced array of an earlier call is used inside a compiled function")
    return bindings[leaf]


def _try(path: _Path, flat: list[Any]) -> tuple[Any] | None:
    """The path's result if its guards hold; None if a branch goes another way."""
    if not path.guards:
        return (path.outs.rebuild(path.run(flat)),)
    try:
        values = path.run(flat)
    except (np.linalg.LinAlgError, IndexError, FloatingPointError, ValueError):
        return _step_by_step(path, flat)
    count = len(path.guards)
    for guard, value in zip(path.guards, values[:count], strict=True):
        if not _holds(guard, value):
            return None
    return (path.outs.rebuild(values[count:]),)


def _holds(guard: Guard, value: Any) -> bool:
    value = as_numpy(value)
    if isinstance(guard.outcome, bool):
        return bool(np.asarray(value).any()) == guard.outcome
    return bool(np.asarray(value) == guard.outcome)


def _step_by_step(path: _Path, flat: list[Any]) -> tuple[Any] | None:
    """Guards one at a time: an error after a guard that fails belongs to another branch."""
    given = {
        leaf: as_numpy(flat[source]) if argument else source
        for leaf, (argument, source) in zip(path.program.plan.leaves, path.sources, strict=True)
    }
    for guard in path.guards:
        program = program_for([guard.node])
        (value,) = program(*[given[leaf] for leaf in program.plan.leaves])
        if not _holds(guard, value):
            return None
    return (path.outs.rebuild(path.run(flat)[len(path.guards) :]),)


def _same_state(before: Any, after: Any) -> bool:
    return bool(
        before["state"]["pos"] == after["state"]["pos"]
        and np.array_equal(before["state"]["key"], after["state"]["key"])
    )
