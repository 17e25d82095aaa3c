"""The native backend: the same results as NumPy's, the road into it, its caches."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings

pytest.importorskip("llvmlite")

import itertools

import chainrule as cr
import chainrule.scipy.special as special
from cases import CASES
from chainrule.lower import tiers
from chainrule.lower.native import engine, lowering
from chainrule.lower.native.layout import Unsupported
from chainrule.lower.native.lowering import lower
from chainrule.lower.native.program import NativeProgram
from chainrule.lower.run import Program
from programs import programs

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))


def flat(tree):
    if isinstance(tree, dict):
        return [x for key in sorted(tree) for x in flat(tree[key])]
    if isinstance(tree, tuple | list):
        return [x for item in tree for x in flat(item)]
    return [tree]


def agree(f, *args, tol=None):
    """Native and NumPy programs of one function give the same types, shapes, dtypes and values."""
    native = cr.compile(f, backend="native")
    plain = cr.compile(f, backend="numpy")
    found, expected = native(*args), plain(*args)
    assert native.report() == ["native"]
    for a, b in zip(flat(found), flat(expected), strict=True):
        assert type(a) is type(b)
        if a is None:
            continue
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        limit = (1e-5 if a.dtype == np.float32 else 1e-12) if tol is None else tol
        scale = np.max(np.abs(b), initial=1e-300)
        np.testing.assert_allclose(a, b, rtol=limit, atol=limit * scale)
    again = native(*args)
    for a, b in zip(flat(found), flat(again), strict=True):
        assert a is None or a.tobytes() == b.tobytes()
    return native


def network(sizes, batch, dtype):
    layers = [
        {"w": RNG.normal(size=(a, b)).astype(dtype), "b": RNG.normal(size=b).astype(dtype)}
        for a, b in itertools.pairwise(sizes)
    ]
    x = RNG.normal(size=(batch, sizes[0])).astype(dtype)
    y = np.eye(sizes[-1], dtype=dtype)[RNG.integers(0, sizes[-1], batch)]
    return layers, x, y


def loss(layers, x, y):
    for layer in layers[:-1]:
        x = np.tanh(x @ layer["w"] + layer["b"])
    z = x @ layers[-1]["w"] + layers[-1]["b"]
    z = z - z.max(axis=1, keepdims=True)
    return -np.mean(np.sum(y * (z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))), axis=1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize(
    ("sizes", "batch"), [((4, 8, 2), 1), ((64, 32, 10), 32), ((130, 101, 97, 5), 110)]
)
def test_networks(sizes, batch, dtype):
    agree(
        cr.value_and_grad(loss),
        *network(sizes, batch, dtype),
        tol=1e-4 if dtype == np.float32 else None,
    )


FUNCTIONS = {
    "elementwise": lambda x: np.tanh(np.sin(x) * np.exp(-(x**2))) + np.log1p(x**2),
    "softmax": lambda x: special.softmax(x, axis=1) ** 2,
    "logsumexp": lambda x: special.logsumexp(x, axis=0),
    "norms": lambda x: np.linalg.norm(x, axis=1) + np.sqrt(np.mean(x * x)),
    "variance": lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3),
    "gram": lambda x: x.T @ x + x.T @ np.abs(x),
    "distances": lambda x: np.sum((x[:, None] - x[None]) ** 2, -1),
    "nearest": lambda x: np.min(np.sum((x[:, None] - x[None, :3] + 0.5) ** 2, -1), 1),
    "slices": lambda x: (
        x[1:, ::2] * x[:-1, 1::2] if x.shape[1] % 2 == 0 else x[1:, :-1] * x[:-1, 1:]
    ),
    "gather": lambda x: x[np.array([2, 0, 2, 1])] ** 2,
    "roll": lambda x: np.roll(x, 2, axis=0) * x - np.flip(x),
    "where": lambda x: np.where(x > 0.1, np.sqrt(np.abs(x)), x * 3),
    "windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, axis=0).mean(-1),
    "outer": lambda x: x[:, 0][:, None] * x[0][None, :] + np.einsum("ij,kj->ikj", x, x).sum(1),
    "triangle": lambda x: np.tril(x @ x.T),
    "scalars": lambda x: np.array(2.5) * x + np.sum(x),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("shape", [(5, 4), (23, 37)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name, shape, dtype):
    f = FUNCTIONS[name]
    x = RNG.normal(size=shape).astype(dtype)
    weights = RNG.normal(size=np.shape(f(x))).astype(dtype)
    agree(
        lambda x, g: (lambda y, back: (y, back(g)))(*cr.vjp(f, x)),
        x,
        weights,
        tol=2e-4 if dtype == np.float32 else None,
    )


def test_every_primitive_that_has_a_native_form():
    """The table of primitives: value and pullback; most of it has a native form."""
    done = without = 0
    for case in CASES:
        if case.lib != "numpy" or len(case.makers) > 2:
            continue
        args = case.arguments()
        if not all(isinstance(a, np.ndarray) and a.dtype == float for a in args):
            continue
        plain = cr.compile(lambda *a, case=case: cr.vjp(lambda *b: case.fn(np, *b), *a)[0])
        with np.errstate(all="ignore"):
            plain(*args)
        (path,) = (p for paths in plain._entries.values() for p in paths)
        if path.guards:
            continue
        program = path.program
        try:
            lower(program.plan)
            native = NativeProgram(program.plan) if done % 8 == 0 else None
        except Unsupported:
            without += 1
            continue
        if native is not None:  # one in eight is built, and all are lowered
            values = [np.array(args[s] if given else s, order="C") for given, s in path.sources]
            found = native.function(*values)
            with np.errstate(all="ignore"):
                expected = program.numpy(*values)
            assert found is not None, case.name
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12, err_msg=case.name)
        done += 1
    assert done > 3 * without > 0


@settings(max_examples=25)
@given(programs())
def test_random_programs(program):
    args = program.arguments()
    native = cr.compile(lambda *a: cr.value_and_grad(lambda *b: np.sum(program(np, *b)))(*a))
    expected = native(*args)
    (path,) = (p for paths in native._entries.values() for p in paths)
    try:
        made = NativeProgram(path.program.plan)
    except Unsupported:
        return
    values = [np.array(args[s] if given else s, order="C") for given, s in path.sources]
    for a, b in zip(made.function(*values), flat(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


# -- the road into it ---------------------------------------------------------------------------
def test_other_arguments_take_the_general_road():
    layers, x, y = network((4, 8, 2), 3, np.float64)
    step = cr.compile(cr.value_and_grad(loss), backend="native")
    value, slopes = step(layers, x, y)
    assert type(value) is np.float64
    assert list(slopes[0]) == ["w", "b"]
    for other in (np.asfortranarray(x), x[::-1].copy()[::-1], x.astype(">f8")):
        assert np.isclose(step(layers, other, y)[0], value, rtol=1e-14)
    assert step(layers, x.astype(np.float32).astype(float), y)[0] != 0
    assert step(layers, x[:2], y[:2])[1][0]["w"].shape == (4, 8)
    assert step.report() == ["native"] * len(step.report())
    with pytest.raises(KeyError):
        step([{"w": layers[0]["w"]}, layers[1]], x, y)
    assert np.isclose(step(layers, x, y=y)[0], value, rtol=1e-14)


def test_captured_arrays_are_read_by_reference():
    scale = np.arange(3.0)
    step = cr.compile(cr.grad(lambda x: np.sum(scale * x * x)), backend="native")
    assert step(np.ones(3)).tolist() == [0, 2, 4]
    scale[1] = 10
    assert step(np.ones(3)).tolist() == [0, 20, 4]


def test_floats_none_and_repeated_results():
    step = cr.compile(lambda x, t: (x * t, None, {"t": t, "again": x * t}), backend="native")
    a, nothing, rest = step(np.ones(2), 3.0)
    assert a.tolist() == [3, 3]
    assert nothing is None
    assert rest["t"] == 3.0
    assert rest["again"].tolist() == [3, 3]
    assert rest["again"] is not a
    a[0] = 7
    assert rest["again"].tolist() == [3, 3]
    assert step.report() == ["native"]


def test_results_that_begin_as_zeros_are_asked_for_zeroed():
    place = cr.compile(lambda x: np.pad(x * 2, (1, 2)), backend="native")
    x = np.array([1.0, -3.0])
    for _ in range(3):
        result = place(x)
        assert result.tolist() == [0, 2, -6, 0, 0]
        result[:] = 7  # a dirty page for the next result
    dense = agree(lambda z: cr.jacobian(np.tanh)(z).to_dense(), RNG.normal(size=6))
    assert dense.report() == ["native"]


def test_references_are_balanced():
    step = cr.compile(lambda x: (x + 1, {"k": np.sum(x)}, [x * 2, True]), backend="native")
    x = np.ones(4)
    step(x)
    dtype = np.dtype(float)
    before = sys.getrefcount(x), sys.getrefcount(dtype)
    for _ in range(1000):
        step(x)
    assert (sys.getrefcount(x), sys.getrefcount(dtype)) == before


def test_what_has_no_native_form_stays_on_numpy_and_says_why():
    step = cr.compile(lambda x: np.conj(x) * 2, backend="native")
    assert step(np.array([1j])).tolist() == [-2j]
    assert step.report() == ["numpy: no native form yet: dtype complex128"]


def test_kernels_without_native_form_are_called_back():
    a = RNG.normal(size=(4, 4))
    spd = a @ a.T + np.eye(4)

    def f(a, b):
        lower = np.linalg.cholesky(a)
        return np.sum(np.linalg.solve(a, b) ** 2) + np.sum(np.log(np.diagonal(lower)))

    step = agree(cr.value_and_grad(f), spd, RNG.normal(size=4))
    with pytest.raises(np.linalg.LinAlgError):
        step(-spd, np.ones(4))
    assert np.isfinite(step(spd, np.ones(4))[0])  # and it goes on after an error
    results = []
    threads = [
        threading.Thread(target=lambda k=k: results.append((k, step(spd * k, np.ones(4))[0])))
        for k in range(1, 40)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, value in results:
        assert np.isclose(value, f(spd * k, np.ones(4)), rtol=1e-12)


def test_branches_are_checked_in_native_programs_too(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "now")
    step = cr.compile(cr.grad(lambda x: np.sum(x**2) if x[0] > 0 else np.sum(3 * x)))
    for _ in range(2):
        assert step(np.array([1.0, 2.0])).tolist() == [2, 4]
        assert step(np.array([-1.0, 2.0])).tolist() == [3, 3]


# -- tiers --------------------------------------------------------------------------------------
def test_hot_functions_go_over_by_themselves(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    step = cr.compile(cr.grad(lambda x: np.sum(np.sin(x))))
    x = np.arange(5.0)
    first = step(x)
    assert step.report() == ["numpy: not called often enough yet"]
    for _ in range(3):
        step(x)
    tiers.settle()
    np.testing.assert_allclose(step(x), first, rtol=1e-15)
    assert step.report() == ["native"]


def test_a_defect_is_not_silent_and_does_not_stop_the_others(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")

    def build():
        raise ZeroDivisionError("a defect")

    broken, sound = tiers.Promotion(build, 1), tiers.Promotion(lambda: 3, 1)
    broken.tick()
    sound.tick()
    with pytest.raises(ZeroDivisionError):
        tiers.settle()
    assert (broken.made, broken.reason) == (None, "ZeroDivisionError: a defect")
    assert (sound.made, sound.reason) == (3, "")
    assert tiers.settle()


def test_short_programs_do_not_wait_for_long_ones(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    begun, go_on, order = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        go_on.wait(10)

    tiers.Promotion(first, 1).tick()
    assert begun.wait(10)
    for size in (5000, 3, 200):
        tiers.Promotion(lambda size=size: order.append(size), 1, size).tick()
    go_on.set()
    assert tiers.settle()
    assert order == [3, 200, 5000]


def test_uncompiled_functions_go_over_too(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "now")
    leaf_sum = cr.value_and_grad(lambda x: np.sum(np.cos(x) * x))
    x = np.arange(6.0)
    value, slope = leaf_sum(x)
    assert np.isclose(value, np.sum(np.cos(x) * x), rtol=1e-14)
    np.testing.assert_allclose(slope, np.cos(x) - x * np.sin(x), rtol=1e-13)


def test_views_and_floats_are_taken_as_arrays(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "now")
    table = np.arange(12).reshape(6, 2).T % 4  # rows that are not contiguous

    def f(x, t):
        return np.sum(x[table[0]] * np.sin(t * x[table[1]]))

    x = RNG.normal(size=8)[::2]
    step = cr.compile(f)
    step(x, 0.5)
    (path,) = (p for paths in step._entries.values() for p in paths)
    monkeypatch.setattr(path.program, "_numpy", None)  # an error if NumPy were asked
    assert np.isclose(step(x, 0.7), f(x, 0.7), rtol=1e-14)


def test_switched_off(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "0")
    step = cr.compile(lambda x: x + 1)
    for _ in range(5):
        step(np.ones(2))
    tiers.settle()
    assert step.report() == ["numpy: CHAINRULE_NATIVE is 0"]


def test_unknown_backend_and_missing_package(monkeypatch):
    with pytest.raises(ValueError, match="unknown backend 'fortran'"):
        cr.compile(np.sin, backend="fortran")
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"chainrule\[native\]"):
        cr.compile(np.sin, backend="native")


# -- objects on disk, threads -------------------------------------------------------------------
def plan_of(f, x):
    compiled = cr.compile(f)
    compiled(x)
    (path,) = (p for paths in compiled._entries.values() for p in paths)
    return path.program.plan


def test_objects_are_kept_on_disk_and_a_corrupt_one_is_made_anew(tmp_path):
    plan = plan_of(lambda x: np.exp(x) + 1, np.ones(3))
    x = np.arange(3.0)
    expected = NativeProgram(plan).function(x)[0]
    (file,) = tmp_path.glob("*.o")
    stamp = file.stat().st_mtime_ns
    assert NativeProgram(plan).function(x)[0].tolist() == expected.tolist()
    assert file.stat().st_mtime_ns == stamp
    whole = file.read_bytes()
    for wrong in (whole[:100], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(wrong)
        assert NativeProgram(plan).function(x)[0].tolist() == expected.tolist()
        assert file.read_bytes() == whole
    engine.clear_disk()
    assert not list(tmp_path.glob("*"))


def test_without_a_place_on_disk(tmp_path, monkeypatch):
    plan = plan_of(lambda x: np.exp(x) + 2, np.ones(3))
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for place in ("", str(blocked / "below")):
        monkeypatch.setenv("CHAINRULE_CACHE", place)
        assert NativeProgram(plan).function(np.zeros(3))[0].tolist() == [3, 3, 3]


def test_several_threads_at_once():
    plans = [plan_of(lambda x, k=k: np.exp(x) * k, np.ones(50)) for k in range(1, 5)]
    results = {}

    def work(k):
        program = NativeProgram(plans[k % 4])
        for _ in range(200):
            results[k] = program.function(np.zeros(50))[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, value in results.items():
        assert (value == k % 4 + 1).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_results_do_not_depend_on_the_number_of_cores(dtype, monkeypatch):
    x = RNG.normal(size=300_001).astype(dtype)
    plan = plan_of(
        lambda x: cr.value_and_grad(lambda x: np.sum(np.tanh(np.sin(x)) * np.exp(-x * x)))(x), x
    )
    results = []
    for count in ("1", "2", "5"):
        monkeypatch.setenv("CHAINRULE_NUM_THREADS", count)
        program = NativeProgram(plan)
        assert "call void @parallel" in program.source
        results.append([np.asarray(v).tobytes() for v in program.function(x)])
    assert results[0] == results[1] == results[2]


def test_a_fork_goes_on():
    script = (
        "import os, numpy as np, chainrule as cr\n"
        "step = cr.compile(cr.grad(lambda x: np.sum(np.sin(x) * x)), backend='native')\n"
        "x = np.linspace(0, 1, 400_000)\n"
        "y = step(x)\n"
        "pid = os.fork()\n"
        "ok = np.array_equal(step(x), y) and step.report() == ['native']\n"
        "if pid == 0:\n"
        "    os._exit(0 if ok else 1)\n"
        "assert ok and os.waitpid(pid, 0)[1] == 0\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_programs_of_either_kind_have_a_plan_and_a_source():
    plan = plan_of(lambda x: x * 2, np.ones(3))
    program = Program(plan)
    assert "np." in program.source
    assert program.plan is plan
    native = NativeProgram(plan)
    assert "define internal i32 @main" in native.source


def test_very_long_programs_stay_on_numpy(monkeypatch):
    monkeypatch.setattr(lowering, "MOST_STEPS", 99)

    def f(x):
        for k in range(50):
            x = np.sin(x * (1 + 1 / (k + 2)))
        return x

    step = cr.compile(f, backend="native")
    assert np.isclose(step(0.3), f(0.3), rtol=1e-12)
    assert step.report() == ["numpy: no native form yet: a program of 100 steps (the most is 99)"]


def test_empty_arrays_stay_on_numpy():
    step = cr.compile(lambda x: np.exp(x), backend="native")
    assert step(np.zeros((0, 3))).shape == (0, 3)
    assert step.report() == ["numpy: no native form yet: empty arrays"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("m", "n", "k"), [(159, 160, 160), (160, 160, 160), (1000, 250, 10), (10, 250, 1000)]
)
def test_products_on_both_sides_of_the_size_for_blas(m, n, k, dtype):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    expected = left.astype(float) @ right.astype(float)
    for f, args in (
        (lambda a, b: a @ b, (left, right)),
        (lambda a, b: a.T @ b, (left.T.copy(), right)),
        (lambda a, b: a @ b.T, (left, right.T.copy())),
        (lambda a, b: a.T @ b.T, (left.T.copy(), right.T.copy())),
    ):
        step = cr.compile(f, backend="native")
        limit = 1e-3 if dtype is np.float32 else 1e-11
        np.testing.assert_allclose(step(*args), expected, rtol=0, atol=limit)
        assert step.report() == ["native"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(2000, 1000), (2500, 2000)])
def test_large_products_of_a_matrix_and_a_vector(shape, dtype):
    """One row or one column: the stride that BLAS is told is not read, but must be long enough."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape).astype(dtype)
    x, y = (rng.normal(size=n).astype(dtype) for n in a.shape[::-1])
    for f, args in (
        (lambda a, x: np.exp(a @ x / 100), (a, x)),
        (lambda a, y: np.exp(y @ a / 100), (a, y)),
        (lambda a, y: np.exp(a.T @ y / 100), (a, y)),
    ):
        found = cr.compile(f, backend="native")(*args)
        np.testing.assert_allclose(found, f(*args), rtol=1e-4 if dtype is np.float32 else 1e-12)


