"""The order of pairwise contractions: opt_einsum's, cached under renamed labels.

Tracing splits products of many factors by it, lowering multiplies factors by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import opt_einsum

__all__ = ["pairwise"]


@lru_cache(maxsize=4096)
def _first_pair(
    operands: tuple[tuple[int, ...], ...], out: tuple[int, ...], extents: tuple[int, ...]
) -> tuple[int, int]:
    symbols = [opt_einsum.get_symbol(k) for k in range(len(extents))]
    inputs = ["".join(symbols[k] for k in labels) for labels in operands]
    shapes = [tuple(extents[k] for k in labels) for labels in operands]
    equation = ",".join(inputs) + "->" + "".join(symbols[k] for k in out)
    path, _ = opt_einsum.contract_path(
        equation, *shapes, shapes=True, optimize="optimal" if len(operands) <= 5 else "auto"
    )
    first = path[0]
    return (first[0], first[1]) if len(first) > 1 else (0, 1)


def pairwise(
    operands: Sequence[tuple[int, ...]], out: Sequence[int], extents: dict[int, int]
) -> tuple[int, int]:
    """The two operands to multiply next."""
    if len(operands) == 2:
        return 0, 1
    used = {k for labels in operands for k in labels}
    if used <= set(out):
        # nothing is summed: multiply the smallest first
        sizes = [prod(extents[k] for k in labels) for labels in operands]
        i, j = sorted(sorted(range(len(operands)), key=sizes.__getitem__)[:2])
        return i, j
    rename = {k: i for i, k in enumerate(dict.fromkeys([*out, *sorted(used)]))}
    return _first_pair(
        tuple(tuple(rename[k] for k in labels) for labels in operands),
        tuple(rename[k] for k in out),
        tuple(extents[k] for k in rename),
    )
