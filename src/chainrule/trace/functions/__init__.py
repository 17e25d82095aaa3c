"""The table NumPy function → expression, one module a subject; importing it fills the table."""

from . import (
    contraction,
    creation,
    diagonals,
    elementwise,
    extrema,
    indexing,
    joining,
    linalg,
    methods,
    reduction,
    repeating,
    shape,
    special,
)

__all__ = [
    "contraction",
    "creation",
    "diagonals",
    "elementwise",
    "extrema",
    "indexing",
    "joining",
    "linalg",
    "methods",
    "reduction",
    "repeating",
    "shape",
    "special",
]
