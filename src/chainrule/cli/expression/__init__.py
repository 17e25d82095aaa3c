"""Expressions given as text: parsed by Python's own grammar, never executed as Python.

`parse` walks the syntax tree, lets through only what `vocabulary` lists, and returns a function
that computes the expression on arrays, numbers or traced arrays.
"""

from chainrule.cli.expression.errors import ExpressionError
from chainrule.cli.expression.reading import parse

__all__ = ["ExpressionError", "parse"]
