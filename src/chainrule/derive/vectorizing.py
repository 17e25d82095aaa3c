"""``vectorize``: a function of loops over elements as the tensor function that it is."""

from __future__ import annotations

import html
import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DerivativeError
from ..formula.derivation import Definition
from ..formula.shapes import values_of
from ..formula.source import emit
from .emission import program_of
from .signature import Signature, function_name, read_signature
from .writer import Options, Writer
from .writing import written

__all__ = ["Vectorized", "vectorize"]


class Vectorized:
    """A function in vectorized form: callable, with its formula and its code.

    ========== ==================================================================================
    ``source`` stand-alone NumPy code, a function of the same name
    ``text``   the closed form on one line; ``latex`` and ``index`` (index notation) likewise
    ``shape``  of the result, in the names
    ========== ==================================================================================
    """

    def __init__(self, writer: Writer, signature: Signature) -> None:
        self._writer = writer
        self._signature = signature
        self.__name__ = function_name(signature.function)
        self.__wrapped__ = signature.function
        self.value: Definition = writer.derivation.value
        self.source = self.code()
        space: dict[str, Any] = {"__name__": "vectorized"}
        exec(compile(self.source, f"<vectorized {self.__name__}>", "exec"), space)
        self._run: Callable[..., Any] = space[self._called]

    @property
    def _called(self) -> str:
        name = self.__name__
        taken = {symbol for symbol, _ in self._writer.derivation.arguments}
        fits = name.isidentifier() and not keyword.iskeyword(name) and name not in taken
        return name if fits and name not in ("np", "special", "linalg") else "forward"

    @property
    def text(self) -> str:
        """The closed form, on one line."""
        return self.value.text

    @property
    def latex(self) -> str:
        """The closed form in LaTeX."""
        return self.value.latex

    @property
    def index(self) -> str:
        """The closed form in index notation."""
        return self.value.index

    @property
    def shape(self) -> tuple[str, ...]:
        """The shape of the result, in the names that arguments have."""
        return self.value.shape

    def code(self, backend: str = "numpy") -> str:
        """The function as stand-alone code for ``"numpy"``, ``"jax"`` or ``"torch"``."""
        program = program_of(self._writer, ("forward",))
        text = emit(program, backend, "function", ("forward",))
        return text.replace("def forward(", f"def {self._called}(", 1)

    # -- calling ------------------------------------------------------------------------------
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value at arrays of any sizes that fit the shapes.

        Raises ValueError where a shape does not fit, TypeError where arguments are missing or a
        parameter that was a constant is given another value.
        """
        return self._run(*self._leaves(args, kwargs))

    def _leaves(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        signature = self._signature
        bound = inspect.signature(signature.function).bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in signature.constants and not _same(value, signature.constants[name]):
                raise TypeError(
                    f"{name} was the constant {signature.constants[name]!r} when "
                    f"{self.__name__} was vectorized; give its shape to make it an argument"
                )
        values: list[Any] = []
        for name, tree in signature.trees.items():
            values.extend(values_of(tree, bound.arguments[name]))
        values = [v if hasattr(v, "shape") else np.asarray(v) for v in values]
        self._fits(values)
        return values

    def _fits(self, values: Sequence[Any]) -> None:
        sizes: dict[str, tuple[Any, str]] = {}
        for path, dims, value in zip(
            self._signature.paths, self._signature.dims, values, strict=True
        ):
            given = f"({', '.join(map(str, dims))})"
            if len(value.shape) != len(dims):
                raise ValueError(f"{path} has the shape {value.shape}, where {given} is expected")
            for name, size in zip(dims, value.shape, strict=True):
                known: Any = name
                where = path
                if isinstance(name, str):
                    known, where = sizes.setdefault(name, (size, path))
                if size != known:
                    because = f": {name} is {known} in {where}" if where != path else ""
                    raise ValueError(
                        f"{path} has the shape {value.shape}, where {given} is expected{because}"
                    )

    def check(self, backends: Sequence[str] = ("numpy",)) -> None:
        """Compare the code with the loops at random sizes and values; raises DerivativeError."""
        writer = self._writer
        checker = writer.checker()

        def measure(point: Any) -> list[Any]:
            return [np.asarray(checker.signature.call(point.values))]

        for backend in backends:
            space: dict[str, Any] = {"__name__": "vectorized"}
            exec(compile(self.code(backend), f"<{self.__name__} for {backend}>", "exec"), space)
            for point, (wanted,) in checker.points(measure):
                if not _whole(self.value, point.sizes):
                    continue
                found = np.asarray(space[self._called](*point.values))
                scale = max(float(np.max(np.abs(wanted), initial=0.0)), 1e-6)
                fits = found.shape == wanted.shape
                if not fits or not np.abs(found - wanted).max(initial=0.0) / scale < 1e-6:
                    raise DerivativeError(
                        f"the {backend} code of {self.__name__} disagrees with its loops at sizes "
                        f"{point.sizes}; please report it"
                    )

    # -- display ------------------------------------------------------------------------------
    def __repr__(self) -> str:
        given = ", ".join(
            f"{name} ({', '.join(shape)})" if shape else name
            for name, shape in self._writer.derivation.arguments
        )
        return f"{self.__name__}: {given}\n  {self.value.left()} = {self.text}\n\n{self.source}"

    __str__ = __repr__

    def _repr_latex_(self) -> str:
        return f"$${self.value.left(True)} = {self.latex}$$"

    def _repr_html_(self) -> str:
        return (
            f"<div>{self.value.mathml}</div>"
            f'<pre><code class="language-python">{html.escape(self.source)}</code></pre>'
        )

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.syntax import Syntax
        from rich.text import Text

        head = repr(self).partition("\n\n")[0]
        return Group(Text(head), Syntax(self.source, "python", background_color="default"))


def vectorize(
    f: Callable[..., Any],
    /,
    *,
    shapes: Mapping[str, Any] | None = None,
    check: bool = True,
    **more_shapes: Any,
) -> Vectorized:
    """A function that loops over elements as the tensor function that it is.

    ``f`` is written in plain Python and NumPy, element by element: loops over indices, ``s += …``,
    ``y[i, j] = …`` into ``np.zeros``, lists of numbers, ``math.exp``, ``max``.  Shapes are given as
    for :func:`chainrule.derive`, by name: ``x="N D"``.  The loops are traced at small sizes, what
    they compute is generalized to all sizes, and the code is compared with them at further ones
    (unless ``check=False``).

    Returns a :class:`Vectorized`: callable on arrays, with ``.source``, ``.text``, ``.latex``.
    Raises FormulaError (a TypeError) where an index pattern has no tensor form,
    with the line that it stands in.

    >>> import numpy as np
    >>> def layer(x, w):
    ...     y = np.zeros((x.shape[0], w.shape[1]))
    ...     for i in range(x.shape[0]):
    ...         for j in range(w.shape[1]):
    ...             for k in range(x.shape[1]):
    ...                 y[i, j] += x[i, k] * w[k, j]
    ...     return y
    >>> fast = vectorize(layer, x="N D", w="D M")
    >>> fast.text
    'x w'
    >>> fast(np.ones((2, 3)), np.ones((3, 1)))
    array([[3.],
           [3.]])
    """
    signature = read_signature(f, {**(shapes or {}), **more_shapes})
    writer = written(signature, (), Options(check=False, conditions=False))
    result = Vectorized(writer, signature)
    if check:
        result.check()
    return result


def _whole(value: Definition, sizes: Mapping[str, int]) -> bool:
    return all(e.value(sizes).is_integer() for e in value.quantity.shape)


def _same(value: Any, constant: Any) -> bool:
    return value is constant or bool(np.all(np.asarray(value == constant)))
