"""xʸ on vectors: log x in twice the working precision, so that a large y does not spoil the result.

With x = 2ᵏ (1 + f) and s = f/(2 + f), log(1 + f) = 2s + ⅔s³ + s⁵ (2/5 + 2/7 s² + …); the first two
terms carry their rounding errors (Dekker 1971).  float32 is computed in float64.  What is not a
positive normal number to a finite power goes to the C library.
"""

from __future__ import annotations

import math

from .code import Code, V
from .vmath import BITS, LN2, exp, log, reduced, where_needed

__all__ = ["power"]

_REST = tuple(2 / (2 * j + 1) for j in range(2, 14))
_TWO_THIRDS = (2 / 3, 3.700743415417188e-17)


def power(c: Code, x: V, y: V) -> V:
    kind = x.kind
    if not c.target.fma:
        return c.library("pow", x, y)
    if kind == "f32":
        wide_x, wide_y = c.convert(x, "f64"), c.convert(y, "f64")
        value = c.convert(exp(c, c.mul(wide_y, log(c, wide_x))), "f32")
    else:
        value = _in_double(c, x, y)
    _, _, bias = BITS[kind]
    normal = c.cmp("oge", x, c.const(kind, 2.0 ** (1 - bias)))
    infinity = c.const(kind, math.inf)
    plain = c.and_(normal, c.cmp("olt", x, infinity))
    plain = c.and_(plain, c.cmp("olt", c.intrinsic("fabs", y), infinity))
    return where_needed(c, c.xor(plain, c.const("i1", True)), value, lambda: c.library("pow", x, y))


def _exact_sum(c: Code, a: V, b: V) -> tuple[V, V]:
    total = c.add(a, b)
    back = c.sub(total, a)
    return total, c.add(c.sub(a, c.sub(total, back)), c.sub(b, back))


def _exact_product(c: Code, a: V, b: V) -> tuple[V, V]:
    high = c.mul(a, b)
    return high, c.fma(a, b, c.neg(high))


def _in_double(c: Code, x: V, y: V) -> V:
    kind = x.kind
    two = c.const(kind, 2)
    _, exponent, f = reduced(c, x)
    d = c.add(two, f)
    d_low = c.sub(f, c.sub(d, two))
    s = c.div(f, d)
    s_low = c.div(c.sub(c.fma(c.neg(s), d, f), c.mul(s, d_low)), d)
    z, z_low = _exact_product(c, s, s)
    z_low = c.fma(c.add(s, s), s_low, z_low)
    t, t_low = _exact_product(c, s, z)
    t_low = c.add(t_low, c.fma(s, z_low, c.mul(s_low, z)))
    third, third_low = (c.const(kind, part) for part in _TWO_THIRDS)
    u, u_low = _exact_product(c, t, third)
    u_low = c.add(u_low, c.fma(t, third_low, c.mul(t_low, third)))
    rest = c.mul(c.mul(t, z), c.poly(z, _REST, c.mul(z, z)))
    high, low = (c.const(kind, part) for part in LN2[kind])
    total, error = _exact_sum(c, c.mul(exponent, high), c.add(s, s))
    total, more = _exact_sum(c, total, u)
    whole, whole_low = _exact_product(c, exponent, low)
    total, last = _exact_sum(c, total, whole)
    small = c.add(c.add(c.add(s_low, s_low), u_low), c.add(rest, whole_low))
    small = c.add(small, c.add(error, c.add(more, last)))
    total, small = _exact_sum(c, total, small)
    product, product_low = _exact_product(c, y, total)
    product_low = c.fma(y, small, product_low)
    value = exp(c, product)
    finite = c.cmp("olt", value, c.const(kind, math.inf))
    return c.select(finite, c.fma(value, product_low, value), value)
