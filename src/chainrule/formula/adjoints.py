"""What a formula names of the way back: adjoints, under the names that the field gives them.

``P̄`` is ∂L/∂P for a quantity P that has a name.  ``Δ`` is ∂L/∂ of one that has none, such as the
argument of a nonlinearity (numbered from the input on where there are several, or called by what
the nonlinearity gives: ``Δi`` of ``i = σ(W x)``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..expr.extents import ONE, Extent
from .canonical import canonical
from .quantity import Fun, Prod, Quantity, Sym
from .symmetry import Symmetries

__all__ = ["ERROR", "adjoint_names", "barred", "has_bar", "is_adjoint_name", "multiples", "spelled"]

ERROR = "Δ"
_MACRON = "\u0304"


def has_bar(name: str) -> bool:
    """Whether a bar can stand over a name: over one letter."""
    return len(name.rstrip("0123456789_")) == 1


def barred(name: str) -> str:
    """``v̄1``: the name of ∂L/∂v1."""
    stem = name.rstrip("0123456789_") or name
    return stem + _MACRON + name[len(stem) :]


def spelled(name: str) -> str:
    """A name in code: ``P_bar`` for P̄, ``Δ`` as it is."""
    stem = name.rstrip("0123456789_")
    bare = name.replace(_MACRON, "")
    return f"{bare}_bar" if _MACRON in stem else name


def is_adjoint_name(name: str) -> bool:
    """Whether a name was given to an adjoint."""
    return _MACRON in name or name.startswith(ERROR)


def adjoint_names(
    adjoints: Mapping[Quantity, Quantity], names: Mapping[Quantity, str], taken: Collection[str]
) -> dict[Quantity, str]:
    """Names of adjoints, by what they are the adjoint of; those that are numbered get none here.

    ``names`` are those of the function's quantities.
    """
    gives = {
        q.args[0]: name for q, name in names.items() if isinstance(q, Fun) and len(q.args) == 1
    }
    result: dict[Quantity, str] = {}
    loose: list[Quantity] = []
    for q, of in adjoints.items():
        own = of.name if isinstance(of, Sym) else names.get(of, "")
        name = barred(own) if has_bar(own) else ""
        if name and name not in taken and name not in result.values():
            result[q] = name
        else:
            loose.append(q)
    called = [ERROR + gives.get(adjoints[q], "") for q in loose]
    letters = all(len(name) == 2 and name not in taken for name in called)
    if len(loose) > 1 and letters and len(set(called)) == len(called):
        result |= dict(zip(loose, called, strict=True))
    return result


def multiples(
    adjoints: Iterable[Quantity], derived: Iterable[Quantity], symmetric: Symmetries
) -> dict[Quantity, Extent]:
    """Those of ``derived`` that are an adjoint but for a number, and that number."""
    exact = set(adjoints)
    known: dict[object, Extent] = {}
    for adjoint in exact:
        inner = adjoint.factors[0] if isinstance(adjoint, Prod) and adjoint.factors else None
        if isinstance(adjoint, Prod) and inner is not None:
            known.setdefault(canonical(adjoint, symmetric, scaled=False), adjoint.coef)
            if len(adjoint.factors) == 1 and inner[1] == adjoint.out == tuple(range(adjoint.ndim)):
                known.setdefault(inner[0], adjoint.coef)
    result: dict[Quantity, Extent] = {}
    for q in derived:
        number = known.get(q)
        if number is None and isinstance(q, Prod):
            number = known.get(canonical(q, symmetric, scaled=False))
            number = number / q.coef if number is not None else None
        if number is not None and number != ONE and q not in exact:
            result[q] = number
    return result
