"""Softmax and what is built on it."""

from __future__ import annotations

import numpy as np

from chainrule.scipy import special

from ._entry import choice, entry, one_hot, positive, probabilities

BISHOP = (
    "Bishop, Pattern Recognition and Machine Learning, sec. 4.3.4: ∂y_k/∂a_j = y_k (I_kj − y_j)"
)
CROSS = "Bishop, Pattern Recognition and Machine Learning, eq. 4.109: Σ_n (y_nj − t_nj) φ_n"
ONE_HOT = "; diag(Y 𝟏) is I where the rows of Y sum to 1"


@entry("softmax", x="N")(BISHOP, jacobian=True)
def softmax_of_vector(x):
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


@entry("softmax", Z="N C")(BISHOP)
def softmax_of_rows(Z):
    return special.softmax(Z, axis=1)


@entry("softmax", Z="N C")("Murphy, Probabilistic Machine Learning: An Introduction, sec. 2.5.4")
def log_softmax(Z):
    top = np.max(Z, axis=1, keepdims=True)
    return Z - top - np.log(np.sum(np.exp(Z - top), axis=1, keepdims=True))


@entry("softmax", x="N")(
    "Boyd, Vandenberghe, Convex Optimization, sec. 3.1.5: Hessian diag(p) − p pᵀ", hessian=True
)
def logsumexp(x):
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


@entry("softmax", w="C D", x="D", t="C")(
    "Bishop, Pattern Recognition and Machine Learning, eq. 4.109-4.110: y_k (I_kj − y_j) φ φᵀ",
    wrt=("w",), hessian=True, domains={"t": probabilities},
)  # fmt: skip
def softmax_regression_of_one(w, x, t):
    z = w @ x
    return special.logsumexp(z) - t @ z


@entry("softmax", Z="N C", Y="N C")(CROSS + ONE_HOT, wrt=("Z",), domains={"Y": one_hot})
def cross_entropy(Z, Y):
    P = special.softmax(Z, axis=1)
    return -np.mean(np.sum(Y * np.log(P), axis=1))


@entry("softmax", X="N D", W="D C", b="C", Y="N C")(
    CROSS, wrt=("X", "W", "b"), domains={"Y": one_hot}
)
def softmax_regression(X, W, b, Y):
    Z = X @ W + b
    return np.sum(special.logsumexp(Z, axis=1) - np.sum(Y * Z, axis=1))


@entry("softmax", Z="N C", labels="N")(CROSS, wrt=("Z",), domains={"labels": choice(6)})
def cross_entropy_of_labels(Z, labels):
    lp = special.log_softmax(Z, axis=1)
    return -np.mean(lp[np.arange(Z.shape[0]), labels])


@entry("softmax", Z="N C", Y="N C")(
    "Szegedy et al., Rethinking the Inception Architecture, sec. 7: q′ = (1 − ε) δ + ε/K; "
    "diag(q 𝟏) is I where the rows of Y sum to 1",
    wrt=("Z",), domains={"Y": one_hot},
)  # fmt: skip
def label_smoothing(Z, Y, eps=0.1):
    q = (1 - eps) * Y + eps / Y.shape[1]
    return -np.mean(np.sum(q * special.log_softmax(Z, axis=1), axis=1))


@entry("softmax", X="N D", Y="N D", tau="")(
    "van den Oord et al., Representation Learning with Contrastive Predictive Coding (InfoNCE): "
    "(softmax(S) − I)/N", domains={"tau": positive},
)  # fmt: skip
def contrastive_loss(X, Y, tau):
    S = X @ Y.T / tau
    return -np.mean(np.diag(special.log_softmax(S, axis=1)))
