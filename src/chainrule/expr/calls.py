"""The calls: functions without a network form, by name, with the shapes and dtypes they return.

Leading axes of all arguments are batch axes; what a signature says is about the last ones.
*Operators* stand for a linear map as a dense tensor; in a contraction they are applied instead of
formed (:mod:`chainrule.simplify.operators`).

==================  ===================================  =========================================
call                arguments, params                    results
==================  ===================================  =========================================
inv, inverse        A (n, n)                             A⁻¹; ``inverse`` is the operator
solve               A (n, n), B (n, k)                   A⁻¹B
solve_triangular    T (n, n), B (n, k); lower, unit      T⁻¹B, T one triangle of the argument
triangular_inverse  T (n, n); lower, unit                T⁻¹, an operator
det, cofactor       A (n, n)                             det A; ∂ det A/∂A = det A · A⁻ᵀ
slogdet             A (n, n)                             sign, log|det A|
cholesky            A (n, n)                             lower factor; reads the lower triangle
eigh, eigvalsh      A (n, n); "L" or "U"                 w (n,), v (n, n); w alone
svd, svdvals        A (m, n)                             u (m, k), s (k,), vᴴ (k, n); s alone
qr                  A (m, n), m ≥ n                      q (m, n), r (n, n)
pinv                A (m, n); rcond or None              A⁺ (n, m)
expm                A (n, n)                             eᴬ
expm_jacobian       A (n, n)                             ∂eᴬ[i, j]/∂A[k, l], an operator
segment_products    a (m,)                               Π a[k] over j < k ≤ i, an operator
recurrence          a (m,), b (m,); reverse              y[i] = a[i] y[i-1] + b[i];
                                                         reversed: y[i] = a[i+1] y[i+1] + b[i]
cumprod             x (m,)                               running products
other_products      x (m,)                               for each place, the product of the others
prod, amax, amin    x (last k axes reduced); k           over the last k axes
any, all            x (last k axes reduced); k           over the last k axes
argmax, argmin      x (m,)                               the first position
argsort             x (m,)                               stable order
nonzero             mask; the length is guarded          one integer array an axis
last_writer         index tables; number of core axes    True where no later entry writes there
scan                carries, xs (L, …), captured;        last carries, ys (L, …): ``body`` runs once
                    body, L, counts, reverse             a row
while               carries, captured; test, body        carries, once ``test`` is False
cond                predicate, operands; two bodies      the results of one of them
apply               operands; body                       its results, computed by themselves
==================  ===================================  =========================================

The last four are *bodied*: programs inside a node (:mod:`chainrule.expr.bodies`), whose results
have derivatives together (:mod:`chainrule.chain.loops`); they have no batch axes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .bodies import Body
from .nodes import Call, Node

__all__ = ["BODIED", "CALL_OPS", "OPERATORS", "call", "calls"]

Dtype: TypeAlias = "np.dtype[Any]"
Result: TypeAlias = "tuple[tuple[int, ...], Dtype]"
Signature: TypeAlias = "Callable[[tuple[Node, ...], tuple[Any, ...]], tuple[Result, ...]]"

INDEX = np.dtype(np.intp)
BOOL = np.dtype(bool)

CALL_OPS: dict[str, Signature | None] = {}
OPERATORS = frozenset({"inverse", "triangular_inverse", "expm_jacobian", "segment_products"})


BODIED = frozenset({"scan", "while", "cond", "apply"})


def _define(names: str) -> Callable[[Signature], Signature]:
    def register(signature: Signature) -> Signature:
        for name in names.split():
            CALL_OPS[name] = signature
        return signature

    return register


def _real(dtype: Dtype) -> Dtype:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


@_define("inv inverse triangular_inverse cofactor cholesky expm cumprod other_products")
def _like_first(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return ((args[0].shape, args[0].dtype),)


@_define("solve solve_triangular recurrence")
def _like_second(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return ((args[1].shape, np.result_type(args[0].dtype, args[1].dtype)),)


@_define("det")
def _det(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return ((args[0].shape[:-2], args[0].dtype),)


@_define("slogdet")
def _slogdet(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    batch = args[0].shape[:-2]
    return (batch, args[0].dtype), (batch, _real(args[0].dtype))


@_define("eigh")
def _eigh(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    a = args[0]
    return (a.shape[:-1], _real(a.dtype)), (a.shape, a.dtype)


@_define("eigvalsh")
def _eigvalsh(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return _eigh(args, params)[:1]


@_define("svd")
def _svd(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    a = args[0]
    *batch, m, n = a.shape
    k = min(m, n)
    return (
        ((*batch, m, k), a.dtype),
        ((*batch, k), _real(a.dtype)),
        ((*batch, k, n), a.dtype),
    )


@_define("svdvals")
def _svdvals(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return _svd(args, params)[1:2]


@_define("qr")
def _qr(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    a = args[0]
    n = a.shape[-1]
    return (a.shape, a.dtype), ((*a.shape[:-2], n, n), a.dtype)


@_define("pinv")
def _pinv(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    *batch, m, n = args[0].shape
    return (((*batch, n, m), args[0].dtype),)


@_define("expm_jacobian")
def _twice(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    a = args[0]
    return ((a.shape + a.shape[-2:], a.dtype),)


@_define("segment_products")
def _square(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    a = args[0]
    return ((a.shape + a.shape[-1:], a.dtype),)


@_define("prod amax amin")
def _reduced(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    a = args[0]
    return ((a.shape[: a.ndim - params[0]], a.dtype),)


@_define("any all")
def _tested(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return ((_reduced(args, params)[0][0], BOOL),)


@_define("argmax argmin")
def _position(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return ((args[0].shape[:-1], INDEX),)


@_define("argsort")
def _positions(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return ((args[0].shape, INDEX),)


def _like(nodes: Sequence[Node], lead: tuple[int, ...] = ()) -> tuple[Result, ...]:
    return tuple(((*lead, *n.shape), n.dtype) for n in nodes)


@_define("scan")
def _scan(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    body, length, carries, _, _ = params
    return _like(body.outs[:carries]) + _like(body.outs[carries:], (length,))


@_define("while")
def _while(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    return _like(params[1].outs)


@_define("cond apply")
def _bodies(args: tuple[Node, ...], params: tuple[Any, ...]) -> tuple[Result, ...]:
    body = params[0]
    assert isinstance(body, Body)
    return _like(body.outs)


# their lengths depend on values; trace.functions.indexing builds them
CALL_OPS["nonzero"] = None
CALL_OPS["last_writer"] = None


def call(op: str, *args: Node, params: tuple[Any, ...] = (), index: int = 0) -> Call:
    """Result ``index`` of a call, with shape and dtype worked out."""
    signature = CALL_OPS[op]
    assert signature is not None, op
    shape, dtype = signature(args, params)[index]
    return Call(op, shape, dtype, args, params, index)


def calls(op: str, args: Sequence[Node], params: tuple[Any, ...]) -> list[Call]:
    """All results of a call."""
    signature = CALL_OPS[op]
    assert signature is not None, op
    args = tuple(args)
    return [
        Call(op, shape, dtype, args, params, index)
        for index, (shape, dtype) in enumerate(signature(args, params))
    ]
