"""Loops that carry a value from step to step: recursions, which no tensor expression computes.

``s += x[i]`` is a sum, ``m = max(m, x[i])`` a maximum, whatever the number of steps.  In
``s = s * x + a[k]`` each step multiplies what the step before gave: the line computes a chain of
products that is as long as the loop.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from ..expr.nodes import Call, Map, Node, Term
from ..expr.walk import topological

__all__ = ["carried_name", "chains"]

_MOST_LINES = 8
_PLAIN = frozenset({"where", "astype", "maximum", "minimum", "negative"})


def chains(roots: Sequence[Node], lines: Mapping[Node, str]) -> dict[str, int]:
    """For each line the longest chain of its operations, each computed from the one before."""
    order = topological(roots)
    counted = {n: lines[n] for n in order if n in lines and _is_step(n)}
    found: dict[str, int] = {}
    for line, _ in Counter(counted.values()).most_common(_MOST_LINES):
        length: dict[Node, int] = {}
        for node in order:
            before = max((length[c] for c in node.children), default=0)
            length[node] = before + (counted.get(node) == line)
        found[line] = max(length.values())
    return found


def _is_step(node: Node) -> bool:
    """Whether chains of a node are no sums, no maxima, no copies."""
    if node.dtype.kind != "f":
        return False
    if isinstance(node, Term):
        return sum(n.dtype.kind == "f" for n, _ in node.factors) > 1 or node.coef not in (1, -1)
    return isinstance(node, Call) or (isinstance(node, Map) and node.op not in _PLAIN)


def carried_name(line: str) -> str:
    """The variable that a line assigns, in quotes; "a value" where that is not plain."""
    source = line.partition('"')[2]
    found = re.match(r"\s*([^\W\d]\w*(?:\[[^\]]*\])?)\s*(?:[-+*/@]|\*\*)?=(?!=)", source)
    return f"a value, {found.group(1)}," if found else "a value"
