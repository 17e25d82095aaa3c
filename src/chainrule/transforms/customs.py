"""Functions with a derivative stated by the user, and stop_gradient.

A custom rule is linear in its tangents (or cotangents); tracing it on a fresh leaf and taking the
Jacobian by that leaf gives the local Jacobian as a network, so that all modes and orders follow
from the one statement.  The call becomes a node ``custom(value, arguments…)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..chain.batch import batched
from ..chain.network import reverse_network
from ..expr.build import map_
from ..expr.nodes import Call, Leaf, Node, Term
from ..expr.walk import substitute_nodes
from ..lower.calls import CALL_KERNELS
from ..rules.local import CALLS, Piece
from ..simplify.network import compress
from ..trace.array import TracedArray, as_node, is_traced, traced
from ..trace.session import require_session
from .core import outputs
from .trees import flatten, is_array, unflatten

__all__ = ["Custom", "custom", "stop_gradient"]


def _pieces(call: Call) -> list[Piece]:
    """The stated local Jacobian, traced when a derivative asks for it.

    Under vmap the call has leading batch axes: the rule is traced on one example, and its network
    gets the batch labels.
    """
    custom, spec, static, index, lead = call.params
    args = call.args[1:]
    session = require_session()
    if not lead:
        return custom.stated(call.shape, call.dtype, args, spec, static, index)  # type: ignore[no-any-return]
    examples = [session.new_leaf(a.shape[lead:], a.dtype) for a in args]
    shape = call.shape[lead:]
    pieces = custom.stated(shape, call.dtype, examples, spec, static, index)
    sizes = call.shape[:lead]
    for k in reversed(range(lead)):
        whole = [session.new_leaf(a.shape[k:], a.dtype) for a in args]
        pieces = _with_batch(pieces, dict(zip(examples, whole, strict=True)), sizes[k])
        examples = whole
    final: dict[Node, Node] = dict(zip(examples, args, strict=True))
    return [_replaced(p, final) for p in pieces]


def _with_batch(pieces: list[Piece], whole: dict[Node, Node], size: int) -> list[Piece]:
    result = []
    for piece in pieces:
        label = len(piece.extents)
        nodes = batched([n for n, _ in piece.factors], whole, size)
        factors = tuple(
            (node, (label, *subs) if has else subs)
            for (node, has), (_, subs) in zip(nodes, piece.factors, strict=True)
        )
        result.append(
            piece._replace(
                arg=whole[piece.arg],
                extents=(*piece.extents, size),
                factors=factors,
                out=(label, *piece.out),
                into=(label, *piece.into),
            )
        )
    return result


def _replaced(piece: Piece, new: dict[Node, Node]) -> Piece:
    nodes = substitute_nodes([n for n, _ in piece.factors], new)
    factors = tuple((n, subs) for n, (_, subs) in zip(nodes, piece.factors, strict=True))
    return piece._replace(arg=new[piece.arg], factors=factors)


def _as_pieces(arg: Node, terms: list[Term], n_out: int) -> list[Piece]:
    return [
        Piece(arg, t.coef, t.extents, t.factors, t.out[:n_out], t.out[n_out:], t.constraints)
        for t in terms
    ]


CALLS["custom"] = _pieces
CALL_KERNELS["custom"] = lambda value, *_: (np.array(value),)


class Custom:
    """A function with stated derivatives; made by :func:`custom`."""

    def __init__(self, f: Callable[..., Any]) -> None:
        functools.update_wrapper(self, f)
        self._f = f
        self._jvp: Callable[..., Any] | None = None
        self._fwd: Callable[..., Any] | None = None
        self._bwd: Callable[..., Any] | None = None

    def jvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """State the derivative forward: ``rule(primals, tangents) -> (y, dy)``; a decorator."""
        self._jvp = rule
        return rule

    def vjp(
        self, fwd: Callable[..., Any], bwd: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        """State the derivative in reverse.

        ``vjp(fwd, bwd)`` as in JAX: ``fwd(*args) -> (y, residuals)`` and
        ``bwd(residuals, G) -> (cotangent, …)``.  As a decorator, ``vjp(rule)`` with
        ``rule(primals, G) -> (cotangent, …)``.
        """
        self._fwd, self._bwd = (fwd, bwd) if bwd is not None else (None, fwd)
        return fwd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any(is_traced(leaf) for leaf in flatten((args, kwargs))[0]):
            return self._f(*args, **kwargs)
        if self._jvp is None and self._bwd is None:
            return self._f(*args, **kwargs)
        if kwargs:
            raise TypeError("custom functions take positional arguments only when differentiated")
        return self._record(args)

    def _record(self, args: tuple[Any, ...]) -> Any:
        """One node a result: the value by the function itself, the derivative by the rule."""
        flat, spec = flatten(args)
        moving = tuple(i for i, v in enumerate(flat) if is_array(v) and _inexact(v))
        nodes = [as_node(flat[i] if is_traced(flat[i]) else np.asarray(flat[i])) for i in moving]
        primals = list(flat)
        for i, node in zip(moving, nodes, strict=True):
            primals[i] = traced(node)
        outs = outputs(self._f(*unflatten(spec, primals)))
        static = tuple((i, _Static(v)) for i, v in enumerate(flat) if i not in moving)
        results = [
            Call("custom", out.shape, out.dtype, (out, *nodes), (self, spec, static, number, 0))
            for number, out in enumerate(outs.nodes)
        ]
        return outs.rebuild([traced(n) for n in results])

    def stated(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        nodes: Sequence[Node],
        spec: Any,
        static: tuple[tuple[int, _Static], ...],
        index: int,
    ) -> list[Piece]:
        """The pieces of result number ``index`` at arguments given as nodes."""
        session = require_session()
        fixed = {i: s.value for i, s in static}
        stream = iter(nodes)
        count = len(nodes) + len(fixed)
        flat = [fixed[i] if i in fixed else traced(next(stream)) for i in range(count)]
        tree = unflatten(spec, flat)
        n_out = len(shape)
        if self._jvp is not None:
            fresh = [session.new_leaf(n.shape, n.dtype) for n in nodes]
            moving = iter(fresh)
            directions = [
                np.zeros(np.shape(v)) if i in fixed else traced(next(moving))
                for i, v in enumerate(flat)
            ]
            result = self._jvp(tree, unflatten(spec, directions))
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError("a jvp rule returns a pair (y, dy)")
            changes = outputs(result[1]).nodes
            change = changes[index] if index < len(changes) else None
            if change is None or change.shape != shape:
                raise ValueError(
                    f"the jvp rule returned tangents of shapes {[n.shape for n in changes]}; "
                    f"result {index} has shape {shape}"
                )
            networks = reverse_network(change, fresh)
            return [
                p
                for node, terms in zip(nodes, networks, strict=True)
                for p in _as_pieces(node, terms, n_out)
            ]
        return self._stated_vjp(tree, nodes, set(fixed), index, n_out)

    def _stated_vjp(
        self, tree: Any, nodes: Sequence[Node], fixed: set[int], index: int, n_out: int
    ) -> list[Piece]:
        session = require_session()
        if self._fwd is not None:
            y, residuals = self._fwd(*tree)
        else:
            y, residuals = self._f(*tree), tree
        outs = outputs(y)
        seeds = [session.new_leaf(n.shape, n.dtype) for n in outs.nodes]
        assert self._bwd is not None
        pulled = self._bwd(residuals, outs.rebuild([traced(s) for s in seeds]))
        pulled = pulled if isinstance(pulled, tuple) else (pulled,)
        if len(pulled) != len(tree):
            raise ValueError(
                f"the vjp rule returned {len(pulled)} cotangents for {len(tree)} arguments"
            )
        flat = flatten(tuple(0.0 if p is None else p for p in pulled))[0]
        back = [v for i, v in enumerate(flat) if i not in fixed]
        return [
            piece
            for value, node in zip(back, nodes, strict=True)
            if is_traced(value)
            for piece in _as_pieces(node, _turned(value.node, node, seeds[index]), n_out)
        ]


class _Static:
    """An argument that is not differentiated, compared by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _turned(pulled: Node, arg: Node, seed: Leaf) -> list[Term]:
    """∂(cotangent of arg)/∂seed with its groups exchanged: the local Jacobian."""
    if pulled.shape != arg.shape:
        raise ValueError(
            f"the vjp rule returned a cotangent of shape {pulled.shape} for an argument of shape "
            f"{arg.shape}"
        )
    (network,) = reverse_network(pulled, [seed])
    n = arg.ndim
    result = []
    for term in network:
        made = Term(
            term.shape[n:] + term.shape[:n],
            term.dtype,
            term.coef,
            term.extents,
            term.factors,
            (*term.out[n:], *term.out[:n]),
            term.constraints,
        )
        result.append(compress(made))
    return result


def _inexact(value: Any) -> bool:
    return np.dtype(getattr(value, "dtype", type(value))).kind in "fc"


def custom(f: Callable[..., Any]) -> Custom:
    """A function whose derivative you state yourself, with ``.jvp`` or ``.vjp``.

    >>> import numpy as np, chainrule as cr
    >>> @cr.custom
    ... def f(x):
    ...     return np.sin(x)
    >>> @f.jvp
    ... def rule(primals, tangents):
    ...     (x,), (dx,) = primals, tangents
    ...     return f(x), np.cos(x) * dx
    >>> float(cr.grad(f)(0.0))
    1.0
    """
    return Custom(f)


def stop_gradient(x: Any) -> Any:
    """``x`` (a tree of arrays) as a constant: no derivative passes through.

    >>> import chainrule as cr
    >>> float(cr.grad(lambda x: x * cr.stop_gradient(x))(3.0))
    3.0
    """
    leaves, spec = flatten(x)
    return unflatten(
        spec,
        [
            traced(map_("stop", v.node), weak=v.weak) if isinstance(v, TracedArray) else v
            for v in leaves
        ],
    )
