"""Derivatives as a person writes them: matrix notation, index notation, named definitions.

::

    two traces ──symbolic──▶ quantities ──algebra──▶ quantities ──matrix or index──▶ notation
                             (named extents)         (simplified)                    (text, LaTeX)

What is checked is what is printed: a :mod:`.notation` tree both prints and evaluates itself.
"""
