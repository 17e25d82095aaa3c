"""The field's problems (`bench/problems`) against values of independent hand-derived code."""

import json
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from oracle import close
from problems import gmm, kmeans, logsumexp

DATA = Path(__file__).resolve().parent / "data" / "problems.json"
REFERENCE = json.loads(DATA.read_text(encoding="utf-8"))


def arrays(given, names):
    return [np.array(given[name]) for name in names.split()]


@pytest.mark.parametrize("compiled", [False, True], ids=["traced", "compiled"])
def test_gaussian_mixture(compiled):
    case = REFERENCE["gmm"]
    given = case["input"]
    arguments = arrays(given, "alpha mu q l x")
    f = gmm.log_density(np, given["d"], given["m"], given["gamma"])
    both = cr.value_and_grad(f, argnums=(0, 1, 2, 3))
    value, gradient = (cr.compile(both) if compiled else both)(*arguments)
    close(value, case["objective"], 1e-10)
    for found, name in zip(gradient, ("alpha", "mu", "q", "l"), strict=True):
        close(found, np.array(case["gradient"][name]), 1e-8, name)


def test_kmeans():
    case = REFERENCE["kmeans"]
    points, centroids = arrays(case["input"], "points centroids")
    f = kmeans.cost(np)
    close(f(centroids, points), case["cost"], 1e-12)
    gradient = cr.grad(f)(centroids, points)
    diagonal = cr.hessian(f)(centroids, points).diagonal()
    close(gradient / diagonal, np.array(case["direction"]), 1e-9)
    ones = np.ones(centroids.shape)
    close(cr.hvp(f)(centroids, points, ones), diagonal, 1e-12)


def test_log_sum_exp():
    case = REFERENCE["logsumexp"]
    (x,) = arrays(case["input"], "x")
    value, gradient = cr.value_and_grad(logsumexp.log_sum_exp(np))(x)
    close(value, case["value"], 1e-14)
    close(gradient, np.array(case["gradient"]), 1e-13)


def test_the_problems_have_native_programs():
    pytest.importorskip("llvmlite")
    f = gmm.log_density(np, 4)
    arguments = gmm.inputs(30, 3, 4)
    native = cr.compile(cr.grad(f, argnums=(0, 1, 2, 3)), backend="native")
    plain = cr.compile(cr.grad(f, argnums=(0, 1, 2, 3)), backend="numpy")
    for found, expected in zip(native(*arguments), plain(*arguments), strict=True):
        close(found, expected, 1e-11)
    assert native.report() == ["native"]
