"""``derive``: the gradients of a NumPy function in closed form, checked before they are shown."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from .chain.sweep import pullback
from .errors import DerivativeError
from .expr.build import ones
from .expr.nodes import Leaf, Node
from .formula.algebra import Algebra
from .formula.derivation import Definition, Derivation, Gradient, Gradients
from .formula.evaluate import evaluate
from .formula.indices import Indices
from .formula.matrix import Matrices, NoMatrixForm
from .formula.naming import choose_names, refined
from .formula.notation import Notation
from .formula.quantity import Quantity, ordered
from .formula.shapes import Dims, named_extents, rebuild, walk
from .formula.symbolic import PRIMES, FormulaError, Translator
from .formula.writing import Env
from .lower.calls import CALL_KERNELS
from .lower.elementwise import ELEMENTWISE
from .trace.array import TracedArray, traced
from .transforms.core import level, outputs
from .transforms.first import vjp

__all__ = ["Definition", "Derivation", "Gradient", "derive"]

_PACKAGE = __name__.rpartition(".")[0]


@dataclass
class _Signature:
    """What is known of the arguments before tracing."""

    function: Callable[..., Any]
    trees: dict[str, Any]
    constants: dict[str, Any]
    paths: list[str]
    dims: list[Dims]
    names: list[str]

    def call(self, values: Sequence[Any]) -> Any:
        """The function at values of the leaves, one a path."""
        stream = iter(values)
        given = {name: rebuild(tree, stream) for name, tree in self.trees.items()}
        bound = inspect.signature(self.function).bind_partial()
        bound.arguments.update(given)
        return self.function(*bound.args, **bound.kwargs)

    def sizes(self, dims: Dims, names: Mapping[str, int]) -> tuple[int, ...]:
        """A shape at sizes of the names."""
        return tuple(names[e] if isinstance(e, str) else e for e in dims)


@dataclass
class _Trace:
    """One run of the function on traced arrays."""

    inputs: list[Leaf]
    output: Node
    arriving: Leaf | None
    gradients: list[Node]
    captured: list[tuple[Leaf, Any]]
    locals: dict[Node, str] = field(default_factory=dict)


def derive(
    f: Callable[..., Any],
    /,
    *,
    shapes: Mapping[str, Any] | None = None,
    check: bool = True,
    wrt: str | Sequence[str] | None = None,
    **more_shapes: Any,
) -> Derivation:
    """The gradients of ``f`` in closed form, as a person would write them.

    Parameters: ``shapes`` and ``more_shapes`` give the shape of each parameter by name: ``"N D"``,
    ``(64, "D")``, an array, or for a tree argument a dict of these.  Parameters that have defaults
    and are given no shape are constants.  ``wrt`` names the arguments to differentiate (all).

    Returns a :class:`Derivation`: ``gradients["x"].text``, ``.latex``, ``.index``; leaves of trees
    are named by path, ``gradients["params.w1"]`` (``gradients["w1"]`` where that is unique).  For
    an output that is no scalar they are pullbacks of ``G``, which has the output's shape.

    What is printed has been evaluated at random sizes and values and compared with the derivative,
    unless ``check=False``.

    >>> print(derive(lambda x, w: x @ w, x="N D", w="D M"))
    <lambda>: x (N, D), w (D, M); G = ∂L/∂y (N, M)
      ∂L/∂x = G wᵀ
      ∂L/∂w = xᵀ G
    """
    signature = _signature(f, {**(shapes or {}), **more_shapes})
    wanted = _wanted(signature, wrt)
    first = {n: PRIMES[k][0] for k, n in enumerate(signature.names)}
    second = {n: PRIMES[k][1] for k, n in enumerate(signature.names)}
    ones_, others = (_trace(signature, sizes, wanted) for sizes in (first, second))
    derivation = _Writer(signature, wanted, first, second).run(ones_, others)
    if check:
        derivation.check()
    return derivation


# -- reading the signature ----------------------------------------------------------------------
def _signature(f: Callable[..., Any], shapes: Mapping[str, Any]) -> _Signature:
    parameters = inspect.signature(f).parameters
    unknown = [name for name in shapes if name not in parameters]
    if unknown:
        raise TypeError(
            f"{_name(f)} has no parameter {unknown[0]!r}; it has {', '.join(parameters)}"
        )
    trees: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in shapes:
            trees[name] = shapes[name]
        elif parameter.default is not parameter.empty:
            constants[name] = parameter.default
        elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"give the shape of {name!r}, for example {name}='N D'")
    leaves_ = [leaf for name, tree in trees.items() for leaf in walk(tree, name)]
    dims = [d for _, d in leaves_]
    names = named_extents(dims)
    if len(names) > len(PRIMES):
        raise TypeError(f"{len(names)} named extents are too many; at most {len(PRIMES)}")
    return _Signature(f, trees, constants, [p for p, _ in leaves_], dims, names)


def _wanted(signature: _Signature, wrt: str | Sequence[str] | None) -> list[int]:
    if wrt is None:
        return list(range(len(signature.paths)))
    names = [wrt] if isinstance(wrt, str) else list(wrt)
    for name in names:
        if not any(_under(path, name) for path in signature.paths):
            raise TypeError(f"wrt={name!r}; the arguments are {', '.join(signature.paths)}")
    return [
        k for k, path in enumerate(signature.paths) if any(_under(path, name) for name in names)
    ]


def _under(path: str, name: str) -> bool:
    return path == name or path.startswith((name + ".", name + "["))


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", type(f).__name__)


# -- tracing ------------------------------------------------------------------------------------
def _trace(signature: _Signature, sizes: Mapping[str, int], wanted: list[int]) -> _Trace:
    with level("derive") as (session, opened):
        before, session.symbolic = session.symbolic, True
        try:
            inputs = [
                session.new_leaf(signature.sizes(dims, sizes), np.dtype(float))
                for dims in signature.dims
            ]
            opened.leaves.extend(inputs)
            known = set(session.captured)
            with _Locals(signature.function) as recorder:
                result = signature.call([traced(leaf) for leaf in inputs])
            found = outputs(result)
            if len(found.nodes) != 1:
                raise FormulaError(
                    f"{_name(signature.function)} returned {len(found.nodes)} arrays; "
                    "derive needs a function with one array as its result"
                )
            (output,) = found.nodes
            locals_ = recorder.nodes()
            captured = [
                (leaf, array) for key, (array, leaf) in session.captured.items() if key not in known
            ]
            arriving = session.new_leaf(output.shape, output.dtype) if output.shape else None
            seed = arriving if arriving is not None else ones((), output.dtype)
            sources = [inputs[k] for k in wanted]
            gradients = pullback([output], [seed], sources)
        finally:
            session.symbolic = before
    return _Trace(inputs, output, arriving, gradients, captured, locals_)


class _Locals:
    """The names that user code gives to traced arrays, seen when its functions return."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.code = getattr(inspect.unwrap(function), "__code__", None)
        self.own: dict[str, TracedArray] = {}
        self.helpers: list[tuple[str, TracedArray]] = []

    def __enter__(self) -> _Locals:
        self.before = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.before)

    def _event(self, frame: FrameType, event: str, _: object) -> None:
        if event != "return":
            return
        if frame.f_code is self.code:
            self.own.update(_traced_locals(frame))
            return
        room = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if room not in (_PACKAGE, "numpy", "scipy", "optree") and frame.f_code.co_name[0] != "<":
            self.helpers.extend(_traced_locals(frame).items())

    def nodes(self) -> dict[Node, str]:
        """Names by node: the function's own first, then those of the functions it calls."""
        found: dict[Node, str] = {}
        for name, value in self.own.items():
            found.setdefault(value.node, name)
        inner: dict[str, list[Node]] = {}
        for name, value in self.helpers:
            node = value.node
            if node not in found and node not in inner.setdefault(name, []):
                inner[name].append(node)
        for name, several in inner.items():
            for number, node in enumerate(several, 1):
                label = name if len(several) == 1 else f"{name}{number}"
                if name not in self.own and node not in found:
                    found[node] = label
        return {node: name for node, name in found.items() if not isinstance(node, Leaf)}


