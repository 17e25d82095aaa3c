"""Jacobians and Hessians in closed form: as printed, their structure, layouts and conventions."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.lower.run import evaluate
from chainrule.scipy import special
from corpus import NAMED


def linear(x, w):
    return x @ w


def column_layer(W, x, b):
    return W @ x + b


def column_batch(W, X, b):
    return W @ X + b[:, None]


def tanh_layer(X, W, b):
    return np.tanh(X @ W + b)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


FORMS = [
    (linear, {"x": "N D", "w": "D M"}, {"x": "wᵀ ⊗ I", "w": "I ⊗ x"}),
    (column_layer, {"W": "T N", "x": "N", "b": "T"}, {"W": "xᵀ ⊗ I", "x": "W", "b": "I"}),
    (
        column_batch,
        {"W": "T N", "X": "N B", "b": "T"},
        {"W": "Xᵀ ⊗ I", "X": "I ⊗ W", "b": "𝟏 ⊗ I"},
    ),
    (lambda z: np.tanh(z), {"z": "N"}, {"z": "diag(1 − y²)"}),
    (softmax, {"x": "N"}, {"x": "diag(y) − y yᵀ"}),
    (lambda X: X @ X.T, {"X": "N D"}, {"X": "X ⊗ I + (I ⊗ X) 𝐊[N,D]"}),
    (lambda X: X.T, {"X": "N D"}, {"X": "𝐊[N,D]"}),
    (
        lambda A, X, B: A @ X @ B,
        {"A": "K M", "X": "M N", "B": "N P"},
        {"A": "Bᵀ Xᵀ ⊗ I", "X": "Bᵀ ⊗ A", "B": "I ⊗ A X"},
    ),
    (lambda X: np.linalg.inv(X), {"X": "N N"}, {"X": "−yᵀ ⊗ y"}),
    (lambda A, b: np.linalg.solve(A, b), {"A": "N N", "b": "N"}, {"b": "A⁻¹"}),
    (lambda X: X * X, {"X": "N D"}, {"X": "2 diag(vec(X))"}),
    (lambda x: x[1:] - x[:-1], {"x": "N"}, None),
]


@pytest.mark.parametrize(("f", "shapes", "texts"), FORMS, ids=lambda v: getattr(v, "__name__", ""))
def test_jacobians_as_a_textbook_writes_them(f, shapes, texts):
    jacobians = cr.derive(f, **shapes).jacobians
    if texts is None:
        assert jacobians["x"].structure == "->a|(a+1) + ->a|a"
        return
    for name, text in texts.items():
        assert jacobians[name].text == text


SIZES = {"N": 11, "D": 13, "M": 17, "T": 12, "B": 9, "K": 10, "P": 8}


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
@pytest.mark.parametrize("convention", ["column", "row"])
@pytest.mark.parametrize(("f", "shapes", "texts"), FORMS, ids=lambda v: getattr(v, "__name__", ""))
def test_every_layout_and_convention_is_checked_and_has_the_structure_of_the_object(
    f, shapes, texts, convention, layout
):
    derivation = cr.derive(f, **shapes, convention=convention, layout=layout)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=[SIZES[e] for e in s.split()]) for s in shapes.values()]
    arrays = [
        a @ a.T + np.eye(len(a)) if s == "N N" else a
        for a, s in zip(arrays, shapes.values(), strict=True)
    ]
    for position, name in enumerate(shapes):
        form = derivation.jacobians[name]
        found = cr.jacobian(f, position)(*arrays)
        assert form.structure == found.structure
        out = tuple(map(str, derivation.value.shape))
        expected = out + tuple(shapes[name].split())
        if layout == "denominator":
            expected = tuple(shapes[name].split()) + out
        assert form.shape == expected


def test_the_layouts_of_a_layer():
    shapes = {"W": "T N", "x": "N", "b": "T"}
    numerator = cr.derive(column_layer, **shapes)
    denominator = cr.derive(column_layer, **shapes, layout="denominator")
    assert numerator.jacobians["x"].text == "W"
    assert denominator.jacobians["x"].text == "Wᵀ"
    assert denominator.jacobians["W"].text == "x ⊗ I"
    assert "denominator layout" in str(denominator)
    assert str(denominator.jacobians).splitlines() == [
        "(denominator layout: in, out; vectors are columns, vec stacks columns)",
        "∂y/∂vec(W) = x ⊗ I",
        "∂y/∂x = Wᵀ",
        "∂y/∂b = I",
    ]
    assert "layout" not in str(numerator)
    assert denominator.jacobians["x"].shape == ("N", "T")
    assert denominator.gradients["x"].text == numerator.gradients["x"].text == "Wᵀ G"


def test_the_conventions_of_a_layer():
    def layer(x, w, b):
        return np.tanh(x @ w + b)

    shapes = {"x": "D", "w": "D M", "b": "M"}
    rows = cr.derive(layer, **shapes, convention="row")
    columns = cr.derive(layer, **shapes)
    assert str(columns).splitlines()[1:] == [
        "  y     = tanh(wᵀ x + b)",
        "  Δ     = G ⊙ (1 − y²)",
        "  ∂L/∂x = w Δ",
        "  ∂L/∂w = x Δᵀ",
        "  ∂L/∂b = Δ",
        "  where Δ = ∂L/∂(wᵀ x + b)",
    ]
    assert str(rows).splitlines() == [
        "layer: x (D), w (D, M), b (M); G = ∂L/∂y (M); row convention",
        "  y     = tanh(x w + b)",
        "  Δ     = G ⊙ (1 − y²)",
        "  ∂L/∂x = Δ wᵀ",
        "  ∂L/∂w = xᵀ Δ",
        "  ∂L/∂b = Δ",
        "  where Δ = ∂L/∂(x w + b)",
    ]


def test_vec_stacks_rows_in_the_row_convention():
    """Which is NumPy's order: ``to_matrix`` with order C; the column convention is order F."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    J = cr.jacobian(linear)(x, w)
    derive = cr.derive
    assert derive(linear, x="N D", w="D M", convention="row").jacobians["x"].text == "I ⊗ wᵀ"
    np.testing.assert_allclose(J.to_matrix(order="C"), np.kron(np.eye(3), w.T))
    np.testing.assert_allclose(J.to_matrix(order="F"), np.kron(w.T, np.eye(3)))


