"""Exports of a Jacobian: CSR arrays from the factors, operators, blocks, norms."""

import importlib
import time

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import chainrule as cr
from problems import bundle_adjustment as BA
from problems.stencils import brusselator, rosenbrock, rosenbrock_hessian

SPARSE = importlib.import_module("chainrule.jacobian.sparse")

RNG = np.random.default_rng(11)


def normal(*shape):
    return RNG.normal(size=shape)


V, A, W = normal(7), normal(4, 5), normal(4, 4)
WINDOW = np.lib.stride_tricks.sliding_window_view


def brusselator_walls(y):
    def laplacian(a):
        p = np.pad(a, 1)
        return p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * a

    u, v = y[0], y[1]
    return np.stack(
        [
            1 + u * u * v - 4.4 * u + 0.1 * laplacian(u),
            3.4 * u - u * u * v + 0.1 * laplacian(v),
        ]
    )


FUNCTIONS = {
    # name: (f, x)
    "scalar": (lambda x: x * x, 2.0),
    "gradient": (lambda x: np.sum(x**2), V),
    "elementwise": (np.tanh, A),
    "zero": (lambda x: np.floor(x), V),
    "constant column": (lambda x: np.ones(3) * x[2], V),
    "slices": (lambda x: x[1::2] ** 2, V),
    "reversed": (lambda x: x[::-1] ** 2, V),
    "flip of an axis": (lambda x: np.flip(x * x, 0), A),
    "differences": (lambda x: np.diff(x, n=2), V),
    "concatenation": (lambda x: np.concatenate([x, x[1:] * x[:-1], np.cumsum(x)]), V),
    "padding": (lambda x: np.pad(x * x, 2), A),
    "roll": (lambda x: np.roll(x, 2) * x, V),
    "roll of two axes": (lambda x: np.roll(x, (1, 2), (0, 1)) * x, A),
    "gather": (lambda x: x[np.array([1, 1, 4])] ** 2, V),
    "two gathers": (lambda x: x[np.array([1, 1, 4])] * x[np.array([0, 2, 4])], V),
    "gathered rows": (lambda x: x[np.array([3, 0, 0])] @ W[:, :2], normal(4, 4)),
    "sort": (np.sort, V),
    "cumsum": (np.cumsum, V),
    "cumsum twice": (lambda x: np.cumsum(np.sin(np.cumsum(x))), V),
    "windows": (lambda x: WINDOW(x, 3) @ np.array([1.0, 2.0, 3.0]), V),
    "windows reversed": (lambda x: WINDOW(x, 3)[:, ::-1] @ np.array([1.0, 2.0, 3.0]), V),
    "windows of an image": (
        lambda x: np.einsum("ijab,ab->ij", WINDOW(x, (2, 3)), A[:2, :3]),
        normal(6, 7),
    ),
    "explicit convolution": (lambda x: sum(x[i : i + 5] * (i + 1.0) for i in range(3)), V),
    "reshape": (lambda x: np.reshape(x * x, (6, 2)), normal(3, 4)),
    "reshape with merged digits": (lambda x: np.reshape(x * x, (5, 4)), A),
    "reshape of a transpose": (lambda x: np.reshape(x.T, (4, 5)), A),
    "repeat": (lambda x: np.repeat(x * x, 3, 0), A),
    "tile": (lambda x: np.tile(x * x, (2, 3)), A),
    "outer": (lambda x: np.outer(x, x), V),
    "kron": (lambda x: np.kron(x, W), A),
    "diag": (lambda x: np.diag(x), V),
    "tril": (lambda x: np.tril(x) @ W, W),
    "where": (lambda x: np.where(x > 0, x, x**2), V),
    "maximum": (lambda x: np.exp(x - x.max()), V),
    "softmax": (lambda x: np.exp(x) / np.sum(np.exp(x)), V),
    "batch": (lambda x: np.tanh(x @ W), normal(3, 4)),
    "matrix square": (lambda x: x @ x, W),
    "two factors": (lambda x: W @ x @ W.T, W),
    "inverse": (np.linalg.inv, W),
    "solve": (lambda x: np.linalg.solve(W, x), W),
    "distances": (lambda x: np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1) + 1), normal(5, 3)),
    "brusselator": (brusselator, normal(2, 5, 6)),
    "brusselator with walls": (brusselator_walls, normal(2, 5, 6)),
    "brusselator on two points": (brusselator, normal(2, 2, 1)),
    "blocks of residuals": (
        lambda x: (
            x[:12].reshape(3, 4)[np.array([0, 2, 1, 0, 2])][:, :2]
            * x[12:].reshape(4, 2)[np.array([3, 1, 1, 0, 2])]
        ),
        normal(20),
    ),
    "float32": (lambda x: np.cumsum(x * x), V.astype(np.float32)),
}


