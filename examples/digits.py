"""A fully connected classifier 64-64-10 for handwritten digits, in plain NumPy.

Nothing here knows of derivatives. `chainrule train digits` takes `loss` as it stands, derives its
backward pass, checks it, and trains the network with it:

    python examples/digits.py            # the same as `chainrule train digits`

Letters: N images in a batch, D = 64 pixels, H = 64 hidden units, C = 10 classes.
"""

import numpy as np

#: Units in each layer: pixels, hidden, classes.
SIZES = (64, 64, 10)

#: The same by letter, for a derivation that holds for every size.
SHAPES = {
    "params": {"w1": "D H", "b1": "H", "w2": "H C", "b2": "C"},
    "x": "N D",
    "y": "N C",
}


def logits(params, x):
    """Scores before the softmax: x (N, D) to (N, C)."""
    h = np.tanh(x @ params["w1"] + params["b1"])
    return h @ params["w2"] + params["b2"]


def loss(params, x, y):
    """Softmax cross-entropy, the mean over the batch: a scalar.

    x (N, D) holds an image in each row and y (N, C) its label, one-hot. For one row the
    cross-entropy is log(sum(exp(z))) - y @ z; the largest score leaves the exponential, which then
    cannot overflow, and returns after the logarithm.
    """
    z = logits(params, x)
    top = np.max(z, axis=1, keepdims=True)
    log_norm = top[:, 0] + np.log(np.sum(np.exp(z - top), axis=1))
    return np.mean(log_norm - np.sum(y * z, axis=1))


if __name__ == "__main__":
    from chainrule.cli import main

    raise SystemExit(main(["train", "digits"]))
