"""Conditions on sizes under which a derivation holds: ``K ≤ N``, ``N ≥ 3``, ``K odd``.

A condition is text, its clauses set apart by commas; ``""`` holds for all sizes.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Clause", "clauses", "code", "compares_names", "explaining", "holds"]

_RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "≤": operator.le,
    "≥": operator.ge,
}
_PARITIES = {"even": 0, "odd": 1}
_CODE = {"<": "<", "≤": "<=", "≥": ">="}


@dataclass(frozen=True)
class Clause:
    """``left relation right``: two names, or a name and a number; ``name odd``, ``name even``."""

    left: str
    relation: str
    right: str | int = ""

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}".rstrip()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of sizes that it speaks of."""
        return (
            (self.left, self.right) if isinstance(self.right, str) and self.right else (self.left,)
        )

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether sizes fulfil it."""
        left = sizes[self.left]
        if self.relation in _PARITIES:
            return left % 2 == _PARITIES[self.relation]
        right = self.right if isinstance(self.right, int) else sizes[self.right]
        return _RELATIONS[self.relation](left, right)

    def code(self, idents: Mapping[str, str]) -> str:
        """A Python expression."""
        left = idents.get(self.left, self.left)
        if self.relation in _PARITIES:
            return f"{left} % 2 == {_PARITIES[self.relation]}"
        right = idents.get(self.right, self.right) if isinstance(self.right, str) else self.right
        return f"{left} {_CODE[self.relation]} {right}"


def clauses(condition: str) -> list[Clause]:
    """The clauses of a condition; a chain ``A < B ≤ C`` is two."""
    found: list[Clause] = []
    for part in condition.split(", ") if condition else []:
        words = part.split()
        if len(words) == 2:
            found.append(Clause(words[0], words[1]))
        for k in range(0, len(words) - 2, 2):
            left, relation, right = words[k : k + 3]
            found.append(Clause(left, relation, int(right) if right.isdigit() else right))
    return found


def holds(condition: str, sizes: Mapping[str, int]) -> bool:
    """Whether sizes fulfil a condition."""
    return all(clause.holds(sizes) for clause in clauses(condition))


def compares_names(condition: str) -> bool:
    """Whether a condition is about the order of two names."""
    return any(len(clause.names) > 1 for clause in clauses(condition))


def code(condition: str, idents: Mapping[str, str]) -> str:
    """A condition as a Python expression; ``idents`` are the identifiers of the names."""
    return " and ".join(clause.code(idents) for clause in clauses(condition))


def _candidates(names: Sequence[str], bounds: Iterable[int]) -> Iterator[Clause]:
    for a, b in itertools.combinations(names, 2):
        yield from (Clause(a, "<", b), Clause(a, "≤", b), Clause(b, "<", a), Clause(b, "≤", a))
    for n in names:
        for bound in bounds:
            yield from (Clause(n, "≥", bound), Clause(n, "≤", bound))
        yield from (Clause(n, "odd"), Clause(n, "even"))


def explaining(
    names: Sequence[str], found: Sequence[tuple[Mapping[str, int], bool]], bounds: Iterable[int]
) -> str:
    """The shortest condition that holds at exactly the sizes that are marked True; "" for none.

    ``names`` in the order in which their sizes grow; ``bounds`` are numbers to compare with.
    """
    sound = [
        clause
        for clause in _candidates(names, bounds)
        if all(clause.holds(sizes) for sizes, held in found if held)
    ]
    wrong = [sizes for sizes, held in found if not held]
    for count in (1, 2):
        for chosen in itertools.combinations(sound, count):
            if all(not all(c.holds(sizes) for c in chosen) for sizes in wrong):
                return ", ".join(map(str, chosen))
    return ""
