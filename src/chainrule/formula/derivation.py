"""The result of ``derive``: gradients, Jacobians, definitions, and how they are laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from ..expr.extents import Extent
from .costs import polynomial
from .display import equations
from .mathml import mathml
from .notation import Indexed, Notation
from .quantity import Quantity
from .smallcase import SmallCase
from .steps import Steps
from .symbols import Meaning, meanings
from .writing import Env, latex_name, width_of

__all__ = [
    "Convention",
    "Definition",
    "Derivation",
    "Derivative",
    "Forms",
    "Gradient",
    "Gradients",
    "Hessians",
    "JacobianForm",
    "Layout",
]

Layout: TypeAlias = Literal["numerator", "denominator"]
Convention: TypeAlias = Literal["column", "row"]


def _at(name: str, letters: Sequence[str], latex: bool) -> str:
    """A name with indices."""
    if not letters:
        return name
    inside = ",".join(letters)
    if latex and "_" in name and not name.startswith("\\left("):
        name = f"({name})"
    return f"{name}_{{{inside}}}" if latex else f"{name}[{inside}]"


@dataclass(frozen=True)
class Definition:
    """A named part of a formula.

    ``cost`` is the number of flops once all other definitions are known, ``adjoint`` says of what
    it is the adjoint, if it is one: ``P̄ = ∂L/∂P``.
    """

    name: str
    quantity: Quantity
    notation: Notation
    index_notation: Indexed
    letters: tuple[str, ...]
    shape: tuple[str, ...]
    cost: Extent
    extents: tuple[str, ...]
    adjoint: Meaning | None = field(default=None, kw_only=True)

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

    @property
    def mathml(self) -> str:
        """The right-hand side as a MathML element."""
        return mathml(self.text)

    @property
    def equation(self) -> str:
        """Both sides as one MathML element."""
        return mathml(self.left(), self.text)

    @property
    def flops(self) -> str:
        """The cost of the right-hand side in the names of extents, definitions being known."""
        return polynomial(self.cost, self.extents)

    @property
    def _indices(self) -> tuple[str, ...]:
        return self.letters if isinstance(self.notation, Indexed) else ()

    def left(self, latex: bool = False) -> str:
        """The left-hand side, with its indices where the right-hand side has them."""
        return _at(latex_name(self.name) if latex else self.name, self._indices, latex)

    def __str__(self) -> str:
        return f"{self.left()} = {self.text}"

    def _repr_html_(self) -> str:
        return equations((self,))


@dataclass(frozen=True)
class Gradient(Definition):
    """The gradient of one argument (or the pullback of ``G`` to it).

    ``structure`` is that of the Jacobian that ``G`` is multiplied by (the gradient itself where
    the function is scalar); the Jacobians are derived when it is first asked for.
    """

    output: str
    _structure: Callable[[], str] = field(repr=False, compare=False)

    @property
    def structure(self) -> str:
        """The structure of the argument's Jacobian, as in ``jacobians[name].structure``."""
        return self._structure()

    def left(self, latex: bool = False) -> str:
        """``∂L/∂w``."""
        if not latex:
            return _at(f"∂{self.output}/∂{self.name}", self._indices, False)
        over = rf"\frac{{\partial {latex_name(self.output)}}}{{\partial {latex_name(self.name)}}}"
        return _at(rf"\left({over}\right)", self._indices, True) if self._indices else over

    __str__ = Definition.__str__


