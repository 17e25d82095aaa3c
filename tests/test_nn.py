"""Optimizers against steps computed by hand, batches, initial parameters, the training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

PARAMS = {"w": np.array([[1.0, -2.0]]), "layers": [np.array([0.5])]}
GRADIENT = {"w": np.array([[0.5, 4.0]]), "layers": [np.array([-1.0])]}


# -- optimizers -------------------------------------------------------------------------------
def test_gradient_descent_step() -> None:
    optimizer = nn.GradientDescent(rate=0.1)
    state = optimizer.start(PARAMS)
    params, state = optimizer.step(PARAMS, GRADIENT, state)
    np.testing.assert_allclose(params["w"], [[0.95, -2.4]], rtol=1e-15)
    np.testing.assert_allclose(params["layers"][0], [0.6], rtol=1e-15)
    assert state is None


def test_adam_first_step_is_the_rate_against_the_sign() -> None:
    """m̂ = g and v̂ = g² after one step, so each element moves by rate · g / (|g| + eps)."""
    optimizer = nn.Adam(rate=0.01, eps=1e-8)
    params, state = optimizer.step(PARAMS, GRADIENT, optimizer.start(PARAMS))
    np.testing.assert_allclose(params["w"], [[0.99, -2.01]], rtol=1e-8)
    np.testing.assert_allclose(params["layers"][0], [0.51], rtol=1e-8)
    assert state.steps == 1
    np.testing.assert_allclose(state.mean["w"], [[0.05, 0.4]], rtol=1e-14)
    np.testing.assert_allclose(state.square["w"], [[0.00025, 0.016]], rtol=1e-13)


def test_adam_three_steps_by_hand() -> None:
    """β₁ = 1/2, β₂ = 3/4, rate 1, eps 0, gradients 1, -2, 4, in exact fractions.

    m = 1/2, -3/4, 13/8; m̂ = m / (1 - 2⁻ᵗ) = 1, -1, 13/7.
    v = 1/4, 19/16, 313/64; v̂ = v / (1 - (3/4)ᵗ) = 1, 19/7, 313/37.
    """
    optimizer = nn.Adam(rate=1.0, beta1=0.5, beta2=0.75, eps=1e-30)
    theta: Any = np.array([10.0])
    state = optimizer.start(theta)
    expected = 10.0
    for g, mean, square in ((1, 1, 1), (-2, -1, 19 / 7), (4, 13 / 7, 313 / 37)):
        theta, state = optimizer.step(theta, np.array([float(g)]), state)
        expected -= mean / square**0.5
        np.testing.assert_allclose(theta, [expected], rtol=1e-14)
    assert state.steps == 3


@pytest.mark.parametrize("optimizer", [nn.GradientDescent(0.1), nn.Adam()])
def test_steps_leave_their_arguments_alone(optimizer: Any) -> None:
    params = {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float64)}
    gradient = {"w": np.full((2, 3), 2.0, np.float32), "b": np.ones(3)}
    state = optimizer.start(params)
    for _ in range(3):
        fresh, state = optimizer.step(params, gradient, state)
    assert fresh["w"].dtype == np.float32
    assert fresh["b"].dtype == np.float64
    np.testing.assert_array_equal(params["w"], 1)
    np.testing.assert_array_equal(params["b"], 0)
    np.testing.assert_array_equal(gradient["w"], 2)
    assert (fresh["w"] < 1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.GradientDescent(0.0), "rate must be a positive number, got 0.0"),
        (lambda: nn.GradientDescent(float("nan")), "rate"),
        (lambda: nn.Adam(rate=-1.0), "rate"),
        (lambda: nn.Adam(eps=0.0), "eps"),
        (lambda: nn.Adam(beta1=1.0), r"beta1 must be in \[0, 1\), got 1.0"),
        (lambda: nn.Adam(beta2=-0.1), "beta2"),
    ],
)
def test_optimizers_refuse(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -- batches ----------------------------------------------------------------------------------
def test_batches_hold_every_row_once_and_rows_stay_together() -> None:
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    found = list(nn.batches(x, y, size=4, rng=np.random.default_rng(0)))
    assert [len(b[0]) for b in found] == [4, 4, 2]
    rows = np.concatenate([b[1] for b in found])
    assert sorted(rows) == list(range(10))
    assert list(rows) != list(range(10))
    for x_batch, y_batch in found:
        np.testing.assert_array_equal(x_batch, x[y_batch])


def test_batches_repeat_with_the_seed() -> None:
    x = np.arange(30)

    def order(seed: int) -> list[int]:
        return [
            int(v) for (b,) in nn.batches(x, size=7, rng=np.random.default_rng(seed)) for v in b
        ]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_batches_larger_than_the_data() -> None:
    ((only,),) = nn.batches(np.arange(3), size=100, rng=np.random.default_rng(0))
    assert sorted(only) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "size", "message"),
    [
        ((), 1, "at least one array"),
        ((np.ones(3),), 0, "at least one row, got size=0"),
        ((np.ones(3), np.ones((4, 2))), 1, r"differ in rows: \(3,\), \(4, 2\)"),
    ],
)
def test_batches_refuse_at_the_call(arrays: Any, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.batches(*arrays, size=size, rng=np.random.default_rng(0))


# -- initial parameters -----------------------------------------------------------------------
def test_dense_shapes_and_range() -> None:
    params = nn.dense((64, 32, 10), np.random.default_rng(0))
    assert {k: v.shape for k, v in params.items()} == {
        "w1": (64, 32),
        "b1": (32,),
        "w2": (32, 10),
        "b2": (10,),
    }
    for layer, (n, m) in enumerate(((64, 32), (32, 10)), start=1):
        weights, bound = params[f"w{layer}"], np.sqrt(6 / (n + m))
        assert np.abs(weights).max() <= bound
        np.testing.assert_allclose(weights.var(), bound**2 / 3, rtol=0.15)
        np.testing.assert_array_equal(params[f"b{layer}"], 0)


def test_dense_dtype_and_seed() -> None:
    first, second = (nn.dense((3, 2), np.random.default_rng(5), np.float32) for _ in range(2))
    assert all(v.dtype == np.float32 for v in first.values())
    np.testing.assert_array_equal(first["w1"], second["w1"])


@pytest.mark.parametrize("sizes", [(), (3,), (3, 0), (3, -1, 2)])
def test_dense_refuses(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or more positive layer sizes"):
        nn.dense(sizes, np.random.default_rng(0))


# -- training ---------------------------------------------------------------------------------
def _line(params: Any, x: Any, y: Any) -> Any:
    return np.mean((x @ params["w"] + params["b"] - y) ** 2)


def _line_data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(64, 2))
    return x, x @ np.array([3.0, -1.0]) + 0.5


@pytest.mark.parametrize(
    ("optimizer", "epochs"), [(nn.GradientDescent(0.1), 60), (nn.Adam(0.05), 120)]
)
def test_fit_finds_a_line(optimizer: Any, epochs: int) -> None:
    x, y = _line_data()
    start = {"w": np.zeros(2), "b": np.zeros(())}
    trained = list(
        nn.fit(
            cr.compile(cr.value_and_grad(_line)),
            start,
            x,
            y,
            optimizer=optimizer,
            epochs=epochs,
            batch=16,
            rng=np.random.default_rng(0),
        )
    )
    assert [epoch.number for epoch in trained] == list(range(1, epochs + 1))
    np.testing.assert_allclose(trained[-1].params["w"], [3, -1], atol=1e-3)
    np.testing.assert_allclose(trained[-1].params["b"], 0.5, atol=1e-3)
    assert trained[-1].mean_loss < 1e-4 < trained[0].mean_loss
    np.testing.assert_array_equal(start["w"], 0)


def test_fit_reports_the_mean_over_rows() -> None:
    """Batches of 3 and 1 rows: the mean loss weighs them by their rows."""
    losses = {3: 1.0, 1: 5.0}

    def value_and_grad(params: Any, x: Any, y: Any) -> Any:
        return losses[len(x)], np.zeros(())

    (epoch,) = nn.fit(
        value_and_grad,
        np.zeros(()),
        np.zeros((4, 1)),
        np.zeros(4),
        optimizer=nn.GradientDescent(),
        epochs=1,
        batch=3,
        rng=np.random.default_rng(0),
    )
    assert epoch.mean_loss == (3 * 1.0 + 1 * 5.0) / 4


def test_fit_stops_where_the_loss_is_not_finite() -> None:
    x, y = _line_data()
    with (
        pytest.raises(FloatingPointError, match="smaller learning rate usually helps"),
        np.errstate(all="ignore"),
    ):
        list(
            nn.fit(
                cr.value_and_grad(_line),
                {"w": np.zeros(2), "b": np.zeros(())},
                x,
                y,
                optimizer=nn.GradientDescent(1e6),
                epochs=200,
                batch=16,
                rng=np.random.default_rng(0),
            )
        )


# -- data -------------------------------------------------------------------------------------
def test_one_hot() -> None:
    labels = np.array([2, 0])
    data = nn.Dataset(np.zeros((2, 1), np.float32), labels, np.zeros((0, 1)), labels[:0], 3)
    np.testing.assert_array_equal(data.y_train, [[0, 0, 1], [1, 0, 0]])
    assert data.y_train.dtype == np.float32
    assert data.y_test.shape == (0, 3)


def test_digits_are_split_by_class_and_centred() -> None:
    pytest.importorskip("sklearn")
    data = nn.load_digits(seed=3)
    assert data.x_train.shape == (1437, 64)
    assert data.x_test.shape == (360, 64)
    np.testing.assert_allclose(data.x_train.mean(axis=0), 0, atol=1e-12)
    train, test = np.bincount(data.labels_train), np.bincount(data.labels_test)
    np.testing.assert_allclose(test / len(data.labels_test), train / 1437, atol=0.003)
    again = nn.load_digits(seed=3)
    np.testing.assert_array_equal(again.labels_test, data.labels_test)
    assert (nn.load_digits(seed=4).labels_test != data.labels_test).any()
