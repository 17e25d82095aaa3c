"""What all transforms share: entering a level, leaving it, and functions kept for later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from ..chain.sweep import pullback, pushforward
from ..errors import EscapedTracerError, located
from ..expr.nodes import Leaf, Node
from ..expr.pausing import collection_paused
from ..expr.walk import leaves, substitute_nodes
from ..lower.run import Cache, evaluate, evaluate_given, program_for
from ..simplify.rolling import rolled
from ..trace import functions as _functions
from ..trace.array import TracedArray, as_node, is_traced, traced
from ..trace.session import Level, Session, current, open_level, require_session
from .trees import Tree, differentiable_leaf, flatten, is_array, paths, unflatten

__all__ = [
    "Inputs",
    "Later",
    "Outputs",
    "check_bound",
    "derived_pullback",
    "derived_pushforward",
    "enter",
    "finish",
    "level",
    "outputs",
    "rolled_up",
]

assert _functions.__all__  # importing it fills the table of NumPy functions


def level(name: str) -> open_level:
    """Open a level for one transform."""
    return open_level(evaluate_given, name)


@dataclass(slots=True)
class Inputs:
    """Arguments as leaves of a level: nodes, structure, traced tree."""

    leaves: list[Leaf]
    spec: optree.PyTreeSpec
    tree: Tree
    values: list[Any]


def enter(session: Session, opened: Level, tree: Tree, name: str, bind: bool = True) -> Inputs:
    """Fresh traced leaves of this level for all leaves of a tree of primals."""
    values, spec = flatten(tree)
    names: list[str] | None = None
    lifted: dict[Node, Node] = {}
    fresh: list[Leaf] = []
    handles = []
    for position, value in enumerate(values):
        try:
            primal = differentiable_leaf(value, name)
        except TypeError:
            names = names or paths(spec)
            primal = differentiable_leaf(value, name + names[position])
        weak = isinstance(value, float | complex) and not isinstance(value, np.generic)
        if isinstance(primal, TracedArray):
            leaf = session.new_leaf(primal.shape, primal.dtype)
            lifted[leaf] = primal.node
            weak = primal.weak
        else:
            leaf = session.new_leaf(primal.shape, primal.dtype.newbyteorder("="))
            if bind:
                session.bindings[leaf] = primal
        opened.leaves.append(leaf)
        fresh.append(leaf)
        handles.append(traced(leaf, weak=weak))
    if lifted:
        add_lift(opened, lifted)
    return Inputs(fresh, spec, unflatten(spec, handles), values)


def add_lift(opened: Level, lifted: dict[Node, Node]) -> None:
    """Results of the level have these leaves replaced by what they stand for outside."""
    before = opened.lift

    def lift(nodes: list[Node]) -> list[Node]:
        nodes = substitute_nodes(nodes, lifted)
        return before(nodes) if before is not None else nodes

    opened.lift = lift


@dataclass(slots=True)
class Outputs:
    """Results of a traced function: numeric leaves as nodes, other leaves as they are."""

    nodes: list[Node]
    spec: optree.PyTreeSpec
    rest: list[Any]  # one entry a leaf; a placeholder where a node stands

    @property
    def plain(self) -> list[bool]:
        """Which leaves are no arrays."""
        return [r is not _NODE for r in self.rest]

    def rebuild(self, values: Sequence[Any]) -> Tree:
        """The tree with values in place of the nodes."""
        stream = iter(values)
        return unflatten(self.spec, [next(stream) if r is _NODE else r for r in self.rest])


_NODE = object()
_NO_TREE = flatten(None)[1]


def outputs(tree: Tree) -> Outputs:
    """The nodes of a traced function's result (to be called while the level is open)."""
    if tree is None:
        return Outputs([], _NO_TREE, [])
    values, spec = flatten(tree)
    nodes: list[Node] = []
    rest: list[Any] = []
    for value in values:
        if is_array(value) and not isinstance(value, bool):
            node = as_node(value if is_traced(value) else np.asarray(value))
            nodes.append(node)
            rest.append(_NODE)
        else:
            rest.append(value)
    return Outputs(nodes, spec, rest)


def finish(session: Session, opened: Level, nodes: Sequence[Node]) -> list[Any]:
    """Results of a closed level: numbers, or traced arrays of the level around it."""
    lifted = list(nodes)
    if opened.lift is not None:
        lifted = opened.lift(lifted)
    return settle(session, lifted)


def settle(session: Session, nodes: Sequence[Node]) -> list[Any]:
    """Traced arrays where a node depends on an open level, numbers else."""
    if not session.levels:
        if nodes and not all(n in session.bindings for n in program_for(nodes).plan.leaves):
            check_bound(session, nodes)
        return evaluate(nodes, session.bindings)
    still_open = session.open_leaves()
    free = [any(leaf in still_open for leaf in leaves([node])) for node in nodes]
    ready = [node for node, traced_ in zip(nodes, free, strict=True) if not traced_]
    check_bound(session, ready)
    values = iter(evaluate(ready, session.bindings))
    return [
        traced(node) if traced_ else next(values) for node, traced_ in zip(nodes, free, strict=True)
    ]


