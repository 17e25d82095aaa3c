"""Sparse Jacobians and Hessians as CSR arrays: tridiagonal, a stencil on a torus, gathered blocks.

`evaluated` is values and all three arrays, at a new point. `written` is the arrays alone, from
values that are known: what `J.to_sparse()` takes, against writing them by hand. The coloring tools
find the pattern once, which is `preparation`, and give JAX's own sparse arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse

from harness import Row, main, timed
from problems import bundle_adjustment as ba
from problems.stencils import (
    brusselator,
    brusselator_jacobian,
    rosenbrock,
    rosenbrock_hessian,
)

ROSENBROCK, BRUSSELATOR = (10**4, 10**5), (64, 256)
OBSERVED = (49, 7776, 31843)


def checks(found: Any) -> list[float]:
    """Numbers that tell whether two sparse arrays are the same."""
    rows, columns = found.shape
    probe = np.cos(np.arange(columns))
    image = found @ probe
    return [np.abs(image).sum(), image @ np.sin(np.arange(rows))]


def points() -> Iterator[tuple[str, str, Any]]:
    """Case, problem, where to evaluate."""
    rng = np.random.default_rng(0)
    for n in ROSENBROCK:
        yield f"Rosenbrock Hessian, n = {n:,}", "rosenbrock", rng.normal(size=n)
    for n in BRUSSELATOR:
        yield f"Brusselator Jacobian, {n} × {n}", "brusselator", 1 + rng.random((2, n, n))
    n, m, p = OBSERVED
    yield f"bundle adjustment, {n} cameras, {m} points, {p} observations", "bundle", None


def rows(
    name: str, prepare: Callable[[str, Any], dict[str, Callable[[], Any]] | None]
) -> Iterator[Row]:
    """The rows of a peer; `prepare` gives what to run for each quantity."""
    for case, problem, x in points():
        start = time.perf_counter()
        runs = prepare(problem, x)
        if runs is None:
            continue
        for quantity, run in runs.items():
            found = scipy.sparse.csr_array(run())
            if quantity == "evaluated" and name in ("asdex", "sparsejac"):
                yield Row(case, "preparation", time.perf_counter() - start, peer=name)
            yield timed(case, quantity, run, checks(found))


def chainrule() -> Iterator[Row]:
    """The plain NumPy functions, compiled; every call makes a new Jacobian."""
    import chainrule as cr

    def prepare(problem: str, x: Any) -> dict[str, Callable[[], Any]]:
        if problem == "rosenbrock":
            compiled = cr.compile(cr.hessian(rosenbrock))
        elif problem == "brusselator":
            compiled = cr.compile(cr.jacobian(brusselator))
        else:
            given = ba.random_problem(*OBSERVED)
            x = given.start
            compiled = cr.compile(cr.jacobian(ba.residuals(given)))
        known = compiled(x)
        return {"evaluated": lambda: compiled(x).to_sparse(), "written": known.to_sparse}

    yield from rows("chainrule", prepare)


def by_hand() -> Iterator[Row]:
    """Derivatives and arrays written out in NumPy."""

    def prepare(problem: str, x: Any) -> dict[str, Callable[[], Any]]:
        if problem == "rosenbrock":
            return dict.fromkeys(("evaluated", "written"), lambda: rosenbrock_hessian(x))
        if problem == "brusselator":
            return dict.fromkeys(("evaluated", "written"), lambda: brusselator_jacobian(x))
        given = ba.random_problem(*OBSERVED)
        evaluate = ba.by_hand(given)
        found = evaluate(given.start)
        p = len(given.observations)
        blocks = found.data[: 30 * p].reshape(p, 2, 15)
        parts = [np.ascontiguousarray(blocks[:, :, a:b]) for a, b in ((0, 11), (11, 14), (14, 15))]
        last = found.data[30 * p :].copy()

        def write() -> Any:
            return ba.written(given, parts, last)

        return {"evaluated": lambda: evaluate(given.start), "written": write}

    yield from rows("numpy by hand", prepare)


def _jax_function(problem: str, x: Any) -> tuple[Callable[[Any], Any], Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    numpy = jax.numpy
    if problem == "rosenbrock":
        return lambda v: rosenbrock(v, numpy), numpy.asarray(x)
    shape = x.shape
    return (
        lambda v: brusselator(v.reshape(shape), numpy).reshape(-1),
        numpy.asarray(x.reshape(-1)),
    )


def jax() -> Iterator[Row]:
    """Bundle adjustment: the blocks of all observations by vmap of jacfwd, then by hand."""
    import jax

    jax.config.update("jax_enable_x64", True)
    numpy = jax.numpy

    def one(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
        r, x = camera[:3], point - camera[3:6]
        angle = numpy.sqrt(r @ r)
        axis = r / angle
        cosine, sine = numpy.cos(angle), numpy.sin(angle)
        seen = x * cosine + numpy.cross(axis, x) * sine + axis * (axis @ x) * (1 - cosine)
        u = seen[:2] / seen[2]
        square = u @ u
        radial = 1 + camera[9] * square + camera[10] * square**2
        return weight * (camera[6] * radial * u + camera[7:9] - feature)

    blocks = jax.jit(jax.vmap(jax.jacfwd(one, argnums=(0, 1, 2))))

    def prepare(problem: str, x: Any) -> dict[str, Callable[[], Any]] | None:
        if problem != "bundle":
            return None
        given = ba.random_problem(*OBSERVED)
        n, m = given.cameras, given.points
        camera, point = given.observations.T
        cameras = given.start[: 11 * n].reshape(n, 11)
        points = given.start[11 * n : 11 * n + 3 * m].reshape(m, 3)
        weights = given.start[11 * n + 3 * m :]

        def run() -> Any:
            found = blocks(cameras[camera], points[point], weights, given.features)
            parts = [np.asarray(part) for part in found]
            return ba.written(given, [*parts[:2], parts[2][:, :, None]], -2 * weights)

        return {"evaluated": run}

    yield from rows("jax", prepare)


def _scipy(found: Any) -> Any:
    """A JAX BCOO array, waited for, as SciPy's."""
    indices = np.asarray(found.indices)
    data = np.asarray(found.data)
    return scipy.sparse.coo_array((data, (indices[:, 0], indices[:, 1])), found.shape)


