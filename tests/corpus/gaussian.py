"""Likelihoods: Gaussian processes, Gaussian mixtures."""

from __future__ import annotations

import numpy as np

from chainrule.scipy import linalg, special

from ._entry import definite, entry, positive

RASMUSSEN = (
    "Rasmussen, Williams, Gaussian Processes for Machine Learning, eq. 5.9: "
    "½ tr((α αᵀ − K⁻¹) ∂K/∂θ), α = K⁻¹ y"
)
MIXTURE = "Bishop, Pattern Recognition and Machine Learning, sec. 9.2.2: responsibilities γ(z_nk)"


@entry("gaussian", K="N N", y="N")(RASMUSSEN, domains={"K": definite}, symmetric=("K",))
def gp_likelihood(K, y):
    return -0.5 * (y @ np.linalg.solve(K, y) + np.linalg.slogdet(K)[1])


@entry("gaussian", K="N N", y="N")(
    RASMUSSEN + "; for any invertible K with both K⁻¹ y and K⁻ᵀ y", domains={"K": definite}
)
def gp_likelihood_of_any_matrix(K, y):
    return gp_likelihood(K, y)


@entry("gaussian", ell="", s="", X="N D", y="N")(
    RASMUSSEN, wrt=("ell", "s"), domains={"ell": positive, "s": positive}
)
def gp_hyperparameters(ell, s, X, y):
    D2 = np.sum((X[:, None, :] - X[None, :, :]) ** 2, axis=2)
    K = np.exp(-D2 / (2 * ell**2)) + s * np.eye(X.shape[0])
    alpha = np.linalg.solve(K, y)
    return -0.5 * (y @ alpha + np.linalg.slogdet(K)[1])


@entry("gaussian", K="N N", y="N")(
    RASMUSSEN + " (through Cholesky: algorithm 2.1)", domains={"K": definite}
)
def gp_through_cholesky(K, y):
    L = np.linalg.cholesky(K)
    z = linalg.solve_triangular(L, y, lower=True)
    return -0.5 * z @ z - np.sum(np.log(np.diag(L)))


@entry("gaussian", X="N D", mu="D", Sigma="D D")(
    "Bishop, Pattern Recognition and Machine Learning, sec. 2.3.4 (maximum likelihood)",
    wrt=("mu", "Sigma"),
    domains={"Sigma": definite}, symmetric=("Sigma",),
)  # fmt: skip
def gaussian_likelihood(X, mu, Sigma):
    R = X - mu
    S = np.linalg.solve(Sigma, R.T)
    return -0.5 * (np.sum(R.T * S) + X.shape[0] * np.linalg.slogdet(Sigma)[1])


@entry("gaussian", x="N", w="K", mu="K", s="K")(
    MIXTURE, wrt=("w", "mu", "s"), domains={"s": positive}
)
def mixture_likelihood(x, w, mu, s):
    z = (x[:, None] - mu) / s
    a = special.log_softmax(w) - np.log(s) - 0.5 * z**2
    return np.sum(special.logsumexp(a, axis=1))


@entry("gaussian", X="N D", w="K", mu="K D")(MIXTURE, wrt=("w", "mu"))
def spherical_mixture(X, w, mu):
    D2 = np.sum((X[:, None, :] - mu[None, :, :]) ** 2, axis=2)
    a = w - 0.5 * D2
    return np.sum(special.logsumexp(a, axis=1)) - X.shape[0] * special.logsumexp(w)
