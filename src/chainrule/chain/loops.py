"""Derivatives and batches of bodied calls: loops that stay one node, branches, parts computed anew.

The results of such a call have derivatives together, so sweeps hand all cotangents (or tangents)
over at once; the derivative of a loop is a loop over the derivative of its body.

=======  ==================================================  =====================================
call     forward                                             reverse
=======  ==================================================  =====================================
scan     a scan that carries tangents beside the values      a scan that keeps every carry, then
                                                             one the other way round
while    a loop that carries tangents too                    no bound on what to keep: an error
cond     the branches' tangents                              the branches' pullbacks
apply    the body's tangents, by themselves                  the body computed anew, pulled back
=======  ==================================================  =====================================
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import prod

from ..errors import TraceError, located
from ..expr.bodies import Body, body_of
from ..expr.build import broadcast, linear, map_, permute, reshape, zeros
from ..expr.calls import BODIED, calls
from ..expr.draft import Draft
from ..expr.nodes import Call, Const, Leaf, Node
from ..expr.walk import leaves as leaves_of
from ..expr.walk import substitute_nodes
from ..rules.local import CALLS, Piece, inexact
from .lifting import Loop, run

__all__ = ["is_bodied", "joint_pullback", "joint_pushforward"]

Cotangents = Mapping[int, Node]


def is_bodied(node: Node) -> bool:
    """Whether a node is a result of a call with a program inside."""
    return isinstance(node, Call) and node.op in BODIED


def joint_pullback(
    call: Call, cotangents: Cotangents, wanted: Container[Node]
) -> list[tuple[Node, Node]]:
    """(argument, cotangent) pairs from cotangents by result number, for ``wanted`` arguments."""
    return _PULLBACKS[call.op](call, cotangents, wanted)


def joint_pushforward(call: Call, tangents: Mapping[Node, Node]) -> list[Node]:
    """Tangents of all results from those of some arguments (zeros where nothing arrives)."""
    return _PUSHFORWARDS[call.op](call, tangents)


# -- bodies -------------------------------------------------------------------------------------
class _Growing:
    """A body's leaves with further ones beside them."""

    def __init__(self, body: Body) -> None:
        self.leaves: list[Leaf] = list(body.leaves)

    def like(self, node: Node) -> Leaf:
        """A new leaf of a node's shape and dtype."""
        leaf = Leaf(len(self.leaves), node.shape, node.dtype)
        self.leaves.append(leaf)
        return leaf


def _pulled(outs: Sequence[Node], seeds: Sequence[Node], sources: Sequence[Node]) -> list[Node]:
    from .sweep import pullback  # which hands bodied calls to this module

    return pullback(outs, seeds, sources)


def _pushed(outs: Sequence[Node], sources: Sequence[Node], tangents: Sequence[Node]) -> list[Node]:
    from .sweep import pushforward

    return pushforward(outs, sources, tangents)


def _zero(node: Node) -> Node:
    return zeros(node.shape, node.dtype)


def _needed(outs: Sequence[Node]) -> set[Node]:
    return set(leaves_of(outs))


# -- scan ---------------------------------------------------------------------------------------
def _scan_parts(call: Call) -> tuple[Body, int, bool, list[list[tuple[Node, Leaf]]]]:
    """Body, length, direction; (argument, leaf) pairs of carries, rows and captured values."""
    body, length, carries, rows, reverse = call.params
    pairs = list(zip(call.args, body.leaves, strict=True))
    groups = [pairs[:carries], pairs[carries : carries + rows], pairs[carries + rows :]]
    return body, length, reverse, groups


def _scan_pushforward(call: Call, tangents: Mapping[Node, Node]) -> list[Node]:
    body, length, reverse, (carries, rows, captured) = _scan_parts(call)
    count = len(carries)
    grown = _Growing(body)
    moving = [(a, leaf) for a, leaf in carries if inexact(leaf)]
    d_carries = [grown.like(leaf) for _, leaf in moving]
    some_rows = [(a, leaf) for a, leaf in rows if a in tangents]
    d_rows = [grown.like(leaf) for _, leaf in some_rows]
    some = [(a, leaf) for a, leaf in captured if a in tangents]
    d_captured = [grown.like(leaf) for _, leaf in some]
    sources = [leaf for _, leaf in (*moving, *some_rows, *some)]
    pushed = _pushed(body.outs, sources, [*d_carries, *d_rows, *d_captured])
    place = {leaf: k for k, (_, leaf) in enumerate(carries)}
    outs = [*body.outs[:count], *(pushed[place[leaf]] for _, leaf in moving), *pushed[count:]]
    order = [
        *(leaf for _, leaf in carries),
        *d_carries,
        *(leaf for _, leaf in rows),
        *d_rows,
        *(leaf for _, leaf in captured),
        *d_captured,
    ]
    args = [
        *(a for a, _ in carries),
        *(tangents.get(a, _zero(a)) for a, _ in moving),
        *(a for a, _ in rows),
        *(tangents[a] for a, _ in some_rows),
        *(a for a, _ in captured),
        *(tangents[a] for a, _ in some),
    ]
    made = calls(
        "scan",
        args,
        (
            body_of(order, outs),
            length,
            count + len(moving),
            len(rows) + len(some_rows),
            reverse,
        ),
    )
    found: list[Node] = []
    arriving = iter(made[count : count + len(moving)])
    for _, leaf in carries:
        found.append(next(arriving) if inexact(leaf) else _zero(leaf))
    return found + list(made[count + len(moving) :])


