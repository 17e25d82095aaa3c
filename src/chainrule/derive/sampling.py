"""Random values of arguments, at which formulas are compared with numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .signature import Signature

__all__ = ["drawn", "is_square", "samples", "symmetrized", "whole_samples"]

_LARGE = 200  # rows of a matrix that is made near to the identity instead of positive definite


def samples(shape: tuple[int, ...], rng: np.random.Generator, attempt: int) -> Any:
    """Random values: normal, then positive; square matrices positive definite from the start."""
    value = rng.normal(size=shape) if attempt == 0 else rng.uniform(0.2, 0.8, size=shape)
    if len(shape) >= 2 and shape[-1] == shape[-2] > _LARGE:
        return np.eye(shape[-1]) + value / (8 * shape[-1] ** 0.5)
    if len(shape) >= 2 and shape[-1] == shape[-2]:
        value = value @ np.swapaxes(value, -1, -2) / shape[-1] + np.eye(shape[-1])
        value += 0.05 * rng.normal(size=shape) if attempt == 0 else 0.0
    return value


def drawn(
    signature: Signature, sizes: Mapping[str, int], rng: np.random.Generator, attempt: int
) -> list[Any]:
    """Random values of all leaves at sizes of the names."""
    values = []
    for k, dims in enumerate(signature.dims):
        shape = signature.sizes(dims, sizes)
        if k in signature.integers:
            values.append(whole_samples(shape, rng, signature.integers[k]))
        else:
            value = samples(shape, rng, attempt)
            values.append(symmetrized(value) if k in signature.symmetric else value)
    return values


def whole_samples(shape: tuple[int, ...], rng: np.random.Generator, given: Any) -> Any:
    """The array that was given, else random zeros and ones: indices that every axis has."""
    return rng.integers(0, 2, size=shape) if given is None else np.asarray(given)


def is_square(value: Any) -> bool:
    """Whether an array is a square matrix, or a batch of such."""
    shape: tuple[int, ...] = getattr(value, "shape", ())
    return len(shape) >= 2 and shape[-1] == shape[-2]


def symmetrized(value: Any) -> Any:
    """``(A + Aᵀ)/2`` of square matrices; other arrays as they are."""
    return (value + np.swapaxes(value, -1, -2)) / 2 if is_square(value) else value
