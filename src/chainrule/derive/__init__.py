"""``derive``: the gradients of a NumPy function in closed form, checked before they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from ..errors import TraceError
from ..formula.derivation import (
    Convention,
    Definition,
    Derivation,
    Gradient,
    JacobianForm,
    Layout,
)
from ..formula.symbolic import FormulaError
from .partial import with_partial
from .signature import read_signature, symmetric_leaves
from .vectorizing import Vectorized, vectorize
from .writer import Options
from .writing import written

__all__ = [
    "Definition",
    "Derivation",
    "Gradient",
    "JacobianForm",
    "Vectorized",
    "derive",
    "vectorize",
]


def derive(
    f: Callable[..., Any],
    /,
    *,
    shapes: Mapping[str, Any] | None = None,
    check: bool = True,
    wrt: str | Sequence[str] | None = None,
    layout: Layout = "numerator",
    convention: Convention = "column",
    symmetric: str | Sequence[str] = (),
    **more_shapes: Any,
) -> Derivation:
    """The gradients of ``f`` in closed form, as a person would write them.

    Parameters: ``shapes`` and ``more_shapes`` give the shape of each parameter by name: ``"N D"``,
    ``(64, "D")``, an array, ``"int N"`` for whole numbers (indices), or for a tree argument a dict
    of these; what is not given is read from annotations such as ``Float[Array, "N D"]``.
    Parameters that have defaults and are given no shape are constants.  ``wrt`` names the
    arguments to differentiate (all).

    Returns a :class:`Derivation`: ``gradients["x"].text``, ``.latex``, ``.index``; leaves of trees
    are named by path, ``gradients["params.w1"]`` (``gradients["w1"]`` where that is unique).  For
    an output that is no scalar they are pullbacks of ``G``, which has the output's shape.

    ``layout`` orders the axes of Jacobians: out + in ("numerator") or in + out ("denominator");
    ``convention`` says whether vectors are columns, and vec stacks columns, or both are rows.

    ``symmetric`` names arguments that run over symmetric matrices only, as covariances do: formulas
    hold for these, ``K⁻ᵀ`` is ``K⁻¹``, and the gradient is ``(D + Dᵀ)/2`` of the unrestricted D
    (the derivative along symmetric directions; see :func:`chainrule.jacobian`).

    Where an operation has no closed form, the TraceError or FormulaError that names it and the
    line has an attribute ``partial``: the derivation up to its operand, if there is one.

    What is printed has been evaluated at random sizes and values and compared with the derivative,
    unless ``check=False``.

    >>> import numpy as np
    >>> print(derive(lambda K: np.linalg.slogdet(K)[1], K="N N", symmetric="K"))
    <lambda>: K (N, N) symmetric
      ∂L/∂K = K⁻¹
    >>> print(derive(lambda x, w: x @ w, x="N D", w="D M"))
    <lambda>: x (N, D), w (D, M); G = ∂L/∂y (N, M)
      ∂L/∂x = G wᵀ
      ∂L/∂w = xᵀ G
    """
    for name, value, known in (
        ("layout", layout, get_args(Layout)),
        ("convention", convention, get_args(Convention)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be {known[0]!r} or {known[1]!r}, not {value!r}")
    options = Options(layout, convention, check)
    signature = read_signature(f, {**(shapes or {}), **more_shapes})
    signature.symmetric = symmetric_leaves(signature, symmetric)
    try:
        return written(signature, wrt, options).derivation
    except (TraceError, FormulaError) as error:
        raise with_partial(error, signature, wrt, options) from None
