"""Singular values, orthogonal factors, pseudo-inverses, and more of numpy.linalg and scipy.linalg.

Singular vectors and orthogonal factors have signs of their own: cases use their squares.
"""

import numpy as onp

from ._case import away, between, case, distinct, invertible, normal, spd

SHAPES = {"square": (3, 3), "tall": (4, 2), "wide": (2, 3), "batched": (2, 3, 2)}
for _name, _shape in SHAPES.items():
    case(
        f"svd-values-{_name}",
        lambda np, a: np.linalg.svd(a, compute_uv=False),
        distinct(*_shape),
        f32=2e-3,
    )
    for _k in (0, 2):
        case(
            f"svd-vectors-{_name}[{_k}]",
            lambda np, a, k=_k: np.linalg.svd(a, full_matrices=False)[k] ** 2,
            distinct(*_shape),
            f32=1e-2,
        )
    case(
        f"pinv-{_name}",
        lambda np, a: np.linalg.pinv(a),
        invertible(3, 3) if _name == "square" else distinct(*_shape),
        f32=1e-2,
    )
    if _name != "wide":
        for _k in (0, 1):
            case(
                f"qr-{_name}[{_k}]",
                lambda np, a, k=_k: np.linalg.qr(a)[k] ** 2,
                distinct(*_shape),
                f32=1e-2,
            )
case("svdvals", lambda np, a: np.linalg.svdvals(a), distinct(3, 2), f32=2e-3)
case(
    "svd-rank-one",
    lambda np, a: (lambda u, s, v: u[:, 0] * s[0] @ u[:, 0] * v[0])(
        *np.linalg.svd(a, full_matrices=False)
    ),
    distinct(3, 2),
    f32=1e-2,
)
case("cholesky-upper", lambda np, a: np.linalg.cholesky(a + a.T, upper=True), spd(3, 3), f32=1e-3)
case("eigh-upper", lambda np, a: np.linalg.eigh(a + a.T, UPLO="U")[0], spd(3, 3), f32=1e-3)
case("det-singular", lambda np, a: np.linalg.det(a * onp.ones((2, 2))), away(2, 1), hess=False)
case("cond", lambda np, a: np.linalg.cond(a), invertible(2, 2), f32=1e-2)
case("cond-one", lambda np, a: np.linalg.cond(a, 1), invertible(2, 2), f32=1e-2)
for _n in (-2, -1, 0, 1, 2, 5):
    case(
        f"matrix_power[{_n}]",
        lambda np, a, n=_n: np.linalg.matrix_power(a, n) + a,
        invertible(2, 2),
        f32=1e-3,
    )
case(
    "multi_dot",
    lambda np, a, b, c: np.linalg.multi_dot([a, b, c]),
    normal(2, 3),
    normal(3, 2),
    normal(2, 2),
)
case(
    "multi_dot-vectors",
    lambda np, a, b, c: np.linalg.multi_dot([a, b, b, c]),
    normal(2),
    normal(2, 2),
    normal(2),
)
case("tensorinv", lambda np, a: np.linalg.tensorinv(a.reshape(2, 2, 4)), invertible(4, 4), f32=1e-3)
case(
    "tensorsolve",
    lambda np, a, b: np.linalg.tensorsolve(a.reshape(2, 2, 2, 2), b),
    invertible(4, 4),
    normal(2, 2),
    f32=1e-3,
)
case("solve-element", lambda np, a, b: np.linalg.solve(a, b)[1], invertible(3, 3), normal(3))
case(
    "solve-rows",
    lambda np, a, b: np.linalg.solve(a, b)[::-1, 1:] * b[:, :1],
    invertible(3, 3),
    normal(3, 2),
    f32=1e-3,
)
case(
    "solve-batch-slice",
    lambda np, a, b: np.linalg.solve(a[1:], b[0])[..., 0],
    invertible(3, 2, 2),
    normal(1, 2, 2),
    f32=1e-3,
)
case("inv-diagonal", lambda np, a: np.diagonal(np.linalg.inv(a)), invertible(3, 3), f32=1e-3)
case(
    "slogdet-of-product",
    lambda np, a: np.linalg.slogdet(a @ a.T + onp.eye(3)).logabsdet,
    normal(3, 2),
    f32=1e-3,
)

# SciPy
case("expm-element", lambda sl, a: sl.expm(a)[0, 1], between(-0.8, 0.8)(2, 2), lib="linalg")
case(
    "expm-times-vector",
    lambda sl, a, x: sl.expm(a) @ x,
    between(-0.8, 0.8)(2, 2),
    normal(2),
    lib="linalg",
    f32=1e-3,
)
case("scipy-inv", lambda sl, a: sl.inv(a), invertible(2, 2), lib="linalg", f32=1e-3)
case("scipy-det", lambda sl, a: sl.det(a), invertible(2, 2), lib="linalg", f32=1e-3)
for _lower in (False, True):
    case(
        f"scipy-cholesky-{'lower' if _lower else 'upper'}",
        lambda sl, a, lo=_lower: sl.cholesky((a + a.T) / 2, lower=lo),
        spd(3, 3),
        lib="linalg",
        f32=1e-3,
    )
    case(
        f"cho_factor-solve-{'lower' if _lower else 'upper'}",
        lambda sl, a, b, lo=_lower: sl.cho_solve(sl.cho_factor((a + a.T) / 2, lower=lo), b),
        spd(2, 2),
        normal(2),
        lib="linalg",
        f32=1e-3,
    )
for _kind in ("gen", "pos"):
    case(
        f"scipy-solve-{_kind}",
        lambda sl, a, b, kind=_kind: sl.solve((a + a.T) / 2, b, assume_a=kind),
        spd(2, 2),
        normal(2),
        lib="linalg",
        f32=1e-3,
    )
