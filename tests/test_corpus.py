"""The corpus: closed forms as printed (golden files), and values against JAX in float64.

A golden file holds what was reviewed line by line against the source that it names.  After a
change that is meant, ``UPDATE_GOLDEN=1 pytest tests/test_corpus.py`` writes them anew: read the
difference.
"""

from __future__ import annotations

import functools
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.derive.checking import formula_functions
from chainrule.formula.symbols import meanings
from chainrule.formula.writing import Env
from corpus import CORPUS, NAMED, Entry, rebound

GOLDEN = Path(__file__).parent / "golden"
every = pytest.mark.parametrize("entry", CORPUS, ids=lambda e: e.name)


@functools.cache
def timed(entry: Entry) -> tuple[cr.Derivation, float]:
    """The entry's closed forms, checked, and the processor time that this took; made once."""
    start = time.process_time()
    return entry.derive(), time.process_time() - start


def derived(entry: Entry) -> cr.Derivation:
    return timed(entry)[0]


def equations(entry: Entry):
    """Text, LaTeX, structure and shape of every line that is printed, under headings."""
    d = derived(entry)
    yield "gradients", [*d.parts, *d.gradients.values()]
    if entry.jacobian:
        yield "jacobians", [*d.jacobians.parts, *d.jacobians.values()]
    if entry.hessian:
        yield "hessians", [*d.hessians.parts, *d.hessians.values()]


def printed(entry: Entry) -> str:
    """The golden text of an entry."""
    d = derived(entry)
    lines = [f"source: {entry.source}", "", str(d)]
    for heading, forms in equations(entry):
        if heading != "gradients":
            lines += ["", f"{heading}:"]
            for form in forms:
                structure = getattr(form, "structure", None)
                lines.append(f"  {form}" + (f"    [{structure}]" if structure else ""))
            lines += [f"  {meaning.text}" for meaning in meanings(forms)]
    lines += ["", "latex:"]
    for _, forms in equations(entry):
        lines += [f"  {form.left(True)} = {form.latex}" for form in forms]
        lines += [f"  {meaning.latex}" for meaning in meanings(forms)]
    return "\n".join(lines) + "\n"


@every
def test_prints_what_was_reviewed(entry):
    path = GOLDEN / f"{entry.name}.txt"
    found = printed(entry)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_every_golden_file_has_an_entry():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(NAMED)


@every
def test_the_formula_gives_the_gradient(entry):
    """What is printed, evaluated at values of the entry's own domain, against the pullback."""
    d = derived(entry)
    values = entry.arguments()
    y, expected = pulled_back(entry, values)
    known = dict(values)
    if d.arriving is not None:
        known[d.arriving[0]] = cotangent(y)
    _, found = d.evaluate(Env(known, entry.extents, formula_functions()))
    for name, value in zip(entry.wanted, expected, strict=True):
        written = np.asarray(found[name])
        if written.size == 1:
            written = np.broadcast_to(written.reshape(()), np.shape(value))
        close(written.reshape(np.shape(value)), value, 1e-8)


@every
def test_gradients_against_jax(entry):
    jax = pytest.importorskip("jax")
    values = entry.arguments()
    modules = {
        "np": jax.numpy, "special": jax.scipy.special, "linalg": jax.scipy.linalg, "cr": jax,
    }  # fmt: skip
    f = partly(entry, rebound(entry.jax or entry.function, **modules), values)

    def products(args, G):
        y, back = jax.vjp(f, *args)
        return y, back(G)

    y, found = pulled_back(entry, values)
    args = [values[n] for n in entry.wanted]
    expected, gradients = jax.jit(products)(args, cotangent(y))
    close(y, expected, 1e-10)
    for one, other in zip(found, gradients, strict=True):
        close(one, other, 1e-9)


def partly(entry, function, values):
    """A function of the arguments to differentiate by, all others at their values."""
    rest = {n: v for n, v in values.items() if n not in entry.wanted}
    return lambda *args: function(**dict(zip(entry.wanted, args, strict=True)), **rest)


def pulled_back(entry, values):
    y, back = cr.vjp(partly(entry, entry.function, values), *(values[n] for n in entry.wanted))
    return y, back(cotangent(y))


def cotangent(y):
    return np.random.default_rng(0).normal(size=np.shape(y)) if np.ndim(y) else 1.0


def close(found, expected, rtol):
    scale = max(float(np.max(np.abs(expected), initial=0.0)), 1e-2)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


@every
def test_deriving_takes_less_than_a_second(entry):
    taken = timed(entry)[1]
    for _ in range(2):
        if taken > 1:  # a busy machine, or the first derivation of all
            start = time.process_time()
            entry.derive()
            taken = min(taken, time.process_time() - start)
    assert taken < 1


# -- LaTeX ------------------------------------------------------------------------------------
@every
def test_latex_is_well_formed(entry):
    """ASCII, braces and \\left … \\right balanced."""
    for _, forms in equations(entry):
        for form in forms:
            for tex in (form.left(True), form.latex):
                assert tex.isascii(), tex
                depth = 0
                for mark in re.findall(r"(?<!\\)[{}]", tex):
                    depth += 1 if mark == "{" else -1
                    assert depth >= 0, tex
                assert depth == 0, tex
                assert len(re.findall(r"\\left\b", tex)) == len(re.findall(r"\\right\b", tex)), tex


@every
def test_latex_is_typeset(entry):
    """Every line goes through matplotlib's TeX parser."""
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("path")
    for _, forms in equations(entry):
        for form in forms:
            parser.parse(f"${form.left(True)} = {form.latex}$")
