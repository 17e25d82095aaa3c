"""Python as users write it: branches, loops, captured arrays, compilation, and clear refusals."""

import importlib
import math
import re
import warnings

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

X = np.array([0.5, -1.0, 2.0])


class TestControlFlow:
    def test_if(self):
        def f(x):
            if x > 0:
                return x**2
            return -x

        assert [cr.grad(f)(v) for v in (3.0, -3.0, 0.0)] == [6.0, -1.0, -1.0]

    def test_if_on_a_reduction(self):
        def f(x):
            if np.any(x > 1) and not np.all(x > 0):
                return np.sum(x**2)
            return np.sum(x)

        np.testing.assert_array_equal(cr.grad(f)(X), 2 * X)
        np.testing.assert_array_equal(cr.grad(f)(np.abs(X)), np.ones(3))

    def test_while(self):
        def f(x):
            while x < 100:
                x = x * x
            return x

        assert cr.grad(f)(3.0) == pytest.approx(8 * 3.0**7, rel=1e-15)
        assert cr.grad(f)(200.0) == 1.0

    def test_for(self):
        def f(x):
            total = 0.0
            for value in x:
                total = total * 2 + value**2
            return total

        np.testing.assert_allclose(cr.grad(f)(X), [4.0, -4.0, 4.0], rtol=1e-15)

    def test_builtin_max_and_min(self):
        def f(x):
            return max(x[0], x[1]) * min(x[1], x[2])

        np.testing.assert_allclose(cr.grad(f)(X), [-1.0, 0.5, 0.0], rtol=1e-15)

    def test_sorted_by_a_branch(self):
        def f(x):
            a, b, c = sorted(x)
            return a + 10 * b + 100 * c

        np.testing.assert_allclose(cr.grad(f)(X), [10.0, 1.0, 100.0], rtol=1e-15)

    def test_newton_with_a_tolerance(self):
        def root(a):
            x = 1.0
            while abs(x * x - a) > 1e-13:
                x = x - (x * x - a) / (2 * x)
            return x

        assert root(2.0) == pytest.approx(math.sqrt(2))
        assert cr.grad(root)(2.0) == pytest.approx(0.5 / math.sqrt(2), rel=1e-9)
        compiled = cr.compile(cr.grad(root))
        for a in (2.0, 3.0, 100.0, 2.0, 1e-3):
            assert compiled(a) == pytest.approx(0.5 / math.sqrt(a), rel=1e-6)

    def test_the_truth_of_an_array_is_ambiguous(self):
        def f(x):
            if x > 0:
                return np.sum(x)
            return np.sum(-x)

        with pytest.raises(ValueError, match="ambiguous"):
            cr.grad(f)(X)

    def test_vmap_with_outcomes_that_differ_is_refused(self):
        def f(x):
            return x**2 if x > 0 else -x

        np.testing.assert_allclose(cr.vmap(cr.grad(f))(np.array([1.0, 2.0])), [2.0, 4.0])
        with pytest.raises((TypeError, ValueError), match=r"where"):
            cr.vmap(cr.grad(f))(np.array([1.0, -2.0]))

    def test_shapes_are_python_numbers(self):
        def f(x):
            n = len(x)
            assert x.shape == (3,)
            assert x.ndim == 1
            assert x.size == 3
            assert x.dtype == np.float64
            return sum(x[i] / n for i in range(x.shape[0]))

        np.testing.assert_allclose(cr.grad(f)(X), np.full(3, 1 / 3), rtol=1e-15)

    def test_comparisons_are_not_differentiated(self):
        _, dy = cr.jvp(lambda x: (x > 0) * 1.0, (X,), (np.ones(3),))
        np.testing.assert_array_equal(dy, np.zeros(3))


