"""Shuffled minibatches."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

AnyArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def batches(
    *arrays: AnyArray, size: int, rng: np.random.Generator
) -> Iterator[tuple[AnyArray, ...]]:
    """One pass over the rows of `arrays` in random order, `size` rows at a time.

    The arrays, of shapes (N, …), are shuffled alike. The last batch holds what is left, and may be
    smaller. Arguments are checked at the call, not at the first batch.
    """
    if not arrays:
        raise ValueError("batches needs at least one array")
    if size < 1:
        raise ValueError(f"a batch holds at least one row, got size={size}")
    rows = {len(array) for array in arrays}
    if len(rows) > 1:
        raise ValueError(f"the arrays differ in rows: {', '.join(str(a.shape) for a in arrays)}")
    return _slices(arrays, rng.permutation(rows.pop()), size)


def _slices(
    arrays: tuple[AnyArray, ...], order: np.ndarray[Any, np.dtype[np.int64]], size: int
) -> Iterator[tuple[AnyArray, ...]]:
    for start in range(0, len(order), size):
        picked = order[start : start + size]
        yield tuple(array[picked] for array in arrays)
