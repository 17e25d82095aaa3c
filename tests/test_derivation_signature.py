"""Shapes from annotations, whole numbers, constants; what is wrong with a signature says so."""

from typing import Annotated, TypedDict

import numpy as np
import pytest

import chainrule as cr


class _Fake(type):
    """``Float[Array, "N D"]`` without jaxtyping: ``Annotated`` underneath."""

    def __getitem__(cls, item):
        return Annotated[item[0], item[1]]


class Float(metaclass=_Fake):
    pass


Matrix = Float[np.ndarray, "N D"]


def texts(f, **shapes):
    return {k: g.text for k, g in cr.derive(f, **shapes).gradients.items()}


def test_annotated():
    def f(x: Annotated[np.ndarray, "N D"], w: Annotated[np.ndarray, ("D", 3)]):
        return x @ w

    derivation = cr.derive(f)
    assert derivation.arguments == (("x", ("N", "D")), ("w", ("D", "3")))
    assert texts(f) == {"x": "G wᵀ", "w": "xᵀ G"}


def test_strings_need_no_jaxtyping():
    def f(x: 'Float[Array, "N D"]', w: "jt.Float64[np.ndarray, 'D M']"):  # noqa: F821, F722
        return x @ w

    assert texts(f) == {"x": "G wᵀ", "w": "xᵀ G"}


def test_an_alias_in_a_string_is_looked_up():
    def f(x: "Matrix"):
        return np.sum(x)

    assert cr.derive(f).gradients["x"].shape == ("N", "D")


def test_jaxtyping():
    jaxtyping = pytest.importorskip("jaxtyping")

    def f(E, t, s):
        return E[t] * s

    f.__annotations__ = {
        "E": jaxtyping.Float[np.ndarray, "V D"],
        "t": jaxtyping.Int[np.ndarray, "#T"],
        "s": jaxtyping.Float[np.ndarray, ""],
    }
    derivation = cr.derive(f)
    assert list(derivation.gradients) == ["E", "s"]
    assert "= t[" in derivation.gradients["E"].index


def test_shapes_override_annotations_and_floats_are_numbers():
    def f(x: Annotated[np.ndarray, "N D"], a: float):
        return a * np.sum(x * x)

    derivation = cr.derive(f, x="3 4")
    assert derivation.arguments == (("x", ("3", "4")), ("a", ()))
    assert derivation.gradients["x"].text == "2 a x"


def test_typed_dicts_give_trees():
    class Params(TypedDict):
        w: Annotated[np.ndarray, "D M"]
        b: Annotated[np.ndarray, "M"]

    def f(params: Params, x: Annotated[np.ndarray, "N D"]):
        return x @ params["w"] + params["b"]

    assert texts(f) == {"params.w": "xᵀ G", "params.b": "Gᵀ 𝟏", "x": "G wᵀ"}


@pytest.mark.parametrize("dims", ["*batch D", "... D", "_ D", "N-1 D"])
def test_dimensions_that_are_no_shape_say_so(dims):
    def f(x: Annotated[np.ndarray, dims]):
        return np.sum(x)

    with pytest.raises(TypeError, match=r"annotation of x has the dimension .* give its shape"):
        cr.derive(f)
    assert cr.derive(f, x="N D").gradients["x"].text == "𝟏 𝟏ᵀ"


def test_no_shape_and_no_annotation():
    with pytest.raises(TypeError, match=r"give the shape of .x., .* \(or annotate it"):
        cr.derive(lambda x: x)


# -- whole numbers ----------------------------------------------------------------------------
def embedding(E, tokens):
    return E[tokens]


@pytest.mark.parametrize("tokens", ["T", "int T", np.array([0, 2, 1, 2])])
def test_what_is_used_as_an_index_holds_whole_numbers(tokens):
    derivation = cr.derive(embedding, E="V D" if isinstance(tokens, str) else "3 D", tokens=tokens)
    assert list(derivation.gradients) == ["E"]
    assert "= tokens[" in derivation.gradients["E"].text


def test_negative_indices_count_from_the_end():
    tokens = np.array([0, -1, 1])
    derivation = cr.derive(lambda E: E[tokens], E="V D")
    assert "tokens[i] + V" in derivation.gradients["E"].index
    plain = cr.derive(embedding, E="V D", tokens="T")
    assert plain.gradients["E"].text == "Σ_t G[t,d] [v = tokens[t]]"


def test_there_is_no_derivative_by_whole_numbers():
    with pytest.raises(TypeError, match="tokens holds whole numbers: there is no derivative"):
        cr.derive(embedding, E="V D", tokens="int T", wrt="tokens")


def test_too_many_names():
    shape = " ".join("ABCDEFGHIJKLMN")
    with pytest.raises(TypeError, match="14 named extents are too many"):
        cr.derive(lambda x: np.sum(x), x=shape)


def test_names_that_are_keywords_of_derive():
    def f(shapes, check, wrt, layout, convention):
        return shapes * check + wrt * layout * convention

    names = ("shapes", "check", "wrt", "layout", "convention")
    derivation = cr.derive(f, shapes=dict.fromkeys(names, ""))
    assert derivation.gradients["wrt"].text == "convention layout"


@pytest.mark.parametrize(
    ("option", "message"),
    [({"layout": "rows"}, "layout must be"), ({"convention": "columns"}, "convention must be")],
)
def test_unknown_options(option, message):
    with pytest.raises(ValueError, match=message):
        cr.derive(lambda x: x, x="N", **option)
