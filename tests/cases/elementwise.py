"""Operators and ufuncs, on every kind of shape: broadcasting, 0-d, empty, Python scalars."""

import numpy as onp

from ._case import away, between, case, distinct, fraction, normal, positive

SHAPES = {"2x3": (2, 3), "0d": (), "py": ("py",), "empty": (0, 2)}

UNARY = {
    "negative": (normal, True),
    "positive": (normal, True),
    "exp": (normal, True),
    "exp2": (normal, False),
    "expm1": (normal, False),
    "log": (positive, True),
    "log2": (positive, False),
    "log10": (positive, False),
    "log1p": (between(-0.6, 2.0), False),
    "sqrt": (positive, True),
    "cbrt": (away, False),
    "square": (normal, True),
    "reciprocal": (away, True),
    "absolute": (away, True),
    "abs": (away, False),
    "fabs": (away, False),
    "sign": (away, False),
    "sin": (normal, True),
    "cos": (normal, True),
    "tan": (between(-1.0, 1.0), True),
    "arcsin": (between(-0.8, 0.8), False),
    "arccos": (between(-0.8, 0.8), False),
    "arctan": (normal, False),
    "sinh": (normal, True),
    "cosh": (normal, True),
    "tanh": (normal, True),
    "arcsinh": (normal, False),
    "arccosh": (between(1.3, 3.0), False),
    "arctanh": (between(-0.8, 0.8), False),
    "floor": (fraction, False),
    "ceil": (fraction, False),
    "rint": (fraction, False),
    "trunc": (fraction, False),
    "deg2rad": (normal, False),
    "rad2deg": (normal, False),
    "degrees": (normal, False),
    "radians": (normal, False),
    "sinc": (away, False),
    "conjugate": (normal, True),
    "real": (normal, True),
    "imag": (normal, True),
}
for _name, (_domain, _complex) in UNARY.items():
    for _suffix, _shape in SHAPES.items():
        if _name in ("real", "imag") and _suffix == "py":
            continue  # NumPy returns the scalar's own attribute
        case(
            f"{_name}-{_suffix}",
            lambda np, x, name=_name: getattr(np, name)(x),
            _domain(*_shape),
            complex=_complex and _suffix == "2x3",
            f32=None if _suffix == "py" else 1e-4,
        )

PAIRS = {
    "same": ((2, 3), (2, 3)),
    "row": ((2, 3), (3,)),
    "cross": ((2, 1), (1, 3)),
    "left-0d": ((), (2, 3)),
    "right-py": ((2, 3), ("py",)),
    "scalars": (("py",), ("py",)),
    "empty": ((0, 3), (3,)),
    "rank": ((3,), (2, 1, 3)),
}
FEW = ("same", "cross")

BINARY = {
    "add": (normal, normal, True, tuple(PAIRS)),
    "subtract": (normal, normal, True, tuple(PAIRS)),
    "multiply": (normal, normal, True, tuple(PAIRS)),
    "divide": (normal, away, True, tuple(PAIRS)),
    "true_divide": (normal, away, False, FEW),
    "power": (positive, normal, True, tuple(PAIRS)),
    "float_power": (positive, normal, False, FEW),
    "arctan2": (away, away, False, tuple(PAIRS)),
    "hypot": (away, away, False, FEW),
    "maximum": (normal, normal, False, tuple(PAIRS)),
    "minimum": (normal, normal, False, (*FEW, "right-py")),
    "fmax": (normal, normal, False, FEW),
    "fmin": (normal, normal, False, FEW),
    "logaddexp": (normal, normal, False, (*FEW, "right-py", "scalars")),
    "logaddexp2": (normal, normal, False, FEW),
    "mod": (between(2.3, 2.6), between(1.0, 1.1), False, (*FEW, "right-py")),
    "remainder": (between(-2.6, -2.3), between(1.0, 1.1), False, FEW),
    "fmod": (between(-2.6, -2.3), between(1.0, 1.1), False, FEW),
    "floor_divide": (between(-2.6, -2.3), between(1.0, 1.1), False, FEW),
    "heaviside": (away, normal, False, FEW),
    "copysign": (away, away, False, FEW),
}
for _name, (_left, _right, _complex, _pairs) in BINARY.items():
    for _suffix in _pairs:
        _a, _b = PAIRS[_suffix]
        case(
            f"{_name}-{_suffix}",
            lambda np, x, y, name=_name: getattr(np, name)(x, y),
            _left(*_a),
            _right(*_b),
            complex=_complex and _suffix == "cross",
            # NumPy computes float_power in float64 whatever comes in.
            f32=None if _suffix == "scalars" or _name == "float_power" else 2e-4,
        )

