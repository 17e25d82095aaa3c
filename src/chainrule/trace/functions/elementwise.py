"""Ufuncs and other elementwise functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from ...expr.build import cast, linear, map_, product
from ...expr.nodes import Const, Map, Node, Sum
from ...expr.ops import OPS, join_dtypes
from ..array import OPERATORS, UFUNCS, TracedArray, as_node, traced
from .common import broadcast_nodes, implements, operands, promoted, ufunc

__all__ = ["elementwise"]

# NumPy's and SciPy's names where they differ from ours.
_ALIASES = {"absolute": "abs", "conjugate": "conj", "true_divide": "divide", "psi": "digamma"}
_FLOAT = np.dtype(float)
_SPECIAL = (
    "expit logit log_expit erf erfc erfcx erfinv erfcinv log_ndtr gamma gammaln digamma beta binom "
    "poch xlogy xlog1py exprel i0e i1e j0 j1 y0 y1 k0 k1 k0e k1e"
)
# functions of NumPy's that SciPy has as ufuncs of its own
_TWICE = "cbrt exp2 expm1 log1p"


def elementwise(op: str, function: Any) -> Callable[..., Any]:
    """The implementation of a ufunc as a Map."""

    if OPS[op].arity == 1:
        return _unary(op, function)

    def implementation(*values: Any) -> TracedArray:
        nodes, dtype, weak = promoted(function, values)
        return TracedArray(map_(op, *nodes, dtype=dtype), weak)

    return implementation


def _unary(op: str, function: Any) -> Callable[..., Any]:
    dtypes: dict[Any, Any] = {}  # of the operand: of the result

    def implementation(value: Any) -> TracedArray:
        if type(value) is TracedArray:
            node = value.node
            given = node.dtype
            if given is _FLOAT or not value.weak:  # a weak float is a float64 that yields
                dtype = dtypes.get(given)
                if dtype is None:
                    dtype = dtypes[given] = promoted(function, (value,))[1]
                return TracedArray(Map(op, node.shape, dtype, (node,)), value.weak)
        (node,), dtype, weak = promoted(function, (value,))
        return TracedArray(map_(op, node, dtype=dtype), weak)

    return implementation


for _name in OPS:
    _function = getattr(np, _name, None)
    if isinstance(_function, np.ufunc):
        UFUNCS[_function] = elementwise(_name, _function)
for _other, _ours in _ALIASES.items():
    if isinstance(getattr(np, _other, None), np.ufunc):
        UFUNCS[getattr(np, _other)] = elementwise(_ours, getattr(np, _other))
for _name in f"{_SPECIAL} {_TWICE}".split():
    UFUNCS[getattr(scipy.special, _name)] = elementwise(_name, getattr(scipy.special, _name))


@ufunc(np.add)
def add(a: Any, b: Any) -> TracedArray:
    return _linear(np.add, 1, a, b)


@ufunc(np.subtract)
def subtract(a: Any, b: Any) -> TracedArray:
    return _linear(np.subtract, -1, a, b)


def _linear(function: Any, sign: int, a: Any, b: Any) -> TracedArray:
    (x, y), dtype, weak = promoted(function, (a, b))
    shape = y.shape if type(x) is Const else x.shape
    return TracedArray(Sum(shape, dtype, ((1, x), (sign, y))), weak)


@ufunc(np.negative)
def negative(a: TracedArray) -> TracedArray:
    return traced(linear((-1, a.node), dtype=a.dtype), weak=a.weak)


@ufunc(np.positive)
def positive(a: TracedArray) -> TracedArray:
    return traced(a.node, weak=a.weak)


@ufunc(np.multiply)
def multiply(a: Any, b: Any) -> TracedArray:
    scalar, other = (b, a) if type(b) is float else (a, b)
    if type(scalar) is float and type(other) is TracedArray and math.isfinite(scalar) and scalar:
        node = other.node  # no Const is needed: the scalar becomes a coefficient
        kind = node.dtype
        if kind.kind == "f":
            return TracedArray(product(node, coef=scalar, dtype=kind), other.weak)
    (x, y), dtype, weak = promoted(np.multiply, (a, b))
    return TracedArray(multiplied(x, y, dtype), weak)


def multiplied(x: Node, y: Node, dtype: np.dtype[Any]) -> Node:
    """The product as the user wrote it: zero and non-finite scalars and masks are not folded."""
    scalar, other = (y, x) if type(y) is Const else (x, y)
    if isinstance(scalar, Const):
        value = scalar.value
        if value == 0 or value != value or abs(value) == math.inf or isinstance(value, bool):
            return map_("multiply", x, y, dtype=dtype)
        return product(other, coef=value, dtype=dtype)
    if x.dtype.kind == "b" or y.dtype.kind == "b":
        return map_("multiply", x, y, dtype=dtype)
    return product(x, y, dtype=dtype)


_FAST_POWERS: dict[Any, Any] = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal}


def power(a: Any, b: Any) -> TracedArray:
    """``a ** b`` with NumPy's fast paths for the exponents 2, 1/2, 1 and -1."""
    number = isinstance(b, int | float) and not isinstance(b, bool)
    if number and isinstance(a, TracedArray) and a.dtype.kind in "fc":
        fast = _FAST_POWERS.get(b)
        if fast is not None:
            return fast(a)  # type: ignore[no-any-return]
        if b == 1:
            return traced(a.node, weak=a.weak)
    return UFUNCS[np.power](a, b)  # type: ignore[no-any-return]


