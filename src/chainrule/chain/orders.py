"""The order of vertex elimination: what an order costs, and the search for a cheap one.

The graph is abstract here: an edge holds a value of some *algebra* that says what the product of
two edges and the sum of several parallel ones are, and what they cost.  The networks' algebra is in
:mod:`chainrule.chain.costs`; :class:`Counting` is that of scalar programs, the field's own measure.

========== ========================================================================================
forward    program order
reverse    the other way round
markowitz  greedy: next the vertex with the fewest products, predecessors times successors
cheapest   greedy: next the vertex whose products cost least
chain      dynamic programming over the intervals of a path, as for matrix chains
annealed   from the best of these, vertices move to other places in the order (simulated annealing)
========== ========================================================================================
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Algebra", "BudgetSpent", "Counting", "Found", "Problem", "search"]

E = TypeVar("E")

# A chain longer than this is searched like any other graph: dynamic programming is cubic.
_LONGEST_CHAIN = 48


class BudgetSpent(Exception):
    """An algebra has worked out as many edges as it was allowed to: the search ends."""


class Algebra(Protocol[E]):
    """What edges are.  ``None`` is an edge that turned out to be zero."""

    def product(self, above: E, below: E) -> tuple[E | None, float]:
        """The composition of two edges, and its cost."""
        ...

    def total(self, parts: tuple[E, ...]) -> tuple[E | None, float]:
        """Parallel edges added up, and the cost."""
        ...


class Counting:
    """Edges of scalar programs: a product is one multiplication.

    An edge is True if it is a number, False if it is 1 or -1: with ``units_free`` products with
    such edges cost nothing.  ``additions`` counts these too.
    """

    def __init__(self, units_free: bool = False, additions: bool = False) -> None:
        self.units_free = units_free
        self.additions = additions

    def product(self, above: bool, below: bool) -> tuple[bool | None, float]:
        cost = 1 if (above and below) or not self.units_free else 0
        return above or below, cost

    def total(self, parts: tuple[bool, ...]) -> tuple[bool | None, float]:
        if len(parts) == 1:
            return parts[0], 0
        return True, len(parts) - 1 if self.additions else 0


@dataclass(frozen=True, slots=True)
class Found:
    """An order, what it costs in the algebra's units, and the method that found it."""

    order: tuple[int, ...]
    cost: float
    method: str


class Problem(Generic[E]):
    """A graph whose vertices ``inner`` are to be eliminated; ``into[v]`` holds ``{u: edge}``."""

    def __init__(
        self, into: Sequence[Mapping[int, E]], inner: Sequence[int], algebra: Algebra[E]
    ) -> None:
        self.algebra = algebra
        self.inner = tuple(inner)
        self.into = [dict(row) for row in into]
        #: products made so far, by all evaluations: the measure of the search's own cost
        self.work = 0

    # -- one order ----------------------------------------------------------------------------
    def cost(self, order: Sequence[int], limit: float = math.inf) -> float:
        """What eliminating in this order costs; infinite once it exceeds ``limit``."""
        state = _State(self)
        spent = 0.0
        for vertex in order:
            spent += state.eliminate(vertex)
            if spent > limit:
                return math.inf
        return spent + state.finish()

    # -- greedy orders ------------------------------------------------------------------------
    def markowitz(self) -> tuple[int, ...]:
        """Next the vertex with the least number of products; of equal ones the latest."""
        into = [dict.fromkeys(row, True) for row in self.into]
        state = _State(Problem(into, self.inner, Counting()))
        return self._greedy(state, lambda v: len(state.below[v]) * len(state.above[v]))

    def cheapest(self) -> tuple[int, ...]:
        """Next the vertex whose elimination costs least; of equal ones the latest."""
        state = _State(self)
        return self._greedy(state, state.price)

    def _greedy(self, state: _State[Any], degree: Callable[[int], float]) -> tuple[int, ...]:
        degrees = {v: degree(v) for v in self.inner}
        order = []
        while degrees:
            vertex = min(degrees, key=lambda v: (degrees[v], -v))
            touched = [*state.below[vertex], *state.above[vertex]]
            state.eliminate(vertex)
            del degrees[vertex]
            order.append(vertex)
            for v in touched:
                if v in degrees:
                    degrees[v] = degree(v)
        return tuple(order)

    # -- chains -------------------------------------------------------------------------------
    def path(self) -> list[int] | None:
        """The vertices from end to end, where the graph is one path."""
        heads = {u: v for v, row in enumerate(self.into) for u in row}
        count = sum(len(row) for row in self.into)
        if len(heads) != count or any(len(row) > 1 for row in self.into):
            return None
        starts = [u for u in heads if not self.into[u]]
        if len(starts) != 1:
            return None
        vertices = starts
        while vertices[-1] in heads:
            vertices.append(heads[vertices[-1]])
        return vertices if len(vertices) == count + 1 else None

    def chain(self, vertices: Sequence[int]) -> tuple[int, ...]:
        """The cheapest order of a path: which vertex of each interval goes last."""
        n = len(vertices)
        edge: dict[tuple[int, int], E | None] = {}
        cost: dict[tuple[int, int], float] = {}
        split: dict[tuple[int, int], int] = {}
        for i in range(n - 1):
            edge[i, i + 1], cost[i, i + 1] = self.into[vertices[i + 1]][vertices[i]], 0.0
        for length in range(2, n):
            for i in range(n - length):
                j = i + length
                cost[i, j] = math.inf
                # of equal splits the last vertex to go is the first of the program, as in reverse
                for k in range(i + 1, j):
                    below, above = edge[i, k], edge[k, j]
                    made: E | None = None
                    spent = cost[i, k] + cost[k, j]
                    if below is not None and above is not None:
                        self.work += 1
                        made, price = self.algebra.product(above, below)
                        spent += price
                    if spent < cost[i, j]:
                        edge[i, j], cost[i, j], split[i, j] = made, spent, k
        order = []
        pending = [(0, n - 1)]
        while pending:
            i, j = pending.pop()
            if j - i > 1:
                k = split[i, j]
                order.append(vertices[k])
                pending += [(i, k), (k, j)]
        return tuple(reversed(order))

    # -- local search -------------------------------------------------------------------------
    def annealed(self, start: Found, work: int, seed: int = 0) -> Found:
        """Vertices move to other places while that pays, more boldly at first.

        It ends when ``work`` products have been tried; the same seed gives the same order.
        """
        rng = random.Random(seed)
        n = len(start.order)
        current = best = start
        if n < 2:
            return start
        end = self.work + work
        began = self.work
        while self.work < end:
            heat = 0.02 * start.cost * (1 - (self.work - began) / work) ** 2
            order = list(current.order)
            vertex = order.pop(rng.randrange(n))
            place = rng.randrange(n)
            order.insert(place, vertex)
            if tuple(order) == current.order:
                self.work += 1  # nothing tried, yet the search must end
                continue
            limit = current.cost - heat * math.log(1 - rng.random())
            cost = self.cost(order, limit)
            if cost <= limit:
                current = Found(tuple(order), cost, "annealed")
                if cost < best.cost:
                    best = current
        return best


