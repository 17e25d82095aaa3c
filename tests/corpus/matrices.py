"""Matrix calculus: traces, products, inverses, determinants, factorizations."""

from __future__ import annotations

import numpy as np

from chainrule.scipy import linalg

from ._entry import definite, entry, invertible
from .regression import COOKBOOK

GILES = "Giles, Collected Matrix Derivative Results for Forward and Reverse Mode AD"


@entry("matrices", A="N N", x="N")(
    f"{COOKBOOK}, Derivatives of Matrices, Vectors and Scalar Forms: ∂xᵀA x/∂x = (A + Aᵀ) x",
    hessian=True,
)
def quadratic_form(A, x):
    return x @ A @ x


@entry("matrices", A="M N", B="N M")(f"{COOKBOOK}, Derivatives of Traces: ∂tr(X A)/∂X = Aᵀ")
def trace_of_product(A, B):
    return np.trace(A @ B)


@entry("matrices", A="N N", X="N M", B="M M", C="N N")(
    f"{COOKBOOK}, Derivatives of Traces: ∂tr(A X B Xᵀ C)/∂X = Aᵀ Cᵀ X Bᵀ + C A X B",
    wrt=("X",),
)
def trace_of_quadratic(A, X, B, C):
    return np.trace(A @ X @ B @ X.T @ C)


@entry("matrices", A="K M", X="N M", B="N N", C="M K")(
    f"{COOKBOOK}, Derivatives of Traces: ∂tr(Xᵀ B X C)/∂X = B X C + Bᵀ X Cᵀ",
    wrt=("X",),
)
def trace_transposed(A, X, B, C):
    return np.trace(A @ X.T @ B @ X @ C)


@entry("matrices", A="M N")(
    f"{COOKBOOK}, Derivatives of matrix norms: ∂‖X‖²_F/∂X = 2 X", hessian=True
)
def frobenius_norm_squared(A):
    return np.trace(A.T @ A)


@entry("matrices", A="K M", X="M N", B="N P")(
    f"{COOKBOOK}, Derivatives of Traces: ∂tr(A X B)/∂X = Aᵀ Bᵀ", jacobian=True
)
def product_of_three(A, X, B):
    return A @ X @ B


@entry("matrices", X="N D")("Magnus, Neudecker, Matrix Differential Calculus, ch. 9: (G + Gᵀ) X")
def gram_matrix(X):
    return X @ X.T


@entry("matrices", X="N N")(f"{COOKBOOK}, Derivatives of Traces: ∂tr(A Xᵏ)/∂X = Σ_r (Xʳ A Xᵏ⁻ʳ⁻¹)ᵀ")
def cube(X):
    return X @ X @ X


@entry("matrices", X="N N")(
    f"{GILES}, sec. 2.2.3 (inverse): −X⁻ᵀ G X⁻ᵀ", domains={"X": invertible}, jacobian=True
)
def inverse(X):
    return np.linalg.inv(X)


@entry("matrices", X="N N", A="N N")(
    f"{COOKBOOK}, Derivatives of Traces: ∂tr(A X⁻¹ B)/∂X = −(X⁻¹ B A X⁻¹)ᵀ",
    domains={"X": invertible},
)
def trace_of_inverse(X, A):
    return np.trace(np.linalg.inv(X) @ A)


@entry("matrices", X="N N")(
    f"{COOKBOOK}, Derivatives of a Determinant: ∂ log|det X|/∂X = X⁻ᵀ",
    domains={"X": invertible},
    hessian=True,
)
def log_determinant(X):
    return np.linalg.slogdet(X)[1]


@entry("matrices", X="N N")(
    f"{COOKBOOK}, Derivatives of a Determinant: ∂ det X/∂X = det(X) X⁻ᵀ", domains={"X": invertible}
)
def determinant(X):
    return np.linalg.det(X)


@entry("matrices", A="N N", b="N")(
    f"{GILES}, sec. 2.3.1 (A⁻¹ B): B̄ = A⁻ᵀ C̄, Ā = −B̄ Cᵀ", domains={"A": invertible}
)
def linear_solve(A, b):
    x = np.linalg.solve(A, b)
    return x


@entry("matrices", A="N N", B="N M")(
    f"{GILES}, sec. 2.3.1 (A⁻¹ B): B̄ = A⁻ᵀ C̄, Ā = −B̄ Cᵀ", domains={"A": invertible}
)
def matrix_solve(A, B):
    X = np.linalg.solve(A, B)
    return X


@entry("matrices", A="N N")(
    "Murray, Differentiation of the Cholesky decomposition, sec. 3 (symbolic results): "
    "½ L⁻ᵀ (P + Pᵀ) L⁻¹ with P = Φ(Lᵀ G), Φ the lower triangle with its diagonal halved",
    domains={"A": definite},
)
def cholesky(A):
    L = np.linalg.cholesky(A)
    return L


@entry("matrices", X="M N")(
    f"{COOKBOOK}, Derivatives of a Determinant, by the chain rule: 2 (I + X Xᵀ)⁻¹ X"
)
def log_determinant_of_gram(X):
    return np.linalg.slogdet(np.eye(X.shape[0]) + X @ X.T)[1]


@entry("matrices", A="N N", x="N")(
    "Horn, Johnson, Matrix Analysis, sec. 4.2: 2 (A x − ρ x)/xᵀx for symmetric A", wrt=("x",)
)
def rayleigh_quotient(A, x):
    rho = (x @ A @ x) / (x @ x)
    return rho


@entry("matrices", A="N N")(
    "Higham, Functions of Matrices, sec. 3.1 and 10.6: the adjoint of L(A, ·) is L(Aᵀ, ·)"
)
def matrix_exponential(A):
    return linalg.expm(A)


@entry("matrices", A="N N")("Higham, Functions of Matrices, sec. 3.2: tr L(A, E) = tr(eᴬ E)")
def trace_of_exponential(A):
    return np.trace(linalg.expm(A))


@entry("matrices", A="N N")(f"{GILES}, sec. 3.1: U diag(ḋ) Uᵀ", domains={"A": definite})
def eigenvalues(A):
    return np.linalg.eigvalsh(A)


@entry("matrices", A="N N")(
    f"{GILES}, sec. 3.1: U (F ∘ (Uᵀ Ū)) Uᵀ, F_ij = 1/(d_j − d_i), made symmetric; Ū = 4 U³",
    domains={"A": definite},
)
def participation_of_eigenvectors(A):
    _, V = np.linalg.eigh(A)
    return np.sum(V**4)


@entry("matrices", A="5 3")(f"{GILES}, sec. 3.2: U diag(s̄) Vᵀ (the sum of singular values: U Vᵀ)")
def singular_values(A):
    return np.linalg.svd(A, compute_uv=False)


@entry("matrices", A="5 3")("Watson, Characterization of the subdifferential of some matrix norms")
def nuclear_norm(A):
    return np.sum(np.linalg.svd(A, compute_uv=False))
