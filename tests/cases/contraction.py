"""Products with summed labels: matmul and its kin, einsum in every form, traces and diagonals."""

import numpy as onp

from ._case import case, normal

MATMUL = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((4, 2, 3), (3, 2)),
    ((4, 2, 3), (4, 3, 2)),
    ((2, 3), (4, 3, 2)),
    ((2, 1, 2, 3), (3, 3, 2)),
    ((3,), (4, 3, 2)),
    ((4, 2, 3), (3,)),
    ((1, 2, 3), (4, 3, 1)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((2, 3), (3, 0)),
]
DOT = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 2)),
    ((), (2, 3)),
    ((2, 3), ()),
    ((2, 3), (2, 3, 2)),
    ((2, 2, 3), (3,)),
    ((3,), (2, 3, 2)),
    ((2, 0), (0, 3)),
]
INNER = [((3,), (3,)), ((2, 3), (4, 3)), ((2, 2, 3), (3,)), ((2, 3), (2, 1, 3)), ((), (2, 3))]
OUTER = [((3,), (2,)), ((2, 2), (3,)), ((), (3,)), ((0,), (2,))]


def _label(*shapes: tuple[int, ...]) -> str:
    return "@".join("x".join(map(str, s)) or "0d" for s in shapes)


for _a, _b in MATMUL:
    case(
        f"matmul-{_label(_a, _b)}",
        lambda np, x, y: np.matmul(x, y),
        normal(*_a),
        normal(*_b),
        complex=_label(_a, _b) in ("2x3@3x4", "4x2x3@3x2"),
    )
for _a, _b in DOT:
    case(
        f"dot-{_label(_a, _b)}",
        lambda np, x, y: np.dot(x, y),
        normal(*_a),
        normal(*_b),
        complex=_label(_a, _b) == "2x3@2x3x2",
    )
for _a, _b in INNER:
    case(f"inner-{_label(_a, _b)}", lambda np, x, y: np.inner(x, y), normal(*_a), normal(*_b))
for _a, _b in OUTER:
    case(f"outer-{_label(_a, _b)}", lambda np, x, y: np.outer(x, y), normal(*_a), normal(*_b))
case("matmul-constant-right", lambda np, x: x @ onp.arange(6.0).reshape(3, 2), normal(2, 3))
case("matmul-itself", lambda np, x: x @ x, normal(3, 3), complex=True)
case("matmul-gram", lambda np, x: x.T @ x, normal(2, 3))
case("matmul-vector-itself", lambda np, x: x @ x, normal(3))
case("matmul-quadratic", lambda np, x, a: x @ a @ x, normal(3), normal(3, 3))
case("matmul-chain", lambda np, x, y, z: x @ y @ z, normal(2, 3), normal(3, 2), normal(2, 2))
case("matmul-ones-axis", lambda np, x, y: x @ y, normal(1, 3), normal(3, 1))
case("vdot-vectors", lambda np, x, y: np.vdot(x, y), normal(3), normal(3), complex=True)
case("vdot-matrices", lambda np, x, y: np.vdot(x, y), normal(2, 3), normal(2, 3), complex=True)
case("vecdot", lambda np, x, y: np.vecdot(x, y), normal(2, 3), normal(3), complex=True)
case("outer-itself", lambda np, x: np.outer(x, x), normal(3))

TENSORDOT = [
    ("0", (2, 3), (2,), 0),
    ("1", (2, 3), (3, 2), 1),
    ("2", (2, 3, 2), (3, 2, 2), 2),
    ("pair", (2, 3), (2, 4), (0, 0)),
    ("lists", (2, 3, 4), (3, 2, 2), ([1, 0], [0, 1])),
    ("negative", (2, 3, 4), (4, 3), ([-1, -2], [0, 1])),
    ("all", (2, 3), (2, 3), ([0, 1], [0, 1])),
    ("none", (2,), (3,), ([], [])),
]
for _suffix, _a, _b, _axes in TENSORDOT:
    case(
        f"tensordot-{_suffix}",
        lambda np, x, y, axes=_axes: np.tensordot(x, y, axes=axes),
        normal(*_a),
        normal(*_b),
    )
case("tensordot-default", lambda np, x, y: np.tensordot(x, y), normal(2, 3, 2), normal(3, 2))

