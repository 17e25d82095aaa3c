"""How long a quantity is on paper."""

from __future__ import annotations

from ..expr.extents import ONE
from .quantity import Add, Fun, Num, Pow, Prod, Quantity, Sym

__all__ = ["Measure"]

_WIDE = 8  # a sum of more than two axes has no matrix notation: its parts may have


class Measure:
    """Lengths of quantities; those in ``named`` count 1, since only their name is written."""

    def __init__(self) -> None:
        self.named: set[Quantity] = set()
        self._costs: dict[Quantity, int] = {}

    def name(self, quantity: Quantity) -> None:
        """Count a quantity as named from now on."""
        if quantity not in self.named:
            self.named.add(quantity)
            self._costs.clear()

    def unname(self, quantity: Quantity) -> None:
        """Count a quantity in full from now on."""
        if quantity in self.named:
            self.named.discard(quantity)
            self._costs.clear()

    def cost(self, quantity: Quantity) -> int:
        """How long a quantity is on paper; what has a name counts 1."""
        if quantity in self.named or isinstance(quantity, Sym):
            return 1
        known = self._costs.get(quantity)
        if known is not None:
            return known
        stack = [quantity]
        while stack:
            q = stack[-1]
            missing = [c for c in q.children if not self._has_cost(c)]
            if missing:
                stack.extend(missing)
            else:
                stack.pop()
                self._costs[q] = self._cost(q)
        return self._costs[quantity]

    def length(self, quantity: Quantity) -> int:
        """How long a quantity is on paper if it has no name itself."""
        return self._cost(quantity) if self.cost(quantity) else 0

    def _has_cost(self, q: Quantity) -> bool:
        return q in self.named or isinstance(q, Sym) or q in self._costs

    def _cost(self, quantity: Quantity) -> int:
        if isinstance(quantity, Num):
            return 1
        if isinstance(quantity, Add):
            wide = _WIDE if quantity.ndim > 2 else 0
            return wide + sum(1 + self.cost(q) for _, q in quantity.parts)
        if isinstance(quantity, Prod):
            extra = 2 * len(quantity.constraints) + (quantity.coef != ONE)
            return 1 + extra + sum(self.cost(q) for q, _ in quantity.factors)
        if isinstance(quantity, Pow):
            return 1 + self.cost(quantity.base)
        assert isinstance(quantity, Fun)
        return 1 + sum(self.cost(q) for q in quantity.args)
