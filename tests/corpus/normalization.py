"""Normalization of rows (layers) and of columns (batches)."""

from __future__ import annotations

import numpy as np

from ._entry import entry

LAYER = (
    "Ba, Kiros, Hinton, Layer Normalization, sec. 3; backward, as for batches in Ioffe, Szegedy: "
    "(Δ − mean(Δ) − x̂ ⊙ mean(Δ ⊙ x̂))/σ with Δ = G ⊙ g"
)
BATCH = (
    "Ioffe, Szegedy, Batch Normalization, sec. 3 (the chain rule for ∂ℓ/∂x̂, ∂ℓ/∂x, ∂ℓ/∂γ, ∂ℓ/∂β)"
)


@entry("normalization", x="D")(LAYER)
def standardize(x):
    r = x - np.mean(x)
    s = np.sqrt(np.mean(r**2))
    return r / s


@entry("normalization", x="N D", g="D", b="D")(LAYER)
def layer_norm(x, g, b, eps=1e-5):
    mu = x.mean(axis=1, keepdims=True)
    r = x - mu
    s = np.sqrt((r * r).mean(axis=1, keepdims=True) + eps)
    x_hat = r / s
    return x_hat * g + b


@entry("normalization", x="N D", g="D", b="D")(LAYER)
def layer_norm_of_variance(x, g, b, eps=1e-5):
    m = np.mean(x, axis=-1, keepdims=True)
    v = np.var(x, axis=-1, keepdims=True)
    return (x - m) / np.sqrt(v + eps) * g + b


@entry("normalization", x="N D", g="D", b="D")(BATCH)
def batch_norm(x, g, b, eps=1e-5):
    mu = x.mean(axis=0)
    var = x.var(axis=0)
    x_hat = (x - mu) / np.sqrt(var + eps)
    return g * x_hat + b


@entry("normalization", x="N D", g="D")(
    "Zhang, Sennrich, Root Mean Square Layer Normalization, sec. 3: x/RMS(x) ⊙ g"
)
def rms_norm(x, g, eps=1e-5):
    s = np.sqrt(np.mean(x**2, axis=1, keepdims=True) + eps)
    return x / s * g
