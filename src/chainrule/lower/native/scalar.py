"""The elementwise functions of a plan on vectors (operands are of one kind, masks are i1)."""

from __future__ import annotations

import math
from collections.abc import Callable

from .code import Code, V
from .layout import Unsupported
from .powers import power
from .vmath import VECTOR_FUNCTIONS

__all__ = ["COMPARISONS", "LIBRARY", "LOGICAL", "apply", "has_form"]

COMPARISONS = {
    "equal": ("oeq", "eq"),
    "not_equal": ("une", "ne"),
    "less": ("olt", "slt"),
    "less_equal": ("ole", "sle"),
    "greater": ("ogt", "sgt"),
    "greater_equal": ("oge", "sge"),
}
LOGICAL = frozenset({"logical_and", "logical_or", "logical_xor", "logical_not"})

_ROUNDING = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint", "sqrt": "sqrt"}
#: NumPy's name: the C library's.
LIBRARY = {
    "tan": "tan",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "sinh": "sinh",
    "cosh": "cosh",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "exp2": "exp2",
    "log2": "log2",
    "log10": "log10",
    "cbrt": "cbrt",
    "erfc": "erfc",
    "arctan2": "atan2",
    "hypot": "hypot",
    "fmod": "fmod",
}


def _pick(how: str) -> Callable[[Code, V, V], V]:
    def function(c: Code, a: V, b: V) -> V:
        if a.kind == "i64":
            return c.select(c.cmp(f"s{how[1:]}", a, b), a, b)
        first = c.cmp(how, a, b)
        return c.select(c.or_(first, c.cmp("uno", a, a)), a, b)  # NaN wins, as in NumPy

    return function


def _pick_number(how: str) -> Callable[[Code, V, V], V]:
    def function(c: Code, a: V, b: V) -> V:
        return c.select(c.or_(c.cmp(how, a, b), c.cmp("uno", b, b)), a, b)

    return function


def _square(c: Code, a: V) -> V:
    return c.mul(a, a)


def _reciprocal(c: Code, a: V) -> V:
    return c.div(c.const(a.kind, 1), a)


def _absolute(c: Code, a: V) -> V:
    if a.kind == "i64":
        return c.select(c.cmp("slt", a, c.const("i64", 0)), c.neg(a), a)
    return c.intrinsic("fabs", a)


def _floor_divide(c: Code, a: V, b: V) -> V:
    """Of integers; the quotient is rounded down, as in NumPy."""
    quotient = c.integer("sdiv", a, b)
    rest = c.sub(a, c.mul(quotient, b))
    zero = c.const(a.kind, 0)
    inexact = c.cmp("ne", rest, zero)
    apart = c.cmp("slt", c.xor(rest, b), zero)
    return c.select(c.and_(inexact, apart), c.sub(quotient, c.const(a.kind, 1)), quotient)


def _remainder(c: Code, a: V, b: V) -> V:
    return c.sub(a, c.mul(_floor_divide(c, a, b), b))


def _sign(c: Code, a: V) -> V:
    one, zero = c.const(a.kind, 1), c.const(a.kind, 0)
    less, more = ("slt", "sgt") if a.kind == "i64" else ("olt", "ogt")
    value = c.select(c.cmp(more, a, zero), one, c.select(c.cmp(less, a, zero), c.neg(one), zero))
    return value if a.kind == "i64" else c.select(c.cmp("uno", a, a), a, value)


def _isfinite(c: Code, a: V) -> V:
    return c.cmp("olt", c.intrinsic("fabs", a), c.const(a.kind, math.inf))


def _isnan(c: Code, a: V) -> V:
    return c.cmp("uno", a, a)


def _isinf(c: Code, a: V) -> V:
    return c.cmp("oeq", c.intrinsic("fabs", a), c.const(a.kind, math.inf))


def _heaviside(c: Code, a: V, b: V) -> V:
    zero = c.const(a.kind, 0)
    value = c.select(c.cmp("olt", a, zero), zero, c.const(a.kind, 1))
    value = c.select(c.cmp("oeq", a, zero), b, value)
    return c.select(c.cmp("uno", a, a), a, value)


