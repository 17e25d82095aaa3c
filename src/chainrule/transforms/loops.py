"""scan, while_loop, cond, checkpoint: loops and branches that stay one node, called as in JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

import numpy as np

from ..expr.bodies import closed
from ..expr.build import cast, linear, reshape, view
from ..expr.calls import calls
from ..expr.draft import Draft
from ..expr.nodes import Leaf, Node
from ..expr.subs import affine
from ..trace.array import as_node, is_traced, traced
from ..trace.session import Session
from .core import Outputs, level, outputs, settle
from .first import _name
from .trees import Tree, flatten, is_array, unflatten

__all__ = ["checkpoint", "cond", "scan", "while_loop"]


def _nodes(values: Sequence[Any], what: str) -> list[Node]:
    """Arrays (traced or not) as nodes."""
    found = []
    for value in values:
        if not is_array(value):
            raise TypeError(f"{what}: {value!r} is not an array")
        found.append(as_node(value if is_traced(value) else np.asarray(value)))
    return found


def _leaf(session: Session, opened: Any, node: Node, shape: tuple[int, ...] | None = None) -> Leaf:
    leaf = session.new_leaf(node.shape if shape is None else shape, node.dtype)
    opened.leaves.append(leaf)
    return leaf


def _body(f: Callable[..., Any], spec: Any, leaves: Sequence[Leaf]) -> Outputs:
    """The results of ``f`` on a tree of leaves."""
    return outputs(f(*unflatten(spec, [traced(leaf) for leaf in leaves])))


def _arrays_only(outs: Outputs, what: str) -> None:
    if len(outs.nodes) != len(outs.rest):
        raise TypeError(f"{what} must return arrays; it returned other things among them")


def _same(before: Sequence[Node], after: Sequence[Node], spec: Any, other: Any, what: str) -> None:
    """Loops must give back what they take: the same tree, shapes and dtypes."""
    if spec != other:
        raise TypeError(f"{what}: the carry goes in as {spec} and comes out as {other}")
    for number, (a, b) in enumerate(zip(before, after, strict=True)):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise TypeError(
                f"{what}: leaf {number} of the carry goes in as {a.dtype}{list(a.shape)} and comes "
                f"out as {b.dtype}{list(b.shape)}; give it that shape and dtype from the start"
            )


def scan(
    f: Callable[..., Any],
    init: Tree,
    xs: Tree = None,
    length: int | None = None,
    reverse: bool = False,
    checkpoint: str | int | None = None,
) -> tuple[Tree, Tree]:
    """A loop over rows that carries values: ``carry, y = f(carry, x)`` for every row ``x`` of xs.

    Parameters: ``init`` the first carry and ``xs`` what is run over (trees of arrays; the first
    axis of every leaf of xs has the same length; None with ``length`` for a plain repetition),
    ``reverse`` from the last row to the first.  ``checkpoint``: a reverse derivative keeps the
    carry of every round; with ``"sqrt"`` it keeps every √n-th and computes the others anew, with
    a number of bytes as few as that takes.

    Returns ``(last carry, ys)`` with the y of every round stacked.  The loop stays one node:
    neither tracing nor compiling takes longer for more rounds.  Derivatives of any order in both
    modes.

    Raises TypeError where the carry changes its tree, shapes or dtypes, ValueError where lengths
    differ.

    >>> import numpy as np, chainrule as cr
    >>> total, sums = cr.scan(lambda c, x: (c + x, c + x), 0.0, np.array([1.0, 2.0, 3.0]))
    >>> float(total), sums
    (6.0, array([1., 3., 6.]))
    """
    what = f"scan of {_name(f)}"
    with level("scan") as (session, opened):
        first, spec = flatten(init)
        carry = _nodes(first, f"{what}, init")
        values, rows_spec = flatten(xs)
        rows = _nodes(values, f"{what}, xs")
        count = _length(rows, length, what)
        leaves = [_leaf(session, opened, n) for n in carry]
        row_leaves = [_leaf(session, opened, n, n.shape[1:]) for n in rows]
        result = f(
            unflatten(spec, [traced(leaf) for leaf in leaves]),
            unflatten(rows_spec, [traced(leaf) for leaf in row_leaves]),
        )
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"{what}: the function must return a pair (carry, y)")
        after, ys = outputs(result[0]), outputs(result[1])
        for outs in (after, ys):
            _arrays_only(outs, what)
        nodes = [
            cast(n, leaf.dtype) if n.ndim == 0 and _weaker(n, leaf) else n
            for n, leaf in zip(after.nodes, leaves, strict=False)
        ] + after.nodes[len(leaves) :]
        _same(leaves, nodes, spec, after.spec, what)
        body, taken = closed([*leaves, *row_leaves], [*nodes, *ys.nodes])
        every = _block(checkpoint, count, sum(n.nbytes for n in carry), what)
        arguments = (body, carry, rows, taken, count, reverse)
        made = _run(*arguments) if every is None else _in_blocks(*arguments, every)
    done = settle(session, made)
    return unflatten(spec, done[: len(carry)]), ys.rebuild(done[len(carry) :])


def _weaker(node: Node, leaf: Leaf) -> bool:
    return bool(np.can_cast(node.dtype, leaf.dtype, "safe"))


def _length(rows: Sequence[Node], length: int | None, what: str) -> int:
    if any(n.ndim == 0 for n in rows):
        raise ValueError(f"{what}: a leaf of xs is 0-d and has no rows")
    sizes = sorted({n.shape[0] for n in rows} | (set() if length is None else {length}))
    if not sizes:
        raise ValueError(f"{what}: give xs or length")
    if len(sizes) > 1:
        raise ValueError(f"{what}: lengths differ: {', '.join(map(str, sizes))}")
    return int(sizes[0])


def _block(checkpoint: str | int | None, count: int, nbytes: int, what: str) -> int | None:
    """Rounds between two carries that are kept; None: every carry is kept."""
    if checkpoint is None or count < 4:
        return None
    if checkpoint == "sqrt":
        return max(2, isqrt(count))
    if isinstance(checkpoint, int) and not isinstance(checkpoint, bool) and checkpoint > 0:
        if count * nbytes <= checkpoint:
            return None
        # with n/b carries kept and b computed anew: the least b whose n/b + b fits, else √n
        for block in range(2, isqrt(count) + 1):
            if (count // block + block) * nbytes <= checkpoint:
                return block
        return max(2, isqrt(count))
    raise ValueError(f"{what}: checkpoint is 'sqrt', a number of bytes or None, not {checkpoint!r}")


def _run(
    body: Any,
    carry: Sequence[Node],
    rows: Sequence[Node],
    taken: Sequence[Node],
    count: int,
    reverse: bool,
) -> list[Node]:
    params = (body, count, len(carry), len(rows), reverse)
    return list(calls("scan", [*carry, *rows, *taken], params))


def _in_blocks(
    body: Any,
    carry: Sequence[Node],
    rows: Sequence[Node],
    taken: Sequence[Node],
    count: int,
    reverse: bool,
    every: int,
) -> list[Node]:
    """A loop of loops: the outer one's derivative keeps its carries, the inner runs again."""

    def part(node: Node, start: int, size: int) -> Node:
        shape = (size, *node.shape[1:])
        labels = tuple(range(node.ndim))
        subs = (affine(start, [(1, 0)]), *labels[1:])
        return view(node, dict(enumerate(shape)), subs, labels, shape)

    blocks, rest = divmod(count, every)
    whole = blocks * every
    start = rest if reverse else 0  # the odd rounds come last in either direction
    inner_rows = [reshape(part(n, start, whole), (blocks, every, *n.shape[1:])) for n in rows]
    leaves = [Leaf(k, n.shape, n.dtype) for k, n in enumerate(carry)]
    at = len(leaves)
    row_leaves = [Leaf(at + k, n.shape[1:], n.dtype) for k, n in enumerate(inner_rows)]
    at += len(row_leaves)
    taken_leaves = [Leaf(at + k, n.shape, n.dtype) for k, n in enumerate(taken)]
    inner = _run(body, leaves, row_leaves, taken_leaves, every, reverse)
    outer, more = closed([*leaves, *row_leaves, *taken_leaves], inner)
    assert not more
    made = _run(outer, carry, inner_rows, taken, blocks, reverse)
    n = len(carry)
    ys = [reshape(y, (whole, *y.shape[2:])) for y in made[n:]]
    if not rest:
        return [*made[:n], *ys]
    odd = [part(r, 0 if reverse else whole, rest) for r in rows]
    last = _run(body, made[:n], odd, taken, rest, reverse)
    joined = []
    for y, other in zip(ys, last[n:], strict=True):
        first, second = (other, y) if reverse else (y, other)
        joined.append(_stacked(first, second))
    return [*last[:n], *joined]


