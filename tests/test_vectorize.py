"""Loops over elements: the same closed forms as for tensors, and errors that say why not."""

import numpy as np
import pytest

import chainrule as cr
import loops
from chainrule.formula.symbolic import FormulaError
from forms import defined


def forms(f, shapes):
    derivation = cr.derive(f, **shapes)
    found = {left: text for left, text, _ in derivation.lines()}
    return found, derivation.value.shape


SAME = {
    "linear": (loops.linear, lambda x, w: x @ w, {"x": "N D", "w": "D M"}),
    "in place": (loops.product_in_place, lambda x, w: x @ w, {"x": "N D", "w": "D M"}),
    "numbers": (loops.linear, lambda x, w: x @ w, {"x": (1, 2), "w": (2, 3)}),
    "plain softmax": (
        loops.plain_softmax,
        lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
        {"x": "N D"},
    ),
    "convolution": (
        loops.convolution,
        lambda x, w: np.lib.stride_tricks.sliding_window_view(x, 3) @ w,
        {"x": "N", "w": (3,)},
    ),
    "dot": (loops.dot, lambda a, b: a @ b, {"a": "N", "b": "N"}),
    "trace": (loops.trace, np.trace, {"A": "N N"}),
    "outer": (loops.outer, np.outer, {"a": "N", "b": "M"}),
    "means": (loops.row_means, lambda x: x.mean(axis=1), {"x": "N D"}),
    "variances": (loops.row_variances, lambda x: x.var(axis=1), {"x": "N D"}),
    "apply": (loops.apply, lambda A, x: A @ x, {"A": "N M", "x": "M"}),
    "running": (loops.running, lambda x: np.cumsum(x), {"x": "N"}),
    "transposed": (loops.transposed, lambda x: x.T, {"x": "N M"}),
    "lower": (loops.lower, lambda x: np.tril(x), {"x": "N N"}),
    "squares": (loops.squares, lambda p, t: np.mean((p - t) ** 2), {"p": "N D", "t": "N D"}),
    "everything": (loops.everything, lambda x: np.prod(x), {"x": "N"}),
}


@pytest.mark.parametrize("name", SAME)
def test_closed_forms_are_those_of_the_tensor_version(name):
    loop, tensor, shapes = SAME[name]
    parameters = list(shapes)
    if tensor in (np.trace, np.outer):
        plain = tensor
        tensor = (lambda A: plain(A)) if len(parameters) == 1 else (lambda a, b: plain(a, b))
    found, shape = forms(loop, shapes)
    wanted, same = forms(tensor, shapes)
    assert found == wanted
    assert shape == same


def test_names_of_arrays_that_loops_fill_are_kept():
    found, _ = forms(loops.softmax, {"x": "N D"})
    assert found == {"y": "softmax(x)", "∂L/∂x": "y ⊙ (G − (G ⊙ y) 𝟏 𝟏ᵀ)"}


def test_layer_by_columns():
    found, _ = forms(loops.layer, {"W": "T N", "X": "N B", "b": "T"})

    def layer(W, X, b):
        Y = np.tanh(b[:, None] + W @ X)
        return Y

    assert found == forms(layer, {"W": "T N", "X": "N B", "b": "T"})[0]


def test_distances():
    found, _ = forms(loops.distances, {"x": "N D", "y": "M D"})
    assert found == {
        "∂L/∂x": "2 (diag(G 𝟏) x − G y)",
        "∂L/∂y": "2 (diag(Gᵀ 𝟏) y − Gᵀ x)",
    }


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (loops.padded, {"x": "N", "w": (3,)}),
        (loops.squashed_running, {"x": "N"}),
        (loops.triangle, {"L": "N N", "x": "N"}),
        (loops.row_layer, {"x": "N D", "w": "D M", "b": "M"}),
        (loops.embedding, {"E": "V D"}),
        (loops.by_rows, {"x": "N D", "w": "D M"}),
        (loops.pairs, {"x": (6,)}),
        (loops.flattened, {"x": "N D"}),
        (loops.helped, {"x": "N"}),
        (loops.apart, {"x": "N", "y": "N"}),
        (loops.rolled, {"x": "N"}),
        (loops.attention, {"q": "T D", "k": "T D", "v": "T D"}),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_further_patterns_are_derived_and_checked(f, shapes):
    derivation = cr.derive(f, **shapes)  # checked against the loop at several sizes
    assert list(derivation.gradients) == list(shapes)