def test_scalars_of_numpy_are_read_at_every_call():
    """``np.sqrt(d)`` of a plain number is a NumPy scalar: it has no memory to read."""
    scale = np.sqrt(3)
    found = agree(cr.grad(lambda x: np.sum(np.tanh(x / scale))), np.ones(4))
    np.testing.assert_allclose(found(np.ones(4)), (1 - np.tanh(1 / scale) ** 2) / scale)


def test_results_and_arguments_of_any_kind_run_natively():
    """Jacobians, keyword arguments, branches: machine code for the program's inputs."""
    x = np.linspace(0, 1, 5)
    jacobian = cr.compile(cr.jacobian(np.tanh), backend="native")
    np.testing.assert_allclose(jacobian(x).to_dense(), np.diag(1 - np.tanh(x) ** 2))
    assert jacobian.report() == ["native"]

    def branched(x, scale):
        return np.sum(x**2) * scale if np.sum(x) > 0 else np.sum(x**3) * scale

    step = cr.compile(cr.grad(branched), backend="native")
    for one in (x, -x, x):
        np.testing.assert_allclose(step(one, scale=2.0), cr.grad(branched)(one, scale=2.0))
    assert step.report() == ["native"] * 2


def test_operands_give_their_memory_to_results():
    """A temporary that ends where a result begins lies where the result does."""
    from chainrule.lower.native.lowering import lower

    x = np.random.default_rng(0).normal(size=50_000)
    cases = [
        (lambda x: np.exp(x) / np.sum(np.exp(x)), 1),
        (lambda x: (np.exp(x), np.exp(x) / np.sum(np.exp(x))), 2),  # the operand is a result
        (lambda x: np.exp(x) / np.sum(np.exp(x)) + np.exp(x)[::-1], 2),  # and met elsewhere
        (lambda x: np.outer(np.exp(x[:200]), x[:200]) / np.sum(np.exp(x[:200])), 1),
    ]
    for f, count in cases:
        sizes = []

        def watched(plan, *args, sizes=sizes, **more):
            lowered = lower(plan, *args, **more)
            sizes += [b.size for b in lowered.buffers if b.role in ("temp", "output")]
            return lowered

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("chainrule.lower.native.program.lower", watched)
            native = cr.compile(f, backend="native")
            found = native(x)
        assert native.report() == ["native"]
        assert sum(size >= 40_000 for size in sizes) == count
        for a, b in zip(np.atleast_2d(found), np.atleast_2d(f(x)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(1,), (2,), (50,), (7, 5), (3, 1, 9)])