def assert_canonical(found):
    found.check_format(full_check=True)
    other = scipy.sparse.csr_array((found.data, found.indices, found.indptr), found.shape)
    assert other.has_canonical_format


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_csr_against_dense(name, layout):
    f, x = FUNCTIONS[name]
    J = cr.jacobian(f)(x).with_layout(layout)
    found = J.to_sparse()
    assert found.format == "csr"
    assert found.dtype == J.dtype
    assert_canonical(found)
    tolerance = 1e-5 if J.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found.toarray(), J.to_matrix(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["rosenbrock", "trace", "factorization"])
def test_hessians(name):
    f, x = {
        "rosenbrock": (rosenbrock, V),
        "trace": (lambda x: np.trace(x @ x @ x), W),
        "factorization": (lambda x: np.sum((x @ x.T - W) ** 2), normal(4, 2)),
    }[name]
    H = cr.hessian(f)(x)
    found = H.to_sparse()
    assert_canonical(found)
    np.testing.assert_allclose(found.toarray(), H.to_matrix(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["cumsum", "outer", "windows", "brusselator", "inverse"])
def test_transposes_and_products(name):
    f, x = FUNCTIONS[name]
    J = cr.jacobian(f)(x)
    for K in (J.T, 2 * J, J - 3 * J, J.T @ J):
        found = K.to_sparse()
        assert_canonical(found)
        np.testing.assert_allclose(found.toarray(), K.to_matrix(), rtol=1e-11, atol=1e-11)


def test_pattern_follows_from_structure():
    x = np.array([0.0, 1.0, 0.0])
    found = cr.jacobian(lambda x: x**2)(x).to_sparse()
    assert found.nnz == 3
    assert found.data.tolist() == [0, 2, 0]
    found = cr.jacobian(lambda x: x[[0, 1]] * x[[2, 2]])(np.zeros(3)).to_sparse()
    assert found.nnz == 4


def test_complex():
    A, x = normal(3, 4) + 1j * normal(3, 4), normal(4) + 1j * normal(4)
    J = cr.Jacobian.from_matrix(A, (3,), (2, 2))
    np.testing.assert_array_equal(J.to_sparse().toarray(), A)
    op = J.to_linear_operator()
    np.testing.assert_allclose(op.matvec(x), A @ x)
    np.testing.assert_allclose(op.rmatvec(x[:3]), A.conj().T @ x[:3])
    np.testing.assert_allclose(J.norm(), np.linalg.norm(A))


def best(f, repeats=9):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        f()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def test_large_tridiagonal_hessian():
    n = 10**5
    x = normal(n)
    H = cr.hessian(rosenbrock)(x)
    found = H.to_sparse()
    expected = rosenbrock_hessian(x)
    assert found.nnz == 3 * n - 2
    assert abs(found - expected).max() < 1e-9
    print(
        f"Rosenbrock Hessian, n = {n}: to_sparse {best(H.to_sparse):.2f} ms, "
        f"by hand {best(lambda: rosenbrock_hessian(x)):.2f} ms"
    )


@pytest.mark.parametrize("f", [brusselator, brusselator_walls])
def test_large_brusselator(f):
    y = 1 + RNG.random((2, 64, 64))
    J = cr.jacobian(f)(y)
    found = J.to_sparse()
    assert_canonical(found)
    v = normal(2, 64, 64)
    np.testing.assert_allclose(found @ v.reshape(-1), (J @ v).reshape(-1), rtol=1e-10, atol=1e-10)
    assert found.nnz == 6 * 8192 - (0 if f is brusselator else 4 * 64 * 2)
    assert is_placed(J)


def is_placed(J):
    """Whether entries are written where they belong, not sorted."""
    terms, _ = J._bound()
    plan = SPARSE._planned(tuple(terms), J.out_shape, J.in_shape, False)
    return plan[1] is not None


@pytest.mark.parametrize("name", ["flip of an axis", "windows", "reshape", "tile", "batch", "kron"])
def test_nothing_is_sorted(name):
    f, x = FUNCTIONS[name]
    assert is_placed(cr.jacobian(f)(x))


def test_blocks_of_columns_with_others_between():
    # for each point both substances, and the neighbours of one
    def f(y):
        return np.stack([y[0] * y[1] + np.roll(y[0], 1) + np.roll(y[0], -1), y[0] - y[1] ** 2])

    y = normal(2, 9)
    J = cr.jacobian(f)(y)
    assert is_placed(J)
    found = J.to_sparse()
    assert_canonical(found)
    np.testing.assert_allclose(found.toarray(), J.to_matrix(), atol=1e-12)


# values that independent code gives for one camera, one point, one weight of 0.8
CAMERA = [
    *(0.078622597011111, -0.00683875257158036, 0.012540294430662017, -0.13781167197515426),
    *(0.10048627222126119, -3.966298942337323, 499.77861694740477, 319.98977618479415),
    *(240.1172519946704, 0.03651244226115146, -0.04087552394214875),
]
POINT = [-1.8379657600243122, -0.1704381479481374, 0.3097687910681853]
ROWS = [
    *(-22.370626825360755, 474.1053035595653, 41.05787755533061, -95.99785658607148),
    *(-2.0810035675831773, -38.30036220526656, -0.3278216768839102, 0.8, 0.0),
    *(-30.649750172286538, -5.764832590541619, 95.99785658607148, 2.0810035675831773),
    *(38.30036220526656, -184.80805416323037),
    *(-411.6813640896205, 21.6535304437935, -163.33259849942738, -1.511747465436074),
    *(-95.95301069548067, -6.680487588275373, -0.11923787439179448, 0.0, 0.8),
    *(-11.148167796350982, -2.096830175644991, 1.511747465436074, 95.95301069548067),
    *(6.680487588275373, -84.37342294442888),
]


def test_bundle_adjustment_reference():
    n, m, p = 2, 3, 4
    observations = np.stack([np.arange(p) % n, np.arange(p) % m], 1)
    start = np.concatenate([np.tile(CAMERA, n), np.tile(POINT, m), np.full(p, 0.8)])
    problem = BA.Problem(n, m, observations, np.tile([300.0, 250.0], (p, 1)), start)
    f = BA.residuals(problem)
    value = f(start)
    np.testing.assert_allclose(value[:2], [-147.84644333058426, -67.49873835554311], rtol=1e-12)
    np.testing.assert_allclose(value[2 * p :], 0.36)
    J = cr.jacobian(f)(start)
    assert J.structure == (
        "(a+31)->(a+8)|(a+31) + ab->(2a+b)|(a+31) + cba->(2a+b)|(c+11t[a]) + "
        "cba->(2a+b)|(c+3t[a]+22)"
    )
    found = J.to_sparse()
    assert_canonical(found)
    assert found.indptr.tolist() == [*range(0, 121, 15), 121, 122, 123, 124]
    columns = [*range(11), 22, 23, 24, 31]
    assert found.indices[:30].tolist() == 2 * columns
    assert found.indices[-1] == 34
    np.testing.assert_allclose(found.data[:30], ROWS, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.data[-4:], -1.6, rtol=1e-8)


@pytest.mark.parametrize("still", [False, True])
def test_bundle_adjustment(still):
    problem = BA.random_problem(30, 5000, 50_000)  # 10⁵ residuals of projections
    f, start = BA.residuals(problem), problem.start.copy()
    if still:
        start[:3] = 0  # one camera does not turn
    J = cr.jacobian(f)(start)
    found = J.to_sparse()
    assert_canonical(found)
    assert found.nnz == 31 * 50_000
    v = normal(start.size)
    _, expected = cr.jvp(f, (start,), (v,))
    np.testing.assert_allclose(found @ v, expected, rtol=1e-9, atol=1e-9)
    if not still:
        hand = BA.by_hand(problem)(start)
        np.testing.assert_array_equal(found.indptr, hand.indptr)
        np.testing.assert_array_equal(found.indices, hand.indices)
        np.testing.assert_allclose(found.data, hand.data, rtol=1e-9, atol=1e-9)


def test_parts_of_a_block_are_one_term():
    def f(x):  # (p, 4) -> (p, 2), column by column
        u = np.stack([x[:, 0] * x[:, 1] * x[:, 2], np.sin(x[:, 2]) * x[:, 0] * x[:, 1]], 1)
        return u * x[:, 3:] + x[:, 1:3]

    x = normal(50, 4)
    J = cr.jacobian(f)(x)
    assert J.structure == "bca->ab|ac"
    assert J.nbytes == 8 * 50 * 2 * 4
    dense = J.to_dense()
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(cr.jacobian(f, mode=mode)(x).to_dense(), dense, atol=1e-14)
    v = normal(50, 4)
    np.testing.assert_allclose(J @ v, cr.jvp(f, (x,), (v,))[1])


def test_few_parts_of_a_large_block_stay_apart():
    x = normal(50, 30)
    J = cr.jacobian(lambda x: np.stack([x[:, 0] ** 2, np.sin(x[:, 20]) * np.cos(x[:, 29])], 1))(x)
    assert J.to_sparse().nnz == 150


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_stencils_of_all_sizes(n):
    for f in (brusselator, brusselator_walls):
        for shape in ((2, n, n + 1), (2, 1, n), (2, n, 1)):
            y = normal(*shape)
            J = cr.jacobian(f)(y)
            found = J.to_sparse()
            assert_canonical(found)
            np.testing.assert_allclose(found.toarray(), J.to_matrix(), atol=1e-12)


def test_stencil_in_three_dimensions():
    def laplacian(a):
        p = np.pad(a, 1)
        return (
            p[2:, 1:-1, 1:-1]
            + p[:-2, 1:-1, 1:-1]
            + p[1:-1, 2:, 1:-1]
            + p[1:-1, :-2, 1:-1]
            + p[1:-1, 1:-1, 2:]
            + p[1:-1, 1:-1, :-2]
            - 6 * a
        ) + np.roll(a, 2, 1) * a

    y = normal(4, 5, 6)
    J = cr.jacobian(laplacian)(y)
    found = J.to_sparse()
    assert_canonical(found)
    np.testing.assert_allclose(found.toarray(), J.to_matrix(), atol=1e-12)


def test_flattened_and_structured_rows_together():
    # rows as one label and as two: the flat one is split
    x = normal(4, 6)

    def f(x):
        return np.sin(x).reshape(-1) + (np.roll(x, 1, 1) * x).reshape(-1) + x.reshape(-1)[::-1]

    J = cr.jacobian(f)(x)
    found = J.to_sparse()
    assert_canonical(found)
    np.testing.assert_allclose(found.toarray(), J.to_matrix(), atol=1e-12)


def test_results_are_fresh():
    J = cr.jacobian(brusselator)(normal(2, 5, 6))
    first, expected = J.to_sparse(), J.to_matrix()
    first.indices[...] = 0
    first.indptr[...] = 0
    first.data[...] = 0
    np.testing.assert_allclose(J.to_sparse().toarray(), expected, atol=1e-12)


def test_bands_cost_what_they_hold():
    n, width = 10**5, 4
    J = cr.jacobian(lambda x: np.cumsum(x)[width:] - np.cumsum(x)[:-width])(normal(n))
    found = J.to_sparse()
    assert found.nnz == width * (n - width)
    assert_canonical(found)


def test_refusals():
    J = cr.jacobian(np.cumsum)(np.ones(10**6))
    with pytest.raises(cr.TooLargeError, match=r"1,000,000,000,000 entries.*to_linear_operator"):
        J.to_sparse()
    with pytest.raises(cr.TooLargeError):
        cr.jacobian(np.tanh)(V).to_sparse(max_bytes=10)

    def inside(export):
        def f(x):
            export(cr.jacobian(lambda y: y * x)(x))
            return x

        return cr.grad(lambda x: np.sum(f(x)))

    with pytest.raises(TypeError, match=r"to_sparse\(\) needs numbers"):
        inside(lambda J: J.to_sparse())(V)
    with pytest.raises(TypeError, match=r"to_linear_operator\(\) needs numbers"):
        inside(lambda J: J.to_linear_operator())(V)


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
@pytest.mark.parametrize("name", ["cumsum", "softmax", "two gathers", "batch", "brusselator"])
def test_linear_operator(name, layout):
    f, x = FUNCTIONS[name]
    J = cr.jacobian(f)(x).with_layout(layout)
    matrix = J.to_matrix()
    op = J.to_linear_operator()
    assert op.shape == matrix.shape
    assert op.dtype == matrix.dtype
    rows, columns = matrix.shape
    v, u, many = normal(columns), normal(rows), normal(columns, 3)
    np.testing.assert_allclose(op.matvec(v), matrix @ v, atol=1e-12)
    np.testing.assert_allclose(op.matvec(v[:, None]), matrix @ v[:, None], atol=1e-12)
    np.testing.assert_allclose(op.rmatvec(u), matrix.T @ u, atol=1e-12)
    np.testing.assert_allclose(op @ many, matrix @ many, atol=1e-12)
    np.testing.assert_allclose(op.T @ u, matrix.T @ u, atol=1e-12)
    np.testing.assert_allclose(op.rmatmat(normal(rows, 2) * 0), np.zeros((columns, 2)))


def test_blocks():
    x = normal(3, 4)
    J = cr.jacobian(lambda x: np.tanh(x @ W[:, :2]))(x)
    dense = J.to_dense()
    expected = np.stack([dense[i, :, i] for i in range(3)])
    np.testing.assert_allclose(J.blocks(), expected)
    turned = J.with_layout("denominator").blocks()
    np.testing.assert_allclose(turned, np.swapaxes(expected, 1, 2))
    batched = cr.jacobian(lambda x: np.linalg.inv(x))(normal(5, 2, 2) + 3 * np.eye(2))
    dense = batched.to_dense()
    np.testing.assert_allclose(
        batched.blocks(), np.stack([dense[i, :, :, i] for i in range(5)]), atol=1e-12
    )
    one = cr.jacobian(lambda x: np.tanh(x @ W))(normal(1, 4))
    np.testing.assert_allclose(one.blocks(), one.to_dense()[:, :, 0])
    assert cr.jacobian(np.floor)(x).blocks().shape == (3, 4, 4)

    with pytest.raises(ValueError, match="one label"):
        cr.jacobian(lambda x: x - x.mean(0))(x).blocks()
    with pytest.raises(ValueError, match="batch axis"):
        cr.jacobian(lambda x: x.T)(x).blocks()
    with pytest.raises(ValueError, match="batch axis"):
        cr.jacobian(np.sum)(x).blocks()
    with pytest.raises(cr.TooLargeError):
        J.blocks(max_bytes=10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_norm(name, monkeypatch):
    f, x = FUNCTIONS[name]
    J = cr.jacobian(f)(x)
    expected = np.linalg.norm(J.to_dense().reshape(-1))
    tolerance = 1e-5 if J.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(J.norm(), expected, rtol=tolerance, atol=1e-12)
    # and by inner products of terms, as where entries are too many
    algebra = importlib.import_module("chainrule.jacobian.algebra")
    monkeypatch.setattr(algebra, "entries", lambda terms: 2**60)
    np.testing.assert_allclose(J.norm(), expected, rtol=tolerance, atol=1e-6)


def test_norm_without_enumerating():
    a, x = normal(300, 300), normal(300, 300)
    J = cr.jacobian(lambda x: a @ x @ a.T)(x)  # 8.1e9 elements
    np.testing.assert_allclose(J.norm(), np.sum(a**2), rtol=1e-10)
    # inside a traced function
    norm = cr.grad(lambda x: cr.jacobian(lambda y: y**2)(x).norm())(np.array([1.5, 2.0]))
    np.testing.assert_allclose(norm, np.array([6.0, 8.0]) / 5)


def test_numpy_functions():
    J = cr.jacobian(lambda x: np.tanh(x) + np.cumsum(x))(V)
    dense = J.to_dense()
    np.testing.assert_allclose(np.trace(J), np.trace(dense))
    np.testing.assert_allclose(np.linalg.norm(J), np.linalg.norm(dense))
    np.testing.assert_allclose(np.linalg.norm(J, 1), np.linalg.norm(dense, 1))
    np.testing.assert_allclose(np.diagonal(J), np.diagonal(dense))
    np.testing.assert_allclose(np.linalg.eigvals(J), np.linalg.eigvals(dense))
    np.testing.assert_allclose(np.stack([J, J]), np.stack([dense, dense]))
    np.testing.assert_allclose(np.einsum("ij,j->i", J, V), dense @ V)
    assert np.shape(J) == (7, 7)
    assert np.ndim(J) == 2
    assert np.size(J) == 49
    big = cr.hessian(rosenbrock)(normal(10**5))
    np.testing.assert_allclose(np.trace(big), big.diagonal().sum())
    np.testing.assert_allclose(np.linalg.norm(big), scipy.sparse.linalg.norm(big.to_sparse()))
