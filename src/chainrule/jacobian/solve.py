"""``J.solve(b)``: linear systems by structure.

What is known from subscripts alone is planned once for a network and kept (:mod:`.solve_plan`): a
tree of steps (:mod:`.solve_steps`), which values of the factors turn into a solver.

=============  ====================================================================================
apart          axes that no factor joins with the others: a system for each group of axes
diagonal       every label occurs in out and in alike
low rank       terms with few entries plus terms through few summed labels: Woodbury's formula
entries        blocks, bands, triangles, sparse or dense LU and Cholesky (:mod:`.factor`)
=============  ====================================================================================
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .solve_plan import planned
from .solve_steps import Made, Numbers, Step
from .values import continues

if TYPE_CHECKING:
    from .object import Jacobian

__all__ = ["Factorization", "factorize"]


class Factorization:
    """A Jacobian made ready to solve with (see :meth:`chainrule.Jacobian.factorize`).

    ``method`` says how.  The factors are computed from the values that the Jacobian's arrays had
    then; arrays changed later need a new factorization.
    """

    def __init__(self, jacobian: Jacobian, max_bytes: int | None = None) -> None:
        out, into = jacobian.out_shape, jacobian.in_shape
        if prod(out) != prod(into):
            raise ValueError(
                f"J.solve(b) needs a square Jacobian: out_shape {out} has {prod(out)} elements, "
                f"in_shape {into} {prod(into)}; for least squares use scipy.sparse.linalg.lsmr "
                "with J.to_linear_operator() or J.to_sparse()"
            )
        self._jacobian = jacobian
        self._max_bytes = max_bytes
        self._step: Step | None = None
        self._made: Made | None = None
        if not prod(out):
            return
        self._step = planned(tuple(jacobian._terms), out, into)
        if not any(continues(v) for v in jacobian._values):
            self._made = self._step.make(Numbers(jacobian, False, max_bytes))

    @property
    def method(self) -> str:
        """How systems are solved."""
        if self._step is None:
            return "empty"
        return self._made.method if self._made is not None else "traced"

    def __repr__(self) -> str:
        shape = list(self._jacobian.out_shape)
        return f"Factorization({shape} by {list(self._jacobian.in_shape)}: {self.method})"

    def __call__(self, b: Any) -> Any:
        return self.solve(b)

    def solve(self, b: Any) -> Any:
        """As :meth:`chainrule.Jacobian.solve`."""
        j = self._jacobian
        out, into = j.out_shape, j.in_shape
        array = b if continues(b) else np.asarray(b)
        shape = tuple(array.shape)
        if shape[: len(out)] != out:
            axes = [i for i, (a, e) in enumerate(zip(shape, out, strict=False)) if a != e]
            where = f"axis {axes[0]} differs" if axes else "axes are missing"
            raise ValueError(
                f"J.solve(b): b of shape {shape} meets out_shape {out} ({where}); J maps {into} to "
                f"{out}"
            )
        more = shape[len(out) :]
        if self._step is None:
            return np.zeros(into + more, np.result_type(j.dtype, array.dtype))
        made = self._made
        if made is None or continues(array):
            made = self._step.make(Numbers(j, True, self._max_bytes))
        columns = np.reshape(array, (*out, prod(more)))
        return np.reshape(made.apply(columns), into + more)


def factorize(jacobian: Jacobian, max_bytes: int | None = None) -> Factorization:
    """See :meth:`chainrule.Jacobian.factorize`."""
    return Factorization(jacobian, max_bytes)
