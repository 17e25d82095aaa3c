"""Local Jacobians of linear algebra.

Sources: Giles, *Collected matrix derivative results* (2008); Murray, *Differentiation of the
Cholesky decomposition* (2016); Townsend, *Differentiating the singular value decomposition* (2016);
Walter and Lehmann, *Algorithmic differentiation of linear algebra functions* (2010); Golub and
Pereyra (1973) for the pseudo-inverse; Higham, *Functions of Matrices* (2008), ch. 3.

Conventions.  Functions of a symmetric matrix (``cholesky``, ``eigh``, ``eigvalsh``) read one
triangle; their derivative is that of the function of ``(A + Aᴴ)/2``, so gradients are symmetric
(JAX's convention).  For complex matrices, pieces marked ``conj`` are derivatives by ``z̄``.
"""

from __future__ import annotations

from ..expr.build import broadcast, indicator, linear, map_, permute, view
from ..expr.calls import call
from ..expr.draft import Draft
from ..expr.nodes import Call, Const, Node
from ..expr.subs import affine
from .local import Piece
from .notation import piece, rule

__all__: list[str] = []


def conj(node: Node) -> Node:
    """The complex conjugate; the node itself where it is real."""
    return map_("conj", node) if node.dtype.kind == "c" else node


def transposed(node: Node) -> Node:
    """The last two axes swapped."""
    axes = list(range(node.ndim))
    return permute(node, [*axes[:-2], axes[-1], axes[-2]])


def _is_complex(node: Node) -> bool:
    return node.dtype.kind == "c"


def matmul(*nodes: Node) -> Node:
    """The product of stacks of matrices of one batch shape."""
    batch = nodes[0].ndim - 2
    lead = tuple(range(batch))
    factors = [(n, (*lead, batch + k, batch + k + 1)) for k, n in enumerate(nodes)]
    extents = dict(enumerate(nodes[0].shape))
    extents.update({batch + k + 1: n.shape[-1] for k, n in enumerate(nodes)})
    last = batch + len(nodes)
    shape = (*nodes[0].shape[:-1], nodes[-1].shape[-1])
    draft = Draft(shape, nodes[0].dtype, 1, extents, factors, (*lead, batch, last))
    return draft.finish()


def _half_triangle(node: Node, upper: bool = False) -> Node:
    """(n, n): 1 strictly below (above) the diagonal, ½ on it; in the dtype of ``node``."""
    n = node.shape[-1]
    dtype = node.dtype
    order = affine(0, [(-1 if upper else 1, 0), (1 if upper else -1, 1)])
    whole = Draft((n, n), dtype, 1, {0: n, 1: n}, [], (0, 1), [order]).finish()
    diagonal = Draft((n, n), dtype, 1, {0: n}, [], (0, 0)).finish()
    half = linear((1, whole), (-0.5, diagonal), dtype=dtype)
    return broadcast(half, (*node.shape[:-2], n, n))


def _gaps(values: Node) -> Node:
    """F[i, j] = 1 / (w[j] - w[i]), 0 on the diagonal."""
    n = values.shape[-1]
    lead = tuple(range(values.ndim - 1))
    i, j = len(lead), len(lead) + 1
    shape = (*values.shape, n)
    extents = dict(enumerate(shape))
    columns = view(values, extents, (*lead, j), (*lead, i, j), shape)
    rows = view(values, extents, (*lead, i), (*lead, i, j), shape)
    diagonal = indicator(shape, dict(enumerate(values.shape)), (*lead, i, i), ())
    gap = linear((1, columns), (-1, rows))
    safe = map_("where", diagonal, Const(1), gap)
    return map_("where", diagonal, Const(0), map_("reciprocal", safe))


# -- inverses and solutions -------------------------------------------------------------------
@rule("inv", "inverse")
def inverse(y: Call) -> list[Piece]:
    """d(A⁻¹) = -A⁻¹ dA A⁻¹"""
    return piece(y, y.args[0], "ia,bj->ij|ab", y, y, coef=-1)


