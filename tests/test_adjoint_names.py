"""Names on the way back, what is said of them, and the notation around them."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli.rendering.data import to_data
from chainrule.formula.mathml import mathml
from chainrule.formula.reading import read
from chainrule.formula.writing import latex_name, width_of
from chainrule.web import Explanation
from corpus import NAMED


def rows(derivation):
    return {part.name: part.text for part in derivation.parts}


def test_adjoints_are_called_by_what_they_belong_to():
    derivation = NAMED["attention"].derive()
    assert rows(derivation)["P̄"] == "G Vᵀ"
    assert rows(derivation)["S̄"] == "P ⊙ (P̄ − (P̄ ⊙ P) 𝟏 𝟏ᵀ)"
    assert str(derivation).splitlines()[-1] == "  where P̄ = ∂L/∂P, S̄ = ∂L/∂S"
    assert r"\bar{P} = \frac{\partial L}{\partial P}" in derivation._repr_latex_()


def test_an_adjoint_without_a_name_of_its_own_is_the_error_of_backpropagation():
    derivation = NAMED["two_layers"].derive()
    assert rows(derivation)["Δ1"] == "(W2ᵀ Δ2) ⊙ (1 − h1²)"
    assert str(derivation).splitlines()[-1] == "  where Δ2 = ∂L/∂(W2 h1), Δ1 = ∂L/∂(W1 x)"


def test_errors_of_gates_are_called_by_the_gates():
    names = rows(NAMED["lstm_cell"].derive())
    assert list(names) == ["i", "f", "o", "g", "s", "y", "s̄", "Δg", "Δi", "Δf", "Δo"]


def test_multiples_of_an_adjoint_become_the_adjoint_where_that_is_shorter():
    derivation = NAMED["masked_factorization"].derive()
    assert rows(derivation)["R̄"] == "2 (W ⊙ R)"
    assert derivation.gradients["U"].text == "−R̄ V"
    distances = NAMED["pairwise_distances"].derive()
    assert distances.gradients["X"].text == "diag(C 𝟏) X − C Y"


@pytest.mark.parametrize("name", ["two_layers", "vector_network", "lstm_cell", "linear_solve"])
def test_the_letter_of_kronecker_is_no_name(name):
    derivation = NAMED[name].derive()
    assert all("δ" not in part.name for part in derivation.parts)


def test_a_name_that_the_function_took_is_not_given_again():
    def f(Δ, w):
        return np.tanh(np.tanh(Δ @ w))

    derivation = cr.derive(f, shapes={"Δ": "N D", "w": "D M"})
    names = [part.name for part in derivation.parts]
    assert len(set(names)) == len(names)
    assert "Δ" not in names


def test_what_is_normalized_has_a_name_where_it_is_used_again():
    derivation = NAMED["rms_norm"].derive()
    assert derivation.gradients["g"].text == "(G ⊙ S)ᵀ 𝟏"
    assert derivation.gradients["x"].text == "diag(1/s) (G diag(g) − diag((G ⊙ y) 𝟏) S / D)"


def test_steps_small_cases_and_data_say_what_symbols_mean():
    derivation = NAMED["two_layers"].derive()
    said = "where Δ2 = ∂L/∂(W2 h1), Δ1 = ∂L/∂(W1 x)"
    assert any(said in step.text for step in derivation.steps)
    assert said in derivation.small_case(N=1, H=2, K=1).text
    data = to_data(Explanation("two_layers", derivation, checked=True))
    assert [meaning["text"] for meaning in data["where"]] == [said]


def test_emitted_code_spells_bars_out():
    source = NAMED["attention"].derive().source()
    assert "P_bar = G @ V.T  # P̄ = G Vᵀ" in source
    assert all("̄" not in line.partition("#")[0] for line in source.splitlines())


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("P̄", r"\bar{P}"),
        ("h̄1", r"\bar{h}_{1}"),
        ("Δg", r"\Delta_{g}"),
        ("Δ12", r"\Delta_{12}"),
        ("Wq", r"W_{q}"),
        ("W_q", r"W_{q}"),
        ("x_hat", r"\hat{x}"),
        ("lam", r"\lambda"),
        ("sigma_2", r"\sigma_{2}"),
        ("logits", r"\mathrm{logits}"),
    ],
)
def test_names_in_latex(name, latex):
    assert latex_name(name) == latex


def test_marks_over_letters_take_no_column():
    assert width_of("P̄") == 1
    lines = str(NAMED["attention"].derive()).splitlines()[1:-1]
    assert len({width_of(line.split(" = ")[0]) for line in lines}) == 1


def test_two_bounds_are_one_comparison():
    text = NAMED["convolution"].derive().gradients["x"].index
    assert text.count("[0 ≤ ") == 1
    assert read("[0 ≤ n−k ≤ N − K]").parts[0].kind == "chain"
    assert mathml("[0 ≤ n−k ≤ N]").count("<mo>≤</mo>") == 2


def test_columns_beside_rows_are_products():
    derivation = NAMED["softmax_regression_of_one"].derive()
    assert derivation.hessian.text == "x xᵀ ⊗ (diag(p) − p pᵀ)"


def test_signs_of_sums_stand_in_front_of_them():
    index = NAMED["layer_norm"].derive().gradients["x"].index
    assert index == "(Δ[n,d] − Σ_i Δ[n,i]/D − (Σ_i x_hat[n,i] Δ[n,i]) x_hat[n,d]/D)/s[n,0]"
