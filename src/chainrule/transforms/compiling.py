"""compile: tracing is skipped when a program for these shapes and branch outcomes is known."""

from __future__ import annotations

import functools
import inspect
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
from ..lower.tiers import UNCALLED, Promotion
from ..trace.array import TracedArray, traced
from ..trace.session import Guard
from .buffers import donated, targets_given, targets_of, traced_into, written
from .core import Outputs, level, outputs, rolled_up
from .fastroad import NoRoad, native_function
from .first import Argnums, _name, positions
from .trees import flatten, unflatten

__all__ = ["Compiled", "compile"]

BACKENDS = ("numpy", "native", *LIBRARIES)
MAX_PATHS = 64
#: Calls of one path after which it becomes native code.
HOT = 2
_NOT_GIVEN: Any = object()


@dataclass(slots=True)
class _Path:
    """One program: guards and results in one run, valid while the guards keep their outcomes."""

    guards: list[Guard]
    outs: Outputs
    program: Program
    runs: Callable[..., tuple[Any, ...]]
    sources: list[tuple[bool, Any]]  # one entry a program input: (is argument, position or array)
    given: dict[int, int]  # positions of donated arrays, and which results they become
    promotion: Promotion[Any] | None = None
    into: Promotion[Any] | None = None  # where results are written into arrays of the caller's
    direct: bool = True  # native code takes the arguments as they come

    def native(self, flat: list[Any], spec: Any, into: bool = False) -> Any:
        """Native code for the arguments as they come, or else for the program's inputs."""
        self.direct = not self.guards
        if self.direct:
            try:
                return native_function(
                    self.program, self.sources, flat, spec, self.outs, into, self.given
                )
            except NoRoad:
                self.direct = False
        return self.program.native()

    def report(self) -> str:
        """What runs the program."""
        ways = [way for way in (self.promotion, self.into) if way is not None]
        if not ways:
            return 'numpy: backend="numpy"'
        if any(way.made is not None for way in (*ways, self.program.promotion)):
            return "native"
        return f"numpy: {next((w.reason for w in ways if w.reason != UNCALLED), UNCALLED)}"

    def run(self, flat: list[Any]) -> list[Any]:
        values = [flat[source] if given else source for given, source in self.sources]
        if not self.guards:
            return list(self.runs(*values))
        with np.errstate(all="ignore"):
            return list(self.runs(*values))


