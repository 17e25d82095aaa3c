"""What an entry of the corpus is, and values for its arguments."""

from __future__ import annotations

import types
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import chainrule as cr

__all__ = [
    "CORPUS",
    "Entry",
    "Sampler",
    "choice",
    "cut",
    "definite",
    "entry",
    "invertible",
    "one_hot",
    "positive",
    "probabilities",
    "rebound",
    "signs",
    "unit",
]

Sampler = Callable[[np.random.Generator, "tuple[int, ...]"], Any]

#: Sizes of the named extents, where an entry does not give its own; all different.
SIZES = {
    "N": 4, "D": 3, "M": 5, "K": 2, "C": 6, "B": 2, "T": 5, "S": 3, "E": 7, "H": 2, "V": 6,
    "P": 7, "O": 3, "I": 2, "F": 2, "A": 4,
}  # fmt: skip


# -- domains of arguments ---------------------------------------------------------------------
def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Standard normal values: the domain of arguments that have none of their own."""
    return rng.normal(size=shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Values in [0.5, 1.5]."""
    return rng.uniform(0.5, 1.5, size=shape)


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Labels 0 or 1."""
    return rng.integers(0, 2, size=shape).astype(float)


def signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Labels −1 or 1."""
    return 2.0 * unit(rng, shape) - 1.0


def cut(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """A mask that is added: 0, or −10⁹ for what is cut off; never a whole row."""
    mask = np.where(rng.random(shape) < 0.3, -1e9, 0.0)
    mask[..., 0] = 0.0
    return mask


def choice(below: int) -> Sampler:
    """Integers from 0 to ``below`` − 1."""
    return lambda rng, shape: rng.integers(0, below, size=shape)


def one_hot(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Labels as rows with a single 1."""
    return np.eye(shape[-1])[rng.integers(0, shape[-1], size=shape[:-1])]


def probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Positive, with sum 1 along the last axis."""
    p = rng.uniform(0.1, 1.0, size=shape)
    return p / p.sum(axis=-1, keepdims=True)


def definite(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Symmetric positive definite matrices."""
    a = rng.normal(size=shape)
    return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])


def invertible(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Square matrices away from singular ones."""
    return rng.normal(size=shape) + 3.0 * np.eye(shape[-1])


# -- entries ----------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Entry:
    """A function of plain NumPy whose derivatives every textbook has.

    ``shapes`` by parameter as :func:`chainrule.derive` takes them; ``wrt`` the parameters to
    differentiate by (all by default); ``domains`` samplers of arguments for which normal values
    will not do; ``source`` where the closed form stands in print; ``hessian`` and ``jacobian``
    whether those are part of the reviewed form; ``symmetric`` the parameters that are symmetric
    matrices; ``jax`` the same function for JAX where NumPy's
    names are not enough.
    """

    name: str
    subject: str
    function: Callable[..., Any]
    shapes: Mapping[str, Any]
    source: str
    wrt: tuple[str, ...] | None = None
    domains: Mapping[str, Sampler] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    hessian: bool = False
    jacobian: bool = False
    symmetric: tuple[str, ...] = ()
    jax: Callable[..., Any] | None = None

    def derive(self, **options: Any) -> cr.Derivation:
        """The closed forms."""
        return cr.derive(
            self.function, wrt=self.wrt, shapes=self.shapes, symmetric=self.symmetric, **options
        )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The parameters to differentiate by."""
        return self.wrt if self.wrt is not None else tuple(self.shapes)

    @property
    def extents(self) -> dict[str, int]:
        """Sizes of all names."""
        return {**SIZES, **self.sizes}

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an argument at the entry's sizes."""
        given = self.shapes[name]
        names = str(given).split() if isinstance(given, str) else given
        if isinstance(names, np.ndarray):
            return names.shape
        return tuple(int(n) if str(n).isdigit() else self.extents[str(n)] for n in names)

    def arguments(self, seed: int = 0) -> dict[str, Any]:
        """Values of all arguments, by name: the same for the same seed."""
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed])
        return {n: self.domains.get(n, normal)(rng, self.shape(n)) for n in self.shapes}


CORPUS: list[Entry] = []


def entry(subject: str, **shapes: Any) -> Callable[..., Callable[..., Any]]:
    """Registers a function as an entry; its name is the entry's."""

    def options(source: str, **more: Any) -> Callable[..., Any]:
        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            name = function.__name__
            assert all(name != other.name for other in CORPUS), name
            CORPUS.append(Entry(name, subject, function, shapes, source, **more))
            return function

        return register

    return options


def rebound(function: Callable[..., Any], **modules: Any) -> Callable[..., Any]:
    """A function with other modules under the names it uses: ``np=jax.numpy``."""
    known: dict[int, Any] = {}

    def again(f: Any) -> Any:
        if not isinstance(f, types.FunctionType) or f.__module__ != function.__module__:
            return f
        if id(f) not in known:
            spare: dict[str, Any] = {}
            known[id(f)] = types.FunctionType(
                f.__code__, spare, f.__name__, f.__defaults__, f.__closure__
            )
            spare.update({k: again(v) for k, v in f.__globals__.items()} | modules)
        return known[id(f)]

    return again(function)
