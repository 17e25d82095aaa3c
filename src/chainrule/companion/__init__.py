"""Course notes that run: chapters of text and programs, executed when they are shown."""

from .chapters import Cell, Chapter, chapters, executed, markdown

__all__ = ["Cell", "Chapter", "chapters", "executed", "markdown"]
