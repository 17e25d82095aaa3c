"""Forward and reverse sweeps over random terms, against the product rule in plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.chain.sweep import pullback, pushforward
from chainrule.expr.build import linear, map_
from chainrule.expr.nodes import Box, Leaf, Node
from chainrule.expr.verify import verify
from chainrule.lower.run import evaluate
from terms import Draw, brute, tangent

SEEDS = range(8)
ROUNDS = 30


def small(rng: np.random.Generator, node: Node) -> np.ndarray:
    value = rng.integers(-3, 4, node.shape).astype(node.dtype)
    if node.dtype.kind == "c":
        value = value + 1j * rng.integers(-3, 4, node.shape)
    return np.asarray(value)


def sweeps_agree(node: Node, draw: Draw, exact: bool) -> None:
    """J t by forward mode is the product rule's; <G, J t> = <Jᵀ G, t>; JᵀG is shaped like x."""
    if node.dtype.kind not in "fc":
        return
    sources = [leaf for leaf, v in draw.bindings.items() if v.dtype.kind in "fc"]
    directions = {leaf: small(draw.rng, leaf) for leaf in sources}
    weights = small(draw.rng, node)
    slot = len(draw.bindings)
    bindings = dict(draw.bindings)
    tangents: list[Node] = []
    for leaf in sources:
        tangents.append(Leaf(slot + len(tangents), leaf.shape, leaf.dtype))
        bindings[tangents[-1]] = directions[leaf]  # type: ignore[index]
    cotangent = Leaf(slot + len(tangents), node.shape, node.dtype)
    bindings[cotangent] = weights

    (forward,) = pushforward([node], sources, tangents)
    backward = pullback([node], [cotangent], sources)
    verify([forward, *backward])
    results = evaluate([forward, *backward], bindings)
    desired = tangent(node, draw.bindings, directions)
    assert results[0].shape == node.shape
    assert results[0].dtype == node.dtype

    def compare(actual: object, desired: object) -> None:
        if exact:
            np.testing.assert_array_equal(actual, desired)
        else:
            atol = 1e-10 * max(1.0, float(np.max(np.abs(desired), initial=0)))
            np.testing.assert_allclose(actual, desired, rtol=1e-10, atol=atol)

    compare(results[0], desired)
    inner = np.sum(weights * desired)
    adjoint = 0
    for leaf, gradient in zip(sources, results[1:], strict=True):
        assert gradient.shape == leaf.shape
        assert gradient.dtype == leaf.dtype
        part = np.sum(gradient * directions[leaf])
        adjoint = adjoint + part
    if all(leaf.dtype == node.dtype for leaf in sources):
        compare(adjoint, inner)
    # the adjoint is right element by element: its nodes mean what brute force says
    for node_, value in zip(backward, results[1:], strict=True):
        reference = brute(node_, bindings)  # type: ignore[arg-type]
        compare(value, reference)


@pytest.mark.parametrize("dtypes", ["f", "fbi", "c"])
@pytest.mark.parametrize("seed", SEEDS)
def test_one_term(seed: int, dtypes: str) -> None:
    for k in range(ROUNDS):
        draw = Draw(31_000 + 100 * seed + k, dtypes)
        sweeps_agree(draw.term(limit=3, most=60), draw, exact=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_terms_of_terms(seed: int) -> None:
    for k in range(ROUNDS):
        draw = Draw(54_000 + 100 * seed + k, "ffb")
        inner = draw.term(limit=3, most=40)
        if inner.dtype.kind != "f":
            continue
        middle: Node = [inner, Box(inner), linear((2, inner), (-1, inner))][draw.integer(0, 2)]
        outer = draw.term(middle, inner, limit=3, most=40)
        sweeps_agree(outer, draw, exact=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_terms_of_functions(seed: int) -> None:
    for k in range(ROUNDS):
        draw = Draw(98_000 + 100 * seed + k, "f")
        inner = map_("tanh", linear((0.25, draw.term(limit=3, most=40))))
        outer = draw.term(inner, linear((1, inner), (0.5, inner)), limit=3, most=40)
        if outer.dtype.kind == "f":
            sweeps_agree(outer, draw, exact=False)
