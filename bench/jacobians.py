"""Jacobians and Hessians: the object, and the numbers in it, against dense ones and work by hand.

Every figure is of compiled programs: `cr.compile` here, `jit` in JAX. "the object" is
`cr.compile(cr.jacobian(f))`; the numbers named beside a case are computed from the point anew, by
hand in the same process, with calls of both in turns. JAX and PyTorch give the dense array, asdex
the sparse one by coloring.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

from harness import SECONDS, Row, main, timed
from jacobian_problems import PROBLEMS, Problem

LINEAR = "W x by W, N = 16384, T = 100, float32"


def checks(value: Any) -> list[float]:
    """Numbers by which results are compared, whatever their axes are called."""
    array = np.asarray(value, np.float64)
    return [float(np.abs(array).sum()), float(array.sum())]


def in_turns(*runs: Callable[[], object], seconds: float = SECONDS) -> list[list[float]]:
    """Times of several contenders, called in turns."""
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
    end = time.perf_counter() + seconds * len(runs)
    while len(times[0]) < 5 or time.perf_counter() < end:
        for run, found in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            found.append(time.perf_counter() - start)
    return times


# -- chainrule ------------------------------------------------------------------------------------
def chainrule() -> Iterator[Row]:
    """The object, its numbers, and the same numbers by hand."""
    yield from linear_layer()
    for problem in PROBLEMS.values():
        yield from ours(problem)


def ours(problem: Problem) -> Iterator[Row]:
    """All rows of one problem."""
    import chainrule as cr

    at, captured = problem.arrays()
    make = cr.hessian if problem.hessian else cr.jacobian

    def f(x: Any) -> Any:
        return problem.f(np, x, *captured)

    build = cr.compile(make(f))
    numbers = cr.compile(lambda x: problem.numbers(make(f)(x)))
    j = build(at)
    result = np.asarray(numbers(at))
    built = timed(problem.title, "the object", lambda: build(at))
    yield built
    yield from target(problem.title, "the object", built.value, "s", problem.seconds)
    yield Row(problem.title, "bytes stored", j.nbytes, "B", limit=problem.stored)
    yield Row(problem.title, "bytes dense", j.dense_nbytes, "B")
    hand = problem.hand
    assert hand is not None
    by_hand = np.asarray(hand(at, *captured))
    mine, theirs = in_turns(lambda: numbers(at), lambda: hand(at, *captured))
    quantity = problem.what
    yield Row(problem.title, quantity, min(mine), "s", median(mine), len(mine), checks(result))
    yield Row(
        problem.title,
        quantity,
        min(theirs),
        "s",
        median(theirs),
        len(theirs),
        checks(by_hand),
        peer="numpy by hand",
    )
    ratio = min(mine) / min(theirs)
    name = f"{quantity}, over by hand"
    yield Row(problem.title, name, ratio, "×", details={"calls": len(mine)})
    yield from target(problem.title, name, ratio, "×", problem.ratio)
    if problem.solve is not None:
        yield from newton(problem, f, at)


def target(case: str, quantity: str, value: float, unit: str, limit: float | None) -> Iterator[Row]:
    """The figure once more beside its target, where it has one."""
    if limit is not None:
        yield Row(case, f"{quantity}, target", value, unit, limit=limit)


def newton(problem: Problem, f: Any, at: Any) -> Iterator[Row]:
    """One Newton step: gradient, Hessian and solve in one compiled function, and outside of it."""
    import chainrule as cr

    gradient, hessian = cr.compile(cr.grad(f)), cr.compile(cr.hessian(f))
    g, h = gradient(at), hessian(at)
    row = timed(problem.title, "Newton solve", lambda: h.solve(g))
    yield row
    yield from target(problem.title, "Newton solve", row.value, "s", problem.solve)
    whole = timed(problem.title, "Newton step", lambda: at - hessian(at).solve(gradient(at)))
    whole.check = checks(at - hessian(at).solve(gradient(at)))
    yield whole


def linear_layer() -> Iterator[Row]:
    """The structure of the largest layer, exactly."""
    import chainrule as cr

    rng = np.random.default_rng(0)
    w = rng.normal(size=(100, 16384)).astype(np.float32)
    x = rng.normal(size=16384).astype(np.float32)

    def layer(w: Any) -> Any:
        return w @ x

    build = cr.compile(cr.jacobian(layer))
    j = build(w)
    yield timed(LINEAR, "the object", lambda: build(w))
    for quantity, value, unit in (
        ("bytes stored", j.nbytes, "B"),
        ("bytes dense", j.dense_nbytes, "B"),
        ("entries of the sparse matrix", j.to_sparse().nnz, "entries"),
    ):
        yield Row(LINEAR, quantity, value, unit)
    plan = cr.plan(layer, w)
    yield Row(LINEAR, "through the dense matrix", plan.dense_multiplications, "multiplications")
    yield Row(LINEAR, "by structure", plan.structured_multiplications, "multiplications")


# -- the peers ------------------------------------------------------------------------------------
def once(case: str, quantity: str, run: Callable[[], Any], calls: int | None, taken: Any) -> Row:
    """A dense result of a peer; `calls`: so many, where each takes long."""
    if calls is None:
        return timed(case, quantity, run, checks(taken(np.asarray(run()))))
    result = run() if calls > 1 else None
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return Row(
        case, quantity, min(times), "s", median(times), calls, checks(taken(np.asarray(result)))
    )


def jax() -> Iterator[Row]:
    """jax.jacfwd, jax.jacrev or jax.hessian under jit, whichever is best and fits."""
    import jax

    jax.config.update("jax_enable_x64", True)
    for problem in PROBLEMS.values():
        at, captured = problem.arrays()
        captured = tuple(map(jax.numpy.asarray, captured))
        make = jax.hessian if problem.hessian else getattr(jax, problem.jax)

        def f(x: Any, *c: Any, problem: Problem = problem) -> Any:
            return problem.f(jax.numpy, x, *c)

        def by_columns(x: Any, *c: Any, f: Any = f) -> Any:
            """The Hessian column by column: all at once it takes 57 GiB."""
            gradient = jax.grad(f)
            units = jax.numpy.eye(x.size).reshape(x.size, *x.shape)
            columns = jax.lax.map(
                lambda v: jax.jvp(lambda x: gradient(x, *c), (x,), (v,))[1], units
            )
            return columns.reshape(x.shape * 2)

        x = jax.numpy.asarray(at)
        whole = by_columns if problem.calls == 1 else make(f)
        program = jax.jit(whole).lower(x, *captured).compile()

        def run(program: Any = program, x: Any = x, captured: Any = captured) -> Any:
            return jax.block_until_ready(program(x, *captured))

        yield once(problem.title, problem.what, run, problem.calls, problem.taken)


def torch() -> Iterator[Row]:
    """torch.func.jacrev, jacfwd or hessian, eager; in pieces where memory demands it."""
    import torch
    from torch.func import grad, hessian, jacfwd, jacrev

    for problem in PROBLEMS.values():
        at, captured = problem.arrays()
        x, *rest = map(torch.from_numpy, (at, *captured))

        def f(x: Any, problem: Problem = problem, rest: Any = rest) -> Any:
            if problem.torch is not None:
                return problem.torch(torch, x, *rest)
            return problem.f(torch, x, *rest)

        if problem.calls == 1:
            program: Any = jacrev(grad(f), chunk_size=8)
        elif problem.hessian:
            program = hessian(f)
        else:
            program = {"jacfwd": jacfwd, "jacrev": jacrev}[problem.jax](f)
        yield once(
            problem.title,
            problem.what,
            lambda program=program, x=x: program(x),
            problem.calls,
            problem.taken,
        )


def asdex() -> Iterator[Row]:
    """Sparsity detected and coloured beforehand, then one compressed pass in JAX."""
    import asdex
    import jax

    jax.config.update("jax_enable_x64", True)
    problem = PROBLEMS["A X B"]
    at, captured = problem.arrays()

    def f(x: Any, *captured: Any) -> Any:
        return problem.f(jax.numpy, x, *captured)

    args = tuple(map(jax.numpy.asarray, (at, *captured)))
    start = time.perf_counter()
    coloring = asdex.jacobian_coloring(f, *args)
    yield Row(problem.title, "preparation", time.perf_counter() - start, "s", peer="asdex")
    program = jax.jit(asdex.jacobian_from_coloring(f, coloring, output_format="dense"))
    yield once(
        problem.title,
        problem.what,
        lambda: jax.block_until_ready(program(*args)),
        5,
        problem.taken,
    )


PEERS = {"chainrule": chainrule, "jax": jax, "torch": torch, "asdex": asdex}

if __name__ == "__main__":
    main(PEERS, __file__)
