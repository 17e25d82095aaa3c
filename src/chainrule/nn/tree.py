"""Trees of arrays, typed loosely: any nesting of the containers that optree knows."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import optree

#: A tree whose leaves are arrays.
Tree: TypeAlias = Any

#: A real array of any shape.
Array: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]


def tree_map(f: Callable[..., Array], tree: Tree, *rest: Tree) -> Tree:
    """Apply `f` leaf by leaf; every tree has the structure of the first."""
    return optree.tree_map(f, tree, *rest)


def zeros_like(tree: Tree) -> Tree:
    """The tree of zeros with the shapes and dtypes of `tree`."""
    return tree_map(np.zeros_like, tree)