def _traced_locals(frame: FrameType) -> dict[str, TracedArray]:
    return {
        name: value
        for name, value in frame.f_locals.items()
        if isinstance(value, TracedArray) and not name.startswith("_")
    }


# -- writing ------------------------------------------------------------------------------------
class _Writer:
    def __init__(
        self,
        signature: _Signature,
        wanted: list[int],
        first: Mapping[str, int],
        second: Mapping[str, int],
    ) -> None:
        self.signature = signature
        self.wanted = wanted
        self.algebra = Algebra()
        self.translator = Translator(self.algebra, first, second)

    def run(self, one: _Trace, other: _Trace) -> Derivation:
        """Translate, simplify, name and write."""
        signature, translator = self.signature, self.translator
        symbols = _short_names(signature.paths)
        taken = set(symbols) | set(signature.names)
        for leaf, symbol in zip(one.inputs, symbols, strict=True):
            translator.symbols[leaf] = symbol
        captured: dict[str, Any] = {}
        translator.arrays = (dict(one.captured), dict(other.captured))
        for number, (leaf, array) in enumerate(one.captured):
            symbol = _captured_name(signature.function, array) or f"c{number}"
            while symbol in taken:
                symbol += "_"
            taken.add(symbol)
            captured[symbol] = array
            translator.symbols[leaf] = symbol
        arriving = _fresh("G", taken)
        if one.arriving is not None:
            taken.add(arriving)
            translator.symbols[one.arriving] = arriving
        translator.labels = {n: s for n, s in one.locals.items() if s not in taken}
        (value,) = translator.roots([one.output], [other.output])
        primal = set(ordered(translator.known.values()))
        roots = translator.roots(one.gradients, other.gradients)
        own = dict(translator.names)
        value_name = "y" if "y" not in taken | set(own.values()) else _fresh("Y", taken)
        if one.arriving is not None and value.children:
            own.setdefault(value, value_name)
        roots, own, primal = refined(roots, own, primal)
        names = choose_names(roots, own, primal, taken)
        indices = Indices(names, taken | set(names.values()))
        matrices = Matrices(names)
        shapes = {q: tuple(map(str, q.shape)) for q in (*names, *roots, value)}

        def written(q: Quantity, top: bool) -> Notation:
            for form in (q, self.algebra.multiplied_out(q)):
                try:
                    return matrices.write(form, top)
                except NoMatrixForm:
                    continue
            return indices.write(q)

        parts = [
            Definition(
                name, q, written(q, True), indices.write(q), indices.letters(q.shape), shapes[q]
            )
            for q, name in names.items()
        ]
        output = _fresh("L", taken | set(names.values()))
        gradients = Gradients()
        for k, q in zip(self.wanted, roots, strict=True):
            gradients[signature.paths[k]] = Gradient(
                symbols[k],
                q,
                written(q, False),
                indices.write(q),
                indices.letters(q.shape),
                shapes[q],
                output,
            )
        derivation = Derivation(
            function=_name(signature.function),
            arguments=tuple(
                (s, tuple(map(str, d))) for s, d in zip(symbols, signature.dims, strict=True)
            ),
            output=output,
            value=Definition(
                value_name if one.arriving is not None else output,
                value,
                written(value, False),
                indices.write(value),
                indices.letters(value.shape),
                shapes[value],
            ),
            gradients=gradients,
            parts=parts,
            arriving=(arriving, shapes[value]) if one.arriving is not None else None,
        )
        derivation.checker = lambda: _check(derivation, signature, self.wanted, symbols, captured)
        return derivation


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "̄" if len(name) == 1 else "_"
    return name


