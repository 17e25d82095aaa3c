"""Long programs: native code in time proportional to their length, and an interpreter that ends."""

import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import chainrule as cr
from chainrule.lower import tiers
from chainrule.lower.native import assembly, module
from chainrule.lower.native.layout import Buffer
from chainrule.lower.native.lowering import lower
from chainrule.lower.native.memory import arena
from chainrule.lower.native.program import NativeProgram

X = np.linspace(0.1, 1, 8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))


def looped(rounds):
    """A loop whose rounds differ in an order that nothing repeats: it is not rolled up."""
    which = np.random.default_rng(0).integers(0, 4, rounds)

    def f(x):
        for k, number in enumerate(which):
            y = x * (1.0 + 0.5 / (k + 1))
            x = (np.sin(y), np.tanh(y) + x, np.cos(y + 1), np.exp(-y * y))[number]
        return np.sum(x)

    return cr.value_and_grad(f)


def plan_of(f, *args):
    compiled = cr.compile(f, backend="numpy")
    expected = compiled(*args)
    ((path,),) = compiled._entries.values()
    return path.program.plan, expected


def test_a_loop_of_600_rounds_in_functions_of_bounded_length():
    plan, (value, slope) = plan_of(looped(600), X)
    nests = lower(plan).items
    assert len(plan.steps) > 3000
    assert max(len(nest.nodes) for nest in nests) < 2 * assembly.MOST_NODES
    start = time.process_time()
    native = NativeProgram(plan)
    assert time.process_time() - start < 15  # 3 s where nothing else runs; 100 s as one function
    found = native.function(X)
    np.testing.assert_allclose(found[0], value, rtol=1e-14)
    np.testing.assert_allclose(found[1], slope, rtol=1e-12)


def test_text_grows_with_the_program():
    lengths = [len(NativeProgram(plan_of(looped(n), X)[0]).source) / n for n in (60, 240)]
    assert lengths[1] < 1.2 * lengths[0]


@pytest.mark.parametrize("length", [1, 3000, 10**9])
def test_one_text_or_several_make_one_program(length, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_UNIT", length)

    def f(w, xs):
        def step(c, x):
            for _ in range(9):
                c = np.tanh(w @ c) + np.exp(-(x**2)) * np.log1p(x * x) + np.sqrt(np.abs(np.sin(c)))
            return c, np.sum(np.arctan(c)) + np.linalg.det(w)

        return np.sum(cr.scan(step, xs[0], xs)[1] ** 2)

    w, xs = np.eye(4) * 0.3, np.linspace(-1, 1, 12).reshape(3, 4)
    plan, expected = plan_of(cr.value_and_grad(f), w, xs)
    native = NativeProgram(plan)
    assert native.source.count("target") == 0
    assert (native.source.count("!0 = ") > 1) == (length < 10**9)
    for a, b in zip(native.function(w, xs), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    big = np.linspace(0, 1, 300_000).reshape(300, 1000)  # on several cores, and fused

    def g(x):
        m = np.exp(x - np.mean(x, 1, keepdims=True))
        return np.sum(np.tanh(m / np.sum(m, 1, keepdims=True)), 0)

    plan, expected = plan_of(g, big)
    np.testing.assert_allclose(NativeProgram(plan).function(big)[0], expected, rtol=1e-12)


def test_memory_is_used_again():
    rng = np.random.default_rng(0)
    buffers = []
    for _ in range(300):
        buffer = Buffer("f64", int(rng.integers(1, 100)), "temp")
        buffer.meet(first := int(rng.integers(0, 200)))
        buffer.meet(first + int(rng.integers(0, 30)))
        buffers.append(buffer)
    total, places = arena(buffers)
    for n, a in enumerate(buffers):
        assert places[a] % 64 == 0
        assert places[a] + a.nbytes <= total
        for b in buffers[:n]:
            if a.first <= b.last and b.first <= a.last:  # both live: apart
                assert places[a] + a.nbytes <= places[b] or places[b] + b.nbytes <= places[a]
    most = max(sum(b.nbytes + 64 for b in buffers if b.first <= t <= b.last) for t in range(230))
    assert total < 2 * most


def test_an_interpreter_ends_while_code_is_made(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    code = f"""
import sys
sys.path.insert(0, {str(__file__.rpartition("/")[0])!r})
import numpy as np, chainrule as cr
from chainrule.lower import tiers
from test_native_long import looped, X
step = cr.compile(looped(600))
for _ in range(20):
    step(X)
tiers.settle(0.2)
print(step.report()[0], flush=True)
"""
    start = [sys.executable, "-c", code]
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        # on a fast machine all may be made by then
        assert run.stdout.readline() in ("numpy: being made\n", "native\n"), run.communicate()[1]
        began = time.monotonic()
        assert run.wait(60) == 0, run.stderr.read()
        assert time.monotonic() - began < 10  # half a second where nothing else runs
        assert run.stderr.read() == ""


def test_waiting_ends_when_work_does(monkeypatch):
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    step = cr.compile(looped(5))
    for _ in range(20):
        step(X)
    assert tiers.settle()
    assert step.report() == ["native"]
    assert tiers.settle(0)
