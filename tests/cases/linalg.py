"""Linear algebra of NumPy and SciPy.

Functions that read one triangle of a symmetric matrix are given (a + aᵀ)/2, so that the derivative
does not depend on how a perturbation that is not symmetric is understood.
"""

import numpy as onp

from ._case import away, between, case, distinct, invertible, normal, spd


def _sym(a):
    return (a + a.swapaxes(-1, -2)) / 2


SOLVE = {
    "vector": ((3, 3), (3,)),
    "matrix": ((3, 3), (3, 2)),
    "batched": ((2, 3, 3), (2, 3, 2)),
    "batched-broadcast-rhs": ((2, 3, 3), (3, 2)),
    "batched-broadcast-matrix": ((3, 3), (2, 3, 1)),
    "one": ((1, 1), (1,)),
}
for _name, (_a, _b) in SOLVE.items():
    case(
        f"solve-{_name}",
        lambda np, a, b: np.linalg.solve(a, b),
        invertible(*_a),
        normal(*_b),
        complex=_name in ("vector", "batched"),
        f32=1e-3,
    )
case("solve-constant-rhs", lambda np, a: np.linalg.solve(a, onp.ones(3)), invertible(3, 3))
case(
    "solve-constant-matrix",
    lambda np, b: np.linalg.solve(onp.array([[2.0, 1.0], [0.5, 3.0]]), b),
    normal(2),
)
case("inv", lambda np, a: np.linalg.inv(a), invertible(3, 3), complex=True, f32=1e-3)
case("inv-batched", lambda np, a: np.linalg.inv(a), invertible(2, 2, 2), f32=1e-3)
case("inv-quadratic", lambda np, a, x: x @ np.linalg.inv(a) @ x, invertible(3, 3), normal(3))
case("det", lambda np, a: np.linalg.det(a), invertible(3, 3), complex=True, f32=1e-3)
case("det-batched", lambda np, a: np.linalg.det(a), invertible(2, 2, 2), f32=1e-3)
case("det-1x1", lambda np, a: np.linalg.det(a), invertible(1, 1))
case("slogdet", lambda np, a: np.linalg.slogdet(a)[1], invertible(3, 3), f32=1e-3)
case("slogdet-logabsdet", lambda np, a: np.linalg.slogdet(a).logabsdet, invertible(3, 3))
case("slogdet-batched", lambda np, a: np.linalg.slogdet(a)[1], invertible(2, 2, 2), f32=1e-3)
case("slogdet-sign", lambda np, a: np.linalg.slogdet(a)[0] * a[0], invertible(3, 3))
case(
    "slogdet-negative",
    lambda np, a: np.linalg.slogdet(a)[1],
    lambda rng: onp.array([[0.0, 2.0], [1.0, 0.3]]),
)
case("cholesky", lambda np, a: np.linalg.cholesky(_sym(a)), spd(3, 3), f32=1e-3)
case("cholesky-batched", lambda np, a: np.linalg.cholesky(_sym(a)), spd(2, 2, 2), f32=1e-3)
case(
    "cholesky-logdet",
    lambda np, a: 2 * np.sum(np.log(np.diagonal(np.linalg.cholesky(_sym(a))))),
    spd(3, 3),
    f32=1e-3,
)
case("eigvalsh", lambda np, a: np.linalg.eigvalsh(_sym(a)), spd(3, 3), f32=1e-3)
case("eigvalsh-batched", lambda np, a: np.linalg.eigvalsh(_sym(a)), spd(2, 2, 2), f32=1e-3)
case("eigvalsh-top", lambda np, a: np.linalg.eigvalsh(_sym(a))[-1], spd(3, 3), f32=1e-3)
case("eigh-values", lambda np, a: np.linalg.eigh(_sym(a))[0], spd(3, 3), f32=1e-3)
case("eigh-vectors", lambda np, a: np.linalg.eigh(_sym(a))[1] ** 2, spd(3, 3), f32=2e-3)
case("eigh-batched", lambda np, a: np.linalg.eigh(_sym(a)).eigenvectors ** 2, spd(2, 2, 2))


