"""Elementary functions on vectors, without branches (but for huge arguments of sin and cos).

Coefficients interpolate at Chebyshev nodes in high precision: exp: (eʳ-1-r)/r² on ±½ln 2; log: the
atanh series in s²; sin and cos on ±π/4 in r²; erf: erf(√z)/√z below 1 and, with t = x - 1,
-log erfc(1 + t) above.
The reductions are the usual ones (Cody and Waite 1980; fdlibm); tests hold the errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .code import Code, V

__all__ = ["BITS", "LN2", "VECTOR_FUNCTIONS", "exp", "log", "reduced", "where_needed"]

_EXP = {
    "f64": (
        0.5000000000000001,
        0.16666666666666669,
        0.04166666666662313,
        0.008333333333329985,
        0.0013888888917710368,
        0.0001984126986343555,
        2.480152052648056e-05,
        2.7557267868262007e-06,
        2.7620453391695057e-07,
        2.5100666142918374e-08,
    ),
    "f32": (
        0.5,
        0.16666575943917947,
        0.041666553310798285,
        0.008363352682558865,
        0.001392640047984433,
    ),
}
_LOG = {
    "f64": (
        0.666666666666667,
        0.39999999999898594,
        0.2857142862638853,
        0.2222221106741939,
        0.18182894030543456,
        0.15331558670318968,
        0.14618462083842487,
    ),
    "f32": (
        0.6666668512241491,
        0.3998874668490243,
        0.2958148600096809,
    ),
}
_SIN = {
    "f64": (
        -0.16666666666666666,
        0.008333333333330925,
        -0.00019841269836722418,
        2.755731608381636e-06,
        -2.5051127944014184e-08,
        1.5917848524808034e-10,
    ),
    "f32": (
        -0.16666664650292082,
        0.008332745936380418,
        -0.00019587387068464046,
    ),
}
_COS = {
    "f64": (
        0.041666666666666664,
        -0.0013888888888887382,
        2.480158729874307e-05,
        -2.7557317260008837e-07,
        2.087614382799313e-09,
        -1.1382456778061164e-11,
    ),
    "f32": (
        0.04166666464745738,
        -0.0013888300696903895,
        2.454743721019279e-05,
    ),
}
_ERF_SMALL = {
    "f64": (
        1.1283791670955126,
        -0.37612638903183754,
        0.1128379167095512,
        -0.02686617064512984,
        0.0052239776254232985,
        -0.000854832702193483,
        0.00012055332902888736,
        -1.4925647567519332e-05,
        1.6462045441468418e-06,
        -1.6364642158167608e-07,
        1.4792401209404742e-08,
        -1.2164560057283045e-09,
        8.70904512905176e-11,
        -4.2309458242933425e-12,
    ),
    "f32": (
        1.1283791658483509,
        -0.3761262666672033,
        0.11283594715160215,
        -0.02685421201062633,
        0.005189087423433832,
        -0.0008016864287164737,
        7.87587506268201e-05,
    ),
}
_ERF_LARGE = {
    "f64": (
        1.8496055099332485,
        2.6389675142347313,
        0.8431072563607669,
        0.0415610980121353,
        -0.010033825160920953,
        0.0019779016975242304,
        -0.0002373204631306626,
        -2.6279862858634217e-05,
        2.7156334221864213e-05,
        -9.595006509513527e-06,
        2.033159780146731e-06,
        -1.1028561509522453e-07,
        -1.2585035591399704e-07,
        7.014356561785236e-08,
        -2.3570812642171107e-08,
        5.9695484096523654e-09,
        -1.1993313226526883e-09,
        1.9306769041530837e-10,
        -2.470337254501987e-11,
        2.459764005017919e-12,
        -1.837898289962346e-13,
        9.691465054328285e-15,
        -3.213950386575977e-16,
        5.038175090820216e-18,
    ),
    "f32": (
        1.8496055068535158,
        2.6389676995839992,
        0.8431047415762557,
        0.04157574036051611,
        -0.010077808029144182,
        0.002054300956557328,
        -0.0003202395664450733,
        3.2960831372440634e-05,
        -1.6371514145936436e-06,
    ),
}

BITS = {"f64": ("i64", 52, 1023), "f32": ("i32", 23, 127)}
# adding it rounds to the nearest integer, which then stands in the low bits
_ROUND = {"f64": 1.5 * 2.0**52, "f32": 1.5 * 2.0**23}
# the high part has trailing zeros, so that products with exponents are exact
LN2 = {
    "f64": (0.693147180369123816490e00, 1.90821492927058770002e-10),
    "f32": (0.693145751953125, 1.428606765330187045e-06),
}
# π/2 in three parts of full width
_HALF_PI = {
    "f64": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    "f32": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
}
_TRIG_LIMIT = {"f64": 2.0**30, "f32": 2.0**17}


def _clamped(c: Code, x: V, low: float, high: float) -> V:
    """Within bounds; NaN stays."""
    lower, upper = c.const(x.kind, low), c.const(x.kind, high)
    x = c.select(c.cmp("olt", x, lower), lower, x)
    return c.select(c.cmp("ogt", x, upper), upper, x)


def _nearest(c: Code, x: V) -> tuple[V, V]:
    """The nearest integer as a float and as an integer."""
    whole, _, _ = BITS[x.kind]
    magic = c.const(x.kind, _ROUND[x.kind])
    shifted = c.add(x, magic)
    return c.sub(shifted, magic), c.sub(c.bitcast(shifted, whole), c.bitcast(magic, whole))


def _two_to(c: Code, n: V, kind: str) -> V:
    """2ⁿ for integers n in the range of normal numbers."""
    whole, mantissa, bias = BITS[kind]
    return c.bitcast(c.shl(c.add(n, c.const(whole, bias)), mantissa), kind)


def _exp_parts(c: Code, x: V) -> tuple[V, V]:
    """(n, e): x = n ln 2 + r, e = eʳ - 1."""
    scaled = c.mul(x, c.const(x.kind, 1 / math.log(2)))
    n, whole = _nearest(c, scaled)
    high, low = LN2[x.kind]
    minus = c.neg(n)
    r = c.fma(minus, c.const(x.kind, high), x)
    r = c.fma(minus, c.const(x.kind, low), r)
    square = c.mul(r, r)
    return whole, c.fma(square, c.poly(r, _EXP[x.kind], square), r)


def exp(c: Code, x: V) -> V:
    kind = x.kind
    low, high = (-746.0, 710.0) if kind == "f64" else (-104.0, 89.0)
    n, e = _exp_parts(c, x)
    scale = _two_to(c, n, kind)

    def at_the_ends() -> V:
        """In two steps, since the result may be denormal; 0 and infinity beyond."""
        half = c.ashr(n, 1)
        value = c.mul(c.add(e, c.const(kind, 1)), _two_to(c, half, kind))
        value = c.mul(value, _two_to(c, c.sub(n, half), kind))
        value = c.select(c.cmp("olt", x, c.const(kind, low)), c.const(kind, 0), value)
        return c.select(c.cmp("ogt", x, c.const(kind, high)), c.const(kind, math.inf), value)

    # up to here 2ⁿ is a normal number
    normal = c.const(kind, 708.0 if kind == "f64" else 87.0)
    far = c.cmp("ogt", c.intrinsic("fabs", x), normal)
    return where_needed(c, far, c.fma(e, scale, scale), at_the_ends)


def _half_expm1(c: Code, x: V) -> V:
    """(eˣ - 1)/2 where eˣ/2 is a normal number."""
    n, e = _exp_parts(c, x)
    whole, _, _ = BITS[x.kind]
    h = _two_to(c, c.sub(n, c.const(whole, 1)), x.kind)
    return c.fma(e, h, c.sub(h, c.const(x.kind, 0.5)))


def expm1(c: Code, x: V) -> V:
    low, high = (-40.0, 710.0) if x.kind == "f64" else (-20.0, 89.0)
    half = _half_expm1(c, _clamped(c, x, low, high))
    return c.intrinsic("copysign", c.add(half, half), x)


def tanh(c: Code, x: V) -> V:
    """h/(h + 1) with h = (e²ˣ - 1)/2."""
    size = c.intrinsic("fabs", x)
    most = c.const(x.kind, 22.0 if x.kind == "f64" else 11.0)  # from here on it is 1; NaN stays
    size = c.select(c.cmp("ogt", size, most), most, size)
    half = _half_expm1(c, c.add(size, size))
    return c.intrinsic("copysign", c.div(half, c.add(half, c.const(x.kind, 1))), x)


def expit(c: Code, x: V) -> V:
    one = c.const(x.kind, 1)
    e = exp(c, c.neg(c.intrinsic("fabs", x)))
    above = c.select(c.cmp("ult", x, c.const(x.kind, 0)), e, one)
    return c.div(above, c.add(one, e))


def reduced(c: Code, u: V) -> tuple[V, V, V]:
    """(k, k as a float, f) for positive normal u: u = 2ᵏ (1 + f) with 1 + f in [√½, √2)."""
    kind = u.kind
    whole, mantissa, bias = BITS[kind]
    bits = c.bitcast(u, whole)
    root = c.bitcast(c.const(kind, math.sqrt(0.5)), whole)
    above = c.sub(bits, root)
    power = c.and_(above, c.const(whole, -(1 << mantissa)))  # 2ᵐ k
    f = c.sub(c.bitcast(c.sub(bits, power), kind), c.const(kind, 1))
    # an arithmetic shift and a conversion of 64 bits are slow where they have no instruction
    biased = c.lshr(c.add(above, c.const(whole, bias << mantissa)), mantissa)
    large = 2.0**mantissa
    shifted = c.bitcast(c.or_(biased, c.bitcast(c.const(kind, large), whole)), kind)
    exponent = c.sub(shifted, c.const(kind, large + bias))
    return c.sub(biased, c.const(whole, bias)), exponent, f


def _log_sum(c: Code, f: V, exponent: V) -> V:
    """log(1 + f) + exponent · ln 2 (fdlibm's arrangement)."""
    kind = f.kind
    s = c.div(f, c.add(f, c.const(kind, 2)))
    z = c.mul(s, s)
    rest = c.mul(z, c.poly(z, _LOG[kind], c.mul(z, z)))
    half = c.mul(c.mul(f, f), c.const(kind, 0.5))
    high, low = LN2[kind]
    inner = c.fma(s, c.add(half, rest), c.mul(exponent, c.const(kind, low)))
    return c.fma(exponent, c.const(kind, high), c.sub(f, c.sub(half, inner)))


def _log_edges(c: Code, x: V, zero: float, value: V) -> V:
    """-inf at ``zero``, NaN below it, inf at inf."""
    kind = x.kind
    infinity = c.const(kind, math.inf)
    value = c.select(c.cmp("oeq", x, infinity), infinity, value)
    value = c.select(c.cmp("oeq", x, c.const(kind, zero)), c.const(kind, -math.inf), value)
    wrong = c.cmp("ult", x, c.const(kind, zero))
    return c.select(wrong, c.const(kind, math.nan), value)


def log(c: Code, x: V) -> V:
    kind = x.kind
    _, mantissa, bias = BITS[kind]
    tiny = c.cmp("olt", x, c.const(kind, 2.0 ** (1 - bias)))
    shift = mantissa + 2
    u = c.select(tiny, c.mul(x, c.const(kind, 2.0**shift)), x)
    _, exponent, f = reduced(c, u)
    exponent = c.select(tiny, c.sub(exponent, c.const(kind, shift)), exponent)
    return _log_edges(c, x, 0.0, _log_sum(c, f, exponent))


def log1p(c: Code, x: V) -> V:
    kind = x.kind
    one = c.const(kind, 1)
    u = c.add(one, x)
    big = c.cmp("ogt", x, one)
    lost = c.select(big, c.sub(one, c.sub(u, x)), c.sub(x, c.sub(u, one)))
    k, exponent, f = reduced(c, u)
    whole, _, bias = BITS[kind]
    # where 2⁻ᵏ would be denormal the correction is long lost
    back = c.select(c.cmp("slt", k, c.const(whole, bias)), c.neg(k), c.const(whole, 1 - bias))
    f = c.add(f, c.mul(lost, _two_to(c, back, kind)))
    value = _log_edges(c, x, -1.0, _log_sum(c, f, exponent))
    return c.intrinsic("copysign", value, x)


def _quadrant(c: Code, x: V) -> tuple[V, V, V]:
    """(r, its square, n): x = n π/2 + r.

    The first difference is exact, so the second is rounded once, however small it is.
    """
    kind = x.kind
    n, whole = _nearest(c, c.mul(x, c.const(kind, 2 / math.pi)))
    minus, r = c.neg(n), x
    for part in _HALF_PI[kind]:
        r = c.fma(minus, c.const(kind, part), r)
    return r, c.mul(r, r), whole


def _circular(name: str) -> Callable[[Code, V], V]:
    def function(c: Code, x: V) -> V:
        kind = x.kind
        whole = BITS[kind][0]
        last = 63 if kind == "f64" else 31
        r, z, n = _quadrant(c, x)
        square = c.mul(z, z)
        sine = c.fma(c.mul(r, z), c.poly(z, _SIN[kind], square), r)
        cosine = c.fma(
            square, c.poly(z, _COS[kind], square), c.fma(z, c.const(kind, -0.5), c.const(kind, 1))
        )
        # bit 0 of n chooses, bit 1 is the sign (of the cosine: their difference)
        swap, sign = c.shl(n, last), c.shl(n, last - 1)
        odd = c.cmp("slt", swap, c.const(whole, 0))
        if name == "sin":
            value = c.select(odd, cosine, sine)
        else:
            value, sign = c.select(odd, sine, cosine), c.xor(sign, swap)
        sign = c.and_(sign, c.const(whole, -(1 << last)))
        value = c.bitcast(c.xor(c.bitcast(value, whole), sign), kind)
        huge = c.cmp("ogt", c.intrinsic("fabs", x), c.const(kind, _TRIG_LIMIT[kind]))
        if name == "sin":
            value = c.select(c.cmp("oeq", x, c.const(kind, 0)), x, value)  # the sign of zero
        return where_needed(c, huge, value, lambda: c.library(name, x))

    return function


def where_needed(c: Code, mask: V, value: V, other: Callable[[], V]) -> V:
    """``select(mask, other, value)``, the other computed only where some lane asks for it."""
    slow, done = c.new_label("slow"), c.new_label("done")
    before = c.block
    c.line(f"br i1 {c.any(mask)}, label %{slow}, label %{done}, !prof !0")
    c.label(slow)
    known = c.mark()
    mixed = c.select(mask, other(), value)
    c.forget(known)
    last = c.block
    c.line(f"br label %{done}")
    c.label(done)
    result = V(c.fresh(), value.kind)
    c.line(
        f"{result.name} = phi {c.type(value.kind)} "
        f"[ {value.name}, %{before} ], [ {mixed.name}, %{last} ]"
    )
    return result


def erf(c: Code, x: V) -> V:
    kind = x.kind
    size = c.intrinsic("fabs", x)
    square = c.mul(x, x)
    small = c.mul(x, c.poly(square, _ERF_SMALL[kind], c.mul(square, square)))
    far = c.sub(_clamped(c, size, 1.0, 6.0 if kind == "f64" else 4.0), c.const(kind, 1))
    large = c.sub(c.const(kind, 1), exp(c, c.neg(c.poly(far, _ERF_LARGE[kind], c.mul(far, far)))))
    large = c.intrinsic("copysign", large, x)
    return c.select(c.cmp("ult", size, c.const(kind, 1)), small, large)


VECTOR_FUNCTIONS: dict[str, Callable[[Code, V], V]] = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "sin": _circular("sin"),
    "cos": _circular("cos"),
    "tanh": tanh,
    "erf": erf,
    "expit": expit,
}
