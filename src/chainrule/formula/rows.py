"""The row convention: the same formulas where vectors are rows, ``x W`` instead of ``Wᵀ x``.

A formula is first written with columns; then every vector in it becomes the transpose of a row,
transposes are moved inwards, and what stands for a vector is transposed as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .composing import transpose
from .linearized import Kronecker, Vec
from .notation import (
    Apply,
    Counting,
    Diag,
    DiagonalOf,
    Hadamard,
    Inverse,
    Name,
    Norm,
    Notation,
    Ones,
    Plus,
    Power,
    Product,
    Scaled,
    Summed,
    Trace,
    Transpose,
)
from .writing import Env, Value, Written

__all__ = ["in_rows"]


@dataclass(frozen=True)
class Row(Name):
    """A named vector as a row."""

    def value(self, env: Env) -> Value:
        value = np.asarray(env.values[self.name])
        return value[None, :] if value.ndim == 1 else value


@dataclass(frozen=True)
class RowOfCounts(Row):
    """The row of counts, written as the column is."""

    counts: Counting

    def write(self, latex: bool) -> Written:
        return self.counts.write(latex)

    def value(self, env: Env) -> Value:
        return np.asarray(self.counts.value(env)).T


@dataclass(frozen=True)
class RowOfOnes(Ones):
    """The row of ones."""

    def value(self, env: Env) -> Value:
        return np.ones((1, round(self.extent.value(env.sizes))))


@dataclass(frozen=True)
class DiagOfRow(Diag):
    """``diag(v)``: the diagonal matrix of a row."""

    def value(self, env: Env) -> Value:
        inner = np.asarray(self.inner.value(env))
        if inner.ndim != 2 or inner.shape[0] != 1:
            raise ValueError(f"diag of shape {inner.shape}")
        return np.diag(inner[0])


@dataclass(frozen=True)
class DiagonalAsRow(DiagonalOf):
    """``diag(A)``: the diagonal of a matrix as a row."""

    def value(self, env: Env) -> Value:
        return np.diagonal(self.inner.value(env))[None, :]


def in_rows(tree: Notation, ndim: int) -> Notation:
    """A formula of columns as one of rows; ``ndim`` is the rank of what it stands for."""
    turned = _turned(tree)
    return _across(turned) if ndim == 1 else turned


def _turned(tree: Notation) -> Notation:
    """Every vector in a tree as the transpose of a row."""
    if isinstance(tree, Counting):
        return Transpose(RowOfCounts(tree.name, 1, tree))
    if isinstance(tree, Name):
        return Transpose(Row(tree.name, 1)) if tree.ndim == 1 else tree
    if isinstance(tree, Ones):
        return Transpose(RowOfOnes(tree.extent))
    if isinstance(tree, Transpose):
        return _across(_turned(tree.inner))
    if isinstance(tree, Inverse | Trace | Summed | Vec):
        return replace(tree, inner=_turned(tree.inner))
    if isinstance(tree, DiagonalOf):
        return Transpose(DiagonalAsRow(_turned(tree.inner)))
    if isinstance(tree, Diag):
        inner = _turned(tree.inner)
        return Diag(inner) if isinstance(tree.inner, Vec) else DiagOfRow(_across(inner))
    if isinstance(tree, Norm):
        inner = _turned(tree.inner)
        return replace(tree, inner=inner if tree.matrix else _shorter(inner))
    if isinstance(tree, Product):
        return Product(tuple(map(_turned, tree.factors)))
    if isinstance(tree, Kronecker):
        return Kronecker(tuple(map(_turned, tree.factors)))
    if isinstance(tree, Plus):
        return Plus(tuple(map(_turned, tree.parts)))
    if isinstance(tree, Hadamard):
        return Hadamard(tuple(map(_turned, tree.factors)), tuple(map(_turned, tree.below)))
    if isinstance(tree, Scaled):
        body = None if tree.body is None else _turned(tree.body)
        above, below = (tuple(map(_turned, parts)) for parts in (tree.above, tree.below))
        return Scaled(tree.coef, above, below, body)
    if isinstance(tree, Power):
        return replace(tree, inner=_turned(tree.inner))
    if isinstance(tree, Apply):
        return replace(tree, args=tuple(map(_turned, tree.args)))
    return tree


def _is_column(tree: Notation) -> bool:
    """Whether a tree, its vectors turned, stands for a column."""
    if isinstance(tree, Transpose):
        return isinstance(tree.inner, Row | RowOfOnes | DiagonalAsRow)
    if isinstance(tree, Product):
        return _is_column(tree.factors[-1])
    if isinstance(tree, Hadamard):
        return any(map(_is_column, (*tree.factors, *tree.below)))
    if isinstance(tree, Plus):
        return any(map(_is_column, tree.parts))
    if isinstance(tree, Scaled):
        return tree.body is not None and _is_column(tree.body)
    if isinstance(tree, Power):
        return _is_column(tree.inner)
    return isinstance(tree, Apply) and any(map(_is_column, tree.args))


def _shorter(tree: Notation) -> Notation:
    """Of a vector and its transpose, the one that is shorter on paper."""
    across = _across(tree)
    return across if len(across.text) < len(tree.text) else tree


def _across(tree: Notation) -> Notation:
    """The transpose, moved inwards through what is elementwise."""
    if isinstance(tree, Hadamard):
        return Hadamard(tuple(map(_across, tree.factors)), tuple(map(_across, tree.below)))
    if isinstance(tree, Plus):
        return Plus(tuple(map(_across, tree.parts)))
    if isinstance(tree, Scaled):
        return replace(tree, body=None if tree.body is None else _across(tree.body))
    if isinstance(tree, Power):
        return replace(tree, inner=_across(tree.inner))
    if isinstance(tree, Apply) and tree.ranks is None:
        if tree.op in ("softmax", "logsumexp") and not _is_column(tree.args[0]):
            return transpose(tree)
        return replace(tree, args=tuple(map(_across, tree.args)))
    if isinstance(tree, Product):
        return Product(tuple(_across(f) for f in reversed(tree.factors)))
    return transpose(tree)
