"""The user's Jacobian: a linear map between tensor spaces that keeps its structure."""

from .object import Jacobian

__all__ = ["Jacobian"]
