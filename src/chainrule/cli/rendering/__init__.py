"""The formats of an explanation: text, LaTeX, Markdown, HTML, JSON."""

from chainrule.cli.rendering.files import SUFFIXES, render
from chainrule.cli.rendering.text import print_text

__all__ = ["SUFFIXES", "print_text", "render"]