def _stacked(first: Node, second: Node) -> Node:
    """One below the other along the first axis."""
    shape = (first.shape[0] + second.shape[0], *first.shape[1:])

    def placed(node: Node, start: int) -> Node:
        labels = tuple(range(node.ndim))
        out = (affine(start, [(1, 0)]), *labels[1:])
        factors = [(node, labels)]
        return Draft(shape, node.dtype, 1, dict(enumerate(node.shape)), factors, out).finish()

    return linear((1, placed(first, 0)), (1, placed(second, first.shape[0])), dtype=first.dtype)


def while_loop(cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Tree) -> Tree:
    """``val = init_val; while cond_fun(val): val = body_fun(val)``, one node however many rounds.

    Derivatives in forward mode (as in JAX); a reverse derivative raises TraceError.  Raises
    TypeError where the value changes its tree, shapes or dtypes, or the test is not one boolean.

    >>> import chainrule as cr
    >>> float(cr.while_loop(lambda v: v < 100.0, lambda v: 2 * v, 3.0))
    192.0
    """
    what = f"while_loop of {_name(body_fun)}"
    with level("while_loop") as (session, opened):
        first, spec = flatten(init_val)
        carry = _nodes(first, f"{what}, init_val")
        leaves = [_leaf(session, opened, n) for n in carry]

        def value() -> Tree:
            return unflatten(spec, [traced(leaf) for leaf in leaves])

        after, test = outputs(body_fun(value())), outputs(cond_fun(value()))
        _arrays_only(after, what)
        _same(leaves, after.nodes, spec, after.spec, what)
        if len(test.nodes) != 1 or test.nodes[0].shape or len(test.rest) != 1:
            raise TypeError(f"{what}: cond_fun must return one boolean")
        flag = cast(test.nodes[0], np.dtype(bool))
        both, taken = closed(leaves, [flag, *after.nodes])
        body = type(both)(both.leaves, both.outs[1:])
        go_on = type(both)(both.leaves, both.outs[:1])
        made = list(calls("while", [*carry, *taken], (go_on, body)))
    return unflatten(spec, settle(session, made))