def test_index_notation_left_sides_shapes_and_costs():
    derivation = cr.derive(linear, x="N D", w="D M")
    jacobian = derivation.jacobians["x"]
    assert jacobian.index == "w[d,m] δ[n,i]"
    assert jacobian.letters == ("n", "m", "i", "d")
    assert jacobian.shape == ("N", "M", "N", "D")
    assert str(jacobian) == "∂vec(y)/∂vec(x) = wᵀ ⊗ I"
    assert str(jacobian.stored) == "D M"
    assert jacobian.flops == "0"
    assert derivation.gradients["x"].flops == "2·N·D·M"
    assert jacobian.latex == r"w^\top \otimes I"
    assert jacobian.left(latex=True) == (
        r"\frac{\partial \operatorname{vec}(y)}{\partial \operatorname{vec}(x)}"
    )
    assert r"\delta_{n,i}" in jacobian.index_notation.latex


def test_without_matrix_notation_the_left_side_has_indices():
    derivation = cr.derive(lambda x, w: np.einsum("bnd,bdm->bnm", x, w), x="B N D", w="B D M")
    assert str(derivation.jacobians["x"]) == "∂y[b,n,m]/∂x[i,j,d] = w[b,d,m] δ[b,i] δ[n,j]"


def test_structure_with_named_extents():
    form = cr.derive(lambda x: x[::-1], x="N").jacobians["x"]
    assert form.structure == "->a|(-a+N-1)"
    assert cr.derive(lambda x: x * 1.0, x=(4,)).jacobians["x"].structure == "->a|a"


# -- Hessians ---------------------------------------------------------------------------------
HESSIANS = [
    (lambda x: x @ x, {"x": "N"}, "2 I"),
    (lambda x: np.log(np.sum(np.exp(x))), {"x": "N"}, "diag(p) − p pᵀ"),
    (lambda x: np.sum(x**3), {"x": "N"}, "6 diag(x)"),
    (lambda X: np.linalg.slogdet(X)[1], {"X": "N N"}, "−(X⁻¹ ⊗ X⁻ᵀ) 𝐊[N,N]"),
    (lambda A: np.trace(A.T @ A), {"A": "M N"}, "2 I"),
    (lambda x: np.sin(x**2), {"x": ""}, None),
]


