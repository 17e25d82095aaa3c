"""The typing rules of :mod:`.nodes` and :mod:`.subs`, as a checker for tests and debugging.

``verify(roots)`` looks at every node once, without recursion, and raises :class:`MalformedError`
at the first that breaks a rule.  Whether a subscript stays within its axis wherever the constraints
hold is proved by intervals, else by trying every point of a small label box; what depends on the
values of a table is taken on trust.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np

from .calls import CALL_OPS
from .nodes import Box, Call, Const, Leaf, Map, Node, Sum, Term
from .ops import OPS, join_dtypes, result_dtype
from .subs import (
    Affine,
    Div,
    Key,
    Look,
    Mod,
    Sub,
    affine,
    bounds,
    labels_of,
    looks_of,
    order_of,
    parts_of,
    scale,
    subtract,
)
from .walk import topological

__all__ = ["MalformedError", "verify"]

_MOST_POINTS = 50_000
_CORE_AXES = {"solve": 2, "solve_triangular": 2, "recurrence": 1}


class MalformedError(ValueError):
    """A node that breaks a typing rule; ``node`` is the node."""

    def __init__(self, node: Node, rule: str) -> None:
        super().__init__(f"{node!r}: {rule}")
        self.node = node


def verify(roots: Iterable[Node]) -> None:
    """Check every node under ``roots``."""
    for node in topological(roots):
        _basics(node)
        if isinstance(node, Term):
            _term(node)
        elif isinstance(node, Sum):
            _sum(node)
        elif isinstance(node, Map):
            _map(node)
        elif isinstance(node, Call):
            _call(node)
        elif isinstance(node, Const):
            _require(node, type(node.value) in (bool, int, float, complex), "no Python scalar")
            _require(node, node.shape == (), "a scalar has no axes")
        elif isinstance(node, Box):
            _same(node, node.node, "a box has its content's")
        else:
            _require(node, isinstance(node, Leaf), "an unknown kind of node")


def _require(node: Node, holds: bool, rule: str) -> None:
    if not holds:
        raise MalformedError(node, rule)


def _same(node: Node, other: Node, rule: str) -> None:
    _require(node, node.shape == other.shape, f"{rule} shape")
    _require(node, node.dtype == other.dtype, f"{rule} dtype")


def _basics(node: Node) -> None:
    shape: Any = node.shape
    tuple_ = isinstance(shape, tuple) and all(isinstance(e, int) and e >= 0 for e in shape)
    _require(node, tuple_, "extents are integers ≥ 0")
    _require(node, isinstance(node.dtype, np.dtype), "the dtype is no numpy.dtype")
    _require(node, node.dtype.kind in "biufc", "the dtype is not numeric")
    _require(node, len(set(node.children)) == len(node.children), "children are listed twice")


def _operands(node: Map | Sum, operands: Iterable[Node]) -> None:
    for operand in operands:
        fits = isinstance(operand, Const) or operand.shape == node.shape
        _require(node, fits, f"operand {operand!r} has another shape")


def _weak(nodes: Iterable[Node]) -> list[np.dtype[Any] | type]:
    return [type(n.value) if isinstance(n, Const) else n.dtype for n in nodes]


def _map(node: Map) -> None:
    _require(node, node.op in OPS, f"no elementwise function is called {node.op!r}")
    _require(node, len(node.args) == OPS[node.op].arity, f"{node.op} has another arity")
    _require(node, set(node.children) == set(node.args), "children are not the arguments")
    _operands(node, node.args)
    natural = result_dtype(node.op, _weak(node.args), node.params)
    _require(node, node.dtype == natural, f"{node.op} of these arguments is {natural}")


def _sum(node: Sum) -> None:
    nodes = [n for _, n in node.parts]
    _require(node, set(node.children) == set(nodes), "children are not the summands")
    _operands(node, nodes)
    for coef, _ in node.parts:
        _require(node, type(coef) in (int, float, complex), f"coefficient {coef!r}")
        _require(node, not isinstance(coef, complex) or node.dtype.kind == "c", "a real sum")
    if nodes:
        joined = join_dtypes(_weak(nodes))
        fits = np.can_cast(joined, node.dtype, "same_kind")
        _require(node, fits, f"summands of dtype {joined} do not fit")


def _call(node: Call) -> None:
    _require(node, node.op in CALL_OPS, f"no call is called {node.op!r}")
    _require(node, set(node.children) == set(node.args), "children are not the arguments")
    signature = CALL_OPS[node.op]
    if signature is None:
        return
    results = signature(node.args, node.params)
    _require(node, 0 <= node.index < len(results), f"{node.op} has {len(results)} results")
    shape, dtype = results[node.index]
    _require(node, node.shape == shape, f"{node.op} of these arguments has shape {shape}")
    _require(node, node.dtype == dtype, f"{node.op} of these arguments is {dtype}")
    core = _CORE_AXES.get(node.op)
    if core is not None:
        batches = {a.shape[: a.ndim - core] for a in node.args}
        _require(node, len(batches) == 1, f"{node.op} of different batch shapes {batches}")


# -- terms ----------------------------------------------------------------------------------------
def _term(node: Term) -> None:
    extents = dict(enumerate(node.extents))
    _require(node, type(node.coef) in (int, float, complex), f"coefficient {node.coef!r}")
    _require(node, all(e > 1 for e in node.extents), f"unit or empty labels in {node.extents}")
    complex_ = isinstance(node.coef, complex) or any(n.dtype.kind == "c" for n, _ in node.factors)
    _require(node, node.dtype.kind == "c" or not complex_, "complex factors of a real term")
    _require(node, len(node.out) == node.ndim, "one output subscript an axis")
    children = {n for n, _ in node.factors}
    groups = [("output", node.shape, node.out)]
    for factor, subs in node.factors:
        _require(node, not isinstance(factor, Const), "a scalar factor belongs to coef")
        _require(node, len(subs) == factor.ndim, f"one subscript an axis of {factor!r}")
        groups.append((repr(factor), factor.shape, subs))
    for sub in node.constraints:
        _require(node, not isinstance(sub, int), "a label is never negative")
    _require(node, list(node.constraints) == sorted(node.constraints, key=order_of), "order")
    order: dict[int, None] = {}
    for sub in (*node.out, *(s for _, ss in node.factors for s in ss), *node.constraints):
        _subscript(node, sub, extents)
        order.update(labels_of(sub))
        for look in looks_of(sub):
            children.add(look.table)
    _require(node, list(order) == list(extents), "labels are not numbered by appearance")
    _require(node, set(node.children) == children, "children are not factors and tables")
    for name, shape, subs in groups:
        for axis, (sub, extent) in enumerate(zip(subs, shape, strict=True)):
            low, high = bounds(sub, extents)
            inside = (low >= 0 or _implied(node, sub)) and (
                high < extent or _implied(node, scale(sub, -1, extent - 1))
            )
            _require(node, inside, f"{name} is left along axis {axis} by {sub}")


def _subscript(node: Node, sub: Sub, extents: Mapping[int, int]) -> None:
    pending = [sub]
    while pending:
        one = pending.pop()
        if isinstance(one, int):
            _require(node, one in extents, f"label {one} has no extent")
            continue
        _require(node, isinstance(one, Affine), f"{one!r} is no subscript")
        _require(node, affine(one.const, one.parts) == one, f"{one} is not canonical")
        for _, key in one.parts:
            if isinstance(key, int):
                pending.append(key)
            elif isinstance(key, Look):
                _require(node, key.table.dtype.kind in "iu", f"table {key.table!r} is no integer's")
                _require(node, len(key.subs) == key.table.ndim, "one subscript an axis of a table")
                _require(node, key.n > 0, "a table's entries lie in [0, n)")
                pending.extend(key.subs)
            else:
                _require(node, key.n > 1, f"{key} divides by {key.n}")
                pending.append(key.sub)


def _implied(node: Term, sub: Sub) -> bool:
    """Whether ``sub ≥ 0`` wherever the constraints hold (or that depends on a table)."""
    extents = dict(enumerate(node.extents))
    for held in node.constraints:
        if held == sub or bounds(subtract(sub, held), extents)[0] >= 0:
            return True
    subs = [sub, *node.constraints]
    if any(looks_of(s) for s in subs):
        return bool(node.constraints)
    labels = list({label: None for s in subs for label in labels_of(s)})
    shape = [extents[label] for label in labels]
    if prod(shape) > _MOST_POINTS:
        return True
    grids = dict(zip(labels, np.indices(shape), strict=True))
    valid = np.ones(shape, bool)
    for held in node.constraints:
        valid &= _values(held, grids) >= 0
    return not bool(np.any(valid & (_values(sub, grids) < 0)))


def _values(sub: Sub, grids: Mapping[int, Any]) -> Any:
    """A subscript at every point; not deeper than subscripts are nested."""
    constant, parts = parts_of(sub)
    total: Any = constant
    for coef, key in parts:
        total = total + coef * _key_values(key, grids)
    return total


def _key_values(key: Key, grids: Mapping[int, Any]) -> Any:
    if isinstance(key, int):
        return grids[key]
    assert isinstance(key, Mod | Div)
    inner = _values(key.sub, grids)
    return inner % key.n if isinstance(key, Mod) else inner // key.n
