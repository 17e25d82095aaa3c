"""Expressions given as text: what they mean, what they refuse, where the caret stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli.expression import ExpressionError, parse
from chainrule.cli.expression.vocabulary import FUNCTIONS, METHODS, MODULES
from chainrule.formula.shapes import parse as parse_shape


def read(text: str, **shapes: str) -> Any:
    """The function of an expression, with the names of sizes known."""
    extents: dict[str, tuple[str, int]] = {}
    for name, shape in shapes.items():
        for axis, extent in enumerate(parse_shape(shape, name)):
            if isinstance(extent, str):
                extents.setdefault(extent, (name, axis))
    return parse(text, shapes, extents)


RNG = np.random.default_rng(3)
X, W, B = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=2)
S = X.T @ X + np.eye(3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tanh(x @ w + b)", np.tanh(X @ W + B)),
        ("np.tanh(x @ w + b)", np.tanh(X @ W + B)),
        ("h = x @ w; z = h + b; sum(z**2) / N", np.sum((X @ W + B) ** 2) / 4),
        ("h = x @ w + b\nh.T @ h", (X @ W + B).T @ (X @ W + B)),
        ("y = x @ w + b", X @ W + B),
        ("(x @ w + b).sum(axis=1, keepdims=True)", (X @ W + B).sum(axis=1, keepdims=True)),
        ("where(x @ w > b, 1, -1) * pi", np.where(X @ W > B, 1, -1) * np.pi),
        ("~((x @ w > 0) & (x @ w < b)) + 0", ~((X @ W > 0) & (X @ W < B)) + 0),
        ("(x @ w)[1:, ::-1][..., None] + b[0]", (X @ W)[1:, ::-1][..., None] + B[0]),
        ("np.einsum('nd,dm->nm', x, w) - b", np.einsum("nd,dm->nm", X, W) - B),
        ("stack([x @ w, x @ w + b])", np.stack([X @ W, X @ W + B])),
        ("(x @ w + b).reshape((2, -1)) % 3 // 2", (X @ W + B).reshape((2, -1)) % 3 // 2),
        ("np.linalg.norm(x @ w + b)", np.linalg.norm(X @ W + B)),
        ("relu(x @ w) + sigmoid(b) * softplus(b)", np.maximum(X @ W, 0)
         + np.logaddexp(B, 0) / (1 + np.exp(-B))),
        ("x @ w / len(x) + b * x.shape[0] - x.ndim", X @ W / 4 + B * 4 - 2),
        ("+x @ -w + b[:, None].squeeze()", X @ -W + B),
    ],
)  # fmt: skip
def test_expressions_mean_what_numpy_means(text: str, expected: Any) -> None:
    f = read(text, x="N D", w="D M", b="M")
    np.testing.assert_allclose(f(x=X, w=W, b=B), expected)
    np.testing.assert_allclose(f(X, W, B), expected)


def test_short_names() -> None:
    f = read("logdet(A) + tr(inv(A)) + det(A) + logsumexp(A)", A="n n")
    expected = np.linalg.slogdet(S)[1] + np.trace(np.linalg.inv(S)) + np.linalg.det(S)
    np.testing.assert_allclose(f(S), expected + np.log(np.exp(S).sum()))
    e = np.exp(X)
    np.testing.assert_allclose(read("softmax(x, axis=1)", x="N D")(X), e / e.sum(1, keepdims=True))
    np.testing.assert_allclose(read("gelu(x)", x="N")(0.0), 0.0)


def test_the_function_reads_like_the_text() -> None:
    f = read("h = tanh(x @ w); \n sum(h**2)/N", w="D M", x="N D")
    assert f.__name__ == "h = tanh(x @ w); sum(h**2)/N"
    derivation = cr.derive(f, x="N D", w="D M")
    assert [name for name, _ in derivation.arguments] == ["x", "w"]
    assert "h" in dict(derivation.definitions)
    assert read("x", x="N")(2.0) == 2.0


def test_a_name_in_the_shapes_is_never_a_function() -> None:
    assert read("norm * pi", norm="", pi="")(3.0, 2.0) == 6.0


def test_every_listed_function_is_called_by_its_name() -> None:
    assert len(FUNCTIONS) > 150
    for functions in (FUNCTIONS, *MODULES.values()):
        assert all(callable(function) for function in functions.values())
    assert all(hasattr(np.ndarray, name) for name in METHODS)
    assert not any(name.startswith("_") for name in (*FUNCTIONS, *METHODS))


# -- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        # slips
        ("tahn(x)", "unknown function 'tahn'; did you mean", "tahn"),
        ("ln(x)", "unknown function 'ln'; did you mean 'log'?", "ln"),
        ("np.tahn(x)", "np.tahn is not allowed; did you mean", "np.tahn"),
        ("x + y", "the shape of 'y' is not given: add --shape y=N,D", "y"),
        ("x + sin", "'sin' is a function: write sin(…)", "sin"),
        ("x(2)", "'x' is an array, not a function", "x"),
        ("x^2", "^ is not a power here; write **", "x^2"),
        ("x if x > 0 else 0", "where(condition, a, b)", "x if x > 0 else 0"),
        ("x > 0 and x < 1", "write & and |", "x > 0 and x < 1"),
        ("not x", "write ~", "not x"),
        ("0 < x < 1", "write a < b < c as", "0 < x < 1"),
        ("x in [1]", "'in' and 'is' are not allowed", "x in [1]"),
        ("x.sum", ".sum is a method: write .sum()", "x.sum"),
        ("x.tolist()", "the method 'tolist' is not allowed", "x.tolist"),
        ("x.Tt", "the attribute 'Tt' is not allowed", "x.Tt"),
        ("sum(x, axs=0)", "the keyword 'axs' is not allowed; did you mean 'axis'", "axs=0"),
        ("np.sin", "np.sin is a function: write np.sin(…)", "np.sin"),
        ("[x, x]", "can only be an argument; write stack([…])", "[x, x]"),
        ("x +", "not an expression in Python's notation: invalid syntax", " "),
        ("sum(x", "'(' was never closed", "("),
        ("2x", "invalid decimal literal", "2"),
        ("x = 2; x", "'x' is an argument; use another name", "x"),
        ("x; x", "an expression before the last is not allowed", "x"),
        ("1 + 2", "does not use 'x', which has a --shape", "1 + 2"),
        ("1j * x", "complex numbers have no formulas here", "1j"),
        ("softmax(x[None, :])", "softmax of an array with 2 axes needs axis=", None),
        # attempts
        ("__import__('os').system('true')", "unknown function '__import__'", "__import__"),
        ("x.__class__", "the attribute '__class__' is not allowed", "x.__class__"),
        ("x.__class__.__mro__", "the attribute '__class__' is not allowed", "x.__class__"),
        ("x.__reduce__()", "the method '__reduce__' is not allowed", "x.__reduce__"),
        ("np.__builtins__", "np.__builtins__ is a function", None),
        ("np.__loader__.load_module('os')", "not a module that may be used", None),
        ("np.load('secret')", "np.load is not allowed", "np.load"),
        ("np.lib.npyio.open('f')", "'np.lib.npyio' is not a module", None),
        ("x.tofile('f')", "the method 'tofile' is not allowed", None),
        ("x.dump('f')", "the method 'dump' is not allowed", None),
        ("eval('1')", "unknown function 'eval'", "eval"),
        ("(lambda: x)()", "this cannot be called", "lambda: x"),
        ("lambda: x", "lambda is not allowed", "lambda: x"),
        ("[i for i in x]", "comprehensions are not allowed", "[i for i in x]"),
        ("sum(i for i in x)", "comprehensions are not allowed", None),
        ("{i: i for i in x}", "comprehensions are not allowed", None),
        ("f'{x}'", "strings are not allowed here", None),
        ("(y := x)", "write 'h = …;' before the expression", "y := x"),
        ("sum(*x)", "* before an argument is not allowed", "*x"),
        ("sum(**x)", "** before arguments is not allowed", "x"),
        ("{'a': x}", "dictionaries are not allowed", None),
        ("import os", "'import' is not allowed", "import os"),
        ('x # """; import os', "a comment is not allowed here", '# """; import os'),
        ("def f(): pass", "'functiondef' is not allowed", None),
        ("x.T = 1; x", "only 'name = expression' can be assigned", "x.T"),
        ("'a' * 10**9 + x", "'a' cannot stand here", "'a'"),
        ("x.shape.__len__()", "the method '__len__' is not allowed", None),
    ],
)  # fmt: skip
def test_refused_before_anything_runs(text: str, message: str, caret: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        read(text, x="N")(np.ones(3))
    first, row, marks = str(caught.value).rsplit("\n", 2)
    assert message in first
    assert row.strip() in text or text in row
    if caret is not None:
        start, width = len(marks) - len(marks.lstrip()), len(marks.strip())
        assert (row + " ")[start : start + width] == caret


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9**9**9 * x", "this power of whole numbers is too large"),
        ("x * 2**10000", "this power of whole numbers is too large"),
        ("x * 9999999999999999", "this whole number is too large; write it as 1e16"),
        ("x + zeros(10**10).sum()", "zeros would make an array of 10,000,000,000 elements"),
        ("x + zeros((10**6, 10**6)).sum()", "zeros would make an array of"),
        ("x + eye(10**6).sum()", "eye would make an array of"),
        ("x + arange(0, 10**12, 10).sum()", "arange would make an array of"),
        ("x + np.linspace(0, 1, 10**9).sum()", "linspace would make an array of"),
        ("x + np.linspace(0, 1, num=10**9).sum()", "linspace would make an array of"),
        ("tile(tile(x, 10**6), 10**6)", "tile would make an array of"),
        ("repeat(x, 10**10)", "repeat would make an array of"),
        ("x.repeat(10**10)", "repeat would make an array of"),
        ("pad(x, 10**10)", "pad would make an array of"),
        ("broadcast_to(x, (10**10, 3))", "broadcast_to would make an array of"),
        ("a = outer(x, ones(10**4)); outer(a, a)", "outer would make an array of"),
        ("(x.shape * 10**9)[0] + x", "is no number or array"),
        ("[x] * 10**9", "can only be an argument"),
        ("a = ones(10**5); x[0] + a[:, None] + a", "elements, more than are computed here"),
        ("x + 1 // 0", "by zero"),
        ("-" * 200 + "x", "too deep or too long"),
        ("+".join("x" * 2000), "too deep or too long"),
        ("x" + " + 1" * 3000, "has 12,001 characters"),
        ("(" * 300 + "x" + ")" * 300, "too many nested parentheses"),
        ("9" * 5000 + " * x", "cannot be read|not an expression"),
    ],
)
def test_bombs_are_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        read(text, x="N")(np.ones(3))


