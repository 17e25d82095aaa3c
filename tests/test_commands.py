"""The commands derive, explain, plan and check: what they print and write, and their errors."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.cli import main

LINEAR = ["x @ w", "--shape", "x=N,D", "--shape", "w=D,M"]
LAYER = ["tanh(x @ w + b)", "-s", "x=N,D", "-s", "w=D,M", "-s", "b=M"]
LOSS = ["sum((x @ w - y)**2) / N", "-s", "x=N,D", "-s", "w=D", "-s", "y=N"]

MODEL = '''
"""A user's own file."""
import numpy as np

LIMIT = 3

def layer(x, w, b, scale=2.0):
    h = np.tanh(x @ w + b)
    return scale * h

def loss(params, x):
    return np.sum((x @ params["w"] + params["b"])**2)

def broken(x):
    return undefined_name + x

def branch(x):
    return x if x.sum() > 0 else -x
'''


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return captured.err.removeprefix("error: ")


# -- derive ---------------------------------------------------------------------------------------
def test_derive_prints_closed_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "derive", *LINEAR) == (
        "x @ w\n"
        "  x (N, D), w (D, M); G = ∂L/∂y (N, M)\n"
        "  y     = x w    (N, M)\n"
        "  ∂L/∂x = G wᵀ   (N, D)\n"
        "  ∂L/∂w = xᵀ G   (D, M)\n"
        "✓ each formula evaluated at random sizes and values\n"
    )


def test_the_command_of_the_issue(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "derive", *LAYER, "--wrt", "w")
    assert "∂L/∂w = xᵀ (G ⊙ (1 − y ⊙ y))   (D, M)" in text
    assert "∂L/∂x" not in text


def test_as_a_module_and_piped_without_colors() -> None:
    command = [sys.executable, "-m", "chainrule", "derive", *LINEAR]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "∂L/∂w = xᵀ G" in done.stdout
    assert "\x1b" not in done.stdout


def test_options_add_parts(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(
        capsys, "derive", *LINEAR, "--jacobian", "--index", "--steps", "--small-case=N=1,D=2,M=3"
    )
    assert "∂L/∂x[n,d] = Σ_m G[n,m] w[d,m]" in text
    assert "∂vec(y)/∂vec(x) = wᵀ ⊗ I" in text
    assert "structure cb->ab|ac" in text
    assert "Local Jacobians of y" in text
    assert "Element by element, for N = 1, D = 2, M = 3" in text
    assert "y₁ = x₁ w₁₁ + x₂ w₂₁" in text
    hessian = output(capsys, "derive", *LOSS, "--wrt", "w", "--hessian")
    assert "∂²L/∂w² = 2 xᵀ x / N" in hessian
    unchecked = output(capsys, "derive", *LINEAR, "--no-check")
    assert "✓" not in unchecked


def test_layout_and_convention(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(
        capsys, "derive", "W @ x", "-s", "W=T,N", "-s", "x=N", "-w", "x", "--jacobian",
        "--layout", "denominator", "--convention", "row",
    )  # fmt: skip
    assert "(N, T)" in text


def test_a_function_in_a_file(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    text = output(
        capsys, "derive", f"{model}:layer", "-s", "x=N,D", "-s", "w=D,M", "-s", "b=M", "-w", "b"
    )
    assert text.startswith("layer\n")
    assert "h     = tanh(x w + 𝟏 bᵀ)" in text
    tree = output(
        capsys, "derive", f"{model}:loss", "-s", "params.w=D,M", "-s", "params.b=M", "-s", "x=N,D",
        "--wrt", "params.w",
    )  # fmt: skip
    assert "∂L/∂w = 2 xᵀ" in tree


def test_an_expression_that_begins_with_minus(capsys: pytest.CaptureFixture[str]) -> None:
    assert "∂L/∂x = −exp(x)" in output(capsys, "derive", "-sum(exp(x))", "-s", "x=N")
    assert "∂L/∂x = −G" in output(capsys, "derive", "-x", "-s", "x=N")


# -- code -----------------------------------------------------------------------------------------
def test_emitted_code_runs_by_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "layer.py"
    output(capsys, "derive", *LAYER, "--emit", "numpy", "--jacobian", "-o", str(path))
    source = path.read_text(encoding="utf-8")
    assert "chainrule" not in source
    emitted: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), emitted)
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    y = np.tanh(x @ w + b)
    g = rng.normal(size=y.shape)
    np.testing.assert_allclose(emitted["forward"](x, w, b), y)
    np.testing.assert_allclose(emitted["backward"](x, w, b, g)[1], x.T @ (g * (1 - y**2)))
    assert emitted["jacobian"](x, w, b)[1].shape == (4, 2, 3, 2)


@pytest.mark.parametrize(
    ("backend", "style", "words"),
    [
        ("numpy", "function", "def backward(x, w, G):"),
        ("jax", "autograd", "custom_vjp"),
        ("torch", "autograd", "torch.autograd.Function"),
    ],
)
def test_emit_prints_code_and_nothing_else(
    backend: str, style: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = output(capsys, "derive", *LINEAR, "--emit", backend, "--style", style)
    ast.parse(source)
    assert words in source


# -- formats --------------------------------------------------------------------------------------
def test_latex(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "derive", *LINEAR, "-f", "latex", "--jacobian", "--steps")
    assert r"Given $x \in \mathbb{R}^{N \times D},\quad w \in \mathbb{R}^{D \times M}" in text
    assert r"\frac{\partial L}{\partial x} &= G \, w^\top" in text
    assert text.count(r"\begin{aligned}") == text.count(r"\end{aligned}")
    assert text.count("\\[\n") == text.count("\n\\]")
    assert r"\paragraph{Jacobians}" in text


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "derive", *LINEAR, "-f", "markdown", "--jacobian", "--steps")
    assert text.startswith("# `x @ w`\n")
    assert text.count("$$") % 2 == 0
    assert "<code>cb->ab&#124;ac</code>" in text
    assert "1. **The function**" in text


@pytest.mark.parametrize("form", ["text", "latex", "markdown"])
def test_symbols_are_explained_below_the_formulas(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, "derive", "X.T", "-s", "X=N,D", "-f", form, "--jacobian")
    words = "where 𝐊[n,m] is the" if form == "text" else r"&\text{where } \mathbf{K}_{n,m}"
    assert text.count(words) == 1


def test_symbols_are_explained_on_the_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    output(capsys, "explain", "X.T", "-s", "X=N,D", "-o", str(path))
    assert "<p class='hint'>where 𝐊[n,m] is the" in path.read_text(encoding="utf-8")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(output(capsys, "explain", *LINEAR, "-f", "json", "--size", "N=8,D=4,M=2"))
    assert data["function"] == "x @ w"
    assert data["checked"] is True
    assert data["arguments"] == [
        {"name": "x", "shape": ["N", "D"]},
        {"name": "w", "shape": ["D", "M"]},
    ]
    assert data["arriving"] == {"name": "G", "shape": ["N", "M"]}
    gradient = data["gradients"]["w"]
    assert gradient["text"] == "xᵀ G"
    assert gradient["latex"] == r"x^\top \, G"
    assert gradient["mathml"].startswith("<math")
    assert gradient["shape"] == ["D", "M"]
    assert data["jacobians"]["x"]["structure"] == "cb->ab|ac"
    assert data["plan"]["sizes"] == {"N": 8, "D": 4, "M": 2}
    assert data["plan"]["best"]["flops"] <= data["plan"]["forward"]["flops"]
    assert data["steps"][0]["title"] == "The function"


VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps what the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "srcset", "action") and value is not None:
                self.addresses.append(value)
            if name == "id" and value is not None:
                self.ids.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_page_that_loads_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    text = output(capsys, "explain", *LAYER, "--small-case", "N=1,D=2,M=3", "-o", str(path))
    assert text == f"wrote {path}\n"
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert set(page.addresses) == {f"#{key}" for key in page.ids if f"#{key}" in page.addresses}
    shown = {"formula", "graph", "jacobians", "structure", "cost", "steps", "small", "code"}
    assert shown <= set(page.ids)
    assert {"tab-numpy", "tab-jax", "tab-torch"} <= set(page.ids)
    assert {"math", "svg", "table", "details", "script", "style"} <= set(page.tags)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/)", html)
    assert "prefers-color-scheme: dark" in html
    assert "tanh(x @ w + b)" in html


def test_text_from_outside_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    html = output(capsys, "derive", "where(x < 1, x, 2*x)", "-s", "x=N", "-f", "html")
    Page(html)
    assert "where(x &lt; 1, x, 2*x)" in html
    assert "where(x < 1" not in html


@pytest.mark.parametrize("name", ["a.txt", "a.tex", "a.md", "a.html", "a.json"])
def test_the_ending_says_the_format(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    output(capsys, "derive", *LINEAR, "--output", str(path))
    start = {"txt": "x @ w\n", "tex": "% x @ w", "md": "# `x", "html": "<!doctype", "json": "{"}
    assert path.read_text(encoding="utf-8").startswith(start[name.partition(".")[2]])


# -- explain, plan, check -------------------------------------------------------------------------
def test_explain_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "explain", *LOSS)
    for part in (
        "In index notation",
        "Jacobians",
        "Hessians",
        "Steps",
        "Cost of the Jacobian, for",
    ):
        assert part in text
    assert "for N = 64, D = 32" in text


def test_plan(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "plan", *LINEAR, "--size", "N=64,D=4096,M=4096")
    assert "cb->ab|ac and ac->ab|cb" in text
    assert "forward" in text
    assert "32.5 TiB" in text
    numbers = ["x @ w", "-s", "x=64,4096", "-s", "w=4096,4096"]
    assert output(capsys, "plan", *numbers) == text
    data = json.loads(output(capsys, "plan", *numbers, "--format", "json", "--wrt", "x"))
    assert data["structures"] == ["cb->ab|ac"]
    assert data["dense_bytes"] == 64 * 4096 * 64 * 4096 * 8


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "check", *LOSS, "--backend", "numpy")
    assert "✓ gradients: formula, numbers" in text
    assert "✓ Jacobians" in text
    assert "✓ Hessians" in text
    assert text.endswith("✓ code for numpy: executed\n")


def test_graph(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "v1 = x w  (N, M)" in output(capsys, "graph", *LAYER)
    path = tmp_path / "graph.svg"
    small = ["tanh(x @ w)", "-s", "x=1,2", "-s", "w=2,3", "--level", "scalar"]
    assert output(capsys, "graph", *small, "-o", str(path)) == f"wrote {path}\n"
    assert path.read_text(encoding="utf-8").startswith("<svg")
    assert output(capsys, "graph", *small, "-f", "dot").startswith("digraph")
    assert "1 − y₁₁²" in output(capsys, "graph", *small, "--derivative", "edges", "-f", "svg")


def test_annotations_of_a_file_are_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "annotated.py"
    path.write_text(
        "from __future__ import annotations\nimport numpy as np\n\n"
        "def f(x: Float[Array, 'N D'], w: Float[Array, 'D']):\n    return np.sum((x @ w)**2)\n"
    )
    assert "∂L/∂w = 2 xᵀ x w" in output(capsys, "derive", f"{path}:f")
    assert "N = 64, D = 32" in output(capsys, "explain", f"{path}:f")
    assert "reverse" in output(capsys, "plan", f"{path}:f", "--size", "N=4,D=3")


# -- wrong input ----------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["derive", "explain", "plan", "check", "graph"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tahn(x)", "-s", "x=N"], "unknown function 'tahn'; did you mean 'tan' or 'tanh'?\n"
         "  tahn(x)\n  ^^^^\n"),
        (["x @ w", "-s", "x=N,D"], "the shape of 'w' is not given: add --shape w=N,D\n"
         "  x @ w\n      ^\n"),
        (["x @ w", "-s", "x=8,4", "-s", "w=3,2"], "matmul: shapes (8, 4) and (3, 2) do not fit"),
        (["x @ w", "-s", "x=N,D", "-s", "x=N"], "--shape x=… is given twice\n"),
        (["x", "-s", "x.a=N"], "--shape x.a=…: an expression has plain names; paths are for"),
        (["nowhere.py:f", "-s", "x=N"], "there is no file 'nowhere.py'\n"),
        (["nowhere.py", "-s", "x=N"], "there is no file 'nowhere.py'\n"),
        (["__import__('os')"], "unknown function '__import__'\n"),
    ],
)  # fmt: skip
def test_wrong_subjects(
    command: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "plan" and "x=8,4" not in arguments:
        arguments = [*arguments, "--size", "N=8,D=4"]
    assert failure(capsys, command, *arguments).startswith(message)


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        ("layr", ["x=N"], "model.py has no function 'layr'; did you mean 'layer'?"),
        ("zzz", ["x=N"], "model.py has no function 'zzz'; functions there: layer, loss, broken"),
        ("LIMIT", ["x=N"], "model.py has no function 'LIMIT'"),
        ("layer", ["x=N,D", "v=D"], "--shape v=…: layer has no parameter 'v'; it has x, w, b"),
        ("layer", ["x=N,D", "w=D,M"], "give the shape of b, for example --shape b=N,D"),
        ("broken", ["x=N"], "broken raised NameError: name 'undefined_name' is not defined"),
        ("branch", ["x=N"], "a branch depends on values, which are not known here"),
    ],
)
def test_wrong_functions(
    name: str, shapes: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [part for shape in shapes for part in ("-s", shape)]
    assert failure(capsys, "derive", f"{model}:{name}", *arguments).startswith(message)


def test_files_that_cannot_be_imported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path
) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("x = 1\nraise RuntimeError('stop')\n")
    message = failure(capsys, "derive", f"{bad}:f", "-s", "x=N")
    assert message == "bad.py cannot be imported: RuntimeError: stop (bad.py, line 2)\n"
    bad.write_text("def f(x:\n")
    assert failure(capsys, "derive", f"{bad}:f").startswith("bad.py cannot be imported: SyntaxErr")
    message = failure(capsys, "derive", str(model), "-s", "x=N")
    assert f"which function? write {model}:function; functions there: layer, loss" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["derive"], "required: SOURCE"),
        (["derive", "x", "--shape", "x"], "'x' is no shape: write NAME=SHAPE, such as x=N,D"),
        (["derive", "x", "--shape", "x=N,0"], "the shape of x has the extent 0"),
        (["derive", "x", "--shape", "x=N;D"], "neither a number nor a name"),
        (["derive", "x", "--shape", "1x=N"], "'1x=N' is no shape"),
        (["derive", "x", "-s", "x=N", "y=N"], "y=N; say --shape before each: --shape y=N"),
        (["derive", "x", "--shaep", "x=N"], "unrecognized arguments: --shaep x=N"),
        (["derive", "x", "--format", "pdf"], "invalid choice: 'pdf'"),
        (["derive", "x", "--emit", "tensorflow"], "invalid choice: 'tensorflow'"),
        (["derive", "x", "--layout", "mixed"], "invalid choice: 'mixed'"),
        (["derive", "x", "--small-case", "N"], "'N' is no size: write NAME=NUMBER, such as N=64"),
        (["derive", "x", "--wrt", ""], "give at least one name"),
        (["plan", "x", "--size", "N=-1"], "'N=-1' is no size"),
        (["check", "x", "--backend", "cuda"], "invalid choice: 'cuda'"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["derive", *LINEAR, "--wrt", "v"], "--wrt 'v': the arguments are x, w"),
        (["derive", *LINEAR, "--hessian"], "--hessian needs a scalar function; this one has"),
        (["derive", *LINEAR, "-o", "page.pdf"], "--output page.pdf: no format has the ending"),
        (["derive", *LINEAR, "-o", "/no/such/folder/a.md"], "/no/such/folder/a.md cannot be writ"),
        (["derive", *LINEAR, "--emit", "numpy", "-f", "json"], "--emit prints code alone"),
        (["derive", *LINEAR, "--small-case", "K=2"], "there is no extent 'K'; the names are"),
        (
            ["derive", *LINEAR, "--small-case", "N=900,D=900"],
            "the Jacobian by x has 2700·810000 elements",
        ),
        (
            ["derive", *LINEAR, "--emit", "numpy", "--style", "autograd"],
            'style="autograd" needs backend="jax" or "torch"',
        ),
        (
            ["derive", *LINEAR, "--style", "autograd"],
            "--style is how code is written: add --emit jax or --emit torch",
        ),
        (["plan", *LINEAR], "costs are counted for numbers: give N, D, M by --size N=64,D=32,M=16"),
        (["plan", *LINEAR, "--size", "N=2,D=2,M=2,K=2"], "--size K=…: the names of sizes are N, D"),
        (["graph", *LINEAR, "--level", "scalar"], "level='scalar' needs numbers, not the sizes N"),
        (["graph", "x", "-s", "x=90,90", "--level", "scalar"], "the graph at level='scalar' has"),
        (["graph", *LINEAR, "-o", "graph.png"], "--output graph.png: use the ending .svg, .dot"),
        (["plan", *LINEAR, "--size", "N=2,D=2,M=2", "-w", "v"], "--wrt 'v': the arguments are x"),
    ],
)
def test_wrong_requests(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure(capsys, *arguments).startswith(message)


def test_what_stands_in_the_way_comes_with_the_form_up_to_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spectra.py"
    file.write_text(
        "import numpy as np\n\n\ndef spectrum(x):\n    h = np.tanh(x)\n    return np.fft.fft(h)\n"
    )
    message = failure(capsys, "derive", f"{file}:spectrum", "-s", "x=N")
    assert message.startswith("numpy.fft.fft is not supported")
    assert 'at spectra.py:6: "return np.fft.fft(h)"' in message
    assert "up to there (the closed form):" in message
    assert "∂L/∂x = G ⊙ (1 − h²)" in message


def test_the_companion_goes_into_folders_that_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = failure(capsys, "companion", "2", "-o", str(tmp_path / "missing" / "notes.md"))
    assert message.endswith("notes.md cannot be written: No such file or directory\n")


def test_a_backend_that_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> Any:
        return None if name in ("jax", "torch") else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    message = failure(capsys, "check", *LINEAR, "--backend", "jax")
    assert message == "jax is not installed; install it with: pip install 'chainrule[jax]'\n"


@pytest.mark.parametrize("command", ["derive", "explain", "plan", "check", "graph"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: chainrule {command}" in text
    assert f"example: chainrule {command} '" in text.replace("\n", " ")
    assert "file.py:function" in text
