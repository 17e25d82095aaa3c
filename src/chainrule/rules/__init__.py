"""Each primitive's derivative, written once, as its local Jacobian (see :mod:`.local`)."""

from ..expr.calls import BODIED, CALL_OPS
from . import accumulate, linalg
from .accumulate import FLAT_CALLS
from .local import CALLS

__all__ = ["accumulate", "linalg"]

_missing = CALL_OPS.keys() - CALLS.keys() - FLAT_CALLS - BODIED
if _missing:
    raise ImportError(f"no derivative is stated for the calls {sorted(_missing)}")
