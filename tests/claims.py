"""What is claimed of one Jacobian or Hessian: its structure, the bytes stored, the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule as cr

SIZE = 8  # bytes of an element


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape) + 7 * len(shape)).normal(size=shape)


@dataclass(frozen=True)
class Claim:
    """``f(m, *args)`` by argument ``by``, m being NumPy.

    The oracle is ``f`` over ``jax.numpy``, or ``jax`` (a function of the module JAX) if given.
    """

    f: Callable[..., Any]
    args: tuple[Any, ...]
    structure: str
    stored: int
    by: int = 0
    hess: bool = False
    jax: Callable[..., Any] | None = None

    def here(self) -> cr.Jacobian:
        make = cr.hessian if self.hess else cr.jacobian
        return make(lambda *a: self.f(np, *a), argnums=self.by)(*self.args)

    def oracle(self) -> Any:
        jax = pytest.importorskip("jax")
        make = jax.hessian if self.hess else jax.jacobian
        f, module = (self.f, jax.numpy) if self.jax is None else (self.jax, jax)
        return np.asarray(jax.jit(make(lambda *a: f(module, *a), argnums=self.by))(*self.args))