@pytest.mark.parametrize(("f", "shapes", "text"), HESSIANS)
def test_hessians(f, shapes, text):
    hessian = cr.derive(f, **shapes).hessian
    if text is not None:
        assert hessian.text == text


def test_a_hessian_whose_factors_multiply_out_to_a_quadratic():
    """σ⁗: multiplying out and factoring again once went round in circles."""
    derivation = NAMED["third_derivative_of_logistic_loss"].derive()
    assert derivation.hessian.text == "p (1 − p) (6 p² − 6 p + 1)"


def test_a_hessian_with_sums_of_quadratic_forms_and_numbers():
    """``𝟏ᵀ A 𝟏`` and a number are added; against the derivative of the printed gradient."""
    derivation = NAMED["gp_hyperparameters"].derive()
    assert set(derivation.hessians) == {(a, b) for a in ("ell", "s") for b in ("ell", "s")}
    assert derivation.hessians["s"].text == "tr(C1)"


def test_the_hessian_of_a_cosine():
    """``(I − x̂ x̂ᵀ − ŷ ŷᵀ + c x̂ ŷᵀ)/(‖x‖ ‖y‖)``."""
    text = NAMED["cosine_similarity"].derive().hessians["x", "y"].text
    first = "((xᵀ y) x / ‖x‖² − y) yᵀ / (‖x‖ ‖y‖³)"
    assert text == f"{first} − x xᵀ / (‖x‖³ ‖y‖) + I/(‖x‖ ‖y‖)"


def test_hessians_by_pairs():
    derivation = cr.derive(lambda A, x: x @ A @ x, A="N N", x="N")
    assert derivation.hessians["x"].text == "A + Aᵀ"
    assert derivation.hessians["x", "A"].text == "xᵀ ⊗ I + I ⊗ xᵀ"
    assert derivation.hessians["A"].text == "0"
    assert str(derivation.hessians["x"]) == "∂²L/∂x² = A + Aᵀ"
    assert derivation.hessians["x"].structure == "ab->a|b"
    with pytest.raises(AttributeError, match="several arguments"):
        _ = derivation.hessian
    with pytest.raises(KeyError, match="'A', 'x'"):
        _ = derivation.hessians["z"]


def test_logistic_regression_hessian_is_finite_and_right_where_the_margin_is_zero():
    def loss(w, X, y):
        z = X @ w
        return np.sum(np.logaddexp(0, z) - y * z)

    derivation = cr.derive(loss, w="D", X="N D", y="N", wrt="w")
    assert derivation.hessian.text == "Xᵀ diag(σ(z) ⊙ (1 − σ(z))) X"


def test_a_vector_valued_function_has_no_hessian():
    with pytest.raises(ValueError, match=r"result of shape \(N, M\), no scalar"):
        _ = cr.derive(linear, x="N D", w="D M").hessians


def test_against_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    def network(x, W1, W2):
        return W2 @ np.tanh(W1 @ x)

    def same(x, W1, W2):
        return W2 @ jax.numpy.tanh(W1 @ x)

    rng = np.random.default_rng(0)
    x, W1, W2 = rng.normal(size=3), rng.normal(size=(4, 3)), rng.normal(size=(2, 4))
    form = cr.derive(network, x="A", W1="B A", W2="C B").jacobians["x"]
    assert form.text == "W2 diag(1 − tanh(W1 x)²) W1" or "diag" in form.text
    h = np.tanh(W1 @ x)
    expected = np.asarray(jax.jacobian(same)(x, W1, W2))
    np.testing.assert_allclose(W2 @ np.diag(1 - h**2) @ W1, expected, atol=1e-12)


def test_the_hessian_of_a_vector_valued_function_of_several_arguments():
    with pytest.raises(ValueError, match="no scalar"):
        _ = cr.derive(linear, x="N D", w="D M").hessian