@dataclass(frozen=True)
class JacobianForm(Definition):
    """A generalized Jacobian in closed form; a Hessian is one of a gradient.

    ``shape`` is out + in (in + out in denominator layout).  Where the groups have more than one
    axis each, matrix notation speaks of linearized tensors: ``∂vec(y)/∂vec(x)``.  ``structure``
    is that of :class:`chainrule.Jacobian`, ``stored`` the number of elements it keeps.
    """

    of: tuple[str, ...]
    lead: int
    structure: str
    stored: Extent
    layout: Layout

    def left(self, latex: bool = False) -> str:
        """``∂y/∂x``, ``∂vec(y)/∂vec(x)``, ``∂y[n,m]/∂x[i,d]``, ``∂²L/∂x∂w``."""
        over, below = self.of[0], [*self.of[1:], self.name]
        if latex:
            over, below = latex_name(over), [latex_name(b) for b in below]
        lead = self.lead if self.layout == "numerator" else len(self.shape) - self.lead
        groups = [lead, len(self.shape) - lead]
        if len(below) == 2:
            groups = [0, *groups]
        names = [over, *below]
        if self._indices:
            letters = self.letters
            if self.layout == "denominator":
                letters = (*letters[self.lead :], *letters[: self.lead])
            stream = iter(letters)
            names = [
                _at(n, [next(stream) for _ in range(g)], latex)
                for n, g in zip(names, groups, strict=True)
            ]
        elif all(groups[-2:]) and len(self.shape) > 2:
            vec = r"\operatorname{vec}" if latex else "vec"
            names = [f"{vec}({n})" if g > 1 else n for n, g in zip(names, groups, strict=True)]
        d = r"\partial " if latex else "∂"
        square = "^2" if latex else "²"
        mark = square if len(below) == 2 else ""
        top = f"{d.strip()}{mark}{' ' if latex else ''}{names[0]}"
        if len(names) == 3 and names[1] == names[2]:
            names = [over, names[1] + square]
        bottom = (r" \, " if latex else "").join(f"{d}{n}" for n in names[1:])
        return rf"\frac{{{top}}}{{{bottom}}}" if latex else f"{top}/{bottom}"

    __str__ = Definition.__str__


Key = TypeVar("Key")
Derivative = TypeVar("Derivative", bound=Definition)


