"""Local Jacobians of products, running products, linear recurrences and extrema.

Products are differentiated without dividing by their factors, so zeros among them do no harm, to
any order: with S[i, j] = Π a[k] over j < k ≤ i (the call ``segment_products``),

    ∂ cumprod(x)[i] / ∂x[j] = cumprod(x)[j-1] · S[i, j]
    ∂ S[i, j] / ∂a[k] = S[i, k] · S[k-1, j]

and S is applied through the recurrence y[i] = a[i] y[i-1] + b[i], which it solves.
"""

from __future__ import annotations

from math import prod as size_of

from ..expr.build import linear, map_, reshape, summed, view
from ..expr.calls import call
from ..expr.draft import Draft
from ..expr.nodes import Call, Const, Node
from ..expr.subs import Sub, affine
from .local import Piece
from .notation import piece, rule

__all__ = ["FLAT_CALLS"]

# calls whose results carry no derivative
FLAT_CALLS = frozenset({"any", "all", "argmax", "argmin", "argsort", "nonzero", "last_writer"})


def _one_first(running: Node) -> Node:
    """(…, m): 1 followed by the first m - 1 entries."""
    *batch, m = running.shape
    lead = tuple(range(len(batch)))
    last = len(batch)
    extents = {**dict(enumerate(batch)), last: m - 1}
    shifted = Draft(
        running.shape,
        running.dtype,
        1,
        extents,
        [(running, (*lead, last))],
        (*lead, affine(1, [(1, last)])),
    ).finish()
    first = Draft(
        running.shape, running.dtype, 1, dict(enumerate(batch)), [], (*lead, affine(0, []))
    ).finish()
    return linear((1, first), (1, shifted), dtype=running.dtype) if m > 1 else first


def _flipped(node: Node) -> Node:
    """The last axis reversed."""
    labels = tuple(range(node.ndim))
    reverse = affine(node.shape[-1] - 1, [(-1, labels[-1])])
    return view(node, dict(enumerate(node.shape)), (*labels[:-1], reverse), labels, node.shape)


@rule("cumprod")
def cumprod(y: Call) -> list[Piece]:
    """∂y[i]/∂x[j] = y[j-1] S[i, j]"""
    x = y.args[0]
    if x.size == 0:
        return []
    return piece(y, x, "j,ij->i|j", _one_first(y), call("segment_products", x))


@rule("prod")
def prod(y: Call) -> list[Piece]:
    """∂y/∂x[j] = the product of all others"""
    x = y.args[0]
    core = x.shape[y.ndim :]
    if x.size == 0:
        return []
    others = call("other_products", reshape(x, (*y.shape, size_of(core))))
    labels = tuple(range(x.ndim))
    lead = labels[: y.ndim]
    radix = 1
    parts: list[tuple[int, int]] = []
    for label in reversed(labels[y.ndim :]):
        if x.shape[label] > 1:
            parts.append((radix, label))
        radix *= x.shape[label]
    place: tuple[Sub, ...] = (*lead, affine(0, [(c, k) for c, k in parts]))
    return [Piece(x, 1, x.shape, ((others, place),), lead, labels)]


@rule("other_products")
def other_products(e: Call) -> list[Piece]:
    """∂e[j]/∂x[l] = (before l) · S[j-1, l] · (after j) for l < j, the same with j, l exchanged"""
    x = e.args[0]
    if x.size == 0:
        return []
    before = _one_first(call("cumprod", x))
    after = _flipped(_one_first(call("cumprod", _flipped(x))))
    s = call("segment_products", x)
    return [
        *piece(e, x, "l,jl,(j+1)->(j+1)|l", before, s, after),
        *piece(e, x, "j,lj,(l+1)->j|(l+1)", before, s, after),
    ]


@rule("segment_products")
def segment_products(s: Call) -> list[Piece]:
    """∂S[i, j]/∂a[k] = S[i, k] S[k-1, j]"""
    return piece(s, s.args[0], "i(k+1),kj->ij|(k+1)", s, s)


@rule("recurrence")
def recurrence(y: Call) -> list[Piece]:
    """y = S b forward, Sᵀ b reversed; by a[k]: S[i, k] y[k-1], reversed S[k-1, i] y[k]"""
    a, b = y.args
    (reverse,) = y.params
    s = call("segment_products", a)
    if reverse:
        return [
            *piece(y, b, "ji->i|j", s),
            *piece(y, a, "ki,(k+1)->i|(k+1)", s, y),
        ]
    return [
        *piece(y, b, "ij->i|j", s),
        *piece(y, a, "i(k+1),k->i|(k+1)", s, y),
    ]


@rule("amax", "amin")
def extremum(y: Call) -> list[Piece]:
    """1 where x is the extremum, shared equally among ties"""
    x = y.args[0]
    if x.size == 0:
        return []
    labels = tuple(range(x.ndim))
    lead = labels[: y.ndim]
    wide = view(y, dict(enumerate(x.shape)), lead, labels, x.shape)
    hits = map_("equal", x, wide)
    count = summed(hits, labels[y.ndim :], y.dtype)
    # no hit at all where the extremum is NaN
    share = map_("reciprocal", map_("maximum", count, Const(1)))
    return [Piece(x, 1, x.shape, ((hits, labels), (share, lead)), lead, labels)]