OPERATORS["pow"] = power
OPERATORS["cast"] = lambda value, dtype: cast_to(as_node(value), np.dtype(dtype))


def cast_to(node: Node, dtype: np.dtype[Any]) -> Node:
    """``astype``; complex to real drops the imaginary part, as NumPy does (with a warning)."""
    if isinstance(node, Const):
        return as_node(np.asarray(node.value, dtype))
    return cast(node, dtype)


def _extremum(op: str, function: Any) -> Callable[..., Any]:
    """max and min of two: a plain array is a constant, to which a tie gives no derivative."""

    def implementation(*values: Any) -> TracedArray:
        nodes, dtype, weak = promoted(function, values)
        fixed = [
            n if isinstance(v, TracedArray) or isinstance(n, Const) else map_("stop", n)
            for v, n in zip(values, nodes, strict=True)
        ]
        return TracedArray(map_(op, *fixed, dtype=dtype), weak)

    return implementation


for _name in ("maximum", "minimum", "fmax", "fmin"):
    UFUNCS[getattr(np, _name)] = _extremum(_name, getattr(np, _name))


@ufunc(np.fabs)
def fabs(a: Any) -> Any:
    return np.abs(a)


@ufunc(np.deg2rad, np.radians)
def deg2rad(a: Any) -> Any:
    return a * (math.pi / 180)


@ufunc(np.rad2deg, np.degrees)
def rad2deg(a: Any) -> Any:
    return a * (180 / math.pi)


@ufunc(np.divmod)
def divmod_(a: Any, b: Any) -> Any:
    return np.floor_divide(a, b), np.remainder(a, b)


@ufunc(np.modf)
def modf(a: Any) -> Any:
    whole = np.trunc(a)
    return a - whole, whole


@implements(np.where)
def where(condition: Any, *choices: Any) -> Any:
    if not choices:
        return np.nonzero(condition)
    x, y = choices
    nodes, kinds, _ = operands(condition, x, y)
    test = nodes[0]
    if isinstance(test, Const):
        test = as_node(np.asarray(bool(test.value)))
    if test.dtype.kind != "b":
        test = map_("not_equal", test, Const(0))
    dtype = join_dtypes(kinds[1:])
    for i in (1, 2):
        if isinstance(kinds[i], type) and not isinstance(nodes[i], Const):
            nodes[i] = cast(nodes[i], dtype)
    filled = broadcast_nodes([test, *nodes[1:]])
    return traced(Map("where", filled[0].shape, dtype, tuple(filled)))


@implements(np.clip, method="clip")
def clip(a: Any, a_min: Any = None, a_max: Any = None, **limits: Any) -> Any:
    low = limits.pop("min", a_min)
    high = limits.pop("max", a_max)
    limits.pop("out", None)
    result = a
    if low is not None:
        result = np.maximum(result, low)
    if high is not None:
        result = np.minimum(result, high)
    return result


@implements(np.sinc)
def sinc(x: Any) -> TracedArray:
    return traced(map_("sinc", as_node(x)))


@implements(np.real)
def real(a: TracedArray) -> TracedArray:
    return traced(map_("real", a.node)) if a.dtype.kind == "c" else a


@implements(np.imag)
def imag(a: TracedArray) -> TracedArray:
    if a.dtype.kind == "c":
        return traced(map_("imag", a.node))
    zero: TracedArray = a * 0
    return zero


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    result = traced(map_("angle", as_node(z)))
    return result * (180 / math.pi) if deg else result


@implements(np.round, np.around, method="round")
def round_(a: Any, decimals: int = 0) -> Any:
    if decimals == 0:
        return np.rint(a)
    return np.rint(a * 10.0**decimals) / 10.0**decimals


@implements(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    info = np.finfo(x.dtype)
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == np.inf, info.max if posinf is None else posinf, x)
    return np.where(x == -np.inf, info.min if neginf is None else neginf, x)


@implements(np.isclose)
def isclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    close = np.abs(a - b) <= atol + rtol * np.abs(b)
    close = np.logical_or(close, np.equal(a, b))
    return np.logical_or(close, np.isnan(a) & np.isnan(b)) if equal_nan else close


@implements(np.allclose)
def allclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any) -> bool:
    return np.shape(a1) == np.shape(a2) and bool(np.all(np.equal(a1, a2)))


@implements(np.iscomplexobj)
def iscomplexobj(x: TracedArray) -> bool:
    return x.dtype.kind == "c"


@implements(np.isrealobj)
def isrealobj(x: TracedArray) -> bool:
    return x.dtype.kind != "c"
