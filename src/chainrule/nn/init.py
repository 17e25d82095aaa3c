"""Initial parameters."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from chainrule.nn.tree import Array


def dense(
    sizes: Sequence[int], rng: np.random.Generator, dtype: DTypeLike = np.float64
) -> dict[str, Array]:
    """Weights and biases of a fully connected network with the given layer sizes.

    Layer i maps sizes[i - 1] units to sizes[i]: `w{i}` (sizes[i-1], sizes[i]) is uniform within
    sqrt(6 / (inputs + outputs)) (Glorot), which keeps the scale of signals and gradients through
    tanh layers; `b{i}` (sizes[i],) is zero. For use as `x @ w1 + b1`.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"a network needs two or more positive layer sizes, got {tuple(sizes)}")
    params: dict[str, Array] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        bound = np.sqrt(6.0 / (inputs + outputs))
        params[f"w{layer}"] = rng.uniform(-bound, bound, (inputs, outputs)).astype(dtype)
        params[f"b{layer}"] = np.zeros(outputs, dtype)
    return params