# Operators.
case("op-add", lambda np, x, y: x + y, normal(2, 3), normal(3), complex=True)
case("op-sub", lambda np, x, y: x - y, normal(3), normal(2, 3), complex=True)
case("op-mul", lambda np, x, y: x * y, normal(2, 1), normal(3), complex=True)
case("op-div", lambda np, x, y: x / y, normal(2, 3), away(3), complex=True)
case("op-floordiv", lambda np, x, y: x // y, between(2.3, 2.6)(2, 3), between(1.0, 1.1)(3))
case("op-mod", lambda np, x, y: x % y, between(2.3, 2.6)(2, 3), between(1.0, 1.1)(3))
case("op-divmod", lambda np, x, y: divmod(x, y)[1], between(2.3, 2.6)(3), between(1.0, 1.1)(3))
case("op-pow", lambda np, x, y: x**y, positive(2, 3), normal(3), complex=True)
case("op-neg", lambda np, x: -x, normal(2, 3))
case("op-pos", lambda np, x: +x, normal(2, 3))
case("op-abs", lambda np, x: abs(x), away(2, 3), complex=True)
case("op-matmul", lambda np, x, y: x @ y, normal(2, 3), normal(3, 2), complex=True)
case("op-radd", lambda np, x: 2.0 + x, normal(2, 3))
case("op-rsub", lambda np, x: 2.0 - x, normal(2, 3))
case("op-rmul", lambda np, x: 3 * x, normal(2, 3))
case("op-rdiv", lambda np, x: 1 / x, away(2, 3), complex=True)
case("op-rpow", lambda np, x: 2.0**x, normal(2, 3))
case("op-rmod", lambda np, x: 5.0 % x, between(1.1, 1.2)(2, 3))
case("op-rfloordiv", lambda np, x: 5.0 // x, between(1.1, 1.2)(2, 3))
case("op-ndarray-left", lambda np, x: onp.array([1.0, 2.0, 3.0]) - x, normal(2, 3))
case("op-ndarray-right", lambda np, x: x / onp.array([1.0, 2.0, 3.0]), normal(2, 3))
case(
    "op-ndarray-matmul",
    lambda np, x: onp.array([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]]) @ x,
    normal(3, 2),
)
for _p in (0, 1, 2, 3, 4, -1, -2, 0.5, 1.5, -0.5, 2.0):
    case(f"op-pow[{_p}]", lambda np, x, p=_p: x**p, positive(2, 3), complex=_p in (2, -1, 0.5))
for _p in (2, 3, -1, -2):
    case(f"op-pow-negative-base[{_p}]", lambda np, x, p=_p: x**p, away(2, 3))
    case(f"power-negative-base[{_p}]", lambda np, x, p=_p: np.power(x, p), away(2, 3))
for _name, _fn in {
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
}.items():
    case(
        f"op-{_name}-where",
        lambda np, x, y, fn=_fn: np.where(fn(x, y), x * y, x - y),
        normal(2, 3),
        normal(3),
    )
    case(f"op-{_name}-times", lambda np, x, fn=_fn: fn(x, 0.25) * x**2, distinct(2, 4))
for _name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"):
    case(
        f"{_name}-where",
        lambda np, x, y, name=_name: np.where(getattr(np, name)(x, y), x * y, y),
        normal(2, 3),
        normal(2, 3),
    )
case("op-mask-and", lambda np, x: np.where((x > -0.5) & (x < 0.5), x**2, x), distinct(2, 4))
case("op-mask-or", lambda np, x: np.where((x < -0.5) | (x > 0.5), x**2, x), distinct(2, 4))
case("op-mask-not", lambda np, x: np.where(~(x < -0.5), x**2, x), distinct(2, 4))
case(
    "logical-ufuncs",
    lambda np, x: np.where(np.logical_and(x > -1.0, np.logical_not(x > 1.0)), x**2, x),
    distinct(2, 4),
)
case("isfinite-where", lambda np, x: np.where(np.isfinite(x), x**2, 0.0), normal(3))
case("chain", lambda np, x, y: np.tanh(x * y + np.sin(x)) / (1 + y**2), normal(2, 3), normal(3))
case("same-argument-twice", lambda np, x: np.arctan2(x, 1 + x * x) + np.hypot(x, x), away(3))

# Integers among floats, weak Python scalars, constants of another type.
case("int-array-factor", lambda np, x: x * onp.arange(3), normal(2, 3))
case("int-scalars", lambda np, x: (2 * x + 1) ** 2 // 1 * x - 3, between(0.1, 0.3)(3))
case("weak-scalars", lambda np, x: 0.5 * (x + 1.5) / 3.0 - 2, normal(2, 3))
case("bool-array-factor", lambda np, x: x * onp.array([True, False, True]), normal(2, 3))
case("numpy-scalar-factor", lambda np, x: onp.float64(1.5) * x, normal(3))
case("numpy-float32-scalar", lambda np, x: onp.float32(1.5) * x, normal(3))
case("zero-d-constant", lambda np, x: x * onp.array(1.5), normal(3))
case("float32-constant", lambda np, x: x + onp.array([1, 2, 3], onp.float32), normal(3))

# Clip and where, every calling form.
case("clip-py", lambda np, x: np.clip(x, -0.7, 0.9), distinct(2, 4), hess=True)
case("clip-none-low", lambda np, x: np.clip(x, None, 0.5), distinct(2, 4))
case("clip-none-high", lambda np, x: np.clip(x, -0.5, None), distinct(2, 4))
case(
    "clip-traced-bounds",
    lambda np, x, a, b: np.clip(x, a, b),
    distinct(2, 4),
    between(-1.1, -0.9)(4),
    between(0.9, 1.1)(2, 1),
)
case("clip-array-bounds", lambda np, x: np.clip(x, onp.array([-1.0, 0.0]), 1.05), distinct(3, 2))
case(
    "where-constant-mask",
    lambda np, x, y: np.where(onp.array([True, False, True]), x, y),
    normal(3),
    normal(2, 3),
)
case("where-scalar-branch", lambda np, x: np.where(x > 0, x, 0.0), away(2, 3))
case("where-scalar-branches", lambda np, x: np.where(x > 0, 1.0, -1.0) * x, away(2, 3))
case("where-scalar-condition", lambda np, x, y: np.where(True, x, y), normal(3), normal(3))
case(
    "where-broadcast",
    lambda np, x, y: np.where(onp.array([[True], [False]]), x, y),
    normal(3),
    normal(2, 1),
)
