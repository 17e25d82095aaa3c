"""Pictures of Jacobians: pixels against the dense pattern, HTML, figures, repr."""

import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import chainrule as cr
from chainrule.jacobian.pixels import layers

RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.normal(size=shape)


A = normal(4, 4)
INDEX = np.array([3, 0, 0, 5, 2])


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


JACOBIANS = {
    "scalar": cr.jacobian(np.sin)(0.5),
    "gradient": cr.jacobian(lambda x: np.sum(x**2))(normal(3, 4)),
    "column": cr.jacobian(lambda x: x * np.ones(5))(0.5),
    "elementwise": cr.jacobian(np.exp)(normal(7)),
    "layer": cr.jacobian(lambda x: x @ A)(normal(3, 4)),
    "layer by the matrix": cr.jacobian(lambda a: normal(3, 4) @ a)(A),
    "transpose": cr.jacobian(lambda x: x.T * 2)(normal(3, 4)),
    "softmax": cr.jacobian(lambda x: np.exp(x) / np.sum(np.exp(x)))(normal(6)),
    "tridiagonal": cr.hessian(rosenbrock)(normal(8)),
    "gather": cr.jacobian(lambda x: x[INDEX] ** 2)(normal(6)),
    "cumsum": cr.jacobian(np.cumsum)(normal(9)),
    "roll": cr.jacobian(lambda x: np.roll(x, 2) * x)(normal(9)),
    "reshape": cr.jacobian(lambda x: np.reshape(x * x, (2, 6)))(normal(3, 4)),
    "convolution": cr.jacobian(lambda x: np.convolve(x, np.arange(1.0, 4)))(normal(6)),
    "zero": cr.jacobian(np.floor)(normal(3)),
    "empty": cr.jacobian(np.sin)(np.zeros((0, 2))),
}


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
@pytest.mark.parametrize("name", JACOBIANS)
def test_pixels_are_the_pattern(name, layout):
    j = JACOBIANS[name].with_layout(layout)
    found = layers(j, 100)
    pattern = np.asarray(j.to_sparse().astype(bool).toarray())
    shown = np.zeros(pattern.shape, bool)
    for layer in found:
        assert layer.text in j.structure
        if pattern.size:
            shown |= layer.pixels
    np.testing.assert_array_equal(shown, pattern)


@pytest.mark.parametrize("limit", [3, 7, 16, 41])
@pytest.mark.parametrize(
    "j",
    [
        cr.hessian(rosenbrock)(normal(150)),
        cr.jacobian(lambda x: np.tanh(x @ A))(normal(40, 4)),
        cr.jacobian(lambda x: np.roll(x, 31) * x)(normal(200)),
        cr.jacobian(np.cumsum)(normal(100)),
        cr.jacobian(lambda x: x[RNG.integers(0, 90, 120)])(normal(90)),
        cr.jacobian(lambda x: np.reshape(x.T * 2, (8, 20)))(normal(10, 16)),
        cr.jacobian(lambda x: x[::3] * 2)(normal(160)),
    ],
)
def test_coarse_pixels_miss_nothing(j, limit):
    rows, columns = np.nonzero(j.to_matrix())
    m, n = j.to_matrix().shape
    height, width = min(m, limit), min(n, limit)
    expected = np.zeros((height, width), bool)
    expected[rows * height // m, columns * width // n] = True
    shown = np.logical_or.reduce([layer.pixels for layer in layers(j, limit)])
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize(
    "j",
    [
        cr.hessian(rosenbrock)(normal(500_000)),
        cr.jacobian(lambda x: np.tanh(x @ A))(normal(100_000, 4)),
        cr.jacobian(lambda x: x[RNG.integers(0, 900, 400_000)])(normal(900)),
    ],
)
def test_points_of_large_terms(j):
    coo = j.to_sparse().tocoo()
    m, n = coo.shape
    expected = np.zeros((50, 50), bool)
    expected[coo.row * 50 // m, coo.col * 50 // n] = True
    shown = np.logical_or.reduce([layer.pixels for layer in layers(j, 50)])
    assert not np.any(shown & ~expected)
    # corners that a diagonal cuts by a few of many elements may stay blank
    assert np.count_nonzero(shown != expected) <= 100
    assert np.all(np.any(shown, axis=0))


@pytest.mark.parametrize("name", JACOBIANS)
def test_html(name):
    j = JACOBIANS[name]
    text = j._repr_html_()
    svg = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    assert svg.tag.endswith("svg")
    words = " ".join(svg.itertext())
    assert f"output {list(j.out_shape)}" in words
    assert f"input {list(j.in_shape)}" in words
    assert f"stored {j.nbytes}" in text
    assert len(text) < 20_000
    turned = j.with_layout("denominator")._repr_html_()
    assert "denominator" in turned


def test_large_jacobians_are_never_formed():
    start = time.perf_counter()
    x, w = np.ones((64, 4096), np.float32), np.ones((4096, 4096), np.float32)
    by_x, by_w = cr.jacobian(np.matmul, argnums=(0, 1))(x, w)
    many = cr.jacobian(np.cumsum)(np.ones(10**7))
    for j in (by_x, by_w, many):
        assert len(j._repr_html_()) < 200_000
    assert time.perf_counter() - start < 20


def test_html_escapes_and_says_what_is_stored():
    text = JACOBIANS["cumsum"]._repr_html_()
    assert "&gt;=0" in text
    assert "factors: none" in text
    assert "ac" in JACOBIANS["layer by the matrix"]._repr_html_()


def test_a_traced_jacobian_has_a_page():
    pages = []

    def f(x):
        pages.append(cr.jacobian(lambda y: np.exp(y))(x)._repr_html_())
        pages.append(cr.jacobian(lambda y: y[np.argsort(y)])(x)._repr_html_())
        return np.sum(x)

    cr.grad(f)(normal(3))
    assert "<svg" in pages[0]
    assert "Jacobian" in pages[1]


@pytest.mark.parametrize("name", JACOBIANS)
def test_figures(name):
    pytest.importorskip("matplotlib")
    j = JACOBIANS[name]
    figure = j.show()
    panel = figure.axes[0]
    assert panel.get_ylabel() == f"output {list(j.out_shape)}"
    assert panel.get_xlabel() == f"input {list(j.in_shape)}"
    distinct = {node for term in j._terms for node, _ in term.factors}
    assert len(figure.axes) == 1 + min(len(distinct), 6)


def test_files(tmp_path):
    j = JACOBIANS["tridiagonal"]
    page = tmp_path / "j.html"
    assert j.show(path=page) is None
    assert "<svg" in page.read_text(encoding="utf-8")
    pytest.importorskip("matplotlib")
    j.with_layout("denominator").show(path=tmp_path / "j.png")
    assert (tmp_path / "j.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    j.show(path=str(tmp_path / "j.svg"))
    assert b"<svg" in (tmp_path / "j.svg").read_bytes()


@pytest.mark.parametrize("name", JACOBIANS)
def test_repr_is_one_line(name):
    j = JACOBIANS[name]
    text = repr(j)
    assert "\n" not in text
    assert j.structure in text
    assert str(list(j.out_shape)) in text
    assert "stored" in text
    assert "dense" in text
