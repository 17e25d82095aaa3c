"""Notation of linearized tensors: ``vec``, the Kronecker product, the commutation matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..expr.extents import Extent
from .notation import Notation
from .writing import HADAMARD, POSTFIX, PRODUCT, Env, Value, Written

__all__ = ["Commutation", "Kronecker", "Vec"]


@dataclass(frozen=True)
class Vec(Notation):
    """``vec(A)``: the columns (or the rows) of a matrix below each other."""

    inner: Notation
    by_rows: bool

    def write(self, latex: bool) -> Written:
        body = self.inner.write(latex).text
        head = r"\operatorname{vec}" if latex else "vec"
        return Written(head + (rf"\left({body}\right)" if latex else f"({body})"))

    def value(self, env: Env) -> Value:
        value = np.asarray(self.inner.value(env))
        return value.reshape(-1, 1, order="C" if self.by_rows else "F")


@dataclass(frozen=True)
class Kronecker(Notation):
    """``A ⊗ B``."""

    factors: tuple[Notation, ...]

    def write(self, latex: bool) -> Written:
        texts = [f.write(latex).within(PRODUCT, latex) for f in self.factors]
        return Written((r" \otimes " if latex else " ⊗ ").join(texts), HADAMARD)

    def value(self, env: Env) -> Value:
        result = np.atleast_2d(self.factors[0].value(env))
        for factor in self.factors[1:]:
            result = np.kron(result, np.atleast_2d(factor.value(env)))
        return result


@dataclass(frozen=True)
class Commutation(Notation):
    """``𝐊``: the permutation with ``𝐊 vec(X) = vec(Xᵀ)`` for X of shape rows × columns."""

    rows: Extent
    columns: Extent
    by_rows: bool

    def write(self, latex: bool) -> Written:
        below = f"{self.rows},{self.columns}".replace(" ", "")
        return Written(rf"\mathbf{{K}}_{{{below}}}" if latex else f"𝐊[{below}]", POSTFIX)

    def value(self, env: Env) -> Value:
        rows, columns = (round(e.value(env.sizes)) for e in (self.rows, self.columns))
        places = np.arange(rows * columns)
        across = places.reshape(rows, columns).T if self.by_rows else places.reshape(columns, rows)
        return np.eye(rows * columns)[across.reshape(-1, order="C" if self.by_rows else "F")]
