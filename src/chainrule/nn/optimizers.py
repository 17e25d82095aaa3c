"""Optimizers over trees of parameters: immutable settings, and a state that is passed along.

    optimizer = Adam(rate=1e-3)
    state = optimizer.start(params)
    params, state = optimizer.step(params, gradient, state)

Updates never write into the arrays they are given, and keep each leaf's dtype.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from chainrule.nn.tree import Array, Tree, tree_map, zeros_like

State = TypeVar("State")


class Optimizer(Protocol[State]):
    """What training asks of an optimizer."""

    def start(self, params: Tree) -> State:
        """The state before the first step."""
        ...

    def step(self, params: Tree, gradient: Tree, state: State) -> tuple[Tree, State]:
        """The parameters and the state after one step; `gradient` has the tree of `params`."""
        ...


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")


@dataclass(frozen=True)
class GradientDescent:
    """θ ← θ - rate · g."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        _positive("rate", self.rate)

    def start(self, params: Tree) -> None:
        """Plain descent has no state."""
        return None

    def step(self, params: Tree, gradient: Tree, state: None) -> tuple[Tree, None]:
        """One step against the gradient."""
        return tree_map(self._descend, params, gradient), None

    def _descend(self, theta: Array, g: Array) -> Array:
        return np.asarray(theta - self.rate * g, theta.dtype)


@dataclass(frozen=True)
class AdamState:
    """Steps taken, and the running means of the gradient and of its square, leaf by leaf."""

    steps: int
    mean: Tree
    square: Tree


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015): each element moves by its running mean over its running size.

    m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,
    θ ← θ - rate · m̂ / (√v̂ + eps),  m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ).
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _positive("rate", self.rate)
        _positive("eps", self.eps)
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{name} must be in [0, 1), got {beta}")

    def start(self, params: Tree) -> AdamState:
        """No steps, no history."""
        return AdamState(0, zeros_like(params), zeros_like(params))

    def step(self, params: Tree, gradient: Tree, state: AdamState) -> tuple[Tree, AdamState]:
        """One step with bias-corrected running means."""
        steps = state.steps + 1
        mean = tree_map(lambda m, g: self.beta1 * m + (1 - self.beta1) * g, state.mean, gradient)
        square = tree_map(
            lambda v, g: self.beta2 * v + (1 - self.beta2) * g * g, state.square, gradient
        )
        scale1 = 1 / (1 - self.beta1**steps)
        scale2 = 1 / (1 - self.beta2**steps)

        def move(theta: Array, m: Array, v: Array) -> Array:
            change = self.rate * (scale1 * m) / (np.sqrt(scale2 * v) + self.eps)
            return np.asarray(theta - change, theta.dtype)

        return tree_map(move, params, mean, square), AdamState(steps, mean, square)
