"""Counted flops of calls (leading order, for the cost model; Golub & Van Loan, ch. 3-5, 8)."""

from __future__ import annotations

from math import prod

from ..expr.nodes import Call

__all__ = ["call_flops"]

# multiples of batch · n³ for functions of square matrices
_CUBIC = {
    "inv": 2.0,
    "det": 2 / 3,
    "slogdet": 2 / 3,
    "cholesky": 1 / 3,
    "eigh": 9.0,
    "eigvalsh": 4 / 3,
    "expm": 20.0,
    "triangular_inverse": 1 / 3,
}


def call_flops(node: Call) -> int:
    """An estimate for one call; elementwise-like accumulations count their size."""
    first = node.args[0]
    if node.op in _CUBIC:
        n = first.shape[-1]
        return round(_CUBIC[node.op] * prod(first.shape[:-2]) * n**3)
    if node.op in ("solve", "triangular_solve"):
        n = first.shape[-1]
        factor = 2 / 3 * n**3 if node.op == "solve" else 0
        return round(prod(first.shape[:-2]) * factor + 2 * n * node.size)
    return max(node.size, first.size)
