"""Loops over elements: the same closed forms as for tensors, and errors that say why not."""

import numpy as np
import pytest

import chainrule as cr
import loops
from chainrule.formula.symbolic import FormulaError


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
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_further_patterns_are_derived_and_checked(f, shapes):
    derivation = cr.derive(f, **shapes)  # checked against the loop at several sizes
    assert list(derivation.gradients) == list(shapes)


def test_two_dimensional_windows():
    derivation = cr.derive(loops.images, x="H W", w="A B")
    assert derivation.value.shape == ("−A + H + 1", "−B + W + 1")
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


def test_functions_of_a_few_elements_stay_as_they_are():
    derivation = cr.derive(lambda x: x[0] * x[1] + x[2], x=(3,))
    assert derivation.gradients["x"].shape == ("3",)
