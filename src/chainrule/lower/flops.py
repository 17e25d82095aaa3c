"""Counted flops of calls (leading order, for the cost model).

Golub and Van Loan, *Matrix Computations*, 4th ed., ch. 3-5 and 8; Higham, *Functions of Matrices*,
ch. 10 (scaling and squaring with a [13/13] approximant and a few squarings).
"""

from __future__ import annotations

from collections.abc import Callable
from math import log2, prod

from ..expr.bodies import Body
from ..expr.calls import CALL_OPS
from ..expr.nodes import Call

__all__ = ["call_flops"]

# multiples of batch · n³ for functions of square matrices
_CUBIC = {
    "inv": 2.0,
    "inverse": 2.0,
    "det": 2 / 3,
    "cofactor": 8 / 3,
    "slogdet": 2 / 3,
    "cholesky": 1 / 3,
    "eigh": 9.0,
    "eigvalsh": 4 / 3,
    "expm": 20.0,
    "triangular_inverse": 1 / 3,
}
# multiples of batch · m·n·min(m, n)
_RECTANGULAR = {"svd": 14.0, "svdvals": 4.0, "qr": 4.0, "pinv": 18.0}


def _solve(node: Call) -> float:
    n = node.args[0].shape[-1]
    return prod(node.args[0].shape[:-2]) * 2 / 3 * n**3 + 2 * n * node.size


def _solve_triangular(node: Call) -> float:
    return node.args[0].shape[-1] * node.size


def _expm_jacobian(node: Call) -> float:
    n = node.args[0].shape[-1]
    return prod(node.args[0].shape[:-2]) * n**2 * 20.0 * (2 * n) ** 3


def _sorted(node: Call) -> float:
    return node.size * log2(max(node.shape[-1], 2))


def _visited(node: Call) -> float:
    return max(node.size, *(a.size for a in node.args))


_OTHER: dict[str, Callable[[Call], float]] = {
    "solve": _solve,
    "solve_triangular": _solve_triangular,
    "expm_jacobian": _expm_jacobian,
    "recurrence": lambda node: 2 * node.size,
    "argsort": _sorted,
    "last_writer": _sorted,
    # what one round costs, times the rounds (of a while loop one is assumed)
    "scan": lambda node: node.params[1] * body_flops(node.params[0]),
    "while": lambda node: body_flops(node.params[0]) + body_flops(node.params[1]),
    "cond": lambda node: max(body_flops(body) for body in node.params),
    "apply": lambda node: body_flops(node.params[0]),
    "custom": lambda node: 0,  # the value is that of its first argument, counted there
}
_VISITED = "segment_products cumprod other_products prod amax amin any all argmax argmin nonzero"
_OTHER |= dict.fromkeys(_VISITED.split(), _visited)


def body_flops(body: Body) -> int:
    """Of a program inside a node."""
    from .plan import make_plan  # it counts with this module

    return make_plan(body.outs).flops


def call_flops(node: Call) -> int:
    """An estimate for one call; accumulations count the elements they visit."""
    shape = node.args[0].shape if node.args else ()
    if node.op in _CUBIC:
        return round(_CUBIC[node.op] * prod(shape[:-2]) * shape[-1] ** 3)
    if node.op in _RECTANGULAR:
        return round(_RECTANGULAR[node.op] * prod(shape) * min(shape[-2:]))
    return round(_OTHER[node.op](node))


_missing = CALL_OPS.keys() - _CUBIC.keys() - _RECTANGULAR.keys() - _OTHER.keys()
if _missing:
    raise ImportError(f"no cost is stated for the calls {sorted(_missing)}")
