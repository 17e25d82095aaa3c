"""Sums, means, products, extrema and running sums: every form of axis, keepdims, where."""

import numpy as onp

from ._case import away, case, distinct, normal, with_zero

AXES = {
    "all": {},
    "None": {"axis": None},
    "0": {"axis": 0},
    "-1": {"axis": -1},
    "1-keep": {"axis": 1, "keepdims": True},
    "all-keep": {"keepdims": True},
    "tuple": {"axis": (0, 2)},
    "tuple-negative": {"axis": (-1, 0), "keepdims": True},
    "tuple-one": {"axis": (1,)},
    "tuple-all": {"axis": (0, 1, 2)},
}
MASK = onp.array([[[True, False], [True, True], [False, True]]])

for _name, _maker in {
    "sum": normal,
    "mean": normal,
    "var": normal,
    "std": distinct,
    "prod": away,
    "max": distinct,
    "min": distinct,
}.items():
    for _suffix, _kw in AXES.items():
        if _name == "prod" and "tuple" in _suffix:
            _size = (2, 2, 2)
        else:
            _size = (2, 3, 2)
        case(
            f"{_name}-{_suffix}",
            lambda np, x, name=_name, kw=_kw: getattr(np, name)(x, **kw),
            _maker(*_size),
            complex=_name in ("sum", "mean", "var", "prod") and _suffix == "-1",
        )
    case(f"{_name}-1d", lambda np, x, name=_name: getattr(np, name)(x), _maker(4))
    if _name != "std":
        case(f"{_name}-0d", lambda np, x, name=_name: getattr(np, name)(x), _maker())
case("sum-axis-empty-tuple", lambda np, x: np.sum(x, axis=()), normal(2, 3))
case("sum-empty", lambda np, x: np.sum(x), normal(0))
case("sum-empty-axis", lambda np, x: np.sum(x, axis=0), normal(0, 3))
case("prod-empty-axis", lambda np, x: np.prod(x, axis=1), normal(2, 0))
case("max-of-many-empty", lambda np, x: np.max(x, axis=1), normal(0, 3))
case("mean-many-empty", lambda np, x: np.mean(x, axis=1), normal(0, 3))
case("cumsum-empty", lambda np, x: np.cumsum(x), normal(0))
case("sum-python-scalar", lambda np, x: np.sum(x), normal("py"), f32=None)
case("sum-of-product", lambda np, x, y: np.sum(x * y, axis=1), normal(2, 3), normal(3))
case("sum-initial", lambda np, x: np.sum(x, axis=0, initial=2.0), normal(2, 3))
case("amax", lambda np, x: np.amax(x, axis=0), distinct(3, 2))
case("amin", lambda np, x: np.amin(x, axis=0), distinct(3, 2))
for _ddof in (1, 2):
    for _name in ("var", "std"):
        case(
            f"{_name}-ddof[{_ddof}]",
            lambda np, x, name=_name, d=_ddof: getattr(np, name)(x, axis=1, ddof=d),
            normal(2, 4),
        )
        case(
            f"{_name}-ddof-keep[{_ddof}]",
            lambda np, x, name=_name, d=_ddof: getattr(np, name)(x, ddof=d, keepdims=True),
            normal(2, 3),
        )
case("var-tuple-ddof", lambda np, x: np.var(x, axis=(0, 1), ddof=1), normal(2, 2, 3))
for _name in ("sum", "mean", "prod", "var", "std"):
    case(
        f"{_name}-where",
        lambda np, x, name=_name: getattr(np, name)(x, axis=1, where=MASK),
        normal(2, 3, 2),
    )
case("sum-where-all", lambda np, x: np.sum(x, where=MASK), normal(2, 3, 2))
case("sum-where-traced", lambda np, x: np.sum(x**2, axis=0, where=x > 0), away(3, 2))
for _name, _initial in (("max", -9.0), ("min", 9.0)):
    case(
        f"{_name}-where",
        lambda np, x, name=_name, i=_initial: getattr(np, name)(x, axis=1, where=MASK, initial=i),
        distinct(2, 3, 2),
    )
    case(
        f"{_name}-initial",
        lambda np, x, name=_name: getattr(np, name)(x, axis=0, initial=0.01),
        distinct(3, 4),
    )
case("prod-with-zero", lambda np, x: np.prod(x), with_zero(4))
case("prod-with-zero-axis", lambda np, x: np.prod(x, axis=1), with_zero(2, 4))
case("prod-with-two-zeros", lambda np, x: np.prod(x, axis=0), with_zero(2, 3))
for _name in ("cumsum", "cumprod"):
    _maker = normal if _name == "cumsum" else away
    case(f"{_name}-1d", lambda np, x, name=_name: getattr(np, name)(x), _maker(4), complex=True)
    case(f"{_name}-flat", lambda np, x, name=_name: getattr(np, name)(x), _maker(2, 2))
    for _axis in (0, 1, -1, -2):
        case(
            f"{_name}-axis[{_axis}]",
            lambda np, x, name=_name, a=_axis: getattr(np, name)(x, axis=a),
            _maker(2, 3),
        )
case("cumprod-with-zero", lambda np, x: np.cumprod(x), with_zero(4))
case("cumsum-reversed", lambda np, x: np.cumsum(x[::-1])[::-1], normal(4))
case("cumsum-of-product", lambda np, x, y: np.cumsum(x * y, axis=1), normal(2, 3), normal(3))
case(
    "normalize",
    lambda np, x: (x - np.mean(x, axis=-1, keepdims=True)) / np.std(x, axis=-1, keepdims=True),
    normal(2, 4),
)
case(
    "softmax-by-hand",
    lambda np, x: (
        np.exp(x - np.max(x, axis=1, keepdims=True))
        / np.sum(np.exp(x - np.max(x, axis=1, keepdims=True)), axis=1, keepdims=True)
    ),
    distinct(2, 3),
)
