"""The table NumPy function → expression, one module a subject; importing it fills the table."""

from . import contraction, creation, elementwise, indexing, methods, reduction, shape

__all__ = [
    "contraction",
    "creation",
    "elementwise",
    "indexing",
    "methods",
    "reduction",
    "shape",
]
