"""Values of nodes under bindings: numbers, or whatever the bound values carry on with.

A binding may be an array, or a value that continues expressions (a traced array): it says so by a
method ``continue_expression(nodes, bindings)``, so that this room need not know of tracing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..expr.nodes import Leaf, Node
from ..expr.walk import leaves
from ..lower.run import evaluate

__all__ = ["bound_operand", "continues", "factor_values", "value_of"]


def continues(value: Any) -> bool:
    """Whether a value carries expressions on instead of holding numbers."""
    return hasattr(value, "continue_expression")


def values_of(nodes: Sequence[Node], bindings: Mapping[Node, Any]) -> list[Any]:
    """Values of nodes under bindings of all their leaves."""
    used = {leaf: bindings[leaf] for leaf in leaves(nodes)}
    for value in used.values():
        if continues(value):
            return list(value.continue_expression(nodes, used))
    return evaluate(nodes, used)


def value_of(node: Node, bindings: Mapping[Node, Any]) -> Any:
    """The value of one node."""
    return values_of([node], bindings)[0]


def factor_values(nodes: Sequence[Node], bindings: Mapping[Node, Any]) -> list[Any]:
    """Values of factors; a bound leaf gives the very array that it is bound to."""
    computed = [n for n in nodes if n not in bindings]
    found = dict(zip(computed, values_of(computed, bindings), strict=True))
    return [bindings[n] if n in bindings else found[n] for n in nodes]


def bound_operand(
    value: Any, slot: int, bindings: Mapping[Node, Any]
) -> tuple[Leaf, dict[Node, Any]]:
    """A fresh leaf for an operand, and the bindings with it."""
    array = value if continues(value) else np.asarray(value)
    leaf = Leaf(slot, tuple(array.shape), array.dtype)
    return leaf, {**bindings, leaf: array}
