"""Graphs: deep ones, interning, the checker of the typing rules, results of programs."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from chainrule.chain.sweep import pullback, pushforward
from chainrule.expr.build import contraction, linear, map_, ones, product
from chainrule.expr.draft import Draft, tidy_coef
from chainrule.expr.nodes import Box, Call, Const, Leaf, Map, Node, Sum, Term
from chainrule.expr.ops import OPS, result_dtype
from chainrule.expr.subs import Affine, Div, Look, Mod, affine, const, divided, modulo
from chainrule.expr.verify import MalformedError, verify
from chainrule.expr.walk import substitute_nodes, topological
from chainrule.lower.elementwise import ELEMENTWISE
from chainrule.lower.run import clear, evaluate

FLOAT = np.dtype(float)
DEEP = 100_000
CONSTANTS = 7


def chain(leaf: Leaf, length: int) -> Node:
    """Three kinds of nodes in turn, deep and bounded in value."""
    node: Node = leaf
    for k in range(length // 3):
        node = map_("sin", node)
        node = linear((1, node), (0.5, Const(float(k % CONSTANTS))))
        node = product(node, coef=0.5)
    return node


def test_deep_chains_are_walked_without_recursion() -> None:
    x, y = Leaf(0, (), FLOAT), Leaf(1, (), FLOAT)
    node = chain(x, DEEP)
    order = topological([node])
    assert len(order) > DEEP
    (moved,) = substitute_nodes([node], {x: y})
    verify([moved])
    assert len(topological([moved, node])) == 2 * len(order) - CONSTANTS
    desired = 0.3
    for k in range(DEEP // 3):
        desired = (np.sin(desired) + 0.5 * float(k % CONSTANTS)) * 0.5
    assert evaluate([moved], {y: np.float64(0.3)}) == [desired]


def test_deep_chains_are_differentiated_and_collected() -> None:
    x = Leaf(0, (), FLOAT)
    node = chain(x, DEEP // 5)
    one = ones((), FLOAT)
    (gradient,) = pullback([node], [one], [x])
    (tangent,) = pushforward([node], [x], [one])
    backward, forward = evaluate([gradient, tangent], {x: np.float64(0.3)})
    np.testing.assert_allclose(backward, forward, rtol=1e-9)
    clear()
    alive = weakref.ref(node)
    del node, gradient, tangent
    gc.collect()
    assert alive() is None


def test_sharing_is_walked_once() -> None:
    node: Node = Leaf(0, (), FLOAT)
    for _ in range(200):
        node = product(node, node)
    assert len(topological([node])) == 201
    verify([node])


# -- interning ------------------------------------------------------------------------------------
def test_the_same_structure_is_the_same_object() -> None:
    def build() -> list[Node]:
        x, w = Leaf(0, (4, 3), FLOAT), Leaf(1, (3, 2), FLOAT)
        z = contraction(1, [(x, (7, 5)), (w, (5, 9))], [7, 9])
        t = Leaf(2, (4,), np.dtype(np.intp))
        look = affine(1, [(2, Look(t, (0,), 4))])
        return [
            z,
            map_("exp", z),
            linear((1, z), (-1, z)),
            Box(z),
            Map("polygamma", z.shape, FLOAT, (z,), (1,)),
            Call("inv", (4, 4), FLOAT, (Leaf(3, (4, 4), FLOAT),)),
            Term((9, 4), FLOAT, 2, (4,), (), (look, 0)),
        ]

    first, again = build(), build()
    assert all(a is b for a, b in zip(first, again, strict=True))
    numbers = [node.uid for node in first]
    assert len(set(numbers)) == len(numbers)


def test_labels_are_named_by_appearance() -> None:
    x = Leaf(0, (4, 4), FLOAT)
    nodes = {
        contraction(1, [(x, (a, b)), (x, (b, c))], [a, c])
        for a, b, c in [(0, 1, 2), (2, 0, 1), (9, 4, 7), (1, 2, 0)]
    }
    assert len(nodes) == 1


def test_constants_differ_by_type_and_bits() -> None:
    values: list[Any] = [0.0, -0.0, 0, False, 0j, -0j, 1, 1.0, True, 1 + 0j, math.nan]
    nodes = [Const(v) for v in values]
    assert len(set(nodes)) == len(values)
    assert Const(math.nan) is nodes[-1]
    x = Leaf(0, (2,), FLOAT)
    assert len({Map("polygamma", (2,), FLOAT, (x,), (v,)) for v in values}) == len(values)
    assert len({Call("f", (2,), FLOAT, (x,), ((v,),)) for v in values}) == len(values)
    assert len({Sum((2,), FLOAT, ((v, x),)) for v in values}) == len(values)
    assert len({Term((2,), FLOAT, v, (2,), ((x, (0,)),), (0,)) for v in values}) == len(values)


def test_numpy_scalars_become_python_scalars() -> None:
    """NumPy's scalars are not weak: as coefficients they would turn float32 into float64."""
    assert Const(np.float64(2.5)) is Const(2.5)
    assert type(Const(np.float64(2.5)).value) is float
    assert type(tidy_coef(np.float64(0.3))) is float
    x = Leaf(0, (2,), np.dtype(np.float32))
    node = product(x, coef=np.float64(0.3))
    (value,) = evaluate([node], {x: np.ones(2, np.float32)})
    assert value.dtype == np.float32
    assert node is product(x, coef=0.3)


