"""Rewrites of sums of derivative terms: flatten, drop zeros, collect equal summands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..expr.build import cast, zeros
from ..expr.draft import Draft, tidy_coef
from ..expr.nodes import Const, Node, Scalar, Sum

__all__ = ["accumulate"]


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
    for node in nodes:
        for coef, part in node.parts if isinstance(node, Sum) else ((1, node),):
            part = cast(part, dtype)
            if isinstance(part, Sum) and not part.parts:
                continue
            total[part] = total[part] + coef if part in total else coef
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
