"""vmap is one more label everywhere: nodes rewritten with a leading batch axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import TraceError, located
from ..expr.build import broadcast
from ..expr.draft import Draft
from ..expr.nodes import Box, Call, Const, Map, Node, Sum, Term
from ..expr.subs import Affine, Div, Key, Look, Mod, Sub, affine
from ..expr.walk import dependents, topological
from .loops import batched_call, is_bodied

__all__ = ["batched"]

UNBATCHABLE = {"nonzero"}


def batched(
    roots: Sequence[Node], whole: Mapping[Node, Node], size: int
) -> list[tuple[Node, bool]]:
    """``(node, has batch axis 0)`` for every root, given whole arrays for some leaves."""
    order = topological(roots, stop=whole.__contains__)
    involved = dependents(order, whole)
    new: dict[Node, Node] = dict(whole)
    for node in order:
        if node in involved and node not in new:
            new[node] = _batch(node, new, size)
    return [(new.get(root, root), root in new) for root in roots]


def _spread(node: Node, new: Mapping[Node, Node], size: int) -> Node:
    if isinstance(node, Const):
        return node
    return new[node] if node in new else broadcast(node, (size, *node.shape))


def _batch(node: Node, new: Mapping[Node, Node], size: int) -> Node:
    shape = (size, *node.shape)
    if isinstance(node, Map):
        args = tuple(_spread(a, new, size) for a in node.args)
        return Map(node.op, shape, node.dtype, args, node.params)
    if isinstance(node, Sum):
        parts = tuple((c, _spread(n, new, size)) for c, n in node.parts)
        return Sum(shape, node.dtype, parts)
    if isinstance(node, Box):
        return Box(new[node.node])
    if is_bodied(node):
        assert isinstance(node, Call)
        return batched_call(node, new, size)
    if isinstance(node, Call):
        if node.op in UNBATCHABLE:
            raise TraceError(
                located(
                    f"{node.op} under vmap would give results of differing shapes",
                    "use np.where with a mask",
                )
            )
        args = tuple(_spread(a, new, size) for a in node.args)
        params = node.params
        if node.op == "custom":
            params = (*params[:-1], params[-1] + 1)  # one leading axis more
        return Call(node.op, shape, node.dtype, args, params, node.index)
    assert isinstance(node, Term), node
    label = len(node.extents)

    def subs(old: tuple[Sub, ...]) -> tuple[Sub, ...]:
        return tuple(_with_label(s, new, label) for s in old)

    factors = [
        (new[n], (label, *subs(ss))) if n in new else (n, subs(ss)) for n, ss in node.factors
    ]
    extents = {**dict(enumerate(node.extents)), label: size}
    return Draft(
        shape,
        node.dtype,
        node.coef,
        extents,
        factors,
        (label, *subs(node.out)),
        subs(node.constraints),
    ).finish()


def _with_label(sub: Sub, new: Mapping[Node, Node], label: int) -> Sub:
    """A subscript with batched tables read at the batch label too."""
    if isinstance(sub, int) or not sub.parts:
        return sub
    if all(isinstance(k, int) for _, k in sub.parts):
        return sub

    def key(k: Key) -> Key:
        if isinstance(k, int):
            return k
        if isinstance(k, Look):
            inner = tuple(_with_label(s, new, label) for s in k.subs)
            if k.table in new:
                return Look(new[k.table], (label, *inner), k.n)
            return Look(k.table, inner, k.n)
        if isinstance(k, Mod):
            return Mod(k.n, _with_label(k.sub, new, label))
        return Div(k.n, _with_label(k.sub, new, label))

    assert isinstance(sub, Affine)
    return affine(sub.const, [(c, key(k)) for c, k in sub.parts])