def test_interning_from_several_threads() -> None:
    leaves = [Leaf(k, (3,), FLOAT) for k in range(50)]
    found: list[list[Node]] = []

    def work() -> None:
        found.append([product(a, b) for a in leaves for b in leaves])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(nodes == found[0] for nodes in found)


# -- dtypes ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("op", [o for o in OPS if o not in ("astype", "polygamma")])
def test_dtypes_are_those_of_numpy(op: str) -> None:
    kinds = [np.dtype(k) for k in "?ilfdFD"]
    weak: list[Any] = [*kinds, int, float, complex] if OPS[op].arity > 1 else list(kinds)
    first = [np.dtype(bool)] if op == "where" else kinds
    for left in first:
        for right in weak if OPS[op].arity > 1 else [None]:
            dtypes = [left, right, right][: OPS[op].arity]
            values = [d(1) if isinstance(d, type) else np.ones(2, d) for d in dtypes]
            try:
                with np.errstate(all="ignore"):
                    desired = np.asarray(ELEMENTWISE[op](*values)).dtype
            except TypeError:
                continue
            special = not isinstance(getattr(np, op, None), np.ufunc) and op != "where"
            if special and (len(set(dtypes)) > 1 or left.kind not in "fc"):
                continue  # SciPy's own promotion: the program casts to what is declared
            assert result_dtype(op, dtypes, ()) == desired, dtypes


# -- the checker ----------------------------------------------------------------------------------
X = Leaf(0, (4, 3), FLOAT)
T = Leaf(1, (4,), np.dtype(np.intp))


