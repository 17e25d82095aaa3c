"""What derive checks before it shows anything, and what it says where a formula does not hold."""

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule.derive import checking
from chainrule.formula.algebra import Algebra


def test_central_differences_are_an_oracle_of_their_own():
    """A wrong rule would deceive vjp and the formula alike; the function itself is not deceived."""

    @cr.custom
    def wrong(x):
        return np.sin(x)

    wrong.jvp(lambda primals, tangents: (np.sin(primals[0]), 2 * np.cos(primals[0]) * tangents[0]))
    with pytest.raises(cr.DerivativeError, match="by central differences"):
        cr.derive(lambda x: np.sum(wrong(x)), x="N")


def test_what_depends_on_the_parity_of_a_size_says_so():
    derivation = cr.derive(lambda x: np.median(x), x="N")
    assert derivation.condition == "N odd"
    with pytest.raises(ValueError, match="N odd, not at"):
        derivation.small_case(N=4)
    assert not cr.derive(lambda x: np.median(x), x="5").condition


def test_what_depends_on_sizes_otherwise_is_refused():
    with pytest.raises(cr.DerivativeError, match=r"right at sizes .* wrong at .*'N': 3"):
        cr.derive(lambda x: x[: 2 - (len(x) % 3 == 0)], x="N")