def test_two_dimensional_windows():
    derivation = cr.derive(loops.images, x="H W", w="A B")
    assert derivation.value.shape == ("H − A + 1", "W − B + 1")
    assert derivation.gradients["w"].text == "Σ_(i,j) G[i,j] x[a+i,b+j]"


def test_jacobian_of_a_loop_has_the_structure_of_the_tensor_version():
    derivation = cr.derive(loops.linear, x="N D", w="D M")
    assert derivation.jacobians["x"].structure == "cb->ab|ac"
    assert derivation.jacobians["w"].structure == "ac->ab|cb"


def test_a_value_carried_from_step_to_step_says_so():
    with pytest.raises(FormulaError, match=r"horner is no tensor expression"):
        cr.derive(loops.horner, a="K", x="")


def test_an_index_that_is_not_affine_says_where():
    with pytest.raises(FormulaError, match=r"loops\.py:\d+"):
        cr.derive(loops.quadratic, x="N")


def test_an_element_that_is_written_at_another_index_says_where():
    with pytest.raises(FormulaError, match=r"loops\.py:\d+: \"y\[i\] = x\[\(i \* i\) % 7\]\""):
        cr.derive(loops.scattered, x="N")


def test_two_results_say_so():
    with pytest.raises(FormulaError, match="returned 2 arrays"):
        cr.derive(loops.two, x="N")


def test_functions_of_a_few_elements_stay_as_they_are():
    derivation = cr.derive(lambda x: x[0] * x[1] + x[2], x=(3,))
    assert derivation.gradients["x"].shape == ("3",)


# -- vectorize ------------------------------------------------------------------------------------
VECTORIZED = {
    "linear": (loops.linear, {"x": "N D", "w": "D M"}, "x w", "return x @ w"),
    "product_in_place": (loops.product_in_place, {"x": "N D", "w": "D M"}, "x w", "return x @ w"),
    "softmax": (loops.softmax, {"x": "N D"}, "softmax(x)", "special.softmax(x, axis=1)"),
    "distances": (
        loops.distances,
        {"x": "N D", "y": "M D"},
        "Σ_d (x[n,d] − y[m,d])²",
        "((x[:, None] - y) ** 2).sum(axis=2)",
    ),
    "convolution": (loops.convolution, {"x": "N", "w": "K"}, "Σ_k x[i+k] w[k]", "@ w"),
    "layer": (
        loops.layer,
        {"W": "T N", "X": "N B", "b": "T"},
        "tanh(b 𝟏ᵀ + W X)",
        "np.tanh(b[:, None] + W @ X)",
    ),
    "row_layer": (loops.row_layer, {"x": "N D", "w": "D M", "b": "M"}, None, "x @ w"),
    "dot": (loops.dot, {"a": "N", "b": "N"}, "aᵀ b", "a @ b"),
    "trace": (loops.trace, {"A": "N N"}, "tr(A)", "np.trace(A)"),
    "outer": (loops.outer, {"a": "N", "b": "M"}, "a bᵀ", "a[:, None] * b"),
    "row_means": (loops.row_means, {"x": "N D"}, "x 𝟏 / D", "x.mean(axis=1)"),
    "row_variances": (loops.row_variances, {"x": "N D"}, None, ".mean(axis=1)"),
    "apply": (loops.apply, {"A": "N M", "x": "M"}, "A x", "A @ x"),
    "running": (loops.running, {"x": "N"}, "Σ_i x[i] [i ≤ n]", "np.cumsum(x"),
    "transposed": (loops.transposed, {"x": "N M"}, "xᵀ", "x.T"),
    "lower": (loops.lower, {"x": "N N"}, "tril(x)", "np.tril(x)"),
    "triangle": (loops.triangle, {"L": "N N", "x": "N"}, None, ""),
    "squares": (loops.squares, {"p": "N D", "t": "N D"}, None, "((p - t) ** 2).mean()"),
    "images": (loops.images, {"x": "H W", "w": "A B"}, "Σ_(a,b) x[i+a,j+b] w[a,b]", ""),
    "embedding": (loops.embedding, {"E": "V D"}, "E[TABLE[i],d]", "E[TABLE]"),
    "embedded": (loops.embedded, {"E": "V D", "at": "int K"}, "E[at[k],d]", "E[at"),
    "by_rows": (loops.by_rows, {"x": "N D", "w": "D M"}, "tanh(x w)", "np.tanh(x @ w)"),
    "everything": (loops.everything, {"x": "N"}, "prod(x)", "x.prod("),
    "flattened": (loops.flattened, {"x": "N D"}, None, "reshape"),
    "padded": (loops.padded, {"x": "N", "w": (3,)}, None, ""),
}
SIZES = {"N": 6, "D": 5, "M": 7, "K": 3, "T": 4, "B": 3, "H": 7, "W": 8, "A": 3, "V": 4}