@pytest.mark.parametrize(
    "node",
    [
        Term((4,), FLOAT, 1, (4, 3), ((X, (0,)),), (0,)),  # a subscript is missing
        Term((4,), FLOAT, 1, (4, 3), ((X, (0, 2)),), (0,)),  # an unknown label
        Term((4,), FLOAT, 1, (3, 4), ((X, (1, 0)),), (1,)),  # numbered in another order
        Term((4,), FLOAT, 1, (4, 3, 5), ((X, (0, 1)),), (0,)),  # a label that does not occur
        Term((4,), FLOAT, 1, (5, 3), ((X, (0, 1)),), (0,)),  # out of range
        Term((4,), FLOAT, 1, (4, 3), ((X, (affine(1, [(1, 0)]), 1)),), (0,)),  # out of range
        Term((3,), FLOAT, 1, (4, 3), ((X, (0, 1)),), (0,)),  # writes beyond
        Term((4, 1), FLOAT, 1, (4, 1), (), (0, 1)),  # a unit label
        Term((4,), FLOAT, 1, (4,), ((Const(2.0), ()),), (0,)),  # a scalar factor
        Term((4,), FLOAT, 1j, (4,), (), (0,)),  # complex in a real term
        Term((4,), FLOAT, True, (4,), (), (0,)),  # a boolean coefficient
        Term((4,), FLOAT, 1, (4,), (), (Affine(0, ((1, 0),)),)),  # a label in disguise
        Term((4,), FLOAT, 1, (2, 2), (), (Affine(0, ((2, 1), (2, 0))),)),  # not canonical
        Term((4,), FLOAT, 1, (4,), (), (affine(0, [(1, Look(X, (0, 0), 4))]),)),  # float table
        Term((3,), FLOAT, 1, (4,), (), (affine(0, [(1, Look(T, (0,), 4))]),)),  # entries too large
        Sum((4,), FLOAT, ((1, X),)),  # another shape
        Sum((4, 3), np.dtype(int), ((1, X),)),  # does not fit
        Map("exp", (4,), FLOAT, (X,)),
        Map("exp", (4, 3), np.dtype(np.float32), (X,)),
        Map("power", (4, 3), FLOAT, (X,)),
        Map("nothing", (4, 3), FLOAT, (X,)),
        Call("inv", (4, 4), FLOAT, (X,)),
        Call("nothing", (4, 4), FLOAT, (X,)),
    ],
    ids=str,
)
def test_malformed_nodes_are_named(node: Node) -> None:
    root = Box(Box(node))
    with pytest.raises(MalformedError) as caught:
        verify([root])
    assert caught.value.node is node


def test_ranges_may_be_left_where_constraints_fail() -> None:
    shifted = affine(-1, [(1, 0), (1, 1)])
    guards = [shifted, affine(4, [(-1, 0), (-1, 1)])]
    x = Leaf(0, (4,), FLOAT)
    node = Term((4,), FLOAT, 1, (4, 3), ((x, (shifted,)),), (0,), (guards[0], guards[1]))
    ok = Term((4,), FLOAT, 1, (4, 3), ((x, (shifted,)),), (0,), (guards[1], guards[0]))
    with pytest.raises(MalformedError, match="order"):
        verify([node])
    verify([ok])
    bad = Term((4,), FLOAT, 1, (4, 3), ((x, (shifted,)),), (0,), (shifted,))
    with pytest.raises(MalformedError, match="axis 0"):
        verify([bad])


# -- subscripts -----------------------------------------------------------------------------------
def test_mod_and_div_simplify_to_the_same_values() -> None:
    from terms import Draw, subscript

    for seed in range(300):
        draw = Draw(seed)
        extents = {k: draw.integer(1, 5) for k in range(3)}
        draw.leaf = None  # type: ignore[assignment]
        try:
            sub = draw.subscript(extents)
        except TypeError:
            continue  # a table
        n = draw.integer(1, 6)
        for point in np.ndindex(*extents.values()):
            value = subscript(sub, point, {})
            assert subscript(modulo(sub, n, extents), point, {}) == value % n
            assert subscript(divided(sub, n, extents), point, {}) == value // n


def test_keys_are_ordered_by_structure() -> None:
    one = affine(0, [(1, Mod(3, 0)), (2, Mod(3, 1)), (1, Div(2, 0)), (1, 2)])
    other = affine(0, [(1, 2), (1, Div(2, 0)), (2, Mod(3, 1)), (1, Mod(3, 0))])
    assert one == other
    assert const(3) == affine(3, [(0, 1)])


def test_summed_constants() -> None:
    """A label that occurs nowhere is a factor of the coefficient."""
    node = Draft((4,), FLOAT, 1, {5: 3, 2: 4}, [], [2]).finish()
    assert isinstance(node, Term)
    assert node.coef == 3
    assert not node.factors
