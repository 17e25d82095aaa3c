"""The companion: every program runs, `docs/companion.md` is what they print, the command works."""

from pathlib import Path

import pytest

from chainrule.cli import main
from chainrule.companion import Cell, Chapter, chapters, executed, markdown

DOCS = Path(__file__).resolve().parents[1] / "docs"
RUN = [executed(chapter) for chapter in chapters()]
TEXT = markdown(RUN, lambda name, drawing: f"companion-figures/{name}.svg")


def test_the_page_in_docs_is_what_the_programs_print():
    assert (DOCS / "companion.md").read_text(encoding="utf-8") == TEXT, (
        "docs/companion.md is out of date: chainrule companion -o docs/companion.md"
    )
    pictures = [name for c in RUN for cell in c.cells for name, _ in cell.figures]
    assert pictures
    for name in pictures:
        assert (DOCS / "companion-figures" / f"{name}.svg").is_file()


@pytest.mark.parametrize("chapter", RUN, ids=lambda c: c.name)
def test_every_program_prints_or_asserts(chapter):
    programs = [cell for cell in chapter.cells if cell.code]
    assert len(programs) >= 4
    for cell in programs:
        assert cell.output or "assert" in cell.text


def test_each_slip_is_followed_by_a_program():
    slips = 0
    for chapter in RUN:
        for cell, following in zip(chapter.cells, chapter.cells[1:], strict=False):
            if "A slip that circulates" in cell.text:
                slips += cell.text.count("A slip that circulates")
                assert following.code
                assert following.output
    assert slips == 9


def test_a_program_that_fails_is_an_error():
    wrong = Chapter("0-wrong", (Cell("# Wrong"), Cell("assert 1 == 2", True)))
    with pytest.raises(AssertionError):
        executed(wrong)


def test_the_command(tmp_path, capsys):
    assert main(["companion", "--list"]) == 0
    assert "2. Backpropagation through the linear layer" in capsys.readouterr().out
    assert main(["companion", "3", "-o", str(tmp_path / "notes.md")]) == 0
    text = (tmp_path / "notes.md").read_text(encoding="utf-8")
    assert text.startswith("# 3. Networks")
    assert "![layer-scalars](notes-figures/layer-scalars.svg)" in text
    assert (tmp_path / "notes-figures" / "layer-scalars.svg").read_text().startswith("<svg")
    assert main(["companion", "1"]) == 0
    assert "the best linear approximation" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["9"], ["linear"]])
def test_chapters_that_are_not_there(arguments, capsys):
    assert main(["companion", *arguments]) == 1
    assert f"there is no chapter {arguments[0]!r}; there are 1 to 5" in capsys.readouterr().err


def test_a_file_that_cannot_be_written(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["companion", "1", "-o", str(blocked / "notes.md")]) == 1
    assert "cannot be written" in capsys.readouterr().err
