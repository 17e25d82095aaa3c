"""The generalized Jacobian in matrix notation: the matrix ``∂vec(y)/∂vec(x)ᵀ``.

A term of a Jacobian has two groups of axes.  Its labels fall apart into connected components; one
that joins at most one axis of each group is a matrix (``I`` where a label is in both, a column or
a row of ones where it is in one alone), and the term is their Kronecker product.  A factor of the
output's own axes stands on the left as ``diag(vec(D))``, one of the input's on the right.  Where
the input is read transposed, the commutation matrix ``𝐊`` follows.

In the column convention ``vec`` stacks columns, in the row convention rows (NumPy's order).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..expr.extents import ONE, ZERO, Extent
from .composing import coefficient, hadamard, multiply, scaled, transpose
from .costs import size
from .linearized import Commutation, Kronecker, Vec
from .matrix import Matrices, NoMatrixForm
from .notation import Diag, Identity, Literal, Notation, Plus, Scaled
from .quantity import Add, Factor, Prod, Quantity
from .work import Work

__all__ = ["Generalized"]

_MOST = 6


class Generalized:
    """Writes Jacobians of shape out + in as matrices; ``by_rows``: how tensors are linearized."""

    def __init__(self, matrices: Matrices, by_rows: bool) -> None:
        self.matrices = matrices
        self.by_rows = by_rows

    def write(self, quantity: Quantity, lead: int) -> Notation:
        """The matrix of a quantity whose first ``lead`` axes are its rows."""
        if lead in (0, quantity.ndim):  # a gradient: of the shape of its argument
            return self.matrices.write(quantity)
        if isinstance(quantity, Add):
            return self._sum(quantity, lead)
        if quantity.ndim == 2:
            return self.matrices.write(quantity)
        if not isinstance(quantity, Prod):
            raise NoMatrixForm
        return self._term(quantity, lead)

    def _sum(self, total: Add, lead: int) -> Notation:
        if not total.parts:
            return Literal(ZERO)
        coefs = [c * (q.coef if isinstance(q, Prod) else ONE) for c, q in total.parts]
        common = coefficient(coefs)
        parts = []
        for coef, (_, q) in zip(coefs, total.parts, strict=True):
            body = self.write(q, lead)
            own = q.coef if isinstance(q, Prod) else ONE
            parts.append((coef / common, scaled(coef / common / own, [], body)))
        first = next((i for i, (c, _) in enumerate(parts) if not c.negative), 0)
        parts.insert(0, parts.pop(first))
        bodies = [p for _, p in parts]
        if len(bodies) == 1:
            return scaled(common, [], bodies[0])
        return scaled(common, [], _common(bodies) or Plus(tuple(bodies)))

    # -- one term -----------------------------------------------------------------------------
    def _term(self, term: Prod, lead: int) -> Notation:
        rows = _bare(term, range(lead))
        columns = _bare(term, range(lead, term.ndim))
        if term.constraints:
            raise NoMatrixForm
        left: list[Notation] = []
        right: list[Notation] = []
        inside: list[Factor] = []
        for factor in term.factors:
            if self._spread(factor, rows, left) or self._spread(factor, columns, right):
                continue
            inside.append(factor)
        if left and right and not set(rows) & set(columns) and not any(f[1] for f in inside):
            column, row = (Vec(hadamard(parts), self.by_rows) for parts in (left, right))
            numbers = [self.matrices.write(q) for q, _ in inside]
            return scaled(term.coef, numbers, multiply(column, transpose(row)))
        blocks, numbers = self._blocks(term, rows, columns, inside)
        middle = self._ordered(term, rows, columns, blocks)
        if left or right or len(middle) > 1:
            middle = [m for m in middle if not isinstance(m, Identity)]
        body = multiply(
            *(Diag(Vec(d, self.by_rows)) for d in left),
            *middle,
            *(Diag(Vec(d, self.by_rows)) for d in right),
        )
        return scaled(term.coef, numbers, body)

    def _spread(self, factor: Factor, labels: list[int], found: list[Notation]) -> bool:
        """A factor over both axes of one group is a diagonal matrix beside the product."""
        q, subs = factor
        if q.ndim != 2 or len(labels) != 2 or set(subs) != set(labels) or subs[0] == subs[1]:
            return False
        written = self.matrices.write(q)
        found.append(written if list(subs) == labels else transpose(written))
        return True

    def _blocks(
        self, term: Prod, rows: list[int], columns: list[int], inside: list[Factor]
    ) -> tuple[list[tuple[int | None, int | None, Notation]], list[Notation]]:
        """(row axis, column axis, matrix) of each component, and the numbers in front."""
        group = {k: k for k in range(len(term.extents))}

        def find(k: int) -> int:
            while group[k] != k:
                k = group[k]
            return k

        for q, subs in inside:
            for sub, extent in zip(subs, q.shape, strict=True):
                if not isinstance(sub, int) and (sub.parts or extent != ONE):
                    raise NoMatrixForm
            labels = [s for s in subs if isinstance(s, int)]
            for one, other in itertools.pairwise(labels):
                group[find(one)] = find(other)
        blocks: list[tuple[int | None, int | None, Notation]] = []
        numbers = [self.matrices.write(q) for q, subs in inside if not _labels(subs)]
        for root in dict.fromkeys(map(find, (*rows, *columns, *range(len(term.extents))))):
            labels = [k for k in group if find(k) == root]
            mine = [i for i, k in enumerate(rows) if k in labels]
            yours = [i for i, k in enumerate(columns) if k in labels]
            if len(mine) > 1 or len(yours) > 1:
                raise NoMatrixForm
            out = [rows[i] for i in mine] + [columns[i] for i in yours]
            factors = [f for f in inside if any(k in labels for k in _labels(f[1]))]
            extents = {k: term.extents[k] for k in labels}
            shape = tuple(extents[k] for k in out)
            part = Work(ONE, extents, factors, list(out), [], shape).finish()
            matrix = self.matrices.write(part)
            if not out:
                numbers.append(matrix)
                continue
            if not mine:
                matrix = transpose(matrix)
            blocks.append((mine[0] if mine else None, yours[0] if yours else None, matrix))
        return blocks, numbers

    def _ordered(
        self,
        term: Prod,
        rows: list[int],
        columns: list[int],
        blocks: list[tuple[int | None, int | None, Notation]],
    ) -> list[Notation]:
        """The Kronecker product of the components in an order that fits both groups."""
        if len(blocks) > _MOST:
            raise NoMatrixForm
        for turned in (False, True):
            if turned and len(columns) != 2:
                continue
            fitting = [
                order
                for order in itertools.permutations(blocks)
                if self._fits([b[0] for b in order], False)
                and self._fits([b[1] for b in order], turned)
            ]
            if fitting:
                matrices = min((_outer(order) for order in fitting), key=len)
                matrices = _without_ones(matrices)
                if all(isinstance(m, Identity) for m in matrices):
                    matrices = [
                        Identity(size([m.extent for m in matrices if isinstance(m, Identity)]))
                    ]
                product: list[Notation] = [
                    matrices[0] if len(matrices) == 1 else Kronecker(tuple(matrices))
                ]
                if turned:
                    n, m = (term.extents[k] for k in columns)
                    product.append(Commutation(n, m, self.by_rows))
                return product
        raise NoMatrixForm

    def _fits(self, axes: Sequence[int | None], turned: bool) -> bool:
        present = [a for a in axes if a is not None]
        return present == sorted(present, reverse=self.by_rows == turned)


def _outer(
    blocks: Sequence[tuple[int | None, int | None, Notation]],
) -> list[Notation]:
    """The matrices of blocks, a column beside a row as their product: ``x ⊗ yᵀ = x yᵀ``."""
    found: list[Notation] = []
    k = 0
    while k < len(blocks):
        (row, column, matrix) = blocks[k]
        after = blocks[k + 1] if k + 1 < len(blocks) else None
        if after is not None and column is None and after[0] is None:
            found.append(multiply(matrix, after[2]))
            k += 2
        elif after is not None and row is None and after[1] is None:
            found.append(multiply(after[2], matrix))
            k += 2
        else:
            found.append(matrix)
            k += 1
    return found


def _common(parts: list[Notation]) -> Notation | None:
    """``A ⊗ B − A ⊗ C`` as ``A ⊗ (B − C)``; None where the parts do not share a factor."""
    numbers: list[Extent] = []
    pairs: list[tuple[Notation, ...]] = []
    for part in parts:
        plain = isinstance(part, Scaled) and not part.above and not part.below
        body = part.body if isinstance(part, Scaled) and plain else part
        if not isinstance(body, Kronecker) or len(body.factors) != 2:
            return None
        numbers.append(part.coef if isinstance(part, Scaled) else ONE)
        pairs.append(body.factors)
    for shared in (0, 1):
        if len({pair[shared] for pair in pairs}) == 1:
            other = zip(numbers, (pair[1 - shared] for pair in pairs), strict=True)
            rest = Plus(tuple(scaled(c, [], matrix) for c, matrix in other))
            one = pairs[0][shared]
            return Kronecker((one, rest) if not shared else (rest, one))
    return None


def _labels(subs: Sequence[object]) -> list[int]:
    return [s for s in subs if isinstance(s, int)]


def _bare(term: Prod, axes: range) -> list[int]:
    """The labels of one group of output axes without unit axes; each must be a whole axis."""
    found: list[int] = []
    for axis in axes:
        sub, extent = term.out[axis], term.shape[axis]
        if isinstance(sub, int) and term.extents[sub] == extent:
            found.append(sub)
        elif isinstance(sub, int) or sub.parts or extent != ONE:
            raise NoMatrixForm
    if len(set(found)) < len(found):
        raise NoMatrixForm
    return found


def _without_ones(matrices: list[Notation]) -> list[Notation]:
    """A Kronecker product without its 1×1 factors."""
    kept = [m for m in matrices if not (isinstance(m, Literal) and m.number == ONE)]
    return kept or matrices[:1]
