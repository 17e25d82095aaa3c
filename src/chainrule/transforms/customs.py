"""Functions with a derivative stated by the user, and stop_gradient.

A custom rule is linear in its tangents (or cotangents); tracing it on a fresh leaf and taking the
Jacobian by that leaf gives the local Jacobian as a network, so that all modes and orders follow
from the one statement.  The call becomes a node ``linearized(value, arguments…, factors…)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..chain.network import reverse_network
from ..expr.build import map_
from ..expr.nodes import Call, Const, Leaf, Node, Scalar, Term
from ..expr.subs import Sub
from ..lower.calls import CALL_KERNELS
from ..rules.local import CALLS, Piece
from ..simplify.network import compress
from ..trace.array import TracedArray, as_node, is_traced, traced
from ..trace.session import require_session
from .core import outputs
from .trees import flatten, is_array, unflatten

__all__ = ["Custom", "custom", "stop_gradient"]


class Stated(NamedTuple):
    """A piece of a stated local Jacobian; nodes are numbers of the call's arguments."""

    arg: int
    coef: Scalar
    extents: tuple[int, ...]
    factors: tuple[tuple[int, tuple[Sub, ...]], ...]
    out: tuple[Sub, ...]
    into: tuple[Sub, ...]
    constraints: tuple[Sub, ...]

    def with_batch_axis(self) -> Stated:
        """The same under one more leading label in every group."""
        label = len(self.extents)
        raise_size = (*self.extents, -1)
        return self._replace(
            extents=raise_size,
            factors=tuple((n, (label, *subs)) for n, subs in self.factors),
            out=(label, *self.out),
            into=(label, *self.into),
        )


def _pieces(call: Call) -> list[Piece]:
    pieces = []
    for stated in call.params:
        arg = call.args[stated.arg]
        lead = call.shape
        batch = [label for label, extent in enumerate(stated.extents) if extent == -1]
        extents = list(stated.extents)
        for position, label in enumerate(reversed(batch)):
            extents[label] = lead[position]
        pieces.append(
            Piece(
                arg,
                stated.coef,
                tuple(extents),
                tuple((call.args[n], subs) for n, subs in stated.factors),
                stated.out,
                stated.into,
                stated.constraints,
            )
        )
    return pieces


CALLS["linearized"] = _pieces
CALL_KERNELS["linearized"] = lambda value, *_: (value,)


def linearized(value: Node, args: list[Node], terms: list[list[Term]]) -> Node:
    """A node of ``value`` whose Jacobian by each argument is the given network."""
    nodes: list[Node] = [value, *args]
    position = {node: i + 1 for i, node in enumerate(args)}
    stated: list[Stated] = []
    n_out = value.ndim
    for number, network in enumerate(terms):
        for term in network:
            factors = []
            for node, subs in term.factors:
                if node not in position:
                    position[node] = len(nodes)
                    nodes.append(node)
                factors.append((position[node], subs))
            stated.append(
                Stated(
                    number + 1,
                    term.coef,
                    term.extents,
                    tuple(factors),
                    term.out[:n_out],
                    term.out[n_out:],
                    term.constraints,
                )
            )
    return Call("linearized", value.shape, value.dtype, tuple(nodes), tuple(stated))


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
            raise TypeError(
                f"{getattr(self._f, '__name__', 'the custom function')} has no derivative rule: "
                "state one with its .jvp or .vjp decorator"
            )
        if kwargs:
            raise TypeError("custom functions take positional arguments only when differentiated")
        return self._linearize(args)

    def _linearize(self, args: tuple[Any, ...]) -> Any:
        session = require_session()
        flat, spec = flatten(args)
        moving = [i for i, v in enumerate(flat) if is_array(v) and _inexact(v)]
        nodes = [as_node(np.asarray(flat[i]) if not is_traced(flat[i]) else flat[i]) for i in moving]
        primals = list(flat)
        for i, node in zip(moving, nodes, strict=True):
            primals[i] = traced(node)
        tree = unflatten(spec, primals)
        if self._jvp is not None:
            fresh = [session.new_leaf(n.shape, n.dtype) for n in nodes]
            directions: list[Any] = [
                np.zeros(np.shape(v), float) if is_array(v) else None for v in flat
            ]
            for i, leaf in zip(moving, fresh, strict=True):
                directions[i] = traced(leaf)
            y, dy = self._jvp(tree, unflatten(spec, directions))
            outs, pushed = outputs(y), outputs(dy)
            _check_count(outs.nodes, pushed.nodes, "tangents", "results")
            results = [
                linearized(out, nodes, reverse_network(change, fresh))
                for out, change in zip(outs.nodes, pushed.nodes, strict=True)
            ]
            return outs.rebuild([traced(n) for n in results])
        return self._from_vjp(tree, nodes, moving, len(flat))

    def _from_vjp(
        self, tree: Any, nodes: list[Node], moving: list[int], count: int
    ) -> Any:
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
        flat = flatten(tuple(np.zeros(()) if p is None else p for p in pulled))[0]
        back = [as_node(flat[i]) if is_traced(flat[i]) else None for i in moving]
        results = []
        for out, seed in zip(outs.nodes, seeds, strict=True):
            terms = [
                [] if b is None or isinstance(b, Const) else _turned(b, n, seed)
                for b, n in zip(back, nodes, strict=True)
            ]
            results.append(linearized(out, nodes, terms))
        return outs.rebuild([traced(n) for n in results])


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


def _check_count(outs: list[Node], found: list[Node], what: str, of: str) -> None:
    if len(outs) != len(found) or any(a.shape != b.shape for a, b in zip(outs, found, strict=False)):
        raise ValueError(
            f"the rule returned {what} of shapes {[n.shape for n in found]} for {of} of shapes "
            f"{[n.shape for n in outs]}"
        )


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
        [traced(map_("stop", v.node), weak=v.weak) if isinstance(v, TracedArray) else v for v in leaves],
    )


