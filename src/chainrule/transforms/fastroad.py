"""The fast road of a compiled function: arguments to results in one native call.

Its function checks the arguments' tree, shapes and dtypes itself.  Trees are of tuples, lists and
dicts; others, and branches on values, take the general road.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optree

from ..expr.nodes import Leaf as LeafNode
from ..lower.native.entry import Captured, Dict, Leaf, Row, Same, Tree
from ..lower.native.program import NativeProgram
from ..lower.run import Program
from .core import Outputs
from .trees import unflatten

__all__ = ["NoRoad", "native_function"]


class NoRoad(Exception):
    """Arguments or results that machine code cannot take apart or put together."""


class _Place:
    """Stands for a leaf in a tree of results."""

    def __init__(self, number: int) -> None:
        self.number = number


def native_function(
    program: Program,
    sources: Sequence[tuple[bool, Any]],
    flat: Sequence[Any],
    spec: optree.PyTreeSpec,
    outs: Outputs,
    into: bool = False,
    donated: Mapping[int, int] | None = None,
) -> NativeProgram:
    """The program as a function of the arguments, values of keywords last, in the order of their
    names; NoRoad where the general one must do.

    ``into``: one more argument is the tree of arrays to write into; ``donated``: positions in
    ``flat`` of the arrays that become results, and which (not ``into`` others).
    """
    number = {position: k for k, (given, position) in enumerate(sources) if given}
    args, kwargs = unflatten(spec, range(len(flat)))
    given = {} if into or donated is None else donated
    arguments = [
        _argument(item, flat, number, given)
        for item in (*args, *(kwargs[k] for k in sorted(kwargs)))
    ]
    captured = [
        Captured(source, _captured(source, leaf, k))
        for k, ((given, source), leaf) in enumerate(zip(sources, program.plan.leaves, strict=True))
        if not given
    ]
    places = [_Place(k) for k in range(len(outs.nodes))]
    others = {id(value) for value in outs.rest}
    result = _result(outs.rebuild(places), outs, others)
    return NativeProgram(program.plan, arguments, captured, result, into)


def _argument(
    item: Any, flat: Sequence[Any], number: Mapping[int, int], given: Mapping[int, int]
) -> Tree:
    if type(item) is int:
        value = flat[item]
        if type(value) is np.ndarray:
            return Leaf(value.shape, value.dtype, number.get(item), gives=given.get(item))
        if type(value) is float:
            return Leaf((), np.dtype(float), number.get(item), weak=True)
        if value is True or value is False:
            return Same(value)
        raise NoRoad(f"an argument of type {type(value).__name__}")
    if item is None:
        return Same(None)
    if type(item) in (tuple, list):
        return Row(type(item), tuple(_argument(i, flat, number, given) for i in item))
    if type(item) is dict:
        return Dict(tuple(item), tuple(_argument(i, flat, number, given) for i in item.values()))
    raise NoRoad(f"arguments in a {type(item).__name__}")


def _captured(source: Any, leaf: LeafNode, number: int) -> Leaf:
    if type(source) is not np.ndarray:
        raise NoRoad(f"a captured {type(source).__name__}")
    return Leaf(leaf.shape, leaf.dtype, number)


def _result(item: Any, outs: Outputs, others: set[int]) -> Tree:
    if isinstance(item, _Place):
        node = outs.nodes[item.number]
        return Leaf(node.shape, node.dtype, item.number)
    if type(item) in (tuple, list):
        return Row(type(item), tuple(_result(i, outs, others) for i in item))
    if type(item) is dict:
        return Dict(tuple(item), tuple(_result(i, outs, others) for i in item.values()))
    if item is None or id(item) in others:
        return Same(item)
    raise NoRoad(f"results in a {type(item).__name__}")
