"""``graph``: the computational graph of a function, as a picture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ..chain.sweep import pullback
from ..derive.tracing import Locals
from ..expr.build import ones
from ..expr.nodes import Leaf, Node
from ..expr.walk import topological
from ..formula.shapes import Dims, named_extents, parse, rebuild, walk
from ..formula.symbolic import FormulaError, size_pairs
from ..trace.array import traced
from ..transforms.core import level as open_level
from ..transforms.core import outputs
from ..transforms.trees import flatten, is_array, paths, unflatten
from .computation import Computation, Root
from .dot import to_dot
from .elements import by_element
from .picture import Kind, Picture
from .svg import to_svg
from .tensors import draw

__all__ = ["Derivatives", "Graph", "Level", "graph"]

Level = Literal["tensor", "scalar"]
Derivatives = Literal["edges", "gradient"]

_LIMITS = {"tensor": 600, "scalar": 400}
_TOO_MANY = (
    "the graph at level={level!r} has {count:,} nodes (at most {limit:,} can be read): {remedy}"
)
_REMEDIES = {
    "tensor": "draw a part of the function (one layer, one step of the loop)",
    "scalar": "give smaller shapes, for example '1 2', or use level='tensor'",
}


class Graph:
    """A computational graph: ``.svg``, ``.dot``, ``save(path)``; shows itself in notebooks.

    ``nodes`` are the names in order of computation, each with its formula and shape; ``edges`` are
    pairs of positions in ``nodes``.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    @property
    def svg(self) -> str:
        """The picture as one self-contained ``<svg>`` element, for light and dark pages."""
        return to_svg(self.picture)

    @property
    def dot(self) -> str:
        """The graph in Graphviz' DOT language."""
        return to_dot(self.picture)

    @property
    def nodes(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """(name, formula, shape); arguments have no formula."""
        return [(v.name, v.formula, v.shape) for v in self.picture.vertices]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """(operand, result) by position in :attr:`nodes`."""
        return [(e.source, e.target) for e in self.picture.edges]

    def save(self, path: str | Path) -> None:
        """Write ``path``: SVG or DOT, by its ending (``.svg``, ``.dot``, ``.gv``).

        Raises ValueError for any other ending.
        """
        path = Path(path)
        if path.suffix not in (".svg", ".dot", ".gv"):
            raise ValueError(
                f"{path.name!r} has the ending {path.suffix!r}; a graph is saved as .svg or .dot "
                "(a browser or Inkscape turns SVG into PNG or PDF)"
            )
        text = self.svg if path.suffix == ".svg" else self.dot
        path.write_text(text, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": str(self)}

    def __str__(self) -> str:
        names = [v.name for v in self.picture.vertices]
        rows = []
        for vertex in self.picture.vertices:
            shape = f"({', '.join(vertex.shape)})" if vertex.shape else ""
            rows.append((vertex.name, vertex.formula, shape))
        width = max((len(name) for name in names), default=0)
        lines = [
            f"  {name:<{width}} = {formula}  {shape}".rstrip()
            if formula
            else f"  {name:<{width}}   {shape}".rstrip()
            for name, formula, shape in rows
        ]
        return "\n".join([f"{self.picture.title}: {len(names)} nodes", *lines])

    __repr__ = __str__


def graph(
    f: Callable[..., Any],
    /,
    *args: Any,
    level: Level = "tensor",
    derivative: Derivatives | None = None,
    **shapes: Any,
) -> Graph:
    """The computational graph of ``f``: arguments, operations, results, with names and shapes.

    ``args`` are arrays, numbers, or shapes as strings (``"N D"``, ``"64 D"``; ``""`` is a number),
    or trees of these; ``shapes`` gives shapes by parameter name as :func:`chainrule.derive` takes
    them.  Names are those of the function's parameters and variables.

    ``level="scalar"`` draws every element as a node (small shapes, given as numbers).
    ``derivative="edges"`` writes the local Jacobian on each edge: its structure, between numbers
    its formula; ``derivative="gradient"`` draws the backward pass as well.

    Raises ValueError where there is too much to draw, TypeError for arguments that do not fit f.

    >>> print(graph(lambda x, w, b: np.tanh(x @ w + b), "N D", "D M", "M"))
    <lambda>: 6 nodes
      x    (N, D)
      w    (D, M)
      v1 = x w  (N, M)
      b    (M)
      v2 = v1 + 𝟏 bᵀ  (N, M)
      y  = tanh(v2)  (N, M)
    """
    if level not in get_args(Level):
        raise ValueError(f"level={level!r}; use 'tensor' or 'scalar'")
    if derivative is not None and derivative not in get_args(Derivatives):
        raise ValueError(f"derivative={derivative!r}; use 'edges', 'gradient' or None")
    call = _Call.read(f, args, shapes)
    if level == "scalar" and call.names:
        raise ValueError(
            f"level='scalar' needs numbers, not the sizes {', '.join(call.names)}: for example "
            + ", ".join(f"{n} = {k}" for n, k in zip(call.names, (2, 3, 1, 4), strict=False))
        )
    computation = _computation(call, derivative == "gradient")
    if level == "scalar":
        computation = by_element(computation)
    _limit(level, len(computation.leaves) + len(computation.roots))
    picture = draw(computation, derivative == "edges", "down" if level == "tensor" else "right")
    _limit(level, len(picture.vertices))
    return Graph(picture)


def _limit(level: Level, count: int) -> None:
    limit = _LIMITS[level]
    if count > limit:
        raise ValueError(
            _TOO_MANY.format(level=level, count=count, limit=limit, remedy=_REMEDIES[level])
        )


# -- arguments ----------------------------------------------------------------------------------
@dataclass(slots=True)
class _Input:
    """One traced leaf of the arguments."""

    name: str
    dims: Dims
    dtype: np.dtype[Any]
    value: Any = None

    def sizes(self, names: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(names[e] if isinstance(e, str) else e for e in self.dims)


@dataclass(slots=True)
class _Call:
    """A function with its arguments, whose leaves are arrays or shapes."""

    function: Callable[..., Any]
    title: str
    inputs: list[_Input]
    rebuild: Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    names: list[str]

    @classmethod
    def read(cls, f: Callable[..., Any], args: tuple[Any, ...], shapes: Mapping[str, Any]) -> _Call:
        title = getattr(f, "__name__", type(f).__name__)
        signature = inspect.signature(f)
        try:
            bound = signature.bind(*args, **shapes)
        except TypeError as error:
            raise TypeError(
                f"{title}{signature}: {error}; give a shape or an array for each parameter"
            ) from None
        positional = dict(bound.arguments)
        inputs: list[_Input] = []
        builders: dict[str, Callable[[Iterator[Any]], Any]] = {}
        for name, tree in positional.items():
            kind = signature.parameters[name].kind
            if name in shapes:
                inputs += [_Input(p, dims, np.dtype(float)) for p, dims in walk(tree, name)]
                builders[name] = _by_shapes(tree)
            else:
                spread = tree if kind is inspect.Parameter.VAR_POSITIONAL else (tree,)
                builders[name] = _by_values(spread, name, inputs, spread is tree)

        def build(values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            stream = iter(values)
            whole = signature.bind_partial()
            whole.arguments.update({name: make(stream) for name, make in builders.items()})
            return whole.args, whole.kwargs

        names = named_extents([one.dims for one in inputs])
        short = [one.name.rsplit(".", 1)[-1] for one in inputs]
        for one, name in zip(inputs, short, strict=True):
            if short.count(name) == 1:
                one.name = name
        return cls(f, title, inputs, build, names)


def _by_shapes(tree: Any) -> Callable[[Iterator[Any]], Any]:
    return lambda stream: rebuild(tree, stream)


def _by_values(
    trees: tuple[Any, ...], name: str, inputs: list[_Input], several: bool
) -> Callable[[Iterator[Any]], Any]:
    """Arrays, floats and shape strings are leaves; anything else is passed on as it is."""
    leaves, spec = flatten(trees)
    kept: list[Any] = []
    for path, leaf in zip(paths(spec), leaves, strict=True):
        where = name + (path if several else path.partition("]")[2])
        where = where.replace("['", ".").replace("']", "")
        if isinstance(leaf, str):
            inputs.append(_Input(where, parse(leaf, where), np.dtype(float)))
        elif isinstance(leaf, float | complex) or (
            is_array(leaf) and not isinstance(leaf, bool | int)
        ):
            array = np.asarray(leaf)
            inputs.append(_Input(where, array.shape, array.dtype, leaf))
        else:
            kept.append(leaf)
            continue
        kept.append(_SLOT)

    def make(stream: Iterator[Any]) -> Any:
        whole = unflatten(spec, [next(stream) if k is _SLOT else k for k in kept])
        return whole if several else whole[0]

    return make


_SLOT = object()


# -- tracing ------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Run:
    """One trace of the function."""

    inputs: list[Leaf]
    results: list[Node]
    arriving: list[Leaf | None]
    gradients: list[tuple[int, Node]]
    captured: dict[Node, Any]
    labels: dict[Node, str]

    @property
    def roots(self) -> list[Node]:
        return self.results + [node for _, node in self.gradients]


@contextmanager
def _session(symbolic: bool) -> Iterator[Any]:
    with open_level("graph") as (session, opened):
        before, session.symbolic = session.symbolic, symbolic
        try:
            yield session, opened
        finally:
            session.symbolic = before


def _trace(call: _Call, sizes: Mapping[str, int], gradient: bool) -> _Run:
    unknown = any(one.value is None for one in call.inputs)
    with _session(unknown) as (session, opened):
        inputs = []
        for one in call.inputs:
            leaf = session.new_leaf(one.sizes(sizes), one.dtype)
            if one.value is not None:
                session.bindings[leaf] = np.asarray(one.value)
            inputs.append(leaf)
        opened.leaves.extend(inputs)
        known = set(session.captured)
        with Locals(call.function) as recorder:
            args, kwargs = call.rebuild([traced(leaf) for leaf in inputs])
            result = call.function(*args, **kwargs)
        nodes = outputs(result).nodes
        if not nodes:
            raise TypeError(f"{call.title} returned no array: there is nothing to draw")
        labels = recorder.nodes()
        captured: dict[Node, Any] = {
            leaf: array for key, (array, leaf) in session.captured.items() if key not in known
        }
        arriving: list[Leaf | None] = []
        gradients: list[tuple[int, Node]] = []
        if gradient:
            arriving = [session.new_leaf(n.shape, n.dtype) if n.shape else None for n in nodes]
            seeds = [
                leaf if leaf is not None else ones((), node.dtype)
                for leaf, node in zip(arriving, nodes, strict=True)
            ]
            wanted = [k for k, leaf in enumerate(inputs) if leaf.dtype.kind in "fc"]
            found = pullback(nodes, seeds, [inputs[k] for k in wanted])
            gradients = list(zip(wanted, found, strict=True))
    return _Run(inputs, nodes, arriving, gradients, captured, labels)


def _computation(call: _Call, gradient: bool) -> Computation:
    numbers = [e for one in call.inputs for e in one.dims if not isinstance(e, str)]
    first, second = size_pairs(call.names, numbers)
    one = _trace(call, first, gradient)
    other = _trace(call, second, gradient) if call.names else one
    order = topological(one.roots)
    others = topological(other.roots)
    if len(order) != len(others):
        raise FormulaError(
            f"{call.title} runs different operations at different sizes (a loop over a named size?)"
            ": give the sizes that it loops over as numbers"
        )
    leaves: dict[Node, tuple[str, Kind]] = {}
    for leaf, given in zip(one.inputs, call.inputs, strict=True):
        leaves[leaf] = (given.name, "input")
    taken = {name for name, _ in leaves.values()} | set(one.labels.values()) | set(call.names)
    scalars = all(not node.shape for node in one.results)
    results = _result_names(one, taken, "L" if scalars else "y")
    taken |= set(results)
    for number, (captured, array) in enumerate(one.captured.items()):
        if np.ndim(array):
            name = _unused(_captured_name(call.function, array) or f"c{number}", taken)
            taken.add(name)
            leaves[captured] = (name, "data")
    loss = results[0] if scalars and len(results) == 1 else _unused("L", taken)
    for k, arriving in enumerate(one.arriving):
        if arriving is not None:
            letter = "G" if len(one.results) == 1 else f"G{k + 1}"
            leaves[arriving] = (_unused(letter, taken), "backward")
    roots = [Root(node, name) for node, name in zip(one.results, results, strict=True)]
    for k, node in one.gradients:
        roots.append(Root(node, f"∂{loss}/∂{call.inputs[k].name}", "gradient"))
    return Computation(
        call.title,
        roots,
        leaves,
        {node: name for node, name in one.labels.items() if name not in results},
        dict(zip(order, others, strict=True)),
        first,
        second,
        (one.captured, other.captured),
        set(order) - set(topological(one.results)),
    )


def _result_names(run: _Run, taken: set[str], usual: str) -> list[str]:
    """The user's names where there are any."""
    names: list[str] = []
    for number, node in enumerate(run.results, 1):
        wish = usual if len(run.results) == 1 else f"{usual}{number}"
        if wish in taken:  # as derive names it
            wish = wish.upper()
        names.append(run.labels.get(node) or _unused(wish, taken | set(names)))
    return names


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _captured_name(f: Callable[..., Any], array: Any) -> str | None:
    try:
        known = inspect.getclosurevars(inspect.unwrap(f))
    except TypeError:
        return None
    for name, value in {**known.globals, **known.nonlocals}.items():
        if value is array:
            return name
    return None
