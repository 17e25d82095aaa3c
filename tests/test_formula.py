"""Closed forms as printed; that they are right, `derive` checks by itself (and tests below)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.special

import chainrule as cr
from chainrule.formula.symbolic import FormulaError, solve


def right(f, **shapes):
    """Definitions and gradients as one dict of texts."""
    derivation = cr.derive(f, **shapes)
    return {left: text for left, text, _ in derivation.lines()}


def digits():
    path = Path(__file__).parents[1] / "examples" / "digits.py"
    spec = importlib.util.spec_from_file_location("digits_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- functions of the corpus ------------------------------------------------------------------
def linear(x, w):
    return x @ w


def column_layer(W, x, b):
    return W @ x + b


def column_batch(W, X, b):
    return W @ X + b[:, None]


def row_batch(X, W, b):
    return np.tanh(X @ W + b)


def least_squares(A, x, b):
    r = A @ x - b
    return r @ r


def distance(A, x, b):
    return np.linalg.norm(A @ x - b)


def logistic(X, w, y):
    p = 1 / (1 + np.exp(-(X @ w)))
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def logistic_stable(X, w, y):
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z)


def softmax_rows(Z):
    e = np.exp(Z - np.max(Z, axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(Z, Y):
    top = np.max(Z, axis=1, keepdims=True)
    lp = Z - top - np.log(np.sum(np.exp(Z - top), axis=1, keepdims=True))
    return -np.mean(np.sum(Y * lp, axis=1))


def layer_norm(x, g, b, eps=1e-5):
    mu = x.mean(axis=1, keepdims=True)
    r = x - mu
    s = np.sqrt((r * r).mean(axis=1, keepdims=True) + eps)
    xh = r / s
    return xh * g + b


def attention(Q, K, V):
    S = Q @ K.T / np.sqrt(Q.shape[1])
    e = np.exp(S - S.max(axis=1, keepdims=True))
    P = e / e.sum(axis=1, keepdims=True)
    return P @ V


def factorization(U, V, A, W):
    return np.sum(W * (A - U @ V.T) ** 2)


def network(x, W1, W2, W3):
    h = x
    for W in (W1, W2, W3):
        h = np.tanh(W @ h)
    return h


CORPUS = [
    (linear, {"x": "N D", "w": "D M"}, {"∂L/∂x": "G wᵀ", "∂L/∂w": "xᵀ G"}),
    (
        column_layer,
        {"W": "T N", "x": "N", "b": "T"},
        {"∂L/∂W": "G xᵀ", "∂L/∂x": "Wᵀ G", "∂L/∂b": "G"},
    ),
    (
        column_batch,
        {"W": "T N", "X": "N B", "b": "T"},
        {"∂L/∂W": "G Xᵀ", "∂L/∂X": "Wᵀ G", "∂L/∂b": "G 𝟏"},
    ),
    (
        row_batch,
        {"X": "N D", "W": "D M", "b": "M"},
        {
            "y": "tanh(X W + 𝟏 bᵀ)",
            "Δ": "G ⊙ (1 − y ⊙ y)",
            "∂L/∂X": "Δ Wᵀ",
            "∂L/∂W": "Xᵀ Δ",
            "∂L/∂b": "Δᵀ 𝟏",
        },
    ),
    (
        least_squares,
        {"A": "M N", "x": "N", "b": "M"},
        {"r": "A x − b", "∂L/∂A": "2 r xᵀ", "∂L/∂x": "2 Aᵀ r", "∂L/∂b": "−2 r"},
    ),
    (
        distance,
        {"A": "M N", "x": "N", "b": "M"},
        {
            "r": "A x − b",
            "∂L/∂A": "r xᵀ / ‖r‖",
            "∂L/∂x": "Aᵀ r / ‖r‖",
            "∂L/∂b": "−r/‖r‖",
        },
    ),
    (
        logistic,
        {"X": "N D", "w": "D", "y": "N"},
        {
            "p": "σ(X w)",
            "∂L/∂X": "(p − y) wᵀ / N",
            "∂L/∂w": "Xᵀ (p − y) / N",
            "∂L/∂y": "(log(1 − p) − log(p))/N",
        },
    ),
    (
        logistic_stable,
        {"X": "N D", "w": "D", "y": "N"},
        {
            "z": "X w",
            "z̄": "(σ(z) − y)/N",
            "∂L/∂X": "z̄ wᵀ",
            "∂L/∂w": "Xᵀ z̄",
            "∂L/∂y": "−z/N",
        },
    ),
    (lambda A: np.trace(A.T @ A), {"A": "M N"}, {"∂L/∂A": "2 A"}),
    (lambda A: np.linalg.slogdet(A)[1], {"A": "N N"}, {"∂L/∂A": "A⁻ᵀ"}),
    (lambda A: np.linalg.det(A), {"A": "N N"}, {"∂L/∂A": "det(A) A⁻ᵀ"}),
    (
        lambda X: np.linalg.slogdet(np.eye(X.shape[0]) + X @ X.T)[1],
        {"X": "M N"},
        {"∂L/∂X": "2 (I + X Xᵀ)⁻¹ X"},
    ),
    (
        lambda X, A: np.trace(np.linalg.inv(X) @ A),
        {"X": "N N", "A": "N N"},
        {"∂L/∂X": "−X⁻ᵀ Aᵀ X⁻ᵀ", "∂L/∂A": "X⁻ᵀ"},
    ),
    (
        lambda A, x: x @ A @ x,
        {"A": "N N", "x": "N"},
        {"∂L/∂A": "x xᵀ", "∂L/∂x": "(A + Aᵀ) x"},
    ),
    (
        lambda A, X, B: A @ X @ B,
        {"A": "K M", "X": "M N", "B": "N P"},
        {"∂L/∂A": "G Bᵀ Xᵀ", "∂L/∂X": "Aᵀ G Bᵀ", "∂L/∂B": "Xᵀ Aᵀ G"},
    ),
    (lambda X: X @ X.T, {"X": "N D"}, {"∂L/∂X": "(G + Gᵀ) X"}),
    (
        softmax_rows,
        {"Z": "N C"},
        {"y": "softmax(Z)", "∂L/∂Z": "y ⊙ (G − (G ⊙ y) 𝟏 𝟏ᵀ)"},
    ),
    (
        cross_entropy,
        {"Z": "N C", "Y": "N C"},
        {
            "lp": "Z − logsumexp(Z) 𝟏ᵀ",
            "∂L/∂Z": "(diag(Y 𝟏) softmax(Z) − Y)/N",
            "∂L/∂Y": "−lp/N",
        },
    ),
    (lambda x: np.log(np.sum(np.exp(x))), {"x": "N"}, {"∂L/∂x": "softmax(x)"}),
    (
        layer_norm,
        {"x": "N D", "g": "D", "b": "D"},
        {
            "mu": "x 𝟏 / D",
            "r": "x − mu 𝟏ᵀ",
            "s": "√((r ⊙ r) 𝟏 / D + 10⁻⁵)",
            "xh": "diag(1/s) r",
            "Δ": "G diag(g)",
            "∂L/∂x": "diag(1/s) (Δ − diag((xh ⊙ Δ) 𝟏) xh / D − Δ 𝟏 𝟏ᵀ / D)",
            "∂L/∂g": "(G ⊙ xh)ᵀ 𝟏",
            "∂L/∂b": "Gᵀ 𝟏",
        },
    ),
    (
        attention,
        {"Q": "N D", "K": "M D", "V": "M E"},
        {
            "S": "Q Kᵀ / √D",
            "P": "softmax(S)",
            "P̄": "G Vᵀ",
            "S̄": "P ⊙ (P̄ − (P̄ ⊙ P) 𝟏 𝟏ᵀ)",
            "∂L/∂Q": "S̄ K / √D",
            "∂L/∂K": "S̄ᵀ Q / √D",
            "∂L/∂V": "Pᵀ G",
        },
    ),
    (
        factorization,
        {"U": "N K", "V": "M K", "A": "N M", "W": "N M"},
        {
            "R": "A − U Vᵀ",
            "∂L/∂U": "−2 (W ⊙ R) V",
            "∂L/∂V": "−2 (W ⊙ R)ᵀ U",
            "∂L/∂A": "2 (W ⊙ R)",
            "∂L/∂W": "R ⊙ R",
        },
    ),
    (
        network,
        {"x": "A", "W1": "B A", "W2": "C B", "W3": "D C"},
        {
            "h1": "tanh(W1 x)",
            "h2": "tanh(W2 h1)",
            "h": "tanh(W3 h2)",
            "Δ3": "G ⊙ (1 − h²)",
            "Δ2": "(W3ᵀ Δ3) ⊙ (1 − h2²)",
            "Δ1": "(W2ᵀ Δ2) ⊙ (1 − h1²)",
            "∂L/∂x": "W1ᵀ Δ1",
            "∂L/∂W1": "Δ1 xᵀ",
            "∂L/∂W2": "Δ2 h1ᵀ",
            "∂L/∂W3": "Δ3 h2ᵀ",
        },
    ),
    (
        lambda X, w: scipy.special.expit(X @ w),
        {"X": "N D", "w": "D"},
        {"y": "σ(X w)", "Δ": "G ⊙ y ⊙ (1 − y)", "∂L/∂X": "Δ wᵀ", "∂L/∂w": "Xᵀ Δ"},
    ),
    (
        lambda X, Y: np.sum((X[:, None, :] - Y[None, :, :]) ** 2, axis=2),
        {"X": "N D", "Y": "M D"},
        {"∂L/∂X": "2 (diag(G 𝟏) X − G Y)", "∂L/∂Y": "2 (diag(Gᵀ 𝟏) Y − Gᵀ X)"},
    ),
    (lambda x: np.sin(x**2), {"x": ""}, {"∂L/∂x": "2 x cos(x²)"}),
    # index notation where matrix notation has none
    (
        lambda x, w: np.einsum("bnd,bdm->bnm", x, w),
        {"x": "B N D", "w": "B D M"},
        {
            "∂L/∂x[b,n,d]": "Σ_m G[b,n,m] w[b,d,m]",
            "∂L/∂w[b,d,m]": "Σ_n G[b,n,m] x[b,n,d]",
        },
    ),
    (
        lambda x: x[1:] - x[:-1],
        {"x": "N"},
        {"∂L/∂x[n]": "G[n−1] [n ≥ 1] − G[n] [n < N − 1]"},
    ),
]


@pytest.mark.parametrize(("f", "shapes", "texts"), CORPUS, ids=lambda v: getattr(v, "__name__", ""))
def test_prints_what_a_textbook_prints(f, shapes, texts):
    assert right(f, **shapes) == texts


def test_the_backward_pass_of_the_digits_classifier():
    example = digits()
    derivation = cr.derive(example.loss, shapes=example.SHAPES, wrt="params")
    assert str(derivation).splitlines()[1:] == [
        "  h      = tanh(x w1 + 𝟏 b1ᵀ)",
        "  z      = h w2 + 𝟏 b2ᵀ",
        "  z̄      = (softmax(z) − y)/N",
        "  Δ      = (z̄ w2ᵀ) ⊙ (1 − h ⊙ h)",
        "  ∂L/∂w1 = xᵀ Δ",
        "  ∂L/∂b1 = Δᵀ 𝟏",
        "  ∂L/∂w2 = hᵀ z̄",
        "  ∂L/∂b2 = z̄ᵀ 𝟏",
        "  where z̄ = ∂L/∂z, Δ = ∂L/∂(x w1 + 𝟏 b1ᵀ)",
    ]
    assert derivation.gradients["params.w1"].text == "xᵀ Δ"
    assert derivation.gradients["w1"].shape == ("D", "H")


def test_the_digits_formulas_as_a_person_would_compute_them():
    """The printed backward pass, typed in by hand, gives the gradient."""
    example = digits()
    rng = np.random.default_rng(0)
    params = {
        "w1": rng.normal(size=(5, 4)), "b1": rng.normal(size=4),
        "w2": rng.normal(size=(4, 3)), "b2": rng.normal(size=3),
    }  # fmt: skip
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    y = np.eye(3)[y.argmax(axis=1)]
    h = np.tanh(x @ params["w1"] + params["b1"])
    z = h @ params["w2"] + params["b2"]
    D2 = (scipy.special.softmax(z, axis=1) - y) / 6
    D1 = (D2 @ params["w2"].T) * (1 - h * h)
    expected = {"w1": x.T @ D1, "b1": D1.sum(0), "w2": h.T @ D2, "b2": D2.sum(0)}
    found = cr.grad(example.loss)(params, x, y)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-12)


# -- notation ---------------------------------------------------------------------------------
def test_index_notation_on_request():
    derivation = cr.derive(linear, x="N D", w="D M")
    assert derivation.gradients["x"].index == "Σ_m G[n,m] w[d,m]"
    assert derivation.gradients["w"].index == "Σ_n x[n,d] G[n,m]" or (
        derivation.gradients["w"].index == "Σ_n G[n,m] x[n,d]"
    )
    assert derivation.gradients["w"].letters == ("d", "m")


def test_latex():
    derivation = cr.derive(distance, A="M N", x="N", b="M")
    assert derivation.gradients["x"].latex == r"\frac{A^\top \, r}{\left\|r\right\|}"
    display = derivation._repr_latex_()
    assert display.startswith(r"$$\begin{aligned}r &= A \, x - b \\ ")
    assert r"\frac{\partial L}{\partial x} &=" in display


def test_numbers_and_names_mix_and_arrays_give_their_shapes():
    derivation = cr.derive(linear, x=(64, "D"), w=("D", 3))
    assert derivation.gradients["x"].shape == ("64", "D")
    derivation = cr.derive(linear, x="N 7", w=np.zeros((7, 3)))
    assert derivation.gradients["w"].shape == ("7", "3")


def test_sizes_become_expressions_of_the_names():
    def f(x):
        return np.sum(np.cumsum(x)) / (x.size - 1) + np.sum(x) / np.sqrt(x.size)

    assert "(N − 1)" in cr.derive(f, x="N").gradients["x"].text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (lambda n, d: n, "N"),
        (lambda n, d: n - 1, "N − 1"),
        (lambda n, d: 2 * n + 1, "2 N + 1"),
        (lambda n, d: 1 / n, "1/N"),
        (lambda n, d: 1 / (n - 1), "1/(N − 1)"),
        (lambda n, d: 1 / d**0.5, "1/√D"),
        (lambda n, d: n * d, "D N"),
        (lambda n, d: -0.5 / (n * d), "−1/(2 D N)"),
        (lambda n, d: -0.5 / (n + 1), "−1/(2 N + 2)"),
        (lambda n, d: n + d, "D + N"),
        (lambda n, d: n + d - 1, "D + N − 1"),
        (lambda n, d: 3, "3"),
    ],
)
def test_numbers_of_two_sizes_are_solved_for(number, text):
    first, second = {"N": 11, "D": 13}, {"N": 89, "D": 61}
    found = solve(number(11, 13), number(89, 61), first, second)
    assert str(found) == text


def test_a_number_that_is_no_expression_of_the_names():
    assert solve(17, 4, {"N": 11}, {"N": 89}) is None


# -- checking ---------------------------------------------------------------------------------
def test_a_wrong_formula_is_found():
    derivation = cr.derive(linear, x="N D", w="D M")
    wrong = derivation.gradients["w"]
    object.__setattr__(wrong, "notation", derivation.gradients["x"].notation)
    with pytest.raises(cr.DerivativeError, match="∂L/∂w = G wᵀ has shape"):
        derivation.check()


def test_a_formula_that_is_off_by_a_factor_is_found():
    derivation = cr.derive(least_squares, A="M N", x="N", b="M")
    other = cr.derive(lambda A, x, b: 2 * least_squares(A, x, b), A="M N", x="N", b="M")
    wrong = derivation.gradients["b"]
    object.__setattr__(wrong, "notation", other.gradients["b"].notation)
    with pytest.raises(cr.DerivativeError, match="∂L/∂b = −4 r is off by"):
        derivation.check()


# -- what goes wrong --------------------------------------------------------------------------
def test_a_parameter_without_a_shape():
    with pytest.raises(TypeError, match="give the shape of 'w'"):
        cr.derive(linear, x="N D")


def test_a_shape_without_a_parameter():
    with pytest.raises(TypeError, match="linear has no parameter 'v'; it has x, w"):
        cr.derive(linear, x="N D", w="D M", v="N")


def test_shapes_that_are_none():
    with pytest.raises(TypeError, match=r"neither a number nor a name"):
        cr.derive(linear, x="N-1 D", w="D M")
    with pytest.raises(ValueError, match="use at least 1"):
        cr.derive(linear, x=(0, "D"), w="D M")


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="matmul"):
        cr.derive(linear, x="N D", w="E M")


def test_a_loop_over_a_named_extent_that_carries_a_value_says_so():
    def f(x):
        y = 0.0
        for i in range(x.shape[0]):
            y = np.sin(y + x[i])
        return y

    with pytest.raises(FormulaError, match=r"carries a value, y, from step to step"):
        cr.derive(f, x="N")
    assert cr.derive(f, x="3").gradients["x"].index.count("cos") == 3


def test_two_results():
    with pytest.raises(FormulaError, match="returned 2 arrays"):
        cr.derive(lambda x: (x, x), x="N")


def test_an_unknown_gradient_names_those_there_are():
    with pytest.raises(KeyError, match="there are x, w"):
        cr.derive(linear, x="N D", w="D M").gradients["v"]


QUOTIENTS = [
    (lambda x: np.sum(x**-1.5) / x.size, "−3/(2 M N x[n,m]^(5/2))", "−3/(2 M N x^∘(5/2))"),
    (
        lambda x: np.sum(x**-1.5) / (x.shape[0] + 1),
        "−3/((2 N + 2) x[n,m]^(5/2))",
        "−3/((2 N + 2) x^∘(5/2))",
    ),
    (
        np.std,
        "R[n,m]/(M N √(Σ_(i,j) R[i,j]²/(M N)))",
        "R/(M N √(𝟏ᵀ (R ⊙ R) 𝟏 / (M N)))",
    ),
]


@pytest.mark.parametrize(("f", "index", "text"), QUOTIENTS, ids=range(len(QUOTIENTS)))
def test_a_denominator_of_several_factors_stands_in_brackets(f, index, text):
    """The printed characters are read back and evaluated by derive itself."""
    gradient = cr.derive(lambda x: f(x), x="N M").gradients["x"]
    assert (gradient.index, gradient.text) == (index, text)
    assert "∘" not in text or "<mn>5/2</mn>" in gradient.mathml


def test_results_of_a_factorization_have_names_of_their_own():
    d = cr.derive(lambda A: np.linalg.eigh(A)[0], A="N N")
    assert d.value.text == "eigvals(A)"
    assert [(p.name, p.text) for p in d.parts] == [("V", "eigvecs(A)")]
    assert d.gradients["A"].text == "V diag(G) Vᵀ"
    d = cr.derive(lambda A: np.linalg.svd(A, full_matrices=False)[1], A="N M")
    assert d.gradients["A"].text == "svd_U(A) diag(G) svd_Vt(A)"
    d = cr.derive(lambda A: np.linalg.qr(A)[0], A="N N")
    assert d.parts[0].text == "qr_Q(A)"
    assert "qr_R(A)⁻ᵀ" in d.gradients["A"].text
    assert "triu(qr_R" not in d.gradients["A"].text


def test_polygamma_prints_its_order():
    special = pytest.importorskip("scipy.special")
    d = cr.derive(lambda x: special.gammaln(x) + special.digamma(x), x="N")
    gradient = d.gradients["x"]
    assert gradient.text == "G ⊙ (ψ₁(x) + ψ(x))"
    assert gradient.latex == r"G \odot \left(\psi_{1}\left(x\right) + \psi\left(x\right)\right)"
    small = str(d.small_case(N=2))
    assert "G₁ ψ₁(x₁) + G₁ ψ(x₁)" in small
    assert "agree" in small


def test_the_negative_of_a_named_sum_is_written_by_its_name():
    def normalized(x, g):
        mean = x.mean(axis=0)
        unit = (x - mean) / np.sqrt(x.var(axis=0) + 1e-5)
        return g * unit

    text = str(cr.derive(normalized, x="N D", g="D"))
    assert "R     = x − 𝟏 meanᵀ" in text
    assert "meanᵀ − x" not in text


NORMAL = "where Φ(z) is the distribution function of the standard normal distribution"
DENSITY = "where φ(z) is the density of the standard normal distribution"
TRIANGLE = "where Φ(A) is the lower triangle of A with its diagonal halved"
EXCHANGE = "where 𝐊[n,m] is the commutation matrix: 𝐊[n,m] vec(X) = vec(Xᵀ) for X (n, m)"


def test_symbols_that_a_reader_may_not_know_are_explained_where_they_occur():
    normal = cr.derive(lambda x: x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2, x="N")
    assert str(normal).splitlines()[-2:] == [f"  {NORMAL}", f"  {DENSITY}"]
    assert normal.gradients["x"].text == "G ⊙ (Φ(x) + x ⊙ φ(x))"
    assert r"\\ &\text{where } \Phi(z)" in normal._repr_latex_()
    assert f"<p>{NORMAL}</p>" in normal._repr_html_()
    triangle = cr.derive(lambda A: np.linalg.cholesky(A), A="N N")
    assert str(triangle).count("where") == 1
    assert str(triangle).endswith(TRIANGLE)
    transposed = cr.derive(lambda X: X.T, X="N D")
    assert "where" not in str(transposed)
    assert str(transposed.jacobians).endswith(f"𝐊[N,D]\n{EXCHANGE}")
    determinant = cr.derive(lambda X: np.linalg.slogdet(X)[1], X="N N")
    assert str(determinant.hessians).endswith(EXCHANGE)
    assert EXCHANGE in determinant.hessians._repr_html_()
