"""Python loops that repeat one body, found in a traced program and rolled up into one ``scan``.

Runs are found by :mod:`.repeats`.  A scan computes the same operations in the same order.  What it
loses is what derivatives know across rounds: masks (a False factor makes 0 of anything,
infinities included) and elements that are zero by structure.  So a run stays as it is where a mask
lies in the way of a derivative, and where elements may be zero by structure unless all its partial
derivatives are finite.  It also stays where values of inner rounds are read after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..expr.bodies import body_of
from ..expr.build import broadcast, view
from ..expr.calls import calls
from ..expr.draft import zeros
from ..expr.nodes import Const, Leaf, Map, Node, Sum, Term
from ..expr.subs import Affine, Sub, affine
from ..expr.walk import substitute_nodes, topological
from .repeats import (
    CONST,
    Program,
    Run,
    Slot,
    delays_of,
    is_scaled,
    operands_of,
    row_of,
    worthwhile,
)

__all__ = ["rolled"]

# Loops rolled up in one program.
_LOOPS = 16

Arrays: TypeAlias = Callable[["np.ndarray[Any, Any]"], Node]


def rolled(
    roots: Sequence[Node],
    array: Arrays,
    forward: bool = False,
    backward: bool = False,
    since: int = 0,
) -> list[Node]:
    """``roots`` with long runs of equal rounds as ``scan``; ``array`` makes a node of numbers.

    ``forward``, ``backward``: the derivatives that will be taken of the result; ``since``: the
    first number of a node that was made for this program.
    """
    found = list(roots)
    if not worthwhile(len(topological(found))):
        return found
    for _ in range(_LOOPS):
        program = Program(found, since)
        if not worthwhile(len(program.order)):
            break
        run = program.longest(forward, backward)
        if run is None:
            break
        found = substitute_nodes(found, _scan(program, run, array))
    return found


# -- rolling up -----------------------------------------------------------------------------------
def _scan(program: Program, run: Run, array: Arrays) -> dict[Node, Node]:
    """What takes the place of the nodes of the last rounds."""
    order, start, period, rounds = program.order, run.start, run.period, run.rounds
    slot_number = iter(range(1 << 40, 1 << 41))

    def new_leaf(shape: tuple[int, ...], dtype: Any) -> Leaf:
        return Leaf(next(slot_number), shape, dtype)

    carries: dict[tuple[int, int], tuple[Leaf, Node]] = {}
    for where, delay in delays_of(run).items():
        like = order[start + where]
        for d in range(1, delay + 1):
            init = order[start + where - d * period]
            carries[where, d] = new_leaf(like.shape, like.dtype), init
    captured: dict[Node, Leaf] = {}
    rows: dict[Any, tuple[Leaf, Node]] = {}

    def scalars(values: list[Any], dtype: Any, shape: tuple[int, ...]) -> Node:
        numbers = np.array([float(v) for v in values])
        with np.errstate(over="ignore"):
            numbers = numbers.astype(dtype)
        key = numbers.tobytes(), dtype
        if key not in rows:
            rows[key] = new_leaf((), dtype), array(numbers)
        return broadcast(rows[key][0], shape)

    def row(slot: Slot, operand: Node) -> Node:
        view_ = row_of(operand)
        assert view_ is not None
        key = operand, slot
        if key not in rows:
            _, axis, step = slot
            (base, subs) = view_.factors[0]
            shape = (rounds, *view_.shape)
            shifted: list[Sub] = [s + 1 if isinstance(s, int) else s for s in subs]
            first = subs[axis]
            assert isinstance(first, Affine)
            shifted[axis] = affine(first.const, [(step, 0)])
            stacked = view(base, dict(enumerate(shape)), shifted, range(len(shape)), shape)
            rows[key] = new_leaf(view_.shape, view_.dtype), stacked
        return rows[key][0]

    made: list[Node] = []
    for place, slots in enumerate(run.slots):
        node = order[start + place]
        operands: list[Node] = []
        for k, (slot, operand) in enumerate(zip(slots, operands_of(node), strict=True)):
            if slot == CONST:
                values = [
                    operands_of(order[i])[k].value  # type: ignore[attr-defined]
                    for i in range(start + place, run.stop, period)
                ]
                same = all(_equal(v, values[0]) for v in values)
                operands.append(operand if same else scalars(values, node.dtype, node.shape))
            elif slot[0] == "row":
                operands.append(row(slot, operand))
            elif slot[0] == "moved":
                back, where = divmod(place - slot[1], period)
                operands.append(made[where] if back == 0 else carries[where, -back][0])
            elif isinstance(operand, Const):
                operands.append(operand)
            else:
                if operand not in captured:
                    captured[operand] = new_leaf(operand.shape, operand.dtype)
                operands.append(captured[operand])
        if is_scaled(node):
            coefs = [order[i].coef for i in range(start + place, run.stop, period)]  # type: ignore[attr-defined]
            if not all(_equal(c, coefs[0]) for c in coefs):
                assert isinstance(node, Term)
                factors = ((operands[0], node.out), (scalars(coefs, node.dtype, ()), ()))
                made.append(Term(node.shape, node.dtype, 1, node.extents, factors, node.out))
                continue
        made.append(_over(node, operands))
    inside = set(order[start : run.stop])
    read = set(program.roots)
    for n in program.nodes:
        if n not in inside:
            read.update(n.children)
    for where in range(period):  # what leaves the loop without being carried
        node = order[run.stop - period + where]
        if node in read and (where, 1) not in carries:
            carries[where, 1] = new_leaf(node.shape, node.dtype), zeros(node.shape, node.dtype)
    outs = [made[where] if d == 1 else carries[where, d - 1][0] for where, d in carries]
    leaves = [leaf for leaf, _ in (*carries.values(), *rows.values())] + list(captured.values())
    args = [node for _, node in (*carries.values(), *rows.values())] + list(captured)
    params = (body_of(leaves, outs), rounds, len(carries), len(rows), False)
    results = calls("scan", args, params)
    return {
        order[run.stop - d * period + where]: result
        for (where, d), result in zip(carries, results, strict=True)
    }


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a is b or np.float64(a).tobytes() == np.float64(b).tobytes())


def _over(node: Node, operands: Sequence[Node]) -> Node:
    """The node over other operands, slot by slot."""
    if isinstance(node, Map):
        return Map(node.op, node.shape, node.dtype, tuple(operands), node.params)
    if isinstance(node, Sum):
        parts = tuple((c, n) for (c, _), n in zip(node.parts, operands, strict=True))
        return Sum(node.shape, node.dtype, parts)
    assert isinstance(node, Term)
    factors = tuple((n, subs) for (_, subs), n in zip(node.factors, operands, strict=True))
    return Term(
        node.shape, node.dtype, node.coef, node.extents, factors, node.out, node.constraints
    )
