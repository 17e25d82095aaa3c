"""Derivatives of tensor functions written in plain NumPy."""

from .errors import DerivativeError, EscapedTracerError, TooLargeError, TraceError
from .transforms.first import grad, hvp, jvp, linearize, value_and_grad, vjp

__all__ = [
    "DerivativeError",
    "EscapedTracerError",
    "TooLargeError",
    "TraceError",
    "grad",
    "hvp",
    "jvp",
    "linearize",
    "value_and_grad",
    "vjp",
]