def check_bound(session: Session, nodes: Sequence[Node]) -> None:
    """EscapedTracerError where a result needs a leaf that has no value (any more)."""
    for leaf in leaves(nodes):
        if leaf not in session.bindings:
            raise EscapedTracerError(
                located(
                    "a traced array of a call that has ended is used in a result",
                    "return it from the traced function; do not keep it in a global",
                )
            )


class Later:
    """Nodes with free leaves, kept after their level has closed (pullbacks, linear maps)."""

    def __init__(
        self, session: Session, opened: Level, nodes: Sequence[Node], free: Sequence[Leaf]
    ) -> None:
        lifted = list(nodes)
        if opened.lift is not None:
            lifted = opened.lift(lifted)
        self.nodes = lifted
        self.free = list(free)
        self.session = session
        self.bindings = session.bindings

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Values of the nodes under values (or traced arrays) for the free leaves."""
        session = current()
        if session is None:
            _check_all(self.nodes, self.bindings, self.free)
            given = dict(zip(self.free, values, strict=True))
            return evaluate(self.nodes, self.bindings | given)
        replacement: dict[Node, Node] = {
            leaf: _as_input(value, leaf) for leaf, value in zip(self.free, values, strict=True)
        }
        if session is not self.session:
            _check_all(self.nodes, self.bindings, self.free)
            for leaf in leaves(self.nodes):
                if leaf not in replacement:
                    replacement[leaf] = session.capture(np.asarray(self.bindings[leaf]))
        return settle(session, substitute_nodes(self.nodes, replacement))


def _as_input(value: Any, leaf: Leaf) -> Node:
    node = as_node(value if is_traced(value) else np.asarray(value, leaf.dtype))
    return node


def _check_all(nodes: Sequence[Node], bindings: dict[Node, Any], free: Sequence[Leaf]) -> None:
    for leaf in leaves(nodes):
        if leaf not in bindings and leaf not in free:
            raise EscapedTracerError(
                located(
                    "this linear map was made inside a traced function that has ended",
                    "use it inside, or return its values",
                )
            )


# -- loops rolled up, kept by graph -------------------------------------------------------------
_Rolled = tuple[list[Node], list[Any]]
_rolled: Cache[tuple[Any, ...], _Rolled] = Cache(256)
# Where an outer derivative follows, or structure is asked for, programs stay as they were traced.
_AROUND = frozenset({"compile", "vmap"})


def rolled_up(
    session: Session, nodes: Sequence[Node], forward: bool = False, backward: bool = False
) -> list[Node]:
    """Results of the level that is open, Python loops in them rolled up (see ``simplify.rolling``).

    ``forward``, ``backward``: the derivatives that will be taken.  The program stays as it is
    where branches were taken on values, or where a level around this one differentiates it again.
    """
    around = session.levels[:-1]
    if session.symbolic or session.guards or any(o.name not in _AROUND for o in around):
        return list(nodes)
    key = tuple(nodes), session.slots, forward, backward
    found = _rolled.get(key)
    if found is None:
        arrays: list[Any] = []

        def array(values: Any) -> Leaf:
            arrays.append(values)
            return session.capture(values)

        with collection_paused():
            made = rolled(nodes, array, forward, backward, session.levels[0].since)
        _rolled.put(key, (made, arrays))
        return list(made)
    made, arrays = found
    for values in arrays:  # the same numbers of leaves, in this session
        session.capture(values)
    return list(made)


# -- derived programs, kept by graph -----------------------------------------------------------
_derived: Cache[tuple[Any, ...], list[Node]] = Cache(1024)


def clear_derived() -> None:
    """Forget all derived programs."""
    _derived.clear()
    _rolled.clear()


def _cached(kind: str, make: Callable[..., list[Node]], *groups: Sequence[Node]) -> list[Node]:
    key = (kind, *(tuple(g) for g in groups))
    found = _derived.get(key)
    if found is None:
        session = require_session()
        before = session.slots
        with collection_paused():
            found = make(*groups)
        if session.slots == before:  # a custom rule that captured arrays holds in this session only
            _derived.put(key, found)
    return list(found)


def derived_pullback(
    outs: Sequence[Node], cotangents: Sequence[Node], sources: Sequence[Node]
) -> list[Node]:
    """:func:`chainrule.chain.sweep.pullback`, kept by graph."""
    return _cached("pullback", pullback, outs, cotangents, sources)


def derived_pushforward(
    outs: Sequence[Node], sources: Sequence[Node], tangents: Sequence[Node]
) -> list[Node]:
    """:func:`chainrule.chain.sweep.pushforward`, kept by graph."""
    return _cached("pushforward", pushforward, outs, sources, tangents)
