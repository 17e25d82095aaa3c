"""The gradient of a fully connected layer W x by W, through the formed Jacobian and without it.

A 128 × 128 image, 100 outputs, float32; a single example and a batch of 32, whose Jacobian is
refused (it would take 19.5 GiB).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness import Row, main, timed

OUTPUTS, PIXELS, BATCH = 100, 128 * 128, 32
ONE = f"W x by W, T = {OUTPUTS}, N = {PIXELS}, batch 1"
MANY = f"W X by W, T = {OUTPUTS}, N = {PIXELS}, batch {BATCH}"
FORMED, DIRECT = "gradient through the formed Jacobian", "gradient"


def arrays(batch: int) -> tuple[Any, Any, Any]:
    """W (T, N), X (N, batch) and the gradient that arrives, (T, batch)."""
    rng = np.random.default_rng(0)
    shapes = ((OUTPUTS, PIXELS), (PIXELS, batch), (OUTPUTS, batch))
    w, x, g = (rng.normal(size=s).astype(np.float32) for s in shapes)
    return w, x, g


def size(gradient: Any) -> list[float]:
    """A number by which gradients are compared."""
    return [float(np.linalg.norm(np.asarray(gradient)))]


def chainrule() -> Iterator[Row]:
    """Structured, and formed where that is allowed."""
    import chainrule as cr

    for case, batch in ((ONE, 1), (MANY, BATCH)):
        w, x, g = arrays(batch)
        step = cr.compile(lambda w, x, g: cr.vjp(lambda w: w @ x, w)[1](g)[0])

        def direct(step: Any = step, arguments: Any = (w, x, g)) -> Any:
            return step(*arguments)

        yield timed(case, DIRECT, direct, size(direct()))
        j = cr.jacobian(lambda w, x=x: w @ x)(w)
        yield Row(case, "bytes stored", j.nbytes, "B")
        yield Row(case, "bytes formed", j.dense_nbytes, "B")
        try:
            dense = j.to_dense(max_bytes=2**30)
        except cr.TooLargeError:
            yield Row(case, "refused (1: yes)", 1, "")
            continue

        def formed(dense: Any = dense, g: Any = g) -> Any:
            return np.tensordot(g, dense, 2)

        def made(w: Any = w, x: Any = x, g: Any = g) -> Any:
            return np.tensordot(g, cr.jacobian(lambda w: w @ x)(w).to_dense(max_bytes=2**30), 2)

        yield timed(case, FORMED, made, size(formed()), warmup=1)


def by_hand() -> Iterator[Row]:
    """G Xᵀ, and NumPy's own formed Jacobian for one example."""
    for case, batch in ((ONE, 1), (MANY, BATCH)):
        _w, x, g = arrays(batch)
        yield timed(case, DIRECT, lambda x=x, g=g: g @ x.T, size(g @ x.T))
        if batch == 1:

            def formed(x: Any = x, g: Any = g) -> Any:
                jacobian = np.zeros((OUTPUTS, OUTPUTS, PIXELS), np.float32)
                jacobian[np.arange(OUTPUTS), np.arange(OUTPUTS)] = x[:, 0]
                return np.tensordot(g[:, 0], jacobian, 1)

            yield timed(case, FORMED, formed, size(formed()), warmup=1)


PEERS = {"chainrule": chainrule, "numpy by hand": by_hand}

if __name__ == "__main__":
    main(PEERS, __file__)
