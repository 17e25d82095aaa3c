"""Derivatives of tensor functions written in plain NumPy: numbers, objects, formulas, code."""

from .check import check
from .derive import Derivation, derive, vectorize
from .drawing import Graph, graph
from .errors import DerivativeError, EscapedTracerError, TooLargeError, TraceError
from .jacobian import Jacobian
from .lower.debugging import debug_nans
from .transforms.batching import vmap
from .transforms.caches import clear_caches
from .transforms.compiling import compile
from .transforms.customs import custom, stop_gradient
from .transforms.first import grad, hvp, jvp, linearize, value_and_grad, vjp
from .transforms.jacobians import hessian, jacobian, value_and_jacobian
from .transforms.loops import checkpoint, cond, scan, while_loop
from .transforms.planning import Plan, plan

__version__ = "0.1.0"

__all__ = [
    "Derivation",
    "DerivativeError",
    "EscapedTracerError",
    "Graph",
    "Jacobian",
    "Plan",
    "TooLargeError",
    "TraceError",
    "check",
    "checkpoint",
    "clear_caches",
    "compile",
    "cond",
    "custom",
    "debug_nans",
    "derive",
    "grad",
    "graph",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "linearize",
    "plan",
    "scan",
    "stop_gradient",
    "value_and_grad",
    "value_and_jacobian",
    "vectorize",
    "vjp",
    "vmap",
    "while_loop",
]
