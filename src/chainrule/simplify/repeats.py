"""Runs: stretches of a program in which one body repeats.

The nodes are put in the order in which they were made; those that were there before (other
programs that live share them) stand before the first node that reads them.  A *run* is a stretch of
it in which node ``i + p`` is node ``i`` again for a *period* ``p``, slot by slot one of

======  ==========================================================================================
same    the same node: captured
moved   the node ``p`` places further: inside the round, or carried over from an earlier one
const   another Python scalar: a row of an array of them, in the dtype that they take part in
row     the next row of one array (a view at a constant subscript): a row of that array
======  ==========================================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..expr.nodes import Box, Call, Const, Leaf, Map, Node, Sum, Term, scalar_key
from ..expr.subs import Affine, Sub
from ..expr.walk import topological

__all__ = [
    "CONST",
    "ROUNDS",
    "WORTHWHILE",
    "Program",
    "Run",
    "Slot",
    "delays_of",
    "is_scaled",
    "operands_of",
    "row_of",
    "worthwhile",
]

#: Runs of fewer rounds, or of fewer nodes in all, stay as they are: compiled, they run faster.
ROUNDS, WORTHWHILE = 8, 1000
# Periods that are compared slot by slot, of so many by which kinds of nodes may repeat; how many
# places ahead of the same kind are looked at for them.
_PERIODS, _LIKELY, _AHEAD = 8, 48, 12

# Elements of one value, and of a whole run: a reverse derivative computes larger ones once more.
_SMALL, _MOST = 1 << 12, 1 << 22

# Elementwise chains of fewer nodes are one native loop that keeps values in registers.
_FUSED = 30_000

# Partial derivatives are finite and no masks ...
_FINITE = {"sin", "cos", "tanh", "arctan", "arcsinh", "sinh", "cosh", "exp", "exp2", "expm1"}
_FINITE |= {"expit", "log_expit", "erf", "erfc", "square", "negative", "multiply", "stop"}
# ... or are no masks, at least.
_SMOOTH = _FINITE | {"log", "log2", "log10", "log1p", "sqrt", "cbrt", "reciprocal", "divide"}
_SMOOTH |= {"tan", "arcsin", "arccos", "arccosh", "arctanh"}

Slot: TypeAlias = "tuple[Any, ...]"
_SAME: Slot = ("same",)
CONST: Slot = ("const",)


def worthwhile(nodes: int) -> bool:
    """Whether a program of so many nodes may have a run."""
    return nodes >= WORTHWHILE


@dataclass(slots=True)
class Run:
    """``rounds`` times ``period`` nodes from place ``start`` on, and each place's slots."""

    start: int
    period: int
    rounds: int
    slots: list[tuple[Slot, ...]]

    @property
    def stop(self) -> int:
        return self.start + self.period * self.rounds


# -- nodes and their slots ----------------------------------------------------------------------
def operands_of(node: Node) -> tuple[Node, ...]:
    """What a node reads, one entry a slot."""
    if isinstance(node, Map):
        return node.args
    if isinstance(node, Sum):
        return tuple([n for _, n in node.parts])
    assert isinstance(node, Term)
    return tuple([n for n, _ in node.factors])


def is_scaled(node: Node) -> bool:
    """Whether a node is ``coef · x``, by element, with real floats: the coefficient may change."""
    return (
        isinstance(node, Term)
        and len(node.factors) == 1
        and node.dtype.kind == "f"
        and not node.constraints
        and _plain(node.coef)
        and node.factors[0][0].dtype == node.dtype
        and node.factors[0][1] == node.out == tuple(range(len(node.shape)))
        and node.factors[0][0].shape == node.shape
    )


def row_of(node: Node) -> Term | None:
    """The node, if it is a part of an array under constant subscripts and labels."""
    if (
        isinstance(node, Term)
        and len(node.factors) == 1
        and type(node.coef) is int
        and node.coef == 1
        and not node.constraints
        and len(node.children) == 1
        and node.dtype == node.factors[0][0].dtype
        and node.out == tuple(range(len(node.shape)))
        and any(_fixed(sub) for sub in node.factors[0][1])
        and all(isinstance(sub, int) or _fixed(sub) for sub in node.factors[0][1])
    ):
        return node
    return None


def _fixed(sub: Sub) -> bool:
    return isinstance(sub, Affine) and not sub.parts


