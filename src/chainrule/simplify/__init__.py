"""Small named rewrites of derivative terms; the primal program is never rewritten."""

from . import operators

__all__ = ["operators"]
