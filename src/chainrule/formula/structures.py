"""The structure string of a Jacobian with named extents."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .symbolic import solve

__all__ = ["named_structure"]

_NUMBER = re.compile(r"\d+")


def named_structure(
    one: str, other: str, first: Mapping[str, int], second: Mapping[str, int]
) -> str | None:
    """The structure that two strings at two sizes have in common: ``a->a|(N-1-a)``.

    None where they differ in more than their numbers.
    """
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return None
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    found = [solve(int(x), int(y), first, second) for x, y in pairs]
    if any(e is None for e in found):
        return None
    texts = iter([str(e).replace(" ", "").replace("−", "-") for e in found])
    return _NUMBER.sub(lambda _: next(texts), one)
