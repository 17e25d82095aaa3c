"""Exact arithmetic over named extents."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.expr.extents import ONE, ZERO, Extent, exact, extent, name

N, M, D = name("N"), name("M"), name("D")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (N, "N"),
        (N - 1, "N − 1"),
        (2 * N, "2 N"),
        (1 / N, "1/N"),
        (2 / N, "2/N"),
        (1 / (2 * N), "1/(2 N)"),
        (-N / 2, "−N/2"),
        (N * M / (N * N), "M/N"),
        ((N * N - 1) / (N - 1), "N + 1"),
        ((N - 1) / (N * N - 1), "1/(N + 1)"),
        (N / (N - 1), "N/(N − 1)"),
        (1 / (1 / (N - 1)), "N − 1"),
        ((N + M) / N, "(N + M)/N"),
        ((N - 1) * (N + 1), "N² − 1"),
        (1 / D ** Fraction(1, 2), "1/√D"),
        (extent(0.1), "0.1"),
        (extent(0.25), "1/4"),
        (extent(2**-0.5), "1/√2"),
        (extent((2 * math.pi) ** -0.5) * extent(2**0.5), "1/√π"),
        (extent(2**-0.5) * extent(2**-0.5), "1/2"),
        (extent(1 / 3) * N, "N/3"),
        (N - N, "0"),
        (1e-5 * ONE, "10⁻⁵"),
    ],
)
def test_prints_as_one_writes(value, text):
    assert str(value) == text


def test_latex_fraction():
    assert (2 / (3 * N)).fraction(latex=True) == ("2", "3 N")
    assert (D ** Fraction(1, 2)).fraction(latex=True) == (r"\sqrt{D}", "1")


def test_equal_quotients_have_equal_hashes():
    left, right = (N + 1) / (N - 1), (N * N + 2 * N + 1) / (N * N - 1)
    assert left == right
    assert hash(left) == hash(right)
    assert (N / N) == 1
    assert hash(N / N) == hash(ONE)


def test_division_by_zero():
    with pytest.raises(ZeroDivisionError):
        N / (M - M)


def test_a_power_of_a_sum_that_is_none():
    with pytest.raises(ValueError, match="no quotient of polynomials"):
        (N + 1) ** Fraction(1, 2)


def test_short_fractions_are_exact():
    assert exact(0.2) == Fraction(1, 5)
    assert exact(1 / 3) == Fraction(1, 3)
    assert isinstance(exact(0.123456789), float)


SIZES = {"N": 7, "M": 11, "D": 4}
atoms = st.sampled_from([N, M, D, ONE, ZERO, extent(2), extent(Fraction(1, 3))])
numbers = st.recursive(
    atoms,
    lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner),
    max_leaves=6,
)


def build(tree):
    """The extent and the exact number of an expression tree; None where it divides by zero."""
    if isinstance(tree, Extent):
        return tree, Fraction(tree.value(SIZES)).limit_denominator(1000)
    op, left, right = tree
    pairs = build(left), build(right)
    if None in pairs:
        return None
    (a, x), (b, y) = pairs
    if op == "/":
        return None if not b or y == 0 else (a / b, x / y)
    return {"+": (a + b, x + y), "-": (a - b, x - y), "*": (a * b, x * y)}[op]


@given(numbers, numbers)
def test_arithmetic_is_that_of_numbers(first, second):
    pairs = build(first), build(second)
    if None in pairs:
        return
    (a, x), (b, y) = pairs
    assert a.value(SIZES) == pytest.approx(float(x), rel=1e-12, abs=1e-12)
    assert (a + b) - b == a
    assert hash((a + b) - b) == hash(a)
    assert a * b == b * a
    assert (a * b).value(SIZES) == pytest.approx(float(x * y), rel=1e-12, abs=1e-12)


def test_quotients_that_are_reciprocals_of_monomials_keep_them():
    n = name("N")
    ratio = (1 / (n**2 - n)) / (-1 / (n - 1))
    assert ratio == -1 / n
    assert str(ratio) == "−1/N"
