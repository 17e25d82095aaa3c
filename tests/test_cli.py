"""The command line: training reaches what it promises, pictures are written, errors are clear."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.cli import build_parser, main
from chainrule.cli.command import CommandError, require
from chainrule.cli.examples import example_path, load_example

PNG = b"\x89PNG\r\n\x1a\n"


def run(arguments: str) -> int:
    """The exit status of a command line."""
    return main(arguments.split())


def accuracy(text: str) -> float:
    """The last accuracy of the table of a training run."""
    (row,) = re.findall(r"test\s+│\s+\S+\s+│\s+([\d.]+)%", text)
    return float(row)


# -- training ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `chainrule train digits` prints with its defaults, and its folder."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    out = tmp_path_factory.mktemp("train") / "deep" / "out"
    command = [sys.executable, "-m", "chainrule", "train", "digits", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_the_defaults_reach_97_percent(trained: tuple[str, Path]) -> None:
    assert accuracy(trained[0]) >= 97.0


def test_the_backward_pass_is_shown_and_checked(trained: tuple[str, Path]) -> None:
    text = trained[0]
    assert "backward pass" in text
    assert "∂L/∂" in text
    assert "derivative checked" in text


def test_pictures_are_written(trained: tuple[str, Path]) -> None:
    text, out = trained
    names = sorted(path.name for path in out.iterdir())
    assert names == ["digits-confusion-matrix.png", "digits-learning-curve.png"]
    for path in out.iterdir():
        assert path.read_bytes().startswith(PNG)
        assert path.stat().st_size > 10_000
        assert str(path) in text


def test_a_short_training_without_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    assert run("train digits --epochs 2 --batch 100 --optimizer sgd --lr 0.1 --no-plots") == 0
    assert accuracy(capsys.readouterr().out) > 50
    assert list(tmp_path.iterdir()) == []


def test_the_seed_decides_the_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")

    def result(seed: str) -> list[str]:
        assert main(["train", "digits", "--epochs", "1", "--no-plots", "--seed", seed]) == 0
        return re.findall(r"^│ (?:training|test).*$", capsys.readouterr().out, re.M)

    first = result("7")
    assert len(first) == 2
    assert first == result("7")
    assert first != result("8")


# -- errors -----------------------------------------------------------------------------------
def test_a_loss_that_explodes(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    with np.errstate(all="ignore"):
        assert run("train digits --optimizer sgd --lr 1e308 --epochs 3 --no-plots") == 1
    captured = capsys.readouterr()
    assert "error: the loss is" in captured.err
    assert "smaller learning rate" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required"),
        ("fly", "invalid choice"),
        ("train", "required"),
        ("train numbers", "invalid choice"),
        ("train digits --epochs 0", "'0' is not a whole number of at least 1"),
        ("train digits --epochs many", "'many' is not a whole number of at least 1"),
        ("train digits --batch -3", "'-3' is not a whole number"),
        ("train digits --lr 0", "'0' is not a positive number"),
        ("train digits --lr nan", "'nan' is not a positive number"),
        ("train digits --lr inf", "'inf' is not a positive number"),
        ("train digits --seed -1", "'-1' is not a whole number from 0 to 2^32 - 1"),
        ("train digits --seed 4294967296", "is not a whole number from 0"),
        ("train digits --optimizer newton", "invalid choice"),
        (f"train digits --out {__file__}", "is a file, not a folder"),
    ],
)
def test_wrong_arguments(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    assert main(["train", "digits", "--out", str(tmp_path / "file" / "out")]) == 1
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "words"), [("sklearn", "scikit-learn"), ("matplotlib", "--no-plots")]
)
def test_a_missing_package_names_the_extra(
    module: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> Any:
        if name == module:
            return None
        return object() if name in ("sklearn", "matplotlib") else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert main(["train", "digits"]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert "pip install 'chainrule[" in message


def test_require_is_silent_where_the_package_is() -> None:
    require("numpy", extra="none", package="numpy", purpose="everything")
    with pytest.raises(CommandError, match="flying needs it"):
        require("no_such_package", extra="sky", package="no-such-package", purpose="flying")


# -- the command itself -----------------------------------------------------------------------
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "digits", "-h"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    assert "usage: chainrule" in capsys.readouterr().out


def test_python_dash_m() -> None:
    command = [sys.executable, "-m", "chainrule", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: chainrule" in done.stdout
    assert "train" in done.stdout


def test_the_defaults_are_those_the_help_names() -> None:
    args = build_parser().parse_args(["train", "digits"])
    assert (args.epochs, args.batch, args.optimizer, args.seed) == (40, 32, "adam", 0)
    assert args.out == Path("out")
    assert args.plots


# -- examples ---------------------------------------------------------------------------------
def test_examples_are_found_and_loaded_once() -> None:
    assert example_path("digits").is_file()
    assert load_example("digits") is load_example("digits")
    with pytest.raises(CommandError, match="'nothing' is in none of"):
        example_path("nothing")


def test_the_confusion_matrix_counts() -> None:
    pytest.importorskip("matplotlib")
    from chainrule.cli.plots import confusion_matrix

    counts = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
