"""What all factorizations share: scaling, probing, the error for singular systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg

__all__ = [
    "Array",
    "Solver",
    "assess",
    "assess_by",
    "lapack",
    "no_zero",
    "power",
    "probing",
    "scaled_apply",
    "singular",
]

Array: TypeAlias = Any


@dataclass
class Solver:
    """How, and the solution for [rows, columns] right-hand sides."""

    method: str
    apply: Callable[[Array], Array]


def singular(reason: str) -> np.linalg.LinAlgError:
    """The error for a system without a unique solution."""
    return np.linalg.LinAlgError(
        f"the Jacobian is singular: {reason}. For a least-squares solution use "
        "scipy.sparse.linalg.lsmr with J.to_linear_operator(), or np.linalg.lstsq with "
        "J.to_matrix(); to damp it add c * Jacobian.identity(shape)"
    )


def power(size: Array) -> Array:
    """Powers of two near 1/size: scaling by them does not round."""
    _, exponent = np.frexp(size)
    return np.ldexp(np.ones_like(size), -exponent)


@lru_cache(maxsize=16)
def probing(n: int, dtype: np.dtype[Any]) -> Array:
    """A right-hand side with a part along every direction, as good as surely."""
    steps = np.arange(n)
    sizes = 0.5 + np.mod(0.3 * steps * 1.6180339887, 0.5)  # irregular, without a generator's state
    sizes[1::3] *= -1
    sizes = sizes.astype(dtype, copy=False)
    sizes.flags.writeable = False
    return sizes


def assess(size: Array, probe: Array, x: Array) -> None:
    """LinAlgError where ``x`` grew over the probe so far that no digit is left."""
    eps = np.finfo(x.dtype).eps
    with np.errstate(all="ignore"):
        growth = size * np.max(np.abs(x), axis=-1) / np.max(np.abs(probe), axis=-1)
    growth = np.max(np.nan_to_num(growth, nan=np.inf), initial=0.0)
    if growth * eps > 0.1:
        raise singular(
            "its condition number is infinite"
            if not np.isfinite(growth)
            else f"its condition number, about {growth:.1g}, leaves no digit in {x.dtype}"
        )


def no_zero(size: Array, name: str) -> None:
    zero = np.argwhere(size == 0)
    if len(zero):
        index = zero[0].tolist()
        place = f"{name} {index[-1]}" + (f" of block {index[0]}" if len(index) > 1 else "")
        raise singular(f"{place} of its matrix is zero")
    if not np.all(np.isfinite(size)):
        raise singular(f"a {name} of its matrix holds NaN or infinity")


def lapack(names: tuple[str, str], matrix: Array) -> tuple[Any, Any]:
    """A routine that factorizes and one that solves, of the matrix' type."""
    found: Any = scipy.linalg.get_lapack_funcs(names, (matrix,))
    return found[0], found[1]


def assess_by(solve: Callable[[Array], Array], size: Any, n: int, dtype: np.dtype[Any]) -> None:
    probe = probing(n, dtype)
    assess(size, probe, solve(probe[:, None])[:, 0])


def scaled_apply(
    solve: Callable[[Array], Array], r: Array, c: Array, dtype: np.dtype[Any]
) -> Callable[[Array], Array]:
    """Solutions of the unscaled system; complex right-hand sides of a real one in two parts."""

    def apply(b: Array) -> Array:
        b = b * r[:, None]
        if b.dtype.kind == "c" and dtype.kind != "c":
            x = solve(b.real.copy()) + 1j * solve(b.imag.copy())
        else:
            kind = np.result_type(b.dtype, dtype)
            x = solve(np.asarray(b, dtype)).astype(kind, copy=False)
        return x * c[:, None]

    return apply
