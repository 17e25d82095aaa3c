"""Partial derivatives of the elementwise functions: one entry a function, as in a textbook.

An entry gives, for each argument, a function of ``(arguments…, y)`` where ``y`` is the result;
None is an argument without a derivative (a condition, a sign).  What is zero almost everywhere
and stays silent about it in no mode stands in ``FLAT``.  ``CONJ`` holds ∂/∂z̄ for functions of
complex arguments that are not holomorphic (the entry in ``PARTIALS`` is then ∂/∂z).

Sources: Abramowitz & Stegun ch. 4, 6, 7, 9; kinks as docs/architecture.md states them.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..errors import TraceError, located
from ..expr.nodes import Const, Map, Scalar, Term
from ..expr.ops import OPS
from .algebra import Num, Operand, fn

__all__ = ["BOUNDED", "CONJ", "FLAT", "PARTIALS", "partials"]

Rule: TypeAlias = "Callable[..., Operand] | None"

_FLAT = (
    "floor ceil trunc rint isnan isinf isfinite signbit logical_not equal not_equal less "
    "less_equal greater greater_equal logical_and logical_or logical_xor heaviside floor_divide "
    "bitwise_and bitwise_or bitwise_xor left_shift right_shift invert stop"
)
FLAT = frozenset(_FLAT.split())

# Functions whose derivative is finite everywhere: after these a cotangent that a branch has set
# to zero stays zero by itself (see chain.sweep).
_BOUNDED = (
    "sin cos arctan tanh arcsinh expit log_expit erf erfc logaddexp logaddexp2 maximum minimum "
    "fmax fmin where negative conj real imag astype"
)
BOUNDED = frozenset(_BOUNDED.split())

LN2, LN10 = math.log(2.0), math.log(10.0)
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


def _const(operand: Num) -> Any:
    """The Python scalar behind an operand, or None."""
    return operand.node.value if isinstance(operand.node, Const) else None


def _power_base(x: Num, p: Num, y: Num) -> Operand:
    # d xᵖ = p·xᵖ⁻¹; for constant p the cases 0 and 1 never touch x, so nothing is NaN at 0.
    exponent: Scalar | None = _const(p)
    if exponent is None:
        return p * fn("power", x, fn("where", fn("equal", p, 0), 1, p - 1))
    if exponent == 0:
        return 0
    if exponent == 1:
        return 1
    return fn("power", x, exponent - 1) * exponent


def _power_exponent(x: Num, p: Num, y: Num) -> Operand:
    # d xᵖ = xᵖ·log x; 0 at x = 0 where the power itself is 0 (the limit for p > 0)
    base = _const(x)
    if isinstance(base, complex):
        return y * cmath.log(base)
    if base is not None:
        return y * (math.log(base) if base > 0 else 0.0 if base == 0 else math.nan)
    return y * fn("log", fn("where", fn("equal", x, 0), 1, x))


def _fixed(operand: Num) -> bool:
    """Whether an operand is a constant: a Python scalar, or an array under ``stop``."""
    node = operand.node
    return isinstance(node, Const) or (isinstance(node, Map) and node.op == "stop")


def _share(a: Num, b: Num, better: str, second: bool = False) -> Num:
    """Derivative of max/min by one of two: 1, 0, and at a tie 0 against a constant, else 1/2."""
    x, other = (b, a) if second else (a, b)
    wins = fn(better, x, other)
    if _fixed(other):
        return wins
    return fn("where", fn("equal", a, b), 0.5, fn("astype", wins, params=(_real(x, other),)))


def _real(*operands: Operand) -> str:
    dtypes = [o.node.dtype for o in operands if isinstance(o, Num) and _const(o) is None]
    return str(np.result_type(*dtypes).str)


def _safe_recip(y: Num) -> Num:
    """1/y, and 0 where y is 0 (subgradients of norms)."""
    at_zero = fn("equal", y, 0)
    return fn("where", at_zero, 0, fn("reciprocal", fn("where", at_zero, 1, y)))


# Coefficients of (sin t / t)′ / t as a polynomial of t²: (−1)ᵏ 2k / (2k + 1)!
_SINC_SERIES = [(-1) ** k * 2 * k / math.factorial(2 * k + 1) for k in range(1, 9)]


def _sinc(x: Num, y: Num) -> Operand:
    # sinc x = sin(πx)/(πx); derivative (cos(πx) − sinc x)/x, which cancels near 0
    near = fn("less", fn("abs", x), 0.2)
    u = fn("square", x * math.pi)
    series: Operand = _SINC_SERIES[-1]
    for coef in _SINC_SERIES[-2::-1]:
        series = u * series + coef
    far = (fn("cos", x * math.pi) - y) / fn("where", near, 1, x)
    return fn("where", near, x * math.pi**2 * series, far)


# Coefficients of ((eᵗ − 1)/t)′ as a polynomial of t: (k + 1)/(k + 2)!
_EXPREL_SERIES = [(k + 1) / math.factorial(k + 2) for k in range(14)]


def _exprel(x: Num, y: Num) -> Operand:
    # exprel x = (eˣ − 1)/x; derivative (eˣ − exprel x)/x, which cancels near 0
    near = fn("less", fn("abs", x), 0.5)
    t = fn("where", near, x, 0)
    series: Operand = _EXPREL_SERIES[-1]
    for coef in _EXPREL_SERIES[-2::-1]:
        series = t * series + coef
    return fn("where", near, series, (fn("exp", x) - y) / fn("where", near, 1, x))


def _erfcx(x: Num, y: Num) -> Operand:
    # erfcx′ = 2 x erfcx x − 2/√π; for large x by the series of A&S 7.1.23, since this cancels
    far = fn("greater", x, 50)
    u = 0.5 / fn("square", fn("where", far, x, 50))
    series: Operand = -945.0
    for coef in (105.0, -15.0, 3.0, -1.0):
        series = series * u + coef
    tail = series * u * TWO_OVER_SQRT_PI
    return fn("where", far, tail, 2 * x * y - TWO_OVER_SQRT_PI)


def _over(a: Num, x: Num, at_zero: float) -> Num:
    """``a / x``, and its limit where x is 0."""
    origin = fn("equal", x, 0)
    return fn("where", origin, at_zero, a / fn("where", origin, 1, x))


def _gamma_density(a: Num, x: Num) -> Num:
    # xᵃ⁻¹ e⁻ˣ / Γ(a)
    return fn("exp", fn("xlogy", a - 1, x) - x - fn("gammaln", a))


def _no_order(name: str) -> Callable[..., Operand]:
    def rule(a: Num, x: Num, y: Num) -> Operand:
        order = a.node
        while isinstance(order, Term) and len(order.factors) == 1:  # broadcast
            ((order, _),) = order.factors
        if _fixed(Num(order)):
            return 0
        raise TraceError(
            located(
                f"{name}(a, x) has no derivative by a in closed form",
                "differentiate by x alone, or state a rule of your own with cr.custom",
            )
        )

    return rule


def _sign(x: Num, y: Num) -> Operand:
    # z/|z|; flat where real
    if x.node.dtype.kind != "c":
        return 0
    return 0.5 * _safe_recip(fn("abs", x))


def _floored(a: Num, b: Num, how: str) -> Num:
    return -fn(how, fn("divide", a, b))


def _share_numbers(a: Num, b: Num, better: str, second: bool = False) -> Num:
    """Derivative of fmax/fmin by one of two, which also wins against NaN."""
    x, other = (b, a) if second else (a, b)
    if _fixed(other):
        return fn("logical_or", fn(better, x, other), fn("isnan", other))
    return fn("where", fn("isnan", other), 1, _share(a, b, better, second))


def _abs(x: Num, y: Num) -> Operand:
    if x.node.dtype.kind == "c":
        return fn("conj", x) * _safe_recip(y) * 0.5
    return fn("sign", x)


PARTIALS: dict[str, tuple[Rule, ...]] = {
    "exp": (lambda x, y: y,),
    "exp2": (lambda x, y: y * LN2,),
    "expm1": (lambda x, y: y + 1,),
    "log": (lambda x, y: 1 / x,),
    "log2": (lambda x, y: (1 / LN2) / x,),
    "log10": (lambda x, y: (1 / LN10) / x,),
    "log1p": (lambda x, y: 1 / (1 + x),),
    "sqrt": (lambda x, y: 0.5 / y,),
    "root": (lambda x, y: 0.5 * _safe_recip(y),),
    "cbrt": (lambda x, y: (1 / 3) / fn("square", y),),
    "square": (lambda x, y: 2 * x,),
    "reciprocal": (lambda x, y: -fn("square", y),),
    "negative": (lambda x, y: -1,),
    "sin": (lambda x, y: fn("cos", x),),
    "cos": (lambda x, y: -fn("sin", x),),
    "tan": (lambda x, y: 1 + fn("square", y),),
    "arcsin": (lambda x, y: 1 / fn("sqrt", 1 - fn("square", x)),),
    "arccos": (lambda x, y: -1 / fn("sqrt", 1 - fn("square", x)),),
    "arctan": (lambda x, y: 1 / (1 + fn("square", x)),),
    "sinh": (lambda x, y: fn("cosh", x),),
    "cosh": (lambda x, y: fn("sinh", x),),
    "tanh": (lambda x, y: 1 - fn("square", y),),
    "arcsinh": (lambda x, y: 1 / fn("sqrt", 1 + fn("square", x)),),
    "arccosh": (lambda x, y: 1 / (fn("sqrt", x - 1) * fn("sqrt", x + 1)),),
    "arctanh": (lambda x, y: 1 / (1 - fn("square", x)),),
    "expit": (lambda x, y: y * (1 - y),),
    "logit": (lambda x, y: 1 / (x * (1 - x)),),
    "log_expit": (lambda x, y: fn("expit", -x),),
    "erf": (lambda x, y: TWO_OVER_SQRT_PI * fn("exp", -fn("square", x)),),
    "erfc": (lambda x, y: -TWO_OVER_SQRT_PI * fn("exp", -fn("square", x)),),
    "erfinv": (lambda x, y: (1 / TWO_OVER_SQRT_PI) * fn("exp", fn("square", y)),),
    "gammaln": (lambda x, y: fn("digamma", x),),
    "digamma": (lambda x, y: fn("polygamma", x, params=(1,)),),
    "gamma": (lambda x, y: y * fn("digamma", x),),
    "log_ndtr": (lambda x, y: math.sqrt(2 / math.pi) / fn("erfcx", x * -math.sqrt(0.5)),),
    "erfcx": (_erfcx,),
    "erfcinv": (lambda x, y: (-1 / TWO_OVER_SQRT_PI) * fn("exp", fn("square", y)),),
    "exprel": (_exprel,),
    "sinc": (_sinc,),
    "j0": (lambda x, y: -fn("j1", x),),
    "j1": (lambda x, y: fn("j0", x) - _over(y, x, 0.5),),
    "y0": (lambda x, y: -fn("y1", x),),
    "y1": (lambda x, y: fn("y0", x) - y / x,),
    "k0": (lambda x, y: -fn("k1", x),),
    "k1": (lambda x, y: -fn("k0", x) - y / x,),
    "k0e": (lambda x, y: y - fn("k1e", x),),
    "k1e": (lambda x, y: y - fn("k0e", x) - y / x,),
    "beta": (
        lambda a, b, y: y * (fn("digamma", a) - fn("digamma", a + b)),
        lambda a, b, y: y * (fn("digamma", b) - fn("digamma", a + b)),
    ),
    "binom": (
        lambda n, k, y: y * (fn("digamma", n + 1) - fn("digamma", n - k + 1)),
        lambda n, k, y: y * (fn("digamma", n - k + 1) - fn("digamma", k + 1)),
    ),
    "poch": (
        lambda a, m, y: y * (fn("digamma", a + m) - fn("digamma", a)),
        lambda a, m, y: y * fn("digamma", a + m),
    ),
    "gammainc": (_no_order("gammainc"), lambda a, x, y: _gamma_density(a, x)),
    "gammaincc": (_no_order("gammaincc"), lambda a, x, y: -_gamma_density(a, x)),
    "i0e": (lambda x, y: fn("i1e", x) - fn("sign", x) * y,),
    "i1e": (
        # i1e' = i0e − i1e·(sign x + 1/x), with the limit 1/2 at 0
        lambda x, y: fn(
            "where",
            fn("equal", x, 0),
            0.5,
            fn("i0e", x) - y * (fn("sign", x) + 1 / fn("where", fn("equal", x, 0), 1, x)),
        ),
    ),
    "conj": (lambda x, y: 0 if x.node.dtype.kind == "c" else 1,),
    "real": (lambda x, y: 0.5 if x.node.dtype.kind == "c" else 1,),
    "imag": (lambda x, y: -0.5j if x.node.dtype.kind == "c" else 0,),
    "abs": (_abs,),
    "sign": (_sign,),
    "angle": (
        lambda x, y: (
            -0.5j * fn("conj", x) * _safe_recip(fn("square", fn("abs", x)))
            if x.node.dtype.kind == "c"
            else 0
        ),
    ),
    "astype": (lambda x, y: 1,),
    "multiply": (lambda a, b, y: b, lambda a, b, y: a),
    "divide": (lambda a, b, y: 1 / b, lambda a, b, y: -y / b),
    "power": (_power_base, _power_exponent),
    "float_power": (_power_base, _power_exponent),
    "arctan2": (
        lambda a, b, y: b / (fn("square", a) + fn("square", b)),
        lambda a, b, y: -a / (fn("square", a) + fn("square", b)),
    ),
    "hypot": (lambda a, b, y: a * _safe_recip(y), lambda a, b, y: b * _safe_recip(y)),
    "logaddexp": (
        lambda a, b, y: _softly(a, b, "expit"),
        lambda a, b, y: _softly(b, a, "expit"),
    ),
    "logaddexp2": (
        lambda a, b, y: _softly(a, b, "expit", LN2),
        lambda a, b, y: _softly(b, a, "expit", LN2),
    ),
    "xlogy": (
        lambda a, b, y: fn("log", _apart(a, b, 0)),
        lambda a, b, y: a / _apart(a, b, 0),
    ),
    "xlog1py": (
        lambda a, b, y: fn("log1p", _apart(a, b, -1)),
        lambda a, b, y: a / (1 + _apart(a, b, -1)),
    ),
    "copysign": (lambda a, b, y: fn("sign", a) * fn("copysign", 1.0, b), None),
    "maximum": (
        lambda a, b, y: _share(a, b, "greater"),
        lambda a, b, y: _share(a, b, "greater", second=True),
    ),
    "minimum": (
        lambda a, b, y: _share(a, b, "less"),
        lambda a, b, y: _share(a, b, "less", second=True),
    ),
    "fmax": (
        lambda a, b, y: _share_numbers(a, b, "greater"),
        lambda a, b, y: _share_numbers(a, b, "greater", second=True),
    ),
    "fmin": (
        lambda a, b, y: _share_numbers(a, b, "less"),
        lambda a, b, y: _share_numbers(a, b, "less", second=True),
    ),
    "remainder": (lambda a, b, y: 1, lambda a, b, y: _floored(a, b, "floor")),
    "fmod": (lambda a, b, y: 1, lambda a, b, y: _floored(a, b, "trunc")),
    "where": (
        None,
        lambda c, a, b, y: _chosen(c),
        lambda c, a, b, y: fn("logical_not", _chosen(c)),
    ),
}


def _apart(a: Num, b: Num, pole: float) -> Num:
    """``b``, and a harmless value where it is at the pole and ``a`` is 0: there 0·log 0 is 0."""
    both = fn("logical_and", fn("equal", a, 0), fn("equal", b, pole))
    return fn("where", both, 1 + pole, b)


def _chosen(condition: Num) -> Num:
    return condition if condition.node.dtype.kind == "b" else fn("not_equal", condition, 0)


def _softly(a: Num, b: Num, op: str, factor: float = 1.0) -> Num:
    """∂ logaddexp: the logistic function of the difference; 1/2 between equal infinities."""
    difference = a - b
    same = fn("logical_and", fn("equal", a, b), fn("isinf", a))
    return fn(op, fn("where", same, 0, difference) * factor)


CONJ: dict[str, tuple[Rule, ...]] = {
    "conj": (lambda x, y: 1,),
    "real": (lambda x, y: 0.5,),
    "imag": (lambda x, y: 0.5j,),
    "abs": (lambda x, y: x * _safe_recip(y) * 0.5,),
    "sign": (lambda x, y: fn("square", y) * _safe_recip(fn("abs", x)) * -0.5,),
    "angle": (lambda x, y: 0.5j * x * _safe_recip(fn("square", fn("abs", x))),),
}


def _polygamma(node: Map) -> Operand:
    return fn("polygamma", Num(node.args[0]), params=(node.params[0] + 1,))


def partials(node: Map, position: int) -> tuple[Operand | None, Operand | None]:
    """∂y/∂z and ∂y/∂z̄ of a Map by one of its arguments; None where there is none."""
    if node.op == "polygamma":
        return _polygamma(node), None
    if node.op in FLAT or isinstance(node.args[position], Const):
        return None, None
    rule = PARTIALS[node.op][position]
    if rule is None:
        return None, None
    operands = [*(Num(a) for a in node.args), Num(node)]
    anti: Operand | None = None
    if node.args[position].dtype.kind == "c" and node.op in CONJ:
        conj_rule = CONJ[node.op][position]
        anti = conj_rule(*operands) if conj_rule else None
    return rule(*operands), anti


_missing = OPS.keys() - PARTIALS.keys() - FLAT - {"polygamma"}
if _missing:
    raise ImportError(f"no derivative is stated for {sorted(_missing)}")
