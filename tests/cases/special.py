"""SciPy's special functions: its ufuncs, which dispatch, and chainrule.scipy.special."""

import numpy as onp

from ._case import away, between, case, normal, positive

UFUNCS = {
    "expit": normal,
    "logit": between(0.1, 0.9),
    "erf": normal,
    "erfc": normal,
    "gammaln": between(0.5, 4.0),
    "digamma": between(0.7, 4.0),
    "psi": between(0.7, 4.0),
    "gamma": between(0.7, 4.0),
    "log_ndtr": normal,
    "erfcx": normal,
}
for _name, _maker in UFUNCS.items():
    for _suffix, _shape in {"2x3": (2, 3), "0d": (), "py": ("py",), "empty": (0,)}.items():
        case(
            f"{_name}-{_suffix}",
            lambda sp, x, name=_name: getattr(sp, name)(x),
            _maker(*_shape),
            jax=(lambda sp, x: sp.digamma(x)) if _name == "psi" else None,
            lib="ufuncs",
            f32=None if _suffix == "py" else 1e-3,
        )
for _name in ("beta", "poch"):
    case(
        f"{_name}-row",
        lambda sp, x, y, name=_name: getattr(sp, name)(x, y),
        positive(2, 3),
        positive(3),
        lib="ufuncs",
        f32=1e-3,
    )
for _name in ("gammainc", "gammaincc"):
    case(
        f"{_name}-of-orders",
        lambda sp, x, name=_name: getattr(sp, name)(onp.array([0.5, 1.0, 2.5]), x),
        positive(2, 3),
        lib="ufuncs",
        f32=1e-3,
    )
for _name in ("boxcox", "boxcox1p"):
    case(
        f"{_name}-row",
        lambda sp, x, y, name=_name: getattr(sp, name)(x, y),
        positive(2, 3),
        away(3),
        lib="ufuncs",
        jax=lambda sp, x, y, shift=_name[-1] == "p": ((x + shift) ** y - 1) / y,
        f32=1e-3,
    )
for _name in ("xlogy", "xlog1py"):
    for _suffix, _a, _b in (
        ("same", (2, 3), (2, 3)),
        ("row", (2, 3), (3,)),
        ("py", (2,), ("py",)),
        ("empty", (0, 3), (3,)),
    ):
        case(
            f"{_name}-{_suffix}",
            lambda sp, x, y, name=_name: getattr(sp, name)(x, y),
            away(*_a),
            positive(*_b),
            lib="ufuncs",
            f32=2e-4,
        )
case("entropy-by-xlogy", lambda sp, x: -sp.xlogy(x, x).sum(), positive(4), lib="ufuncs")

LOGSUMEXP = {
    "all": {},
    "axis": {"axis": 0},
    "negative-keepdims": {"axis": -1, "keepdims": True},
    "axes": {"axis": (0, 1)},
    "b": {"axis": 1, "b": onp.array([1.0, 2.0, 0.5])},
    "b-keepdims": {"axis": 0, "b": onp.array([[1.0], [0.25]]), "keepdims": True},
}
for _name, _kw in LOGSUMEXP.items():
    case(
        f"logsumexp-{_name}",
        lambda sp, x, kw=_kw: sp.logsumexp(x, **kw),
        normal(2, 3),
        lib="special",
    )
case(
    "logsumexp-traced-b",
    lambda sp, x, b: sp.logsumexp(x, b=b),
    normal(3),
    positive(3),
    lib="special",
)
case("logsumexp-huge", lambda sp, x: sp.logsumexp(1000.0 * x), normal(3), lib="special", f32=None)
for _name in ("softmax", "log_softmax"):
    for _axis in (None, 0, -1, (0, 1)):
        case(
            f"{_name}-axis[{_axis}]",
            lambda sp, x, name=_name, a=_axis: getattr(sp, name)(x, axis=a),
            normal(2, 3),
            lib="special",
        )
    case(
        f"{_name}-vector", lambda sp, x, name=_name: getattr(sp, name)(x), normal(4), lib="special"
    )
for _d in (1, 2, 3):
    case(
        f"multigammaln[{_d}]",
        lambda sp, x, d=_d: sp.multigammaln(x, d),
        between(2.0, 5.0)(3),
        lib="special",
        f32=1e-3,
    )
case(
    "multigammaln-0d",
    lambda sp, x: sp.multigammaln(x, 2),
    between(2.0, 5.0)(),
    lib="special",
    f32=1e-3,
)
case("special-expit", lambda sp, x: sp.expit(x), normal(3), lib="special")
