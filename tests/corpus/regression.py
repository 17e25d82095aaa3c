"""Regression: squares, ridge, logistic; factorization."""

from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule.scipy import special

from ._entry import entry, positive, signs, unit

COOKBOOK = "Petersen, Pedersen, The Matrix Cookbook (2012)"
SQUARES = (
    f"{COOKBOOK}, Derivatives of Matrices, Vectors and Scalar Forms: "
    "∂(x − A s)ᵀ W (x − A s)/∂s = −2 Aᵀ W (x − A s)"
)
LOGISTIC = "Bishop, Pattern Recognition and Machine Learning, eq. 4.96-4.97: Φᵀ (y − t), Φᵀ R Φ"


@entry("regression", X="N D", w="D", y="N")(SQUARES)
def mean_squared_error(X, w, y):
    r = X @ w - y
    return np.mean(r**2)


@entry("regression", A="M N", x="N", b="M")(SQUARES, hessian=True)
def least_squares(A, x, b):
    r = A @ x - b
    return 0.5 * r @ r


@entry("regression", A="M N", x="N", b="M")(
    f"{COOKBOOK}, Derivatives of vector norms: ∂‖x − a‖/∂x = (x − a)/‖x − a‖"
)
def residual_norm(A, x, b):
    return np.linalg.norm(A @ x - b)


@entry("regression", w="D", X="N D", y="N", lam="")(
    "Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, sec. 3.4.1 (ridge): "
    "−2 Xᵀ (y − X β) + 2 λ β",
    wrt=("w",), hessian=True, domains={"lam": positive},
)  # fmt: skip
def ridge(w, X, y, lam):
    r = X @ w - y
    return r @ r + lam * (w @ w)


@entry("regression", w="D", X="N D", y="N")(LOGISTIC, wrt=("w",), hessian=True, domains={"y": unit})
def logistic_regression(w, X, y):
    p = 1 / (1 + np.exp(-(X @ w)))
    return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))


@entry("regression", w="D", X="N D", y="N")(
    "Murphy, Machine Learning: A Probabilistic Perspective, sec. 8.3.1 (labels ±1)",
    wrt=("w",), hessian=True, domains={"y": signs},
)  # fmt: skip
def logistic_of_signs(w, X, y):
    m = y * (X @ w)
    return np.sum(np.logaddexp(0, -m))


def logistic_loss(z):
    return np.log(1 + np.exp(-z))


@entry("regression", z="")(
    "Bishop, Pattern Recognition and Machine Learning, eq. 4.88: σ′ = σ (1 − σ)", hessian=True
)
def loss_of_margin(z):
    return logistic_loss(z)


def second(z):
    return cr.grad(cr.grad(logistic_loss))(z)


@entry("regression", z="")(
    "σ″ = σ (1 − σ) (1 − 2 σ): Bishop, Pattern Recognition and Machine Learning, eq. 4.88 once more"
)
def third_derivative_of_logistic_loss(z):
    return second(z)


@entry("regression", w="D", X="N D", y="N")(
    LOGISTIC, wrt=("w",), domains={"y": unit}, jacobian=True
)
def gradient_of_logistic_regression(w, X, y):
    return cr.grad(logistic_regression)(w, X, y)


@entry("regression", U="N K", V="M K", A="N M", W="N M")(
    "Koren, Bell, Volinsky, Matrix Factorization Techniques for Recommender Systems: the error "
    "e_ui = r_ui − q_iᵀ p_u, summed over the known entries; gradients −2 e_ui q_i",
    domains={"W": unit},
)
def masked_factorization(U, V, A, W):
    R = A - U @ V.T
    return np.sum(W * R**2)


@entry("regression", w="D", X="N D", y="N")(
    "Huber, Robust Estimation of a Location Parameter: ψ(r) = r up to 1, sign(r) beyond",
    wrt=("w",), hessian=True,
)  # fmt: skip
def huber_regression(w, X, y):
    r = X @ w - y
    a = np.abs(r)
    return np.sum(np.where(a <= 1, 0.5 * r**2, a - 0.5))


@entry("regression", w="D", X="N D", y="N")(
    "McCullagh, Nelder, Generalized Linear Models, log-linear models: Xᵀ (μ − y), Xᵀ diag(μ) X",
    wrt=("w",), hessian=True,
)  # fmt: skip
def poisson_regression(w, X, y):
    eta = X @ w
    return np.sum(np.exp(eta) - y * eta)


@entry("regression", w="D", X="N D", y="N", r="")(
    "McCullagh, Nelder, Generalized Linear Models, negative binomial: Xᵀ (μ (y + r)/(μ + r) − y)",
    wrt=("w",), hessian=True, domains={"y": unit, "r": positive},
)  # fmt: skip
def negative_binomial_regression(w, X, y, r):
    mu = np.exp(X @ w)
    return -np.sum(y * np.log(mu) - (y + r) * np.log(mu + r))


@entry("regression", X="N D", W="D K")(
    "Bishop, Pattern Recognition and Machine Learning, PCA as minimum error: ‖X − X W Wᵀ‖²"
)
def reconstruction_error(X, W):
    R = X - X @ W @ W.T
    return np.sum(R**2)


@entry("regression", z="N", y="N")(
    "Lin et al., Focal Loss for Dense Object Detection, app. B (γ = 2)",
    wrt=("z",), domains={"y": unit},
)  # fmt: skip
def focal_loss(z, y):
    p = special.expit(z)
    pt = np.where(y == 1, p, 1 - p)
    return -np.sum((1 - pt) ** 2 * np.log(pt))
