"""Elimination orders, and what they cost: optima by brute force, counts made while running."""

import importlib
import itertools
import random
import tracemalloc
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.chain.elimination import Linearized, eliminate
from chainrule.chain.network import forward_network, reverse_network
from chainrule.chain.orders import Counting, Problem, search
from chainrule.expr.ops import OPS
from chainrule.lower import plan as planning
from chainrule.lower.costs import cost_of
from chainrule.lower.numpy_backend import NumpyProgram
from chainrule.lower.plan import make_plan
from chainrule.simplify.sums import accumulate
from chainrule.transforms.core import enter, level, outputs
from chainrule.transforms.orders import computed, networks

RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.normal(size=shape)


A, B, C, D = normal(6, 6), normal(6, 6), normal(3, 6), normal(3, 3)


def dense_layers(*sizes):
    weights = [normal(b, a) / np.sqrt(a) for a, b in itertools.pairwise(sizes)]

    def f(x):
        for w in weights:
            x = np.tanh(w @ x)
        return x

    return f, normal(sizes[0])


def residual(x):
    for _ in range(4):
        x = x + np.tanh(A @ x)
    return C @ x


def skips(x):
    a = np.sin(A @ x)
    b = a * np.exp(B @ a)
    return (A @ b) * a + np.sum(b) * x


FUNCTIONS = {
    "layers": dense_layers(4, 7, 2, 5),
    "residual": (residual, normal(6)),
    "skips": (skips, normal(6)),
    "softmax": (lambda x: np.exp(x) / np.sum(np.exp(x)), normal(6)),
    "gather": (lambda x: np.sin(x[np.array([3, 0, 0])]) * x[1:4], normal(6)),
    "slices": (lambda x: np.diff(x**2, n=2) * np.cumsum(x)[2:], normal(6)),
    "where": (lambda x: np.where(x > 0, np.exp(x), x**2) @ A, normal(6)),
    "roll": (lambda x: np.roll(np.sin(x), 2) * x - np.roll(x * x, -1), normal(6)),
    "batch": (lambda x: np.tanh(x @ A) @ C.T, normal(3, 6)),
    "reshape": (lambda x: np.tanh(np.reshape(x, (6, 3)) @ D).T, normal(3, 6)),
    "inverse": (lambda x: np.linalg.inv(x @ x.T + np.eye(3)) @ x, normal(3, 6)),
    "identity": (lambda x: x, normal(4)),
}


def traced(f, *args):
    """Outputs and sources of a function as nodes, and the values of the sources' leaves."""
    with level("test") as (session, opened):
        inputs = enter(session, opened, args, "argument")
        return outputs(f(*inputs.tree)).nodes, inputs.leaves, session.bindings


def dense(rows, outs, sources, bindings):
    return [
        cr.lower.run.evaluate([accumulate(t, o.shape + s.shape, np.dtype(float))], bindings)[0]
        for o, row in zip(outs, rows, strict=True)
        for s, t in zip(sources, row, strict=True)
    ]


# -- elimination --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FUNCTIONS)
def test_sweeps_are_two_of_the_orders(name):
    f, x = FUNCTIONS[name]
    (out,), sources, bindings = traced(f, x)
    graph = Linearized.of([out], sources)
    assert eliminate(graph, graph.inner[::-1]) == [reverse_network(out, sources)]
    forward = eliminate(graph, graph.inner)
    expected = dense([forward_network(out, sources)], [out], sources, bindings)
    found = dense(forward, [out], sources, bindings)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_order_gives_the_same_derivative(name):
    f, x = FUNCTIONS[name]
    outs, sources, bindings = traced(f, x)
    graph = Linearized.of(outs, sources)
    expected = cr.jacobian(f, mode="reverse")(x).to_dense()
    for seed in range(4):
        order = graph.inner
        random.Random(seed).shuffle(order)
        (found,) = dense(eliminate(graph, order), outs, sources, bindings)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_outputs_that_others_use():
    def f(x, y):
        a = x * y
        b = np.sin(a)
        return a, b, b * x, x, b

    outs, sources, bindings = traced(f, 1.5, 0.5)
    graph = Linearized.of(outs, sources)
    found = dense(eliminate(graph, graph.inner), outs, sources, bindings)
    c, s = np.cos(0.75), np.sin(0.75)
    expected = [0.5, 1.5, 0.5 * c, 1.5 * c, s + 0.75 * c, 2.25 * c, 1, 0, 0.5 * c, 1.5 * c]
    np.testing.assert_allclose(found, expected)


def test_an_order_must_be_whole():
    outs, sources, _ = traced(*FUNCTIONS["residual"])
    graph = Linearized.of(outs, sources)
    with pytest.raises(ValueError, match="inner vertices once"):
        eliminate(graph, graph.inner[1:])