class TestWrites:
    def test_the_callers_array_is_not_written(self):
        def f(x):
            x[0] = 10.0
            x *= 2
            return np.sum(x**2)

        x = X.copy()
        np.testing.assert_allclose(cr.grad(f)(x), [0.0, 8 * X[1], 8 * X[2]], rtol=1e-15)
        np.testing.assert_array_equal(x, X)

    def test_views_share(self):
        def f(x):
            a = x.copy()
            b = a[1:]
            c = b[::-1]
            c[0] = a[0] ** 2
            return a @ np.array([1.0, 10.0, 100.0])

        np.testing.assert_allclose(cr.grad(f)(X), [1.0 + 200 * X[0], 10.0, 0.0], rtol=1e-15)

    def test_a_write_into_a_plain_array_names_the_way_out(self):
        def f(x):
            a = np.zeros(3)
            a[0] = x[0]
            return np.sum(a)

        # NumPy itself turns the error into a ValueError, with ours as its cause.
        with pytest.raises((TypeError, ValueError)) as caught:
            cr.grad(f)(X)
        message = f"{caught.value} {caught.value.__cause__}"
        assert "a[0] = x[0]" in message
        assert re.search(r"(cnp|chainrule\.numpy)\.zeros", message), message

    def test_a_write_that_does_not_fit_is_refused(self):
        def f(x):
            a = x.copy()
            a[:2] = x
            return np.sum(a)

        with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
            cr.grad(f)(X)

    def test_an_index_out_of_range(self):
        with pytest.raises(IndexError, match="3"):
            cr.grad(lambda x: x[3])(X)


def _float(x):
    return float(x[0]) * 2


def _int(x):
    return int(x[0]) * x[1]


def _math(x):
    return math.sin(x[0])


def _array(x):
    return np.sum(np.array([x[0], x[1]]))


def _array_of_rows(x):
    return np.sum(np.array([x, 2 * x]))


def _asarray(x):
    return np.sum(np.asarray(x))


def _range(x):
    return sum(x for _ in range(x[0]))


def _list_index(x):
    return [1.0, 2.0, 3.0][x[0]] * x[1]


def _item(x):
    return x[0].item() * 2


def _tolist(x):
    return x.tolist()[0]


REFUSED = [
    # function, its line, what the message must offer
    (_float, "float(x[0])", r"(?i)float"),
    (_int, "int(x[0])", r"(?i)int"),
    (_math, "math.sin(x[0])", r"np\.|(?i:numpy)"),
    (_array, "np.array([x[0], x[1]])", r"np\.stack[\s\S]*(cnp|chainrule\.numpy)\.array"),
    (_array_of_rows, "np.array([x, 2 * x])", r"np\.stack"),
    (_asarray, "np.asarray(x)", r"cnp\.|chainrule\.numpy"),
    (_range, "range(x[0])", r"(?i)index|int"),
    (_list_index, "[1.0, 2.0, 3.0][x[0]]", r"(?i)index|int"),
    (_item, "x[0].item()", r"(?i)item"),
    (_tolist, "x.tolist()[0]", r"(?i)tolist"),
]


class TestRefusals:
    @pytest.mark.parametrize(
        ("f", "line", "offer"), REFUSED, ids=lambda p: getattr(p, "__name__", "")
    )
    @pytest.mark.parametrize("transform", ["grad", "jvp", "jacobian", "vmap"])
    def test_what_cannot_be_traced_shows_the_users_line(self, f, line, offer, transform):
        run = {
            "grad": lambda: cr.grad(f)(X),
            "jvp": lambda: cr.jvp(f, (X,), (np.ones(3),)),
            "jacobian": lambda: cr.jacobian(f)(X),
            "vmap": lambda: cr.vmap(cr.grad(f))(np.stack([X, X])),
        }[transform]
        with pytest.raises(TypeError) as caught:
            run()
        message = str(caught.value)
        assert line in message
        assert "test_tracing.py" in message
        assert re.search(offer, message), message

    def test_the_ways_out_work(self):
        def f(x):
            return np.sum(np.stack([x[0], x[1]]) ** 2) + np.sum(cnp.array([x[0], 3.0]) ** 2)

        np.testing.assert_allclose(cr.grad(f)(X), [4 * X[0], 2 * X[1], 0.0], rtol=1e-15)

    @pytest.mark.parametrize(
        "call",
        [
            lambda: cr.grad(lambda x: x**2)(3),
            lambda: cr.grad(lambda x: np.sum(x))(np.array([1, 2])),
            lambda: cr.grad(lambda x: x * 1.0)(True),
            lambda: cr.value_and_grad(lambda x: x**2)(3),
            lambda: cr.jvp(lambda x: x * 2.0, (3,), (1.0,)),
            lambda: cr.vjp(lambda x: x * 2.0, 3),
            lambda: cr.jacobian(lambda x: x * 2.0)(np.arange(3)),
            lambda: cr.hessian(lambda x: np.sum(x * 2.0))(np.arange(3)),
            lambda: cr.grad(lambda p: p["a"] * p["b"])({"a": 1.0, "b": 2}),
        ],
    )
    def test_integers_are_refused(self, call):
        with pytest.raises(TypeError, match=r"(?i)float"):
            call()

    def test_strings_and_objects_are_refused(self):
        with pytest.raises(TypeError):
            cr.grad(lambda x: x)("three")
        with pytest.raises(TypeError):
            cr.grad(lambda x: np.sum(x))(np.array([1.0, 2.0], dtype=object))

    def test_an_unknown_numpy_function_is_named(self):
        def f(x):
            return np.sum(np.busday_count(x, x))

        with pytest.raises((TypeError, NotImplementedError), match="busday_count"):
            cr.grad(f)(X)

    def test_errors_of_the_users_own_pass_through(self):
        def f(x):
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            cr.grad(f)(X)

    def test_shapes_that_do_not_fit_raise_as_in_numpy(self):
        with pytest.raises(ValueError, match=r"\(3,\)"):
            cr.grad(lambda x: np.sum(x + np.ones(4)))(X)
        with pytest.raises(ValueError, match=r"3"):
            cr.grad(lambda x: np.sum(np.ones((2, 4)) @ x))(X)


