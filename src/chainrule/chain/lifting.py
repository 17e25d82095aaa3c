"""Derivative loops in three parts: before the loop, in it, and after it.

Only what passes from round to round need run round by round.  What a round computes from rows and
captured values alone is computed for all rounds at once beforehand; what no later round reads is
computed for all rounds at once afterwards, and sums over the rounds become one product over them
(``Σ_t z[t, i] h[t, j]`` for a gradient by a matrix).  Both only where what is kept stays small.

Loops that a user wrote run as they are: these rewrites may round in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..expr.bodies import body_of
from ..expr.build import cast, linear
from ..expr.calls import calls
from ..expr.draft import Draft, zeros
from ..expr.nodes import Call, Const, Leaf, Node, Scalar, Sum, Term
from ..expr.walk import dependents, substitute_nodes, topological
from ..simplify.terms import derived

__all__ = ["Loop", "run"]

# Elements of one value, and of all rounds together, that may be kept beside the loop.
_SMALL, _MOST = 1 << 12, 1 << 22
# Leaves of bodies and of the graph around them have the same numbers: these stand in between.
_BETWEEN = 1 << 42


@dataclass(slots=True)
class Loop:
    """``carries`` (first value, leaf, next value), ``rows`` and ``captured`` (argument, leaf).

    ``ys`` are wanted of every round, of ``sums`` the sum over the rounds.
    """

    length: int
    reverse: bool
    carries: list[tuple[Node, Leaf, Node]]
    rows: list[tuple[Node, Leaf]]
    captured: list[tuple[Node, Leaf]]
    ys: list[Node]
    sums: list[Node]

    @property
    def roots(self) -> list[Node]:
        """All that a round computes."""
        return [*(after for _, _, after in self.carries), *self.ys, *self.sums]

    def leaf(self, node: Node) -> Leaf:
        """A leaf of a node's shape and dtype with a number of its own."""
        held = (*(x for _, x, _ in self.carries), *(x for _, x in (*self.rows, *self.captured)))
        return Leaf(1 + max((x.slot for x in held), default=-1), node.shape, node.dtype)

    def replace(self, new: Mapping[Node, Node]) -> None:
        """Replace nodes of the body."""
        made = iter(substitute_nodes(self.roots, new))
        self.carries = [(first, leaf, next(made)) for first, leaf, _ in self.carries]
        self.ys = [next(made) for _ in self.ys]
        self.sums = [next(made) for _ in self.sums]


def run(loop: Loop) -> tuple[list[Node], list[Node], list[Node]]:
    """The last carries, the ys and the sums of a loop."""
    if loop.length > 1:
        _before(loop)
    return _after(loop)


def _light(node: Node) -> bool:
    return not isinstance(node, Call) and node.size <= _SMALL


# -- before the loop ----------------------------------------------------------------------------
def _before(loop: Loop) -> None:
    """Compute what needs no carry for all rounds, and hand it in as rows."""
    roots = loop.roots
    order = topological(roots)
    moving = dependents(order, [leaf for _, leaf, _ in loop.carries])
    varying = dependents(order, [leaf for _, leaf in loop.rows])
    lifted: set[Node] = set()
    for node in order:
        if node not in moving and (
            isinstance(node, Leaf | Const)
            or (_light(node) and all(child in lifted for child in node.children))
        ):
            lifted.add(node)
    found: dict[Node, None] = dict.fromkeys(root for root in loop.ys if root in lifted)
    for node in order:
        if node not in lifted:
            found.update(dict.fromkeys(child for child in node.children if child in lifted))
    edge = [n for n in found if n in varying and not isinstance(n, Leaf)]
    if not edge or loop.length * sum(n.size for n in edge) > _MOST:
        return
    new: dict[Node, Node] = {}
    for node, whole in zip(edge, _all_rounds(loop, edge, {}), strict=True):
        leaf = loop.leaf(node)
        loop.rows.append((whole, leaf))
        new[node] = leaf
    loop.replace(new)
    needed = set(topological(loop.roots))
    loop.rows = [(a, leaf) for a, leaf in loop.rows if leaf in needed]
    loop.captured = [(a, leaf) for a, leaf in loop.captured if leaf in needed]


def _all_rounds(loop: Loop, nodes: Sequence[Node], more: Mapping[Node, Node]) -> list[Node]:
    """Nodes of the body over all rounds, with a first axis; ``more``: rows for further nodes."""
    from .batch import batched  # which hands bodied calls to this room

    rows: dict[Node, Node] = {leaf: a for a, leaf in loop.rows} | dict(more)
    stand: dict[Node, Node] = {}
    for node in (*rows, *(leaf for _, leaf in loop.captured)):
        stand[node] = Leaf(_BETWEEN + len(stand), node.shape, node.dtype)
    inner = substitute_nodes(list(nodes), stand)
    made = batched(inner, {stand[node]: whole for node, whole in rows.items()}, loop.length)
    outside: dict[Node, Node] = {stand[leaf]: a for a, leaf in loop.captured}
    outside.update((whole, whole) for whole in rows.values())  # they are not looked into
    return substitute_nodes([node for node, _ in made], outside)