@rule("solve")
def solve(x: Call) -> list[Piece]:
    """dX = A⁻¹ (dB - dA X)"""
    a, b = x.args
    operator = call("inverse", a)
    return [
        *piece(x, b, "ia->ik|ak", operator),
        *piece(x, a, "ia,bk->ik|ab", operator, x, coef=-1),
    ]


def _triangle(params: tuple[bool, bool]) -> str:
    lower, unit = params
    return ("a" if lower else "b") + (">" if unit else ">=") + ("b" if lower else "a")


@rule("triangular_inverse")
def triangular_inverse(y: Call) -> list[Piece]:
    """d(T⁻¹) = -T⁻¹ dT T⁻¹, dT inside the triangle"""
    return piece(y, y.args[0], "ia,bj->ij|ab", y, y, coef=-1, where=_triangle(y.params))


@rule("solve_triangular")
def solve_triangular(x: Call) -> list[Piece]:
    """dX = T⁻¹ (dB - dT X), dT inside the triangle"""
    t, b = x.args
    operator = call("triangular_inverse", t, params=x.params)
    return [
        *piece(x, b, "ia->ik|ak", operator),
        *piece(x, t, "ia,bk->ik|ab", operator, x, coef=-1, where=_triangle(x.params)),
    ]


# -- determinants -----------------------------------------------------------------------------
@rule("det")
def det(y: Call) -> list[Piece]:
    """d det A = tr(adj(A) dA): the cofactors, which exist for singular A too"""
    a = y.args[0]
    return piece(y, a, "ab->|ab", call("cofactor", a))


@rule("cofactor")
def cofactor(c: Call) -> list[Piece]:
    """dC = tr(A⁻¹ dA) C - A⁻ᵀ dAᵀ C, for invertible A"""
    a = c.args[0]
    operator = call("inverse", a)
    return [
        *piece(c, a, "ij,ba->ij|ab", c, operator),
        *piece(c, a, "bi,aj->ij|ab", operator, c, coef=-1),
    ]


@rule("slogdet")
def slogdet(y: Call) -> list[Piece]:
    """d log|det A| = Re tr(A⁻¹ dA); a complex sign turns by the imaginary part"""
    a = y.args[0]
    operator = call("inverse", a)
    if not _is_complex(a):
        return piece(y, a, "ba->|ab", operator) if y.index == 1 else []
    anti = call("inverse", conj(a))
    if y.index == 1:
        return [
            *piece(y, a, "ba->|ab", operator, coef=0.5),
            *piece(y, a, "ba->|ab", anti, coef=0.5, conj=True),
        ]
    return [
        *piece(y, a, ",ba->|ab", y, operator, coef=0.5),
        *piece(y, a, ",ba->|ab", y, anti, coef=-0.5, conj=True),
    ]


# -- factorizations ---------------------------------------------------------------------------
@rule("cholesky")
def cholesky(low: Call) -> list[Piece]:
    """dL = L Φ(L⁻¹ sym(dA) L⁻ᴴ), Φ the lower triangle with half the diagonal"""
    a = low.args[0]
    left = call("triangular_inverse", low, params=(True, False))
    right = call("triangular_inverse", conj(low), params=(True, False))
    half = _half_triangle(low)
    factors = (low, half, left, right)
    return [
        *piece(low, a, "ic,cj,ca,jb->ij|ab", *factors, coef=0.5),
        *piece(low, a, "ic,cj,ca,jb->ij|ba", *factors, coef=0.5, conj=_is_complex(a)),
    ]