@pytest.mark.parametrize("name", VECTORIZED)
def test_vectorized_functions_compute_what_the_loops_compute(name):
    f, shapes, text, code = VECTORIZED[name]
    fast = cr.vectorize(f, **shapes)
    rng = np.random.default_rng(0)
    values = []
    for shape in shapes.values():
        parts = [s for s in (shape.split() if isinstance(shape, str) else shape) if s != "int"]
        size = tuple(SIZES.get(s, s) for s in parts)
        whole = isinstance(shape, str) and shape.startswith("int")
        values.append(rng.integers(0, 4, size) if whole else rng.normal(size=size))
    wanted = f(*values)
    for result in (fast(*values), defined(fast.source, name)(*values)):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13)
    if text is not None:
        assert fast.text == text
    assert code in fast.source
    assert "for " not in fast.source.partition('"""')[2].partition("def")[2]


# -- a diagonal on which differences cancel -------------------------------------------------------
def _squared_distances(X):
    out = np.sum((X[:, None] - X[None]) ** 2, -1)
    return out


def _city_distances(X):
    out = np.abs(X[:, None] - X[None]).sum(-1)
    return out


def _gaussian_kernel(X):
    out = np.exp(-np.sum((X[:, None] - X[None]) ** 2, -1))
    return out


def _gaussian_kernel_below(X):
    out = np.tril(np.exp(-np.sum((X[:, None] - X[None]) ** 2, -1)))
    return out


def _phases(x, w):
    out = np.sin(x[None] - x[:, None]).sum(1) + w
    return out


def _gaps(x, y):
    out = x[:, None] - x[None] + y[:, None]
    return out


WITH_ITSELF = {
    "squared": (loops.squared_distances, _squared_distances, {"X": "N D"}),
    "absolute": (loops.city_distances, _city_distances, {"X": "N D"}),
    "local": (loops.norms_of_differences, _squared_distances, {"X": "N D"}),
    "gaussian": (loops.gaussian_kernel, _gaussian_kernel, {"X": "N D"}),
    "triangle": (loops.gaussian_kernel_below, _gaussian_kernel_below, {"X": "N D"}),
    "phases": (loops.phases, _phases, {"x": "N", "w": "N"}),
    "gaps": (loops.gaps, _gaps, {"x": "N", "y": "N"}),
}


@pytest.mark.parametrize("name", WITH_ITSELF)
def test_differences_of_an_array_with_itself_are_those_of_the_tensor_version(name):
    loop, tensor, shapes = WITH_ITSELF[name]
    assert forms(loop, shapes) == forms(tensor, shapes)
    fast, same = cr.vectorize(loop, **shapes), cr.vectorize(tensor, **shapes)
    assert fast.text == same.text
    assert fast.source.rpartition('"""')[2] == same.source.rpartition('"""')[2]
    rng = np.random.default_rng(1)
    for sizes in ({"N": 6, "D": 4}, {"N": 2, "D": 7}, {"N": 1, "D": 1}):
        values = [rng.normal(size=[sizes[n] for n in s.split()]) for s in shapes.values()]
        wanted = tensor(*values)
        for result in (fast(*values), defined(fast.source, loop.__name__)(*values)):
            np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13)