def _supported(node: Node) -> bool:
    """Whether a node may be part of a round."""
    if node.dtype.kind not in "fc":
        return False
    if isinstance(node, Map):
        return node.op in _SMOOTH
    if isinstance(node, Sum):
        return bool(node.parts)
    if isinstance(node, Term):
        operands = {n for n, _ in node.factors}
        return len(node.children) == len(operands) and all(n.dtype.kind in "fc" for n in operands)
    return False


def _kind(node: Node) -> Any:
    """What nodes of one place in different rounds have in common."""
    operands = tuple(
        [
            type(n.value)
            if isinstance(n, Const) and type(n.value) is not int
            else (n.shape, n.dtype)
            for n in operands_of(node)
        ]
    )
    if isinstance(node, Map):
        return node.op, node.shape, node.dtype, node.params, operands
    if isinstance(node, Sum):
        return node.shape, node.dtype, tuple([scalar_key(c) for c, _ in node.parts]), operands
    assert isinstance(node, Term)
    coef = "any" if is_scaled(node) else scalar_key(node.coef)
    subs = tuple([s for _, s in node.factors])
    return node.shape, node.dtype, coef, node.extents, subs, node.out, node.constraints, operands


def _outline(node: Node) -> Any:
    """As :func:`_kind`, in short."""
    if isinstance(node, Map):
        return node.op, node.shape
    return node.kind, node.shape, len(node.children)


