"""What one outermost trace owns: leaf numbers, captured arrays, guards, nested levels.

A *session* lasts from the outermost transform's first traced call to its end.  Leaves are numbered
from 0 in every session, so that tracing the same program again finds the same interned nodes.
Nested transforms open *levels*: each has its own leaves, and lifts results to the level around it
(by substitution, or for ``vmap`` by adding a label), so perturbations never mix.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ..errors import EscapedTracerError, TraceError, located
from ..expr.nodes import Leaf, Node, next_uid
from ..expr.walk import leaves, topological

__all__ = [
    "LOCAL",
    "Guard",
    "Level",
    "ManyElements",
    "Session",
    "current",
    "open_level",
    "require_session",
]

Lift: TypeAlias = Callable[[list[Node]], list[Node]]
Evaluator: TypeAlias = Callable[[Sequence[Node], dict[Node, Any]], list[Any]]


class ManyElements(Exception):
    """A trace reads many elements one by one (see :attr:`Session.elements_most`)."""


@dataclass(slots=True)
class Guard:
    """A value that Python asked for while tracing: the program holds only while it is the same."""

    node: Node
    outcome: Any
    line: str


@dataclass(slots=True)
class Level:
    """One open transform: its traced leaves and how results leave it."""

    leaves: list[Leaf] = field(default_factory=list)
    lift: Lift | None = None
    name: str = ""
    since: int = field(default_factory=next_uid)  # nodes made before have lesser numbers


class Session:
    """State of one outermost trace; see the module's text."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.slots = 0
        self.bindings: dict[Node, Any] = {}
        self.captured: dict[int, tuple[Any, Leaf]] = {}
        self.levels: list[Level] = []
        self.guards: list[Guard] = []
        self.symbolic = False
        self.elements_read = 0  # elements that were read from arrays at fixed indices
        self.elements_most: int | None = None
        self.opened: set[str] = set()  # names of the levels that have been opened
        self.counters_met = 0  # loop counters that were used as numbers
        self._known: dict[Node, Any] = {}
        self._answers: dict[Node, Any] = {}
        self._evaluator = evaluator

    def new_leaf(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Leaf:
        """A fresh leaf of this session."""
        leaf = Leaf(self.slots, tuple(int(e) for e in shape), dtype)
        self.slots += 1
        return leaf

    def capture(self, array: Any) -> Leaf:
        """The implicit input for an array that met a traced value; one leaf an array object."""
        found = self.captured.get(id(array))
        if found is not None:
            return found[1]
        leaf = self.new_leaf(array.shape, _native(array.dtype))
        self.captured[id(array)] = (array, leaf)
        # NumPy's scalars have no memory that native code could read
        self.bindings[leaf] = np.asarray(array) if isinstance(array, np.generic) else array
        return leaf

    # -- levels -------------------------------------------------------------------------------
    def open_leaves(self) -> set[Node]:
        """The leaves of all open levels: what depends on one of them is still traced.

        A compiled program reads captured arrays at every call, so they are leaves of its level.
        """
        found: set[Node] = {leaf for level in self.levels for leaf in level.leaves}
        if self.levels and self.levels[0].name == "compile":
            found.update(leaf for _, leaf in self.captured.values())
        return found

    def lift_to_root(self, node: Node) -> Node:
        """The node in terms of the outermost level's leaves."""
        for level in reversed(self.levels):
            if level.lift is not None:
                (node,) = level.lift([node])
        return node

    def value(self, node: Node) -> Any:
        """The value of a node now (memoized); batched nodes come with their batch axes."""
        if node in self._answers:
            return self._answers[node]
        root = self.lift_to_root(node)
        for leaf in leaves([root]):
            if leaf not in self.bindings:
                for opened in self.levels:
                    if leaf in opened.leaves:
                        raise TraceError(located(_INSIDE.format(opened.name), _INSIDE_FIX))
                raise EscapedTracerError(located(_ESCAPED, _ESCAPED_FIX))
        if root in self._known:
            result = self._known[root]
        else:
            (result,) = self._evaluator([root], self._known | self.bindings)
            self._remember(root)
            self._known[root] = result
        self._answers[node] = result
        return result

    def _remember(self, root: Node) -> None:
        """Keep small intermediate values, so that a loop of guards costs time linear in it."""
        fresh = [
            n
            for n in topological([root], stop=self._known.__contains__)
            if n not in self._known and n not in self.bindings and n.size <= 64 and n.children
        ]
        if len(self._answers) > 2 and fresh:
            values = self._evaluator(fresh, self._known | self.bindings)
            self._known.update(zip(fresh, values, strict=True))

    def count_element(self) -> None:
        """An element is read; raises where more are read than a caller foresees."""
        self.elements_read += 1
        if self.elements_most is not None and self.elements_read > self.elements_most:
            raise ManyElements

    def guard(self, node: Node, outcome: Any, line: str) -> None:
        """Record that the trace depends on this value."""
        root = self.lift_to_root(node)
        self.guards.append(Guard(root, outcome, line))


_ESCAPED = "a traced array is used outside of the function call that it belongs to"
_INSIDE = "inside {} a value is not known while the function is traced"
_INSIDE_FIX = "use chainrule.cond, or np.where for choices by element"
_ESCAPED_FIX = "return it from the traced function; do not keep it in a global or an attribute"


class _Local(threading.local):
    session: Session | None = None


LOCAL = _Local()


def current() -> Session | None:
    """The session of this thread, if a trace is open."""
    return LOCAL.session


def require_session() -> Session:
    """The open session; raises where a traced array is used after its trace has ended."""
    session = LOCAL.session
    if session is None:
        raise EscapedTracerError(located(_ESCAPED, _ESCAPED_FIX))
    return session


class open_level:
    """Open a level, and a session around it where none is open."""

    __slots__ = ("_evaluator", "_name", "_outer", "_session")

    def __init__(self, evaluator: Evaluator, name: str) -> None:
        self._evaluator = evaluator
        self._name = name

    def __enter__(self) -> tuple[Session, Level]:
        self._outer = outer = LOCAL.session
        self._session = session = outer if outer is not None else Session(self._evaluator)
        level = Level(name=self._name)
        session.levels.append(level)
        session.opened.add(self._name)
        LOCAL.session = session
        return session, level

    def __exit__(self, *error: object) -> None:
        self._session.levels.pop()
        LOCAL.session = self._outer


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.isnative else dtype.newbyteorder("=")
