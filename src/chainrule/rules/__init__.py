"""Each primitive's derivative, written once, as its local Jacobian (see :mod:`.local`)."""