# One to four operands, explicit and implicit, ellipsis, repeated labels, scalars.
EINSUM = [
    ("ij,jk->ik", (2, 3), (3, 2)),
    ("ij,jk", (2, 3), (3, 2)),
    ("ij , jk -> ik", (2, 3), (3, 2)),
    ("ba,cb", (2, 3), (4, 2)),
    ("ij->ji", (2, 3)),
    ("ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->i", (2, 3)),
    ("ij->j", (2, 3)),
    ("ijk->ki", (2, 3, 2)),
    ("ii->i", (3, 3)),
    ("ii->", (3, 3)),
    ("ii", (3, 3)),
    ("iij->ji", (2, 2, 3)),
    ("iji->j", (2, 3, 2)),
    ("iii->i", (3, 3, 3)),
    ("iijj->ij", (2, 2, 3, 3)),
    ("iijj", (2, 2, 3, 3)),
    ("i,i->i", (3,), (3,)),
    ("i,i->", (3,), (3,)),
    ("i,j->ij", (3,), (2,)),
    ("i,j->ji", (3,), (2,)),
    ("i,j->", (3,), (2,)),
    ("i,j->j", (3,), (2,)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,ji->", (2, 3), (3, 2)),
    ("ij,i->ij", (2, 3), (2,)),
    ("ii,i->i", (3, 3), (3,)),
    ("ii,ij->j", (3, 3), (3, 2)),
    ("ijk,jil->kl", (2, 3, 2), (3, 2, 2)),
    ("bij,bjk->bik", (4, 2, 3), (4, 3, 2)),
    ("bij,jk->ibk", (4, 2, 3), (3, 2)),
    ("...i,...i->...", (2, 3), (2, 3)),
    ("...i,...i", (2, 3), (2, 3)),
    ("...i,i->...", (2, 2, 3), (3,)),
    ("...ij,...jk->...ik", (4, 2, 3), (3, 2)),
    ("i...,i...->...", (3, 2), (3, 2)),
    ("i...j->j...i", (2, 3, 2)),
    ("i...->...", (2, 3)),
    ("...->...", (2, 3)),
    ("...ii->...i", (2, 3, 3)),
    ("...,...->...", (2, 1), (3,)),
    ("...i,...j->...ij", (2, 3), (2,)),
    (",ij->ij", (), (2, 3)),
    (",->", (), ()),
    ("->", ()),
    ("Ab,bA->A", (2, 3), (3, 2)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)),
    ("ij,j,i->", (2, 3), (3,), (2,)),
    ("i,i,i->i", (3,), (3,), (3,)),
    ("i,j,k->kji", (2,), (3,), (2,)),
    ("ij,jk,kl,lm->im", (2, 3), (3, 2), (2, 3), (3, 2)),
    ("ij,ik,il,jkl->i", (2, 2), (2, 3), (2, 2), (2, 3, 2)),
    ("a,b,c,abc->", (2,), (3,), (2,), (2, 3, 2)),
    ("ij,jk->ik", (0, 3), (3, 2)),
    ("ij,jk->ik", (2, 0), (0, 2)),
    ("ij->", (0, 3)),
]
for _subs, *_shapes in EINSUM:
    case(
        f"einsum[{_subs}]-{_label(*_shapes)}",
        lambda np, *xs, subs=_subs: np.einsum(subs, *xs),
        *(normal(*s) for s in _shapes),
        complex=_subs in ("ij,jk->ik", "ii->i", "...i,...i->...", "a,b,c,abc->")
        and _shapes[0][-1] > 0,
    )
for _optimize in (True, False, "greedy", "optimal"):
    case(
        f"einsum-optimize-{_optimize}",
        lambda np, x, y, z, optimize=_optimize: np.einsum(
            "ij,jk,kl->il", x, y, z, optimize=optimize
        ),
        normal(2, 3),
        normal(3, 2),
        normal(2, 2),
        jax=lambda np, x, y, z: x @ y @ z,
    )
