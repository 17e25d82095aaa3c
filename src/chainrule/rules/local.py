"""The local Jacobian of any node, as pieces: the one statement all modes are made of.

A :class:`Piece` is one loop nest of ``∂node/∂argument`` with two groups of output subscripts: the
node's axes (``out``) and the argument's (``into``).  Reverse mode contracts the cotangent with the
first group, forward mode the tangent with the second, a Jacobian joins both.  A term needs no rule:
its local Jacobian by a factor is the term without it (multilinearity).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple, TypeAlias

from ..expr.nodes import Box, Call, Const, Factor, Map, Node, Scalar, Sum, Term
from ..expr.subs import Sub
from .algebra import Num
from .elementwise import partials

__all__ = ["CALLS", "Piece", "differentiable", "identity_piece", "local_jacobian"]


class Piece(NamedTuple):
    """``∂node[out]/∂arg[into] += coef·Π factors`` over the label box; ``conj``: by ``z̄``."""

    arg: Node
    coef: Scalar
    extents: tuple[int, ...]
    factors: tuple[Factor, ...]
    out: tuple[Sub, ...]
    into: tuple[Sub, ...]
    constraints: tuple[Sub, ...] = ()
    conj: bool = False


CallRule: TypeAlias = Callable[[Call], list[Piece]]
CALLS: dict[str, CallRule] = {}


def identity_piece(
    arg: Node, coef: Scalar = 1, factors: tuple[Node, ...] = (), conj: bool = False
) -> Piece:
    """A piece that is diagonal in all axes, with elementwise factors."""
    labels = tuple(range(arg.ndim))
    pairs = tuple((f, () if isinstance(f, Const) else labels) for f in factors)
    return Piece(arg, coef, arg.shape, pairs, labels, labels, conj=conj)


def inexact(node: Node) -> bool:
    """Whether a node's values can carry a derivative."""
    return node.dtype.kind in "fc"


def differentiable(node: Node) -> tuple[Node, ...]:
    """The children through which a derivative can pass (cheap; no rule is evaluated)."""
    if not inexact(node) or isinstance(node, Const):
        return ()
    if isinstance(node, Map):
        if node.op == "stop":
            return ()
        return tuple(a for a in node.children if inexact(a) and not isinstance(a, Const))
    if isinstance(node, Term):
        return tuple(n for n in dict.fromkeys(f for f, _ in node.factors) if inexact(n))
    return tuple(n for n in node.children if inexact(n) and not isinstance(n, Const))


def local_jacobian(node: Node, wanted: Container[Node] | None = None) -> list[Piece]:
    """All pieces of a node's local Jacobian, by the arguments in ``wanted`` (all of them)."""
    if isinstance(node, Term):
        return [
            Piece(
                factor,
                node.coef,
                node.extents,
                node.factors[:k] + node.factors[k + 1 :],
                node.out,
                subs,
                node.constraints,
            )
            for k, (factor, subs) in enumerate(node.factors)
            if inexact(factor) and (wanted is None or factor in wanted)
        ]
    if isinstance(node, Sum):
        return [
            identity_piece(n, c)
            for c, n in node.parts
            if not isinstance(n, Const) and inexact(n) and (wanted is None or n in wanted)
        ]
    if isinstance(node, Map):
        return _map_pieces(node, wanted)
    if isinstance(node, Box):
        return [identity_piece(node.node)]
    if isinstance(node, Call):
        pieces = CALLS[node.op](node)
        return pieces if wanted is None else [p for p in pieces if p.arg in wanted]
    return []


def _map_pieces(node: Map, wanted: Container[Node] | None) -> list[Piece]:
    pieces = []
    for position, arg in enumerate(node.args):
        if isinstance(arg, Const) or not inexact(arg):
            continue
        if wanted is not None and arg not in wanted:
            continue
        for partial, conj in zip(partials(node, position), (False, True), strict=True):
            if partial is None:
                continue
            if isinstance(partial, Num):
                pieces.append(identity_piece(arg, 1, (partial.node,), conj))
            elif partial != 0:
                pieces.append(identity_piece(arg, partial, (), conj))
    return pieces
