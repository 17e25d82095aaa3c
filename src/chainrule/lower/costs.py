"""What a lowered plan costs: flops, bytes moved, bytes held at most, multiplications.

These are properties of the steps alone, and what the NumPy backend does: it makes every buffer when
its step runs and drops it after the last use.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from .steps import (
    CallStep,
    Combine,
    Contract,
    Elementwise,
    Gather,
    Plan,
    Scale,
    Step,
    View,
    ViewOp,
)

__all__ = ["Cost", "cost_of", "multiplications"]


class Cost(NamedTuple):
    """Counts of one run."""

    flops: int  # multiply-add 2, transcendental 10
    bytes: int  # read and written by all steps, as if nothing stayed in a cache
    peak_bytes: int  # held at once, arguments not counted


def cost_of(plan: Plan) -> Cost:
    """The cost of running a plan once."""
    return Cost(plan.flops, sum(_moved(plan, step) for step in plan.steps), _peak(plan))


def _copies(step: View) -> bool:
    return any(op == ViewOp("contiguous", ()) for op in step.ops)


def _moved(plan: Plan, step: Step) -> int:
    values = plan.values
    if isinstance(step, View) and not _copies(step):
        return 0
    if isinstance(step, CallStep) and step.op == "item":
        return values[step.target].nbytes  # what the call has written
    read = [values[number].nbytes for number in step.inputs if number != step.target]
    if isinstance(step, Gather):
        read[0] = values[step.target].nbytes  # only what is picked
    written = values[step.target].nbytes
    if step.target in step.inputs:
        written = min(written, sum(read))  # placed, or added, into a part of a buffer
    return sum(read) + written


def _peak(plan: Plan) -> int:
    values = plan.values
    last: dict[int, int] = {}
    for number, step in enumerate(plan.steps):
        for value in (*step.inputs, step.target):
            last[values[value].root] = number
    for value in plan.outputs:
        last[values[value].root] = len(plan.steps)
    leaving: dict[int, list[int]] = {}
    for root, number in last.items():
        leaving.setdefault(number, []).append(root)
    arguments = {values[number].root for number in plan.inputs}
    held = most = 0
    alive: set[int] = set(arguments)
    sizes: Counter[int] = Counter()
    for number, step in enumerate(plan.steps):
        root = values[step.target].root
        if root not in alive:
            alive.add(root)
            sizes[root] = values[root].nbytes
            held += sizes[root]
            most = max(most, held)
        for root in leaving.get(number, ()):
            held -= sizes.pop(root, 0)
    copied = sum(
        values[number].nbytes
        for number, copy in zip(plan.outputs, plan.copies, strict=True)
        if copy
    )
    return max(most, held + copied)


def multiplications(plan: Plan) -> int:
    """Multiplications (and divisions) in products, contractions and scalings of a plan."""
    total = 0
    for step in plan.steps:
        match step:
            case Contract():
                total += step.flops // 2
            case Elementwise(op="multiply" | "divide" | "square"):
                total += step.flops
            case Scale() if step.coef not in (1, -1):
                total += step.flops
            case Combine():
                scaled = sum(1 for coef in step.coefs if coef not in (1, -1))
                total += scaled * plan.values[step.target].size
    return total
