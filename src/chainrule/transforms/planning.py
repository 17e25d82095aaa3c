"""plan: what a Jacobian costs forward, in reverse and in the best order found.

Method: on a path of vertices dynamic programming over its intervals; on other graphs vertex
elimination by Markowitz' rule and by least cost, then simulated annealing from the best order so
far (:mod:`chainrule.chain.orders`).  Orders are compared by a model that knows shapes and structure
(:mod:`chainrule.chain.costs`), those reported are carried out and their lowered programs counted.
Within one product opt_einsum orders the pairwise contractions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..chain.elimination import Linearized, eliminate
from ..chain.network import NotHolomorphic
from ..expr.draft import Draft
from ..expr.nodes import Call, Leaf, Map, Node, Term
from ..expr.walk import substitute_nodes
from ..jacobian.memory import readable
from ..jacobian.structure import structure_of
from ..jacobian.terms import factor_nodes
from ..lower.costs import Cost, cost_of, multiplications
from ..lower.plan import make_plan
from ..simplify.sums import accumulate
from ..simplify.terms import derived
from ..trace.session import Session
from .core import enter, level, outputs
from .first import Argnums, _name, merged, split_arguments
from .jacobians import dense_nodes
from .orders import Row, computed, found_orders, remember, swept

__all__ = ["Plan", "Sweep", "Vertex", "plan"]


class Vertex(NamedTuple):
    """A value of the program that is eliminated: its number in program order, what it is."""

    number: int
    operation: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"v{self.number}"


@dataclass(frozen=True)
class Sweep:
    """One elimination order and what evaluating the Jacobian takes in it.

    ``flops``, ``bytes`` (moved) and ``peak_bytes`` count one evaluation of all that J stores,
    values of the function included where they are needed (a multiply-add 2, a transcendental 10).
    """

    method: str
    flops: int
    bytes: int
    peak_bytes: int
    order: tuple[Vertex, ...]


@dataclass(frozen=True, repr=False)
class Plan:
    """What :func:`plan` returns; print it to see the three orders side by side.

    ``dense_multiplications`` is what the product of a cotangent with the dense Jacobian takes (one
    multiply-add an element), ``structured_multiplications`` what it takes by structure;
    ``nbytes`` and ``dense_nbytes`` are the bytes of both.
    """

    name: str
    forward: Sweep
    reverse: Sweep
    best: Sweep
    vertices: tuple[Vertex, ...]
    structures: tuple[str, ...]
    dense_multiplications: int
    structured_multiplications: int
    nbytes: int
    dense_nbytes: int

    def _columns(self) -> list[list[str]]:
        columns = [["", "flops", "bytes moved", "peak bytes", "order"]]
        for title, sweep in (
            ("forward", self.forward),
            ("reverse", self.reverse),
            (f"best ({self.best.method})", self.best),
        ):
            columns.append(
                [
                    title,
                    f"{sweep.flops:,}",
                    f"{sweep.bytes:,}",
                    f"{sweep.peak_bytes:,}",
                    _shortened([str(v) for v in sweep.order], " ", 12) or "-",
                ]
            )
        return columns

    def _notes(self) -> list[str]:
        notes = [
            f"product with a cotangent: {self.dense_multiplications:,} multiply-adds through the "
            f"dense Jacobian ({readable(self.dense_nbytes)}), "
            f"{self.structured_multiplications:,} multiplications by structure "
            f"({readable(self.nbytes)} stored)"
        ]
        if self.vertices:
            named = [f"{v} = {v.operation} {list(v.shape)}" for v in self.vertices]
            notes.append("vertices: " + _shortened(named, ", ", 24))
        return notes

    @property
    def _title(self) -> str:
        return f"Plan of the Jacobian of {self.name}: " + " and ".join(self.structures)

    def __repr__(self) -> str:
        rows = list(zip(*self._columns(), strict=True))
        widths = [max(map(len, column)) for column in self._columns()]
        lines = [self._title]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        head, *rows = zip(*self._columns(), strict=True)
        text = "".join(f"<th>{escape(c)}</th>" for c in head)
        table = f"<tr>{text}</tr>"
        for name, *cells in rows:
            text = "".join(f"<td>{escape(c)}</td>" for c in cells)
            table += f"<tr><th>{escape(name)}</th>{text}</tr>"
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        return f"<p>{escape(self._title)}</p><table>{table}</table>{notes}"


def _shortened(items: Sequence[str], mark: str, most: int) -> str:
    if len(items) <= most:
        return mark.join(items)
    shown = [*items[: most // 2], "…", *items[len(items) - most // 2 :]]
    return mark.join(shown) + f" ({len(items)} in all)"


def plan(
    f: Callable[..., Any], *args: Any, argnums: Argnums = 0, budget: float = 0.5, **kwargs: Any
) -> Plan:
    """What the Jacobian of ``f`` at ``args`` costs: forward, reverse, and in the best order found.

    ``f`` is traced, nothing is evaluated beyond the branches that it takes.  ``budget`` bounds the
    search, in seconds of a usual processor; it is counted in steps, so that the result is the same
    on every machine.  The best order is never worse than the better of forward and reverse, and
    ``jacobian(f, mode="auto")`` takes it from then on, as it takes the best of a short search
    without a plan.  Raises TypeError for a function that is not holomorphic in a complex argument,
    ValueError for a negative budget.

    >>> import numpy as np, chainrule as cr
    >>> A, B = np.ones((500, 500)), np.ones((500, 2))
    >>> p = cr.plan(lambda x: A @ np.tanh(A @ np.tanh(B @ x)), np.ones(2))
    >>> p.reverse.flops > 50 * p.best.flops
    True
    >>> p.best.flops == p.forward.flops, [str(v) for v in p.best.order]
    (True, ['v1', 'v2', 'v3', 'v4'])
    """
    if not budget >= 0:
        raise ValueError(f"budget is seconds of search, 0 or more, not {budget!r}")
    numbers, chosen = split_arguments(argnums, args)
    with level("plan") as (session, opened):
        inputs = enter(session, opened, chosen, f"argument of {_name(f)}: args")
        outs = outputs(dense_nodes(f(*merged(args, numbers, inputs.tree), **kwargs))).nodes
        return _planned(_name(f), session, outs, inputs.leaves, budget)


def _planned(
    name: str, session: Session, outs: list[Node], sources: list[Leaf], budget: float
) -> Plan:
    before = session.slots
    backward = swept(outs, sources)
    stored = factor_nodes([term for row in backward for terms in row for term in terms])
    vertices: tuple[Vertex, ...] = ()
    try:
        graph = Linearized.of(outs, sources)
    except NotHolomorphic:
        # real arguments through a conjugate: there is one sweep only
        only = Sweep("the only one", *_counted(backward), ())
        forward = reverse = best = only
    else:
        numbers = {v: n for n, v in enumerate(graph.inner, 1)}
        named = {
            v: Vertex(n, _operation(graph.nodes[v]), graph.nodes[v].shape)
            for v, n in numbers.items()
        }
        vertices = tuple(named.values())
        found = found_orders(graph, budget)
        sweeps = {}
        made: dict[tuple[int, ...], list[Row]] = {}
        for method, one in found.items():
            if one.order not in made:
                made[one.order] = eliminate(graph, one.order)
            sweeps[method] = Sweep(
                one.method, *_counted(made[one.order]), tuple(named[v] for v in one.order)
            )
        forward, reverse = sweeps["forward"], sweeps["reverse"]
        best = min(sweeps.values(), key=lambda s: s.flops)
        method = next(name for name, sweep in sweeps.items() if sweep is best)
        if session.slots == before:  # no custom rule has captured arrays of this session
            remember("auto", outs, sources, (made[found[method].order], backward))
    return Plan(
        name=name,
        forward=forward,
        reverse=reverse,
        best=best,
        vertices=vertices,
        structures=tuple(
            structure_of(terms, out.ndim)
            for out, row in zip(outs, backward, strict=True)
            for terms in row
        ),
        dense_multiplications=sum(o.size for o in outs) * sum(s.size for s in sources),
        structured_multiplications=sum(
            _product_multiplications(terms, out, source)
            for out, row in zip(outs, backward, strict=True)
            for source, terms in zip(sources, row, strict=True)
        ),
        nbytes=sum(node.nbytes for node in stored),
        dense_nbytes=sum(
            o.size * s.size * np.result_type(o.dtype, s.dtype).itemsize
            for o in outs
            for s in sources
        ),
    )


def _counted(rows: Sequence[Row]) -> Cost:
    return cost_of(make_plan(computed(rows)))


def _operation(node: Node) -> str:
    if isinstance(node, Map | Call):
        return node.op
    if isinstance(node, Term):
        return structure_of([node], node.ndim).rstrip("|")
    return node.kind


def _product_multiplications(terms: Sequence[Term], out: Node, source: Node) -> int:
    """Multiplications in ``u @ J``, the stored factors given."""
    given: dict[Node, Node] = {
        node: Leaf(number, node.shape, node.dtype)
        for number, node in enumerate(factor_nodes(terms))
    }
    cotangent = Leaf(len(given), out.shape, out.dtype)
    labels = tuple(range(out.ndim + source.ndim))
    extents = dict(enumerate(out.shape + source.shape))
    parts = []
    for term in substitute_nodes(list(terms), given):
        factors = [(term, labels), (cotangent, labels[: out.ndim])]
        draft = Draft(source.shape, term.dtype, 1, dict(extents), factors, labels[out.ndim :])
        draft.inline(0)
        parts.append(derived(draft))
    return multiplications(make_plan([accumulate(parts, source.shape, source.dtype)]))
