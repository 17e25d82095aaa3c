"""The README runs: every Python block, in order, in one namespace; and what it claims holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def namespace():
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    return names


def test_there_are_blocks():
    assert len(BLOCKS) >= 4


def test_numbers(namespace):
    x, w, y = (namespace[k] for k in "xwy")
    h = np.tanh(x @ w)
    np.testing.assert_allclose(namespace["slope"], x.T @ (2 * (h - y) * (1 - h**2)) / y.size)
    assert namespace["third"] == -1.0
    assert namespace["rows"].shape == (64, 5, 3)


def test_the_large_layer(namespace):
    assert (namespace["J"].nbytes, namespace["J"].dense_nbytes) == (1048576, 17592186044416)


@pytest.mark.parametrize(
    ("expression", "by", "structure"),
    re.findall(r"^\| `(.*?)` \| `(\w+)` \| `(.*?)` \|$", README, re.M),
)
def test_structures(expression, by, structure):
    import chainrule as cr

    rng = np.random.default_rng(0)
    shapes = {"x": (6, 4), "w": (4, 3), "W": (6, 4), "X": (4, 5), "b": (6,), "z": (7,)}
    if "@" not in expression:
        shapes["x"] = (7,)
    values = {k: rng.normal(size=s) for k, s in shapes.items()}

    def f(value):
        return eval(expression, {"np": np}, values | {by: value})

    assert cr.jacobian(f)(values[by]).structure == structure.replace("\\|", "|")
