"""Shifted windows of one diagonal become one term, with the same values."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr


def test_the_hessian_of_rosenbrock_is_tridiagonal_in_three_terms():
    n = 50
    x = np.random.default_rng(0).normal(size=n)
    H = cr.hessian(lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))(x)
    assert H.structure == "a->(a+1)|a + a->a|(a+1) + a->a|a"
    main = np.zeros(n)
    main[:-1] = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    main[1:] += 200
    side = -400 * x[:-1]
    expected = np.diag(main) + np.diag(side, 1) + np.diag(side, -1)
    np.testing.assert_allclose(np.asarray(H), expected, rtol=1e-13)


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_windows_of_two_axes(shift):
    """Blocks of a matrix written over each other, shifted along both axes or along one."""
    x = np.random.default_rng(shift).normal(size=(9, 7))

    def f(x):
        y = np.sin(x)
        y[shift:, 1:] += np.cos(x[shift:, 1:])
        y[: 9 - shift] *= x[: 9 - shift]
        return y

    J = cr.jacobian(f)(x)
    assert J.nbytes <= 2 * x.nbytes
    columns = [cr.jvp(f, (x,), (e,))[1] for e in np.eye(63).reshape(63, 9, 7)]
    np.testing.assert_allclose(np.asarray(J), np.stack(columns, -1).reshape(J.shape), rtol=1e-12)


def test_distant_windows_stay_apart():
    def f(x):
        return np.concatenate([np.sin(x[:3]), np.zeros(994), np.cos(x[-3:])])

    J = cr.jacobian(f)(np.ones(1000))
    assert J.nbytes <= 6 * 8
    assert J.structure.count("->") == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, bool])
def test_small_integers_are_summed_as_numpy_sums_them(dtype):
    many = np.ones(300, dtype)
    value, _ = cr.value_and_grad(lambda x: x * np.sum(np.where(x > 0, many, many)))(2.0)
    assert value == 600.0
