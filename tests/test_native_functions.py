"""Native elementary functions: errors in ulp over the whole range, edges, huge arguments."""

import numpy as np
import pytest
import scipy.special

pytest.importorskip("llvmlite")

import chainrule as cr

REFERENCE = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "erf": scipy.special.erf,
    "expit": scipy.special.expit,
}
COUNT = 1 << 16


def arguments(dtype, seed):
    """Ordinary, tiny, large and arbitrary numbers, with the edges among them."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    bits = np.uint64 if dtype == np.float64 else np.uint32
    with np.errstate(all="ignore"):
        parts = [
            rng.normal(size=COUNT) * 3,
            rng.normal(size=COUNT) * 1e-4,
            rng.uniform(-800, 800, COUNT),
            np.exp(rng.uniform(-80, 80, COUNT)) * rng.choice([-1, 1], COUNT),
            rng.integers(0, np.iinfo(bits).max, COUNT, dtype=bits, endpoint=True).view(dtype),
            np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, info.tiny, -info.tiny]),
            np.array([info.smallest_subnormal, info.max, -info.max, info.eps, 1 + info.eps]),
            np.arange(-40, 40) * (np.pi / 2),
        ]
        return np.concatenate([np.asarray(p, dtype) for p in parts])


def ulps(found, exact, dtype):
    """Errors in units in the last place of the correctly rounded result, where it is finite."""
    rounded = exact.astype(dtype)
    finite = np.isfinite(rounded)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(rounded)).astype(exact.dtype)
        errors = np.abs(found.astype(exact.dtype) - exact) / unit
    same = (rounded == found) | (np.isnan(rounded) & np.isnan(found))
    assert same[~finite].all(), (found[~finite & ~same][:5], rounded[~finite & ~same][:5])
    return np.where(finite, errors, 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("name", REFERENCE)
def test_error_in_ulp(name, dtype):
    f = REFERENCE[name]
    native = cr.compile(lambda x: f(x), backend="native")
    x = arguments(dtype, 7)
    found = native(x)
    assert native.report() == ["native"]
    assert found.dtype == dtype
    plain = name in ("erf", "expit")  # SciPy has no long double of these: its error comes on top
    wide = np.float64 if dtype == np.float32 or plain else np.longdouble
    exact = f(x.astype(wide))
    if name == "expit":
        e = np.exp(-np.abs(x.astype(np.longdouble)))
        exact = np.where(x < 0, e, 1) / (1 + e)
    errors = ulps(found, exact, dtype)
    # exp's own double rounding of denormals is within the bound too
    limit = 4.0 if plain and dtype == np.float64 else 3.0
    worst = int(np.argmax(errors))
    assert errors[worst] <= limit, (x[worst], found[worst], exact[worst], errors[worst])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_power_in_ulp(dtype):
    native = cr.compile(lambda x, y: np.power(x, y), backend="native")
    rng = np.random.default_rng(3)
    x = np.concatenate(
        [np.exp(rng.normal(size=COUNT) * 20), -np.arange(1.0, 9), [0, np.inf, np.nan]]
    )
    y = np.concatenate([rng.normal(size=COUNT) * 25, np.arange(-4.0, 4), [-1, 0.5, 0]])
    x, y = x.astype(dtype), y.astype(dtype)
    wide = np.longdouble if dtype == np.float64 else np.float64
    errors = ulps(native(x, y), np.power(x.astype(wide), y.astype(wide)), dtype)
    assert native.report() == ["native"]
    assert errors.max() <= 3


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_zeros_keep_their_sign(dtype):
    for f in (np.sin, np.tanh, np.expm1, np.log1p, scipy.special.erf):
        native = cr.compile(lambda x, f=f: f(x), backend="native")
        y = native(np.array([0.0, -0.0] * 9, dtype))
        assert (np.signbit(y) == [False, True] * 9).all(), f
        assert (y == 0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_sums_are_accurate(dtype):
    x = np.random.default_rng(0).uniform(size=1 << 21).astype(dtype)
    native = cr.compile(lambda x: np.sum(x), backend="native")
    exact = np.sum(x.astype(np.longdouble))
    assert abs(native(x) - exact) / exact <= 8 * np.finfo(dtype).eps
    assert native.report() == ["native"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_circular_functions_near_their_zeros(name, dtype):
    """There the reduced argument has lost all leading digits."""
    f, wide = REFERENCE[name], np.longdouble if dtype == np.float64 else np.float64
    rng = np.random.default_rng(1)
    most = int((2**30 if dtype == np.float64 else 2**17) / 1.58)
    half = np.longdouble(1.5707963267948966) + np.longdouble(6.123233995736766e-17)
    x = (np.concatenate([np.arange(1, COUNT), rng.integers(1, most, COUNT)]) * half).astype(dtype)
    x = np.concatenate([x, -np.nextafter(x, dtype(np.inf)), np.nextafter(x, dtype(0))])
    native = cr.compile(lambda x: f(x), backend="native")
    assert ulps(native(x), f(x.astype(wide)), dtype).max() <= 2


@pytest.mark.parametrize("count", [1, 3, 7, 15, 31, 32, 33, 63, 100, 129, 8191, 8209])
def test_any_length(count):
    """Whole rounds of wide vectors, and what is left of the last."""
    x = np.random.default_rng(2).normal(size=count)
    both = cr.compile(lambda x: (np.exp(x) * np.sin(x), np.sum(np.exp(x))), backend="native")
    product, total = both(x)
    np.testing.assert_allclose(product, np.exp(x) * np.sin(x), rtol=1e-15)
    np.testing.assert_allclose(total, np.sum(np.exp(x)), rtol=1e-14)