class _Printed(dict[Key, Derivative], Generic[Key, Derivative]):
    """Closed forms by key, as they are printed: the parts that they use first.

    ``parts`` are the definitions they use beyond those of the gradients, ``note`` says in which
    layout and convention they are written.
    """

    parts: tuple[Definition, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        head = [f"({self.note})"] if self.note else []
        rows: list[Definition] = [*self.parts, *self.values()]
        return "\n".join([*head, *map(str, rows), *(m.text for m in meanings(rows))])

    def _repr_html_(self) -> str:
        rows: list[Definition] = [*self.parts, *self.values()]
        return equations(rows, foot=[m.text for m in meanings(rows)])


class Forms(_Printed[str, Derivative]):
    """Closed forms by path (``params.w1``); a last part that is unique (``w1``) works as well."""

    def __missing__(self, key: str) -> Derivative:
        found = [g for path, g in self.items() if path.split(".")[-1] == key]
        if len(found) == 1:
            return found[0]
        raise KeyError(f"{key!r}; there are {', '.join(self)}")


class Gradients(Forms[Gradient]):
    """Gradients by path."""


class Hessians(_Printed[tuple[str, str], JacobianForm]):
    """Second derivatives by pairs of paths; ``hessians["x"]`` is ``hessians["x", "x"]``."""

    def __missing__(self, key: str | tuple[str, str]) -> JacobianForm:
        pair = (key, key) if isinstance(key, str) else key
        found = [
            form
            for paths, form in self.items()
            if all(w in (p, p.split(".")[-1]) for w, p in zip(pair, paths, strict=True))
        ]
        if len(found) == 1:
            return found[0]
        raise KeyError(f"{key!r}; there are {', '.join(map(str, self))}")


class Author(Protocol):
    """Who can write more about a derivation, when it is asked for."""

    def check(self, backends: Sequence[str] = ()) -> None: ...
    def source(self, backend: str, style: str, parts: Sequence[str]) -> str: ...
    def jacobians(self) -> Forms[JacobianForm]: ...
    def hessians(self) -> Hessians: ...
    def steps(self) -> Steps: ...
    def small_case(self, sizes: Mapping[str, int]) -> SmallCase: ...


@dataclass
class Derivation:
    """Closed forms of the derivatives of a function.

    ``gradients[name]``, ``jacobians[name]`` and (scalar functions) ``hessians[name]`` have
    ``.text``, ``.latex``, ``.mathml``, ``.index``, ``.shape``, ``.structure`` and ``.flops``;
    ``definitions`` are the named parts that they share, in an order in which they can be computed.
    Vectors are columns (rows in the row convention), ``𝟏`` is the vector of ones, ``⊙`` and ``⊘``
    multiply and divide elementwise, functions of matrices are elementwise, ``softmax`` and
    ``logsumexp`` go along rows.  Gradients have the shape of their argument in every layout.  Of
    the arguments those in ``symmetric`` are symmetric matrices.
    """

    function: str
    arguments: tuple[tuple[str, tuple[str, ...]], ...]
    output: str
    value: Definition
    gradients: Gradients
    parts: list[Definition] = field(default_factory=list)
    arriving: tuple[str, tuple[str, ...]] | None = None
    layout: Layout = "numerator"
    convention: Convention = "column"
    condition: str = ""
    symmetric: frozenset[str] = frozenset()
    author: Author | None = field(default=None, repr=False)

    @property
    def definitions(self) -> list[tuple[str, str]]:
        """(name, right-hand side) of the named parts."""
        return [(part.left(), part.text) for part in self.parts]

    @cached_property
    def jacobians(self) -> Forms[JacobianForm]:
        """The Jacobian by each argument, made (and checked) when first asked for.

        >>> import chainrule as cr
        >>> d = cr.derive(lambda x, w: x @ w, x="N D", w="D M")
        >>> J = d.jacobians["x"]
        >>> print(J, J.index, J.structure, sep="; ")
        ∂vec(y)/∂vec(x) = wᵀ ⊗ I; w[d,m] δ[n,i]; cb->ab|ac
        """
        return self._asked().jacobians()

    @cached_property
    def hessians(self) -> Hessians:
        """The second derivatives of a scalar function by each pair of arguments.

        >>> import chainrule as cr
        >>> print(cr.derive(lambda A, x: x @ A @ x, A="N N", x="N").hessians["x"].text)
        A + Aᵀ
        """
        return self._asked().hessians()

    @property
    def hessian(self) -> JacobianForm:
        """The Hessian of a scalar function of one argument (of the one in ``wrt``)."""
        if len(self.gradients) != 1 and not self.value.shape:
            names = ", ".join(self.gradients)
            raise AttributeError(
                f"there are several arguments ({names}): take .hessians[...] by name, or derive "
                "with wrt= one of them"
            )
        return next(iter(self.hessians.values()))

    @cached_property
    def steps(self) -> Steps:
        """How the gradients come about: a list that prints itself.

        The function, one operation at a time; local Jacobians with their shapes; the chain rule
        from the output back; each simplification with the name of its rewrite; the closed forms;
        the cost of the dense Jacobian and of the form.  Each step has ``.title``, ``.text`` and
        ``.latex``.

        >>> import chainrule as cr
        >>> steps = cr.derive(lambda W, x: W @ x, W="T N", x="N").steps
        >>> print(steps[1].text)
        ∂y/∂vec(W) = xᵀ ⊗ I
        ∂y[t]/∂W[i,n] = x[n] δ[t,i]
        ∂y/∂x = W
        ∂y[t]/∂x[n] = W[t,n]
        ∂y/∂W: (T) by (T × N), structure b->a|ab; ∂y/∂x: (T) by (N), structure ab->a|b
        """
        return self._asked().steps()

    def small_case(self, **sizes: int) -> SmallCase:
        """The same derivation in explicit matrices, element by element, as one does on paper.

        ``sizes`` give the names small values (``N=1, D=2, M=3``; by default 2 and 3).  Axes of
        extent 1 get no index.  The elements of the value are differentiated one by one by the
        rules of school and compared with the general formula: symbolically, or at random values.

        Raises TypeError for names that are none, ValueError where the case is not small.

        >>> import chainrule as cr
        >>> case = cr.derive(lambda W, x: W @ x, W="T N", x="N").small_case(T=2, N=2)
        >>> print(case.sections[1])
        The function, element by element
          y₁ = W₁₁ x₁ + W₁₂ x₂
          y₂ = W₂₁ x₁ + W₂₂ x₂
        >>> case.agreement
        {'W': 'symbolically', 'x': 'symbolically'}
        """
        return self._asked().small_case(sizes)

    def _asked(self) -> Author:
        if self.author is None:
            raise ValueError("this derivation stands alone: its function is not known")
        return self.author

    def check(self, backends: str | Sequence[str] = ()) -> None:
        """Evaluate what is printed at random sizes and values and compare with the derivative.

        ``backends``: also run the emitted code of "numpy", "jax", "torch" (in float64), which
        must be installed.  Raises :class:`chainrule.DerivativeError`, naming the first formula
        or function that is wrong, ImportError where a backend is missing.
        """
        if self.author is not None:
            self.author.check((backends,) if isinstance(backends, str) else tuple(backends))

    def source(
        self,
        backend: str = "numpy",
        style: str = "function",
        parts: str | Sequence[str] = ("forward", "backward"),
    ) -> str:
        """Stand-alone code: ``forward`` and ``backward``, importing nothing of chainrule.

        ``backend``: "numpy", "jax" or "torch".  ``style="autograd"`` gives a ``jax.custom_vjp``
        or a ``torch.autograd.Function``, behind a ``forward`` that can be differentiated.
        ``parts`` may also name "jacobian" and "hessian" (of scalar functions): functions that
        return a tuple of dense arrays of shape out + in, a tuple of rows of blocks in + in.

        ``forward`` takes the arguments (leaves of trees one by one), ``backward`` also the
        gradient ``G`` of the result unless that is a number, and returns a tuple in the order of
        the arguments that were derived.  The result of a float32 call is float32.  Arrays that
        the function captures are written into the code.

        Raises ValueError for unknown names, TypeError where an operation has no counterpart in
        the backend or a captured array is too large to be written.

        >>> import chainrule as cr
        >>> print(cr.derive(lambda x, w: x @ w, x="N D", w="D M").source())
        \"\"\"A function, and its backward pass.\"\"\"
        <BLANKLINE>
        <BLANKLINE>
        def forward(x, w):
            \"\"\"The value y, of shape (N, M).\"\"\"
            return x @ w  # y = x w   (N, M)
        <BLANKLINE>
        <BLANKLINE>
        def backward(x, w, G):
            \"\"\"The gradients of L by x, w, given G = ∂L/∂y.\"\"\"
            dx = G @ w.T  # ∂L/∂x = G wᵀ   (N, D)
            dw = x.T @ G  # ∂L/∂w = xᵀ G   (D, M)
            return dx, dw
        <BLANKLINE>
        """
        names = (parts,) if isinstance(parts, str) else tuple(parts)
        return self._asked().source(backend, style, names)

    def lines(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """(left, right, shape) of the definitions and gradients, as they are printed."""
        for part in (*self.parts, *self.gradients.values()):
            yield part.left(), part.text, part.shape

    @property
    def given(self) -> str:
        """What a formula speaks of: `x (N, D), w (D, M); G = ∂L/∂y (N, M)`."""
        text = ", ".join(
            (f"{name} ({', '.join(shape)})" if shape else name)
            + (" symmetric" if name in self.symmetric else "")
            for name, shape in self.arguments
        )
        if self.arriving is not None:
            name, shape = self.arriving
            text += f"; {name} = ∂{self.output}/∂{self.value.name} ({', '.join(shape)})"
        return text

    def _head(self) -> str:
        text = f"{self.function}: {self.given}"
        if self.layout != "numerator":
            text += f"; {self.layout} layout"
        if self.convention != "column":
            text += f"; {self.convention} convention"
        if self.condition:
            text += f"; for {self.condition}"
        return text

    def __str__(self) -> str:
        lines = list(self.lines())
        width = max((width_of(left) for left, _, _ in lines), default=0)
        body = [f"{left}{' ' * (width - width_of(left))} = {right}" for left, right, _ in lines]
        body += [meaning.text for meaning in meanings((*self.parts, *self.gradients.values()))]
        return "\n  ".join([self._head(), *body])

    __repr__ = __str__

    def evaluate(self, env: Env) -> tuple[dict[str, object], dict[str, object]]:
        """The values of what is printed: with definitions by name, and gradients by path."""
        values = evaluated(self.parts, env)
        inner = env._replace(values=values)
        return values, {path: g.notation.value(inner) for path, g in self.gradients.items()}

    def _repr_html_(self) -> str:
        value = () if self.value.name in {part.name for part in self.parts} else (self.value,)
        rows = (*self.parts, *value, *self.gradients.values())
        return equations(rows, self._head(), [meaning.text for meaning in meanings(rows)])

    def _repr_latex_(self) -> str:
        parts = (*self.parts, *self.gradients.values())
        rows = [rf"{part.left(True)} &= {part.latex}" for part in parts]
        rows += [f"&{meaning.latex}" for meaning in meanings(parts)]
        return r"$$\begin{aligned}" + r" \\ ".join(rows) + r"\end{aligned}$$"


def evaluated(parts: Sequence[Definition], env: Env) -> dict[str, object]:
    """Values by name, with those of definitions (each may use the ones before it)."""
    values = dict(env.values)
    for part in parts:
        values[part.name] = part.notation.value(env._replace(values=values))
    return values
