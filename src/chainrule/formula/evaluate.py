"""Values of quantities at given sizes, by plain loops over label boxes: slow, and evidently right.

It serves to check formulas; it shares nothing with the programs that compute derivatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..expr.extents import Extent
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity, Ramp, Sym, Wrap, ordered
from .writing import Env

__all__ = ["evaluate"]

Value = Any


def evaluate(quantity: Quantity, env: Env, names: Mapping[Quantity, str]) -> Value:
    """The value of a quantity; parts that have names are taken from ``env``."""
    known: dict[Quantity, Value] = {}
    for q in ordered([quantity]):
        if q in names and q is not quantity:
            known[q] = np.asarray(env.values[names[q]]).reshape(_sizes(q.shape, env))
        else:
            known[q] = _value(q, known, env)
    return known[quantity]


def _sizes(shape: tuple[Extent, ...], env: Env) -> tuple[int, ...]:
    return tuple(_whole(e, env) for e in shape)


def _whole(value: Extent, env: Env) -> int:
    """A whole number; raises ValueError for N/2 at an odd N."""
    found = value.value(env.sizes)
    if found != round(found):
        raise ValueError(f"{value} is {found:g}, no whole number, at sizes {dict(env.sizes)}")
    return round(found)


def _value(q: Quantity, known: Mapping[Quantity, Value], env: Env) -> Value:
    if isinstance(q, Ramp):
        return np.arange(*_sizes(q.shape, env), dtype=float)
    if isinstance(q, Sym):
        return np.asarray(env.values[q.name]).reshape(_sizes(q.shape, env))
    if isinstance(q, Num):
        return np.asarray(q.value.value(env.sizes))
    if isinstance(q, Add):
        total = np.zeros(_sizes(q.shape, env))
        for coef, part in q.parts:
            total = total + coef.value(env.sizes) * known[part]
        return total
    if isinstance(q, Pow):
        return np.asarray(known[q.base]) ** float(q.exponent)
    if isinstance(q, Fun):
        args = [known[a] for a in q.args]
        op, params = q.op, q.params
        if op in ("softmax", "logsumexp"):
            return _softmax(args[0], params[0], op == "logsumexp")
        if q.whole:
            op, params = (f"{op}:{params[-1]}" if params and params[-1] else op), params[:-1]
        return np.asarray(env.functions[op](*args, *params))
    assert isinstance(q, Prod)
    return _product(q, known, env)


def _softmax(z: Value, axis: int, log_sum: bool) -> Value:
    top = z.max(axis=axis, keepdims=True)
    e = np.exp(z - top)
    total = e.sum(axis=axis, keepdims=True)
    return (top + np.log(total)).squeeze(axis) if log_sum else e / total


def _product(q: Prod, known: Mapping[Quantity, Value], env: Env) -> Value:
    box = _sizes(q.extents, env)
    grids = np.indices(box) if box else np.zeros((0,), int)

    def at(index: Index) -> Value:
        if isinstance(index, int):
            return grids[index]
        total = np.full(box, _whole(index.const, env))
        for coef, key in index.parts:
            total = total + _whole(coef, env) * part(key)
        return total

    def part(key: int | Wrap) -> Value:
        if isinstance(key, int):
            return grids[key]
        subs = tuple(at(s) for s in key.subs)
        if key.kind == "look":
            assert key.table is not None
            return np.asarray(known[key.table])[subs].astype(int)
        n = _whole(key.n, env)
        return subs[0] % n if key.kind == "mod" else subs[0] // n

    inside = np.ones(box, bool)
    for constraint in q.constraints:
        inside &= at(constraint) >= 0
    total = np.where(inside, q.coef.value(env.sizes), 0.0)
    for factor, subs in q.factors:
        value = np.asarray(known[factor])
        indices = tuple(np.where(inside, at(s), 0) for s in subs)
        total = np.where(inside, total * (value[indices] if indices else value), 0.0)
    result = np.zeros(_sizes(q.shape, env))
    if not q.out:
        return np.asarray(total.sum())
    np.add.at(result, tuple(np.where(inside, at(s), 0) for s in q.out), total)
    return result