case(
    "einsum-optimize-path",
    lambda np, x, y, z: np.einsum(
        "ij,jk,kl->il", x, y, z, optimize=["einsum_path", (1, 2), (0, 1)]
    ),
    normal(2, 3),
    normal(3, 2),
    normal(2, 2),
    jax=lambda np, x, y, z: x @ y @ z,
)
case("einsum-same-operand", lambda np, x: np.einsum("ij,ij->", x, x), normal(2, 3))
case("einsum-cube", lambda np, x: np.einsum("i,i,i->", x, x, x), normal(3))
case("einsum-gram", lambda np, x: np.einsum("ij,kj->ik", x, x), normal(2, 3))
case(
    "einsum-constant-operand",
    lambda np, x: np.einsum("ij,jk->ik", x, onp.arange(6.0).reshape(3, 2)),
    normal(2, 3),
)
case(
    "einsum-length-one-broadcasts",
    lambda np, x, y: np.einsum("ij,ij->ij", x, y),
    normal(1, 3),
    normal(2, 3),
    jax=lambda np, x, y: x * y,
)
case(
    "einsum-sublists",
    lambda np, x, y: np.einsum(x, [0, 1], y, [1, 2], [0, 2]),
    normal(2, 3),
    normal(3, 2),
)
case(
    "einsum-sublists-implicit",
    lambda np, x, y: np.einsum(x, [1, 0], y, [1, 2]),
    normal(2, 3),
    normal(2, 2),
)
case("einsum-sublists-diagonal", lambda np, x: np.einsum(x, [0, 0]), normal(3, 3))
case("einsum-sublists-one", lambda np, x: np.einsum(x, [0, 1], [1, 0]), normal(2, 3))
case(
    "einsum-sublists-ellipsis",
    lambda np, x, y: np.einsum(x, [Ellipsis, 0], y, [0, 1], [Ellipsis, 1]),
    normal(2, 2, 3),
    normal(3, 2),
    jax=lambda np, x, y: x @ y,
)

case("kron-matrices", lambda np, x, y: np.kron(x, y), normal(2, 3), normal(3, 2), complex=True)
case("kron-vectors", lambda np, x, y: np.kron(x, y), normal(3), normal(2))
case("kron-vector-matrix", lambda np, x, y: np.kron(x, y), normal(2), normal(2, 3))
case("kron-matrix-vector", lambda np, x, y: np.kron(x, y), normal(2, 3), normal(2))
case("kron-scalar", lambda np, x, y: np.kron(x, y), normal(), normal(2, 3))
case("kron-itself", lambda np, x: np.kron(x, x), normal(2, 2))

case("trace", lambda np, x: np.trace(x), normal(3, 3), complex=True)
case("trace-rectangular", lambda np, x: np.trace(x), normal(2, 4))
for _k in (1, -1, 2, 5):
    case(f"trace-offset[{_k}]", lambda np, x, k=_k: np.trace(x, offset=k), normal(3, 4))
case("trace-axes", lambda np, x: np.trace(x, axis1=1, axis2=2), normal(2, 3, 3))
case("trace-axes-swapped", lambda np, x: np.trace(x, 1, 2, 0), normal(3, 2, 3))
case("trace-product", lambda np, x, y: np.trace(x @ y), normal(2, 3), normal(3, 2))
case("trace-cube", lambda np, x: np.trace(x @ x @ x), normal(3, 3))
for _k in (0, 1, -1, 2):
    case(f"diagonal-offset[{_k}]", lambda np, x, k=_k: np.diagonal(x, offset=k), normal(3, 4))
    case(f"diag-of-matrix[{_k}]", lambda np, x, k=_k: np.diag(x, k), normal(3, 4))
    case(f"diag-of-vector[{_k}]", lambda np, x, k=_k: np.diag(x, k), normal(3))
case("diagonal-axes", lambda np, x: np.diagonal(x, axis1=0, axis2=2), normal(2, 3, 2))
case("diagonal-axes-offset", lambda np, x: np.diagonal(x, 1, -1, 0), normal(3, 2, 3))
case("diag-of-diag", lambda np, x: np.diag(np.diag(x)) @ x, normal(3, 3))
case("diagflat", lambda np, x: np.diagflat(x), normal(2, 2))

for _mode in ("full", "same", "valid"):
    for _n, _m in ((6, 3), (3, 6), (5, 4), (4, 4)):
        case(
            f"convolve-{_mode}[{_n},{_m}]",
            lambda np, x, y, mode=_mode: np.convolve(x, y, mode),
            normal(_n),
            normal(_m),
        )
        case(
            f"correlate-{_mode}[{_n},{_m}]",
            lambda np, x, y, mode=_mode: np.correlate(x, y, mode),
            normal(_n),
            normal(_m),
        )
