"""Values of nodes under bindings: numbers, or whatever the bound values carry on with.

A binding may be an array, or a value that continues expressions (a traced array): it says so by a
method ``continue_expression(nodes, bindings)``, so that this room need not know of tracing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import TooLargeError
from ..expr.nodes import Leaf, Node
from ..expr.walk import leaves
from ..lower.run import evaluate
from .memory import check_size, readable

__all__ = ["bound_operand", "continues", "factor_values", "value_of"]


_REMEDY = (
    "products with vectors by chainrule.jvp, vjp or hvp (nothing is stored), or parts of the "
    "Jacobian, J[1:3, :]"
)


def continues(value: Any) -> bool:
    """Whether a value carries expressions on instead of holding numbers."""
    return hasattr(value, "continue_expression")


def values_of(nodes: Sequence[Node], bindings: Mapping[Node, Any]) -> list[Any]:
    """Values of nodes under bindings of all their leaves."""
    used = {leaf: bindings[leaf] for leaf in leaves(nodes)}
    for value in used.values():
        if continues(value):
            return list(value.continue_expression(nodes, used))
    try:
        return evaluate(nodes, used)
    except MemoryError as error:
        if isinstance(error, TooLargeError):
            raise
        raise TooLargeError(
            f"an intermediate of this result does not fit: {error}; instead: {_REMEDY}"
        ) from None


def value_of(node: Node, bindings: Mapping[Node, Any]) -> Any:
    """The value of one node."""
    return values_of([node], bindings)[0]


def factor_values(nodes: Sequence[Node], bindings: Mapping[Node, Any]) -> list[Any]:
    """Values of factors; a bound leaf gives the very array that it is bound to.

    TooLargeError where those that are computed would not fit.
    """
    computed = [n for n in nodes if n not in bindings]
    if not any(continues(value) for value in bindings.values()):
        size = sum(node.nbytes for node in computed)
        shapes = ", ".join(f"{list(n.shape)} ({readable(n.nbytes)})" for n in computed[:4])
        check_size(size, f"the factors of this Jacobian, {shapes},", None, _REMEDY)
    found = dict(zip(computed, values_of(computed, bindings), strict=True))
    return [bindings[n] if n in bindings else found[n] for n in nodes]


def bound_operand(
    value: Any, slot: int, bindings: Mapping[Node, Any]
) -> tuple[Leaf, dict[Node, Any]]:
    """A fresh leaf for an operand, and the bindings with it."""
    array = value if continues(value) else np.asarray(value)
    leaf = Leaf(slot, tuple(array.shape), array.dtype)
    return leaf, {**bindings, leaf: array}