class TestNamespaces:
    def test_on_concrete_arrays_they_return_concrete_arrays(self):
        for made in (
            cnp.zeros(3),
            cnp.ones((2, 2)),
            cnp.full(2, 1.5),
            cnp.arange(4),
            cnp.eye(2),
            cnp.array([1.0, 2.0]),
            cnp.asarray([1.0]),
        ):
            assert type(made) is np.ndarray
        assert cnp.arange(4).dtype == np.arange(4).dtype
        np.testing.assert_array_equal(cnp.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]])

    @pytest.mark.parametrize(
        ("module", "names"),
        [
            ("numpy", "zeros ones full empty arange linspace eye identity array asarray"),
            ("scipy.special", "logsumexp softmax log_softmax multigammaln"),
            ("scipy.linalg", "expm solve_triangular cho_solve"),
        ],
    )
    def test_names(self, module, names):
        there = importlib.import_module(f"chainrule.{module}")
        for name in names.split():
            assert callable(getattr(there, name)), name

    def test_scipy_on_concrete_arrays(self):
        import scipy.linalg
        import scipy.special

        import chainrule.scipy.linalg as csl
        import chainrule.scipy.special as csp

        a = np.array([[0.1, 0.2], [0.3, 0.4]])
        np.testing.assert_array_equal(csl.expm(a), scipy.linalg.expm(a))
        np.testing.assert_array_equal(csp.logsumexp(a, axis=0), scipy.special.logsumexp(a, axis=0))
        assert type(csp.softmax(a)) is np.ndarray


