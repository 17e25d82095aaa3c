"""Constructors against NumPy: reshape, permute, broadcast, views of views, einsum, contraction."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
import pytest

from chainrule.expr import build
from chainrule.expr.nodes import Leaf, Node, Term
from chainrule.expr.subs import affine, const
from chainrule.expr.verify import verify
from chainrule.lower.run import evaluate
from terms import Draw, brute

SEEDS = range(8)


def same(node: Node, draw: Draw, desired: np.ndarray) -> None:
    verify([node])
    (actual,) = evaluate([node], draw.bindings)
    assert node.shape == desired.shape
    assert node.dtype == desired.dtype
    np.testing.assert_array_equal(actual, desired)
    np.testing.assert_array_equal(brute(node, draw.bindings), desired)


def shapes_of(size: int, rng: np.random.Generator) -> tuple[int, ...]:
    """A random factorization of a size, ones included."""
    shape = []
    while size > 1:
        factors = [k for k in range(2, size + 1) if size % k == 0]
        shape.append(int(rng.choice(factors)))
        size //= shape[-1]
        if rng.random() < 0.2:
            shape.append(1)
    return tuple(shape)


@pytest.mark.parametrize("seed", SEEDS)
def test_reshape(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for size in [0, 1, 2, 6, 8, 12, 12, 24, 30, 36, 60, 64]:
        draw = Draw(seed + size)
        shape = shapes_of(size, rng) if size else (2, 0)
        leaf = draw.leaf(shape, "f")
        node: Node = leaf
        value = draw.bindings[leaf]
        for _ in range(3):
            new = shapes_of(size, rng) if size else (0, int(rng.integers(3)))
            node, value = build.reshape(node, new), value.reshape(new)
            same(node, draw, value)


def test_reshape_of_blocks_without_common_digits() -> None:
    draw = Draw(0)
    leaf = draw.leaf((2, 3), "f")
    for new in [(3, 2), (6,), (1, 3, 2), (3, 1, 2)]:
        node = build.reshape(leaf, new)
        same(node, draw, draw.bindings[leaf].reshape(new))
        assert build.reshape(node, (2, 3)) is leaf


@pytest.mark.parametrize("seed", SEEDS)
def test_views_of_views(seed: int) -> None:
    """A chain of permutations, reshapes, slices, flips and broadcasts is one view and right."""
    rng = np.random.default_rng(100 + seed)
    for k in range(20):
        draw = Draw(seed + k)
        shape = tuple(int(e) for e in rng.integers(1, 5, rng.integers(1, 4)))
        leaf = draw.leaf(shape, "f")
        node: Node = leaf
        value = draw.bindings[leaf]
        for _ in range(4):
            kind = rng.integers(4)
            if kind == 0:
                axes = [int(a) for a in rng.permutation(node.ndim)]
                node, value = build.permute(node, axes), value.transpose(axes)
            elif kind == 1:
                new = shapes_of(value.size, rng)
                node, value = build.reshape(node, new), value.reshape(new)
            elif kind == 2 and node.ndim < 5:
                wide = tuple(int(rng.integers(2, 4)) if e == 1 else e for e in node.shape)
                wide = (int(rng.integers(1, 3)), *wide)
                if prod(wide) < 300:
                    node, value = build.broadcast(node, wide), np.broadcast_to(value, wide)
            elif node.ndim:
                start = [int(rng.integers(e)) for e in node.shape]
                step = [int(rng.choice([1, -1, 2])) for _ in start]
                index = tuple(slice(a, None, s) for a, s in zip(start, step, strict=True))
                value = value[index]
                subs = [
                    affine(a, [(s, i)]) for i, (a, s) in enumerate(zip(start, step, strict=True))
                ]
                extents = dict(enumerate(value.shape))
                node = build.view(node, extents, subs, range(value.ndim), value.shape)
            same(node, draw, np.array(value))


def test_transposing_twice_is_nothing() -> None:
    leaf = Leaf(0, (2, 3, 4), np.dtype(float))
    for axes in itertools.permutations(range(3)):
        back = np.argsort(axes)
        assert build.permute(build.permute(leaf, axes), [int(a) for a in back]) is leaf


def test_a_wide_roll_folds() -> None:
    """mod(n, label) over more than n points writes elements several times: it is a sum."""
    from chainrule.expr.draft import Draft
    from chainrule.expr.subs import modulo

    draw = Draw(1)
    leaf = draw.leaf((6,), "f")
    out = modulo(0, 3, {0: 6})
    node = Draft((3,), leaf.dtype, 1, {0: 6}, [(leaf, (0,))], [out]).finish()
    assert isinstance(node, Term)
    assert not build.injective(node)
    same(node, draw, draw.bindings[leaf].reshape(2, 3).sum(0))


@pytest.mark.parametrize("seed", SEEDS)
def test_einsum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for k in range(30):
        draw = Draw(k)
        sizes = [int(e) for e in rng.integers(1, 4, 5)]
        if k % 10 == 9:
            sizes[0] = 0
        operands, inputs = [], []
        for _ in range(int(rng.integers(1, 4))):
            labels = [int(a) for a in rng.integers(0, 5, rng.integers(0, 4))]
            leaf = draw.leaf(tuple(sizes[a] for a in labels), "f")
            operands.append((leaf, labels))
            inputs += [draw.bindings[leaf], labels]
        used = sorted({a for _, labels in operands for a in labels})
        out = [int(a) for a in rng.permutation(used)][: int(rng.integers(0, 4))]
        node = build.einsum(1, operands, out)
        same(node, draw, np.asarray(np.einsum(*inputs, out)))


@pytest.mark.parametrize(
    ("a", "b", "equation"),
    [
        ((3, 4), (4, 2), "ab,bc->ac"),
        ((3, 4), (4, 2), "ab,bc->ca"),
        ((5, 3, 4), (5, 4, 2), "nab,nbc->nac"),
        ((3, 4), (2, 4), "ab,cb->ac"),
        ((4,), (4,), "a,a->"),
        ((3, 4), (3, 4), "ab,ab->a"),
        ((3, 4), (4,), "ab,b->a"),
        ((3,), (4,), "a,b->ab"),
        ((2, 3, 4), (4, 3, 5), "abc,cbd->ad"),
        ((2, 3, 4), (2, 4), "nab,nb->na"),
        ((2, 3), (2, 3, 5), "na,nab->bn"),
        ((2, 3, 4), (5, 3), "abc,db->adc"),
        ((6, 2, 3, 4), (6, 3, 5), "nabc,nbd->ncad"),
        ((3, 3), (3, 2), "aa,ab->b"),
        ((3, 3), (3, 2), "ab,ac->abc"),
    ],
)
def test_contraction(a: tuple[int, ...], b: tuple[int, ...], equation: str) -> None:
    for kind in "fsci":
        draw = Draw(3)
        x, y = draw.leaf(a, kind), draw.leaf(b, kind)
        inputs, out = equation.split("->")
        left, right = inputs.split(",")
        factors = [
            (x, tuple(ord(k) for k in left)),
            (y, tuple(ord(k) for k in right)),
        ]
        node = build.contraction(1, factors, [ord(k) for k in out])
        same(node, draw, np.asarray(np.einsum(equation, draw.bindings[x], draw.bindings[y])))


def test_sums_keep_their_dtype() -> None:
    draw = Draw(5)
    for dtype in ["i1", "i4", "f4", "f8", "c8"]:
        leaf = Leaf(len(draw.bindings), (4, 3), np.dtype(dtype))
        draw.bindings[leaf] = np.arange(12).reshape(4, 3).astype(dtype)
        desired = draw.bindings[leaf].sum(0, dtype=dtype)
        same(build.summed(leaf, (0,)), draw, desired)
        wide = np.result_type(dtype, "f8")
        same(build.summed(leaf, (0,), wide), draw, draw.bindings[leaf].sum(0, dtype=wide))


def test_results_are_fresh_and_apart() -> None:
    """No result shares memory with an input or with another result."""
    leaf = Leaf(0, (3, 3), np.dtype(complex))
    value = np.ones((3, 3)) * (1 + 2j)
    twice = build.linear((2, leaf))
    outputs = [
        leaf,
        build.permute(leaf, (1, 0)),
        build.map_("real", leaf),
        build.map_("imag", leaf),
        build.map_("stop", leaf),
        twice,
        twice,
        build.permute(twice, (1, 0)),
        build.map_("real", twice),
        build.broadcast(build.summed(leaf, (0, 1)), (2, 2)),
        build.view(twice, {0: 3, 1: 3}, [const(0), 0], [0], (3,)),
    ]
    results = [np.asarray(r) for r in evaluate(outputs, {leaf: value})]
    for i, a in enumerate(results):
        assert not np.shares_memory(a, value)
        a[...] = 7  # writable
        for b in results[:i]:
            assert not np.shares_memory(a, b)
