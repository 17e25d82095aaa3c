"""Native nests with short sums side by side, skipped rounds, values computed again."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import chainrule as cr
from chainrule.lower.native import fusion
from chainrule.lower.native.lowering import lower
from chainrule.lower.native.masks import skipped
from chainrule.lower.native.nest import Nest


@pytest.fixture
def nests(monkeypatch):
    """All loop nests of programs made natively."""
    found = []

    def watched(plan, *args):
        made = lower(plan, *args)
        for item in made.items:
            found.extend([item] if isinstance(item, Nest) else getattr(item, "nests", []))
        return made

    monkeypatch.setattr("chainrule.lower.native.program.lower", watched)
    monkeypatch.setattr(fusion, "WORTH", 1 << 10)
    cr.clear_caches()
    return found


def nearest(centroids, points):
    apart = points[:, None, :] - centroids[None, :, :]
    return np.sum(np.min(np.sum(apart**2, axis=-1), axis=1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize(
    ("n", "k", "d"), [(200, 8, 2), (97, 9, 3), (333, 40, 16), (64, 77, 5), (50, 130, 33)]
)
def test_gradient_of_nearest_distances(nests, n, k, d, dtype):
    rng = np.random.default_rng(n)
    points = rng.uniform(size=(n, d)).astype(dtype)
    centroids = rng.uniform(size=(k, d)).astype(dtype)
    native = cr.compile(cr.grad(nearest), backend="native")
    found = native(centroids, points)
    assert native.report() == ["native"]
    squares = ((points[:, None] - centroids) ** 2).sum(-1)
    chosen = np.eye(k, dtype=dtype)[squares.argmin(1)]
    expected = 2 * (chosen.sum(0)[:, None] * centroids - chosen.T @ points)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=10 * rtol)
    if k > 8:  # the smallest program is not worth a group
        assert any(nest.tiled for nest in nests)
        assert any(skipped(nest) for nest in nests)


def test_ties_are_shared_and_the_order_of_operands_does_not_matter(nests):
    points = np.zeros((100, 4))
    centroids = np.ones((20, 4)) * np.where(np.arange(20) < 4, 1.0, 3.0)[:, None]
    found = cr.compile(cr.grad(nearest), backend="native")(centroids, points)
    np.testing.assert_allclose(found, np.where(centroids == 1, 50.0, 0.0))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("k", [8, 31, 63, 64, 65, 100, 129])
def test_rounds_are_skipped(share, k):
    rng = np.random.default_rng(k)
    mask = rng.uniform(size=(40, k)) < share
    x = rng.normal(size=(40, 12))

    def f(w):
        return np.sum(np.where(mask[:, :, None], w[None] * x[:, None, :], 0.0))

    found = cr.compile(cr.grad(f), backend="native")(np.ones((k, 12)))
    np.testing.assert_allclose(found, mask.T @ x, atol=1e-12)


def test_what_a_false_mask_leaves_out_adds_nothing():
    def f(w, x):
        near = np.sum((x[:, None] - w[None]) ** 2, axis=-1)
        return np.sum(np.where(near[:, :, None] < 1, x[:, None] * w[None], 0.0))

    x = np.zeros((50, 6))
    x[7] = np.inf
    w = np.full((20, 6), 0.1)
    found = cr.compile(cr.grad(f), backend="native")(w, x)
    assert np.isfinite(found).all()


def test_results_do_not_depend_on_the_number_of_cores(monkeypatch):
    rng = np.random.default_rng(0)
    points, centroids = rng.uniform(size=(5000, 8)), rng.uniform(size=(50, 8))
    found = []
    for cores in ("1", "2", "3"):
        monkeypatch.setenv("CHAINRULE_NUM_THREADS", cores)
        cr.clear_caches()
        found.append(cr.compile(cr.grad(nearest), backend="native")(centroids, points))
    assert all((one == found[0]).all() for one in found)


def test_an_operand_written_in_place_is_not_read_again():
    """A value is computed anew only where its operands are still what they were."""

    def f(x):
        y = np.exp(x[:40])
        z = y[:, None] - x[None, :60]
        y[3:9] = 0.0
        return np.sum(np.max(z * y[:, None], axis=1)), z

    x = np.random.default_rng(4).normal(size=100)
    for one, other in zip(cr.compile(f, backend="native")(x), f(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)
