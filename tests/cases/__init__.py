"""The table of primitives: importing this package fills it."""

from . import (
    contraction,
    elementwise,
    factorizations,
    indexing,
    linalg,
    methods,
    orders,
    reduction,
    shape,
    special,
)
from ._case import CASES, LIBRARIES, Case

__all__ = [
    "CASES",
    "LIBRARIES",
    "Case",
    "contraction",
    "elementwise",
    "factorizations",
    "indexing",
    "linalg",
    "methods",
    "orders",
    "reduction",
    "shape",
    "special",
]
