"""Parts of an array are written by the nests that make them, unless somebody looks in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr

pytest.importorskip("llvmlite")

from chainrule.lower.native.forwarding import apart
from chainrule.lower.native.layout import Access, Buffer
from chainrule.lower.native.lowering import lower
from chainrule.lower.native.nest import Apply, Nest

RNG = np.random.default_rng(3)


def agree(f: Any, *args: Any) -> None:
    """Native and NumPy programs of value and pullback give the same."""

    def both(*args: Any) -> Any:
        y, back = cr.vjp(f, *args)
        return y, *back(np.cos(y))

    native = cr.compile(both, backend="native")
    found, wanted = native(*args), cr.compile(both, backend="numpy")(*args)
    assert native.report() == ["native"]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def nests(f: Any, *args: Any) -> list[Nest]:
    compiled = cr.compile(f, backend="numpy")
    compiled(*args)
    ((path,),) = compiled._entries.values()
    return [item for item in lower(path.program.plan).items if isinstance(item, Nest)]


def test_concatenated_results_are_not_copied() -> None:
    x = RNG.normal(size=(30, 4))

    def f(x: Any) -> Any:
        return np.concatenate([np.sin(x), x * x, np.exp(x)], axis=1)

    agree(f, x)
    made = nests(f, x)
    assert sum(len(nest.sinks) for nest in made) == 3
    assert all(isinstance(nest.nodes[s.node], Apply) for nest in made for s in nest.sinks)


def cells(x: Any) -> Any:
    """Written part by part, some parts twice, one read in between."""
    a = np.zeros((3, *x.shape)) + 0 * x
    a[0] = np.sin(x)
    a[1, 1:] = x[1:] * 2
    a[1] += np.cos(x)
    b = a[0] * a[1]
    a[0] = b + 1
    a[2, ::2] = np.exp(x[::2])
    a[2, 1::2] = b[1::2]
    a[:2, :, 0] += x[:, 0]
    return np.tanh(a)


def wrapped(x: Any) -> Any:
    y = np.sin(x)
    padded = np.pad(y, ((1, 2), (0, 1)))
    rolled = np.roll(y * y, 2, axis=0)
    return padded[1:-2, :-1] * rolled + np.stack([y[:, 1], y[:, 0], *y.T[2:]], axis=1)


def triangles(x: Any) -> Any:
    square = x[: x.shape[1]] @ x.T[:, : x.shape[1]]
    return np.diag(np.sin(np.diag(square))) + np.tril(square, -1) * 2 - np.triu(square)


def blocks(x: Any) -> Any:
    y = np.exp(-x * x)
    return np.block([[y, np.sin(y)], [y[:, ::-1], x]]).reshape(-1)


@pytest.mark.parametrize("f", [cells, wrapped, triangles, blocks], ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(4, 3), (300, 3)])
def test_parts_written_in_any_order(f: Any, shape: tuple[int, int]) -> None:
    agree(f, RNG.normal(size=shape))


@pytest.mark.parametrize("seed", range(6))
def test_random_parts(seed: int) -> None:
    """Slices of one array set, added to and read in random order."""
    draws = np.random.default_rng(seed)
    plan = []
    for _ in range(6):
        start, stop = sorted(draws.integers(0, 7, 2))
        plan.append((int(start), int(stop) + 1, int(draws.integers(1, 3)), int(draws.integers(4))))

    def f(x: Any) -> Any:
        a = np.zeros_like(x)
        for k, (start, stop, step, kind) in enumerate(plan):
            part = slice(start, stop, step)
            if kind == 0:
                a[part] = np.sin((k + 1) * x[part])
            elif kind == 1:
                a[part] += np.cos(x[part] + k)
            elif kind == 2:
                a[:, part] = x[:, part] * x[:, part] * k
            else:
                a[part] = a[part] * x[part] + np.tanh(a[:, part].sum())
        return a

    agree(f, RNG.normal(size=(8, 8)))


def test_places_that_never_meet() -> None:
    """Against all elements, one by one."""
    draws = np.random.default_rng(0)
    buffer = Buffer("f64", 10_000, "temp")
    told = 0
    for _ in range(2000):
        pair = []
        for _ in range(2):
            shape = tuple(int(e) for e in draws.integers(1, 5, draws.integers(1, 4)))
            strides = tuple(int(s) for s in draws.choice([-6, -1, 1, 2, 3, 5, 12, 30], len(shape)))
            offset = int(draws.integers(500, 560))
            places = {
                offset + sum(i * s for i, s in zip(index, strides, strict=True))
                for index in np.ndindex(*shape)
            }
            pair.append((shape, Access(buffer, offset, strides), places))
        (one, first, here), (other, second, there) = pair
        if apart(one, first, other, second):
            told += 1
            assert here.isdisjoint(there)
    assert told > 500