def _logm(np, a):
    w, v = np.linalg.eigh(_sym(a))
    return (v * np.log(w)) @ v.T


case("eigh-function", _logm, spd(3, 3), f32=2e-3)

VECTOR_NORMS = (None, 1, 2, 3, 2.5, onp.inf, -onp.inf, -1, 0.5)
for _ord in VECTOR_NORMS:
    case(f"norm-vector[{_ord}]", lambda np, x, o=_ord: np.linalg.norm(x, o), distinct(4))
case("norm-vector[0]", lambda np, x: np.linalg.norm(x, 0) * x, away(4))
for _ord in (None, "fro", "nuc", 1, -1, 2, -2, onp.inf, -onp.inf):
    case(
        f"norm-matrix[{_ord}]",
        lambda np, x, o=_ord: np.linalg.norm(x, o),
        distinct(3, 3) if _ord not in ("nuc", 2, -2) else invertible(3, 3),
        f32=2e-3,
    )
NORM_AXES = {
    "axis": {"axis": 1},
    "axis-negative": {"axis": -1, "keepdims": True},
    "axis-ord": {"axis": 0, "ord": 1},
    "axis-ord-inf": {"axis": 1, "ord": onp.inf},
    "axes": {"axis": (0, 2)},
    "axes-fro": {"axis": (1, 2), "ord": "fro", "keepdims": True},
    "axes-inf": {"axis": (-2, -1), "ord": onp.inf},
    "axes-one": {"axis": (2, 0), "ord": 1},
    "flat": {},
    "flat-keepdims": {"keepdims": True},
}
for _name, _kw in NORM_AXES.items():
    case(f"norm-{_name}", lambda np, x, kw=_kw: np.linalg.norm(x, **kw), distinct(2, 3, 2))
case("norm-complex", lambda np, x: np.linalg.norm(x), normal(3), complex=True)
case("norm-squared", lambda np, x: np.linalg.norm(x) ** 2, away(3))
case("vector_norm", lambda np, x: np.linalg.vector_norm(x, axis=0), away(3, 2))
case("matrix_norm", lambda np, x: np.linalg.matrix_norm(x), away(3, 2))
case("matrix_power", lambda np, a: np.linalg.matrix_power(a, 3), invertible(2, 2), f32=1e-3)
case(
    "gaussian-log-density",
    lambda np, x, a: -0.5 * x @ np.linalg.solve(a, x) - 0.5 * np.linalg.slogdet(a)[1],
    normal(3),
    invertible(3, 3),
    f32=1e-3,
)

# SciPy.
case("expm", lambda sl, a: sl.expm(a), between(-0.8, 0.8)(3, 3), lib="linalg", f32=1e-3)
# The oracle takes seconds to compile this function's second derivative: once is enough.
case(
    "expm-batched",
    lambda sl, a: sl.expm(a),
    between(-0.8, 0.8)(2, 2, 2),
    lib="linalg",
    f32=1e-3,
    hess=False,
)
case(
    "expm-large",
    lambda sl, a: sl.expm(a),
    between(-4.0, 4.0)(2, 2),
    lib="linalg",
    f32=2e-3,
    hess=False,
)
for _lower in (False, True):
    for _trans in (0, 1, 2, "N", "T", "C"):
        case(
            f"solve_triangular-{'lower' if _lower else 'upper'}-{_trans}",
            lambda sl, a, b, lo=_lower, t=_trans: sl.solve_triangular(a, b, trans=t, lower=lo),
            invertible(3, 3),
            normal(3, 2) if _trans in (0, "T") else normal(3),
            lib="linalg",
            f32=1e-3,
        )
case(
    "solve_triangular-unit",
    lambda sl, a, b: sl.solve_triangular(a, b, lower=True, unit_diagonal=True),
    invertible(3, 3),
    normal(3),
    lib="linalg",
    f32=1e-3,
)
for _lower in (False, True):
    case(
        f"cho_solve-{'lower' if _lower else 'upper'}",
        lambda sl, a, b, lo=_lower: sl.cho_solve((a, lo), b),
        invertible(3, 3),
        normal(3) if _lower else normal(3, 2),
        lib="linalg",
        f32=1e-3,
    )
