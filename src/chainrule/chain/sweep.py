"""Reverse and forward sweeps: both read the same local Jacobians, from opposite sides.

For complex arguments, with ``dy = A·t + B·conj(t)`` (A = ∂y/∂z, B = ∂y/∂z̄) the reverse sweep
gives ``Aᵀg + conj(Bᵀg)``, JAX's convention.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..expr.build import cast, is_zero, map_, zeros
from ..expr.draft import Draft
from ..expr.nodes import Call, Const, Map, Node, Sum, Term
from ..expr.ops import join_dtypes
from ..expr.subs import substitute
from ..expr.walk import topological
from ..rules.elementwise import BOUNDED
from ..rules.local import Piece, differentiable, local_jacobian
from ..simplify.sums import accumulate
from ..simplify.terms import copy, derived, opens, partner
from ..simplify.totals import normalize, normalized, open_products
from .loops import is_bodied, joint_pullback, joint_pushforward

__all__ = ["active_nodes", "pullback", "pushforward"]

# Longer sums are not looked through for totals.
_FEW = 4


def active_nodes(outputs: Iterable[Node], sources: Iterable[Node]) -> list[Node]:
    """Nodes on a differentiable path from ``sources`` to ``outputs``, children first."""
    wanted = set(sources)
    order = topological(outputs, stop=wanted.__contains__)
    reached: set[Node] = set(wanted)
    below: dict[Node, list[Node]] = {}
    for node in order:
        if node not in reached:
            children = [child for child in differentiable(node) if child in reached]
            if children:
                reached.add(node)
                below[node] = children
    used: set[Node] = {node for node in outputs if node in reached}
    for node in reversed(order):
        if node in used and node in below:
            used.update(below[node])
    return [node for node in order if node in used]


def _is_product(node: Node) -> bool:
    """A derivative product in which nothing is summed and labels are the axes themselves."""
    return (
        isinstance(node, Term)
        and (len(node.factors) > 1 or any(n.dtype.kind == "b" for n, _ in node.factors))
        and not node.constraints
        and node.extents == node.shape
        and node.out == tuple(range(len(node.extents)))
    )


def _masks(node: Node) -> list[tuple[Node, tuple[Any, ...]]]:
    if not _is_product(node):
        return []
    assert isinstance(node, Term)
    return [(n, subs) for n, subs in node.factors if n.dtype.kind == "b"]


def _contract(
    piece: Piece,
    value: Node,
    taken: Sequence[Any],
    given: Sequence[Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    carries: bool,
) -> Node:
    extents = dict(enumerate(piece.extents))
    factors = [(value, tuple(taken)), *piece.factors]
    draft = Draft(shape, dtype, piece.coef, extents, factors, given, piece.constraints)
    if piece.factors and _is_product(value):
        assert isinstance(value, Term)
        pairs = [p for n, _ in piece.factors if (p := partner(n)) is not None]
        back = [p[0] for n, _ in value.factors if (p := partner(n)) is not None]
        if (pairs and any(p[0] is n for p in pairs for n, _ in value.factors)) or (
            back and any(n in back for n, _ in piece.factors)
        ):
            draft.inline(0)
        elif carries and _elementwise(piece, given):
            # a branch that was not taken stays out, however infinite the next factor is
            mapping = dict(enumerate(taken))
            for node, subs in _masks(value):
                read = tuple(substitute(s, mapping, extents) for s in subs)
                draft.factors.insert(0, (node, read))
    elif not piece.factors and _masks(value):
        draft.inline(0)
    elif not piece.factors and not _elementwise(piece, given):
        summed = _without_totals(draft, value)
        if summed is not None:
            return summed
    return derived(draft)


def _without_totals(draft: Draft, value: Node) -> Node | None:
    """The draft, which only sums ``value``, where ``Σ x · (1/Σ x)`` vanishes from it, else None.

    A sum is taken apart only if nothing remains: its own value is needed elsewhere.
    """
    trial = copy(draft)
    while opens(value) and len(trial.factors) == 1 and not trial.zero:
        trial.inline(0)
        value = trial.factors[0][0] if trial.factors else value
    if len(trial.factors) != 1 or trial.zero:
        return None
    if normalized(value):
        open_products(trial)
        return derived(trial) if normalize(trial) else None
    if not isinstance(value, Sum) or len(value.parts) > _FEW:
        return None
    if not any(normalized(node) for _, node in value.parts):
        return None
    parts = []
    for coef, node in value.parts:
        part = copy(trial)
        part.coef = part.coef * coef
        part.factors[0] = (node, part.factors[0][1])
        open_products(part)
        normalize(part)
        if len(part.factors) == 1 and isinstance(part.factors[0][0], Term):
            part.inline(0)
        parts.append(derived(part))
    total = accumulate(parts, draft.shape, draft.dtype)
    return total if is_zero(total) else None


def _elementwise(piece: Piece, given: Sequence[Any]) -> bool:
    """Whether nothing is summed: every label of the piece is among the labels it gives."""
    return len({s for s in given if isinstance(s, int)}) == len(piece.extents)


class _Together:
    """Results of bodied calls: their cotangents wait for each other."""

    def __init__(self, order: Sequence[Node], sources: set[Node]) -> None:
        self.waiting: dict[Any, int] = {}
        self.cotangents: dict[Any, dict[int, Node]] = {}
        for node in order:
            if is_bodied(node) and node not in sources:
                assert isinstance(node, Call)
                key = (node.op, node.args, node.params)
                self.waiting[key] = self.waiting.get(key, 0) + 1

    def arrived(self, node: Call, cotangent: Node, active: set[Node]) -> list[tuple[Node, Node]]:
        """(argument, cotangent) pairs once the last result's cotangent is here."""
        key = (node.op, node.args, node.params)
        held = self.cotangents.setdefault(key, {})
        if not is_zero(cotangent):
            held[node.index] = cotangent
        self.waiting[key] -= 1
        if self.waiting[key] or not held:
            return []
        return joint_pullback(node, held, active)