def test_what_numpy_says_stands_at_its_place() -> None:
    f = read("tanh(x @ w + b)", x="N D", w="K M", b="M")
    with pytest.raises(ExpressionError) as caught:
        cr.derive(f, x="N D", w="K M", b="M")
    assert str(caught.value) == (
        "matmul: shapes (N, D) and (K, M) do not fit: the last axis D meets K (axis -2)\n"
        "  tanh(x @ w + b)\n"
        "       ^^^^^"
    )


def test_a_long_expression_is_shown_around_the_place() -> None:
    with pytest.raises(ExpressionError) as caught:
        read(" + ".join(["x"] * 40) + " + tahn(x) + " + " + ".join(["x"] * 40), x="N")
    _, row, marks = str(caught.value).splitlines()
    assert len(row) < 100
    start = len(marks) - len(marks.lstrip())
    assert row[start : start + 4] == "tahn"


def test_columns_count_characters_not_bytes() -> None:
    with pytest.raises(ExpressionError) as caught:
        read("αβγ + tahn(αβγ)", αβγ="N")
    _, row, marks = str(caught.value).splitlines()
    assert row[len(marks) - 4 : len(marks)] == "tahn"


@pytest.mark.parametrize(
    ("room", "name", "arguments"),
    [("special", "logsumexp", 1), ("special", "softmax", 1), ("linalg", "solve_triangular", 2)],
)
def test_scipys_own_functions_name_their_counterpart(room: str, name: str, arguments: int) -> None:
    """In a user's file: SciPy cannot dispatch, and the message says what to import."""
    module = pytest.importorskip(f"scipy.{room}")
    function = getattr(module, name)
    with pytest.raises(cr.TraceError, match=rf"from chainrule\.scipy\.{room} import {name}"):
        cr.grad(lambda x: function(*[np.eye(3)] * (arguments - 1), x).sum())(np.ones(3))
    with pytest.raises(cr.TraceError, match="cannot become a plain NumPy array"):
        cr.grad(lambda x: np.asarray(x).sum())(np.ones(3))
