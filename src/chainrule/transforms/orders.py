"""The networks of a Jacobian in the order of a mode, kept by graph; the order of "auto"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..chain.costs import node_flops, problem_of
from ..chain.elimination import Linearized, eliminate
from ..chain.network import NotHolomorphic, forward_network, reverse_network
from ..chain.orders import Found, search
from ..chain.sweep import active_nodes
from ..expr.nodes import Leaf, Node, Term
from ..expr.walk import topological
from ..jacobian.terms import factor_nodes
from ..lower.plan import make_plan
from ..lower.run import Cache
from ..trace.session import require_session

__all__ = ["Row", "clear", "computed", "found_orders", "networks", "remember", "swept"]

Row: TypeAlias = list[list[Term]]  # for one output: for each source, the terms

# What a budget of one second buys: products tried by the local search, and terms joined anew.
_TRIED, _JOINED = 400_000, 4_000
# "auto" searches where the reverse sweep takes more flops than this (some 10 µs), for about as long
# as these flops take, and no longer than half a second.
_WORTHWHILE = 20_000
_FLOPS_A_SECOND = 2e9
# ... and graphs up to so many vertices; and takes another order where it saves a twentieth
_MOST_VERTICES = 400
_SAVING = 0.95


def found_orders(graph: Linearized, budget: float) -> dict[str, Found]:
    """The orders of :func:`chainrule.chain.orders.search` for a budget in seconds."""
    return search(problem_of(graph, budget * _JOINED), round(budget * _TRIED))


def swept(outs: Sequence[Node], sources: Sequence[Leaf]) -> list[Row]:
    """The reverse sweep of each output; the forward one where a conjugate is in the way."""
    rows = []
    for out in outs:
        try:
            rows.append(reverse_network(out, sources))
        except NotHolomorphic:
            rows.append(forward_network(out, sources))
    return rows


def computed(rows: Sequence[Row]) -> list[Node]:
    """What evaluating the Jacobian computes: its factors that are not arguments themselves."""
    terms = [term for row in rows for terms in row for term in terms]
    return [node for node in factor_nodes(terms) if not isinstance(node, Leaf)]


_Networks = tuple[list[Row], list[Row]]
_networks: Cache[tuple[Any, ...], _Networks] = Cache(256)


def clear() -> None:
    """Forget networks and the orders chosen for them."""
    _networks.clear()


def remember(mode: str, outs: Sequence[Node], sources: Sequence[Node], found: _Networks) -> None:
    _networks.put((mode, tuple(outs), tuple(sources)), found)


def networks(mode: str, outs: Sequence[Node], sources: Sequence[Leaf]) -> _Networks:
    """For each output, for each source, the terms of a mode; and those of the reverse sweep.

    Kept by graph.  Must be called while the level that traced the outputs is open.
    """
    found = _networks.get((mode, tuple(outs), tuple(sources)))
    if found is None:
        session = require_session()
        before = session.slots
        backward = swept(outs, sources)
        if mode == "forward":
            made = [forward_network(out, sources) for out in outs]
        else:
            made = _cheapest(outs, sources, backward) if mode == "auto" else backward
        found = made, backward
        if session.slots == before:  # a custom rule that captured arrays holds in this session only
            remember(mode, outs, sources, found)
    return found


def _cheapest(outs: Sequence[Node], sources: Sequence[Leaf], backward: list[Row]) -> list[Row]:
    """The networks of a cheaper order than the reverse sweep's, where a short search finds one."""
    active = active_nodes(outs, sources)
    if len(active) > _MOST_VERTICES:
        return backward
    primal = set(active)
    new = topological(computed(backward), stop=primal.__contains__)
    spent = sum(node_flops(node) for node in new if node not in primal)
    if spent < _WORTHWHILE:
        return backward
    try:
        graph = Linearized.of(outs, sources)
    except NotHolomorphic:
        return backward
    budget = min(spent / _FLOPS_A_SECOND, 0.5)
    found = found_orders(graph, budget)
    best = found["best"]
    if not best.cost < _SAVING * found["reverse"].cost:
        return backward
    made = eliminate(graph, best.order)
    after, before = computed(made), computed(backward)
    if sum(node.nbytes for node in after) > sum(node.nbytes for node in before):
        return backward
    return made if make_plan(after).flops < make_plan(before).flops else backward