class TestCompile:
    def test_the_second_call_gives_the_same(self):
        calls = []

        def f(x):
            calls.append(1)
            return np.sum(np.tanh(x) ** 2)

        g = cr.compile(cr.grad(f))
        first, second = g(X), g(X)
        np.testing.assert_array_equal(first, second)
        traced = len(calls)
        np.testing.assert_allclose(g(2 * X), cr.grad(f)(2 * X), rtol=1e-15)
        assert traced >= 1
        assert len(calls) == traced + 1, "the compiled function was traced again"

    def test_an_uncompiled_function_is_traced_on_every_call(self):
        factor = 1.0
        g = cr.grad(lambda x: np.sum(factor * x))
        np.testing.assert_array_equal(g(X), np.ones(3))
        factor = 5.0
        np.testing.assert_array_equal(g(X), np.full(3, 5.0))

    @pytest.mark.parametrize("transform", ["value", "value_and_grad", "jvp", "hvp", "vmap"])
    def test_of_every_transform(self, transform):
        def f(x):
            return np.sum(np.sin(x) * x)

        v = np.ones(3)
        fn, args = {
            "value": (f, (X,)),
            "value_and_grad": (cr.value_and_grad(f), (X,)),
            "jvp": (lambda x, v: cr.jvp(f, (x,), (v,)), (X, v)),
            "hvp": (cr.hvp(f), (X, v)),
            "vmap": (cr.vmap(cr.grad(f)), (np.stack([X, v]),)),
        }[transform]
        compiled = cr.compile(fn)
        for _ in range(3):
            found, expected = compiled(*args), fn(*args)
            if not isinstance(expected, tuple):
                found, expected = (found,), (expected,)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-14)

    def test_of_a_jacobian(self):
        compiled = cr.compile(cr.jacobian(np.tanh))
        for x in (X, 2 * X):
            j = compiled(x)
            assert isinstance(j, cr.Jacobian)
            assert j.structure == "a->a|a"
            np.testing.assert_allclose(np.asarray(j), np.diag(1 - np.tanh(x) ** 2), rtol=1e-15)

    def test_new_shapes_and_dtypes(self):
        g = cr.compile(cr.grad(lambda x: np.sum(x**2)))
        for x in (X, np.ones((2, 2)), X.astype(np.float32), np.zeros(0), X):
            found = g(x)
            assert found.dtype == x.dtype
            np.testing.assert_array_equal(found, 2 * x)
        assert g(1.5) == 3.0

    def test_new_trees(self):
        g = cr.compile(cr.grad(lambda p: sum(np.sum(v**2) for v in p.values())))
        assert set(g({"a": X})) == {"a"}
        found = g({"a": X, "b": 2 * X})
        np.testing.assert_array_equal(found["b"], 4 * X)

    def test_a_branch_that_flips(self):
        def f(x):
            if np.sum(x) > 0:
                return np.sum(x**2)
            return np.sum(-x)

        g = cr.compile(cr.grad(f))
        for sign in (1, -1, 1, 1, -1):
            np.testing.assert_array_equal(g(sign * X), cr.grad(f)(sign * X))
        np.testing.assert_array_equal(g(X), 2 * X)
        np.testing.assert_array_equal(g(-X), -np.ones(3))

    def test_branches_inside_branches(self):
        def f(x):
            if x[0] > 0:
                y = x[1] ** 2 if x[1] > 0 else -x[1]
            else:
                y = x[0] * x[2]
            return 3 * y if y > 1 else y

        g = cr.compile(cr.value_and_grad(f))
        rng = np.random.default_rng(0)
        seen = set()
        for _ in range(40):
            x = rng.normal(size=3) * 2
            value, gradient = g(x)
            y = (x[1] ** 2 if x[1] > 0 else -x[1]) if x[0] > 0 else x[0] * x[2]
            assert value == pytest.approx(3 * y if y > 1 else y, rel=1e-15)
            if x[0] > 0:
                expected = np.array([0, 2 * x[1] if x[1] > 0 else -1.0, 0])
            else:
                expected = np.array([x[2], 0, x[0]])
            np.testing.assert_allclose(gradient, (3 if y > 1 else 1) * expected, rtol=1e-14)
            seen.add((x[0] > 0, x[1] > 0, y > 1))
        assert len(seen) >= 6

    def test_a_branch_on_a_captured_array_that_changes(self):
        c = np.array([1.0])

        def f(x):
            if x * c[0] > 0:
                return 2 * x
            return 3 * x

        g = cr.compile(cr.grad(f))
        assert g(1.0) == 2.0
        c[0] = -1.0
        assert cr.grad(f)(1.0) == 3.0

    def test_captured_arrays_changed_in_place_are_seen(self):
        c = np.array([1.0, 2.0, 3.0])
        w = np.ones((2, 3))
        g = cr.compile(cr.grad(lambda x: np.sum(np.sin(w @ (c * x)))))
        for scale in (1.0, 2.0, -0.5):
            c[:] = scale * np.array([1.0, 2.0, 3.0])
            w[0] = scale
            np.testing.assert_allclose(g(X), c * (w.T @ np.cos(w @ (c * X))), rtol=1e-13)

    @pytest.mark.parametrize(
        "derivative",
        [
            lambda w: cr.grad(lambda x: np.sum(w @ x)),
            lambda w: cr.jacobian(lambda x: w @ x),
            lambda w: cr.hessian(lambda x: np.sum((w @ x) ** 2)),
            lambda w: lambda x: cr.jacobian(lambda x: w @ x)(x).to_dense() * np.sum(x),
            lambda w: lambda x: cr.vjp(lambda x: w @ x, x)[1](np.ones(2))[0],
            lambda w: lambda x: cr.jvp(lambda x: w @ x, (x,), (np.ones(3),))[1],
        ],
    )
    def test_derivatives_that_depend_on_captured_arrays_alone(self, derivative):
        w = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        g = cr.compile(derivative(w))
        for scale in (1.0, 2.0, -0.5):
            w[0] *= scale
            np.testing.assert_allclose(np.asarray(g(X)), np.asarray(derivative(w)(X)), rtol=1e-13)

    def test_captured_arrays_are_not_baked_into_the_plan(self):
        results = []
        for c in (np.zeros(3), np.ones(3), 2 * np.ones(3)):
            results.append(cr.grad(lambda x: np.sum(x * c))(X))
        np.testing.assert_array_equal(results, [np.zeros(3), np.ones(3), 2 * np.ones(3)])

    def test_results_do_not_share_memory(self):
        g = cr.compile(cr.grad(lambda x: np.sum(x**2)))
        first = g(X)
        kept = first.copy()
        g(5 * X)
        np.testing.assert_array_equal(first, kept)

    def test_as_a_decorator(self):
        @cr.compile
        def f(x):
            return np.sum(x**2)

        assert f(X) == pytest.approx(5.25)
        np.testing.assert_array_equal(cr.grad(f)(X), 2 * X)

    def test_inside_and_outside_of_transforms(self):
        f = cr.compile(lambda x: np.sum(np.exp(x)))
        np.testing.assert_allclose(np.asarray(cr.hessian(f)(X)), np.diag(np.exp(X)), rtol=1e-15)
        g = cr.compile(cr.grad(lambda x: f(2 * x)))
        np.testing.assert_allclose(g(X), 2 * np.exp(2 * X), rtol=1e-15)

    def test_constants_of_other_types_are_other_programs(self):
        f = cr.compile(lambda x, n: x * n)
        assert f(2.0, 3.0) == 6.0
        outcomes = [cr.grad(lambda x: x * c)(1.0) for c in (0.0, -0.0, 1, True, 1.0)]
        assert [float(v) for v in outcomes] == [0.0, 0.0, 1.0, 1.0, 1.0]
        assert math.copysign(1, cr.grad(lambda x: x * -0.0)(1.0)) == -1.0
        assert math.copysign(1, cr.grad(lambda x: x * 0.0)(1.0)) == 1.0

    def test_a_random_state_that_changes_while_tracing_warns(self):
        def f(x):
            return np.sum(x * np.random.normal(size=3))

        with pytest.warns(UserWarning, match="random"):
            cr.compile(cr.grad(f))(X)

    def test_no_warning_without_randomness(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cr.compile(cr.grad(lambda x: np.sum(x**2)))(X)

    def test_clear_caches(self):
        g = cr.compile(cr.grad(lambda x: np.sum(x**2)))
        before = g(X)
        cr.clear_caches()
        np.testing.assert_array_equal(g(X), before)


def test_a_write_through_a_handle_made_later_is_seen_by_all_views():
    """Cells are made when they are needed: of views before and after a write, all see it."""

    def f(x):
        y = np.sin(x)
        first = y[1:]
        y[2] = 3.0 * x[0]
        second = y[::-1]
        first[0] = x[1] * x[1]
        return np.sum(first * np.arange(1.0, 4.0)) + second[1] * x[3] + np.sum(y)

    x = np.linspace(0.3, 1.2, 4)
    y = np.sin(x)
    y[2], y[1] = 3.0 * x[0], x[1] * x[1]
    expected = np.sum(y[1:] * np.arange(1.0, 4.0)) + y[2] * x[3] + np.sum(y)
    value, slope = cr.value_and_grad(f)(x)
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slope, _slopes(f, x), rtol=1e-7)


