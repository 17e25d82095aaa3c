"""The result of ``derive``: gradients, definitions, and how they are laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .notation import Indexed, Notation
from .quantity import Quantity
from .writing import Env, latex_name

__all__ = ["Definition", "Derivation", "Gradient", "Gradients"]


def _subscripted(name: str, letters: tuple[str, ...], notation: Notation, latex: bool) -> str:
    if not isinstance(notation, Indexed) or not letters:
        return name
    inside = ",".join(letters)
    return f"{name}_{{{inside}}}" if latex else f"{name}[{inside}]"


@dataclass(frozen=True)
class Definition:
    """A named part of a formula."""

    name: str
    quantity: Quantity
    notation: Notation
    index_notation: Indexed
    letters: tuple[str, ...]
    shape: tuple[str, ...]

    @property
    def text(self) -> str:
        """The right-hand side."""
        return self.notation.text

    @property
    def latex(self) -> str:
        """The right-hand side in LaTeX."""
        return self.notation.latex

    @property
    def index(self) -> str:
        """The right-hand side in index notation, under ``letters``."""
        return self.index_notation.text

    def left(self, latex: bool = False) -> str:
        """The left-hand side, with its indices where the right-hand side has them."""
        name = latex_name(self.name) if latex else self.name
        return _subscripted(name, self.letters, self.notation, latex)


@dataclass(frozen=True)
class Gradient(Definition):
    """The gradient of one argument (or the pullback of ``G`` to it)."""

    output: str

    def left(self, latex: bool = False) -> str:
        """``∂L/∂w``."""
        if latex:
            over = (
                rf"\frac{{\partial {latex_name(self.output)}}}{{\partial {latex_name(self.name)}}}"
            )
            if isinstance(self.notation, Indexed) and self.letters:
                return rf"\left({over}\right)_{{{','.join(self.letters)}}}"
            return over
        return _subscripted(f"∂{self.output}/∂{self.name}", self.letters, self.notation, False)

    def __str__(self) -> str:
        return f"{self.left()} = {self.text}"


class Gradients(dict[str, Gradient]):
    """Gradients by path (``params.w1``); a last part that is unique (``w1``) works as well."""

    def __missing__(self, key: str) -> Gradient:
        found = [g for path, g in self.items() if path.split(".")[-1] == key]
        if len(found) == 1:
            return found[0]
        raise KeyError(f"{key!r}; there are {', '.join(self)}")


@dataclass
class Derivation:
    """Closed forms of the gradients of a function.

    ``gradients[name]`` has ``.text``, ``.latex``, ``.index`` and ``.shape``; ``definitions`` are
    the named parts that they share, in an order in which they can be computed.  Vectors are
    columns, ``𝟏`` is the column of ones, ``⊙`` and ``⊘`` multiply and divide elementwise,
    functions of matrices are elementwise, ``softmax`` and ``logsumexp`` go along rows.
    """

    function: str
    arguments: tuple[tuple[str, tuple[str, ...]], ...]
    output: str
    value: Definition
    gradients: Gradients
    parts: list[Definition] = field(default_factory=list)
    arriving: tuple[str, tuple[str, ...]] | None = None
    checker: Callable[[], None] | None = field(default=None, repr=False)

    @property
    def definitions(self) -> list[tuple[str, str]]:
        """(name, right-hand side) of the named parts."""
        return [(part.left(), part.text) for part in self.parts]

    def check(self) -> None:
        """Evaluate what is printed at random sizes and values and compare with the derivative.

        Raises :class:`chainrule.DerivativeError`, naming the first formula that is wrong.
        """
        if self.checker is not None:
            self.checker()

    def lines(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """(left, right, shape) of the definitions and gradients, as they are printed."""
        for part in (*self.parts, *self.gradients.values()):
            yield part.left(), part.text, part.shape

    def _head(self) -> str:
        given = ", ".join(
            f"{name} ({', '.join(shape)})" if shape else name for name, shape in self.arguments
        )
        text = f"{self.function}: {given}"
        if self.arriving is not None:
            name, shape = self.arriving
            text += f"; {name} = ∂L/∂{self.value.name} ({', '.join(shape)})"
        return text

    def __str__(self) -> str:
        lines = list(self.lines())
        width = max((len(left) for left, _, _ in lines), default=0)
        return "\n".join(
            [self._head(), *(f"  {left:<{width}} = {right}" for left, right, _ in lines)]
        )

    __repr__ = __str__

    def evaluate(self, env: Env) -> tuple[dict[str, object], dict[str, object]]:
        """The values of what is printed: with definitions by name, and gradients by path."""
        values = dict(env.values)
        result: dict[str, object] = {}
        for part in self.parts:
            values[part.name] = part.notation.value(env._replace(values=values))
        for path, gradient in self.gradients.items():
            result[path] = gradient.notation.value(env._replace(values=values))
        return values, result

    def _repr_latex_(self) -> str:
        rows = [
            rf"{part.left(True)} &= {part.latex}"
            for part in (*self.parts, *self.gradients.values())
        ]
        return r"$$\begin{aligned}" + r" \\ ".join(rows) + r"\end{aligned}$$"