def _logaddexp(c: Code, a: V, b: V) -> V:
    larger = c.select(c.cmp("ogt", a, b), a, b)
    gap = c.neg(c.intrinsic("fabs", c.sub(a, b)))
    value = c.add(larger, VECTOR_FUNCTIONS["log1p"](c, VECTOR_FUNCTIONS["exp"](c, gap)))
    value = c.select(c.cmp("oeq", a, b), c.add(a, c.const(a.kind, math.log(2))), value)
    return c.select(c.cmp("uno", a, b), c.add(a, b), value)


def _xlogy(c: Code, a: V, b: V) -> V:
    zero = c.const(a.kind, 0)
    nothing = c.and_(c.cmp("oeq", a, zero), c.cmp("ord", b, b))
    return c.select(nothing, zero, c.mul(a, VECTOR_FUNCTIONS["log"](c, b)))


def _log_expit(c: Code, a: V) -> V:
    zero = c.const(a.kind, 0)
    low = c.select(c.cmp("ult", a, zero), a, zero)
    tail = VECTOR_FUNCTIONS["exp"](c, c.neg(c.intrinsic("fabs", a)))
    return c.sub(low, VECTOR_FUNCTIONS["log1p"](c, tail))


def _copysign(c: Code, a: V, b: V) -> V:
    return c.intrinsic("copysign", a, b)


_UNARY: dict[str, Callable[[Code, V], V]] = {
    **VECTOR_FUNCTIONS,
    "square": _square,
    "reciprocal": _reciprocal,
    "negative": lambda c, a: c.neg(a),
    "abs": _absolute,
    "sign": _sign,
    "isfinite": _isfinite,
    "isnan": _isnan,
    "isinf": _isinf,
    "log_expit": _log_expit,
    "conj": lambda c, a: a,
    "real": lambda c, a: a,
    "stop": lambda c, a: a,
    "root": lambda c, a: c.intrinsic("sqrt", a),
}
_BINARY: dict[str, Callable[[Code, V, V], V]] = {
    "multiply": lambda c, a, b: c.mul(a, b),
    "divide": lambda c, a, b: c.div(a, b),
    "power": power,
    "float_power": power,
    "maximum": _pick("oge"),
    "minimum": _pick("ole"),
    "fmax": _pick_number("oge"),
    "fmin": _pick_number("ole"),
    "heaviside": _heaviside,
    "logaddexp": _logaddexp,
    "xlogy": _xlogy,
    "copysign": _copysign,
}
_DIVISIONS = {"floor_divide": _floor_divide, "remainder": _remainder}
# what makes sense for integers as well
_WHOLE = frozenset(
    ["square", "negative", "abs", "sign", "multiply", "maximum", "minimum", "conj", "real", "stop"]
)


def has_form(op: str, kind: str) -> bool:
    """Whether ``op`` of operands of this kind is written as machine code."""
    if op in COMPARISONS or op in LOGICAL or op in ("astype", "where"):
        return True
    if kind == "i1":
        return op in ("multiply", "stop", "conj", "real")
    if kind == "i64":
        return op in _DIVISIONS or op in _WHOLE
    return any(op in table for table in (_UNARY, _BINARY, _ROUNDING, LIBRARY))


def apply(c: Code, op: str, args: list[V]) -> V:
    """``op`` of operands of one kind; Unsupported where there is no native form."""
    kind = args[0].kind
    if op in COMPARISONS:
        if kind == "i1":
            args = [c.convert(a, "i8") for a in args]
        floats, wholes = COMPARISONS[op]
        return c.cmp(floats if kind[0] == "f" else wholes, *args)
    if op in LOGICAL:
        masks = [c.convert(a, "i1") for a in args]
        if op == "logical_not":
            return c.xor(masks[0], c.const("i1", True))
        return {"logical_and": c.and_, "logical_or": c.or_, "logical_xor": c.xor}[op](*masks)
    if kind == "i1" and op not in ("stop", "conj", "real"):
        if op == "multiply":
            return c.and_(*args)
        raise Unsupported(f"{op} of booleans")
    if kind == "i64" and op in _DIVISIONS:
        return _DIVISIONS[op](c, *args)
    if kind == "i64" and op not in _WHOLE:
        raise Unsupported(f"{op} of integers")
    if len(args) == 1 and op in _UNARY:
        return _UNARY[op](c, args[0])
    if len(args) == 2 and op in _BINARY:
        return _BINARY[op](c, *args)
    if op in _ROUNDING:
        return c.intrinsic(_ROUNDING[op], args[0])
    if op in LIBRARY:
        return c.library(LIBRARY[op], *args)
    raise Unsupported(f"elementwise {op}")
