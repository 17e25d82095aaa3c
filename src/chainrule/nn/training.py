"""The training loop: a generator, so that the caller decides what to show and when to stop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from chainrule.nn.batches import batches
from chainrule.nn.optimizers import Optimizer
from chainrule.nn.tree import Array, Tree

#: (params, x, y) to the loss and its gradient, a tree like `params`.
ValueAndGrad: TypeAlias = Callable[[Tree, Array, Array], tuple[Any, Tree]]


@dataclass(frozen=True)
class Epoch:
    """One pass over the data: its number from 1, the parameters after it, the mean loss in it."""

    number: int
    params: Tree
    mean_loss: float


def fit(
    value_and_grad: ValueAndGrad,
    params: Tree,
    x: Array,
    y: Array,
    *,
    optimizer: Optimizer[Any],
    epochs: int,
    batch: int,
    rng: np.random.Generator,
) -> Iterator[Epoch]:
    """Train on the rows of x (N, …) and y (N, …), and yield after every epoch.

    The mean loss is over the batches as they came, weighted by their rows, so its parameters still
    moved meanwhile. A loss that is not finite stops the training with a FloatingPointError.
    """
    state = optimizer.start(params)
    for number in range(1, epochs + 1):
        total = 0.0
        for x_batch, y_batch in batches(x, y, size=batch, rng=rng):
            value, gradient = value_and_grad(params, x_batch, y_batch)
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"the loss is {float(value)} in epoch {number}; "
                    "a smaller learning rate usually helps"
                )
            total += float(value) * len(x_batch)
            params, state = optimizer.step(params, gradient, state)
        yield Epoch(number, params, total / len(x))
