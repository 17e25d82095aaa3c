"""Matrix calculus: traces, products, inverses, determinants, factorizations."""

from __future__ import annotations

import numpy as np

from ._entry import definite, entry, invertible
from .regression import COOKBOOK

GILES = "Giles, Collected Matrix Derivative Results for Forward and Reverse Mode AD"


@entry("matrices", A="N N", x="N")(f"{COOKBOOK}, eq. 81: (A + Aᵀ) x", hessian=True)
def quadratic_form(A, x):
    return x @ A @ x


@entry("matrices", A="M N", B="N M")(f"{COOKBOOK}, eq. 100: ∂tr(A B)/∂A = Bᵀ")
def trace_of_product(A, B):
    return np.trace(A @ B)


@entry("matrices", A="N N", X="N M", B="M M", C="N N")(
    f"{COOKBOOK}, eq. 118: ∂tr(Xᵀ B X C)/∂X = B X C + Bᵀ X Cᵀ, transposed", wrt=("X",)
)
def trace_of_quadratic(A, X, B, C):
    return np.trace(A @ X @ B @ X.T @ C)


@entry("matrices", A="K M", X="N M", B="N N", C="M K")(f"{COOKBOOK}, eq. 118", wrt=("X",))
def trace_transposed(A, X, B, C):
    return np.trace(A @ X.T @ B @ X @ C)


@entry("matrices", A="M N")(f"{COOKBOOK}, eq. 115 and 132: ∂‖A‖²_F/∂A = 2 A", hessian=True)
def frobenius_norm_squared(A):
    return np.trace(A.T @ A)


@entry("matrices", A="K M", X="M N", B="N P")(f"{COOKBOOK}, eq. 101: Aᵀ G Bᵀ", jacobian=True)
def product_of_three(A, X, B):
    return A @ X @ B


@entry("matrices", X="N D")("Magnus, Neudecker, Matrix Differential Calculus, ch. 9: (G + Gᵀ) X")
def gram_matrix(X):
    return X @ X.T


@entry("matrices", X="N N")(f"{COOKBOOK}, eq. 90 and 108")
def cube(X):
    return X @ X @ X


@entry("matrices", X="N N")(
    f"{COOKBOOK}, eq. 59 and 124: −X⁻ᵀ G X⁻ᵀ", domains={"X": invertible}, jacobian=True
)
def inverse(X):
    return np.linalg.inv(X)


@entry("matrices", X="N N", A="N N")(
    f"{COOKBOOK}, eq. 124: −(X⁻¹ A X⁻¹)ᵀ", domains={"X": invertible}
)
def trace_of_inverse(X, A):
    return np.trace(np.linalg.inv(X) @ A)


@entry("matrices", X="N N")(f"{COOKBOOK}, eq. 57: X⁻ᵀ", domains={"X": invertible}, hessian=True)
def log_determinant(X):
    return np.linalg.slogdet(X)[1]


@entry("matrices", X="N N")(f"{COOKBOOK}, eq. 49: det(X) X⁻ᵀ", domains={"X": invertible})
def determinant(X):
    return np.linalg.det(X)


@entry("matrices", A="N N", b="N")(
    f"{GILES}, sec. 2.3.1: ∂L/∂b = A⁻ᵀ G, ∂L/∂A = −(A⁻ᵀ G) xᵀ", domains={"A": invertible}
)
def linear_solve(A, b):
    x = np.linalg.solve(A, b)
    return x


@entry("matrices", A="N N", B="N M")(f"{GILES}, sec. 2.3.1", domains={"A": invertible})
def matrix_solve(A, B):
    X = np.linalg.solve(A, B)
    return X


@entry("matrices", A="N N")(
    "Murray, Differentiation of the Cholesky decomposition, eq. 9-10: "
    "½ L⁻ᵀ (P + Pᵀ) L⁻¹ with P = Φ(Lᵀ G), Φ the lower triangle with its diagonal halved",
    domains={"A": definite},
)
def cholesky(A):
    L = np.linalg.cholesky(A)
    return L


@entry("matrices", X="M N")(f"{COOKBOOK}, eq. 57 and 64: 2 (I + X Xᵀ)⁻¹ X")
def log_determinant_of_gram(X):
    return np.linalg.slogdet(np.eye(X.shape[0]) + X @ X.T)[1]


@entry("matrices", A="N N", x="N")(
    "Horn, Johnson, Matrix Analysis, sec. 4.2: 2 (A x − ρ x)/xᵀx for symmetric A", wrt=("x",)
)
def rayleigh_quotient(A, x):
    rho = (x @ A @ x) / (x @ x)
    return rho