# -- after the loop -----------------------------------------------------------------------------
class _Later:
    """What is left to compute from rows that the loop gives."""

    def __init__(self, loop: Loop) -> None:
        order = topological(loop.roots)
        self.core = set(topological([after for _, _, after in loop.carries]))
        inputs = [leaf for _, leaf, _ in loop.carries] + [leaf for _, leaf in loop.rows]
        self.varying = dependents(order, inputs)
        self.rows = {leaf for _, leaf in loop.rows}
        self.kept: dict[Node, None] = {}  # rows that the loop must give for it
        self.limit = min(_SMALL, _MOST // max(loop.length, 1))

    def takes(self, node: Node, opened: bool = False) -> bool:
        """Whether a node is computed afterwards; ``opened``: it is itself never kept."""
        edge: dict[Node, None] = {}
        stack = [node]
        seen: set[Node] = set()
        while stack:
            n = stack.pop()
            if n in seen or n not in self.varying:
                continue
            seen.add(n)
            if n in self.rows:
                continue
            whole = opened and n is node
            if n in self.core or isinstance(n, Leaf) or not (whole or _light(n)):
                edge[n] = None
            else:
                stack.extend(n.children)
        kept = {**self.kept, **edge}
        if sum(n.size for n in kept) > self.limit:
            return False
        self.kept = kept
        return True


def _after(loop: Loop) -> tuple[list[Node], list[Node], list[Node]]:
    later = _Later(loop)
    summed: list[list[tuple[Scalar, Node]]] = []
    inside: list[list[tuple[Scalar, Node]]] = []
    for node in loop.sums:
        parts = (
            list(node.parts) if isinstance(node, Sum) and node not in later.core else [(1, node)]
        )
        taken = [
            loop.length > 1
            and part in later.varying
            and part.dtype == node.dtype
            and later.takes(part, opened=isinstance(part, Term) and part not in later.core)
            for _, part in parts
        ]
        summed.append([p for p, t in zip(parts, taken, strict=True) if t])
        inside.append([p for p, t in zip(parts, taken, strict=True) if not t])
    put_off = [
        loop.length > 1 and y in later.varying and y not in later.core and later.takes(y)
        for y in loop.ys
    ]
    carries = list(loop.carries)
    for node, rest in zip(loop.sums, inside, strict=True):
        if rest:
            total = linear(*rest, dtype=node.dtype)
            leaf = Leaf(_BETWEEN + len(carries), node.shape, node.dtype)
            after = linear((1, leaf), (1, total), dtype=node.dtype)
            carries.append((zeros(node.shape, node.dtype), leaf, after))
    now = [y for y, off in zip(loop.ys, put_off, strict=True) if not off]
    given = dict.fromkeys([*now, *later.kept])
    outs = [*(after for _, _, after in carries), *given]
    needed = set(topological(outs))
    rows = [(a, leaf) for a, leaf in loop.rows if leaf in needed]
    captured = [(a, leaf) for a, leaf in loop.captured if leaf in needed]
    leaves = [*(x for _, x, _ in carries), *(x for _, x in (*rows, *captured))]
    args = [*(first for first, _, _ in carries), *(a for a, _ in (*rows, *captured))]
    params = (body_of(leaves, outs), loop.length, len(carries), len(rows), loop.reverse)
    made = calls("scan", args, params) if outs else []
    found = dict(zip(given, made[len(carries) :], strict=True))
    ends = [part for group in summed for _, part in group]
    ends += [y for y, off in zip(loop.ys, put_off, strict=True) if off]
    kept = {node: found[node] for node in later.kept}
    wholes = iter(_all_rounds(loop, ends, kept)) if ends else iter(())
    loops = iter(made[len(loop.carries) : len(carries)])
    sums = []
    for node, group, rest in zip(loop.sums, summed, inside, strict=True):
        terms = [(coef, _sum(next(wholes), part)) for coef, part in group]
        terms += [(1, next(loops))] if rest else []
        sums.append(cast(linear(*terms, dtype=node.dtype), node.dtype))
    ys = [next(wholes) if off else found[y] for y, off in zip(loop.ys, put_off, strict=True)]
    return list(made[: len(loop.carries)]), ys, sums


def _sum(whole: Node, part: Node) -> Node:
    """The sum over the first axis, of a term read through it."""
    axis = part.ndim
    extents = {**dict(enumerate(part.shape)), axis: whole.shape[0]}
    labels = tuple(range(axis))
    draft = Draft(part.shape, part.dtype, 1, extents, [(whole, (axis, *labels))], labels)
    if isinstance(whole, Term) and isinstance(part, Term):
        draft.inline(0)
    return derived(draft)