def asdex() -> Iterator[Row]:
    """Pattern by abstract interpretation, coloring, JAX."""
    import asdex
    import jax

    def prepare(problem: str, x: Any) -> dict[str, Callable[[], Any]] | None:
        if problem == "bundle" or len(np.ravel(x)) > 10**4:
            return None  # it would prepare for minutes
        f, v = _jax_function(problem, x)
        make = asdex.hessian if problem == "rosenbrock" else asdex.jacobian
        run = jax.jit(make(f, v))
        return {"evaluated": lambda: _scipy(jax.block_until_ready(run(v)))}

    yield from rows("asdex", prepare)


def sparsejac() -> Iterator[Row]:
    """Coloring by networkx of a pattern that is given, JAX."""
    import jax
    import sparsejac
    from jax.experimental.sparse import BCOO

    def prepare(problem: str, x: Any) -> dict[str, Callable[[], Any]] | None:
        if problem == "bundle" or len(np.ravel(x)) > 10**4:
            return None
        f, v = _jax_function(problem, x)
        known = rosenbrock_hessian(x) if problem == "rosenbrock" else brusselator_jacobian(x)
        pattern = scipy.sparse.coo_array(known)
        places = np.stack(pattern.coords, 1)
        sparsity = BCOO((np.ones(len(places)), places), shape=pattern.shape)
        of = jax.grad(f) if problem == "rosenbrock" else f
        run = jax.jit(sparsejac.jacfwd(of, sparsity))
        return {"evaluated": lambda: _scipy(jax.block_until_ready(run(v)))}

    yield from rows("sparsejac", prepare)


PEERS = {
    "chainrule": chainrule,
    "numpy by hand": by_hand,
    "jax": jax,
    "asdex": asdex,
    "sparsejac": sparsejac,
}

if __name__ == "__main__":
    main(PEERS, __file__)
