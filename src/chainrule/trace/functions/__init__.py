"""The table NumPy function → expression, one module a subject; importing it fills the table."""

from . import (
    contraction,
    creation,
    elementwise,
    extrema,
    indexing,
    linalg,
    methods,
    reduction,
    shape,
    special,
)

__all__ = [
    "contraction",
    "creation",
    "elementwise",
    "extrema",
    "indexing",
    "linalg",
    "methods",
    "reduction",
    "shape",
    "special",
]