def test_cumulative_sums_run_row_after_row(shape, dtype):
    x = RNG.normal(size=shape).astype(dtype)
    for axis in range(len(shape)):

        def f(x, axis=axis):
            y, back = cr.vjp(lambda x: np.cumsum(np.sin(x), axis=axis), x)
            return y, back(np.cos(y))[0], np.cumsum(x[::-1], axis=axis)

        native = cr.compile(f, backend="native")
        for one, other in zip(native(x), cr.compile(f, backend="numpy")(x), strict=True):
            limit = 2e-5 if dtype == np.float32 else 1e-13
            np.testing.assert_allclose(one, other, rtol=limit, atol=limit * np.abs(other).max())
        assert native.report() == ["native"]


def test_functions_without_native_form_are_called_back():
    """One of them does not send the whole program to NumPy."""
    x = np.linspace(0.5, 2, 12).reshape(3, 4)
    counts = np.arange(4)

    def f(x):
        return np.sum(
            special.gammaln(x + counts) * np.sinc(x) - special.polygamma(2, x).T[:1].sum()
        )

    found = agree(cr.value_and_grad(f), x)
    assert found(x)[1].dtype == np.float64


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "i8"])
def test_labels_and_images_of_any_integers(dtype):
    """Small integers are read as they are; what would wrap around stays on NumPy."""
    low = np.iinfo(dtype).min
    labels = np.array([0, 1, 2, 3, 1, 2, 0], dtype)
    image = np.array([low, low + 1, 0, 1, 7, np.iinfo(dtype).max - 1, np.iinfo(dtype).max], dtype)
    z = RNG.normal(size=(7, 4))

    def loss(z, labels, image):
        scaled = z * (image[:, None] / 255)
        scores = scaled - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
        picked = scores[np.arange(7), labels] + z[labels, 1]
        hot = (labels[:, None] == np.arange(4)) * np.where(image > 3, 1.0, 2.0)[:, None]
        return np.sum(picked[::-1] * 0.1) + np.sum(hot * z**2)

    found = agree(cr.value_and_grad(loss), z, labels, image)
    agree(cr.value_and_grad(lambda z: loss(z, labels, image)), z)
    np.testing.assert_allclose(found(z, labels, image)[0], loss(z, labels, image), rtol=1e-12)
    if dtype != "i8":
        wraps = cr.compile(lambda a: a * 2 + a, backend="native")
        assert wraps(image).tolist() == (image * 2 + image).tolist()
        assert wraps.report()[0].startswith("numpy: no native form yet: dtype")
        same = cr.compile(lambda a, z: (a[::-1], z * 2), backend="native")
        assert same(image, z)[0].dtype == dtype


def test_large_products_alone_stay_on_numpy(monkeypatch):
    """Native code would call a library of products, too."""
    monkeypatch.setenv("CHAINRULE_NATIVE", "now")
    x, w, g = (np.ones(s, np.float32) for s in ((16, 2000), (2000, 2000), (16, 2000)))

    def pulled(x, w, g):
        return cr.vjp(np.matmul, x, w)[1](g)

    step = cr.compile(pulled)
    dx, dw = step(x, w, g)
    np.testing.assert_allclose(dx, g @ w.T)
    np.testing.assert_allclose(dw, x.T @ g)
    assert step.report() == ["numpy: large products alone, which take as long there"]
    for compiled, args in (
        (cr.compile(pulled, backend="native"), (x, w, g)),
        (cr.compile(lambda x, w: np.tanh(x @ w)), (x, w)),
    ):
        compiled(*args)
        assert compiled.report() == ["native"]