def _scan_pullback(
    call: Call, cotangents: Cotangents, wanted: Container[Node]
) -> list[tuple[Node, Node]]:
    body, length, reverse, (carries, rows, captured) = _scan_parts(call)
    count = len(carries)
    grown = _Growing(body)
    moving = [(k, a, leaf) for k, (a, leaf) in enumerate(carries) if inexact(leaf)]
    c_carries = [grown.like(leaf) for _, _, leaf in moving]
    outputs = [k for k in range(count, len(body.outs)) if k in cotangents]
    c_rows = [grown.like(body.outs[k]) for k in outputs]
    to_rows = [(a, leaf) for a, leaf in rows if inexact(leaf) and a in wanted]
    to_captured = [(a, leaf) for a, leaf in captured if inexact(leaf) and a in wanted]
    sources = [leaf for _, _, leaf in moving] + [leaf for _, leaf in (*to_rows, *to_captured)]
    back = _pulled(
        [*(body.outs[k] for k, _, _ in moving), *(body.outs[k] for k in outputs)],
        [*c_carries, *c_rows],
        sources,
    )
    # what the forward loop gives anyway is read, not computed again
    given = {
        node: grown.like(node)
        for k, node in enumerate(body.outs)
        if not isinstance(node, Leaf | Const) and (k < count or k in cotangents)
    }
    back = substitute_nodes(back, dict(given))
    needed = _needed(back)
    kept: dict[Node, Leaf] = {leaf: leaf for _, leaf in carries if leaf in needed}
    kept.update((node, leaf) for node, leaf in given.items() if leaf in needed)
    saved: list[tuple[Node, Leaf]] = []
    if kept:
        keeping = body_of(body.leaves, [*body.outs[:count], *kept])
        forward = calls("scan", call.args, (keeping, length, count, len(rows), reverse))
        saved = list(zip(forward[count:], kept.values(), strict=True))
    cut, end = len(moving), len(moving) + len(to_rows)
    firsts = [cotangents.get(k, _zero(leaf)) for k, _, leaf in moving]
    last, ys, sums = run(
        Loop(
            length,
            not reverse,
            list(zip(firsts, c_carries, back[:cut], strict=True)),
            [
                *saved,
                *((a, leaf) for a, leaf in rows if leaf in needed),
                *((cotangents[k], leaf) for k, leaf in zip(outputs, c_rows, strict=True)),
            ],
            [(a, leaf) for a, leaf in captured if leaf in needed],
            back[cut:end],
            back[end:],
        )
    )
    targets = [a for _, a, _ in moving] + [a for a, _ in (*to_rows, *to_captured)]
    return [(a, c) for a, c in zip(targets, [*last, *ys, *sums], strict=True) if a in wanted]


# -- while --------------------------------------------------------------------------------------
def _while_pushforward(call: Call, tangents: Mapping[Node, Node]) -> list[Node]:
    test, body = call.params
    count = len(body.outs)
    pairs = list(zip(call.args, body.leaves, strict=True))
    carries, captured = pairs[:count], pairs[count:]
    grown = _Growing(body)
    moving = [(a, leaf) for a, leaf in carries if inexact(leaf)]
    some = [(a, leaf) for a, leaf in captured if a in tangents]
    d_carries = [grown.like(leaf) for _, leaf in moving]
    d_captured = [grown.like(leaf) for _, leaf in some]
    sources = [leaf for _, leaf in (*moving, *some)]
    pushed = _pushed(body.outs, sources, [*d_carries, *d_captured])
    changes = [p for p, (_, leaf) in zip(pushed, carries, strict=True) if inexact(leaf)]
    order = [
        *(leaf for _, leaf in carries),
        *d_carries,
        *(leaf for _, leaf in captured),
        *d_captured,
    ]
    args = [
        *(a for a, _ in carries),
        *(tangents.get(a, _zero(a)) for a, _ in moving),
        *(a for a, _ in captured),
        *(tangents[a] for a, _ in some),
    ]
    whole = body_of(order, [*body.outs, *changes])
    made = calls("while", args, (body_of(order, test.outs), whole))
    arriving = iter(made[count:])
    return [next(arriving) if inexact(leaf) else _zero(leaf) for _, leaf in carries]