def _numbered(keys: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Equal keys get equal numbers."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp)


def _as_made(roots: Sequence[Node], since: int) -> list[Node]:
    """All nodes in the order in which a trace made them, or first read them."""
    whole = topological(roots)
    made = sorted([n for n in whole if n.uid >= since], key=lambda n: n.uid)
    order: list[Node] = [n for n in whole if isinstance(n, Leaf | Const) and n.uid < since]
    if len(made) + len(order) == len(whole):
        return order + made
    done = set(order)
    for node in (*made, *roots):
        if node in done:
            continue
        if all(child in done for child in node.children):
            order.append(node)
            done.add(node)
        else:
            fresh = [n for n in topological([node], stop=done.__contains__) if n not in done]
            order += fresh
            done.update(fresh)
    return order


def _partial(node: Node, reached: set[Node]) -> bool:
    """Whether a derivative may leave elements zero: parts are read, written or chosen."""
    if not isinstance(node, Term):
        return False
    if node.constraints or any(not isinstance(s, int) for s in node.out):
        return True
    reads = [subs for n, subs in node.factors if n in reached]
    return any(
        not all(isinstance(s, int) for s in subs) or len(set(subs)) < len(subs)
        for subs in (*reads, node.out)
    )


# -- finding --------------------------------------------------------------------------------------
class Program:
    """The nodes under some roots in the order of their making, without what rounds look through."""

    def __init__(self, roots: Sequence[Node], since: int) -> None:
        self.roots = list(roots)
        self.nodes = _as_made(roots, since)
        rows = [row for row in map(row_of, self.nodes) if row is not None]
        arrays = Counter([row.factors[0][0] for row in rows])
        through: set[Node] = {
            row
            for row in rows
            if isinstance(base := row.factors[0][0], Leaf) or arrays[base] >= ROUNDS
        }
        self.order = [n for n in self.nodes if not isinstance(n, Leaf | Const) and n not in through]
        self.place = {node: k for k, node in enumerate(self.order)}
        self.kinds = _numbered([_outline(node) for node in self.order])
        if next(self._periods(), None) is not None:  # only then look closer
            self.kinds = _numbered([_kind(n) if _supported(n) else n for n in self.order])

    def longest(self, forward: bool, backward: bool) -> Run | None:
        """The run of most nodes that may be rolled up."""
        best: Run | None = None
        for period, stretches in self._periods():
            for start, stop in stretches:
                run = self._run(period, start, stop)
                if run is None or (
                    best is not None and run.stop - run.start <= best.stop - best.start
                ):
                    continue
                if self._closed(run) and self._safe(run, forward, backward):
                    best = run
            if best is not None and 10 * (best.stop - best.start) > 9 * len(self.order):
                break
        return best

    def _periods(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Distances at which kinds repeat for long, and where; shorter ones first."""
        kinds, count = self.kinds, len(self.order)
        by_kind = np.argsort(kinds, kind="stable")
        sorted_kinds = kinds[by_kind]
        votes = np.zeros(count + 1, np.intp)
        for ahead in range(1, _AHEAD + 1):
            alike = sorted_kinds[ahead:] == sorted_kinds[:-ahead]
            gaps = (by_kind[ahead:] - by_kind[:-ahead])[alike]
            votes += np.bincount(gaps, minlength=count + 1)
        least = min(WORTHWHILE // 2, count)
        votes = votes[: count // ROUNDS + 1]
        likely = np.flatnonzero(votes * _AHEAD >= least)
        if len(likely) > _LIKELY:
            likely = np.sort(likely[np.argsort(votes[likely], kind="stable")[-_LIKELY:]])
        tried = 0
        for period in likely.tolist():
            alike = np.concatenate(([False], kinds[period:] == kinds[:-period], [False]))
            (edges,) = np.nonzero(alike[1:] != alike[:-1])
            starts, stops = edges[::2], edges[1::2]
            lengths = stops - starts
            enough = (lengths + period >= WORTHWHILE) & (lengths >= (ROUNDS - 1) * period)
            if enough.any():
                yield (
                    period,
                    list(zip(starts[enough].tolist(), stops[enough].tolist(), strict=True)),
                )
                tried += 1
                if tried == _PERIODS:
                    return

    def _run(self, period: int, start: int, stop: int) -> Run | None:
        """The longest run among the pairs (i, i + period) of a stretch."""
        slots: list[tuple[Slot, ...] | None] = [self._pair(i, period) for i in range(start, stop)]
        best = (0, 0)
        first = 0
        for k, found in enumerate(slots):
            if found is None:
                first = k + 1
            elif k - period >= first and found != slots[k - period]:
                first = k - period + 1
            if k + 1 - first > best[1] - best[0]:
                best = first, k + 1
        first, last = best
        rounds = (last - first) // period + 1
        if rounds < ROUNDS or rounds * period < WORTHWHILE:
            return None
        taken = [found for found in slots[first : first + period] if found is not None]
        return Run(start + first, period, rounds, taken)

    def _pair(self, i: int, period: int) -> tuple[Slot, ...] | None:
        """How the slots of node ``i`` go over into those of node ``i + period``."""
        node, other = self.order[i], self.order[i + period]
        found = []
        for a, b in zip(operands_of(node), operands_of(other), strict=True):
            slot = self._slot(i, period, node, a, b)
            if slot is None:
                return None
            found.append(slot)
        return tuple(found)

    def _slot(self, i: int, period: int, node: Node, a: Node, b: Node) -> Slot | None:
        if isinstance(a, Const):
            if isinstance(b, Const) and _may_change(node):
                return CONST
            return _SAME if a is b else None
        if a is b:
            return _SAME
        place = self.place.get(a)
        if place is not None:
            return ("moved", i - place) if self.place.get(b) == place + period else None
        return _step(a, b)

    def _closed(self, run: Run) -> bool:
        """Whether nodes of one round are read by nodes of the run or of the last rounds alone."""
        order, period = self.order, run.period
        inside = set(order[run.start : run.stop])
        for place, slots in enumerate(run.slots):
            for slot, operand in zip(slots, operands_of(order[run.start + place]), strict=True):
                base = operand
                row = row_of(operand)
                if slot[0] == "moved":
                    if run.start + place - slot[1] < 0:
                        return False
                    continue
                if row is not None:
                    base = row.factors[0][0]
                if base in inside:
                    return False
                if (k := self.place.get(base)) is not None and k >= run.start:
                    return False
        kept = run.stop - period * max(1, _delay(run))
        early = set(order[run.start : kept])
        if any(root in early for root in self.roots):
            return False
        for node in self.nodes:
            if node not in inside and any(child in early for child in node.children):
                return False
        delays = delays_of(run)
        late = {order[k]: k for k in range(kept, run.stop - period)}
        if late:  # of rounds before the last, what is carried on
            read = set(self.roots)
            for node in self.nodes:
                if node not in inside:
                    read.update(node.children)
            for node, k in late.items():
                where, delay = (k - run.start) % period, -((k - run.stop) // period)
                if node in read and delays.get(where, 0) < delay:
                    return False
        for where, delay in delays.items():
            for d in range(1, delay + 1):
                k = run.start + where - d * period
                like = order[run.start + where]
                if k < 0 or (order[k].shape, order[k].dtype) != (like.shape, like.dtype):
                    return False
        return True

    def _safe(self, run: Run, forward: bool, backward: bool) -> bool:
        """Whether the derivatives through the run know no more than those of a loop."""
        order = self.order
        inside = set(order[run.start : run.stop])
        body = order[run.start : run.start + run.period]
        if not (forward or backward):
            return len(order) >= _FUSED or not all(map(_elementwise, body))
        sizes = [n.size for n in body]
        if backward and (max(sizes) > _SMALL or run.rounds * sum(sizes) > _MOST):
            return False
        alive = _differentiated(self.roots)
        after = set(inside)
        for node in self.nodes:
            if node not in after and any(child in after for child in node.children):
                after.add(node)
        around: list[Node] = []
        if backward:
            around += [n for n in self.nodes if n in after and n not in inside and n in alive]
        if forward:
            around += [n for n in topological(body) if n not in inside]
        if any(_masks(n) for n in around):
            return False
        ops = {n.op for n in body if isinstance(n, Map)}
        divided = any(
            isinstance(n, Map) and n.op == "divide" and not isinstance(n.args[1], Const)
            for n in body
        )
        if ops <= _FINITE | {"divide"} and not divided:
            return True
        reached = set(self.nodes)
        return not any(_partial(n, reached) for n in (*around, *body))


def _may_change(node: Node) -> bool:
    """Whether a scalar in a node may be another one in each round."""
    return (
        (isinstance(node, Sum) or (isinstance(node, Map) and node.op in ("divide", "multiply")))
        and node.dtype.kind == "f"
        and all(
            _plain(n.value) if isinstance(n, Const) else n.dtype == node.dtype
            for n in operands_of(node)
        )
        and not all(isinstance(n, Const) for n in operands_of(node))
    )


def _elementwise(node: Node) -> bool:
    """Whether a node takes each of its elements from one element of each operand."""
    return not isinstance(node, Term) or (
        node.extents == node.shape and all(subs == node.out for _, subs in node.factors)
    )


def _plain(value: Any) -> bool:
    """Whether a scalar is a real number that float64 holds exactly."""
    return type(value) is float or (type(value) is int and abs(value) <= 2**53)


def _step(a: Node, b: Node) -> Slot | None:
    """The axis and the step between two rows of one array."""
    first, second = row_of(a), row_of(b)
    if first is None or second is None or first.extents != second.extents:
        return None
    (base, subs), (other, others) = first.factors[0], second.factors[0]
    if base is not other:
        return None
    differ = [k for k, (s, t) in enumerate(zip(subs, others, strict=True)) if s != t]
    if len(differ) != 1:
        return None
    s, t = subs[differ[0]], others[differ[0]]
    if not isinstance(s, Affine) or not isinstance(t, Affine) or s.parts or t.parts:
        return None
    return "row", differ[0], t.const - s.const


def delays_of(run: Run) -> dict[int, int]:
    """By place in the round: how many rounds later its value is still read."""
    found: dict[int, int] = {}
    for place, slots in enumerate(run.slots):
        for slot in slots:
            if slot[0] == "moved" and place - slot[1] < 0:
                back, where = divmod(place - slot[1], run.period)
                found[where] = max(found.get(where, 0), -back)
    return found


def _delay(run: Run) -> int:
    return max(delays_of(run).values(), default=0)


def _differentiated(roots: Sequence[Node]) -> set[Node]:
    """The nodes that cotangents of the roots arrive at."""
    found: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in found or node.dtype.kind not in "fc":
            continue
        found.add(node)
        if not (isinstance(node, Map) and node.op == "stop"):
            stack.extend(node.children)
    return found


def _masks(node: Node) -> bool:
    """Whether a node's derivative may select elements (or nothing is known of it)."""
    if isinstance(node, Leaf | Const | Box):
        return node.dtype.kind == "b"
    if isinstance(node, Sum) and not node.parts:
        return False
    if isinstance(node, Map) and node.op in ("conj", "real", "imag", "astype"):
        return node.dtype.kind not in "fc"
    if isinstance(node, Call) and node.op == "scan":  # no mask passes through it, rolled up or not
        return False
    return not _supported(node)
