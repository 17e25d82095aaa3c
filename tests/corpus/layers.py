"""Linear layers, alone and with a nonlinearity; batches by rows and by columns."""

from __future__ import annotations

import numpy as np

from chainrule.scipy import special

from ._entry import entry

BACKPROP = (
    "Bishop, Pattern Recognition and Machine Learning, eq. 5.51 and 5.56: δ_j = ∂E/∂a_j, "
    "δ_j = h′(a_j) Σ_k w_kj δ_k"
)
MATRIX = (
    "Goodfellow, Bengio, Courville, Deep Learning, algorithm 6.4: ∇_W J = g hᵀ, then Wᵀ g; "
    "∂L/∂b = g"
)


@entry("layers", x="N D", w="D M")(MATRIX, jacobian=True)
def linear_layer(x, w):
    return x @ w


@entry("layers", W="T N", x="N", b="T")(MATRIX, jacobian=True)
def column_layer(W, x, b):
    return W @ x + b


@entry("layers", X="N D", W="D M", b="M")(MATRIX)
def row_batch(X, W, b):
    return X @ W + b


@entry("layers", W="T N", X="N B", b="T")(MATRIX, jacobian=True)
def column_batch(W, X, b):
    return W @ X + b[:, None]


@entry("layers", X="N D", W="D M", b="M")(BACKPROP)
def tanh_layer(X, W, b):
    return np.tanh(X @ W + b)


@entry("layers", X="N D", W="D M", b="M")(BACKPROP)
def relu_layer(X, W, b):
    return np.maximum(X @ W + b, 0)


@entry("layers", X="N D", W="D M", b="M")(BACKPROP)
def sigmoid_layer(X, W, b):
    z = X @ W + b
    return 1 / (1 + np.exp(-z))


@entry("layers", X="N D", W="D M", b="M")(
    "Hendrycks, Gimpel, Gaussian Error Linear Units, sec. 2: x Φ(x), so Φ(x) + x φ(x)"
)
def gelu_layer(X, W, b):
    z = X @ W + b
    return 0.5 * z * (1 + special.erf(z / np.sqrt(2)))
