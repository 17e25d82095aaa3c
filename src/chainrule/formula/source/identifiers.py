"""Identifiers for symbols: ``params.w1`` as ``params_w1``, no name twice."""

from __future__ import annotations

import keyword
import re
import unicodedata

__all__ = ["class_name", "identifier", "plain_identifier", "words"]


def words(line: str) -> set[str]:
    """The identifiers in a line of code."""
    return set(re.findall(r"[^\W\d]\w*", line))


def plain_identifier(text: str) -> str:
    """A symbol as an identifier: ``params.w1`` as ``params_w1``."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c if ("a" + c).isidentifier() else "_" for c in text).rstrip("_") or "v"
    if not text.isidentifier() or keyword.iskeyword(text):
        text = f"{text}_" if keyword.iskeyword(text) else f"_{text}"
    return text


def identifier(text: str, taken: set[str]) -> str:
    """An identifier for a symbol that is none yet; it is taken from now on."""
    found = plain_identifier(text)
    while found in taken:
        found += "_"
    taken.add(found)
    return found


def class_name(function: str) -> str:
    """The name of a function in the style of a class."""
    words = plain_identifier(function).strip("_").split("_")
    name_ = "".join(word[:1].upper() + word[1:] for word in words if word)
    return name_ if name_.isidentifier() and name_ not in ("Lambda", "Forward") else "Function"
