"""Backends that are other array libraries: found when asked for, their arrays recognized."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..expr.nodes import Node
from .functional import FunctionalProgram
from .plan import make_plan
from .run import Cache

__all__ = ["LIBRARIES", "as_numpy", "clear", "dtype_of", "is_foreign", "library_program", "missing"]

#: backend -> (module of the library, module of the backend, its program)
LIBRARIES = {
    "jax": ("jax", ".jax_backend", "JaxProgram"),
    "torch": ("torch", ".torch_backend", "TorchProgram"),
}

_programs: Cache[tuple[str, tuple[Node, ...]], FunctionalProgram] = Cache(256)


def missing(backend: str) -> str | None:
    """None where the library is installed, else how to install it."""
    library = LIBRARIES[backend][0]
    if importlib.util.find_spec(library) is not None:
        return None
    return f"{library} is not installed (pip install 'chainrule[{backend}]')"


def clear() -> None:
    """Forget all programs."""
    _programs.clear()


def library_program(backend: str, nodes: Sequence[Node]) -> FunctionalProgram:
    """The program of a backend that computes nodes."""
    key = (backend, tuple(nodes))
    program = _programs.get(key)
    if program is None:
        _, module, name = LIBRARIES[backend]
        made = getattr(importlib.import_module(module, __package__), name)
        program = made(make_plan(nodes))
        _programs.put(key, program)
    return program


def is_foreign(value: Any) -> bool:
    """Whether a value is an array of one of the libraries (which are not imported for that)."""
    jax, torch = sys.modules.get("jax"), sys.modules.get("torch")
    return (jax is not None and isinstance(value, jax.Array)) or (
        torch is not None and isinstance(value, torch.Tensor)
    )


def dtype_of(value: Any) -> np.dtype[Any]:
    """NumPy's dtype of an array of one of the libraries."""
    name = str(value.dtype).removeprefix("torch.")
    known = np.dtype(name) if name in np.sctypeDict else None
    if known is None or known.kind not in "biufc":
        raise TypeError(f"an array of dtype {name} has no counterpart in NumPy: convert it first")
    return known


def as_numpy(value: Any) -> Any:
    """An array of one of the libraries as NumPy's; other values, and JAX's tracers, as they are."""
    if not is_foreign(value):
        return value
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    jax = sys.modules["jax"]
    return value if isinstance(value, jax.core.Tracer) else np.asarray(value)
