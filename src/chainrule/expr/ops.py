"""Names of the elementwise functions, with what every room must know of them.

One record a function: arity, cost in flops an element (multiply-add counts 2, a transcendental
10), and the kind of result.  Derivatives stand in ``rules``, implementations in ``lower``,
notation in ``formula``; ``chainrule`` checks at import that none is missing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

__all__ = ["OPS", "Op", "result_dtype"]

Result = Literal["same", "bool", "real", "select", "cast"]


class Op(NamedTuple):
    name: str
    arity: int
    flops: int
    result: Result


OPS: dict[str, Op] = {}


def _define(names: str, arity: int, flops: int, result: Result = "same") -> None:
    for name in names.split():
        if name in OPS:
            raise ValueError(f"elementwise function {name!r} is defined twice")
        OPS[name] = Op(name, arity, flops, result)


_define("exp exp2 expm1 log log2 log10 log1p", 1, 10)
_define("sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh", 1, 10)
_define("expit logit log_expit erf erfc erfinv gammaln digamma sinc i0e i1e", 1, 10)
_define("gamma log_ndtr erfcx erfcinv exprel j0 j1 y0 y1 k0 k1 k0e k1e", 1, 10)
_define("beta binom poch gammainc gammaincc", 2, 20)
_define("polygamma", 1, 20)  # params: (order,)
_define("sqrt cbrt", 1, 10)
_define("root", 1, 10)  # the square root in a norm: its derivative at 0 is 0
_define("square reciprocal negative", 1, 1)
_define("sign floor ceil trunc rint conj", 1, 1)
_define("stop", 1, 0)
_define("abs real imag angle", 1, 1, "real")
_define("isnan isinf isfinite signbit logical_not", 1, 1, "bool")
_define("astype", 1, 0, "cast")  # params: (dtype name,)
_define("divide multiply", 2, 1)
_define("power arctan2 hypot logaddexp logaddexp2 xlogy xlog1py float_power copysign", 2, 10)
_define("maximum minimum fmax fmin heaviside", 2, 1)
_define("remainder fmod floor_divide", 2, 2)
_define("equal not_equal less less_equal greater greater_equal", 2, 1, "bool")
_define("logical_and logical_or logical_xor", 2, 1, "bool")
_define("bitwise_and bitwise_or bitwise_xor left_shift right_shift", 2, 1)
_define("invert", 1, 1)
_define("where", 3, 1, "select")


def result_dtype(op: str, dtypes: list[np.dtype[Any] | type], params: tuple[Any, ...]) -> Any:
    """The dtype of ``op``; Python types in ``dtypes`` stand for weak scalars."""
    if op == "astype":
        return np.dtype(params[0])
    return _result_dtype(op, *dtypes)


@lru_cache(maxsize=8192)
def _result_dtype(op: str, *dtypes: np.dtype[Any] | type) -> np.dtype[Any]:
    result = OPS[op].result
    if result == "bool":
        return np.dtype(bool)
    if result == "select":
        return join_dtypes(list(dtypes[1:]))
    ufunc = getattr(np, op, None)
    if isinstance(ufunc, np.ufunc) and not all(isinstance(d, type) for d in dtypes):
        operands = (*(np.dtype(bool) if d is bool else d for d in dtypes), None)
        return ufunc.resolve_dtypes(operands)[-1]
    joined = join_dtypes(list(dtypes))
    if isinstance(ufunc, np.ufunc):
        return ufunc.resolve_dtypes((*(np.dtype(d) for d in dtypes), None))[-1]
    if result == "real" and joined.kind == "c":
        return np.dtype(f"f{joined.itemsize // 2}")
    if result == "same" and op != "stop" and joined.kind in "biu":
        return np.dtype(float)
    if op == "angle" and joined.kind in "biu":
        return np.dtype(float)
    return joined


_WEAK: dict[type, Any] = {bool: True, int: 1, float: 1.0, complex: 1j}


def join_dtypes(dtypes: list[np.dtype[Any] | type]) -> np.dtype[Any]:
    """NumPy's promotion, with Python types as weak scalars."""
    first = dtypes[0]
    if all(d is first for d in dtypes):
        return np.dtype(first)
    return _joined(*dtypes)


@lru_cache(maxsize=8192)
def _joined(*dtypes: np.dtype[Any] | type) -> np.dtype[Any]:
    return np.result_type(*[_WEAK[d] if isinstance(d, type) else d for d in dtypes])
