"""Emitted code: forward and backward passes for NumPy, JAX and PyTorch, from the formula itself.

``program`` says what is emitted; ``lowering`` turns quantities into statements: ``functions``,
``terms`` (``reading`` their factors, ``products`` what is multiplied and summed, ``placing`` where
the result goes), ``values`` how axes are laid out.  A ``…_target`` knows one library's names.
``module`` makes statements of bodies, ``function_style`` and ``autograd_style`` put them together
(``text``, ``identifiers``), ``syntax`` writes trees, ``emitting`` is the door.
"""

from .emitting import BACKENDS, PARTS, emit
from .program import Named, Program
from .target import SourceError

__all__ = ["BACKENDS", "PARTS", "Named", "Program", "SourceError", "emit"]
