"""Networks: fully connected, recurrent, convolutional; embeddings and attention."""

from __future__ import annotations

import numpy as np

from chainrule.scipy import special

from ._entry import choice, cut, entry
from .layers import BACKPROP

DUMOULIN = (
    "Dumoulin, Visin, A guide to convolution arithmetic for deep learning, ch. 4 (transposed "
    "convolution): by x a full convolution"
)
VASWANI = (
    "Vaswani et al., Attention Is All You Need, eq. 1; its backward pass: Dao et al., "
    "FlashAttention, app. B.2: dV = Pᵀ dO, dP = dO Vᵀ, dS = P ⊙ (dP − rowsum(P ⊙ dP))"
)


# -- fully connected --------------------------------------------------------------------------
@entry("networks", x="N", W1="H N", W2="K H")(BACKPROP, jacobian=True)
def two_layers(x, W1, W2):
    h1 = np.tanh(W1 @ x)
    h2 = np.tanh(W2 @ h1)
    return h2


@entry("networks", x="A", W1="B A", W2="C B", W3="D C")(BACKPROP, jacobian=True)
def vector_network(x, W1, W2, W3):
    h = x
    for W in (W1, W2, W3):
        h = np.tanh(W @ h)
    return h


@entry("networks", X="N D", y="N C", W1="D H", b1="H", W2="H C", b2="C")(BACKPROP)
def squared_error_of_a_network(X, y, W1, b1, W2, b2):
    h = np.maximum(X @ W1 + b1, 0)
    r = h @ W2 + b2 - y
    return np.mean(np.sum(r**2, axis=1))


# -- recurrent --------------------------------------------------------------------------------
@entry("networks", x="N D", h="N H", W="D H", U="H H", b="H")(
    "Goodfellow, Bengio, Courville, Deep Learning, sec. 10.2.2: diag(1 − h²) on the way back",
    sizes={"H": 6},
)
def recurrent_cell(x, h, W, U, b):
    return np.tanh(x @ W + h @ U + b)


LSTM = (
    "Greff et al., LSTM: A Search Space Odyssey, sec. II (backpropagation through time), "
    "without peepholes"
)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@entry(
    "networks",
    x="D", h="H", c="H",
    W_i="H D", W_f="H D", W_o="H D", W_g="H D",
    U_i="H H", U_f="H H", U_o="H H", U_g="H H",
    b_i="H", b_f="H", b_o="H", b_g="H",
)(LSTM, sizes={"H": 4})  # fmt: skip
def lstm_cell(x, h, c, W_i, W_f, W_o, W_g, U_i, U_f, U_o, U_g, b_i, b_f, b_o, b_g):
    i = sigmoid(W_i @ x + U_i @ h + b_i)
    f = sigmoid(W_f @ x + U_f @ h + b_f)
    o = sigmoid(W_o @ x + U_o @ h + b_o)
    g = np.tanh(W_g @ x + U_g @ h + b_g)
    s = f * c + i * g
    return o * np.tanh(s)


# -- convolutional ----------------------------------------------------------------------------
@entry("networks", x="N", w="K")(DUMOULIN, sizes={"N": 9, "K": 3})
def convolution(x, w):
    return np.convolve(x, w, mode="valid")


@entry("networks", x="N", w="K")(DUMOULIN, sizes={"N": 9, "K": 3})
def correlation(x, w):
    return np.correlate(x, w, mode="valid")


def channels_1d(x, w, b):
    i = np.arange(x.shape[2] - w.shape[2] + 1)[:, None] + np.arange(w.shape[2])
    return np.einsum("bcnk,ock->bon", x[:, :, i], w) + b[:, None]


@entry("networks", x="B I N", w="O I K", b="O")(DUMOULIN, sizes={"N": 9, "K": 3}, jax=channels_1d)
def convolution_1d(x, w, b):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2], axis=2)
    return np.einsum("bcnk,ock->bon", windows, w) + b[:, None]


def channels_2d(x, w, b):
    i = np.arange(x.shape[2] - w.shape[2] + 1)[:, None] + np.arange(w.shape[2])
    j = np.arange(x.shape[3] - w.shape[3] + 1)[:, None] + np.arange(w.shape[3])
    windows = x[:, :, i[:, None, :, None], j[None, :, None, :]]
    return np.einsum("bihwkl,oikl->bohw", windows, w) + b[:, None, None]


@entry("networks", x="B I H W", w="O I K L", b="O")(
    DUMOULIN, sizes={"H": 6, "W": 7, "K": 3, "L": 2}, jax=channels_2d
)
def convolution_2d(x, w, b):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("bihwkl,oikl->bohw", windows, w) + b[:, None, None]


# -- embeddings -------------------------------------------------------------------------------
@entry("networks", E="V D", tokens="T")(
    "PyTorch documentation, torch.nn.Embedding: rows of G are added where they were read",
    wrt=("E",), domains={"tokens": choice(6)},
)  # fmt: skip
def embedding(E, tokens):
    return E[tokens]


# -- attention --------------------------------------------------------------------------------
def rows(S):
    e = np.exp(S - np.max(S, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


@entry("networks", Q="T D", K="N D", V="N E")(VASWANI)
def attention(Q, K, V):
    S = Q @ K.T / np.sqrt(Q.shape[-1])
    P = rows(S)
    return P @ V


@entry("networks", Q="T D", K="N D", V="N E", M="T N")(
    VASWANI, wrt=("Q", "K", "V"), domains={"M": cut}
)
def masked_attention(Q, K, V, M):
    S = Q @ K.T / np.sqrt(Q.shape[-1]) + M
    P = special.softmax(S, axis=1)
    return P @ V


@entry("networks", Q="H T D", K="H N D", V="H N E", M="T N")(
    VASWANI, wrt=("Q", "K", "V"), domains={"M": cut}
)
def attention_with_heads(Q, K, V, M):
    S = Q @ np.swapaxes(K, 1, 2) / np.sqrt(Q.shape[-1]) + M
    P = special.softmax(S, axis=-1)
    return P @ V


@entry("networks", x="T D", Wq="H D K", Wk="H D K", Wv="H D K", Wo="H K D")(VASWANI, sizes={"K": 4})
def multi_head_attention(x, Wq, Wk, Wv, Wo):
    Q = x @ Wq
    K = x @ Wk
    V = x @ Wv
    P = special.softmax(Q @ np.swapaxes(K, 1, 2) / np.sqrt(Wq.shape[-1]), axis=-1)
    return np.sum(P @ V @ Wo, axis=0)