def _while_pullback(
    call: Call, cotangents: Cotangents, wanted: Container[Node]
) -> list[tuple[Node, Node]]:
    raise TraceError(
        located(
            "while_loop has no reverse derivative: the number of rounds, and so what to keep, is "
            "not known beforehand",
            "use chainrule.scan over a fixed number of rounds, or forward mode (jvp, "
            'jacobian(mode="forward"))',
        )
    )


# -- cond, apply --------------------------------------------------------------------------------
def _branches(call: Call) -> tuple[list[Node], list[Body], list[Node]]:
    """What comes before the operands, the bodies, the operands."""
    if call.op == "cond":
        return [call.args[0]], list(call.params), list(call.args[1:])
    return [], list(call.params), list(call.args)


def _branch_pushforward(call: Call, tangents: Mapping[Node, Node]) -> list[Node]:
    lead, bodies, operands = _branches(call)
    some = [k for k, a in enumerate(operands) if a in tangents]
    made = []
    for body in bodies:
        grown = _Growing(body)
        changes = [grown.like(body.leaves[k]) for k in some]
        pushed = _pushed(body.outs, [body.leaves[k] for k in some], changes)
        made.append(body_of(grown.leaves, pushed))
    args = [*lead, *operands, *(tangents[operands[k]] for k in some)]
    return list(calls(call.op, args, tuple(made)))


def _branch_pullback(
    call: Call, cotangents: Cotangents, wanted: Container[Node]
) -> list[tuple[Node, Node]]:
    lead, bodies, operands = _branches(call)
    targets = [k for k, a in enumerate(operands) if inexact(a) and a in wanted]
    numbers = list(cotangents)
    made = []
    for body in bodies:
        grown = _Growing(body)
        seeds = [grown.like(body.outs[n]) for n in numbers]
        outs = [body.outs[n] for n in numbers]
        back = _pulled(outs, seeds, [body.leaves[k] for k in targets])
        made.append(body_of(grown.leaves, back))
    args = [*lead, *operands, *(cotangents[n] for n in numbers)]
    results = calls(call.op, args, tuple(made))
    return [(operands[k], r) for k, r in zip(targets, results, strict=True)]


_PUSHFORWARDS = {
    "scan": _scan_pushforward,
    "while": _while_pushforward,
    "cond": _branch_pushforward,
    "apply": _branch_pushforward,
}
_PULLBACKS = {
    "scan": _scan_pullback,
    "while": _while_pullback,
    "cond": _branch_pullback,
    "apply": _branch_pullback,
}


# -- a batch axis -------------------------------------------------------------------------------
def batched_call(call: Call, new: Mapping[Node, Node], size: int) -> Node:
    """The call over a batch: its bodies with a leading axis (see :mod:`.batch`)."""
    if call.op == "scan":
        return _batched_scan(call, new, size)
    if call.op == "while":
        return _batched_while(call, new, size)
    return _batched_branches(call, new, size)


def _with_axis(leaf: Leaf, size: int) -> Leaf:
    return Leaf(leaf.slot, (size, *leaf.shape), leaf.dtype)


def _batched_body(body: Body, which: Container[Leaf], size: int) -> Body:
    """The body with a leading axis on the leaves ``which`` and on all results."""
    from .batch import batched

    # examples and batches of one leaf would be one number: batches take numbers behind all others
    start = len(body.leaves)
    whole: dict[Node, Leaf] = {
        leaf: Leaf(start + k, (size, *leaf.shape), leaf.dtype)
        for k, leaf in enumerate(body.leaves)
        if leaf in which
    }
    outs = [
        node if has else broadcast(node, (size, *node.shape))
        for node, has in batched(body.outs, whole, size)
    ]
    return body_of([whole.get(leaf, leaf) for leaf in body.leaves], outs)


def _spread(node: Node, new: Mapping[Node, Node], size: int) -> Node:
    return new[node] if node in new else broadcast(node, (size, *node.shape))


