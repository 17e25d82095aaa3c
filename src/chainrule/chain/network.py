"""The Jacobian as a network: a sum of terms with two groups of output axes, by a sweep.

Joining the incoming terms with a local Jacobian eliminates diagonals, broadcasts, slices and
permutations by renaming; :mod:`chainrule.simplify.network` then contracts and merges what does
not grow.  Reverse sweeps start from the identity at the output, forward sweeps at the input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..expr.build import map_
from ..expr.draft import Draft
from ..expr.nodes import Map, Node, Term
from ..expr.subs import Sub
from ..rules.local import Piece, local_jacobian
from ..simplify.broadcasts import unspread
from ..simplify.network import absorb, compress, finalize, merge
from ..simplify.regions import split_regions
from ..simplify.terms import cancel, open_views
from .sweep import active_nodes

__all__ = ["NotHolomorphic", "forward_network", "identity", "join", "reverse_network"]

# What one join may fall into where boxes of indices are written.
_MOST_BOXES = 16


def identity(node: Node) -> Term | None:
    """``∂node/∂node``: every label twice (None where the node is empty)."""
    labels = list(range(node.ndim))
    shape = node.shape + node.shape
    extents = dict(enumerate(node.shape))
    return Draft(shape, node.dtype, 1, extents, [], [*labels, *labels]).term()


def reverse_network(output: Node, sources: Sequence[Node]) -> list[list[Term]]:
    """For each source the terms of ``∂output/∂source``, of shape output + source."""
    wanted = set(sources)
    order = active_nodes([output], sources)
    active = set(order)
    pending: dict[Node, list[Term]] = {node: [] for node in order}
    start = identity(output)
    if output in active and start is not None:
        pending[output].append(start)
    lead = output.ndim
    found: dict[Node, list[Term]] = {}
    for node in reversed(order):
        terms = merge(pending.pop(node))
        if node in wanted:
            found[node] = finalize(terms, order)
            continue
        terms = absorb(terms)
        if not terms:
            continue
        for piece in local_jacobian(node):
            if piece.arg not in active:
                continue
            if piece.conj:
                raise NotHolomorphic(node)
            shape = output.shape + piece.arg.shape
            for term in terms:
                pending[piece.arg] += join(term, piece, piece.out, piece.into, lead, shape, True)
    return [found.get(s, []) for s in sources]


def forward_network(output: Node, sources: Sequence[Node]) -> list[list[Term]]:
    """The same by a forward sweep for each source."""
    results = []
    for source in sources:
        order = active_nodes([output], [source])
        active = set(order)
        known: dict[Node, list[Term]] = {}
        for node in order:
            if node is source:
                start = identity(source)
                known[node] = [] if start is None else [start]
                continue
            parts: list[Term] = []
            for piece in local_jacobian(node):
                if piece.arg not in active:
                    continue
                if piece.conj and source.dtype.kind == "c":
                    raise NotHolomorphic(node)
                shape = node.shape + source.shape
                incoming = known[piece.arg]
                if piece.conj:
                    incoming = [conjugated(term) for term in incoming]
                for term in incoming:
                    parts += join(term, piece, piece.into, piece.out, piece.arg.ndim, shape, False)
            known[node] = absorb(merge(parts))
        results.append(finalize(known.get(output, []), order))
    return results


class NotHolomorphic(TypeError):
    """A conjugate stands in the way: of a reverse sweep, or of a complex Jacobian."""

    def __init__(self, node: Node) -> None:
        name = node.op if isinstance(node, Map) else node.kind
        super().__init__(
            f"the function is not holomorphic in its complex argument ({name!r} is not): a complex "
            "Jacobian does not exist. Take real and imaginary parts as arguments, or use vjp"
        )


def conjugated(term: Term) -> Term:
    """The complex conjugate of a term, factor by factor."""
    factors = tuple(
        (map_("conj", n) if n.dtype.kind == "c" else n, subs) for n, subs in term.factors
    )
    coef = term.coef.conjugate() if isinstance(term.coef, complex) else term.coef
    return Term(term.shape, term.dtype, coef, term.extents, factors, term.out, term.constraints)


def join(
    term: Term,
    piece: Piece,
    taken: Sequence[Sub],
    given: Sequence[Sub],
    lead: int,
    shape: tuple[int, ...],
    reverse: bool,
) -> list[Term]:
    """The chain rule: ``term`` and ``piece`` joined along the middle axes, one term as a rule."""
    count = len(piece.extents)
    extents = dict(enumerate(piece.extents))
    if reverse:
        outer_axes, outer = term.shape[:lead], range(count, count + lead)
        subs: tuple[Sub, ...] = (*outer, *taken)
        out: list[Sub] = [*outer, *given]
    else:
        outer_axes = term.shape[lead:]
        outer = range(count, count + len(outer_axes))
        subs = (*taken, *outer)
        out = [*given, *outer]
    extents.update(zip(outer, outer_axes, strict=True))
    dtypes = [term.dtype, *(n.dtype for n, _ in piece.factors)]
    dtype = np.result_type(*dtypes)
    if isinstance(piece.coef, complex) and dtype.kind != "c":
        dtype = np.dtype(f"c{2 * dtype.itemsize}")
    if dtype.kind in "bi":
        dtype = piece.arg.dtype
    draft = Draft(
        shape, dtype, piece.coef, extents, [(term, subs), *piece.factors], out, piece.constraints
    )
    draft.inline(0)
    joined = []
    for part in split_regions(open_views(draft), _MOST_BOXES):
        unspread(part)
        while len(part.factors) > 1 and cancel(part):
            pass
        made = part.term()
        if made is not None:
            joined.append(compress(made))
    return joined