def _short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path where it is unique, else the path."""
    last = [path.rsplit(".", 1)[-1] for path in paths]
    return [s if last.count(s) == 1 else path for s, path in zip(last, paths, strict=True)]


def _captured_name(f: Callable[..., Any], array: Any) -> str | None:
    code = inspect.unwrap(f)
    try:
        known = inspect.getclosurevars(code)
    except TypeError:
        return None
    for name, value in {**known.globals, **known.nonlocals}.items():
        if value is array:
            return name
    return None


# -- checking -----------------------------------------------------------------------------------
def _functions() -> dict[str, Callable[..., Any]]:
    table: dict[str, Callable[..., Any]] = dict(ELEMENTWISE)
    for op, kernel in CALL_KERNELS.items():
        table[op] = lambda *args, _kernel=kernel: _kernel(*args)[0]
        for position in (1, 2):
            table[f"{op}:{position}"] = lambda *args, _kernel=kernel, _k=position: _kernel(*args)[
                _k
            ]
    table["logabsdet"] = lambda a: np.linalg.slogdet(a)[1]
    table["signdet"] = lambda a: np.linalg.slogdet(a)[0]
    table["softmax"] = _softmax
    table["logsumexp"] = lambda z: np.log(np.exp(z).sum(axis=_rows(z), keepdims=True))
    return table


def _rows(z: Any) -> int:
    return 0 if z.shape[1] == 1 else 1


def _softmax(z: Any) -> Any:
    e = np.exp(z)
    return e / e.sum(axis=_rows(z), keepdims=True)


def _samples(shape: tuple[int, ...], rng: np.random.Generator, attempt: int) -> Any:
    """Random values: normal, then positive; square matrices positive definite from the start."""
    value = rng.normal(size=shape) if attempt == 0 else rng.uniform(0.2, 0.8, size=shape)
    if len(shape) >= 2 and shape[-1] == shape[-2]:
        value = value @ np.swapaxes(value, -1, -2) / shape[-1] + np.eye(shape[-1])
        value += 0.05 * rng.normal(size=shape) if attempt == 0 else 0.0
    return value


def _check(
    derivation: Derivation,
    signature: _Signature,
    wanted: Sequence[int],
    symbols: Sequence[str],
    captured: Mapping[str, Any],
) -> None:
    rng = np.random.default_rng(0)
    functions = _functions()
    passed = 0
    for pool in ((3, 5, 4, 6, 7, 2), (5, 2, 6, 3, 4, 7), (2, 7, 3, 5, 4, 6)):
        if passed == 2:
            break
        sizes = dict(zip(signature.names, itertools.cycle(pool), strict=False))
        for attempt in range(3):
            values = [_samples(signature.sizes(d, sizes), rng, attempt) for d in signature.dims]
            try:
                with np.errstate(all="ignore"):
                    expected, cotangent = _numeric(signature, values, wanted, rng)
            except np.linalg.LinAlgError:
                continue
            if all(np.isfinite(e).all() for e in expected):
                break
        else:
            continue
        passed += 1
        known = dict(zip(symbols, values, strict=True)) | dict(captured)
        if derivation.arriving is not None:
            known[derivation.arriving[0]] = cotangent
        env = Env(known, sizes, functions)
        with np.errstate(all="ignore"):
            _compare(derivation, env, [signature.paths[k] for k in wanted], expected)
    if not passed:
        raise DerivativeError(
            f"{derivation.function} has no finite derivative at random values, so its formula "
            "cannot be checked; pass check=False to see it unchecked"
        )


def _numeric(
    signature: _Signature, values: Sequence[Any], wanted: Sequence[int], rng: np.random.Generator
) -> tuple[list[Any], Any]:
    """The gradients by number, at a random cotangent."""

    def of_wanted(*some: Any) -> Any:
        whole = list(values)
        for k, value in zip(wanted, some, strict=True):
            whole[k] = value
        return signature.call(whole)

    result, back = vjp(of_wanted, *(values[k] for k in wanted))
    cotangent = rng.normal(size=np.shape(result)) if np.ndim(result) else np.asarray(1.0)
    return list(back(cotangent)), cotangent


def _compare(derivation: Derivation, env: Env, paths: list[str], expected: list[Any]) -> None:
    known, results = derivation.evaluate(env)
    inner = env._replace(values=known)
    names = {part.quantity: part.name for part in derivation.parts}
    for path, value in zip(paths, expected, strict=True):
        gradient = derivation.gradients[path]
        written = np.asarray(results[path])
        wide = value[:, None] if value.ndim == 1 and written.ndim == 2 else value
        by_index = evaluate(gradient.quantity, inner, names)
        for form, found, target in (
            (gradient.text, written, wide),
            (gradient.index, by_index, value),
        ):
            if found.shape == () or found.size == 1:
                found = np.broadcast_to(found.reshape(()), target.shape)
            if found.shape != target.shape:
                raise DerivativeError(
                    f"the formula {gradient.left()} = {form} has shape {found.shape} at sizes "
                    f"{dict(env.sizes)}, the derivative {target.shape}; please report it"
                )
            scale = max(float(np.max(np.abs(target), initial=0.0)), 1e-6)
            error = float(np.max(np.abs(found - target), initial=0.0)) / scale
            if not error < 1e-6:
                raise DerivativeError(
                    f"the formula {gradient.left()} = {form} is off by {error:.2g} (relative) at "
                    f"sizes {dict(env.sizes)}; please report it"
                )