@rule("eigh", "eigvalsh")
def eigh(y: Call) -> list[Piece]:
    """dw = diag(vᴴ dA v), dv = v (F ⊙ vᴴ dA v), F[i, j] = 1 / (w[j] - w[i]) off the diagonal"""
    a = y.args[0]
    v = call("eigh", a, params=y.params, index=1)
    bar = conj(v)
    if y.index == 0:
        if not _is_complex(a):
            return piece(y, a, "ai,bi->i|ab", v, v)
        return [
            *piece(y, a, "ai,bi->i|ab", bar, v, coef=0.5),
            *piece(y, a, "ai,bi->i|ab", v, bar, coef=0.5, conj=True),
        ]
    gaps = _gaps(call("eigh", a, params=y.params, index=0))
    factors = (v, gaps, bar, v)
    return [
        *piece(y, a, "ci,ij,ai,bj->cj|ab", *factors, coef=0.5),
        *piece(y, a, "ci,ij,ai,bj->cj|ba", *factors, coef=0.5, conj=_is_complex(a)),
    ]


@rule("svd", "svdvals")
def svd(y: Call) -> list[Piece]:
    """With S = uᴴ dA v and F[i, j] = 1 / (s[j]² - s[i]²) off the diagonal (reduced form)

    ds = Re diag S
    du = u (F ⊙ (S s + s Sᴴ)) + (1 - u uᴴ) dA v s⁻¹
    dv = v (F ⊙ (s S + Sᴴ s)) + (1 - v vᴴ) dAᴴ u s⁻¹
    """
    a = y.args[0]
    m, n = a.shape[-2:]
    complex_ = _is_complex(a)
    u, s, vh = (call("svd", a, index=k) for k in range(3))
    ubar, vhbar = conj(u), conj(vh)
    if y.op == "svdvals" or y.index == 1:
        if not complex_:
            return piece(y, a, "ai,ib->i|ab", u, vh)
        return [
            *piece(y, a, "ai,ib->i|ab", ubar, vhbar, coef=0.5),
            *piece(y, a, "ai,ib->i|ab", u, vh, coef=0.5, conj=True),
        ]
    gaps = _gaps(map_("square", s))
    below = map_("reciprocal", s)
    if y.index == 0:
        pieces = [
            *piece(y, a, "ci,ij,ai,jb,j->cj|ab", u, gaps, ubar, vhbar, s),
            *piece(y, a, "ci,ij,aj,ib,i->cj|ab", u, gaps, u, vh, s, conj=complex_),
        ]
        if complex_:
            pieces += [
                *piece(y, a, "cj,aj,jb,j->cj|ab", u, ubar, vhbar, below, coef=0.5),
                *piece(y, a, "cj,aj,jb,j->cj|ab", u, u, vh, below, coef=-0.5, conj=True),
            ]
        if m > n:
            pieces += [
                *piece(y, a, "jb,j->aj|ab", vhbar, below),
                *piece(y, a, "ci,ai,jb,j->cj|ab", u, ubar, vhbar, below, coef=-1),
            ]
        return pieces
    pieces = [
        *piece(y, a, "ic,ij,ai,jb,i->jc|ab", vh, gaps, u, vh, s, conj=complex_),
        *piece(y, a, "ic,ij,aj,ib,j->jc|ab", vh, gaps, ubar, vhbar, s),
    ]
    if n > m:
        pieces += [
            *piece(y, a, "aj,j->jb|ab", ubar, below),
            *piece(y, a, "ic,aj,ib,j->jc|ab", vh, ubar, vhbar, below, coef=-1),
        ]
    return pieces


