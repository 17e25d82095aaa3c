"""SciPy's names where SciPy itself cannot dispatch on traced arrays: ``special`` and ``linalg``."""

from . import linalg, special

__all__ = ["linalg", "special"]
