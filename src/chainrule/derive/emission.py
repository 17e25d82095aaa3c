"""What of a derivation becomes code, and that the code computes what it should."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DerivativeError
from ..formula.adjoints import spelled
from ..formula.derivation import Definition
from ..formula.matrix import Matrices, NoMatrixForm
from ..formula.quantity import Num, Quantity, Sym, ordered
from ..formula.source import Named, Program, emit
from ..lower.libraries import LIBRARIES, missing
from ..transforms.first import vjp

if TYPE_CHECKING:
    from .checking import Checker, Point
    from .writer import Writer

__all__ = ["check_emitted", "program_of"]


def program_of(writer: Writer, parts: Sequence[str]) -> Program:
    """The functions asked for, as quantities with names."""
    derivation = writer.derivation
    definitions: list[Definition] = list(derivation.parts)
    jacobians: list[Named] = []
    hessians: list[list[Named]] = []
    if "jacobian" in parts:
        forms = derivation.jacobians
        definitions += forms.parts
        for path, form in forms.items():
            symbol = derivation.gradients[path].name
            jacobians.append(_named(writer, f"J_{symbol}", form))
    if "hessian" in parts:
        second = derivation.hessians
        definitions += second.parts
        paths = list(derivation.gradients)
        for first in paths:
            row = []
            for other in paths:
                a, b = (derivation.gradients[p].name for p in (first, other))
                row.append(
                    _named(writer, f"H_{a}" if a == b else f"H_{a}_{b}", second[first, other])
                )
            hessians.append(row)
    gradients = [
        _named(writer, f"d{g.name}", g, like=g.name) for g in derivation.gradients.values()
    ]
    shared = [_named(writer, spelled(d.name), d) for d in definitions]
    value = _named(writer, derivation.value.name, derivation.value)
    return Program(
        function=derivation.function,
        arguments=derivation.arguments,
        value=value,
        parts=[*shared, *_locals(writer, [*shared, value])],
        gradients=gradients,
        jacobians=jacobians,
        hessians=hessians,
        arriving=derivation.arriving,
        constants=writer.captured,
        denominator=derivation.layout == "denominator",
        header=_header(derivation.function, parts, derivation.symmetric),
        condition=derivation.condition,
    )


def _header(function: str, parts: Sequence[str], symmetric: Iterable[str]) -> str:
    words = {"backward": "backward pass", "jacobian": "Jacobian", "hessian": "Hessian"}
    found = [words[p] for p in parts if p in words]
    text = "A function" if function.startswith("<") else f"The function {function}"
    names = ", ".join(sorted(symmetric))
    end = f", for symmetric {names}." if names else "."
    if not found:
        return text + end
    *head, last = found
    return (
        f"{text}, and its {', '.join(head)} and {last}{end}"
        if head
        else f"{text}, and its {last}{end}"
    )


def _named(writer: Writer, name: str, form: Definition, like: str | None = None) -> Named:
    return Named(
        name, _cheaper(writer, form.quantity), f"{form.left()} = {form.text}", form.shape, like
    )


def _cheaper(writer: Writer, q: Quantity) -> Quantity:
    """Multiplied out where only that has a matrix form: ``diag(G 𝟏) X − G Y``, no (N, M, D)."""
    if q in writer.names:
        return q
    matrices = Matrices(writer.names)
    for form in (q, writer.algebra.multiplied_out(q)):
        try:
            matrices.write(form)
        except NoMatrixForm:
            continue
        return form
    return q


def _locals(writer: Writer, known: Iterable[Named]) -> list[Named]:
    """What the function itself gives names to on the way to its value."""
    taken = {n.quantity for n in known}
    inside = ordered([writer.value])
    names = {q: writer.local_names[q] for q in inside if q in writer.local_names}
    return [
        Named(name, q, "", tuple(map(str, q.shape)))
        for q, name in names.items()
        if q not in taken and not isinstance(q, Sym | Num)
    ]


# -- checking -------------------------------------------------------------------------------------
def _converter(backend: str) -> Callable[[Any], Any]:
    """NumPy arrays as the backend's, without leaving its default precision changed."""
    if backend == "numpy":
        return np.asarray
    module = importlib.import_module("torch" if backend == "torch" else "jax.numpy")
    convert: Callable[[Any], Any] = module.as_tensor if backend == "torch" else module.asarray
    return convert


def _running(source: str, backend: str) -> Mapping[str, Any]:
    namespace: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(source, f"<emitted {backend} code>", "exec"), namespace)
    return namespace


class _Precise:
    """JAX's 64-bit numbers while it is open; nothing for other backends."""

    def __init__(self, backend: str) -> None:
        self.context: Any = None
        if backend == "jax":
            jax = importlib.import_module("jax")
            self.context = jax.enable_x64(True)

    def __enter__(self) -> None:
        if self.context is not None:
            self.context.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self.context is not None:
            self.context.__exit__(*error)


def check_emitted(checker: Checker, program: Program, backend: str, wanted: Sequence[int]) -> None:
    """The emitted code of one backend, at random sizes and values.

    Raises DerivativeError that names the function and by how much it is off.
    """
    reason = missing(backend) if backend in LIBRARIES else None
    if reason is not None:
        raise ImportError(f"the {backend} code cannot be run: {reason}")
    functions = _running(emit(program, backend, "function", ("forward", "backward")), backend)
    convert = _converter(backend)
    rng = np.random.default_rng(3)

    def measure(point: Point) -> list[Any]:
        f = checker.function(point, wanted)
        result, back = vjp(f, *(point.values[k] for k in wanted))
        shape = np.shape(result)
        cotangent = rng.normal(size=shape) if shape else np.asarray(1.0)
        return [cotangent, result, *back(cotangent)]

    with _Precise(backend):
        for point, (cotangent, value, *expected) in checker.points(measure):
            values = [convert(v) for v in point.values]
            given = [convert(cotangent)] if program.arriving is not None else []
            with np.errstate(all="ignore"):
                found = functions["backward"](*values, *given)
                results = [functions["forward"](*values), *found]
            names = ["forward", *(f"backward, {g.formula}" for g in program.gradients)]
            for name, got, wish in zip(names, results, [value, *expected], strict=True):
                _compare(f"{backend} code: {name}", np.asarray(got), np.asarray(wish), point.sizes)


def _compare(what: str, found: Any, wanted: Any, sizes: Mapping[str, int]) -> None:
    if found.shape != wanted.shape:
        raise DerivativeError(
            f"the {what} has shape {found.shape} at sizes {dict(sizes)}, not {wanted.shape}; "
            "please report it"
        )
    scale = max(float(np.max(np.abs(wanted), initial=0.0)), 1e-6)
    error = float(np.max(np.abs(found - wanted), initial=0.0)) / scale
    if not error < 1e-6:
        raise DerivativeError(
            f"the {what} is off by {error:.2g} (relative) at sizes {dict(sizes)}; please report it"
        )
