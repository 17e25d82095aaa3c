"""Time against size over three decades, and the exponent that fits the largest decade.

The floor's exponent is what counting operations (or bytes) says. `python bench/run.py growth`
draws the curves into `out/growth.png`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness import Row, clock, main
from mlp import data, loss_in
from problems import logsumexp

Runner = Callable[[], object]


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """The slope of log time against log size over the last decade."""
    x, y = np.log(sizes), np.log(seconds)
    last = x >= x[-1] - np.log(10) - 1e-9
    return float(np.polyfit(x[last], y[last], 1)[0])


def ready(run: Runner) -> Runner:
    """What runs, once the native code that it asks for is made."""
    from chainrule.lower import tiers

    for _ in range(3):
        run()
    tiers.settle()
    return run


def curve(
    case: str,
    floor: float,
    sizes: list[int],
    prepare: Callable[[int], Runner],
    seconds: float = 0.2,
) -> Iterator[Row]:
    """The exponent of a case, the times as details, and the floor's exponent beside it."""
    times = [min(clock(ready(prepare(n)), seconds=seconds)) for n in sizes]
    fitted = exponent([float(n) for n in sizes], times)
    details = {str(n): t for n, t in zip(sizes, times, strict=True)}
    yield Row(case, "exponent", fitted, "power", details=details)
    yield Row(case, "exponent", floor, "power", peer="the floor")


def chainrule() -> Iterator[Row]:
    """All curves."""
    import chainrule as cr

    decades = [10**3, 10**4, 10**5, 3 * 10**5, 10**6]

    def elementwise(n: int) -> Runner:
        x = np.random.default_rng(0).normal(size=n)
        f = cr.compile(cr.grad(lambda x: np.sum(np.tanh(np.sin(x) * np.exp(-x * x)))))
        return lambda: f(x)

    yield from curve("gradient of elementwise work, by n", 1, decades, elementwise)

    def lse(n: int) -> Runner:
        x = logsumexp.inputs(n)
        f = cr.compile(cr.value_and_grad(logsumexp.log_sum_exp(np)))
        return lambda: f(x)

    yield from curve("log-sum-exp, by n", 1, decades, lse)

    def layer(n: int) -> Runner:
        rng = np.random.default_rng(0)
        x, w, g = (rng.normal(size=s).astype(np.float32) for s in ((64, n), (n, n), (64, n)))
        f = cr.compile(lambda x, w, g: cr.vjp(np.matmul, x, w)[1](g))
        return lambda: f(x, w, g)

    yield from curve("linear layer's pullback, 64 × n × n", 2, [4, 16, 64, 256, 1024, 4096], layer)

    def network(n: int) -> Runner:
        arguments = data((64, n, n, 10), 64)
        f = cr.compile(cr.value_and_grad(loss_in(np)))
        return lambda: f(*arguments)

    yield from curve("network 64-n-n-10, batch 64", 2, [4, 16, 64, 256, 1024, 2048], network)

    def loop(n: int) -> Runner:
        def f(x: Any) -> Any:
            for k in range(n):
                x = np.sin(x * (1 + 1 / (k + 2)))
            return x

        def run() -> None:
            cr.clear_caches()
            cr.grad(f)(0.3)

        return run

    yield from curve("first gradient of a Python loop, by rounds", 1, [10, 100, 1000, 10**4], loop)

    def rosenbrock(n: int) -> Runner:
        x = np.random.default_rng(0).normal(size=n)

        def f(x: Any) -> Any:
            return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

        build = cr.hessian(f)
        return lambda: build(x).to_sparse()

    yield from curve("sparse Hessian of Rosenbrock's function, by n", 1, decades, rosenbrock)

    def scanned(n: int) -> Runner:
        xs = np.full(n, 0.5)
        f = cr.compile(
            cr.grad(lambda w: cr.scan(lambda c, x: (np.sin(c * w + x), None), 0.1, xs)[0])
        )
        return lambda: f(0.3)

    yield from curve("gradient of a scan, by rounds", 1, [10, 100, 1000, 10**4], scanned)


PEERS = {"chainrule": chainrule}

if __name__ == "__main__":
    main(PEERS, __file__)
