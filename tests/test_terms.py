"""Terms: evaluation, reading one through another, and the checker, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.expr.draft import Draft
from chainrule.expr.nodes import Node, Term
from chainrule.expr.verify import verify
from chainrule.lower.run import evaluate
from terms import Draw, brute

ROUNDS = 40
SEEDS = range(10)


def same(node: Node, draw: Draw, expected: object = None) -> None:
    verify([node])
    desired = brute(node, draw.bindings) if expected is None else expected
    (actual,) = evaluate([node], draw.bindings)
    assert actual.shape == node.shape
    assert actual.dtype == node.dtype
    np.testing.assert_array_equal(actual, desired)


@pytest.mark.parametrize("dtypes", ["f", "fb", "fi", "ib", "b", "c", "sf", "cfb"])
@pytest.mark.parametrize("seed", SEEDS)
def test_evaluation_is_the_definition(seed: int, dtypes: str) -> None:
    for k in range(ROUNDS):
        draw = Draw(1000 * seed + k, dtypes)
        node = draw.term()
        same(node, draw)


@pytest.mark.parametrize("seed", SEEDS)
def test_inlining_does_not_change_the_value(seed: int) -> None:
    for k in range(ROUNDS):
        draw = Draw(77_000 + 1000 * seed + k)
        inner = draw.term(limit=3, most=100)
        outer = draw.term(inner, limit=3, most=100)
        if not isinstance(outer, Term) or not isinstance(inner, Term):
            continue
        expected = brute(outer, draw.bindings)
        same(outer, draw, expected)
        for position, (node, _) in enumerate(outer.factors):
            if node is not inner:
                continue
            draft = Draft(
                outer.shape,
                outer.dtype,
                outer.coef,
                dict(enumerate(outer.extents)),
                outer.factors,
                outer.out,
                outer.constraints,
            )
            draft.inline(position)
            merged = draft.finish()
            np.testing.assert_array_equal(brute(merged, draw.bindings), expected)
            same(merged, draw, expected)
