"""Running a function on traced arrays of given sizes, and seeing the names that it gives them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal, TypeAlias

from ..chain.network import reverse_network
from ..chain.sweep import pullback
from ..errors import user_line
from ..expr.build import ones
from ..expr.nodes import Leaf, Node, Term
from ..expr.walk import topological
from ..formula.symbolic import FormulaError
from ..simplify.reroll import PatternError
from ..trace.array import TracedArray, traced
from ..trace.session import require_session
from ..transforms.core import level, outputs
from ..transforms.first import projected
from ..transforms.jacobians import symmetrized
from .loops import rebound, rolled
from .signature import Signature, function_name

__all__ = ["Kind", "Locals", "Loops", "Trace", "derivatives", "networks_by", "trace"]

_PACKAGE = __name__.partition(".")[0]
_DERIVATIVES = frozenset(("grad", "jvp", "vjp", "linearize", "jacobian"))  # names of levels
_FOREIGN = frozenset((_PACKAGE, "numpy", "scipy", "optree")) | sys.stdlib_module_names
_ELEMENTS = 100  # read one by one: more than that is a loop


Kind: TypeAlias = Literal["gradients", "jacobians", "hessians"]


@dataclass
class Trace:
    """One run of the function on traced arrays, and derivatives of its result."""

    inputs: list[Leaf]
    output: Node
    arriving: Leaf | None
    gradients: list[Node]
    networks: list[list[Term]]
    captured: list[tuple[Leaf, Any]]
    locals: dict[Node, str] = field(default_factory=dict)
    elements: int = 0  # how many were read one by one
    counters: int = 0  # how often a loop counter was used as a number
    helpers: frozenset[str] = frozenset()  # names that functions called by it give
    nested: bool = False  # whether the function takes derivatives itself
    adjoints: dict[Node, Node] = field(default_factory=dict)  # ∂L/∂ of nodes on the way


@dataclass
class Loops:
    """That loops over elements are re-rolled; where nodes were made, if that is to be known.

    ``unrolled`` is filled with the result as it was before.
    """

    arrays: bool = True
    counting: bool = True
    lines: dict[Node, str] | None = None
    unrolled: Node | None = None


def trace(
    signature: Signature,
    sizes: Mapping[str, int],
    wanted: Sequence[int],
    kind: Kind,
    loops: Loops | None = None,
    lines: dict[Node, str] | None = None,
) -> Trace:
    """Run the function at sizes of the names and differentiate it by the leaves ``wanted``.

    "gradients": pullbacks; "jacobians": a network a leaf; "hessians": one a pair of leaves.
    Leaves are numbered alike in every run, so the nodes of two runs at the same sizes are the same.
    With ``loops`` the function is one of loops over elements; without, one that reads many elements
    raises :class:`chainrule.trace.session.ManyElements`.  ``lines`` takes where nodes were made.
    """
    with level("derive") as (session, opened):
        before = session.symbolic, session.elements_read, session.elements_most
        session.symbolic, session.elements_read, session.counters_met = True, 0, 0
        session.elements_most = None if loops is not None else _ELEMENTS
        try:
            inputs = [
                session.new_leaf(signature.sizes(dims, sizes), signature.dtype(k))
                for k, dims in enumerate(signature.dims)
            ]
            opened.leaves.extend(inputs)
            known = set(session.captured)
            lines = lines if loops is None else loops.lines
            with Locals(signature.function, lines) as recorder:
                function = signature.function
                if loops is not None:
                    function = rebound(function, loops.arrays, loops.counting)
                result = signature.call([traced(leaf) for leaf in inputs], function)
            found = outputs(result)
            if len(found.nodes) != 1:
                raise FormulaError(
                    f"{function_name(signature.function)} returned {len(found.nodes)} arrays; "
                    "derive needs a function with one array as its result"
                )
            (output,) = found.nodes
            locals_ = recorder.nodes()
            helpers = frozenset(locals_.values()) - set(recorder.own)
            captured = [
                (leaf, array) for key, (array, leaf) in session.captured.items() if key not in known
            ]
            if loops is not None:
                loops.unrolled = output
                output, locals_ = _rolled(output, locals_, captured)
            arriving = None
            if kind == "gradients" and output.shape:
                arriving = session.new_leaf(output.shape, output.dtype)
            sources = [inputs[k] for k in wanted]
            gradients, networks, adjoints = derivatives(
                output, arriving, sources, [k in signature.symmetric for k in wanted], kind
            )
            nested = not session.opened.isdisjoint(_DERIVATIVES)
        finally:
            elements = session.elements_read
            session.symbolic, session.elements_read, session.elements_most = before
    return Trace(
        inputs,
        output,
        arriving,
        gradients,
        networks,
        captured,
        locals_,
        elements,
        session.counters_met,
        helpers,
        nested,
        adjoints,
    )


def derivatives(
    output: Node,
    arriving: Leaf | None,
    sources: Sequence[Leaf],
    symmetric: Sequence[bool],
    kind: Kind,
) -> tuple[list[Node], list[list[Term]], dict[Node, Node]]:
    """Pullbacks of a result, the networks that are wanted, and the adjoints of nodes on the way.

    Derivatives by ``symmetric`` matrices go along these.
    """
    if kind == "jacobians":
        return [], networks_by(output, sources, symmetric), {}
    seed = arriving if arriving is not None else ones(output.shape, output.dtype)
    adjoints: dict[Node, Node] = {}
    pulled = pullback([output], [seed], sources, adjoints)
    gradients = [projected(g) if flag else g for g, flag in zip(pulled, symmetric, strict=True)]
    if kind == "gradients":
        return gradients, [], adjoints
    networks = [terms for g in gradients for terms in networks_by(g, sources, symmetric)]
    return gradients, networks, adjoints


def networks_by(
    output: Node, sources: Sequence[Leaf], symmetric: Sequence[bool]
) -> list[list[Term]]:
    """The network of a result by each source, along symmetric matrices where it is one."""
    return [
        symmetrized(terms, output.ndim) if flag else terms
        for terms, flag in zip(reverse_network(output, sources), symmetric, strict=True)
    ]


def _rolled(
    output: Node, names: Mapping[Node, str], captured: Sequence[tuple[Leaf, Any]]
) -> tuple[Node, dict[Node, str]]:
    """The result re-rolled, and the names of those arrays that it still is made of."""
    arrays = [node for node in names if node.shape]
    values: dict[Node, Any] = dict(captured)
    try:
        output, *found = rolled([output, *arrays], values)
    except PatternError:  # a name that is no loop nest is not needed
        (output,) = rolled([output], values)
        found = []
    inside = set(topological([output]))
    kept: dict[Node, str] = {}
    for node, old in zip(found, arrays, strict=False):
        if node in inside and not isinstance(node, Leaf):
            kept.setdefault(node, names[old])
    return output, kept


class Locals:
    """The names that user code gives to traced arrays, seen when its functions return."""

    def __init__(self, function: Callable[..., Any], lines: dict[Node, str] | None = None) -> None:
        self.lines = lines
        self.function = inspect.unwrap(function)
        self.code = getattr(self.function, "__code__", None)
        self.own: dict[str, TracedArray] = {}
        self.helpers: list[tuple[str, Node]] = []  # in terms of the function's own arguments

    def __enter__(self) -> Locals:
        self.before = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.before)

    def _event(self, frame: FrameType, event: str, _: object) -> None:
        if event != "return":
            return
        if self.lines is not None:
            if frame.f_code is TracedArray.__init__.__code__:
                self.lines.setdefault(frame.f_locals["node"], user_line())
            elif frame.f_code is TracedArray.view_by.__code__ and "result" in frame.f_locals:
                self.lines.setdefault(frame.f_locals["result"].node, user_line())
            elif frame.f_code is TracedArray.assign.__code__ and "cell" in frame.f_locals:
                for node in (whole := frame.f_locals["cell"].node, *whole.children):
                    self.lines.setdefault(node, user_line())  # the part that is written as well
        if frame.f_code is self.code:
            self.own.update(_traced_locals(frame))
            return
        room = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if room not in _FOREIGN and frame.f_code.co_name[0] != "<":
            session = require_session()
            for name, value in _traced_locals(frame).items():
                self.helpers.append((name, session.lift_to_root(value.node)))

    def nodes(self) -> dict[Node, str]:
        """Names by node: the function's own first, then those of the functions it calls."""
        found: dict[Node, str] = {}
        # a function that was not written in Python says itself what it named
        named = getattr(self.function, "named_values", {})
        self.own.update({n: v for n, v in named.items() if isinstance(v, TracedArray)})
        for name, value in self.own.items():
            found.setdefault(value.node, name)
        inner: dict[str, list[Node]] = {}
        for name, node in self.helpers:
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
