"""Formats by name and by the ending of a file."""

import json
from collections.abc import Callable
from io import StringIO

from rich.console import Console

from chainrule.cli.rendering.data import to_data
from chainrule.cli.rendering.latex import to_latex
from chainrule.cli.rendering.markdown import to_markdown
from chainrule.cli.rendering.text import print_text
from chainrule.web import Explanation, to_html

__all__ = ["SUFFIXES", "render"]

#: Formats by the ending of the file that is written.
SUFFIXES = {
    ".txt": "text",
    ".tex": "latex",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
}


def _text(explanation: Explanation) -> str:
    stream = StringIO()
    print_text(explanation, Console(file=stream, no_color=True, width=10_000))
    return stream.getvalue()


def _json(explanation: Explanation) -> str:
    return json.dumps(to_data(explanation), ensure_ascii=False, indent=2) + "\n"


_RENDERERS: dict[str, Callable[[Explanation], str]] = {
    "text": _text,
    "latex": to_latex,
    "markdown": to_markdown,
    "html": to_html,
    "json": _json,
}


def render(explanation: Explanation, form: str) -> str:
    """The explanation in one of the formats, as the text of a file."""
    return _RENDERERS[form](explanation)
