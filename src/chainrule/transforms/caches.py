"""Forgetting what is kept between calls."""

from __future__ import annotations

from ..expr import paths
from ..jacobian import solve_plan, sparse
from ..lower import libraries, run
from . import orders
from .core import clear_derived

__all__ = ["clear_caches"]


def clear_caches() -> None:
    """Forget derived programs, compiled programs and contraction paths (all are found again)."""
    run.clear()
    libraries.clear()
    sparse.clear()
    solve_plan.clear()
    clear_derived()
    orders.clear()
    paths._first_pair.cache_clear()
