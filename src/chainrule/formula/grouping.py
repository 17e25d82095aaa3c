"""Factors that several products share: ``G ⊙ (1 − y ⊙ y)`` in every gradient of a layer.

A group is a factor with all labels (its *host*) and those that lie under labels of the host:
what one multiplies elementwise, rows and columns scaled included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias

from ..expr.extents import ONE
from .algebra import Algebra
from .canonical import canonical
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity, Sym, ordered
from .symmetry import exchanged

__all__ = ["counted", "halves", "is_normalized", "multiplied", "shared_group"]

Key: TypeAlias = "tuple[Quantity, tuple[int, ...]]"
Group: TypeAlias = "dict[Key, Fraction]"  # exponents of bases by axes of the host

_LONG = 5  # what is shorter is grouped only if it occurs three times
_MOST = 400  # groups that are compared


def shared_group(roots: Sequence[Quantity], algebra: Algebra) -> Quantity | None:
    """The product of factors that saves most when it gets a name, None where none does."""
    hosts: dict[Quantity, list[tuple[Quantity, Group]]] = {}
    for q in ordered(roots):
        if isinstance(q, Prod) and q not in algebra.named and len(q.factors) > 1:
            for host, group in _groups(q, algebra):
                hosts.setdefault(host, []).append((q, group))
    best: tuple[int, Quantity] | None = None
    for host, found in hosts.items():
        if len({q for q, _ in found}) < 2:
            continue
        for group in _candidates([g for _, g in found[:_MOST]]):
            uses = len({q for q, g in found if _contains(g, group)})
            made = _product(host, group, algebra)
            length = algebra.cost(made)
            if made in algebra.named or not isinstance(made, Prod) or len(made.factors) < 2:
                continue
            if uses < (2 if length >= _LONG else 3):
                continue
            saved = (uses - 1) * (length - 1)
            if best is None or saved > best[0]:
                best = saved, made
    return best[1] if best is not None else None


def multiplied(roots: Sequence[Quantity], algebra: Algebra) -> list[Quantity]:
    """Sums of which others are multiples: ``x − m`` where ``m − x`` is written as well."""
    heads: dict[object, Quantity] = {}
    found: dict[Quantity, None] = {}
    for q in ordered(roots):
        if isinstance(q, Add) and len(q.parts) > 1:
            head = heads.setdefault(algebra.direction(q), q)
            if head is not q and head not in algebra.kept:
                found[head] = None
    return list(found)


def halves(roots: Sequence[Quantity], algebra: Algebra) -> list[Quantity]:
    """Products that are added to their own transposes: D of ``(D + Dᵀ)/2``."""
    found: dict[Quantity, None] = {}
    for q in ordered(roots):
        if not isinstance(q, Add) or q.ndim != 2 or q.shape[0] != q.shape[1]:
            continue
        turned: dict[object, Quantity] = {}
        for _, part in q.parts:
            if not isinstance(part, Prod) or not part.summed or part in algebra.kept:
                continue
            other = turned.get(canonical(part, algebra.symmetric, scaled=False))
            if other is not None and algebra.cost(other) > _LONG:
                found[other] = None
            key = canonical(exchanged(part), algebra.symmetric, scaled=False)
            turned.setdefault(key, part)
    return list(found)


def _groups(product: Prod, algebra: Algebra) -> Iterator[tuple[Quantity, Group]]:
    for host, subs in product.factors:
        bare = [s for s in subs if isinstance(s, int)]
        if len(bare) < len(subs) or len(set(bare)) < len(bare) or not bare:
            continue
        if isinstance(host, Pow) and not isinstance(host.base, Sym | Fun | Add):
            continue
        group: Group = {}
        for q, other in product.factors:
            if isinstance(q, Num) or not other or not set(other) <= set(bare):
                continue
            base, exponent = algebra.split(q)
            axes = tuple(bare.index(s) for s in other if isinstance(s, int))
            if algebra.symmetric(q):
                axes = (*sorted(axes[:2]), *axes[2:])
            group[base, axes] = group.get((base, axes), Fraction(0)) + exponent
        if len(group) > 1:
            own = algebra.split(host)[0]
            yield own, group


def _candidates(groups: Sequence[Group]) -> Iterator[Group]:
    """Intersections of two groups, each once."""
    seen: set[frozenset[tuple[Key, Fraction]]] = set()
    for i, one in enumerate(groups):
        for other in groups[i + 1 :]:
            common: Group = {}
            for key, exponent in one.items():
                there = other.get(key, Fraction(0))
                if exponent * there > 0:
                    common[key] = min(exponent, there, key=abs)
            mark = frozenset(common.items())
            if len(common) > 1 and mark not in seen:
                seen.add(mark)
                yield common


def _contains(group: Group, part: Group) -> bool:
    return all(k in group and group[k] / e >= 1 for k, e in part.items())


def _product(host: Quantity, group: Group, algebra: Algebra) -> Quantity:
    labels: tuple[Index, ...] = tuple(range(host.ndim))
    factors = [(algebra.power(q, e), axes) for (q, axes), e in group.items()]
    return algebra.prod(ONE, dict(enumerate(host.shape)), factors, labels, (), host.shape)


def counted(roots: Sequence[Quantity]) -> Counter[Quantity]:
    """How often each quantity is written: once by each that holds it, and once as a root."""
    order = ordered(roots)
    uses = Counter(child for q in order for child in q.children)
    uses.update(root for root in roots if uses[root])
    for q in reversed(order):
        if isinstance(q, Pow) and q.exponent < 0:  # a divisor: its base is what is written
            uses[q.base] += uses[q] - 1
    return uses


def is_normalized(q: Quantity) -> bool:
    """``x/s`` with a number for each row or column: what textbooks write x̂."""
    if not isinstance(q, Prod) or q.summed or q.coef != ONE or q.ndim < 2 or q.constraints:
        return False
    whole = [f for f, subs in q.factors if subs == q.out and not isinstance(f, Pow)]
    below = [subs for f, subs in q.factors if isinstance(f, Pow) and f.exponent < 0]
    return len(q.factors) == 2 and len(whole) == 1 and len(below) == 1 and below[0] != q.out
