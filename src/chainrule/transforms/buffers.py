"""Arrays that the caller gives for results: ``out=`` and donated arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..expr.nodes import Node
from ..lower.libraries import as_numpy
from ..trace.array import write_out
from .core import Outputs
from .trees import Tree, flatten, paths

__all__ = ["donated", "targets_given", "targets_of", "written"]


def targets_of(out: Tree, outs: Outputs) -> list[Any]:
    """The arrays of ``out``, one for each array of the result, in its order.

    Raises TypeError for another structure, for what is no array and for another dtype; ValueError
    for another shape, and for arrays that cannot be written as they are.
    """
    flat, spec = flatten(out)
    if spec != outs.spec:
        raise TypeError(
            f"out= has the structure {spec}, the result {outs.spec}: give an array for every array "
            "of the result (np.empty(()) for a scalar)"
        )
    stream = iter(outs.nodes)
    pairs = [
        (target, next(stream), f"out={path}" if path else "out=")
        for target, path, plain in zip(flat, paths(spec), outs.plain, strict=True)
        if not plain
    ]
    for target, node, name in pairs:
        _check(target, node, name)
    arrays = [target for target, _, _ in pairs]
    _check_apart(arrays, [name for _, _, name in pairs])
    return arrays


def _check(target: Any, node: Node, name: str) -> None:
    if not isinstance(target, np.ndarray):
        raise TypeError(
            f"{name} is {type(target).__name__}, not an array: results are written into arrays, "
            f"here np.empty({node.shape}, {node.dtype.name!r})"
        )
    if target.shape != node.shape:
        raise ValueError(f"{name} has shape {target.shape}, the result {node.shape}")
    if target.dtype != node.dtype:
        raise TypeError(
            f"{name} has dtype {target.dtype}, the result {node.dtype}: make it with "
            f"np.empty({node.shape}, {node.dtype.name!r})"
        )
    _check_writable(target, name)
    if not target.flags.c_contiguous:
        raise ValueError(f"{name} is not contiguous in C order: give a whole array")


def _check_writable(target: Any, name: str) -> None:
    if not target.flags.writeable:
        raise ValueError(f"{name} is read-only")


def _check_apart(arrays: Sequence[Any], names: Sequence[str]) -> None:
    """ValueError where two of the arrays share memory."""
    found = _meeting(arrays)
    if found is not None:
        one, other = (names[k] for k in found)
        raise ValueError(f"{one} and {other} share memory: each result needs its own")


def _meeting(arrays: Sequence[Any]) -> tuple[int, int] | None:
    """The numbers of two arrays whose memory overlaps, if there are two."""
    if len(arrays) < 2:
        return None
    ranges = sorted(
        (*np.lib.array_utils.byte_bounds(array), number)
        for number, array in enumerate(arrays)
        if array.size
    )
    for (_, end, one), (start, _, other) in pairwise(ranges):
        if start < end:
            return min(one, other), max(one, other)
    return None


def donated(flat: Sequence[Any], positions: Sequence[int], nodes: Sequence[Node]) -> dict[int, int]:
    """Positions in ``flat`` of arrays that are given for a result, and the result's number.

    Each result takes the first array of its shape and dtype that no other has taken.
    """
    free = [i for i in positions if type(flat[i]) is np.ndarray and flat[i].ndim]
    found: dict[int, int] = {}
    for number, node in enumerate(nodes):
        for position in free:
            array = flat[position]
            if array.shape == node.shape and array.dtype == node.dtype:
                found[position] = number
                free.remove(position)
                break
    return found


def targets_given(
    flat: Sequence[Any], spec: Any, given: Mapping[int, int], count: int
) -> list[Any]:
    """Of ``count`` results the arrays that they are written into, None for those without.

    Raises ValueError where a donated array is read-only or shares memory with another one.
    """
    targets: list[Any] = [None] * count
    for position, number in given.items():
        targets[number] = flat[position]
    arrays = [flat[position] for position in given]
    if not all(array.flags.writeable for array in arrays) or _meeting(arrays) is not None:
        names = ["donated args" + path.removeprefix("[0]") for path in paths(spec)]
        for position in given:
            _check_writable(flat[position], names[position])
        _check_apart(arrays, [names[position] for position in given])
    return targets


def written(values: Sequence[Any], targets: Sequence[Any]) -> list[Any]:
    """The values, those with a target copied into it."""
    result = []
    for value, target in zip(values, targets, strict=True):
        if target is not None:
            np.copyto(target, as_numpy(value))
        result.append(value if target is None else target)
    return result


def traced_into(out: Tree, result: Tree) -> Tree:
    """``out=`` of a call inside another trace: the arrays must be traced, too."""
    targets, given = flatten(out)
    values, spec = flatten(result)
    if given != spec:
        raise TypeError(f"out= has the structure {given}, the result {spec}")
    for target, value in zip(targets, values, strict=True):
        if np.shape(target) != np.shape(value):
            raise ValueError(f"out= has shape {np.shape(target)}, the result {np.shape(value)}")
        write_out(target, value)
    return out