def compile(
    f: Callable[..., Any], backend: str | None = None, donate_argnums: Argnums = ()
) -> Compiled:
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

    ``g(x, out=buffer)`` writes the results into given arrays (a tree like the result's, of arrays
    in C order of its shapes and dtypes; ``np.empty(())`` for a scalar) and returns them: nothing is
    allocated.  They may overlap the arguments.  Where ``f`` has a parameter ``out`` itself, it
    gets it.

    ``donate_argnums``: the number(s) of arguments that are given up, such as the parameters of an
    optimizer's step.  Each array of the result is written into the first donated array of its shape
    and dtype, which is returned in its place: the old values are gone.

    Raises ValueError for an unknown backend, ImportError where a backend is not installed (it
    names the extra), NotImplementedError for a function that a library does not have.  With
    ``out=`` TypeError for another structure or dtype, ValueError for another shape and for arrays
    that are read-only, not in C order or share memory, all before anything is written.

    >>> import numpy as np, chainrule as cr
    >>> slope = cr.compile(cr.grad(lambda x: np.sum(x**2)))
    >>> slope(np.array([1.0, 2.0]))
    array([2., 4.])
    >>> buffer = np.empty(2)
    >>> slope(np.array([3.0, 4.0]), out=buffer) is buffer, buffer
    (True, array([6., 8.]))
    >>> step = cr.compile(lambda p, g: p - 0.5 * g, donate_argnums=0)
    >>> p = np.array([1.0, 2.0])
    >>> step(p, np.ones(2)) is p, p
    (True, array([0.5, 1.5]))
    """
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: this version has {', '.join(BACKENDS)}")
    reason = (
        available() if backend == "native" else missing(backend) if backend in LIBRARIES else None
    )
    if reason is not None:
        raise ImportError(f'backend "{backend}": {reason}')
    return Compiled(f, backend, donate_argnums)


class Compiled:
    """The result of :func:`compile`; call it like the function.  ``clear()`` forgets programs."""

    def __init__(
        self, f: Callable[..., Any], backend: str | None = None, donate_argnums: Argnums = ()
    ) -> None:
        functools.update_wrapper(self, f)
        self._f = f
        self._backend = backend
        self._donate = donate_argnums
        self._entries: Cache[Any, list[_Path]] = Cache(256)
        self._fast: Callable[..., Any] | None = None
        self._fast_into: Callable[..., Any] | None = None

    def clear(self) -> None:
        """Forget all programs of this function."""
        self._fast = self._fast_into = None
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

    def __call__(self, *args: Any, out: Any = _NOT_GIVEN, **kwargs: Any) -> Any:
        if out is _NOT_GIVEN:
            if self._fast is not None and not kwargs and not debugging():
                found = self._fast(*args)
                if found is not None:
                    return found
            return self._general(args, kwargs, None)
        if self._fast_into is not None and not kwargs and not debugging():
            found = self._fast_into(*args, out)
            if found is not None:
                return found
        if self._has_own_out:
            return self._general(args, {**kwargs, "out": out}, None)
        return self._general(args, kwargs, out)

    @functools.cached_property
    def _has_own_out(self) -> bool:
        """Whether ``out=`` is a parameter of the function (NumPy's own do not matter)."""
        if isinstance(self._f, np.ufunc) or str(self._f.__module__).split(".")[0] == "numpy":
            return False
        try:
            return "out" in inspect.signature(self._f).parameters
        except (TypeError, ValueError):
            return False

    def _general(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        flat, spec = flatten((args, kwargs))
        key_parts: list[Any] = [spec]
        for value in flat:
            kind = type(value)
            if kind is np.ndarray:
                key_parts.append((value.shape, value.dtype))
            elif kind is float or kind is complex:
                key_parts.append(kind)
            elif isinstance(value, TracedArray):
                result = self._f(*args, **kwargs)  # inside another trace: nothing to keep here
                return result if out is None else traced_into(out, result)
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
            found = self._run(path, flat, spec, args, kwargs, out)
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
        found = self._run(path, flat, spec, args, kwargs, out)
        assert found is not None, "a fresh trace contradicts its own branches"
        return found[0]

    def _run(
        self,
        path: _Path,
        flat: list[Any],
        spec: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
    ) -> tuple[Any] | None:
        """The path's result; None if a branch goes another way."""
        found = self._native(path, args, kwargs, out)
        if found is not None:
            return found

        def targets() -> list[Any]:
            if out is not None:
                return targets_of(out, path.outs)
            return targets_given(flat, spec, path.given, len(path.outs.nodes))

        wanted = out is not None or bool(path.given)
        arrays = targets() if wanted and not path.guards else None
        if out is not None and not path.given and not any(path.outs.plain):
            # memory that overlaps: the results are copied
            fresh = self._native(path, args, kwargs, None)
            if fresh is not None:
                written(flatten(fresh[0])[0], arrays or [])
                return (out,)
        values = _try(path, flat)
        if values is None:
            return None
        if wanted:
            values = written(values, targets() if arrays is None else arrays)
        if out is not None and not any(path.outs.plain):
            return (out,)
        return (path.outs.rebuild(values),)

    def _native(
        self, path: _Path, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> tuple[Any] | None:
        """The path's result by its native function, where there is one (yet)."""
        promotion = path.promotion if out is None else path.into
        if promotion is None or debugging():
            return None
        if promotion.made is None:
            if self._backend == "native":
                promotion.work()
            else:
                promotion.tick()
        if promotion.made is None or not path.direct:
            return None
        function = promotion.made.function
        if not kwargs and out is None:
            self._fast = function
        elif not kwargs:
            self._fast_into = function
        named = [kwargs[name] for name in sorted(kwargs)]
        found = function(*args, *named) if out is None else function(*args, *named, out)
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
            if self._backend not in LIBRARIES:
                outs.nodes = rolled_up(session, outs.nodes)
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
        given = self._given(flat, spec, outs)
        path = _Path(guards, outs, program, runs, sources, given)
        if self._backend in (None, "native"):
            like = [_like(value) for value in flat]  # the promotions must not keep the arguments
            size = len(program.plan.steps)
            asked = self._backend == "native" or not program.plan.products_alone
            build = functools.partial(path.native, like, spec) if asked else program.promoted
            path.promotion = Promotion(build, HOT, size)
            path.into = Promotion(lambda: path.native(like, spec, into=True), HOT, size)
        return path

    def _given(self, flat: list[Any], spec: Any, outs: Outputs) -> dict[int, int]:
        """Positions of donated arrays, and the results that are written into them."""
        args, _ = unflatten(spec, range(len(flat)))
        numbers = positions(self._donate, len(args), "donate_argnums")
        return donated(flat, [i for n in numbers for i in flatten(args[n])[0]], outs.nodes)


def _like(value: Any) -> Any:
    """An array's shape and dtype without its memory; other values as they are."""
    if type(value) is np.ndarray:
        return np.broadcast_to(np.empty((), value.dtype), value.shape)
    return value


def _captured(bindings: dict[Node, Any], leaf: Leaf) -> Any:
    if leaf not in bindings:
        raise TraceError("a traced array of an earlier call is used inside a compiled function")
    return bindings[leaf]


def _try(path: _Path, flat: list[Any]) -> list[Any] | None:
    """Values of the results if the path's guards hold; None if a branch goes another way."""
    if not path.guards:
        return path.run(flat)
    try:
        values = path.run(flat)
    except (np.linalg.LinAlgError, IndexError, FloatingPointError, ValueError):
        return _step_by_step(path, flat)
    count = len(path.guards)
    for guard, value in zip(path.guards, values[:count], strict=True):
        if not _holds(guard, value):
            return None
    return values[count:]


def _holds(guard: Guard, value: Any) -> bool:
    value = as_numpy(value)
    if isinstance(guard.outcome, bool):
        return bool(np.asarray(value).any()) == guard.outcome
    return bool(np.asarray(value) == guard.outcome)


def _step_by_step(path: _Path, flat: list[Any]) -> list[Any] | None:
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
    return path.run(flat)[len(path.guards) :]


def _same_state(before: Any, after: Any) -> bool:
    return bool(
        before["state"]["pos"] == after["state"]["pos"]
        and np.array_equal(before["state"]["key"], after["state"]["key"])
    )
