"""Structure of layers, products and models: `.structure`, the bytes stored, values against JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.scipy.special import log_softmax, logsumexp, softmax
from claims import SIZE, Claim, normal


def ratio(m: Any, x: Any) -> Any:
    e = m.exp(x)
    return e / m.sum(e, axis=-1, keepdims=True)


def layer_norm(m: Any, x: Any, scale: Any = 1.0, shift: Any = 0.0) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / m.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def batch_norm(m: Any, x: Any) -> Any:
    return (x - x.mean(0)) / m.sqrt(x.var(0) + 1e-5)


def squares(m: Any, u: Any, v: Any) -> Any:
    return m.sum((RATINGS - u @ v.T) ** 2)


def masked(m: Any, u: Any, v: Any) -> Any:
    return m.sum(MASK * (RATINGS - u @ v.T) ** 2)


def chosen(m: Any, u: Any, v: Any) -> Any:
    return m.sum(m.where(MASK > 0, RATINGS - u @ v.T, 0.0) ** 2)


RATINGS = normal(8, 9)
MASK = (np.random.default_rng(3).random((8, 9)) < 0.3).astype(float)
N, D, H, M = 6, 20, 10, 7
x60, batch = normal(60), normal(N, D)
w1, w2 = normal(D, H), normal(H, M)
gamma, beta = normal(D), normal(D)
a45, b67, x56, s5 = normal(4, 5), normal(6, 7), normal(5, 6), normal(5, 5)
u, v = normal(8, 3), normal(9, 3)
data, weight = normal(12, 5), normal(5)

NORMALIZED = {
    # diag(y) − y yᵀ: y and nothing else
    "softmax": Claim(
        lambda m, x: softmax(x),
        (x60,),
        "a,b->a|b + a->a|a",
        60 * SIZE,
        jax=lambda jax, x: jax.nn.softmax(x),
    ),
    "softmax by hand": Claim(ratio, (x60,), "a,b->a|b + a->a|a", 60 * SIZE),
    "softmax of a batch": Claim(ratio, (batch,), "ab,ac->ab|ac + ab->ab|ab", batch.nbytes),
    "log-softmax": Claim(
        lambda m, x: log_softmax(x),
        (x60,),
        "->a|a + b->a|b",
        60 * SIZE,
        jax=lambda jax, x: jax.nn.log_softmax(x),
    ),
    "Hessian of logsumexp": Claim(
        lambda m, x: logsumexp(x),
        (x60,),
        "a,b->a|b + a->a|a",
        60 * SIZE,
        hess=True,
        jax=lambda jax, x: jax.scipy.special.logsumexp(x),
    ),
    # two arrays of the batch's size and a column, and what the mean adds
    "layer norm": Claim(
        layer_norm,
        (batch,),
        "a->ab|ab + ab,ac->ab|ac + ab->ab|ac",
        3 * batch.nbytes + N * SIZE,
    ),
    "layer norm by its scale": Claim(
        layer_norm, (batch, gamma, beta), "ab->ab|b", batch.nbytes, by=1
    ),
    "layer norm by its shift": Claim(layer_norm, (batch, gamma, beta), "->ab|b", 0, by=2),
    "batch norm": Claim(
        batch_norm,
        (batch,),
        "ab,cb->ab|cb + ab->ab|cb + b->ab|ab",
        3 * batch.nbytes + D * SIZE,
    ),
    "root mean square norm": Claim(
        lambda m, x: x / m.sqrt((x * x).mean(-1, keepdims=True) + 1e-6),
        (batch,),
        "a->ab|ab + ab,ac->ab|ac",
        2 * batch.nbytes + N * SIZE,
    ),
    "unit vector": Claim(
        lambda m, x: x / m.linalg.norm(x), (x60,), "->a|a + a,b->a|b", (2 * 60 + 1) * SIZE
    ),
}

PRODUCTS = {
    "A X B": Claim(
        lambda m, x, a, b: a @ x @ b, (x56, a45, b67), "ac,db->ab|cd", a45.nbytes + b67.nbytes
    ),
    "A Xᵀ B": Claim(
        lambda m, x, a, b: a @ x.T @ b, (x56.T.copy(), a45, b67), "ad,cb->ab|cd", 62 * SIZE
    ),
    "X Xᵀ": Claim(lambda m, x: x @ x.T, (x56,), "ac->ab|bc + bc->ab|ac", x56.nbytes),
    "inverse": Claim(lambda m, x: m.linalg.inv(x), (s5,), "ac,db->ab|cd", s5.nbytes),
    "log-determinant, Hessian": Claim(
        lambda m, x: m.linalg.slogdet(x)[1], (s5,), "bc,da->ab|cd", s5.nbytes, hess=True
    ),
    "A X⁻¹ B": Claim(
        lambda m, x, a, b: a @ m.linalg.inv(x) @ b,
        (s5, a45, x56),
        "ac,bd->ab|cd",
        (4 * 5 + 5 * 6) * SIZE,
    ),
    "solve by the right-hand side": Claim(
        lambda m, a, b: m.linalg.solve(a, b), (s5, weight), "ab->a|b", s5.nbytes, by=1
    ),
    "solve by the matrix": Claim(
        lambda m, a, b: m.linalg.solve(a, b), (s5, weight), "ab,c->a|bc", s5.nbytes + 5 * SIZE
    ),
    "Kronecker product": Claim(
        lambda m, x, y: m.kron(x, y), (normal(2, 3), a45), "bd->(4a+b)(5c+d)|ac", a45.nbytes
    ),
    "batch of a network, block diagonal": Claim(
        lambda m, x, w1, w2: m.tanh(m.tanh(x @ w1) @ w2),
        (batch, w1, w2),
        "ab,ad,cd,db->ab|ac",
        (N * M + N * H + D * H + H * M) * SIZE,
    ),
    "batch of a network by the first weights": Claim(
        lambda m, x, w1, w2: m.tanh(m.tanh(x @ w1) @ w2),
        (batch, w1, w2),
        "ab,ac,ad,db->ab|cd",
        (N * M + N * D + N * H + H * M) * SIZE,
        by=1,
    ),
    "bottleneck": Claim(
        lambda m, x, a, b: m.tanh(b @ m.tanh(a @ x)),
        (normal(40), normal(3, 40), normal(40, 3)),
        "ac,cb->a|b",
        2 * 3 * 40 * SIZE,
    ),
}

HESSIANS = {
    # δ ⊗ VᵀV
    "matrix factorization": Claim(squares, (u, v), "bc->ab|ac", 9 * SIZE, hess=True),
    "matrix factorization by V": Claim(squares, (u, v), "bc->ab|ac", 9 * SIZE, by=1, hess=True),
    "masked, the blocks": Claim(masked, (u, v), "abc->ab|ac", 8 * 9 * SIZE, hess=True),
    "masked by where": Claim(chosen, (u, v), "abc->ab|ac", 8 * 9 * SIZE, hess=True),
    "quadratic form": Claim(
        lambda m, x, a: x @ a @ x, (weight, s5), "ab->a|b", 25 * SIZE, hess=True
    ),
    "logistic": Claim(
        lambda m, w, x: m.sum(m.logaddexp(0.0, x @ w)), (weight, data), "ab->a|b", 200, hess=True
    ),
    "tridiagonal": Claim(
        lambda m, x: m.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
        (x60,),
        "a->(a+1)|a + a->a|(a+1) + a->a|a",
        2 * 60 * SIZE,
        hess=True,
    ),
}

ALL = {**NORMALIZED, **PRODUCTS, **HESSIANS}


@pytest.mark.parametrize("name", ALL)
def test_structure_and_bytes(name: str) -> None:
    j = ALL[name].here()
    assert j.structure == ALL[name].structure
    assert j.nbytes == ALL[name].stored


@pytest.mark.parametrize("name", ALL)
def test_values(name: str) -> None:
    j, expected = ALL[name].here(), ALL[name].oracle()
    assert j.dense_nbytes == expected.nbytes
    np.testing.assert_allclose(j.to_dense(), expected, rtol=1e-9, atol=1e-11)
    rows, columns = j.to_matrix().shape
    np.testing.assert_allclose(
        j.to_sparse().toarray(), expected.reshape(rows, columns), rtol=1e-9, atol=1e-11
    )


def test_the_blocks_of_a_masked_factorization() -> None:
    blocks = cr.hessian(lambda u: masked(np, u, v))(u).blocks()
    expected = 2 * np.einsum("ij,jk,jl->ikl", MASK, v, v)
    np.testing.assert_allclose(blocks, expected, rtol=1e-13)


def test_the_cross_terms_of_a_factorization() -> None:
    h = cr.hessian(lambda u, v: squares(np, u, v), argnums=(0, 1))(u, v)
    assert h[0][1].structure == "ac->ab|cb + ad,cb->ab|cd"
    assert h[1][0].structure == "ad,cb->ab|cd + ca->ab|cb"
    expected = np.einsum("ac,bd->abcd", -2 * (RATINGS - u @ v.T), np.eye(3)) + 2 * np.einsum(
        "ad,cb->abcd", u, v
    )
    np.testing.assert_allclose(np.asarray(h[0][1]), expected, rtol=1e-12, atol=1e-12)


class TestTheLargestLayer:
    """W x by W for images of 128 × 128 and 100 outputs, in float32."""

    T, N, BATCH = 100, 128 * 128, 32

    def test_one_example(self) -> None:
        rng = np.random.default_rng(0)
        w = rng.normal(size=(self.T, self.N)).astype(np.float32)
        x = rng.normal(size=self.N).astype(np.float32)
        j = cr.jacobian(lambda w: w @ x)(w)
        assert j.structure == "b->a|ab"
        assert j.size == 163_840_000
        assert j.dense_nbytes == 655_360_000
        assert j.nbytes == 64 * 1024
        sparse = j.to_sparse()
        assert sparse.nnz == 1_638_400
        assert sparse.dtype == np.float32
        # one entry a column: element (t, n) of W meets x[n] in row t
        np.testing.assert_array_equal(sparse.indices, np.arange(1_638_400))
        np.testing.assert_array_equal(sparse.indptr, np.arange(self.T + 1) * self.N)
        np.testing.assert_array_equal(sparse.data, np.tile(x, self.T))
        plan = cr.plan(lambda w: w @ x, w)
        assert plan.dense_multiplications == 163_840_000
        assert plan.structured_multiplications == 1_638_400

    def test_a_batch_is_refused(self) -> None:
        rng = np.random.default_rng(0)
        w = rng.normal(size=(self.T, self.N)).astype(np.float32)
        x = rng.normal(size=(self.N, self.BATCH)).astype(np.float32)
        b = rng.normal(size=self.T).astype(np.float32)
        by_w, by_b = cr.jacobian(lambda w, b: w @ x + b[:, None], argnums=(0, 1))(w, b)
        assert by_w.structure == "cb->ab|ac"
        assert by_w.size == 5_242_880_000
        assert by_w.nbytes == x.nbytes
        with pytest.raises(cr.TooLargeError, match=r"19\.53 GiB"):
            by_w.to_dense(max_bytes=8 * 2**30)
        # the rows of the bias repeat over the batch: together by rows, in turn by columns
        assert by_b.structure == "->ab|a"
        assert by_b.nbytes == 0
        one = np.eye(self.T, dtype=np.float32)
        np.testing.assert_array_equal(by_b.to_matrix(), np.repeat(one, self.BATCH, axis=0))
        np.testing.assert_array_equal(by_b.to_matrix(order="F"), np.tile(one, (self.BATCH, 1)))
