"""Emitted code: forward and backward passes for NumPy, JAX and PyTorch, from the formula itself.

``program`` says what is emitted, ``lowering`` turns quantities into statements (``reading`` its
factors, ``products`` what is multiplied and summed, ``values`` how axes are laid out), a
``…_target`` knows one library's names, ``module`` puts functions together, ``syntax`` writes trees.
"""

from .module import BACKENDS, PARTS, emit
from .program import Named, Program
from .target import SourceError

__all__ = ["BACKENDS", "PARTS", "Named", "Program", "SourceError", "emit"]
