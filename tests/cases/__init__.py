"""The table of primitives: importing this package fills it."""

from . import contraction, elementwise, indexing, linalg, methods, reduction, shape, special
from ._case import CASES, LIBRARIES, Case

__all__ = [
    "CASES",
    "LIBRARIES",
    "Case",
    "contraction",
    "elementwise",
    "indexing",
    "linalg",
    "methods",
    "reduction",
    "shape",
    "special",
]
