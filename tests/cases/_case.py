"""One primitive, on one kind of argument: what the table of primitives is made of.

A case is a function written once against a namespace, ``lambda np, x: np.exp(x)``. NumPy is passed
in to get the value and to be traced; ``jax.numpy`` is passed in to get the oracle.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Maker = Callable[[np.random.Generator], Any]

# The module a case is written against, for each name of `Case.lib`: what gives the reference
# value, what is differentiated, what the oracle uses.
LIBRARIES = {
    "numpy": ("numpy", "numpy", "jax.numpy"),
    "cnp": ("numpy", "chainrule.numpy", "jax.numpy"),
    "ufuncs": ("scipy.special", "scipy.special", "jax.scipy.special"),
    "special": ("scipy.special", "chainrule.scipy.special", "jax.scipy.special"),
    "linalg": ("scipy.linalg", "chainrule.scipy.linalg", "jax.scipy.linalg"),
}


@dataclass(frozen=True, eq=False)
class Case:
    """A function, its arguments and what is known about it.

    ``jax`` replaces ``fn`` for the oracle where the same source does not run there (writes in
    place). ``hess`` is off where second derivatives are meaningless; ``f32`` is the relative
    tolerance in float32, None where the case is about float64; ``complex`` runs it on complex
    arguments too.
    """

    name: str
    fn: Callable[..., Any]
    makers: tuple[Maker, ...]
    lib: str = "numpy"
    jax: Callable[..., Any] | None = None
    hess: bool = True
    complex: bool = False
    f32: float | None = 1e-4
    rtol: float = 1e-8

    def arguments(self) -> tuple[Any, ...]:
        """The same float64 arguments each time, drawn from the function's domain."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return tuple(make(rng) for make in self.makers)

    def rng(self, what: str) -> np.random.Generator:
        """A stream of its own for tangents, weights and the like."""
        return np.random.default_rng(zlib.crc32(f"{self.name}/{what}".encode()))


CASES: list[Case] = []


def case(name: str, fn: Callable[..., Any], *makers: Maker, **flags: Any) -> None:
    """Add a case to the table."""
    CASES.append(Case(name, fn, makers, **flags))


def program(name: str, *makers: Maker, **flags: Any) -> Callable[..., Any]:
    """Add a function of several statements to the table."""

    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        case(name, fn, *makers, **flags)
        return fn

    return add


# Makers of arguments. Each takes a shape; a Python scalar where the shape is the word "py".


def _shaped(value: Any, shape: tuple[Any, ...]) -> Any:
    return float(value) if shape == ("py",) else np.asarray(value)


def _size(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return () if shape == ("py",) else shape


def normal(*shape: Any) -> Maker:
    return lambda rng: _shaped(rng.normal(size=_size(shape)), shape)


def between(lo: float, hi: float) -> Callable[..., Maker]:
    """Uniform in a domain."""

    def maker(*shape: Any) -> Maker:
        return lambda rng: _shaped(rng.uniform(lo, hi, size=_size(shape)), shape)

    return maker


positive = between(0.4, 2.5)


def away(*shape: Any) -> Maker:
    """Both signs, at a distance from zero."""

    def make(rng: np.random.Generator) -> Any:
        size = _size(shape)
        return _shaped(rng.uniform(0.3, 2.0, size) * rng.choice([-1.0, 1.0], size), shape)

    return make


def fraction(*shape: Any) -> Maker:
    """Both signs, at a distance from integers and from half-integers."""

    def make(rng: np.random.Generator) -> Any:
        size = _size(shape)
        part = rng.uniform(0.1, 0.4, size) + 0.5 * rng.integers(0, 2, size)
        return _shaped(rng.integers(-3, 3, size) + part, shape)

    return make


def distinct(*shape: int) -> Maker:
    """No two elements near each other (for max, min and the like)."""

    def make(rng: np.random.Generator) -> Any:
        n = int(np.prod(shape))
        values = np.linspace(-2.0, 2.0, max(n, 1))[:n] + 0.1 / max(n, 1)
        return rng.permutation(values).reshape(shape)

    return make


def with_zero(*shape: int) -> Maker:
    """Like `away`, with one exact zero in each last row (for products)."""

    def make(rng: np.random.Generator) -> Any:
        value = np.array(away(*shape)(rng))
        value[..., 1] = 0.0
        return value

    return make


def invertible(*shape: int) -> Maker:
    """Well-conditioned square matrices."""
    return lambda rng: rng.normal(size=shape) * 0.4 + 2.0 * np.eye(shape[-1])


def spd(*shape: int) -> Maker:
    """Symmetric positive definite matrices, eigenvalues well apart."""

    def make(rng: np.random.Generator) -> Any:
        n = shape[-1]
        q = np.linalg.qr(rng.normal(size=shape))[0]
        return (q * np.linspace(1.0, 1.0 + n, n)) @ np.swapaxes(q, -1, -2)

    return make