def pullback(
    outputs: Sequence[Node],
    cotangents: Sequence[Node],
    sources: Sequence[Node],
    passed: dict[Node, Node] | None = None,
) -> list[Node]:
    """Cotangents of ``sources`` (of their shapes and dtypes) from those of ``outputs``.

    ``passed`` is given those of the nodes on the way.
    """
    wanted = set(sources)
    order = active_nodes(outputs, sources)
    active = set(order)
    pending: dict[Node, list[Node]] = {node: [] for node in order}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if output in active:
            pending[output].append(cotangent)
    found: dict[Node, Node] = {}
    together = _Together(order, wanted)
    for node in reversed(order):
        cotangent = accumulate(pending.pop(node), node.shape, node.dtype)
        if node in wanted:
            found[node] = cotangent
            continue
        if passed is not None:
            passed[node] = cotangent
        if is_bodied(node):
            assert isinstance(node, Call)
            for arg, part in together.arrived(node, cotangent, active):
                pending[arg].append(cast(part, arg.dtype))
            continue
        if is_zero(cotangent):
            continue
        carries = not isinstance(node, Map) or node.op not in BOUNDED
        for piece in local_jacobian(node, active):
            dtype = _joined(cotangent, piece)
            part = _contract(
                piece, cotangent, piece.out, piece.into, piece.arg.shape, dtype, carries
            )
            if piece.conj and part.dtype.kind == "c":
                part = map_("conj", part)
            pending[piece.arg].append(cast(part, piece.arg.dtype))
    return [found.get(s, zeros(s.shape, s.dtype)) for s in sources]


def pushforward(
    outputs: Sequence[Node], sources: Sequence[Node], tangents: Sequence[Node]
) -> list[Node]:
    """Tangents of ``outputs`` from those of ``sources``."""
    order = active_nodes(outputs, sources)
    known: dict[Node, Node] = dict(zip(sources, tangents, strict=True))
    active = set(order)
    for node in order:
        if node in known:
            continue
        if is_bodied(node):
            assert isinstance(node, Call)
            arriving = {a: known[a] for a in node.args if a in known and not is_zero(known[a])}
            known[node] = cast(joint_pushforward(node, arriving)[node.index], node.dtype)
            continue
        carries = not isinstance(node, Map) or node.op not in BOUNDED
        parts = []
        for piece in local_jacobian(node, active):
            tangent = known[piece.arg]
            if is_zero(tangent):
                continue
            if piece.conj and tangent.dtype.kind == "c":
                tangent = map_("conj", tangent)
            dtype = _joined(tangent, piece)
            part = _contract(piece, tangent, piece.into, piece.out, node.shape, dtype, carries)
            parts.append(cast(part, node.dtype))
        known[node] = accumulate(parts, node.shape, node.dtype)
    return [known.get(o, zeros(o.shape, o.dtype)) for o in outputs]


def _joined(value: Node, piece: Piece) -> np.dtype[Any]:
    dtype = value.dtype
    for node, _ in piece.factors:
        if node.dtype != dtype and not isinstance(node, Const):
            dtype = join_dtypes([dtype, node.dtype])
    if isinstance(piece.coef, complex) and dtype.kind != "c":
        dtype = np.dtype(f"c{2 * dtype.itemsize}")
    return dtype
