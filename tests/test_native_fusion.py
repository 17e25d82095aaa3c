"""Loop nests under one outermost loop: the same results, whatever the strips and the cores."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr

pytest.importorskip("llvmlite")

from chainrule.lower.native import fusion, lowering, program
from chainrule.lower.native.fusion import Group

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from problems import gmm, kmeans


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    """The groups of all programs made in a test; fusion is always worth while."""
    found: list[Group] = []

    def lower(plan: Any, *more: Any) -> Any:
        lowered = lowering.lower(plan, *more)
        found.extend(item for item in lowered.items if isinstance(item, Group))
        return lowered

    monkeypatch.setattr(program, "lower", lower)
    monkeypatch.setattr(fusion, "WORTH", 0)
    return found


def direction(centroids: Any, points: Any) -> Any:
    f = kmeans.cost(np)
    curvature = cr.hvp(f)(centroids, points, np.ones(centroids.shape))
    return cr.grad(f)(centroids, points) / curvature


def both(f: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    native = cr.compile(f, backend="native")
    result = native(*args)
    assert native.report() == ["native"]
    return result, cr.compile(f, backend="numpy")(*args)


@pytest.mark.parametrize("n", [32, 33, 100, 257])
@pytest.mark.parametrize("strip", [1, 1 << 10, 1 << 15])
def test_k_means_is_one_pass_over_the_points(
    groups: list[Group], monkeypatch: pytest.MonkeyPatch, n: int, strip: int
) -> None:
    monkeypatch.setattr(fusion, "STRIP", strip)
    centroids, points = kmeans.inputs(n, 5, 3)
    found, wanted = both(direction, centroids, points)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    nearest = ((points[:, None] - centroids) ** 2).sum(-1).argmin(1)
    means = np.array([points[nearest == k].mean(0) for k in range(5)])
    np.testing.assert_allclose(found, centroids - means, rtol=1e-10, atol=1e-13)
    (group,) = groups
    assert group.extent == n
    assert len(group.private) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mixture(groups: list[Group], dtype: Any) -> None:
    arguments = [a.astype(dtype) for a in gmm.inputs(70, 4, 3)]
    f = cr.grad(gmm.log_density(np, 3), argnums=(0, 1, 2, 3))
    found, wanted = both(f, *arguments)
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
    assert groups


def test_memory_of_a_group_does_not_grow_with_the_outermost_loop() -> None:
    """Temporaries of a gigabyte, were they stored (programs over 256 MiB stay on NumPy)."""
    centroids, points = kmeans.inputs(200_000, 20, 16)
    step = cr.compile(direction, backend="native")
    found = step(centroids, points)
    assert step.report() == ["native"]
    nearest = (np.sum(centroids**2, 1) - 2 * points @ centroids.T).argmin(1)
    means = np.array([points[nearest == k].mean(0) for k in range(20)])
    np.testing.assert_allclose(found, centroids - means, rtol=1e-9, atol=1e-12)


def test_results_do_not_depend_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    centroids, points = kmeans.inputs(4000, 20, 8)
    results = []
    for cores in ("1", "2", "5"):
        monkeypatch.setenv("CHAINRULE_NUM_THREADS", cores)
        step = cr.compile(direction, backend="native")
        results.append(step(centroids, points))
        assert step.report() == ["native"]
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


def test_rounds_that_read_their_neighbours_stay_apart(groups: list[Group]) -> None:
    """What a nest reads at another index of the outermost loop must be complete."""
    x = np.random.default_rng(0).normal(size=(64, 7))

    def f(x: Any) -> Any:
        e = np.exp(x).sum(axis=1, keepdims=True)
        y = np.tanh(x / e)
        z = np.sum(y[1:] * y[:-1], axis=1)
        return np.sum(z**2 * y[::-1].sum(axis=1)[:-1]) + np.sum(y @ y.T)

    found, wanted = both(cr.value_and_grad(f), x)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-11, atol=1e-13)


def test_sums_over_the_outermost_loop_that_later_nests_read(groups: list[Group]) -> None:
    """Batch normalization: two passes that cannot be one."""
    x = np.random.default_rng(1).normal(size=(96, 6))

    def f(x: Any) -> Any:
        centred = x - x.mean(axis=0)
        scaled = centred / np.sqrt((centred**2).mean(axis=0) + 1e-5)
        rows = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
        return np.sum(rows[:, 0] * np.max(scaled, axis=1)) + np.max(scaled[:, 2] * rows[:, 1])

    found, wanted = both(cr.value_and_grad(f), x)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-11, atol=1e-13)
    assert groups


def test_small_programs_are_left_alone(
    groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    def f(x: Any) -> Any:
        return np.exp(x - x.max(1, keepdims=True)) / np.exp(x).sum(1, keepdims=True)

    both(f, np.ones((40, 3)))
    assert groups
    groups.clear()
    monkeypatch.setattr(fusion, "WORTH", 1 << 18)
    both(f, np.ones((40, 3)))
    assert not groups


def seen(turn: Any, points: Any, weights: Any) -> Any:
    """Points turned, seen from the origin, and how far they lie from their mean."""
    moved = points @ turn.T
    angle = np.sqrt(np.sum(moved * moved, axis=1, keepdims=True))
    u = moved[:, :-1] / (1 + moved[:, -1:] ** 2)
    axis = np.concatenate([np.sin(angle) * u, np.cos(moved[:, :1])], axis=1)
    return np.tanh(axis) * weights[:, None] + moved - moved.mean(axis=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [2, 3, 7, 9])
@pytest.mark.parametrize("n", [256, 300, 1000])
def test_vectors_run_along_the_rounds_of_narrow_nests(
    groups: list[Group], monkeypatch: pytest.MonkeyPatch, n: int, d: int, dtype: Any
) -> None:
    rng = np.random.default_rng(n + d)
    arguments = [rng.normal(size=s).astype(dtype) for s in ((d, d), (n, d), n)]

    def f(turn: Any, points: Any, weights: Any) -> Any:
        y, back = cr.vjp(seen, turn, points, weights)
        return y, back(np.cos(y))

    found, wanted = both(f, *arguments)
    tolerance = 2e-4 if dtype == np.float32 else 1e-12
    for a, b in zip([found[0], *found[1]], [wanted[0], *wanted[1]], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
    turned = [group for group in groups if group.whole]
    assert turned
    assert any(group.columns for group in turned) or d > fusion.NARROW
    monkeypatch.setenv("CHAINRULE_NUM_THREADS", "1")
    alone, _ = both(f, *arguments)
    assert alone[1][0].tobytes() == found[1][0].tobytes()
