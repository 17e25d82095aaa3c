"""The table NumPy function → expression, one module a subject; importing it fills the table."""

from ..array import install_methods
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

install_methods()

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
