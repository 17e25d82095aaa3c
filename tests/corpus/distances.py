"""Distances and kernels."""

from __future__ import annotations

import numpy as np

from ._entry import entry, positive

SCHOELKOPF = (
    "Schölkopf, Smola, Learning with Kernels, sec. 2.3 (the kernel); ∂K/∂ℓ = K ⊙ ‖x − x′‖²/ℓ³"
)


@entry("distances", X="N D", Y="M D")(
    "Petersen, Pedersen, The Matrix Cookbook (2012), Derivatives of vector norms: ∂‖x‖²/∂x = 2 x, "
    "at x_n − y_m, summed under G"
)
def squared_distances(X, Y):
    return np.sum((X[:, None, :] - Y[None, :, :]) ** 2, axis=2)


@entry("distances", X="N D", Y="M D")(
    "Petersen, Pedersen, The Matrix Cookbook (2012), Derivatives of vector norms, through "
    "‖x‖² + ‖y‖² − 2 xᵀy"
)
def squared_distances_by_products(X, Y):
    return np.sum(X**2, axis=1)[:, None] + np.sum(Y**2, axis=1) - 2 * X @ Y.T


@entry("distances", X="N D", Y="M D")(
    "Petersen, Pedersen, The Matrix Cookbook (2012), Derivatives of vector norms: "
    "(x_n − y_m)/‖x_n − y_m‖, summed under G"
)
def pairwise_distances(X, Y):
    D = np.sqrt(np.sum((X[:, None, :] - Y[None, :, :]) ** 2, axis=2))
    return D


@entry("distances", X="N D", ell="")(SCHOELKOPF, domains={"ell": positive})
def rbf_kernel(X, ell):
    D2 = np.sum((X[:, None, :] - X[None, :, :]) ** 2, axis=2)
    K = np.exp(-D2 / (2 * ell**2))
    return K


@entry("distances", x="N", y="N")(
    "Manning, Raghavan, Schütze, Introduction to Information Retrieval, sec. 6.3.1 (the "
    "similarity), by the quotient rule: (y/‖y‖ − c x/‖x‖)/‖x‖"
)
def cosine_similarity(x, y):
    c = x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
    return c
