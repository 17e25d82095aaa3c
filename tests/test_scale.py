"""Deep and wide graphs in time linear in their size, and no more memory than the results need."""

import gc
import sys
import time
import tracemalloc

import numpy as np
import pytest

import chainrule as cr

X = np.array([0.3, -0.7])


def chain(n):
    """n nodes in a row; the derivative is known in closed form."""

    def f(x):
        for _ in range(n // 2):
            x = 0.5 * x + 0.25
        return np.sum(x)

    return f


def long_program(n):
    """n elementwise operations of several kinds, bounded in value and slope."""

    def f(x):
        for _ in range(n // 5):
            x = np.sin(x) * 0.5 + np.tanh(x) - 0.1
        return np.sum(x)

    return f


def seconds(run):
    """Processor time, which does not depend on what else the machine does."""
    gc.collect()
    start = time.process_time()
    run()
    return time.process_time() - start


def slope_of(f, x):
    h = 1e-5
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(x.size)])


class TestDepth:
    def test_a_chain_of_ten_thousand_nodes(self):
        # 0.5 ** 20 is far above the smallest float; the others are exact zeros and ones
        n = 10_000
        assert n > 5 * sys.getrecursionlimit()

        def f(x):
            for _ in range(n // 2):
                x = 1.0 * x + 0.25
            return np.sum(x)

        value, gradient = cr.value_and_grad(f)(X)
        assert value == pytest.approx(np.sum(X) + 2 * 1250, rel=1e-10)
        np.testing.assert_allclose(gradient, np.ones(2), rtol=1e-12)
        _, dy = cr.jvp(f, (X,), (np.array([1.0, 2.0]),))
        assert dy == pytest.approx(3.0, rel=1e-12)

    def test_fifty_thousand_elementwise_operations(self):
        f = long_program(50_000)
        value, gradient = cr.value_and_grad(f)(X)
        assert value == f(X)
        assert np.all(np.isfinite(gradient))
        shorter = long_program(20)
        expected = slope_of(shorter, X)
        assert np.all(np.abs(expected) > 1e-3)
        np.testing.assert_allclose(cr.grad(shorter)(X), expected, rtol=1e-6)

    def test_deeper_than_the_recursion_limit_in_every_form(self):
        limit = sys.getrecursionlimit()
        f = chain(4 * limit)
        for run in (
            lambda: cr.grad(f)(X),
            lambda: cr.jvp(f, (X,), (X,)),
            lambda: cr.vjp(f, X)[1](1.0),
            lambda: cr.linearize(f, X)[1](X),
            lambda: cr.vmap(f)(np.stack([X, X])),
            lambda: cr.compile(f)(X),
            lambda: cr.hvp(long_program(2 * limit))(X, X),
        ):
            run()

    def test_a_deep_jacobian(self):
        def f(x):
            for _ in range(sys.getrecursionlimit()):
                x = np.sin(x) + 0.1
            return x

        j = cr.jacobian(f)(X)
        assert j.structure == "a->a|a"
        np.testing.assert_allclose(np.diag(np.asarray(j)), cr.jvp(f, (X,), (np.ones(2),))[1])

    def test_a_graph_with_much_sharing(self):
        """2 ** 200 paths, 200 nodes."""

        def f(x):
            for _ in range(200):
                x = 0.5 * (x + x)
            return np.sum(x * x)

        np.testing.assert_allclose(cr.grad(f)(X), 2 * X, rtol=1e-12)
        np.testing.assert_allclose(np.asarray(cr.hessian(f)(X)), 2 * np.eye(2), rtol=1e-12)

    def test_a_deep_graph_can_be_thrown_away(self):
        """Nested objects that free one another recursively overflow the C stack."""
        j = cr.jacobian(chain(20_000))(X)
        del j
        cr.clear_caches()
        gc.collect()


class TestLinearTime:
    @pytest.mark.parametrize("program", [chain, long_program])
    @pytest.mark.parametrize("transform", ["grad", "jvp"])
    def test_time_grows_with_the_size_and_no_faster(self, program, transform):
        """Ten times the nodes in at most 25 times the seconds; quadratic would be 100 times."""
        small, large = 2_000, 20_000

        def run(n):
            f = program(n)
            if transform == "grad":
                return lambda: cr.grad(f)(X)
            return lambda: cr.jvp(f, (X,), (X,))

        run(200)()  # imports and first-time work
        quick = min(seconds(run(small - 10 * k)) for k in range(3))
        slow = min(seconds(run(large - 10 * k)) for k in range(2))
        assert slow < 25 * max(quick, 0.005), f"{quick:.3f} s for {small}, {slow:.3f} s for {large}"

    def test_a_loop_over_elements(self):
        """Reading and writing single elements makes many one-element terms."""

        def f(x):
            y = x.copy()
            for i in range(1, len(x)):
                y[i] = 0.5 * y[i - 1] + x[i] ** 2
            return np.sum(y)

        x = np.random.default_rng(0).normal(size=300)
        n = len(x)
        # y_i = Σ_{j≤i} 0.5^(i-j) x_j² for j ≥ 1, and 0.5^i x_0
        weight = np.array([2 - 0.5 ** (n - 1 - i) for i in range(n)])
        expected = 2 * x * weight
        expected[0] = weight[0]
        np.testing.assert_allclose(cr.grad(f)(x), expected, rtol=1e-12)

    def test_the_second_gradient_costs_no_new_plan(self):
        f = long_program(5_000)
        first = seconds(lambda: cr.grad(f)(X))
        second = min(seconds(lambda: cr.grad(f)(X)) for _ in range(3))
        assert second < 1.5 * first + 0.05

    def test_a_compiled_gradient_is_much_faster_than_a_traced_one(self):
        f = long_program(2_000)
        g = cr.compile(cr.grad(f))
        first = seconds(lambda: g(X))
        second = min(seconds(lambda: g(X)) for _ in range(3))
        assert second < first / 2


def peak(run):
    """The result, and the largest number of bytes that were allocated on the way."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = run()
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


class TestMemory:
    def test_the_linear_layer_allocates_its_results_only(self):
        """Two matrix products and nothing else: results plus 10%, N = 64, D = M = 2048."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(64, 2048)).astype(np.float32)
        w = rng.normal(size=(2048, 2048)).astype(np.float32)
        g = rng.normal(size=(64, 2048)).astype(np.float32)
        y, pullback = cr.vjp(np.matmul, x, w)
        pullback(g)  # plans are kept, so the second call shows what the product needs
        (dx, dw), used = peak(lambda: pullback(g))
        np.testing.assert_allclose(dx, g @ w.T, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(dw, x.T @ g, rtol=1e-4, atol=1e-3)
        assert used <= 1.1 * (dx.nbytes + dw.nbytes) + 100_000
        (y, pullback), used = peak(lambda: cr.vjp(np.matmul, x, w))
        assert used <= 1.1 * y.nbytes + 1_000_000, "the primals were copied"

    def test_a_jacobian_of_a_linear_layer_copies_nothing(self):
        x = np.ones((64, 1024))
        w = np.ones((1024, 1024))
        cr.jacobian(np.matmul, argnums=(0, 1))(x[:2], w)
        (by_x, by_w), used = peak(lambda: cr.jacobian(np.matmul, argnums=(0, 1))(x, w))
        assert (by_x.nbytes, by_w.nbytes) == (w.nbytes, x.nbytes)
        assert used <= x.nbytes + 1_000_000

    def test_a_product_with_the_jacobian_stays_small(self):
        w = np.ones((512, 512))
        x = np.ones((64, 512))
        j = cr.jacobian(lambda x: np.tanh(x @ w))(x)
        v = np.ones((64, 512))
        expected, _ = j @ v, v @ j
        y, used = peak(lambda: j @ v)
        np.testing.assert_array_equal(y, expected)
        assert used <= 6 * y.nbytes + 200_000

    def test_a_large_elementwise_gradient_needs_a_few_arrays(self):
        x = np.random.default_rng(0).normal(size=1_000_000)

        def f(x):
            return np.sum(np.sin(x) * np.exp(-(x**2)))

        cr.grad(f)(x)
        gradient, used = peak(lambda: cr.grad(f)(x))
        np.testing.assert_allclose(gradient, np.exp(-(x**2)) * (np.cos(x) - 2 * x * np.sin(x)))
        assert used <= 12 * x.nbytes