def test_source_of_pairwise_distances():
    fast = cr.vectorize(loops.squared_distances, X="N D")
    assert fast.text == "Σ_d (X[n,d] − X[i,d])²"
    assert "return ((X[:, None] - X) ** 2).sum(axis=2)" in fast.source


def test_gradient_of_a_gaussian_kernel_is_that_of_jax():
    jax = pytest.importorskip("jax")
    X, G = (np.random.default_rng(2).normal(size=s) for s in ((5, 3), (5, 5)))

    def kernel(X):
        return jax.numpy.exp(-((X[:, None] - X[None]) ** 2).sum(-1))

    with jax.enable_x64(True):
        (wanted,) = jax.vjp(kernel, jax.numpy.asarray(X))[1](jax.numpy.asarray(G))
    derivation = cr.derive(loops.gaussian_kernel, X="N D")
    (found,) = defined(derivation.source(), "backward")(X, G)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("size", [2, 6])
def test_other_places_than_the_diagonal_stay_other_places(size):
    fast = cr.vectorize(loops.gaussian_kernel_apart, X="N D")
    X = np.random.default_rng(3).normal(size=(size, 3))
    wanted = _gaussian_kernel(X) - np.eye(size)
    np.testing.assert_allclose(fast(X), wanted, rtol=1e-12, atol=1e-15)
    assert not np.diag(fast(X)).any()


def test_what_cancels_throughout_is_left_out():
    assert cr.vectorize(loops.telescope, x="N").text == "x[N−1] − x[0]"


def test_vectorized_functions_keep_their_calling_convention():
    fast = cr.vectorize(loops.linear, x="N D", w="D M")
    x, w = np.ones((2, 3)), np.ones((3, 4))
    assert fast(w=w, x=x).shape == fast(x, w).shape == (2, 4)
    assert fast.shape == ("N", "M")
    assert fast.__name__ == "linear"
    assert fast(x.astype("f4"), w.astype("f4")).dtype == np.float32
    with pytest.raises(ValueError, match=r"w has the shape \(4, 3\).*\(D, M\).*D is 3 in x"):
        fast(x, w.T)
    with pytest.raises(ValueError, match=r"x has the shape \(3,\), where \(N, D\)"):
        fast(x[0], w)
    with pytest.raises(TypeError, match="missing"):
        fast(x)


def test_trees_and_constants():
    def scaled(params, x, factor=2.0):
        y = np.zeros(len(x))
        for i in range(len(x)):
            y[i] = factor * params["w"][i] * x[i] + params["b"]
        return y

    fast = cr.vectorize(scaled, params={"w": "N", "b": ""}, x="N")
    params = {"w": np.arange(3.0), "b": 1.0}
    np.testing.assert_allclose(fast(params, np.ones(3)), [1, 3, 5])
    with pytest.raises(TypeError, match="factor was the constant"):
        fast(params, np.ones(3), 3.0)


def test_display():
    fast = cr.vectorize(loops.linear, x="N D", w="D M")
    assert repr(fast).startswith("linear: x (N, D), w (D, M)\n  y = x w\n\n")
    assert "<math" in fast._repr_html_()
    assert "x w" in fast._repr_latex_().replace(" \\, ", " ")
    assert fast.latex
    assert fast.index == "Σ_d x[n,d] w[d,m]"


def test_vectorized_code_for_other_libraries():
    jax = pytest.importorskip("jax")
    fast = cr.vectorize(loops.row_layer, x="N D", w="D M", b="M")
    values = [np.ones((2, 3)), np.ones((3, 4)), -np.arange(4.0)]
    found = jax.jit(defined(fast.code("jax"), "row_layer"))(*values)
    np.testing.assert_allclose(found, loops.row_layer(*values), rtol=1e-6)


def test_a_tensor_function_is_vectorized_already():
    assert cr.vectorize(lambda x, w: np.tanh(x @ w), x="N D", w="D M").text == "tanh(x w)"


def test_what_does_not_generalize_is_refused():
    with pytest.raises(FormulaError, match="carries a value"):
        cr.vectorize(loops.horner, a="K", x="")
    with pytest.raises(FormulaError, match=r"loops\.py:\d+"):
        cr.vectorize(loops.quadratic, x="N")
