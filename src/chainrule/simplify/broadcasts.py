"""Factors that are constant along an axis are read without it.

The derivative of ``x / s[:, None]`` by x is ``1 / s[:, None]``, an array that repeats a column:
a Jacobian stores ``1 / s``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..expr.draft import Draft
from ..expr.nodes import Const, Factor, Map, Node, Sum, Term
from ..expr.subs import Sub, const, const_value

__all__ = ["narrowed", "unspread"]

# how many elementwise operations deep a broadcast is looked for
_DEEP = 4


def unspread(draft: Draft) -> None:
    """Read elementwise factors of broadcast arrays at the axes that count."""
    for position, (node, subs) in enumerate(draft.factors):
        if not isinstance(node, Map | Sum) or not node.ndim:
            continue
        draft.factors[position] = narrowed(node, subs)


def narrowed(node: Node, subs: tuple[Sub, ...]) -> Factor:
    """The factor ``node[subs]``, read without the axes along which it is constant."""
    found = _narrow(node, _DEEP)
    if found is None:
        return node, subs
    inner, axes = found
    return inner, tuple(
        const(0) if extent == 1 else subs[axis]
        for axis, extent in zip(axes, inner.shape, strict=True)
    )


def _narrow(node: Node, deep: int) -> tuple[Node, tuple[int, ...]] | None:
    """A node of fewer axes or elements, and which axes they are, that ``node`` repeats."""
    if isinstance(node, Term):
        return _repeated(node)
    if not deep or not isinstance(node, Map | Sum) or (isinstance(node, Map) and node.op == "stop"):
        return None
    args = node.args if isinstance(node, Map) else tuple(n for _, n in node.parts)
    found: list[tuple[Node, tuple[int, ...]] | None] = []
    for arg in args:
        if isinstance(arg, Const):
            found.append(None)
            continue
        inner = _narrow(arg, deep - 1)
        if inner is None:
            return None
        found.append(inner)
    first = next((pair for pair in found if pair is not None), None)
    if first is None or any(
        pair is not None and (pair[1], pair[0].shape) != (first[1], first[0].shape)
        for pair in found
    ):
        return None
    inner_args = tuple(
        arg if pair is None else pair[0] for arg, pair in zip(args, found, strict=True)
    )
    shape = first[0].shape
    if isinstance(node, Map):
        made: Node = Map(node.op, shape, node.dtype, inner_args, node.params)
    else:
        coefs = (c for c, _ in node.parts)
        made = Sum(shape, node.dtype, tuple(zip(coefs, inner_args, strict=True)))
    return made, first[1]


def _repeated(node: Term) -> tuple[Node, tuple[int, ...]] | None:
    """What a plain broadcast reads."""
    if len(node.factors) != 1 or node.coef != 1 or node.constraints:
        return None
    (inner, subs) = node.factors[0]
    if (
        inner.dtype != node.dtype
        or inner.size >= node.size
        or not _whole(inner.shape, subs, node.extents)
        or not _whole(node.shape, node.out, node.extents)
    ):
        return None
    place = {sub: axis for axis, sub in enumerate(node.out) if isinstance(sub, int)}
    axes = []
    for sub in subs:
        if isinstance(sub, int):
            if sub not in place:
                return None
            axes.append(place[sub])
        else:
            axes.append(0)  # an axis of one element is read at 0 whichever it is
    return inner, tuple(axes)


def _whole(shape: Sequence[int], subs: Sequence[Sub], extents: Sequence[int]) -> bool:
    """Whether subscripts go through a whole array in its own order of axes, each label once."""
    labels = [s for s in subs if isinstance(s, int)]
    return (
        labels == sorted(labels)
        and len(set(labels)) == len(labels)
        and all(
            extents[s] == n if isinstance(s, int) else (const_value(s) == 0 and n == 1)
            for s, n in zip(subs, shape, strict=True)
        )
    )