def _slopes(f, x):
    h = 1e-6
    return [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))]


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a + np.float32(2),
        lambda a: np.float64(2) * a,
        lambda a: 2.5 * a,
        lambda a: a * True,
        lambda a: 1 - a,
        lambda a: a / np.arange(1, 5),
        lambda a: [1.0, 2.0, 3.0, 4.0] - a,
        lambda a: a @ np.arange(4.0, dtype=np.float32),
        lambda a: np.ones((2, 4)) @ a,
        lambda a: (a > 0.5) * a,
        lambda a: -a * 1j,
        lambda a: a * 0.0 + a * np.inf,
        lambda a: np.sum(a * 2.0) + 1.0,
        lambda a: a[()][..., 1:3] * a[-2:],
        lambda a: a.sum(keepdims=True) + a.mean(axis=(0,)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operators_have_numpys_dtypes_and_values(make, dtype):
    """The operators' direct road promotes and computes as NumPy does."""
    a = np.array([0.25, 0.5, 1.0, 2.0], dtype)
    with np.errstate(all="ignore"):
        plain = make(a)
    found = cr.compile(make, backend="numpy")(a)
    assert np.asarray(found).dtype == np.asarray(plain).dtype
    np.testing.assert_array_equal(found, plain)


def test_operators_leave_foreign_operands_to_their_protocol():
    """An operand that refuses ufuncs, or has its own reflected operator, gets its turn."""

    class Refuses:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "mine"

    seen = []

    def f(x):
        seen.append(x + Refuses())
        return np.sum(x)

    cr.grad(f)(np.ones(2))
    assert seen == ["mine"]