def cond(
    pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Tree
) -> Tree:
    """``true_fun(*operands) if pred else false_fun(*operands)``, decided when the program runs.

    Only the branch taken is computed; the derivative passes through it alone.  Under ``vmap`` with
    differing predicates both are, and the results chosen by element.  Raises TypeError where the
    branches return different trees, shapes or dtypes.

    >>> import numpy as np, chainrule as cr
    >>> f = lambda x: cr.cond(x > 0, np.sin, lambda x: 3 * x, x)
    >>> float(cr.grad(f)(0.0)), float(cr.grad(f)(-1.0))
    (3.0, 3.0)
    """
    what = f"cond of {_name(true_fun)} and {_name(false_fun)}"
    with level("cond") as (session, opened):
        flag = _nodes([pred], f"{what}, pred")[0]
        if flag.shape:
            raise TypeError(f"{what}: pred has shape {flag.shape}; it must be one boolean")
        values, spec = flatten(operands)
        nodes = _nodes(values, f"{what}, operands")
        leaves = [_leaf(session, opened, n) for n in nodes]
        first, second = (_body(f, spec, leaves) for f in (true_fun, false_fun))
        for outs in (first, second):
            _arrays_only(outs, what)
        if first.spec != second.spec:
            raise TypeError(f"{what}: the branches return {first.spec} and {second.spec}")
        for a, b in zip(first.nodes, second.nodes, strict=True):
            if (a.shape, a.dtype) != (b.shape, b.dtype):
                raise TypeError(
                    f"{what}: the branches return {a.dtype}{list(a.shape)} and "
                    f"{b.dtype}{list(b.shape)}"
                )
        both, taken = closed(leaves, [*first.nodes, *second.nodes])
        cut = len(first.nodes)
        bodies = tuple(type(both)(both.leaves, outs) for outs in (both.outs[:cut], both.outs[cut:]))
        made = list(calls("cond", [cast(flag, np.dtype(bool)), *nodes, *taken], bodies))
    return first.rebuild(settle(session, made))


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, whose inside is not kept for a reverse derivative but computed anew.

    It saves the memory of what ``f`` computes between its arguments and results, for the price of
    computing it twice.

    >>> import numpy as np, chainrule as cr
    >>> float(cr.grad(cr.checkpoint(lambda x: np.sin(np.exp(x))))(0.0)) == float(np.cos(1.0))
    True
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values, spec = flatten(args)
        if not any(is_traced(v) for v in values):
            return f(*args, **kwargs)
        moving = [k for k, v in enumerate(values) if is_array(v) and not isinstance(v, bool)]
        with level("checkpoint") as (session, opened):
            nodes = _nodes([values[k] for k in moving], _name(f))
            leaves = [_leaf(session, opened, n) for n in nodes]
            inside = list(values)
            for k, leaf in zip(moving, leaves, strict=True):
                inside[k] = traced(leaf)
            outs = outputs(f(*unflatten(spec, inside), **kwargs))
            body, taken = closed(leaves, outs.nodes)
            made = list(calls("apply", [*nodes, *taken], (body,)))
        return outs.rebuild(settle(session, made))

    return wrapped
