"""What would not fit is refused before it is allocated, with its size and a way out."""

import re
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

import chainrule as cr
from chainrule.jacobian import memory, values

N = 200_000
BIG = cr.jacobian(np.tanh)(np.ones(N))
SUMS = cr.jacobian(np.cumsum)(np.ones(N))
PLUS = cr.jacobian(lambda x: np.tanh(x) + np.cumsum(x))(np.ones(N))
BATCH = cr.jacobian(lambda x: np.tanh(x @ np.ones((3000, 3000))))(np.ones((3000, 3000)))


@pytest.mark.parametrize(
    ("attempt", "remedy"),
    [
        (lambda: BIG.to_dense(), "J @ v"),
        (lambda: np.asarray(BIG), "J @ v"),
        (lambda: BIG.to_matrix(), "J @ v"),
        (lambda: BIG.to_matrix("F"), "J @ v"),
        (lambda: SUMS.to_sparse(), "to_linear_operator"),
        (lambda: BATCH.blocks(), "J @ v"),
        (lambda: SUMS.solve(np.ones(N)), "gmres"),
        (lambda: SUMS.factorize(), "gmres"),
        (lambda: abs(PLUS), "to_sparse"),
        (lambda: np.exp(BIG), "J @ v"),
        (lambda: np.linalg.inv(BIG), "J @ v"),
        (lambda: np.sum(BIG), "J @ v"),
        (lambda: pytest.importorskip("matplotlib") and BIG.show(pixels=N), "fewer pixels"),
        (lambda: BIG.show("never-written.html", pixels=N), "fewer pixels"),
    ],
)
def test_refusals(attempt, remedy):
    tracemalloc.start()
    try:
        with pytest.raises(cr.TooLargeError) as caught:
            attempt()
        assert tracemalloc.get_traced_memory()[1] < 32e6
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    size = re.search(r"([\d.,e+]+) GiB", text)
    assert size is not None, text
    assert float(size[1].replace(",", "")) > 1
    assert remedy in text
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("method", ["to_dense", "to_matrix", "to_sparse", "blocks", "factorize"])
def test_a_limit_of_ones_own(method):
    j = cr.jacobian(lambda x: np.tanh(x @ np.ones((4, 4))) + x)(np.arange(12.0).reshape(3, 4))
    with pytest.raises(cr.TooLargeError, match=r"max_bytes \(100 B\)"):
        getattr(j, method)(max_bytes=100)
    assert getattr(j, method)(max_bytes=10**6) is not None


def test_max_bytes_insists(monkeypatch):
    """An explicit limit counts, not the memory left."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    j = cr.jacobian(np.tanh)(np.ones(600))
    with pytest.raises(cr.TooLargeError, match="the memory left"):
        j.to_dense()
    assert j.to_dense(max_bytes=2**30).shape == (600, 600)


def test_factors_themselves(monkeypatch):
    x = np.ones((600, 600))
    j = cr.jacobian(np.tanh)(x)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    with pytest.raises(cr.TooLargeError, match=r"factors.*\[600, 600\].*GiB.*jvp"):
        j @ x
    monkeypatch.undo()
    assert (j @ x).shape == x.shape


def test_the_memory_of_a_group_counts(monkeypatch, tmp_path):
    numbers = {"/sys/fs/cgroup/memory.max": 10_000_000, "/sys/fs/cgroup/memory.current": 4_000_000}
    monkeypatch.setattr(memory, "_number", numbers.get)
    monkeypatch.setattr(memory, "_statistic", lambda path, name: 1_000_000)
    assert memory.available_bytes() == 7_000_000
    monkeypatch.setattr(memory, "_number", lambda path: None)
    assert memory.available_bytes() > 10_000_000


def test_memory_is_not_filled_to_the_brim(monkeypatch):
    # a batch of 32 images of 128 x 128 into 100 units, by the weights: 19.5 GiB
    J = cr.jacobian(lambda w: w @ np.ones((16384, 32), "f4"))(np.ones((100, 16384), "f4"))
    assert J.size == 5_242_880_000
    monkeypatch.setattr(memory, "available_bytes", lambda: 21 * 2**30)
    with pytest.raises(cr.TooLargeError, match=r"19\.53 GiB.*16\.8 GiB of 21 GiB"):
        J.to_dense()


def test_what_needs_no_memory_is_not_refused():
    v = np.ones(N)
    assert (SUMS @ v)[-1] == N
    assert SUMS.trace() == N
    assert SUMS[N - 1, :].shape == (N,)
    assert SUMS[5, 7] == 0
    assert (2 * SUMS + SUMS).structure == SUMS.structure
    assert (SUMS @ (SUMS @ v))[0] == 1
    assert abs(SUMS).nbytes == 0
    assert BIG.norm() > 0
    assert BIG.solve(v).shape == (N,)
    assert BIG.to_sparse().nnz == N
    assert "Jacobian" in BIG._repr_html_()
    s = scipy.sparse.eye_array(N, format="csr")
    assert (s @ BIG).nbytes < 10**7


def test_a_value_that_would_not_fit_is_not_computed():
    x = np.linspace(1.0, 2.0, 10 * N)  # the value: 29 TiB
    J, aux = cr.jacobian(lambda x: (np.outer(x**2, x), np.sum(x)), has_aux=True)(x)
    assert aux == pytest.approx(1.5 * 10 * N)
    assert J.shape == (10 * N,) * 3
    assert J[(3, 5), 3] == pytest.approx(2 * x[3] * x[5], rel=1e-14)
    assert J[(3, 5), 5] == pytest.approx(x[3] ** 2, rel=1e-14)
    assert J[(3, 5), :].shape == (10 * N,)


def test_what_the_allocator_refuses_says_what_to_call(monkeypatch):
    def refuse(nodes, bindings):
        raise MemoryError("Unable to allocate 298. GiB")

    monkeypatch.setattr(values, "evaluate", refuse)
    with pytest.raises(cr.TooLargeError, match=r"298\. GiB.*jvp"):
        SUMS @ np.ones(N)
