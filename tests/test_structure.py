"""Structure through composition: `.structure`, the bytes stored, and values against JAX.

Each claim is a function of a module (NumPy here, `jax.numpy` for the oracle) and arrays, the
argument it is differentiated by, the exact structure and the exact number of bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import chainrule.numpy as cnp
from claims import SIZE, Claim, normal


# -- what the functions need that NumPy and JAX write differently ---------------------------------
def windows(m: Any, x: Any, n: int, stride: int = 1, dilation: int = 1) -> Any:
    """All windows of n elements along the last axis."""
    reach = (n - 1) * dilation + 1
    if m is np:
        return sliding_window_view(x, reach, axis=-1)[..., ::stride, ::dilation]
    starts = range(0, x.shape[-1] - reach + 1, stride)
    return m.stack([x[..., i : i + reach : dilation] for i in starts], -2)


def patches(m: Any, x: Any, n: int, stride: int = 1, dilation: int = 1) -> Any:
    """All n x n patches along the last two axes."""
    reach = (n - 1) * dilation + 1
    if m is np:
        w = sliding_window_view(x, (reach, reach), axis=(-2, -1))
        return w[..., ::stride, ::stride, ::dilation, ::dilation]
    rows = windows(m, m.swapaxes(x, -1, -2), n, stride, dilation)  # [..., w, oh, kh]
    both = windows(m, m.moveaxis(rows, -3, -1), n, stride, dilation)  # [..., oh, kh, ow, kw]
    return m.swapaxes(both, -3, -2)


def written(m: Any, a: Any, key: Any, value: Any, add: bool = False) -> Any:
    """``a`` with ``a[key] = value`` (or ``+=``)."""
    if m is np:
        a = a + 0
        if add:
            np.add.at(a, key, value)
        else:
            a[key] = value
        return a
    return a.at[key].add(value) if add else a.at[key].set(value)


def blank(m: Any, n: int) -> Any:
    return cnp.zeros(n) if m is np else m.zeros(n)


IDX = np.random.default_rng(1).integers(0, 60, 40)
PERM = np.random.default_rng(2).permutation(60)
SOME = PERM[:5]
x60, x6x10, sq, w7 = normal(60), normal(6, 10), normal(20, 20), normal(7)
image, kernel = normal(9, 10), normal(3, 3)
channels, kernels = normal(4, 9, 10), normal(5, 4, 3, 3)
groups = normal(2, 3, 2, 3, 3)


def conv2d(m: Any, x: Any, w: Any) -> Any:
    return m.einsum("cabij,ocij->oab", patches(m, x, 3), w)


def grouped(m: Any, x: Any, w: Any) -> Any:
    """Two groups of two channels, stride 2, as a reshape around a windowed einsum."""
    x = x.reshape(2, 2, *x.shape[1:])
    y = m.einsum("gcabij,gocij->goab", patches(m, x, 3, 2), w)
    return y.reshape(-1, *y.shape[2:])


def padded(m: Any, x: Any, w: Any) -> Any:
    return conv2d(m, m.pad(x, ((0, 0), (1, 1), (1, 1))), w)


VIEWS = {
    "slice": Claim(lambda m, x: x[3:40], (x60,), "->a|(a+3)", 0),
    "stride": Claim(lambda m, x: x[1::3], (x60,), "->a|(3a+1)", 0),
    "flip": Claim(lambda m, x: x[::-1], (x60,), "->a|(-a+59)", 0),
    "backward stride": Claim(lambda m, x: x[50:5:-4], (x60,), "->a|(-4a+50)", 0),
    "one row": Claim(lambda m, x: x[2], (x6x10,), "->a|2a", 0),
    "pad": Claim(lambda m, x: m.pad(x, (2, 3)), (x60,), "->(a+2)|a", 0),
    "pad two axes": Claim(lambda m, x: m.pad(x, ((1, 1), (2, 2))), (x6x10,), "->(a+1)(b+2)|ab", 0),
    "concatenate": Claim(lambda m, x: m.concatenate([x, 2 * x]), (x60,), "->(a+60)|a + ->a|a", 0),
    "concatenate, one part elementwise": Claim(
        lambda m, x: m.concatenate([x[:5], m.sin(x)]), (x60,), "->a|a + a->(a+5)|a", 60 * SIZE
    ),
    "stack": Claim(lambda m, x: m.stack([x, x]), (x60,), "->0a|a + ->1a|a", 0),
    "roll": Claim(lambda m, x: m.roll(x, 3), (x60,), "->a|(mod(a+57,60))", 0),
    "roll of an axis": Claim(lambda m, x: m.roll(x, 2, axis=1), (x6x10,), "->ab|a(mod(b+8,10))", 0),
    "periodic Laplacian": Claim(
        lambda m, x: m.roll(x, 1) - 2 * x + m.roll(x, -1),
        (x60,),
        "->a|(mod(a+1,60)) + ->a|(mod(a+59,60)) + ->a|a",
        0,
    ),
    "roll times itself": Claim(
        lambda m, x: x * m.roll(x, 1),
        (x60,),
        "(mod(a+59,60))->a|a + a->a|(mod(a+59,60))",
        60 * SIZE,
    ),
    "transpose": Claim(lambda m, x: x.T, (x6x10,), "->ab|ba", 0),
    "reshape, digits split": Claim(
        lambda m, x: x.reshape(3, 2, 5, 2), (x6x10,), "->abcd|(2a+b)(2c+d)", 0
    ),
    "reshape, no common digits": Claim(
        lambda m, x: x.reshape(10, 6),
        (x6x10,),
        "->(div(a,6))(mod(a,6))|(div(a,10))(mod(a,10))",
        0,
    ),
    "ravel of a diagonal": Claim(
        lambda m, x: m.sin(x).ravel(), (x6x10,), "ab->(10a+b)|ab", 60 * SIZE
    ),
    "ravel of a transpose": Claim(lambda m, x: x.T.ravel(), (x6x10,), "->(6a+b)|ba", 0),
    "reshape around a product": Claim(
        lambda m, x, w: (x.reshape(12, 5) @ w).reshape(6, 8),
        (x6x10, normal(5, 4)),
        "dc->a(4b+c)|a(5b+d)",
        20 * SIZE,
    ),
    "broadcast": Claim(lambda m, x: m.broadcast_to(x, (4, 60)), (x60,), "->ab|b", 0),
    "repeat": Claim(lambda m, x: m.repeat(x, 3), (x60,), "->(3a+b)|a", 0),
    "tile": Claim(lambda m, x: m.tile(x, 3), (x60,), "->(60a+b)|b", 0),
    "diagonal": Claim(lambda m, x: m.diagonal(x), (sq,), "->a|aa", 0),
    "diag": Claim(lambda m, x: m.diag(x), (x60,), "->aa|a", 0),
    "average pooling": Claim(
        lambda m, x: x.reshape(3, 2, 5, 2).mean((1, 3)), (x6x10,), "->ab|(2a+c)(2b+d)", 0
    ),
}

WINDOWS = {
    "convolve": Claim(
        lambda m, x, w: m.convolve(x, w, "valid"), (x60, w7), "b->a|(a-b+6)", 7 * SIZE
    ),
    "convolve by the window": Claim(
        lambda m, x, w: m.convolve(x, w, "valid"), (x60, w7), "(a-b+6)->a|b", 60 * SIZE, by=1
    ),
    "convolve, full": Claim(
        lambda m, x, w: m.convolve(x, w),
        (x60, w7),
        "b->a|(a-b);(a-b)>=0;(b-a+59)>=0",
        7 * SIZE,
    ),
    "convolve, same": Claim(
        lambda m, x, w: m.convolve(x, w, "same"),
        (x60, w7),
        "b->a|(a-b+3);(a-b+3)>=0;(b-a+56)>=0",
        7 * SIZE,
    ),
    "correlate": Claim(
        lambda m, x, w: m.correlate(x, w, "valid"), (x60, w7[::-1].copy()), "b->a|(a-b+6)", 56
    ),
    "windows": Claim(lambda m, x, w: windows(m, x, 7) @ w, (x60, w7), "b->a|(a+b)", 7 * SIZE),
    "stride": Claim(lambda m, x, w: windows(m, x, 7, 2) @ w, (x60, w7), "b->a|(2a+b)", 7 * SIZE),
    "dilation": Claim(
        lambda m, x, w: windows(m, x, 7, 1, 3) @ w, (x60, w7), "b->a|(a+3b)", 7 * SIZE
    ),
    "stride and dilation": Claim(
        lambda m, x, w: windows(m, x, 7, 2, 3) @ w, (x60, w7), "b->a|(2a+3b)", 7 * SIZE
    ),
    "an explicit sum": Claim(
        lambda m, x, w: sum(w[k] * x[k : k + 58] for k in range(3)),
        (x60, normal(3)),
        "->a|(a+1) + ->a|(a+2) + ->a|a",
        3 * SIZE,
    ),
    "two convolutions": Claim(
        lambda m, x, w: m.convolve(m.convolve(x, w, "valid"), w, "valid"),
        (x60, w7),
        "b,c->a|(a-b-c+12)",
        7 * SIZE,
    ),
    "convolution and relu": Claim(
        lambda m, x, w: m.maximum(m.convolve(x, w, "valid"), 0),
        (x60, w7),
        "a,b->a|(a-b+6)",
        7 * SIZE + 54,
    ),
    "2-D": Claim(
        lambda m, x, w: m.einsum("abij,ij->ab", patches(m, x, 3), w),
        (image, kernel),
        "cd->ab|(a+c)(b+d)",
        9 * SIZE,
    ),
    "2-D, stride and dilation": Claim(
        lambda m, x, w: m.einsum("abij,ij->ab", patches(m, x, 3, 2, 2), w),
        (image, kernel),
        "cd->ab|(2a+2c)(2b+2d)",
        9 * SIZE,
    ),
    "2-D, channels": Claim(conv2d, (channels, kernels), "adef->abc|d(b+e)(c+f)", kernels.nbytes),
    "2-D, padded": Claim(
        padded,
        (channels, kernels),
        "adef->abc|d(b+e-1)(c+f-1);(-b-e+9)>=0;(-c-f+10)>=0;(b+e-1)>=0;(c+f-1)>=0",
        kernels.nbytes,
    ),
    "2-D, groups and stride": Claim(
        grouped,
        (channels, groups),
        "abefg->(3a+b)cd|(2a+e)(2c+f)(2d+g)",
        groups.nbytes,
    ),
}

SUMS = {
    "cumsum": Claim(lambda m, x: m.cumsum(x), (x60,), "->a|b;(a-b)>=0", 0),
    "cumsum of an axis": Claim(lambda m, x: m.cumsum(x, axis=1), (x6x10,), "->ab|ac;(b-c)>=0", 0),
    "cumsum of a diagonal": Claim(
        lambda m, x: m.cumsum(m.sin(x)), (x60,), "b->a|b;(a-b)>=0", 60 * SIZE
    ),
    "diff": Claim(lambda m, x: m.diff(x), (x60,), "->a|(a+1) + ->a|a", 0),
    "second diff": Claim(lambda m, x: m.diff(x, 2), (x60,), "->a|(a+1) + ->a|(a+2) + ->a|a", 0),
    "diff of an axis": Claim(lambda m, x: m.diff(x, axis=0), (x6x10,), "->ab|(a+1)b + ->ab|ab", 0),
    "diff of a diagonal": Claim(
        lambda m, x: m.diff(m.sin(x)), (x60,), "(a+1)->a|(a+1) + a->a|a", 60 * SIZE
    ),
    "tril": Claim(lambda m, x: m.tril(x), (sq,), "->ab|ab;(a-b)>=0", 0),
    "triu": Claim(lambda m, x: m.triu(x, 1), (sq,), "->ab|ab;(b-a-1)>=0", 0),
    "diff undoes cumsum": Claim(lambda m, x: m.diff(m.cumsum(x)), (x60,), "->a|(a+1)", 0),
    "moving sum by cumsum": Claim(
        lambda m, x: m.cumsum(x)[5:] - m.cumsum(x)[:-5], (x60,), "->a|(a+b+1)", 0
    ),
    "both triangles": Claim(lambda m, x: m.tril(x) + m.triu(x, 1), (sq,), "->ab|ab", 0),
    "difference of triangles": Claim(lambda m, x: m.tril(x) - m.tril(x, -1), (sq,), "->aa|aa", 0),
    "a far corner": Claim(lambda m, x: m.tril(x, -15), (sq,), "->(a+15)b|(a+15)b;(a-b)>=0", 0),
    # of cos(x) no more than the band is stored: 3 diagonals of 20
    "band of a diagonal": Claim(
        lambda m, x: m.tril(m.triu(m.sin(x), -2)).sum(1),
        (sq,),
        "ab->a|a(a+b-2);(a+b-2)>=0",
        60 * SIZE,
    ),
    "band": Claim(
        lambda m, x: m.tril(m.triu(x, -1), 1),
        (sq,),
        "->a(a+b-1)|a(a+b-1);(-a-b+20)>=0;(a+b-1)>=0",
        0,
    ),
}

INDEXED = {
    "gather": Claim(lambda m, x: x[IDX], (x60,), "->a|(t[a])", IDX.nbytes),
    "permutation": Claim(lambda m, x: x[PERM], (x60,), "->a|(t[a])", PERM.nbytes),
    "take": Claim(lambda m, x: m.take(x, IDX), (x60,), "->a|(t[a])", IDX.nbytes),
    "rows": Claim(lambda m, x: x[IDX[:7] % 6], (x6x10,), "->ab|(t[a])b", 7 * SIZE),
    "pairs": Claim(lambda m, x: x[IDX % 6, IDX % 10], (x6x10,), "->a|(t[a])(t[a])", 2 * IDX.nbytes),
    "gather of a diagonal": Claim(
        lambda m, x: m.sin(x)[IDX], (x60,), "(t[a])->a|(t[a])", IDX.nbytes + 60 * SIZE
    ),
    "a few of a diagonal": Claim(
        lambda m, x: m.sin(x)[SOME], (x60,), "a->a|(t[a])", 5 * SIZE + SOME.nbytes
    ),
    "scatter-add": Claim(
        lambda m, v: written(m, blank(m, 60), IDX, v, add=True),
        (normal(40),),
        "->(t[a])|a",
        IDX.nbytes,
    ),
    "sort": Claim(lambda m, x: m.sort(x), (x60,), "->a|(t[a])", 60 * SIZE),
}

WRITTEN = {
    "a slice, by the rest": Claim(
        lambda m, x, v: written(m, x, slice(3, 8), v),
        (x60, normal(5)),
        "->(a+8)|(a+8) + ->a|a",
        0,
    ),
    "a slice, by the part": Claim(
        lambda m, v: written(m, blank(m, 60), slice(3, 8), v), (normal(5),), "->(a+3)|a", 0
    ),
    "an element": Claim(
        lambda m, x: written(m, x, 3, x[0] * x[1]),
        (x60,),
        "->(a+4)|(a+4) + ->a|a + a->3|a",
        2 * SIZE,
    ),
    "every second": Claim(
        lambda m, x: written(m, x, slice(None, None, 2), 0.0), (x60,), "->(2a+1)|(2a+1)", 0
    ),
    "a column from another": Claim(
        lambda m, x: written(m, x, (slice(None), 2), x[:, 3]),
        (x6x10,),
        "->a(b+3)|a(b+3) + ->a2|a3 + ->ab|ab",
        0,
    ),
    "a box": Claim(
        lambda m, x: written(m, x, (slice(1, 3), slice(2, 4)), 0.0),
        (x6x10,),
        "->(a+1)(b+4)|(a+1)(b+4) + ->(a+1)b|(a+1)b + ->(a+3)b|(a+3)b + ->0a|0a",
        0,
    ),
    "a row of a diagonal": Claim(
        lambda m, x: written(m, m.sin(x), 2, 0.0), (x6x10,), "ab->ab|ab", 60 * SIZE
    ),
    "the inside of a diagonal": Claim(
        lambda m, x: m.cos(written(m, m.sin(x), (slice(1, -1), slice(1, -1)), 0.0)),
        (x6x10,),
        "ab->ab|ab",
        60 * SIZE,
    ),
    "by indices": Claim(lambda m, x: written(m, x, SOME, 0.0), (x60,), "a->a|a", 60),
    "added to a slice": Claim(
        lambda m, x: written(m, 2 * x, slice(2, 9), x[:7], add=True),
        (x60,),
        "->(a+2)|a + ->a|a",
        0,
    ),
}

ALL = {
    f"{group}: {name}": claim
    for group, claims in (
        ("views", VIEWS),
        ("windows", WINDOWS),
        ("sums", SUMS),
        ("indexed", INDEXED),
        ("written", WRITTEN),
    )
    for name, claim in claims.items()
}


@pytest.mark.parametrize("name", ALL)
def test_structure_and_bytes(name: str) -> None:
    claim = ALL[name]
    j = claim.here()
    assert j.structure == claim.structure
    assert j.nbytes == claim.stored


@pytest.mark.parametrize("name", ALL)
def test_values(name: str) -> None:
    claim = ALL[name]
    j = claim.here()
    expected = claim.oracle()
    assert j.dense_nbytes == expected.nbytes
    np.testing.assert_allclose(j.to_dense(), expected, rtol=1e-10, atol=1e-12)
    sparse = j.to_sparse().toarray()
    np.testing.assert_allclose(sparse.reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)
