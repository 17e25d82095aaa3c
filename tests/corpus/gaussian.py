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


@entry("gaussian", mu="D", S="D D", m0="D", S0="D D")(
    "Murphy, Probabilistic Machine Learning: Advanced Topics, KL divergence of two Gaussians: "
    "½ (tr(S₀⁻¹ S) + rᵀ S₀⁻¹ r − D + log det S₀ / det S), by μ S₀⁻¹ r, by S ½ (S₀⁻¹ − S⁻¹)",
    domains={"S": definite, "S0": definite}, symmetric=("S", "S0"),
)  # fmt: skip
def divergence_of_gaussians(mu, S, m0, S0):
    r = mu - m0
    trace = np.trace(np.linalg.solve(S0, S))
    logs = np.linalg.slogdet(S0)[1] - np.linalg.slogdet(S)[1]
    return 0.5 * (trace + r @ np.linalg.solve(S0, r) - mu.shape[0] + logs)


@entry("gaussian", x="D", P="D D", H="M D", R="M M", z="M")(
    "Särkkä, Bayesian Filtering and Smoothing, innovations v ~ N(0, S), S = H P Hᵀ + R: "
    "∂/∂S = ½ (S⁻¹ − S⁻¹ v vᵀ S⁻¹)",
    domains={"P": definite, "R": definite}, symmetric=("P", "R"),
)  # fmt: skip
def innovation_likelihood(x, P, H, R, z):
    v = z - H @ x
    S = H @ P @ H.T + R
    return 0.5 * (v @ np.linalg.solve(S, v) + np.linalg.slogdet(S)[1])


@entry("gaussian", T="N N", S="N N")(
    "Friedman, Hastie, Tibshirani, Sparse inverse covariance estimation with the graphical lasso: "
    "S − Θ⁻¹", wrt=("T",), domains={"T": definite, "S": definite}, symmetric=("T", "S"),
)  # fmt: skip
def graphical_lasso(T, S):
    return np.trace(S @ T) - np.linalg.slogdet(T)[1]