@rule("qr")
def qr(y: Call) -> list[Piece]:
    """With X = dA r⁻¹, W = qᴴ X, H the upper triangle with half the diagonal

    dr = (H ⊙ (W + Wᴴ)) r,  dq = X - q (H ⊙ (W + Wᴴ))
    """
    a = y.args[0]
    complex_ = _is_complex(a)
    q, r = call("qr", a, index=0), call("qr", a, index=1)
    below = call("triangular_inverse", r, params=(False, False))
    below_bar = call("triangular_inverse", conj(r), params=(False, False))
    half = _half_triangle(r, upper=True)
    first = (half, conj(q), below)
    second = (half, q, below_bar)
    if y.index == 1:
        return [
            *piece(y, a, "ij,ai,bj,jk->ik|ab", *first, r),
            *piece(y, a, "ij,aj,bi,jk->ik|ab", *second, r, conj=complex_),
        ]
    return [
        *piece(y, a, "bj->aj|ab", below),
        *piece(y, a, "ci,ij,ai,bj->cj|ab", q, *first, coef=-1),
        *piece(y, a, "ci,ij,aj,bi->cj|ab", q, *second, coef=-1, conj=complex_),
    ]


@rule("pinv")
def pinv(p: Call) -> list[Piece]:
    """dP = -P dA P + P Pᴴ dAᴴ (1 - A P) + (1 - P A) dAᴴ Pᴴ P, at constant rank"""
    a = p.args[0]
    complex_ = _is_complex(a)
    adjoint = conj(transposed(p))
    m, n = a.shape[-2:]
    off_range = linear((1, _eye(a, m)), (-1, matmul(a, p)))
    off_domain = linear((1, _eye(a, n)), (-1, matmul(p, a)))
    return [
        *piece(p, a, "ia,bj->ij|ab", p, p, coef=-1),
        *piece(p, a, "ib,aj->ij|ab", matmul(p, adjoint), off_range, conj=complex_),
        *piece(p, a, "ib,aj->ij|ab", off_domain, matmul(adjoint, p), conj=complex_),
    ]


def _eye(node: Node, n: int) -> Node:
    lead = tuple(range(node.ndim - 1))
    shape = (*node.shape[:-2], n, n)
    extents = dict(enumerate(shape[:-1]))
    return Draft(shape, node.dtype, 1, extents, [], (*lead, lead[-1])).finish()


# -- matrix functions -------------------------------------------------------------------------
@rule("expm")
def expm(y: Call) -> list[Piece]:
    """d eᴬ = L(A, dA), the Fréchet derivative, as the operator ``expm_jacobian``"""
    a = y.args[0]
    return piece(y, a, "ijab->ij|ab", call("expm_jacobian", a))


@rule("expm_jacobian")
def expm_jacobian(y: Call) -> list[Piece]:
    """Of the dense operator: entries of eᴮ for B = [[A, E_kl], [0, A]], differentiated in turn."""
    a = y.args[0]
    n = a.shape[-1]
    lead = tuple(range(a.ndim - 2))
    b = len(lead)
    shape = (*a.shape[:-2], n, n, 2 * n, 2 * n)
    labels = {**dict(enumerate(a.shape[:-2])), b: n, b + 1: n, b + 2: n, b + 3: n}
    blocks = [
        Draft(
            shape,
            a.dtype,
            1,
            dict(labels),
            [(a, (*lead, b + 2, b + 3))],
            (*lead, b, b + 1, affine(off, [(1, b + 2)]), affine(off, [(1, b + 3)])),
        ).finish()
        for off in (0, n)
    ]
    units = Draft(
        shape,
        a.dtype,
        1,
        {k: labels[k] for k in (*lead, b, b + 1)},
        [],
        (*lead, b, b + 1, b, affine(n, [(1, b + 1)])),
    ).finish()
    big = call("expm_jacobian", linear((1, blocks[0]), (1, blocks[1]), (1, units)))
    i, j, k, l, p, q = range(b, b + 6)
    extents = (*a.shape[:-2], n, n, n, n, n, n)
    right = affine(n, [(1, j)])
    return [
        Piece(
            a,
            1,
            extents,
            ((big, (*lead, k, l, i, right, affine(off, [(1, p)]), affine(off, [(1, q)]))),),
            (*lead, i, j, k, l),
            (*lead, p, q),
        )
        for off in (0, n)
    ]
