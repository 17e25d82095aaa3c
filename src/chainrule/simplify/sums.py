"""Rewrites of sums of derivative terms: drop zeros, collect equal summands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..expr.build import cast, zeros
from ..expr.draft import Draft, tidy_coef
from ..expr.nodes import Const, Node, Scalar, Sum, Term

__all__ = ["accumulate"]

# A sum among the summands is opened where few come of it (formulas read better), and where it is
# short and brings equal summands together.  As a rule its value is needed elsewhere too (x + f(x),
# layer after layer): sums opened into sums without limit make the cost quadratic in the depth.
_FEW, _SHORT = 3, 8


def accumulate(nodes: Sequence[Node], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Node:
    """The sum of contributions, each cast to ``dtype``."""
    if len(nodes) == 1 and nodes[0].dtype == dtype:
        (only,) = nodes
        if isinstance(only, Sum):
            if len(only.parts) != 1 and len(only.children) == len(only.parts):
                return only
        elif not isinstance(only, Const):
            return only
    total: dict[Node, Scalar] = {}
    for coef, node in _summands(nodes):
        part = cast(node, dtype)
        if isinstance(part, Sum) and not part.parts:
            continue
        total[part] = total[part] + coef if part in total else coef
    if len(total) > 1:
        _merge(total)
    parts = [(tidy_coef(c), n) for n, c in total.items() if c != 0]
    if not parts:
        return zeros(shape, dtype)
    if len(parts) == 1:
        coef, node = parts[0]
        if coef == 1:
            return node
        labels = tuple(range(node.ndim))
        return Draft(shape, dtype, coef, dict(enumerate(shape)), [(node, labels)], labels).finish()
    return Sum(shape, dtype, tuple(parts))


def _merge(total: dict[Node, Scalar]) -> None:
    """Make one summand of terms that differ in their coefficients only."""
    if not any(isinstance(node, Term) and node.coef != 1 for node in total):
        return
    groups: dict[Any, list[tuple[Scalar, Node]]] = {}
    for node in total:
        coef, key = _unscaled(node)
        groups.setdefault(key, []).append((coef, node))
    for group in groups.values():
        if len(group) == 1:
            continue
        value = sum(total[node] * coef for coef, node in group)
        coef, first = min(group, key=lambda pair: pair[0] != 1)
        if value == 0 or coef in (1, -1):
            for _, node in group:
                del total[node]
            total[first] = value * coef


def _unscaled(node: Node) -> tuple[Scalar, Any]:
    """The coefficient of a summand and what it multiplies."""
    if not isinstance(node, Term) or node.dtype.kind not in "fc":
        return 1, node
    if node.coef != 1 and len(node.factors) == 1 and not node.constraints:
        ((inner, subs),) = node.factors
        if subs == node.out == tuple(range(node.ndim)) and inner.shape == node.shape:
            coef, key = _unscaled(inner)
            return coef * node.coef, key
    return node.coef, (node.extents, node.factors, node.out, node.constraints)


def _summands(nodes: Sequence[Node]) -> list[tuple[Scalar, Node]]:
    """The contributions, short sums with a summand in common opened."""
    times = Counter(nodes)
    found = Counter(part for node in times for _, part in _parts(node))
    few = sum(len(_parts(node)) for node in times) <= _FEW
    result: list[tuple[Scalar, Node]] = []
    for node, count in times.items():
        parts = _parts(node)
        shared = len(parts) <= _SHORT and any(found[part] > 1 for _, part in parts)
        if few or shared or len(parts) == 1:
            result.extend((coef * count, part) for coef, part in parts)
        else:
            result.append((count, node))
    return result


def _parts(node: Node) -> Sequence[tuple[Scalar, Node]]:
    return node.parts if isinstance(node, Sum) else ((1, node),)