def _batched_scan(call: Call, new: Mapping[Node, Node], size: int) -> Node:
    body, length, carries, rows, reverse = call.params
    which = {
        leaf
        for k, (a, leaf) in enumerate(zip(call.args, body.leaves, strict=True))
        if k < carries or a in new
    }
    args: list[Node] = []
    for k, arg in enumerate(call.args):
        if k < carries:
            args.append(_spread(arg, new, size))
        elif arg not in new:
            args.append(arg)
        elif k < carries + rows:
            whole = new[arg]
            args.append(permute(whole, (1, 0, *range(2, whole.ndim))))
        else:
            args.append(new[arg])
    params = (_batched_body(body, which, size), length, carries, rows, reverse)
    made = calls("scan", args, params)[call.index]
    if call.index < carries:
        return made
    return permute(made, (1, 0, *range(2, made.ndim)))


def _batched_branches(call: Call, new: Mapping[Node, Node], size: int) -> Node:
    lead, bodies, operands = _branches(call)
    made = []
    for body in bodies:
        which = {leaf for a, leaf in zip(operands, body.leaves, strict=True) if a in new}
        made.append(_batched_body(body, which, size))
    args = [new.get(a, a) for a in operands]
    if not lead or lead[0] not in new:
        return calls(call.op, [*lead, *args], tuple(made))[call.index]
    first, second = (calls("apply", args, (body,))[call.index] for body in made)
    mask = new[lead[0]]
    shape = (size, *(1 for _ in call.shape))
    mask = broadcast(reshape(mask, shape), (size, *call.shape))
    return map_("where", mask, first, second, dtype=call.dtype)


def _batched_while(call: Call, new: Mapping[Node, Node], size: int) -> Node:
    """All go on until all have ended; those that have ended stay as they are."""
    test, body = call.params
    count = len(body.outs)
    which = {
        leaf
        for k, (a, leaf) in enumerate(zip(call.args, body.leaves, strict=True))
        if k < count or a in new
    }
    many = _batched_body(body, which, size)
    go_on = _batched_body(test, which, size)
    flags = go_on.outs[0]
    (some,) = calls_any(flags)
    outs = []
    for before, after in zip(many.leaves[:count], many.outs, strict=True):
        shape = (size, *(1 for _ in before.shape[1:]))
        mask = broadcast(reshape(flags, shape), before.shape)
        outs.append(map_("where", mask, after, before, dtype=before.dtype))
    args = [_spread(a, new, size) if k < count else new.get(a, a) for k, a in enumerate(call.args)]
    params = (body_of(many.leaves, [some]), body_of(many.leaves, outs))
    return calls("while", args, params)[call.index]


def calls_any(flags: Node) -> list[Call]:
    """Whether some flag of a line is set."""
    return calls("any", [flags], (1,))


# -- where a network is asked for ---------------------------------------------------------------
def _pieces(call: Call) -> list[Piece]:
    """∂result/∂argument as dense factors: the pullback of every basis cotangent."""
    from .batch import batched

    if call.op == "while":
        return _forward_pieces(call)
    size = prod(call.shape)
    seed = Leaf(-1, call.shape, call.dtype)
    wanted = {a for a in call.args if inexact(a)}
    flat = reshape(_basis(call), (size, *call.shape))
    found: dict[Node, list[Node]] = {}
    for arg, cotangent in joint_pullback(call, {call.index: seed}, wanted):
        found.setdefault(arg, []).append(cotangent)
    pieces = []
    for arg, parts in found.items():
        total = linear(*((1, p) for p in parts), dtype=arg.dtype)
        ((whole, has),) = batched([total], {seed: flat}, size)
        if not has:
            continue
        pieces.append(_dense_piece(call, arg, reshape(whole, (*call.shape, *arg.shape))))
    return pieces


def _forward_pieces(call: Call) -> list[Piece]:
    from .batch import batched

    pieces = []
    for arg in dict.fromkeys(a for a in call.args if inexact(a)):
        size = prod(arg.shape)
        seed = Leaf(-1, arg.shape, arg.dtype)
        tangent = joint_pushforward(call, {arg: seed})[call.index]
        flat = reshape(_basis(arg), (size, *arg.shape))
        ((whole, has),) = batched([tangent], {seed: flat}, size)
        if has:
            matrix = permute(whole, (*range(1, whole.ndim), 0))
            pieces.append(_dense_piece(call, arg, reshape(matrix, (*call.shape, *arg.shape))))
    return pieces


def _basis(node: Node) -> Node:
    """∂node/∂node as an array."""
    labels = tuple(range(node.ndim))
    extents = dict(enumerate(node.shape))
    return Draft(node.shape + node.shape, node.dtype, 1, extents, [], (*labels, *labels)).finish()


def _dense_piece(call: Call, arg: Node, factor: Node) -> Piece:
    labels = tuple(range(factor.ndim))
    out, into = labels[: call.ndim], labels[call.ndim :]
    return Piece(arg, 1, factor.shape, ((factor, labels),), out, into)


for _op in BODIED:
    CALLS[_op] = _pieces
