"""Results in arrays that the caller gives: ``out=`` and donated arguments of compiled functions."""

import threading
import tracemalloc

import numpy as np
import pytest

import chainrule as cr

BACKENDS = ["numpy", "native", None]


def compiled(f, backend, **options):
    if backend == "native":
        pytest.importorskip("llvmlite")
    return cr.compile(f, backend=backend, **options)


def bumpy(x):
    return np.sum(np.tanh(np.sin(x) * np.exp(-(x**2))) + np.log1p(x**2))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 7, 1000, 8191, 9001])
def test_a_gradient_is_written_into_the_array_given(backend, dtype, n):
    """The same numbers as in a fresh array, at every stage of promotion, and over the argument."""
    slope = compiled(cr.grad(bumpy), backend)
    x = np.linspace(-2, 2, n).astype(dtype)
    given = np.full_like(x, np.nan)
    for _ in range(4):
        fresh = slope(x)
        assert slope(x, out=given) is given
        np.testing.assert_allclose(given, fresh, rtol=1e-5 if dtype == np.float32 else 1e-13)
        assert not np.shares_memory(fresh, given)
        given[...] = np.nan
    place = x.copy()
    assert slope(place, out=place) is place
    np.testing.assert_allclose(place, slope(x), rtol=1e-5 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_trees_scalars_and_keywords(backend):
    """A tree like the result's, 0-d arrays for scalars; arguments by name go the same way."""

    def loss(p, x, *, scale=1.0):
        return scale * np.sum(np.tanh(x @ p["w"] + p["b"]) ** 2)

    both = compiled(cr.value_and_grad(loss), backend)
    rng = np.random.default_rng(3)
    p = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    x = rng.normal(size=(5, 4))
    out = (np.empty(()), {"w": np.empty((4, 3)), "b": np.empty(3)})
    for scale in (1.0, 2.0, 3.0, 4.0):
        value, slopes = both(p, x, scale=scale)
        assert both(p, x, scale=scale, out=out) is out
        np.testing.assert_allclose(out[0], value, rtol=1e-14)
        for name in p:
            np.testing.assert_allclose(out[1][name], slopes[name], rtol=1e-12)
    for _ in range(3):
        assert both(p, x, out=None)[0] == pytest.approx(float(both(p, x, out=out)[0]), rel=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("out", "error", "text"),
    [
        (lambda: np.zeros(4), ValueError, r"out= has shape \(4,\), the result \(3,\)"),
        (lambda: np.zeros(3, np.float32), TypeError, "dtype float32, the result float64"),
        (lambda: np.zeros(3, ">f8"), TypeError, "dtype >f8"),
        (lambda: np.zeros(6)[::2], ValueError, "not contiguous"),
        (lambda: np.broadcast_to(0.0, 3), ValueError, "read-only"),
        (lambda: [np.zeros(3)], TypeError, "structure"),
        (lambda: [0.0, 0.0, 0.0], TypeError, "structure"),
        (lambda: 1.0, TypeError, r"is float, not an array.*np.empty\(\(3,\), 'float64'\)"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(backend, warm, out, error, text):
    """Shape, dtype, structure, layout and read-only memory have errors that say which it is."""
    slope = compiled(cr.grad(bumpy), backend)
    x = np.ones(3)
    for _ in range(3 if warm else 0):
        slope(x, out=np.empty(3))
    target = out()
    with pytest.raises(error, match=text):
        slope(x, out=target)
    for leaf in target if isinstance(target, list) else [target]:
        assert not np.any(np.asarray(leaf) == slope(x)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_that_share_memory_are_refused_and_arguments_may(backend):
    """Two results need two arrays; an argument that a result overlaps is read before."""
    pair = compiled(lambda x: (x[::-1] * 2.0, np.cumsum(x)), backend)
    memory = np.zeros(9)
    for _ in range(3):
        with pytest.raises(ValueError, match=r"out=\[0\] and out=\[1\] share memory"):
            pair(np.ones(4), out=(memory[:4], memory[3:7]))
        memory[:] = np.arange(9.0)
        expected = [np.array(r) for r in pair(memory[2:6].copy())]
        pair(memory[2:6], out=(memory[0:4], memory[4:8]))
        np.testing.assert_allclose(memory[0:4], expected[0])
        np.testing.assert_allclose(memory[4:8], expected[1])
        memory[:] = 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_that_begin_as_zeros(backend):
    """Most elements of a result may never be written by the program itself."""
    slope = compiled(cr.grad(lambda x: np.sum(x[3:6] ** 2) + x[0]), backend)
    x = np.arange(10.0)
    out = np.full(10, 7.0)
    for _ in range(4):
        slope(x, out=out)
        np.testing.assert_array_equal(out, [1, 0, 0, 6, 8, 10, 0, 0, 0, 0])
        out[:] = 7.0
    step = compiled(cr.grad(lambda x: np.sum(x[3:6] ** 2) + x[0]), backend, donate_argnums=0)
    for _ in range(4):
        x = np.arange(10.0)
        assert step(x) is x
        np.testing.assert_array_equal(x, [1, 0, 0, 6, 8, 10, 0, 0, 0, 0])


def test_branches_and_constants_in_results():
    """Branches on values, and results that are no arrays: by the general road."""

    def f(x):
        if x[0] > 0:
            return x * 2.0, "up"
        return x * 3.0, "down"

    g = cr.compile(f)
    out = (np.empty(2), None)
    with pytest.raises(TypeError, match="structure"):
        g(np.ones(2), out=out)
    given = np.empty(2)
    for _ in range(3):
        result = g(np.ones(2), out=(given, ""))
        assert result[0] is given
        assert result[1] == "up"
        assert given.tolist() == [2, 2]
        assert g(-np.ones(2), out=(given, ""))[1] == "down"
        assert given.tolist() == [-3, -3]


def test_a_parameter_named_out_is_the_functions_own():
    """Where the function has one itself it gets it; NumPy's own do not count."""
    f = cr.compile(lambda x, out=2.0: x * out)
    np.testing.assert_array_equal(f(np.ones(2), out=3.0), [3, 3])
    sine = cr.compile(np.sin)
    given = np.empty(3)
    for _ in range(3):
        assert sine(np.ones(3), out=given) is given
    np.testing.assert_allclose(given, np.sin(1.0))


def test_inside_of_a_trace():
    """A traced array may be given, a plain one cannot take traced values."""
    import chainrule.numpy as cnp

    double = cr.compile(lambda x: 2.0 * x)

    def f(x):
        y = cnp.zeros_like(x)
        double(x * x, out=y)
        return np.sum(y)

    np.testing.assert_allclose(cr.grad(f)(np.arange(3.0)), [0, 4, 8])
    with pytest.raises(cr.TraceError, match="plain array"):
        cr.grad(lambda x: np.sum(double(x, out=np.zeros(3))))(np.ones(3))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [5, 1000, 9001])
def test_donated_arguments_become_the_results(backend, n):
    """Each result takes the first donated array like it; momentum beside parameters."""

    def step(state, x):
        params, speed = state
        slope = cr.grad(lambda p: np.sum((np.tanh(p["a"] * x) - p["b"]) ** 2))(params)
        speed = {k: 0.9 * speed[k] - 0.1 * slope[k] for k in speed}
        return {k: params[k] + speed[k] for k in params}, speed

    rng = np.random.default_rng(0)
    x = rng.normal(size=n)

    def start():
        rng = np.random.default_rng(1)
        return tuple({k: rng.normal(size=n) for k in "ab"} for _ in range(2))

    given = compiled(step, backend, donate_argnums=0)
    fresh = cr.compile(step, backend="numpy")
    state, plain = start(), start()
    held = [state[i][k] for i in range(2) for k in "ab"]
    for _ in range(5):
        state = given(state, x)
        plain = fresh(plain, x)
        assert all(state[i][k] is a for a, (i, k) in zip(held, _PLACES, strict=True))
        for i, k in _PLACES:
            np.testing.assert_allclose(state[i][k], plain[i][k], rtol=1e-11, atol=1e-12)


_PLACES = [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "f",
    [
        lambda x, c: x @ c,
        lambda x, c: x.T + c,
        lambda x, c: np.cumsum(x, axis=0),
        lambda x, c: x[::-1] * c,
        lambda x, c: x - np.mean(x, axis=0),
        lambda x, c: np.linalg.solve(c @ c.T + np.eye(len(c)), x),
        lambda x, c: np.roll(x, 1, axis=0) - 2.0 * x,
        lambda x, c: np.where(x > 0, x, c) + x[0, 0],
        lambda x, c: x - 0.1 * (c.T @ (c @ x)),
        lambda x, c: x / np.sum(x * x, axis=1, keepdims=True) + c,
        lambda x, c: x.T * np.sum(x * c, axis=0) + np.sum(np.sin(x), axis=1),
        lambda x, c: np.tril(x) + np.triu(c),
        lambda x, c: np.concatenate([x[len(x) // 2 :], x[: len(x) // 2]]),
        lambda x, c: x[np.arange(len(x))[::-1]],
        lambda x, c: x - 0.01 * cr.grad(lambda x: np.sum(np.tanh(x @ c) ** 2))(x),
        lambda x, c: x,
        lambda x, c: c * 2.0,
    ],
)
@pytest.mark.parametrize("n", [3, 32, 97, 300])
def test_a_donated_array_is_read_before_it_is_written(backend, f, n):
    """Results of all sorts in the memory of the array that they are computed from."""
    g = compiled(f, backend, donate_argnums=0)
    rng = np.random.default_rng(n)
    x, c = rng.normal(size=(n, n)), rng.normal(size=(n, n)) / n
    expected = cr.compile(f, backend="numpy")(x, c)
    for _ in range(4):
        place = x.copy()
        assert g(place, c) is place
        np.testing.assert_allclose(place, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_donations_that_cannot_be_are_refused(backend):
    """Read-only arrays, one array donated twice, argument numbers that are not there."""
    step = compiled(lambda x, y: (x + y, x - y), backend, donate_argnums=(0, 1))
    frozen = np.ones(3)
    frozen.flags.writeable = False
    same = np.ones(4)
    for _ in range(3):
        with pytest.raises(ValueError, match=r"donated args\[0\] is read-only"):
            step(frozen, np.ones(3))
        with pytest.raises(ValueError, match=r"donated args\[0\] and donated args\[1\] share"):
            step(same[:3], same[1:])
        x, y = np.full(3, 5.0), np.full(3, 2.0)
        a, b = step(x, y)
        assert a is x
        assert b is y
        assert (a[0], b[0]) == (7.0, 3.0)
    with pytest.raises(ValueError, match="donate_argnums=2, but"):
        cr.compile(lambda x: x, donate_argnums=2)(np.ones(2))
    scalars = compiled(lambda x, r: x * r, backend, donate_argnums=(0, 1))
    for _ in range(3):
        x = np.ones(2)
        assert scalars(x, 2.0) is x
        other = np.ones(3)[::-1]
        assert scalars(other, 2.0) is other
        assert other.tolist() == [2, 2, 2]


def test_an_update_needs_no_memory_beside_the_parameters():
    """What is read only where it is written stays where it is; a reversal is made beside it."""
    pytest.importorskip("llvmlite")
    for f, apart in ((lambda p, g: p - 0.1 * np.tanh(g), False), (lambda p, g: p[::-1] + g, True)):
        step = cr.compile(f, backend="native", donate_argnums=0)
        for n in (10, 9001):
            step(np.ones(n), np.ones(n))
        for paths in step._entries.values():
            assert bool(paths[0].promotion.made.beside) == apart


def test_a_captured_array_may_be_donated():
    """It is read as an input of its own before it is overwritten."""
    pytest.importorskip("llvmlite")
    a = np.arange(6.0)
    step = cr.compile(lambda x: x[::-1] + a, backend="native", donate_argnums=0)
    for _ in range(3):
        a[:] = np.arange(6.0)
        assert step(a) is a
        np.testing.assert_array_equal(a, 5.0)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_training_allocates_nothing_that_stays(backend):
    """Parameters stay the arrays that they were; memory does not grow, nor peak natively."""

    def step(params, x, y):
        def loss(p):
            return np.mean((np.tanh(x @ p[0] + p[1]) @ p[2] - y) ** 2)

        slopes = cr.grad(loss)(params)
        return [p - 0.05 * s for p, s in zip(params, slopes, strict=True)]

    train = compiled(step, backend, donate_argnums=0)
    rng = np.random.default_rng(5)
    params = [rng.normal(size=(40, 300)), np.zeros(300), rng.normal(size=300) / 17]
    held = list(params)
    x, y = rng.normal(size=(64, 40)), rng.normal(size=64)
    for _ in range(5):
        params = train(params, x, y)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(50):
        params = train(params, x, y)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(p is h for p, h in zip(params, held, strict=True))
    assert now - before < 5000
    if backend == "native":
        assert peak - before < 5000
    assert np.mean((np.tanh(x @ params[0] + params[1]) @ params[2] - y) ** 2) < 1.0


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_threads_write_into_their_own(backend):
    """Programs that call kernels back let other threads in: each writes its own array."""
    f = compiled(lambda a, b: np.linalg.solve(a @ a.T + np.eye(24), b) * 2.0, backend)
    rng = np.random.default_rng(0)
    cases = [(rng.normal(size=(24, 24)), rng.normal(size=24)) for _ in range(4)]
    wanted = [np.array(f(a, b)) for a, b in cases]
    f(*cases[0], out=np.empty(24))
    wrong = []

    def work(number):
        out = np.empty(24)
        for _ in range(200):
            f(*cases[number], out=out)
            if not np.allclose(out, wanted[number], rtol=1e-9):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_libraries_write_into_numpys_arrays(backend):
    """Results of a library's program are copied."""
    pytest.importorskip(backend)
    slope = cr.compile(cr.grad(bumpy), backend=backend)
    x = np.linspace(0, 1, 5)
    out = np.empty(5)
    assert slope(x, out=out) is out
    np.testing.assert_allclose(out, cr.grad(bumpy)(x), rtol=1e-12)


def test_programs_do_not_keep_the_arguments_of_the_first_call():
    """What waits to become native code knows shapes, not arrays."""
    import gc
    import weakref

    g = cr.compile(lambda x: x * 2.0)
    holder = np.ones(3)
    g(holder)
    there = weakref.ref(holder)
    del holder
    gc.collect()
    assert there() is None
