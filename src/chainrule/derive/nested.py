"""Functions that take derivatives themselves: what they compute in closed form, as nodes.

What the derivative of ``Xᵀ (p − y)`` is made of is shorter than what that of the many operations
is made of that the inner derivative took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from ..expr.nodes import Node
from ..formula.algebra import Algebra
from ..formula.lowered import Lowering, NotLowered
from ..formula.quantity import ordered
from ..formula.refining import refined
from ..formula.symbolic import FormulaError, Translator
from .tracing import Kind, Trace, derivatives

__all__ = ["Closed", "closed_form", "differentiated"]

Closed: TypeAlias = "tuple[Node, dict[Node, str]]"  # a value, and the names of its parts


def closed_form(
    pair: tuple[Trace, Trace],
    symbols: Sequence[str],
    symmetric: frozenset[str],
    sizes: Sequence[Mapping[str, int]],
) -> list[Closed] | None:
    """What a function computes in closed form at both sizes, None where that has no nodes."""
    one, other = pair
    translator = Translator(Algebra(), *sizes)
    translator.symbols = dict(zip(one.inputs, symbols, strict=True))
    translator.symbols |= {leaf: f"captured {k}" for k, (leaf, _) in enumerate(one.captured)}
    translator.symmetric = symmetric
    translator.arrays = (dict(one.captured), dict(other.captured))
    translator.labels = {n: s for n, s in one.locals.items() if s not in symbols}
    found: list[Closed] = []
    elsewhere = {name: n for n, name in other.locals.items()}
    for node in translator.labels:  # what has a name comes first: 2 (X w − y) is 2 r
        with suppress(FormulaError, KeyError):
            translator.roots([node], [elsewhere[one.locals[node]]])
    try:
        (raw,) = translator.roots([one.output], [other.output])
        new, names, *_ = refined([raw], translator.names, ordered(translator.known.values()))
        for t, at in zip(pair, sizes, strict=True):
            leaves = dict(zip(symbols, t.inputs, strict=True))
            leaves |= {f"captured {k}": leaf for k, (leaf, _) in enumerate(t.captured)}
            low = Lowering(leaves, at)
            (output,) = low.nodes([new[raw]])
            labels = {low.known[q]: name for q, name in names.items() if q in low.known}
            found.append((output, labels))
    except (FormulaError, NotLowered):
        return None
    return found


def differentiated(
    pair: tuple[Trace, Trace],
    found: Sequence[Closed],
    wanted: Sequence[int],
    symmetric: frozenset[int],
    kind: Kind,
) -> tuple[Trace, Trace]:
    """The traces with a closed form in place of what was computed."""
    closed = []
    for t, (output, labels) in zip(pair, found, strict=True):
        sources = [t.inputs[k] for k in wanted]
        flags = [k in symmetric for k in wanted]
        gradients, networks, adjoints = derivatives(output, t.arriving, sources, flags, kind)
        closed.append(
            replace(
                t,
                output=output,
                gradients=gradients,
                networks=networks,
                locals=labels,
                adjoints=adjoints,
            )
        )
    return closed[0], closed[1]
