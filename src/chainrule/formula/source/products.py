"""Products of operands under labels: broadcasting, ``@`` where it is one, else einsum in pairs."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .sizes import times
from .syntax import Expr, binary, literal, template
from .target import Target
from .values import Operand, aligned

__all__ = ["Products"]


class Products:
    """Multiplies operands pair by pair, the cheapest pair first."""

    def __init__(self, target: Target, sizes: Mapping[int, float]) -> None:
        self.target = target
        self.sizes = sizes
        #: the sums that were written, and over which labels
        self.sums: list[tuple[Expr, set[int]]] = []

    def volume(self, labels: set[int]) -> float:
        total = 1.0
        for label in labels:
            total *= self.sizes[label]
        return total

    def run(self, operands: Sequence[Operand], out: Sequence[int], scales: bool) -> Operand | None:
        """The product summed over labels that are not in ``out``; None for the empty one.

        ``scales``: a coefficient follows.
        """
        pending = [o for o in operands if not o.scalar and o.known]
        numbers = [o.squeezed() for o in operands if o.scalar or not o.known]
        while len(pending) > 1 or any(set(out) < o.known | set(out) for o in pending):
            pending = [self._presummed(o, pending, out) for o in pending]
            numbers += [o for o in pending if not o.known]
            pending = [o for o in pending if o.known]
            if len(pending) < 2:
                break
            i, j = self._pair(pending, out)
            needed = set(out).union(*(o.known for k, o in enumerate(pending) if k not in (i, j)))
            merged = self._merged(pending[i], pending[j], needed, out)
            pending[i] = merged
            del pending[j]
        body = pending[0] if pending else None
        if body is not None and (scales or numbers):
            body = self._turned(body, out)
        return self._with_numbers(body, numbers)

    def _turned(self, body: Operand, out: Sequence[int]) -> Operand:
        """Transposed now, before it is scaled: ``c * A.T``, not ``(c * A).T``."""
        wanted = [k for k in out if k in body.known]
        if None in body.labels or list(body.labels) == wanted:
            return body
        order = [body.labels.index(k) for k in wanted]
        return replace(
            body, expr=self.target.transposed(body.expr, order), labels=tuple(wanted), triangle=None
        )

    def _with_numbers(self, body: Operand | None, numbers: list[Operand]) -> Operand | None:
        masks = [o for o in numbers if o.boolean]
        above = [o.expr for o in numbers if not o.below and not o.boolean]
        below = [o.expr for o in numbers if o.below]
        if body is not None and body.below:
            body = self._inverted(body)
        expr: Expr | None = None
        for factor in above:
            expr = factor if expr is None else binary(expr, "*", factor)
        labels = body.labels if body is not None else ()
        boolean = False
        if body is not None:
            if expr is None:
                expr, boolean = body.expr, body.boolean
            elif body.boolean:
                expr = self.target.masked(body.expr, expr)
            else:
                expr = times(expr, body.expr)
        if below:
            divisor = below[0]
            for factor in below[1:]:
                divisor = binary(divisor, "*", factor)
            if expr is not None and boolean:
                expr, boolean = self.target.as_float(expr), False
            expr = binary(expr if expr is not None else literal(1), "/", divisor)
        for mask in masks:
            if expr is None:
                expr, boolean = mask.expr, True
            else:
                expr = self.target.masked(mask.expr, expr)
        if expr is None:
            return None
        scalar = all(o.scalar for o in numbers) and body is None
        return Operand(expr, labels, boolean=boolean, scalar=scalar)

    # -- one operand --------------------------------------------------------------------------
    def _inverted(self, operand: Operand) -> Operand:
        return replace(operand, expr=binary(literal(1), "/", operand.expr), below=False)

    def _presummed(
        self, operand: Operand, pending: Sequence[Operand], out: Sequence[int]
    ) -> Operand:
        """Summed over the labels that nothing else has."""
        others = set(out).union(*(o.known for o in pending if o is not operand))
        gone = operand.known - others
        return self.summed(operand, gone) if gone else operand

    def summed(self, operand: Operand, gone: set[int]) -> Operand:
        """``operand.sum(axis=…)``."""
        if operand.below:
            operand = self._inverted(operand)
        if operand.boolean:
            operand = self._number(operand)
        operand = operand.squeezed()
        axes = tuple(k for k, label in enumerate(operand.labels) if label in gone)
        rest = tuple(label for label in operand.labels if label not in gone)
        expr = self.target.reduced("sum", operand.expr, axes if rest else None, False)
        self.sums.append((expr, gone))
        return Operand(expr, rest)

    def _number(self, operand: Operand) -> Operand:
        if not operand.boolean:
            return operand
        return replace(
            operand, expr=self.target.as_float(operand.expr), boolean=False, triangle=None
        )

    # -- pairs --------------------------------------------------------------------------------
    def _pair(self, pending: Sequence[Operand], out: Sequence[int]) -> tuple[int, int]:
        best: tuple[float, float, bool, int, int] | None = None
        for i in range(len(pending)):
            for j in range(i + 1, len(pending)):
                x, y = pending[i].known, pending[j].known
                rest = set(out).union(*(o.known for k, o in enumerate(pending) if k not in (i, j)))
                both = x | y
                growth = self.volume(both & rest) - self.volume(x) - self.volume(y)
                apart = 0.0 if x & y else 1e30
                ends = {o.labels[-1] for o in (pending[i], pending[j]) if len(o.labels) > 1}
                gone = both - rest
                cost = (growth + apart, self.volume(both), not gone <= ends, i, j)
                if best is None or cost < best:
                    best = cost
        assert best is not None
        return best[3], best[4]

    def _merged(self, x: Operand, y: Operand, needed: set[int], out: Sequence[int]) -> Operand:
        gone = (x.known | y.known) - needed
        if gone and not x.below and not y.below:
            return self._contracted(x, y, gone, out)
        merged = self._elementwise(x, y, out)
        return self.summed(merged, gone) if gone else merged

    def _elementwise(self, x: Operand, y: Operand, out: Sequence[int]) -> Operand:
        order = self._order(x, y, out)
        if x.below and not y.below:
            x, y = y, x
        if x.boolean and not y.boolean and not y.below:
            x, y = y, x
        if y.triangle is not None and not x.boolean and not x.below:
            row, column, upper, shift = y.triangle
            if list(x.labels[-2:]) == [row, column]:
                expr = self.target.triangle(x.expr, upper, shift)
                return Operand(expr, x.labels)
        if x.boolean and y.below:
            x = self._number(x)
        left, right = aligned(self.target, x, order), aligned(self.target, y, order)
        labels = tuple(k for k in order if k in x.known | y.known)
        if x.boolean and y.boolean:
            return Operand(template("a & b", a=left, b=right), labels, boolean=True)
        if y.boolean:
            return Operand(self.target.masked(right, left), labels)
        if y.below and not x.below:
            return Operand(binary(left, "/", right), labels)
        return Operand(binary(left, "*", right), labels, below=x.below)

    def _order(self, x: Operand, y: Operand, out: Sequence[int]) -> list[int]:
        for wide, slim in ((x, y), (y, x)):
            if wide.known >= slim.known:
                return [k for k in wide.labels if k is not None]
        order = [k for k in out if k in x.known | y.known]
        return order + [
            k for k in dict.fromkeys((*x.labels, *y.labels)) if k is not None and k not in order
        ]

    # -- contractions -------------------------------------------------------------------------
    def _contracted(self, x: Operand, y: Operand, gone: set[int], out: Sequence[int]) -> Operand:
        if (x.known == y.known == gone and len(gone) > 1) or (
            x.known == y.known and len(x.known) == 2
        ):
            return self.summed(self._elementwise(x, y, out), gone)
        x, y = self._number(x).squeezed(), self._number(y).squeezed()
        if len(gone) == 1:
            (label,) = gone
            found = self._matmul(x, y, label, out)
            if found is not None:
                return found
        order = [k for k in out if k in x.known | y.known and k not in gone]
        order += [
            k
            for k in dict.fromkeys((*x.labels, *y.labels))
            if k is not None and k not in order and k not in gone
        ]
        letters: dict[int, str] = {}
        for known in (*order, *x.labels, *y.labels):
            if known is not None:
                letters.setdefault(known, chr(97 + len(letters)))
        left, right, result = (
            "".join(letters[k] for k in labels if k is not None)
            for labels in (x.labels, y.labels, order)
        )
        expr = self.target.einsum(f"{left},{right}->{result}", x.expr, y.expr)
        return Operand(expr, tuple(order))

    def _matmul(self, x: Operand, y: Operand, label: int, out: Sequence[int]) -> Operand | None:
        shared = (x.known & y.known) - {label}
        if shared:
            return self._batched(x, y, label, out)
        options = [o for a, b in ((x, y), (y, x)) if (o := self._ordered(a, b, label, out))]
        if not options:
            return None
        return min(options, key=lambda option: option[0])[1]

    def _ordered(
        self, x: Operand, y: Operand, label: int, out: Sequence[int]
    ) -> tuple[int, Operand] | None:
        """``x @ y`` summed over a label that is x's last axis and y's first."""
        if len(y.labels) > 2:
            return None
        free_y = [k for k in y.labels if k != label]
        free_x = [k for k in x.labels if k != label]
        turns = 3 * (not free_x and bool(free_y))  # a vector goes to the right of a matrix
        left, right = x.expr, y.expr
        if not free_x and not free_y and not _simple(x.expr) and _simple(y.expr):
            turns += 1
        if x.labels[-1] != label:
            if len(x.labels) > 2:
                return None
            left = self.target.transposed(left, (1, 0))
            turns += 1
        if y.labels[0] != label:
            right = self.target.transposed(right, (1, 0))
            turns += 1
        labels = tuple((*free_x, *free_y))
        wanted = [k for k in out if k in labels]
        if len(wanted) == len(labels) and list(labels) != wanted:
            turns += 1
        return turns, Operand(binary(left, "@", right), labels)

    def _batched(self, x: Operand, y: Operand, label: int, out: Sequence[int]) -> Operand | None:
        count = len(x.labels)
        if len(y.labels) != count or count < 3 or x.labels[: count - 2] != y.labels[: count - 2]:
            return None
        batch = list(x.labels[: count - 2])
        if label in batch:
            return None
        options = []
        for a, b in ((x, y), (y, x)):
            if label not in a.labels[-2:] or label not in b.labels[-2:]:
                return None
            turns = 0
            left, right = a.expr, b.expr
            (row,) = (k for k in a.labels[-2:] if k != label)
            (column,) = (k for k in b.labels[-2:] if k != label)
            if row == column:
                return None
            if a.labels[-1] != label:
                left, turns = template("a.mT", a=left), turns + 1
            if b.labels[-2] != label:
                right, turns = template("a.mT", a=right), turns + 1
            labels = (*batch, row, column)
            wanted = [k for k in out if k in labels]
            if len(wanted) == len(labels) and list(labels) != wanted:
                turns += 1
            options.append((turns, Operand(binary(left, "@", right), labels)))
        return min(options, key=lambda option: option[0])[1]


def _simple(expr: Expr) -> bool:
    return isinstance(expr, ast.Name)