def test_a_wrong_jacobian_is_found():
    derivation = cr.derive(linear, x="N D", w="D M")
    right, other = derivation.jacobians["x"], derivation.jacobians["w"]
    checker = derivation.author.checker()
    object.__setattr__(right, "notation", other.notation)
    with pytest.raises(cr.DerivativeError, match=r"∂vec\(y\)/∂vec\(x\)"):
        checker.jacobians((), [right, other], [0, 1])


@pytest.mark.parametrize("group", ["gradients", "jacobians"])
def test_every_form_has_every_attribute(group):
    d = cr.derive(linear, x="N D", w="D M")
    forms = getattr(d, group)
    for name, structure in {"x": "cb->ab|ac", "w": "ac->ab|cb"}.items():
        form = forms[name]
        assert form.structure == structure
        for attribute in ("text", "latex", "mathml", "index", "flops"):
            assert isinstance(getattr(form, attribute), str)
        assert isinstance(form.shape, tuple)


def test_the_structure_of_a_gradient():
    d = cr.derive(lambda A, x: x @ A @ x, A="N N", x="N")
    assert d.gradients["A"].structure == "a,b->|ab"


# -- Hessians are derivatives of closed forms ---------------------------------------------------
def by_logarithms(w, X, y):
    p = 1 / (1 + np.exp(-(X @ w)))
    return -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))


def by_logaddexp(w, X, y):
    z = X @ w
    p = 1 / (1 + np.exp(-z))
    return np.sum(np.logaddexp(0, z) - y * z) + 0 * np.sum(p)


@pytest.mark.parametrize("loss", [by_logarithms, by_logaddexp])
def test_a_hessian_does_not_depend_on_how_the_function_is_written(loss):
    d = cr.derive(loss, w="D", X="N D", y="N", wrt="w")
    assert d.gradients["w"].text == "Xᵀ (p − y)"
    assert d.hessian.text == "Xᵀ diag(p ⊙ (1 − p)) X"


def rows(W, X, Y):
    return -np.sum(Y * special.log_softmax(X @ W, axis=1))


def regression(W, X, Y):
    Z = X @ W
    return np.sum(special.logsumexp(Z, axis=1) - np.sum(Y * Z, axis=1))


def of_solution(A, b):
    return np.sum(np.linalg.solve(A, b) ** 3)


def of_two_systems(A, B):
    return np.sum(np.tanh(np.linalg.solve(A, B)) * B) + np.linalg.slogdet(A)[1]


@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (by_logarithms, {"w": "D", "X": "N D", "y": "N"}),
        (rows, {"W": "D C", "X": "N D", "Y": "N C"}),
        (regression, {"W": "D C", "X": "N D", "Y": "N C"}),
        (of_solution, {"A": "N N", "b": "N"}),
        (of_two_systems, {"A": "N N", "B": "N M"}),
        (lambda x: np.sum(np.maximum(x[1:] - x[:-1], 0) ** 2), {"x": "N"}),
        (lambda x, i: np.sum(np.exp(x[i]) * x[i]), {"x": "N D", "i": "int M"}),
        (lambda x: np.sum(x.reshape(-1) ** 3) + np.sum(x[0] * x[1]), {"x": "N 3"}),
    ],
)
def test_gradients_as_nodes_again_have_the_same_values(loss, shapes):
    """What Hessians are derived from, computed, is the gradient of the function."""
    first = next(iter(shapes))
    d = cr.derive(loss, **shapes, wrt=first)
    trace, _ = d.author._second_derivatives()
    rng = np.random.default_rng(0)
    values = []
    for leaf in trace.inputs:
        value = rng.uniform(0.1, 0.9, leaf.shape)
        if leaf.dtype.kind == "i":
            value = rng.integers(0, trace.inputs[0].shape[0], leaf.shape)
        elif first == "A" and leaf is trace.inputs[0]:
            value = value + 3 * len(value) * np.eye(len(value))
        values.append(value)
    bound = dict(zip(trace.inputs, values, strict=True))
    bound |= {leaf: array for leaf, array in trace.captured}
    (found,) = evaluate(trace.gradients, bound)
    expected = cr.grad(lambda a: loss(a, *values[1:]))(values[0])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_where_closed_forms_differ_between_sizes_gradients_are_differentiated_as_traced():
    entry = NAMED["spherical_mixture"]
    assert len(entry.derive().hessians) == len(entry.wanted) ** 2