class _State(Generic[E]):
    """A graph in which some vertices have been eliminated."""

    __slots__ = ("above", "below", "problem")

    def __init__(self, problem: Problem[E]) -> None:
        self.problem = problem
        # parallel edges are added up when one of their ends is eliminated
        self.below: list[dict[int, tuple[E, ...]]] = [
            {u: (edge,) for u, edge in row.items()} for row in problem.into
        ]
        self.above: list[dict[int, None]] = [{} for _ in problem.into]
        for v, row in enumerate(problem.into):
            for u in row:
                self.above[u][v] = None

    def eliminate(self, vertex: int) -> float:
        """Join all edges into the vertex with all edges out of it; the cost."""
        problem, algebra = self.problem, self.problem.algebra
        below, above = self.below, self.above
        spent = 0.0
        lower: list[tuple[int, E]] = []
        for u, parts in below[vertex].items():
            edge, price = algebra.total(parts)
            spent += price
            if edge is not None:
                lower.append((u, edge))
            del above[u][vertex]
        for v in above[vertex]:
            row = below[v]
            upper, price = algebra.total(row.pop(vertex))
            spent += price
            if upper is None:
                continue
            problem.work += len(lower)
            for u, edge in lower:
                made, price = algebra.product(upper, edge)
                spent += price
                if made is not None:
                    if u in row:
                        row[u] = (*row[u], made)
                    else:
                        row[u] = (made,)
                        above[u][v] = None
        below[vertex] = {}
        above[vertex] = {}
        return spent

    def price(self, vertex: int) -> float:
        """What eliminating the vertex would cost now."""
        algebra = self.problem.algebra
        lower = [algebra.total(parts) for parts in self.below[vertex].values()]
        upper = [algebra.total(self.below[v][vertex]) for v in self.above[vertex]]
        spent = sum(price for _, price in (*lower, *upper))
        self.problem.work += len(lower) * len(upper)
        for above, _ in upper:
            for below, _ in lower:
                if above is not None and below is not None:
                    spent += algebra.product(above, below)[1]
        return spent

    def finish(self) -> float:
        """The cost of adding up the edges that are left."""
        algebra = self.problem.algebra
        return sum(algebra.total(parts)[1] for row in self.below for parts in row.values())


def search(problem: Problem[E], work: int) -> dict[str, Found]:
    """The named orders with their costs, and the best of all as ``"best"``.

    ``work`` bounds the products tried by the local search, not the time: the result is the same on
    every machine.  Where the algebra's own budget is spent, the orders costed so far compete;
    ``"forward"`` and ``"reverse"`` are always there, their cost infinite if it is not known.
    """
    inner = problem.inner
    found = {
        "reverse": Found(inner[::-1], math.inf, "reverse"),
        "forward": Found(inner, math.inf, "forward"),
    }
    path = problem.path()
    orders: dict[str, Callable[[], tuple[int, ...]]] = {
        "reverse": lambda: inner[::-1],
        "forward": lambda: inner,
    }
    if path is not None and len(path) <= _LONGEST_CHAIN:
        orders["chain"] = lambda: problem.chain(path)
    else:
        orders["markowitz"] = problem.markowitz
        orders["cheapest"] = problem.cheapest
    best = found["reverse"]
    try:
        for method, order in orders.items():
            one = order()
            found[method] = Found(one, problem.cost(one), method)
            best = min(best, found[method], key=lambda f: f.cost)
        if work > 0 and path is None:
            best = problem.annealed(best, work)
    except BudgetSpent:
        pass
    found["best"] = best
    return found
