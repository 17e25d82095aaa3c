"""What an algebra keeps whole, and finds again: sums, products and roots that bear a name.

Quantities in ``kept`` bear a name of the user's (or are shared): they are not dissolved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from ..expr.extents import ONE, Extent
from .canonical import canonical
from .measure import Measure
from .quantity import Add, Factor, Index, Num, Pow, Prod, Quantity, Shape, is_view
from .symmetry import Symmetries
from .work import Work

__all__ = ["Keeping", "is_zero"]


def is_zero(quantity: Quantity) -> bool:
    """Whether a quantity is the empty sum or the number 0."""
    if isinstance(quantity, Add):
        return not quantity.parts
    return isinstance(quantity, Num) and not quantity.value


class Keeping(Measure, ABC):
    """Quantities that stay whole in ``kept``.

    Of these, ``named`` bear a name of the user's; the others are used more than once.
    """

    def __init__(self, look_through: bool = True) -> None:
        super().__init__()
        self.look_through = look_through
        self.symmetric = Symmetries()
        self.kept: set[Quantity] = set()
        self._sums: dict[object, tuple[Extent, Add]] = {}
        self._products: dict[object, Prod] = {}
        self._roots: dict[Quantity, Pow] = {}
        self.folds: list[Prod] = []
        #: products multiplied out, as long as nothing more is kept or named
        self._spread: dict[Prod, list[tuple[Extent, Quantity]] | None] = {}

    def keep(self, quantity: Quantity, named: bool) -> None:
        """Keep a quantity whole from now on."""
        self._spread.clear()
        self.kept.add(quantity)
        if named:
            self.name(quantity)
        if isinstance(quantity, Add) and len(quantity.parts) > 1:
            head, key = self._ratios(quantity.parts)
            self._sums.setdefault((quantity.shape, key), (head, quantity))
        if isinstance(quantity, Pow) and quantity.exponent.denominator > 1:
            self._roots.setdefault(quantity.base, quantity)
        if isinstance(quantity, Prod) and not is_view(quantity):
            key = canonical(quantity, self.symmetric, scaled=False)
            self._products.setdefault(key, quantity)
        if named and isinstance(quantity, Prod) and len(quantity.factors) > 1:
            whole = tuple(range(len(quantity.extents)))
            if quantity.out == whole and quantity.coef == ONE and not quantity.constraints:
                self.folds.append(quantity)

    def name(self, quantity: Quantity) -> None:
        """Count a quantity as named from now on."""
        self._spread.clear()
        super().name(quantity)

    def unname(self, quantity: Quantity) -> None:
        """Count a quantity in full from now on."""
        self._spread.clear()
        super().unname(quantity)

    def release(self, quantity: Quantity) -> None:
        """Keep a quantity no longer."""
        self._spread.clear()
        self.kept.discard(quantity)
        self.unname(quantity)
        self._products = {k: q for k, q in self._products.items() if q is not quantity}
        self._roots = {k: q for k, q in self._roots.items() if q is not quantity}
        self._sums = {k: v for k, v in self._sums.items() if v[1] is not quantity}
        self.folds = [q for q in self.folds if q is not quantity]

    def whole(self, quantity: Quantity) -> Quantity:
        """What is kept of a multiple of it."""
        if isinstance(quantity, Prod) and len(quantity.factors) == 1 and quantity not in self.kept:
            inner = quantity.factors[0][0]
            return inner if inner in self.kept else quantity
        return quantity

    def _ratios(self, parts: Sequence[tuple[Extent, Quantity]]) -> tuple[Extent, object]:
        """The first coefficient (by age), and the parts relative to it."""
        keys = sorted(
            ((canonical(q, self.symmetric), c, q) for c, q in parts),
            key=lambda p: p[2].uid,
        )
        head = keys[0][1]
        return head, frozenset((key, c / head) for key, c, _ in keys)

    def direction(self, total: Add) -> object:
        """What a sum has in common with its multiples."""
        return total.shape, self._ratios(total.parts)[1]

    def _whole_power(self, q: Pow) -> bool:
        """Whether a power is a base of its own: one with a name, a root that is shared."""
        return q in self.named or (q in self.kept and q.exponent.denominator > 1)

    def split(self, q: Quantity) -> tuple[Quantity, Fraction]:
        """Base and exponent."""
        if isinstance(q, Pow) and not self._whole_power(q):
            return q.base, q.exponent
        return q, Fraction(1)

    # -- what the layers below build with -----------------------------------------------------
    @abstractmethod
    def prod(
        self,
        coef: Extent,
        extents: dict[int, Extent],
        factors: Iterable[Factor],
        out: Iterable[Index],
        constraints: Iterable[Index],
        shape: Shape,
    ) -> Quantity:
        """A product of factors under labels, simplified."""

    @abstractmethod
    def power(self, base: Quantity, exponent: Fraction) -> Quantity:
        """An elementwise power."""

    @abstractmethod
    def rebuilt(
        self,
        roots: Sequence[Quantity],
        keep: Mapping[Quantity, bool],
        times: Mapping[Quantity, Extent] | None = None,
    ) -> dict[Quantity, Quantity]:
        """Quantities constructed anew, by the old ones."""

    @abstractmethod
    def _identity(self, total: Quantity) -> Quantity | None:
        """What a sum is by one of the named rewrites, None where none applies."""

    @abstractmethod
    def _rewritten(self, work: Work) -> bool:
        """One of the named rewrites of products; False where none applies."""