# -- orders -------------------------------------------------------------------------------------
def random_graph(seed, inner, ends=3):
    """A random DAG: ``ends`` sources, inner vertices, ``ends`` sinks; every vertex in between."""
    rng = random.Random(seed)
    into = [{} for _ in range(ends)]
    for v in range(ends, ends + inner):
        below = rng.sample(range(v), min(v, rng.choice((1, 2, 2, 3))))
        into.append(dict.fromkeys(below, True))
    for _ in range(ends):
        into.append(dict.fromkeys(rng.sample(range(ends, ends + inner), min(inner, 2)), True))
    used = {u for row in into for u in row}
    for v in range(ends, ends + inner):
        if v not in used:
            into[-1][v] = True
    return into, list(range(ends, ends + inner))


@pytest.mark.parametrize("units_free", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_is_found(seed, units_free):
    into, inner = random_graph(seed, 6)
    rng = random.Random(seed)
    into = [{u: rng.random() < 0.7 for u in row} for row in into]
    problem = Problem(into, inner, Counting(units_free, additions=units_free))
    least = min(problem.cost(order) for order in itertools.permutations(inner))
    assert search(problem, 20_000)["best"].cost == least


@given(st.integers(0, 10**6), st.integers(1, 25))
@settings(max_examples=40, deadline=None)
def test_best_is_no_worse_than_any_other(seed, inner):
    into, inner = random_graph(seed, inner)
    problem = Problem(into, inner, Counting())
    found = search(problem, 500)
    assert sorted(found["best"].order) == inner
    assert all(found["best"].cost <= other.cost for other in found.values())
    for one in found.values():
        assert problem.cost(one.order) == one.cost
    assert search(problem, 500)["best"] == found["best"]


def test_markowitz_on_a_known_graph():
    # Two bundles that meet: x1, x2 -> a -> b -> y1, y2.  b and a in either order cost
    # 1·2 + 2·2 from above and 2·1 + 2·2 from below; the degrees say so, too.
    into = [{}, {}, {0: True, 1: True}, {2: True}, {3: True}, {3: True}]
    problem = Problem(into, [2, 3], Counting())
    assert problem.markowitz() == (3, 2)
    assert problem.cost((3, 2)) == problem.cost((2, 3)) == 6
    # One vertex with 3 predecessors and 3 successors, behind a cheap detour of degree 1:
    # x -> c -> a for one of them.  Markowitz takes the detour (1) first, then the hub (9).
    into = [{}, {}, {}, {0: True}, {1: True, 2: True, 3: True}]
    into += [{4: True}, {4: True}, {4: True}]
    problem = Problem(into, [3, 4], Counting())
    assert problem.markowitz() == (3, 4)
    assert problem.cost((3, 4)) == 10
    assert problem.cost((4, 3)) == 12


class Matrices:
    """The algebra of matrix chains: edges are shapes."""

    def product(self, above, below):
        (a, b), (c, d) = above, below
        assert b == c
        return (a, d), a * b * d

    def total(self, parts):
        return parts[0], 0


def test_chains_by_dynamic_programming():
    # Cormen et al., Introduction to Algorithms, section 15.2
    sizes = [30, 35, 15, 5, 10, 20, 25]
    into = [{}] + [{v: (sizes[-2 - v], sizes[-1 - v])} for v in range(6)]
    found = search(Problem(into, range(1, 6), Matrices()), 1000)
    assert found["best"].cost == 15125
    assert found["best"].method == "chain"


# -- counted ------------------------------------------------------------------------------------
class Counted(np.ndarray):
    """An array that counts what NumPy does with it, and all that comes of it."""

    flops = 0
    NAMES = {"absolute": "abs", "matvec": "matmul", "vecdot": "matmul"}  # noqa: RUF012

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        bare = [np.asarray(i) for i in inputs]
        if out:
            kwargs["out"] = tuple(np.asarray(o) for o in out)
        result = getattr(ufunc, method)(*bare, **kwargs)
        size = np.size(result)
        if ufunc is np.matmul:
            Counted.flops += 2 * size * bare[0].shape[-1]
        elif method in ("reduce", "accumulate"):
            Counted.flops += bare[0].size
        else:
            name = self.NAMES.get(ufunc.__name__, ufunc.__name__)
            Counted.flops += size * (1 if name in ("add", "subtract") else OPS[name].flops)
        return out[0] if out else np.asarray(result).view(Counted)

    def __array_function__(self, func, types_, args, kwargs):
        def bare(value):
            if isinstance(value, tuple | list):
                return type(value)(bare(v) for v in value)
            return np.asarray(value) if isinstance(value, Counted) else value

        args, kwargs = bare(tuple(args)), {k: bare(v) for k, v in kwargs.items()}
        result = func(*args, **kwargs)
        if func is np.dot:
            Counted.flops += 2 * np.size(result) * args[0].shape[-1]
        elif func is np.einsum:
            extents = {}
            for labels, array in zip(args[0].split("->")[0].split(","), args[1:], strict=True):
                extents.update(zip(labels, array.shape, strict=True))
            Counted.flops += 2 * int(np.prod(list(extents.values())))
        elif func is np.where:
            Counted.flops += np.size(result)
        elif func is np.linalg.inv:
            Counted.flops += 2 * round(args[0].size * args[0].shape[-1])
        return np.asarray(result).view(Counted) if isinstance(result, np.ndarray) else result


class CountingNumPy:
    """NumPy as a program sees it, its buffers counted too."""

    def __getattr__(self, name):
        found = getattr(np, name)
        if name in ("zeros", "full"):
            return lambda *args: found(*args).view(Counted)
        return found


def counted(plan, bindings):
    """Flops of a plan, counted while it runs."""
    code = NumpyProgram(plan).function
    known = {**code.__globals__, "np": CountingNumPy()}
    program = types.FunctionType(code.__code__, known)
    Counted.flops = 0
    program(*[np.asarray(bindings[leaf]).view(Counted) for leaf in plan.leaves])
    return Counted.flops


COUNTED = [n for n in FUNCTIONS if n != "inverse"]


@pytest.mark.parametrize("mode", ["forward", "reverse", "best"])
@pytest.mark.parametrize("name", COUNTED)
def test_predicted_flops_are_those_counted(name, mode):
    f, x = FUNCTIONS[name]
    predicted = getattr(cr.plan(f, x, budget=0.02), mode)
    with level("test") as (session, opened):
        inputs = enter(session, opened, (x,), "argument")
        outs = outputs(f(*inputs.tree)).nodes
        if mode == "best":
            rows, _ = networks("auto", outs, inputs.leaves)  # which cr.plan has decided
        else:
            graph = Linearized.of(outs, inputs.leaves)
            rows = eliminate(graph, graph.inner if mode == "forward" else graph.inner[::-1])
    assert predicted.flops == counted(make_plan(computed(rows)), session.bindings)


@pytest.mark.parametrize("name", ["layers", "residual", "skips"])
def test_predicted_peak_is_what_is_allocated(name):
    f, x = dense_layers(200, 300, 20, 400) if name == "layers" else FUNCTIONS[name]
    if name != "layers":
        x = np.zeros(6)
    outs, sources, bindings = traced(f, x)
    graph = Linearized.of(outs, sources)
    plan = make_plan(computed(eliminate(graph, graph.inner)))
    program = NumpyProgram(plan)
    values = [bindings[leaf] for leaf in plan.leaves]
    program(*values)
    tracemalloc.start()
    program(*values)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    predicted = cost_of(plan).peak_bytes
    assert predicted <= most <= 1.1 * predicted + 4096  # products copy a little


# -- the public function ------------------------------------------------------------------------
def test_linear_layer():
    w, x = np.zeros((100, 16384), np.float32), np.zeros(16384, np.float32)
    p = cr.plan(lambda w: w @ x, w)
    assert p.dense_multiplications == 163_840_000
    assert p.structured_multiplications == 1_638_400
    assert (p.dense_nbytes, p.nbytes) == (655_360_000, 65_536)
    assert p.best.flops == 0
    batch = np.broadcast_to(np.float32(0), (16384, 32))
    p = cr.plan(lambda w: w @ batch, w)
    assert p.dense_multiplications == 32 * 163_840_000


def test_the_cheaper_end_is_taken():
    for f, x, cheap in (
        (*dense_layers(2, 200, 200, 200), "forward"),
        (*dense_layers(200, 200, 200, 2), "reverse"),
    ):
        p = cr.plan(f, x)
        assert p.best.flops == getattr(p, cheap).flops
        assert p.best.flops * 10 < max(p.forward.flops, p.reverse.flops)


@pytest.mark.parametrize("planned", [False, True])
def test_jacobian_takes_the_best_order(planned):
    cr.clear_caches()
    f, x = dense_layers(300, 300, 2, 300, 300, 300)
    p = cr.plan(f, x)
    assert p.best.flops < 0.97 * min(p.forward.flops, p.reverse.flops)
    if not planned:
        cr.clear_caches()

    with level("test") as (session, opened):
        inputs = enter(session, opened, (x,), "argument")
        outs = outputs(f(*inputs.tree)).nodes
        made, _ = networks("auto", outs, inputs.leaves)
    assert make_plan(computed(made)).flops == p.best.flops
    J, R = (cr.jacobian(f, mode=mode)(x) for mode in ("auto", "reverse"))
    np.testing.assert_allclose(J.to_dense(), R.to_dense(), rtol=1e-10, atol=1e-12)
    assert (J.structure, J.nbytes) == (R.structure, R.nbytes)


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_networks_are_kept_by_graph_not_by_data(mode):
    w = normal(3, 3)
    jacobian = cr.jacobian(lambda x: np.tanh(w @ x), mode=mode)
    for _ in range(3):
        x = normal(3)
        expected = (1 - np.tanh(w @ x) ** 2)[:, None] * w
        np.testing.assert_allclose(jacobian(x).to_dense(), expected, rtol=1e-12)
        w += 1.0


def test_printing():
    f, x = dense_layers(30, 30, 2, 30, 30)
    p = cr.plan(f, x)
    text = repr(p)
    for shown in ("forward", "reverse", "best (chain)", "peak bytes", f"{p.best.flops:,}"):
        assert shown in text
    assert " ".join(str(v) for v in p.best.order) in text
    assert "v1 = ab,b->a [30], v2 = tanh [30]" in text
    assert "900 multiply-adds through the dense Jacobian" in text
    html = p._repr_html_()
    assert html.count("<tr>") == 5
    assert "ab,b-&gt;a" in html
    long = repr(cr.plan(dense_layers(*[5] * 40)[0], np.ones(5)))
    assert "in all" in long


def test_several_arguments_and_results():
    def f(x, p):
        return {"a": p["w"] @ x, "b": np.sum(x)}

    p = cr.plan(f, normal(4), {"w": normal(3, 4)}, argnums=(0, 1))
    assert p.dense_multiplications == (3 + 1) * (4 + 12)
    assert len(p.structures) == 4


def test_refusals():
    with pytest.raises(ValueError, match="seconds of search"):
        cr.plan(np.sin, normal(3), budget=-1.0)
    with pytest.raises(TypeError, match="derivatives need floats"):
        cr.plan(np.sin, np.arange(3))


def test_second_derivatives_and_results_that_are_jacobians():
    f = lambda x: np.sum(np.sin(A @ x) ** 3)  # noqa: E731
    x = normal(6)
    assert cr.plan(cr.grad(f), x).dense_multiplications == 36
    assert cr.plan(cr.hessian(f), x).dense_multiplications == 216


def test_conjugates():
    p = cr.plan(lambda x: np.real(np.exp(1j * x) * np.conj(np.exp(2j * x))), normal(3))
    assert p.best.method == "the only one"
    assert p.best.flops == p.forward.flops > 0
    with pytest.raises(TypeError, match="holomorphic"):
        cr.plan(np.conj, normal(3) + 1j)


@pytest.mark.parametrize("number", [0, 1])
def test_published_counts(number, monkeypatch):
    """One vertex an operation: forward and reverse mode take the published counts."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
    bench = importlib.import_module("elimination")
    _, f, arguments, published = list(bench.problems())[number]
    tape, ends = bench.as_written(f, arguments)
    inner = [v for v in range(len(tape)) if v not in ends]
    found = search(Problem([dict.fromkeys(r, True) for r in tape], inner, Counting()), 20_000)
    assert found["forward"].cost == published.forward
    assert found["reverse"].cost == published.reverse
    assert found["markowitz"].cost <= published.markowitz
    assert found["best"].cost <= published.best
    # equal subexpressions are one vertex of ours
    graph = bench.linearized(f, arguments)
    shared = Problem([dict.fromkeys(r, True) for r in graph.into], graph.inner, Counting())
    assert search(shared, 20_000)["best"].cost <= found["best"].cost


def test_elementwise_terms_take_the_short_way_to_the_same_steps(monkeypatch):
    def f(x, y):
        z = 2.5 * x * y - 3 * np.sin(x) * np.int64(2) * y
        return np.sum(z * np.where(x > 0, y, z)) + np.sum(x @ y.T) + np.sum(x[0] * y)

    x = np.linspace(-1, 1, 12).reshape(3, 4)
    for a, b in ((x, x + 1), (x.astype(np.float32), x.astype(np.float32)), (x, x * 1j)):

        def real(a, b):
            return np.real(f(a, b))

        step = cr.compile(cr.value_and_grad(real, argnums=0), backend="numpy")
        step(a, b)
        ((path,),) = step._entries.values()
        short = make_plan(path.outs.nodes)
        with monkeypatch.context() as patch:
            patch.setattr(planning, "elementwise", lambda *_: None)
            general = make_plan(path.outs.nodes)
        assert repr(short.steps) == repr(general.steps)
        assert short.outputs == general.outputs
