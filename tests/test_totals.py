"""Σ x · (1/Σ x) = 1 in derivatives: a maximum subtracted before exp leaves no trace."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.expr.build import map_, summed
from chainrule.expr.draft import Draft
from chainrule.expr.nodes import Leaf, Term
from chainrule.lower import plan
from chainrule.simplify.totals import normalize

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(5, 7))


def log_sum_exp(np, x, axis=-1):
    top = np.max(x, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(x - top), axis=axis))


def log_softmax(np, x):
    apart = x - np.max(x, axis=-1, keepdims=True)
    return apart - np.log(np.sum(np.exp(apart), axis=-1, keepdims=True))


FUNCTIONS = {
    "of all": lambda np: lambda x: np.max(x) + np.log(np.sum(np.exp(x - np.max(x)))),
    "rows, squared": lambda np: lambda x: np.sum(log_sum_exp(np, x) ** 2),
    "columns": lambda np: lambda x: 3 * np.sum(log_sum_exp(np, x, 0)),
    "log-softmax": lambda np: lambda x: np.sum(WEIGHTS * log_softmax(np, x)),
    "cross-entropy": lambda np: lambda x: np.sum(WEIGHTS * (x - log_sum_exp(np, x)[:, None])),
    "of a product": lambda np: lambda x: np.sum(log_sum_exp(np, x @ WEIGHTS.T)),
}


@pytest.fixture
def operations(monkeypatch):
    """Names of elementwise operations in all plans that are made."""
    found = []
    make = plan.make_plan

    def watched(outputs):
        made = make(outputs)
        found.extend(getattr(step, "op", "") for step in made.steps)
        return made

    monkeypatch.setattr("chainrule.lower.run.make_plan", watched)
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_maximum_has_no_derivative(name, operations):
    jax = pytest.importorskip("jax")
    f = FUNCTIONS[name]
    x = RNG.normal(size=(5, 7))
    x[0, 2] = x[0, 4] = 3.0  # a tie, which would be counted and shared
    cr.clear_caches()
    found = cr.grad(f(np))(x)
    assert "exp" in operations
    assert "equal" not in operations
    expected = jax.grad(f(jax.numpy))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_other_uses_of_the_maximum_keep_theirs(operations):
    jax = pytest.importorskip("jax")

    def f(np):
        return lambda x: np.sum(log_sum_exp(np, x) * np.max(x, axis=-1))

    x = RNG.normal(size=(5, 7))
    cr.clear_caches()
    found = cr.grad(f(np))(x)
    assert "equal" in operations
    np.testing.assert_allclose(found, jax.grad(f(jax.numpy))(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("extents", "x_read", "out", "works"),
    [
        ({0: 3, 1: 4}, (0, 1), (0,), True),
        ({0: 3, 1: 4}, (0, 1), (0, 1), False),  # not summed
        ({0: 3, 1: 4, 2: 3}, (2, 1), (0,), False),  # another row's total
        ({0: 3, 1: 3}, (0, 1), (0,), False),  # a part of the row
    ],
)
def test_only_whole_sums_of_the_same_numbers_go(extents, x_read, out, works):
    x = Leaf(900_001, (3, 4), np.dtype(float))
    total = map_("reciprocal", summed(x, (1,)))
    shape = tuple(extents[k] for k in out)
    draft = Draft(shape, x.dtype, 1, dict(extents), [(total, (0,)), (x, x_read)], out)
    assert normalize(draft) is works
    if works:
        made = draft.finish()
        assert isinstance(made, Term)
        assert (made.factors, made.coef) == ((), 1)


def test_a_label_that_others_hold_stays():
    x = Leaf(900_001, (3, 4), np.dtype(float))
    other = Leaf(900_002, (4,), np.dtype(float))
    total = map_("reciprocal", summed(x, (1,)))
    factors = [(total, (0,)), (x, (0, 1)), (other, (1,))]
    assert not normalize(Draft((3,), x.dtype, 1, {0: 3, 1: 4}, factors, (0,)))