def test_what_holds_for_one_order_of_sizes_says_so():
    derivation = cr.derive(lambda A: np.linalg.svd(A, full_matrices=False)[1], A="M N")
    assert derivation.condition == "N < M"
    assert str(derivation).splitlines()[0].endswith("; for N < M")


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("f", [np.convolve, np.correlate], ids=["convolve", "correlate"])
def test_convolutions_hold_for_the_longer_array_first_and_say_so(f, check):
    derivation = cr.derive(lambda x, w: f(x, w, "valid"), x="N", w="K", check=check)
    assert (derivation.condition, derivation.value.shape) == ("K ≤ N", ("N − K + 1",))
    code = {}
    exec(derivation.source(), code)
    rng = np.random.default_rng(0)
    for n, k in ((7, 3), (4, 4)):
        x, w, G = rng.normal(size=n), rng.normal(size=k), rng.normal(size=n - k + 1)
        y, back = cr.vjp(lambda x, w: f(x, w, "valid"), x, w)
        np.testing.assert_allclose(code["forward"](x, w), y, rtol=1e-12)
        for found, wanted in zip(code["backward"](x, w, G), back(G), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
    for function, given in (("forward", ()), ("backward", (np.ones(5),))):
        with pytest.raises(ValueError, match="K <= N only, not for K = 7, N = 3"):
            code[function](np.ones(3), np.ones(7), *given)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("f", [np.convolve, np.correlate], ids=["convolve", "correlate"])
@pytest.mark.parametrize(
    ("shapes", "conditions"),
    [
        ({"x": "N", "w": "K"}, {"same": "K ≤ N, K odd", "valid": "K ≤ N"}),
        ({"x": "N", "w": (3,)}, {"same": "N ≥ 3", "valid": "N ≥ 3"}),
        ({"x": "N", "w": (4,)}, {"same": "N ≥ 4", "valid": "N ≥ 4"}),
        ({"x": (7,), "w": (2,)}, {}),
        ({"x": (2,), "w": "K"}, {"same": "K ≥ 2", "valid": "K ≥ 2", "correlate same": "K ≥ 3"}),
    ],
    ids=["names", "three", "four", "numbers", "a longer second"],
)
def test_convolutions_in_all_modes(f, mode, shapes, conditions):
    derivation = cr.derive(lambda x, w: f(x, w, mode), **shapes)
    wanted = conditions.get(f"{f.__name__} {mode}", conditions.get(mode, ""))
    assert derivation.condition == wanted
    if mode == "full":  # no condition is left that always holds
        assert not any(
            mark in form.index for form in derivation.gradients.values() for mark in "≥≤<="
        )
    code = {}
    exec(derivation.source(), code)
    rng = np.random.default_rng(0)
    n = shapes["x"][0] if isinstance(shapes["x"], tuple) else 8
    k = shapes["w"][0] if isinstance(shapes["w"], tuple) else 5
    x, w = rng.normal(size=n), rng.normal(size=k)
    y, back = cr.vjp(lambda x, w: f(x, w, mode), x, w)
    G = rng.normal(size=y.shape)
    np.testing.assert_allclose(code["forward"](x, w), y, rtol=1e-12)
    for found, wanted in zip(code["backward"](x, w, G), back(G), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_emitted_code_says_which_sizes_it_is_for():
    derivation = cr.derive(lambda x, w: np.convolve(x, w, "same"), x="N", w="K")
    code = {}
    exec(derivation.source(), code)
    with pytest.raises(ValueError, match="K <= N and K % 2 == 1 only, not for K = 4, N = 7"):
        code["forward"](np.ones(7), np.ones(4))
    code = {}
    exec(cr.derive(lambda x: np.median(x), x="N").source(), code)
    with pytest.raises(ValueError, match="N % 2 == 1 only, not for N = 4"):
        code["forward"](np.ones(4))
    assert "at N = 3, K = 3" in str(derivation.small_case(N=3))


def test_small_cases_keep_the_order():
    derivation = cr.derive(lambda x, w: np.convolve(x, w, "valid"), x="N", w="K")
    assert "at N = 3, K = 3" in str(derivation.small_case())
    with pytest.raises(ValueError, match="K ≤ N"):
        derivation.small_case(N=2, K=3)


def test_the_order_is_that_of_the_two_sizes_that_matter():
    derivation = cr.derive(
        lambda x, w, a: np.sum(np.convolve(x, w, "valid")) * a, x="N", w="K", a="M"
    )
    assert derivation.condition == "K ≤ N"
    assert not cr.derive(lambda x, w: np.convolve(x, w), x="N", w="K").condition


@pytest.mark.parametrize(
    "f", [lambda A: np.linalg.cholesky(A), lambda A: np.linalg.eigh(A)[0]], ids=["cholesky", "eigh"]
)
def test_functions_of_symmetric_matrices_are_differentiated_along_them(f):
    assert cr.derive(f, A="N N").gradients["A"].shape == ("N", "N")


def test_sizes_that_are_too_small_for_the_function_are_passed_over():
    derivation = cr.derive(lambda x: x[5:] - x[:-5], x="N")
    assert derivation.gradients["x"].index == "G[n−5] [n ≥ 5] − G[n] [n < N − 5]"


def test_large_numbers_are_checked_without_loops():
    derivation = cr.derive(lambda x, w: x @ w, x=(8, 900), w=(900, 1100))
    assert derivation.gradients["w"].text == "xᵀ G"
    with pytest.raises(cr.DerivativeError, match="give names in place of the numbers"):
        _ = derivation.jacobians
    unchecked = cr.derive(lambda x, w: x @ w, x=(8, 900), w=(900, 1100), check=False)
    assert unchecked.jacobians["x"].text == "wᵀ ⊗ I"
    assert unchecked.jacobians["x"].structure == "cb->ab|ac"


def test_kinks_do_not_disturb():
    assert cr.derive(lambda x: np.sum(np.abs(x)), x="N").gradients["x"].text
    assert cr.derive(lambda x: np.maximum(x, 0), x="N").gradients["x"].text


def test_no_finite_value_says_so():
    with pytest.raises(cr.DerivativeError, match="no finite derivative"):
        cr.derive(lambda x: np.sum(np.log(-(x**2))), x="N")
    assert cr.derive(lambda x: np.sum(np.log(-(x**2))), x="N", check=False).gradients["x"].text


def test_every_name_is_even_and_odd_once():
    for column in zip(*checking.POOLS[:2], strict=True):
        assert {size % 2 for size in column} == {0, 1}


# -- sizes ------------------------------------------------------------------------------------
def test_a_kernel_that_is_named_last_may_be_smaller_than_the_image():
    def convolve(x, w):
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[0])
        return windows @ w

    derivation = cr.derive(convolve, x="N", w="K")
    assert derivation.gradients["w"].index.startswith("Σ_")
    assert derivation.jacobians["w"].index == "x[n+k]" or "x[" in derivation.jacobians["w"].index


def test_whole_numbers_of_sizes_come_before_fractions():
    """H − K + 1 at the traced sizes is also W/3 + 14/3."""
    from chainrule.formula.symbolic import size_pairs, solve

    names = ["L", "K", "O", "W", "H", "I", "B"]
    first, second = size_pairs(names, [])
    found = solve(first["H"] - first["K"] + 1, second["H"] - second["K"] + 1, first, second)
    assert str(found) == "H − K + 1"


def test_sums_and_differences_of_sizes_are_told_apart():
    from chainrule.formula.symbolic import size_pairs, solve

    names = list("ABCDEF")
    a, b = size_pairs(names, [])
    at = {k: 1000 + 37 * i * i for i, k in enumerate(names)}
    for n, m in itertools.permutations(names, 2):
        for shift, sign in itertools.product(range(-2, 3), (1, -1)):
            found = solve(a[n] + sign * a[m] + shift, b[n] + sign * b[m] + shift, a, b)
            assert found.value(at) == at[n] + sign * at[m] + shift


def test_ranges_of_named_extents_are_indices_and_values():
    def picked(Z, labels):
        return np.sum(Z[np.arange(Z.shape[0]), labels])

    derivation = cr.derive(picked, Z="N C", labels="N")
    assert derivation.gradients["Z"].index == "[c = labels[n]]"
    derivation = cr.derive(lambda x: x * np.arange(x.size), x="N")
    assert derivation.gradients["x"].text == "G ⊙ (0, …, N − 1)"
    assert derivation.gradients["x"].index == "G[n] n"
    derivation = cr.derive(lambda x: np.sum(x * np.linspace(0, 1, len(x))), x="N")
    assert derivation.gradients["x"].text == "(0, …, N − 1)/(N − 1)"


# -- what stands in the way -------------------------------------------------------------------
def test_an_operation_without_a_closed_form_is_named_and_the_form_up_to_it_given():
    def spectrum(W, x):
        z = W @ x
        return np.abs(np.fft.fft(z))

    with pytest.raises(cr.TraceError, match=r"numpy\.fft\.fft is not supported") as caught:
        cr.derive(spectrum, W="M N", x="N")
    partial = caught.value.partial
    assert {k: g.text for k, g in partial.gradients.items()} == {"W": "G xᵀ", "x": "Wᵀ G"}
    assert partial.value.name == "z"
    assert partial.jacobians["x"].text == "W"
    assert "G = ∂L/∂z (M)" in caught.value.__notes__[0]
    assert "spectrum" in str(partial)


def by_steps(x, w):
    h = np.tanh(x @ w)
    return cr.scan(lambda c, a: (np.tanh(c + a), c), np.zeros(3), h)[0]


def chosen(x, w):
    h = np.tanh(x @ w)
    return cr.cond(h[0, 0] > 0, lambda v: v**2, lambda v: v**3, h)


def made_of_sizes(x, w):
    h = np.tanh(x @ w)
    return h * np.random.default_rng(0).normal(size=(len(x), 1))


def of_complex_numbers(x, w):
    h = np.tanh(x @ w)
    return np.abs(h * 1j + 2.0)


@pytest.mark.parametrize(
    ("function", "message", "line"),
    [
        (by_steps, r"chainrule\.scan runs a function of its own", "return cr.scan("),
        (chosen, r"chainrule\.cond runs a function of its own", "return cr.cond("),
        (made_of_sizes, "makes of its sizes alone", "return h * np.random"),
        (of_complex_numbers, "complex numbers", "return np.abs(h * 1j"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_translated_is_named_with_its_line_and_the_form_up_to_it(
    function, message, line
):
    with pytest.raises(TypeError, match=message) as caught:
        cr.derive(function, x="N D", w=("D", 3))
    assert f'"{line}' in str(caught.value)
    partial = caught.value.partial
    assert partial.value.name == "h"
    rng = np.random.default_rng(0)
    x, w, G = rng.normal(size=(4, 2)), rng.normal(size=(2, 3)), rng.normal(size=(4, 3))
    code = {}
    exec(partial.source(), code)
    _, back = cr.vjp(lambda x, w: np.tanh(x @ w), x, w)
    for found, wanted in zip(code["backward"](x, w, G), back(G), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_an_operation_on_an_argument_itself_has_no_part_before_it():
    with pytest.raises(cr.TraceError, match=r"numpy\.fft\.fft") as caught:
        cr.derive(lambda x: np.abs(np.fft.fft(x)), x="N")
    assert caught.value.partial is None


def test_methods_of_ufuncs_say_that_they_are_not_supported():
    with pytest.raises(cr.TraceError, match=r"maximum\.accumulate"):
        cr.derive(lambda x: np.maximum.accumulate(x), x="N")


# -- time -------------------------------------------------------------------------------------
def test_the_rewrites_of_residual_layers_do_not_explode():
    """Sums within sums are multiplied out once each: quadratic in the layers, at most."""

    def count(layers):
        calls = 0
        original = Algebra.prod

        def prod(self, *args):
            nonlocal calls
            calls += 1
            return original(self, *args)

        def residual(x, w):
            for _ in range(layers):
                x = x + np.tanh(x @ w)
            return x

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Algebra, "prod", prod)
            cr.derive(residual, x="N D", w="D D", check=False)
        return calls

    assert count(12) < 2.5 * count(8)


def test_the_form_up_to_a_loop_that_has_no_reverse_derivative():
    def f(x, w):
        h = np.tanh(x @ w)
        return np.sum(cr.while_loop(lambda c: np.sum(c) < 1, lambda c: 2 * c, np.exp(h)))

    with pytest.raises(cr.TraceError, match="while_loop has no reverse derivative") as caught:
        cr.derive(f, x="N D", w="D M")
    partial = caught.value.partial
    assert "y     = exp(h)" in str(partial)
    assert partial.gradients["w"].text == "xᵀ Δ"
