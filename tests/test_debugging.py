"""debug_nans: where a NaN came from."""

import numpy as np
import pytest

import chainrule as cr

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def loss(x):
    return np.sum(np.sqrt(x) * np.cos(x))


@pytest.mark.parametrize("compiled", [False, True], ids=["traced", "compiled"])
def test_the_operation_is_named(compiled):
    f = cr.value_and_grad(loss)
    f = cr.compile(f) if compiled else f
    x = np.array([1.0, -2.0, 3.0])
    assert np.isnan(f(x)[0])
    with cr.debug_nans(), pytest.raises(FloatingPointError, match=r"made by: sqrt of shape \[3\]"):
        f(x)
    assert np.isnan(f(x)[0])  # the context restores itself after an error
    with cr.debug_nans():
        np.testing.assert_allclose(f(np.abs(x))[0], loss(np.abs(x)))


def test_native_programs_are_looked_at_too():
    pytest.importorskip("llvmlite")
    f = cr.compile(loss, backend="native")
    x = np.array([1.0, -2.0])
    f(x)
    with cr.debug_nans(), pytest.raises(FloatingPointError, match="sqrt"):
        f(x)


def test_nan_of_an_argument_is_said_as_such():
    with cr.debug_nans(), pytest.raises(FloatingPointError, match="holds NaN already"):
        cr.grad(loss)(np.array([1.0, np.nan]))


def test_what_where_leaves_out_is_no_nan():
    x = np.array([-1.0, 2.0])
    with cr.debug_nans():
        slope = cr.grad(lambda x: np.sum(np.where(x > 0, np.log(x), x)))(x)
    np.testing.assert_allclose(slope, [1, 0.5])


def test_switched_off_inside():
    x = np.array([-1.0])
    with cr.debug_nans(), cr.debug_nans(False):
        assert np.isnan(cr.grad(loss)(x)[0])
