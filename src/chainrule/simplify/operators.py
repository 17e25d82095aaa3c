"""Operator factors are applied, not formed: A⁻¹ g is a solve, ∂eᴬ·E an exponential of blocks.

An operator (:data:`chainrule.expr.calls.OPERATORS`) is a Call that stands for a linear map as a
dense tensor, with axes ``(batch…, rows…, columns…)``.  Where a product of factors sums over all
labels of the rows, or of the columns, those factors are gathered into one right-hand side

    rhs[batch…, side…, rest…] = Σ Π factors

(its own loop nest, so that shifted, constant and looked-up subscripts scatter into it), and the
operator with them is replaced by one call that maps it.  The rest axes are what other factors and
the output still need of the labels gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np

from ..expr.build import is_zero, linear, permute, reshape, view
from ..expr.calls import call
from ..expr.draft import Draft
from ..expr.nodes import Call, Const, Factor, Node
from ..expr.subs import Sub, affine, labels_of
from .terms import APPLY, Derive

__all__: list[str] = []

# (operator, rhs with batch axes, side axes, rest axes; transposed) -> image, axes in that order
Image: TypeAlias = Callable[[Call, Node, bool], Node]


class _Side(NamedTuple):
    """What is gathered to contract one side of an operator."""

    transposed: bool
    subs: tuple[Sub, ...]
    group: list[int]
    closed: set[int]
    rest: list[int]
    moved: list[Sub]
    cost: int


def _ordered(subs: Sequence[Sub]) -> list[int]:
    found: dict[int, None] = {}
    for sub in subs:
        found.update(labels_of(sub))
    return list(found)


def _labels(subs: Sequence[Sub]) -> set[int]:
    return set(_ordered(subs))


def _side(
    draft: Draft, position: int, taken: tuple[Sub, ...], kept: tuple[Sub, ...], transposed: bool
) -> _Side | None:
    """The cheapest group of factors that closes the labels of ``taken``, if there is one."""
    goal = _labels(taken)
    outer = _labels(draft.out) | _labels(kept)
    if goal & outer:
        return None
    holds = {k: _labels(subs) for k, (_, subs) in enumerate(draft.factors) if k != position}
    group = [k for k, labels in holds.items() if labels & goal]
    if any(_is_operator(draft.factors[k][0]) for k in group):
        return None

    def needed(chosen: list[int], inside: set[int]) -> list[int]:
        outside = set(outer)
        for k, labels in holds.items():
            if k not in chosen:
                outside |= labels
        for sub in draft.constraints:
            labels = set(labels_of(sub))
            if not labels <= inside or not labels & goal:
                outside |= labels
        return [k for k in draft.extents if k in inside and k in outside]

    def size(chosen: list[int]) -> tuple[int, set[int], list[int]]:
        inside = goal.union(*(holds[k] for k in chosen))
        rest = needed(chosen, inside)
        return prod(draft.extents[k] for k in rest), inside, rest

    cost, inside, rest = size(group)
    growing = True
    while growing:
        growing = False
        for k, labels in holds.items():
            if k in group or not labels & inside or _is_operator(draft.factors[k][0]):
                continue
            trial = size([*group, k])
            if trial[0] < cost:
                group = [*group, k]
                cost, inside, rest = trial
                growing = True
    if goal & set(rest):
        return None
    moved = [
        sub
        for sub in draft.constraints
        if (labels := set(labels_of(sub))) & goal and labels <= inside
    ]
    return _Side(transposed, taken, sorted(group), inside - set(rest), rest, moved, cost)


def _is_operator(node: Node) -> bool:
    return isinstance(node, Call) and node.op in APPLY


def _apply(draft: Draft, position: int, derived: Derive, image: Image) -> bool:
    node, subs = draft.factors[position]
    assert isinstance(node, Call)
    batch = node.args[0].ndim - _CORE[node.op]
    core = subs[batch:]
    half = len(core) // 2
    rows, columns = core[:half], core[half:]
    lead = subs[:batch]
    sides = [
        _side(draft, position, columns, (*lead, *rows), False),
        _side(draft, position, rows, (*lead, *columns), True),
    ]
    found = [s for s in sides if s is not None]
    if not found:
        return False
    side = min(found, key=lambda s: s.cost)
    operator = _at_batch(node, lead, draft)
    labels = _ordered(lead)
    rest = [k for k in side.rest if k not in labels]
    factors = [draft.factors[k] for k in side.group]
    inside = {
        k: draft.extents[k] for k in draft.extents if k in side.closed or k in labels or k in rest
    }
    dtypes = [n.dtype for n, _ in factors if not isinstance(n, Const)]
    shape = (
        *(draft.extents[k] for k in labels),
        *node.shape[batch : batch + half],
        *(draft.extents[k] for k in rest),
    )
    rhs = derived(
        Draft(
            shape,
            np.result_type(node.dtype, *dtypes),
            1,
            inside,
            factors,
            (*labels, *side.subs, *rest),
            side.moved,
        )
    )
    if is_zero(rhs):
        draft.zero = True
        return True
    result = image(operator, rhs, side.transposed)
    other = columns if side.transposed else rows
    pair: Factor = (result, (*labels, *other, *rest))
    chosen = {*side.group, position}
    draft.factors = [f for k, f in enumerate(draft.factors) if k not in chosen]
    draft.factors.insert(min(position, len(draft.factors)), pair)
    draft.constraints = [s for s in draft.constraints if s not in side.moved]
    for label in side.closed:
        del draft.extents[label]
    return True


def _at_batch(node: Call, lead: Sequence[Sub], draft: Draft) -> Call:
    """The operator read at its batch subscripts: batch axes are then the labels themselves."""
    labels = _ordered(lead)
    if list(lead) == labels and all(
        draft.extents[k] == e for k, e in zip(labels, node.shape, strict=False)
    ):
        return node
    args = []
    for arg in node.args:
        core = arg.shape[len(lead) :]
        start = max(draft.extents, default=-1) + 1
        inner = tuple(range(start, start + len(core)))
        extents = {k: draft.extents[k] for k in labels} | dict(zip(inner, core, strict=True))
        shape = (*(draft.extents[k] for k in labels), *core)
        args.append(view(arg, extents, (*lead, *inner), (*labels, *inner), shape))
    return call(node.op, *args, params=node.params, index=node.index)


def _swapped(node: Node) -> Node:
    axes = list(range(node.ndim))
    return permute(node, [*axes[:-2], axes[-1], axes[-2]])


def _as_columns(rhs: Node, batch: int, act: Callable[[Node], Node]) -> Node:
    """Apply ``act`` to ``rhs`` with its rest axes merged into the columns of a matrix."""
    n = rhs.shape[batch]
    columns = prod(rhs.shape[batch + 1 :])
    return reshape(act(reshape(rhs, (*rhs.shape[:batch], n, columns))), rhs.shape)


def _solve(operator: Call, rhs: Node, transposed: bool) -> Node:
    a = operator.args[0]
    matrix = _swapped(a) if transposed else a
    return _as_columns(rhs, a.ndim - 2, lambda b: call("solve", matrix, b))


def _solve_triangular(operator: Call, rhs: Node, transposed: bool) -> Node:
    t = operator.args[0]
    lower, unit = operator.params
    matrix = _swapped(t) if transposed else t
    params = (lower != transposed, unit)
    return _as_columns(
        rhs, t.ndim - 2, lambda b: call("solve_triangular", matrix, b, params=params)
    )


def _frechet(operator: Call, rhs: Node, transposed: bool) -> Node:
    """L(A, E), the upper right block of exp [[A, E], [0, A]]; the adjoint map is L(Aᵀ, ·)."""
    a = operator.args[0]
    batch, n = a.ndim - 2, a.shape[-1]
    if transposed:
        a = _swapped(a)
    order = [*range(batch), *range(batch + 2, rhs.ndim), batch, batch + 1]
    e = permute(rhs, order)
    lead = range(e.ndim - 2)
    whole = view(
        a,
        dict(enumerate(e.shape)),
        (*range(batch), e.ndim - 2, e.ndim - 1),
        range(e.ndim),
        e.shape,
    )
    i, j = e.ndim - 2, e.ndim - 1
    shape = (*e.shape[:-2], 2 * n, 2 * n)

    def block(node: Node, down: int, right: int) -> Node:
        out = (*lead, affine(down, [(1, i)]), affine(right, [(1, j)]))
        labels = tuple(range(node.ndim))
        return Draft(shape, e.dtype, 1, dict(enumerate(node.shape)), [(node, labels)], out).finish()

    blocks = linear(
        (1, block(whole, 0, 0)), (1, block(whole, n, n)), (1, block(e, 0, n)), dtype=e.dtype
    )
    labels = tuple(range(e.ndim))
    corner = view(
        call("expm", blocks),
        dict(enumerate(e.shape)),
        (*lead, i, affine(n, [(1, j)])),
        labels,
        e.shape,
    )
    back = [order.index(k) for k in range(rhs.ndim)]
    return permute(corner, back)


def _recur(operator: Call, rhs: Node, transposed: bool) -> Node:
    a = operator.args[0]
    batch = a.ndim - 1
    order = [*range(batch), *range(batch + 1, rhs.ndim), batch]
    b = permute(rhs, order)
    if b.ndim > a.ndim:
        labels = tuple(range(b.ndim))
        subs = (*labels[:batch], labels[-1])
        a = view(a, dict(enumerate(b.shape)), subs, labels, b.shape)
    y = call("recurrence", a, b, params=(transposed,))
    return permute(y, [order.index(k) for k in range(rhs.ndim)])


_CORE = {"inverse": 2, "triangular_inverse": 2, "expm_jacobian": 2, "segment_products": 1}
_IMAGES: dict[str, Image] = {
    "inverse": _solve,
    "triangular_inverse": _solve_triangular,
    "expm_jacobian": _frechet,
    "segment_products": _recur,
}


def _register(op: str, image: Image) -> None:
    def apply(draft: Draft, position: int, derived: Derive) -> bool:
        return _apply(draft, position, derived, image)

    APPLY[op] = apply


for _op, _image in _IMAGES.items():
    _register(_op, _image)
